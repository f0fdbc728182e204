// What image processors do to one image: shapes, sizes and pixels (transformers' image_transforms). Images are (H, W,
// C) and planes (C, H, W), U8 or F32. Errors are invalid_argument and begin with `where`.
#pragma once

#include <string>

#include <caracal/runtime/json.h>
#include <caracal/runtime/tensor.h>

namespace caracal::image_transforms {

[[noreturn]] void fail(const std::string& where, const std::string& expected, const std::string& got);
/// "str 'x'": a value and its type, for messages.
std::string describe(const Json& value);

struct Extent {
  int64_t height, width;
};
/// Throws unless 1 to kMaxProcessedPixels pixels.
Extent checked_extent(Extent extent, const std::string& where);
/// What an image of `in` is resized to by a size argument in object form.
Extent target_extent(Extent in, const Json& size, const std::string& where);
/// height and width of a size argument.
Extent exact_extent(const Json& size, const std::string& where);

/// An image as (H, W, C), U8 or else F32; where its channels are, `input_data_format` says, or its sizes when null.
Tensor normal_form(const Tensor& image, const Json& input_data_format, const std::string& where);
Tensor channels_first(const Tensor& image);
/// Grey to three channels; alpha composed on white, as convert_to_rgb does with arrays.
Tensor convert_to_rgb(const Tensor& image, const std::string& where);
/// What the PIL backend does with F32 images before it resizes: whole numbers are taken for 0 … 255, others must be
/// 0 … 1, which `scaled` tells. -> U8.
Tensor quantised(const Tensor& image, bool& scaled, const std::string& where);
/// The middle of the image; zeros around an image that is too small.
Tensor center_crop(const Tensor& image, Extent crop);
/// Zeros to the right of planes and below.
Tensor pad(const Tensor& planes, Extent extent, const std::string& where);

}  // namespace caracal::image_transforms
