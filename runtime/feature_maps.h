// Images as rows of features, a row a pixel (see convolution.h): patches, pools, other sizes.
#pragma once

#include <caracal/runtime/convolution.h>

namespace caracal {

/// The non-overlapping patches of images (B, C, height, width), left to right, top to bottom, as rows of
/// C · patch_height · patch_width values: what a convolution whose stride is its kernel multiplies. What is left at the
/// right and the bottom is cut off. -> (B · patches, C · patch_height · patch_width)
Tensor image_patches(Ctx& ctx, const Tensor& images, int64_t patch_height, int64_t patch_width);
/// torch.nn.PixelShuffle: x (B · height · width, C · factor²), a row a pixel, -> (B, C, height · factor, width ·
/// factor).
Tensor pixel_shuffle(Ctx& ctx, const Tensor& x, int64_t batch, int64_t height, int64_t width, int64_t factor);
/// torch.nn.functional.interpolate(mode="bicubic", align_corners=False) of a grid of rows:
/// (height · width, H) -> (out_height · out_width, H).
Tensor interpolate_bicubic(Ctx& ctx, const Tensor& grid, int64_t height, int64_t width, int64_t out_height,
                           int64_t out_width);

/// torch.nn.MaxPool2d, NaN propagating: (count · height · width, C) -> (count · out_height · out_width, C).
Tensor max_pool_2d(Ctx& ctx, const Tensor& x, Images images, const Window& y, const Window& x_window, Images* out);
/// torch.nn.AvgPool2d, padding counted.
Tensor average_pool_2d(Ctx& ctx, const Tensor& x, Images images, const Window& y, const Window& x_window, Images* out);
/// torch.nn.AdaptiveAvgPool2d((out_height, out_width)).
Tensor adaptive_average_pool_2d(Ctx& ctx, const Tensor& x, Images images, int64_t out_height, int64_t out_width);
/// An adaptive average pool of a convolution is that convolution of these means: of each cell's pixels, moved by every
/// tap of a kernel of odd size with stride 1 and padding kernel / 2 -> (count · out_height · out_width, kernel² · C).
Tensor window_means(Ctx& ctx, const Tensor& x, Images images, int64_t kernel, int64_t out_height, int64_t out_width);
/// Images (B, C, height, width) U8 or F32 as rows (B · height · width, C) of (value - mean) / deviation; both (C).
Tensor image_rows(Ctx& ctx, const Tensor& images, const Tensor& mean, const Tensor& deviation);
/// Adds x (count · height · width, C), each pixel repeated 2 x 2 (nearest ×2 upsampling), to `onto`
/// (count · 2 height · 2 width, C), in place: the top-down step of a feature pyramid.
void add_upsampled(Ctx& ctx, const Tensor& x, const Images& images, Tensor& onto);

}  // namespace caracal
