#include <caracal/models/image_transforms.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include <caracal/models/image_processing_utils.h>

namespace caracal::image_transforms {
namespace {

// The number under `name`, or 0 where there is none: transformers treats both alike.
int64_t entry(const Json& size, std::string_view name) {
  const Json* value = size.find(name);
  return value != nullptr && value->is_integer() ? value->as_int() : 0;
}

// int(x), and for what no image can have, a size that checked_extent refuses.
int64_t whole(double x) { return std::abs(x) < 1e15 ? int64_t(x) : -1; }

Extent aspect_ratio(Extent in, int64_t shortest, int64_t longest) {
  const double least = double(std::min(in.height, in.width)), most = double(std::max(in.height, in.width));
  double raw = double(shortest);
  bool limited = false;
  if (most / least * double(shortest) > double(longest)) {
    raw = double(longest) * least / most;
    shortest = whole(std::nearbyint(raw));
    limited = true;
  }
  if ((in.height <= in.width && in.height == shortest) || (in.width <= in.height && in.width == shortest)) return in;
  const double edge = limited ? raw : double(shortest);
  if (in.width < in.height) return {whole(edge * double(in.height) / double(in.width)), shortest};
  return {shortest, whole(edge * double(in.width) / double(in.height))};
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
Tensor planes_of(const Tensor& image) {
  const int64_t channels = image.size(2), pixels = image.size(0) * image.size(1);
  Tensor result = Tensor::empty({channels, image.size(0), image.size(1)}, image.dtype());
  const T* in = image.data<T>();
  T* out = result.data<T>();
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t i = 0; i < pixels; i++) out[c * pixels + i] = in[i * channels + c];
  }
  return result;
}

}  // namespace

void fail(const std::string& where, const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, where, "expected " + expected + " but got " + got);
}

std::string describe(const Json& value) { return std::string(value.type_name()) + " " + value.dump(); }

Extent target_extent(Extent in, const Json& size, const std::string& where) {
  const int64_t shortest = entry(size, "shortest_edge"), longest = entry(size, "longest_edge");
  if (shortest != 0 && longest != 0) return aspect_ratio(in, shortest, longest);
  if (shortest != 0) {
    const bool upright = in.width <= in.height;
    const double ratio_of[] = {double(in.width), double(in.height)};
    const int64_t other = whole(double(shortest) * ratio_of[upright] / ratio_of[!upright]);
    return upright ? Extent{other, shortest} : Extent{shortest, other};
  }
  const int64_t max_height = entry(size, "max_height"), max_width = entry(size, "max_width");
  if (max_height != 0 && max_width != 0) {
    const double scale = std::min(double(max_height) / double(in.height), double(max_width) / double(in.width));
    return {whole(double(in.height) * scale), whole(double(in.width) * scale)};
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

Tensor normal_form(const Tensor& given, const Json& format, const std::string& where) {
  Tensor image = given.dtype() == DType::U8 || given.dtype() == DType::F32 ? given : given.to(DType::F32);
  if (image.rank() == 2)
    image = image.reshape({image.size(0), image.size(1), 1});
  else {
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

Tensor convert_to_rgb(const Tensor& image, const std::string& where) {
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

Tensor pad(const Tensor& planes, Extent extent, const std::string& where) {
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

Tensor channels_first(const Tensor& image) {
  return image.dtype() == DType::U8 ? planes_of<uint8_t>(image) : planes_of<float>(image);
}

}  // namespace caracal::image_transforms
