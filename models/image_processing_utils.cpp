#include <caracal/models/image_processing_utils.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, where, "expected " + expected + " but got " + got);
}

std::string describe(const Json& value) { return std::string(value.type_name()) + " " + value.dump(); }

// What an argument of ImagesKwargs may be, beside null.
enum class Kind { boolean, integer, number, numbers, size, resample, text, anything };
struct Argument {
  const char* name;
  Kind kind;
};
constexpr Argument kArguments[] = {{"do_convert_rgb", Kind::boolean},
                                   {"do_resize", Kind::boolean},
                                   {"size", Kind::size},
                                   {"default_to_square", Kind::boolean},
                                   {"crop_size", Kind::size},
                                   {"resample", Kind::resample},
                                   {"do_rescale", Kind::boolean},
                                   {"rescale_factor", Kind::number},
                                   {"do_normalize", Kind::boolean},
                                   {"image_mean", Kind::numbers},
                                   {"image_std", Kind::numbers},
                                   {"do_pad", Kind::boolean},
                                   {"pad_size", Kind::size},
                                   {"do_center_crop", Kind::boolean},
                                   {"data_format", Kind::anything},
                                   {"input_data_format", Kind::text},
                                   {"device", Kind::anything},
                                   {"return_tensors", Kind::anything},
                                   {"disable_grouping", Kind::anything},
                                   {"image_seq_length", Kind::integer}};

// Keys of other versions' files that transformers drops.
constexpr std::string_view kDropped[] = {"feature_extractor_type", "image_processor_type", "processor_class",
                                         "_valid_processor_keys"};

bool all_of(const Json& value, bool (Json::*is)() const noexcept) {
  return value.is_array() && std::all_of(value.as_array().begin(), value.as_array().end(),
                                         [&](const Json& element) { return (element.*is)(); });
}

constexpr const char* kSizeForms =
    "an integer, [height, width], or an object with height and width, shortest_edge (and longest_edge), longest_edge, "
    "max_height and max_width, or min_pixels and max_pixels";

// A size argument as an object, as transformers' get_size_dict makes it.
Json size_dict(const Json& value, bool default_to_square, const std::string& where) {
  if (value.is_null()) return value;
  if (value.is_integer()) {
    if (default_to_square) return {{"height", value}, {"width", value}};
    return {{"shortest_edge", value}};
  }
  if (all_of(value, &Json::is_integer) && value.as_array().size() == 2)
    return {{"height", value.as_array()[0]}, {"width", value.as_array()[1]}};
  static constexpr std::string_view forms[][2] = {
      {"height", "width"},  {"shortest_edge", ""},       {"shortest_edge", "longest_edge"},
      {"longest_edge", ""}, {"max_height", "max_width"}, {"min_pixels", "max_pixels"}};
  if (!value.is_object()) fail(where, kSizeForms, describe(value));
  for (const auto& [key, number] : value.as_object()) {
    if (!number.is_integer() && !number.is_null()) fail(where, "integers", describe(number));
  }
  for (const auto& form : forms) {
    if (value.as_object().size() == (form[1].empty() ? 1u : 2u) && value.contains(form[0]) &&
        (form[1].empty() || value.contains(form[1])))
      return value;
  }
  fail(where, kSizeForms, value.dump());
}

void check(const Json& value, Kind kind, const std::string& where) {
  if (value.is_null()) return;
  auto expect = [&](bool ok, const char* what) {
    if (!ok) fail(where, what, describe(value));
  };
  switch (kind) {
    case Kind::boolean: return expect(value.is_bool(), "bool");
    case Kind::integer: return expect(value.is_integer(), "int");
    case Kind::number: return expect(value.is_number(), "a number");
    case Kind::numbers:
      return expect(value.is_number() || all_of(value, &Json::is_number), "a number or a list of them");
    case Kind::resample: return void(resample_from_json(value, where));
    case Kind::text: return expect(value.is_string(), "str");
    case Kind::size:  // size_dict looks closer
    case Kind::anything: return;
  }
}

bool is_true(const Json& arguments, std::string_view name) {
  const Json* value = arguments.find(name);
  return value != nullptr && value->is_bool() && value->as_bool();
}

bool is_given(const Json& arguments, std::string_view name) {
  const Json* value = arguments.find(name);
  return value != nullptr && !value->is_null();
}

// The number under `name`, or 0 where there is none: transformers treats both alike.
int64_t entry(const Json& size, std::string_view name) {
  const Json* value = size.find(name);
  return value != nullptr && value->is_integer() ? value->as_int() : 0;
}

struct Extent {
  int64_t height, width;
};

// int(a * b / c) of Python's integers.
int64_t scaled(int64_t a, int64_t b, int64_t c) { return int64_t(double(a) * double(b) / double(c)); }

Extent aspect_ratio(Extent in, int64_t shortest, int64_t longest) {
  const double least = double(std::min(in.height, in.width)), most = double(std::max(in.height, in.width));
  double raw = double(shortest);
  bool limited = false;
  if (most / least * double(shortest) > double(longest)) {
    raw = double(longest) * least / most;
    shortest = int64_t(std::nearbyint(raw));
    limited = true;
  }
  if ((in.height <= in.width && in.height == shortest) || (in.width <= in.height && in.width == shortest)) return in;
  const double edge = limited ? raw : double(shortest);
  if (in.width < in.height) return {int64_t(edge * double(in.height) / double(in.width)), shortest};
  return {shortest, int64_t(edge * double(in.width) / double(in.height))};
}

// What an image of `in` is resized to.
Extent target_extent(Extent in, const Json& size, const std::string& where) {
  const int64_t shortest = entry(size, "shortest_edge"), longest = entry(size, "longest_edge");
  if (shortest != 0 && longest != 0) return aspect_ratio(in, shortest, longest);
  if (shortest != 0) {
    const bool upright = in.width <= in.height;
    const int64_t other = upright ? scaled(shortest, in.height, in.width) : scaled(shortest, in.width, in.height);
    return upright ? Extent{other, shortest} : Extent{shortest, other};
  }
  const int64_t max_height = entry(size, "max_height"), max_width = entry(size, "max_width");
  if (max_height != 0 && max_width != 0) {
    const double scale = std::min(double(max_height) / double(in.height), double(max_width) / double(in.width));
    return {int64_t(double(in.height) * scale), int64_t(double(in.width) * scale)};
  }
  const Extent exact{entry(size, "height"), entry(size, "width")};
  if (exact.height != 0 && exact.width != 0) return exact;
  fail(where, "height and width, max_height and max_width, or shortest_edge, none of them 0", size.dump());
}

Extent checked_extent(Extent extent, const std::string& where) {
  if (extent.height < 1 || extent.width < 1 || extent.height > kMaxProcessedPixels ||
      extent.width > kMaxProcessedPixels || extent.height * extent.width > kMaxProcessedPixels)
    fail(where, "1 to " + std::to_string(kMaxProcessedPixels) + " pixels",
         std::to_string(extent.height) + " x " + std::to_string(extent.width));
  return extent;
}

Extent exact_extent(const Json& size, const std::string& where) {
  if (entry(size, "height") == 0 || entry(size, "width") == 0) fail(where, "height and width", size.dump());
  return checked_extent({entry(size, "height"), entry(size, "width")}, where);
}

bool is_channels(int64_t size) { return size == 1 || size == 3 || size == 4; }

template <class T>
Tensor channels_last(const Tensor& planes) {
  const int64_t channels = planes.size(0), pixels = planes.size(1) * planes.size(2);
  Tensor result = Tensor::empty({planes.size(1), planes.size(2), channels}, planes.dtype());
  const T* in = planes.data<T>();
  T* out = result.data<T>();
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t i = 0; i < pixels; i++) out[i * channels + c] = in[c * pixels + i];
  }
  return result;
}

template <class T>
Tensor channels_first(const Tensor& image) {
  const int64_t channels = image.size(2), pixels = image.size(0) * image.size(1);
  Tensor result = Tensor::empty({channels, image.size(0), image.size(1)}, image.dtype());
  const T* in = image.data<T>();
  T* out = result.data<T>();
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t i = 0; i < pixels; i++) out[c * pixels + i] = in[i * channels + c];
  }
  return result;
}

// One image as (H, W, C), U8 or F32.
Tensor normal_form(const Tensor& given, const Json& arguments, const std::string& where) {
  Tensor image = given.dtype() == DType::U8 || given.dtype() == DType::F32 ? given : given.to(DType::F32);
  if (image.rank() == 2)
    image = image.reshape({image.size(0), image.size(1), 1});
  else {
    const Json& format = arguments.at("input_data_format");
    bool first = is_channels(image.size(0));
    if (format.is_string()) {
      first = format.as_string() == "channels_first";
      if (!first && format.as_string() != "channels_last")
        fail(where + ": input_data_format", "channels_first or channels_last", describe(format));
    }
    if (!is_channels(image.size(first ? 0 : 2)))
      fail(where, "an image (H, W, C) or (C, H, W) with 1, 3 or 4 channels", given.shape().str());
    if (first) image = image.dtype() == DType::U8 ? channels_last<uint8_t>(image) : channels_last<float>(image);
  }
  checked_extent({image.size(0), image.size(1)}, where);
  return image;
}

// Grey to three channels; alpha composed on white, as convert_to_rgb does with arrays.
Tensor to_rgb(const Tensor& image, const std::string& where) {
  const int64_t channels = image.size(2), pixels = image.size(0) * image.size(1);
  if (channels == 3) return image;
  Tensor result = Tensor::empty({image.size(0), image.size(1), 3}, image.dtype());
  auto convert = [&]<class T>(double white) {
    const T* in = image.data<T>();
    T* out = result.data<T>();
    for (int64_t i = 0; i < pixels; i++, in += channels, out += 3) {
      for (int c = 0; c < 3; c++) {
        if (channels == 1) {
          out[c] = in[0];
          continue;
        }
        const double alpha = double(in[3]) / white, value = alpha * double(in[c]) + (1 - alpha) * white;
        out[c] = std::is_same_v<T, uint8_t> ? T(std::nearbyint(value)) : T(value);
      }
    }
  };
  if (image.dtype() == DType::U8) {
    convert.operator()<uint8_t>(255);
    return result;
  }
  const auto values = image.values<float>();
  if (channels == 4 && !std::all_of(values.begin(), values.end(), [](float v) { return v >= 0 && v <= 1; }))
    fail(where + ": do_convert_rgb", "values from 0 to 1 with an alpha channel", "others");
  convert.operator()<float>(1);
  return result;
}

// What the PIL backend does with floats before it resizes: whole numbers are taken for 0 … 255, others must be 0 … 1.
Tensor quantised(const Tensor& image, bool& scaled, const std::string& where) {
  const auto values = image.values<float>();
  const bool whole = std::all_of(values.begin(), values.end(), [](float v) {
    const double integer = std::trunc(double(v));
    return std::abs(double(v) - integer) <= 1e-8 + 1e-5 * std::abs(integer);
  });
  const float limit = whole ? 255.0f : 1.0f;
  for (float v : values) {
    if (!(v >= 0 && v <= limit))
      fail(where, whole ? "values from 0 to 255" : "values from 0 to 1, or whole numbers", Json(double(v)).dump());
  }
  scaled = !whole;
  Tensor result = Tensor::empty(image.shape(), DType::U8);
  uint8_t* out = result.data<uint8_t>();
  for (float v : values) *out++ = uint8_t(scaled ? float(double(v) * 255) : v);
  return result;
}

Tensor center_crop(const Tensor& image, Extent crop) {
  const int64_t height = image.size(0), width = image.size(1);
  auto floor_half = [](int64_t x) { return x >= 0 ? x / 2 : -((-x + 1) / 2); };
  // Rows and columns of the image at which the crop begins; negative where the image is too small: zeros go there.
  auto begin_of = [&](int64_t have, int64_t want) {
    const int64_t begin = floor_half(have - want);
    if (begin >= 0 && begin + want <= have) return begin;
    const int64_t padding = (std::max(have, want) - have + 1) / 2;
    return std::max<int64_t>(begin + padding, 0) - padding;
  };
  const int64_t top = begin_of(height, crop.height), left = begin_of(width, crop.width);
  const size_t pixel = size_t(image.size(2)) * size_of(image.dtype());
  Tensor result = Tensor::zeros({crop.height, crop.width, image.size(2)}, image.dtype());
  const auto* in = static_cast<const uint8_t*>(image.raw());
  auto* out = static_cast<uint8_t*>(result.raw());
  const int64_t begin = std::max<int64_t>(-left, 0), end = std::min(crop.width, width - left);
  for (int64_t y = std::max<int64_t>(-top, 0); y < std::min(crop.height, height - top) && begin < end; y++)
    std::memcpy(out + size_t(y * crop.width + begin) * pixel, in + size_t((y + top) * width + left + begin) * pixel,
                size_t(end - begin) * pixel);
  return result;
}

Tensor padded(const Tensor& planes, Extent extent, const std::string& where) {
  const int64_t height = planes.size(1), width = planes.size(2);
  if (height > extent.height || width > extent.width)
    fail(where, "at least the image's " + std::to_string(height) + " x " + std::to_string(width),
         std::to_string(extent.height) + " x " + std::to_string(extent.width));
  Tensor result = Tensor::zeros({planes.size(0), extent.height, extent.width}, planes.dtype());
  const size_t element = size_of(planes.dtype());
  const auto* in = static_cast<const uint8_t*>(planes.raw());
  auto* out = static_cast<uint8_t*>(result.raw());
  for (int64_t c = 0; c < planes.size(0); c++) {
    for (int64_t y = 0; y < height; y++)
      std::memcpy(out + size_t((c * extent.height + y) * extent.width) * element,
                  in + size_t((c * height + y) * width) * element, size_t(width) * element);
  }
  return result;
}

// Rescaling and normalisation of one value, in the PIL backend's types.
class PixelFunction {
 public:
  PixelFunction(const Json& arguments, int64_t channels, const std::string& where)
      : rescale_(is_true(arguments, "do_rescale")), normalize_(is_true(arguments, "do_normalize")) {
    if (rescale_) factor_ = arguments.at("rescale_factor").as_double();
    if (!normalize_) return;
    mean_ = per_channel(arguments.at("image_mean"), channels, where + ": image_mean");
    deviation_ = per_channel(arguments.at("image_std"), channels, where + ": image_std");
  }
  bool changes() const { return rescale_ || normalize_; }
  float operator()(float value, int64_t channel) const {
    if (rescale_) value = float(double(value) * factor_);
    if (normalize_) value = (value - mean_[size_t(channel)]) / deviation_[size_t(channel)];
    return value;
  }

 private:
  static std::vector<float> per_channel(const Json& value, int64_t channels, const std::string& where) {
    if (value.is_number()) return std::vector<float>(size_t(channels), float(value.as_double()));
    if (int64_t(value.as_array().size()) != channels)
      fail(where, std::to_string(channels) + " values, one a channel", std::to_string(value.as_array().size()));
    std::vector<float> values;
    for (const Json& element : value.as_array()) values.push_back(float(element.as_double()));
    return values;
  }

  bool rescale_, normalize_;
  double factor_ = 1;
  std::vector<float> mean_, deviation_;
};

}  // namespace

Resample resample_from_json(const Json& value, std::string_view where) {
  static constexpr const char* names[] = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};
  if (value.is_integer() && value.as_int() >= 0 && value.as_int() <= 5) return Resample(value.as_int());
  if (value.is_string()) {
    std::string name = value.as_string().substr(value.as_string().rfind('.') + 1);
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
    for (int i = 0; i < 6; i++) {
      if (name == names[i]) return Resample(i);
    }
  }
  fail(std::string(where), "a filter from 0 to 5 or a name such as PIL.Image.BILINEAR", describe(value));
}

BaseImageProcessor::BaseImageProcessor(ImageProcessorClass description, const Json& given, const std::string& where)
    : class_(std::move(description)), runtime_(std::make_shared<Runtime>(RuntimeOptions{.threads = 1})) {
  attributes_ = class_.defaults;
  for (const Argument& argument : kArguments) {
    if (!attributes_.contains(argument.name)) attributes_.set(argument.name, nullptr);
  }
  if (attributes_.at("default_to_square").is_null()) attributes_.set("default_to_square", true);
  if (!attributes_.contains("rescale_factor")) attributes_.set("rescale_factor", nullptr);
  const Json values = checked(given, where, false);
  given_ = Json::Object{};
  if (given.is_object()) {
    for (const auto& [key, value] : given.as_object()) {
      if (std::ranges::find(kDropped, key) == std::end(kDropped)) given_.set(key, value);
    }
  }
  for (const auto& [key, value] : values.as_object()) {
    // As in transformers, None takes the class attribute.
    if (!value.is_null() || !attributes_.contains(key)) attributes_.set(key, value);
  }
}

// `kwargs` with sizes as objects and all types checked.
Json BaseImageProcessor::checked(const Json& kwargs, const std::string& where, bool in_call) const {
  Json result = Json::Object{};
  if (kwargs.is_null()) return result;
  if (!kwargs.is_object()) fail(where, "an object of arguments", describe(kwargs));
  const Json* square = kwargs.find("default_to_square");
  const bool default_to_square =
      square != nullptr && square->is_bool() ? square->as_bool() : is_true(attributes_, "default_to_square");
  for (const auto& [key, value] : kwargs.as_object()) {
    const auto* argument = std::ranges::find_if(kArguments, [&](const Argument& a) { return key == a.name; });
    const auto own = std::ranges::find_if(class_.extra, [&](const auto& extra) { return key == extra.first; });
    const std::string place = where + ": " + key;
    if (argument != std::end(kArguments)) {
      check(value, argument->kind, place);
      result.set(key,
                 argument->kind == Kind::size ? size_dict(value, key != "size" || default_to_square, place) : value);
    } else if (own != class_.extra.end()) {
      if (!value.is_null() && value.type() != own->second.type()) fail(place, own->second.type_name(), describe(value));
      result.set(key, value);
    } else if (in_call) {
      fail(where, "an argument of image processors", "'" + key + "'");
    } else if (std::ranges::find(kDropped, key) == std::end(kDropped)) {
      result.set(key, value);
    }
  }
  return result;
}

const Json& BaseImageProcessor::attribute(std::string_view name) const {
  static const Json none;
  const Json* value = attributes_.find(name);
  return value == nullptr ? none : *value;
}

Json BaseImageProcessor::to_dict() const {
  Json dict = Json::Object{};
  for (const auto& [key, value] : attributes_.as_object()) {
    if (key == "default_to_square" && !given_.contains(key)) continue;
    // None where the class has something was asked for, and is kept.
    const Json* given = given_.find(key);
    const bool asked_none = given != nullptr && given->is_null() && is_given(class_.defaults, key);
    if (asked_none)
      dict.set(key, nullptr);
    else if (!value.is_null())
      dict.set(key, value);
  }
  dict.set("image_processor_type", class_.name);
  return dict;
}

std::string BaseImageProcessor::str() const {
  // Keys stand where they stood when the documentation was printed, and the type's key was feature_extractor_type.
  const std::string type = "image_processor_type";
  auto sort_key = [&](const std::string& key) { return key == type ? std::string("feature_extractor_type") : key; };
  Json::Object members;
  for (const auto& [key, value] : class_.listing.as_object()) {
    const Json* given = given_.find(key);
    members.emplace_back(key, given == nullptr ? value : *given);
  }
  for (const auto& [key, value] : given_.as_object()) {
    if (!class_.listing.contains(key) && !value.is_null()) members.emplace_back(key, value);
  }
  members.emplace_back(type, class_.name);
  std::ranges::sort(members, {}, [&](const Json::Member& member) { return sort_key(member.first); });
  return std::string(class_.name) + " " + Json(std::move(members)).dump(2) + "\n";
}

void BaseImageProcessor::save_pretrained(const std::string& directory) const {
  save_preprocessor_config(directory, to_dict());
}

BatchFeature BaseImageProcessor::operator()(const std::vector<Tensor>& images, const Json& kwargs) const {
  const std::string where = class_.name;
  Json arguments = attributes_;
  const Json own = checked(kwargs, where, true);
  for (const auto& [key, value] : own.as_object()) arguments.set(key, value);
  auto require = [&](const char* flag, std::initializer_list<const char*> needed) {
    if (!is_true(arguments, flag)) return;
    for (const char* name : needed) {
      if (!is_given(arguments, name)) fail(where, std::string("`") + name + "` with " + flag, "None");
    }
  };
  require("do_rescale", {"rescale_factor"});
  require("do_normalize", {"image_mean", "image_std"});
  require("do_center_crop", {"crop_size"});
  require("do_resize", {"size", "resample"});

  std::vector<Tensor> prepared;
  auto add = [&](const Tensor& image) {
    Tensor normal = normal_form(image, arguments, where);
    prepared.push_back(is_true(arguments, "do_convert_rgb") ? to_rgb(normal, where) : std::move(normal));
  };
  for (const Tensor& image : images) {
    if (!image.defined() || image.rank() < 2 || image.rank() > 4)
      fail(where, "an image (H, W), (H, W, C) or (C, H, W), or a batch of them",
           image.defined() ? image.shape().str() : "an undefined tensor");
    if (image.rank() < 4) {
      add(image);
      continue;
    }
    for (int64_t i = 0; i < image.size(0); i++)
      add(image.rows(i, i + 1).reshape({image.size(1), image.size(2), image.size(3)}));
  }
  return process(prepared, arguments);
}

Tensor BaseImageProcessor::resized(const Tensor& image, const Json& arguments, bool& scaled) const {
  scaled = false;
  if (!is_true(arguments, "do_resize")) return image;
  const std::string where = std::string(class_.name) + ": size";
  const Extent extent =
      checked_extent(target_extent({image.size(0), image.size(1)}, arguments.at("size"), where), where);
  const Resample filter = resample_from_json(arguments.at("resample"), class_.name);
  return resize_image(*runtime_, image.dtype() == DType::F32 ? quantised(image, scaled, class_.name) : image,
                      extent.height, extent.width, filter);
}

BatchFeature BaseImageProcessor::process(const std::vector<Tensor>& images, const Json& arguments) const {
  const std::string where = class_.name;
  std::vector<Tensor> results;
  for (const Tensor& input : images) {
    const PixelFunction function(arguments, input.size(2), where);
    bool scaled = false;
    Tensor image = resized(input, arguments, scaled);
    if (is_true(arguments, "do_center_crop"))
      image = center_crop(image, exact_extent(arguments.at("crop_size"), where + ": crop_size"));
    if (image.dtype() == DType::U8 && (scaled || function.changes())) {
      Tensor tables = Tensor::empty({image.size(2), 256});
      for (int64_t c = 0; c < image.size(2); c++) {
        for (int64_t byte = 0; byte < 256; byte++) {
          const float value = scaled ? float(double(byte) * (1 / 255.0)) : float(byte);
          tables.data<float>()[c * 256 + byte] = function(value, c);
        }
      }
      results.push_back(lookup_planes(*runtime_, image, tables));
    } else if (image.dtype() == DType::U8) {
      results.push_back(channels_first<uint8_t>(image));
    } else {
      Tensor planes = channels_first<float>(image);
      const int64_t pixels = image.size(0) * image.size(1);
      float* values = planes.data<float>();
      for (int64_t i = 0; i < planes.numel(); i++) values[i] = function(values[i], i / pixels);
      results.push_back(std::move(planes));
    }
  }
  if (is_true(arguments, "do_pad")) {
    Extent extent{0, 0};
    for (const Tensor& planes : results)
      extent = {std::max(extent.height, planes.size(1)), std::max(extent.width, planes.size(2))};
    if (is_given(arguments, "pad_size")) extent = exact_extent(arguments.at("pad_size"), where + ": pad_size");
    for (Tensor& planes : results) planes = padded(planes, extent, where + ": pad_size");
  }
  BatchFeature features;
  features.set("pixel_values", std::move(results));
  return features;
}

}  // namespace caracal
