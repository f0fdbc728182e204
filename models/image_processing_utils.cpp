#include <caracal/models/image_processing_utils.h>

#include <algorithm>

#include <caracal/models/image_transforms.h>

namespace caracal {
namespace {

using namespace image_transforms;

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

// Keys of other versions' files that transformers drops, and the choice of a backend: there is one.
constexpr std::string_view kDropped[] = {"feature_extractor_type", "image_processor_type", "processor_class",
                                         "_valid_processor_keys", "backend"};

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
    const auto* argument = std::ranges::find_if(kArguments, [&key = key](const Argument& a) { return key == a.name; });
    const auto own = std::ranges::find_if(class_.extra, [&key = key](const auto& extra) { return key == extra.first; });
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
    Tensor normal = normal_form(image, arguments.at("input_data_format"), where);
    prepared.push_back(is_true(arguments, "do_convert_rgb") ? convert_to_rgb(normal, where) : std::move(normal));
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
      results.push_back(channels_first(image));
    } else {
      Tensor planes = channels_first(image);
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
    for (Tensor& planes : results) planes = pad(planes, extent, where + ": pad_size");
  }
  BatchFeature features;
  features.set("pixel_values", std::move(results));
  return features;
}

}  // namespace caracal
