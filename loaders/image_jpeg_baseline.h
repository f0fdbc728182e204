// A fast way through the common kind of JPEG, beside libjpeg. Behind image_jpeg.cpp.
#pragma once

#include <cstdint>
#include <span>

struct jpeg_decompress_struct;  // libjpeg's

namespace caracal::media {

/// Decodes what libjpeg has read the header of: `scan` is the file from behind it, `out` (height, width, 1 or 3) gets
/// libjpeg's pixels to the bit. For baseline files, one scan of grey or of YCbCr in 4:4:4, 4:2:2 or 4:2:0 Huffman
/// codes, without any flaw. False for all others, whose pixels, or whose fault, libjpeg is to find; `out` is then
/// undefined.
bool decode_baseline_jpeg(const jpeg_decompress_struct& info, std::span<const uint8_t> scan, uint8_t* out);

}  // namespace caracal::media
