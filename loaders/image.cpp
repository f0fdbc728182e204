#include <caracal/loaders/image.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <caracal/loaders/file.h>
#include <caracal/loaders/image_formats.h>

namespace caracal {
namespace media {

void bad_image(const Input& input, const std::string& got) {
  throw Error(ErrorCode::bad_file, input.where, "expected a whole image but got " + got);
}

void check_size(const Input& input, int64_t width, int64_t height) {
  if (width < 1 || height < 1 || width > input.max_pixels || height > input.max_pixels / width)
    throw Error(ErrorCode::bad_file, input.where,
                "expected 1 to " + std::to_string(input.max_pixels) + " pixels but got " + std::to_string(width) +
                    " x " + std::to_string(height));
}

}  // namespace media

namespace {

struct Signature {
  std::string_view bytes;
  size_t at;
  const char* name;
  Image (*decode)(const media::Input& input);  // null: recognised, not supported
};

using namespace std::string_view_literals;
constexpr Signature kSignatures[] = {{"\xff\xd8\xff"sv, 0, "JPEG", media::decode_jpeg},
                                     {"\x89PNG\r\n\x1a\n"sv, 0, "PNG", media::decode_png},
                                     {"WEBP"sv, 8, "WEBP", media::decode_webp},
                                     {"GIF8"sv, 0, "GIF", nullptr},
                                     {"II*\0"sv, 0, "TIFF", nullptr},
                                     {"MM\0*"sv, 0, "TIFF", nullptr},
                                     {"BM"sv, 0, "BMP", nullptr},
                                     {"ftypavif"sv, 4, "AVIF", nullptr},
                                     {"ftyphei"sv, 4, "HEIF", nullptr},
                                     {"\0\0\0\x0cjP  "sv, 0, "JPEG 2000", nullptr},
                                     {"%PDF"sv, 0, "PDF", nullptr}};

// Pillow's CMYK to RGB: what ink leaves of the light.
uint8_t cmyk_channel(uint32_t ink, uint32_t light) {
  const uint32_t product = ink * light + 128;
  return uint8_t(light - ((product + (product >> 8)) >> 8));
}

Tensor to_rgb(const Image& image) {
  if (image.mode == "RGB") return image.pixels;
  const int64_t channels = image.pixels.size(2), pixels = image.pixels.size(0) * image.pixels.size(1);
  Tensor result = Tensor::empty({image.pixels.size(0), image.pixels.size(1), 3}, DType::U8);
  const uint8_t* in = image.pixels.data<uint8_t>();
  uint8_t* out = result.data<uint8_t>();
  for (int64_t i = 0; i < pixels; i++, in += channels, out += 3) {
    for (int64_t c = 0; c < 3; c++) {
      if (image.mode == "CMYK")
        out[c] = cmyk_channel(in[c], 255u - in[3]);
      else
        out[c] = in[channels < 3 ? 0 : c];
    }
  }
  return result;
}

// EXIF orientations: from 5 on rows and columns change places; then some run backwards.
Tensor turned(const Tensor& image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const int64_t in_height = image.size(0), in_width = image.size(1), channels = image.size(2);
  const int64_t height = swap ? in_width : in_height, width = swap ? in_height : in_width;
  Tensor result = Tensor::empty({height, width, channels}, DType::U8);
  const uint8_t* in = image.data<uint8_t>();
  uint8_t* out = result.data<uint8_t>();
  for (int64_t y = 0; y < height; y++) {
    for (int64_t x = 0; x < width; x++) {
      const int64_t across = flip_x ? width - 1 - x : x, down = flip_y ? height - 1 - y : y;
      const uint8_t* from = in + (swap ? across * in_width + down : down * in_width + across) * channels;
      for (int64_t c = 0; c < channels; c++) *out++ = from[c];
    }
  }
  return result;
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, std::string_view where, const ImageOptions& options) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Signature& signature : kSignatures) {
    if (text.size() < signature.at || !text.substr(signature.at).starts_with(signature.bytes)) continue;
    if (signature.decode != nullptr)
      return signature.decode({.bytes = bytes, .where = std::string(where), .max_pixels = options.max_pixels});
    throw Error(ErrorCode::unsupported, where,
                std::string("expected a JPEG, PNG or WebP image but got ") + signature.name +
                    ": convert it, or decode it yourself and pass the pixels");
  }
  throw Error(ErrorCode::bad_file, where,
              bytes.empty() ? "expected an image but got an empty file"
                            : "expected a JPEG, PNG or WebP image but got an unknown format");
}

Image read_image(const std::string& path, const ImageOptions& options) {
  const Bytes bytes = load_bytes(File::open(path), Access::read);
  return decode_image(bytes.span, path, options);
}

Tensor upright_rgb(const Image& image) { return turned(to_rgb(image), image.orientation); }

Tensor load_image(const std::string& path, const ImageOptions& options) {
  return upright_rgb(read_image(path, options));
}

}  // namespace caracal
