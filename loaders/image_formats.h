// The decoders behind image.h. Each checks the size it reads against the limit before it takes memory for pixels.
#pragma once

#include <optional>

#include <caracal/loaders/image.h>

namespace caracal::media {

struct Input {
  std::span<const uint8_t> bytes;
  std::string where;
  int64_t max_pixels;
};

[[noreturn]] void bad_image(const Input& input, const std::string& got);
/// Throws bad_file unless height x width is at least 1 and within the limit.
void check_size(const Input& input, int64_t width, int64_t height);

Image decode_jpeg(const Input& input);
Image decode_png(const Input& input);
Image decode_webp(const Input& input);

/// The orientation in the TIFF structure of an EXIF block (with or without "Exif\0\0" before it); empty where it has
/// none. Throws bad_file when it does not begin as TIFF does, which stops Pillow too.
std::optional<int> exif_orientation(const Input& input, std::span<const uint8_t> exif);
/// The tiff:Orientation of an XMP packet, searched for as Pillow does.
std::optional<int> xmp_orientation(const Input& input, std::span<const uint8_t> xmp);

}  // namespace caracal::media
