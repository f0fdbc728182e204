// Operations on images of bytes: (height, width, channels), channels interleaved, as decoders give them. Results equal
// Pillow's to the bit, on every instruction set and for every thread count.
#pragma once

#include <string_view>
#include <vector>

#include <caracal/runtime/runtime.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// Resampling filters, with Pillow's numbers (PIL.Image.Resampling).
enum class Resample { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };

/// PIL.Image.resize((width, height), filter) of a (H, W, C) U8 image of 1 to 4 channels -> (height, width, C) U8. With
/// 2 or 4 channels the last one is alpha, by which Pillow weights colours while it filters. An equal size gives a copy.
/// Throws invalid_argument for another shape or dtype, or for sizes below 1 or above 2^24.
Tensor resize_image(const Runtime& runtime, const Tensor& image, int64_t height, int64_t width, Resample filter);

/// out[c][y][x] = tables[c][image[y][x][c]]: any function of one byte, and the channels apart. (H, W, C) U8 and a table
/// (C, 256) F32 -> (C, H, W) F32. Throws invalid_argument when they do not fit.
Tensor lookup_planes(const Runtime& runtime, const Tensor& image, const Tensor& tables);

}  // namespace caracal
