// Image files: JPEG, PNG and WebP, with the pixels that Pillow gives for the same file. Part of caracal::media.
//
//   Tensor image = load_image("cat.jpg");          // (H, W, 3) U8, upright: transformers' load_image
//   Image whole = read_image("scan.png");          // with its own channels and its EXIF orientation as data
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <caracal/runtime/tensor.h>

namespace caracal {

struct ImageOptions {
  /// A file that claims more pixels is refused before any are decoded; Pillow warns from there on.
  int64_t max_pixels = 89'478'485;
};

/// A decoded file. `mode` says what the channels of `pixels` (H, W, C) U8 are: "L", "LA", "RGB", "RGBA" or "CMYK".
/// Palettes are looked up, 16-bit samples cut to their high byte (grey ones clipped to 255, as Pillow's conversion
/// does), and an animation gives its first frame.
struct Image {
  Tensor pixels;
  std::string mode;
  std::string format;   // "JPEG", "PNG" or "WEBP"
  int orientation = 1;  // EXIF's (or else XMP's) number, 1 to 8; pixels are as stored
};

/// Decodes a file's bytes; `where` names it in messages. Throws bad_file for damaged, truncated or empty data and for
/// too many pixels, unsupported for other formats (GIF, TIFF, BMP, …).
Image decode_image(std::span<const uint8_t> bytes, std::string_view where, const ImageOptions& options = {});
/// The same from a file. Throws not_found and io, too.
Image read_image(const std::string& path, const ImageOptions& options = {});

/// The image turned as its orientation says (PIL.ImageOps.exif_transpose) and converted to RGB: alpha dropped, CMYK as
/// Pillow computes it. -> (H, W, 3) U8. An orientation that is no number of EXIF's turns nothing. Throws
/// invalid_argument for pixels that are not U8, where a caller made the Image.
Tensor upright_rgb(const Image& image);

/// transformers.image_utils.load_image of a local file: upright_rgb(read_image(path)). -> (H, W, 3) U8. Throws as
/// read_image does: not_found, io, bad_file or unsupported.
Tensor load_image(const std::string& path, const ImageOptions& options = {});

}  // namespace caracal
