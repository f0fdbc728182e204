#include <caracal/runtime/feature_maps.h>

#include <caracal/runtime/cuda_ops.h>
#include <caracal/runtime/ops_checks.h>

namespace caracal {
namespace {

using PoolKernel = void (*)(float*, const kernels::WindowArgs&, int64_t, int64_t);

Tensor pool_2d(Ctx& ctx, const char* op, const Tensor& x, Images images, const Window& y, const Window& x_window,
               Images* out, PoolKernel kernel, bool most) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_input(op, x, cols, images.count * images.pixels());
  if (y.stride < 1 || x_window.stride < 1 || y.dilation < 1 || x_window.dilation < 1)
    fail(op, "strides and dilations of at least 1", "less");
  *out = {images.count, y.outputs(images.height), x_window.outputs(images.width)};
  if (out->pixels() == 0) return ctx.empty({0, cols});
  const int64_t pixels = out->pixels(), out_width = out->width;
  Tensor result = ctx.empty({out->count * pixels, cols});
  if (x.on_cuda()) return cuda_ops::pool_2d(ctx, x, images, y, x_window, *out, most, result), result;
  kernels::WindowArgs window{};
  window.ldx = window.channels = cols;
  window.height = images.height, window.width = images.width;
  window.kernel_y = y.kernel, window.kernel_x = x_window.kernel;
  window.stride_y = y.stride, window.stride_x = x_window.stride;
  window.pad_y = y.padding, window.pad_x = x_window.padding;
  window.dilation_y = y.dilation, window.dilation_x = x_window.dilation;
  window.out_width = out_width;
  float* to = result.data<float>();
  ctx.parallel(out->count * out->height, row_grain(out_width * cols * y.kernel * x_window.kernel),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t line = begin; line < end; line++) {
                   const int64_t image = line * out_width / pixels, first = line * out_width % pixels;
                   kernels::WindowArgs w = window;
                   w.x = x.data<float>() + image * images.pixels() * cols;
                   kernel(to + line * out_width * cols, w, first, first + out_width);
                 }
               });
  return result;
}

}  // namespace

Tensor image_patches(Ctx& ctx, const Tensor& images, int64_t patch_height, int64_t patch_width) {
  if (images.rank() != 4 || images.dtype() != DType::F32 || patch_height < 1 || patch_width < 1 ||
      images.size(2) < patch_height || images.size(3) < patch_width)
    fail("image_patches",
         "images (B, C, height, width) F32 of at least " + Shape{patch_height, patch_width}.str() + " pixels",
         images.shape().str() + " " + std::string(name_of(images.dtype())));
  const int64_t batch = images.size(0), channels = images.size(1), height = images.size(2), width = images.size(3);
  const int64_t patches = (height / patch_height) * (width / patch_width), cols = channels * patch_height * patch_width;
  Tensor out = ctx.empty({batch * patches, cols});
  if (images.on_cuda()) return cuda_ops::image_patches(ctx, images, patch_height, patch_width, out), out;
  const float* in = images.data<float>();
  float* to = out.data<float>();
  ctx.parallel(batch * patches, row_grain(cols), [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t image = begin / patches, first = begin % patches, last = std::min(patches, first + end - begin);
      ctx.cpu().patches_f32(to + begin * cols, in + image * channels * height * width, channels, height, width,
                            patch_height, patch_width, first, last);
      begin += last - first;
    }
  });
  return out;
}

Tensor pixel_shuffle(Ctx& ctx, const Tensor& x, int64_t batch, int64_t height, int64_t width, int64_t factor) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0, pixels = height * width;
  expect_matrix("pixel_shuffle", "x", x, cols);
  if (factor < 1 || cols % (factor * factor) != 0 || x.size(0) != batch * pixels)
    fail("pixel_shuffle", Shape{batch * pixels}.str() + " rows of C · " + std::to_string(factor) + "² columns",
         x.shape().str());
  const int64_t channels = cols / (factor * factor);
  Tensor out = ctx.empty({batch, channels, height * factor, width * factor}, DType::F32);
  if (x.on_cuda()) return cuda_ops::pixel_shuffle(ctx, x, height, width, factor, out), out;
  const float* in = x.data<float>();
  float* to = out.data<float>();
  ctx.parallel(batch, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++)
      ctx.cpu().pixel_shuffle_f32(to + b * pixels * cols, in + b * pixels * cols, channels, height, width, factor);
  });
  return out;
}

Tensor interpolate_bicubic(Ctx& ctx, const Tensor& grid, int64_t height, int64_t width, int64_t out_height,
                           int64_t out_width) {
  const int64_t cols = grid.rank() == 2 ? grid.size(1) : 0;
  expect_matrix("interpolate_bicubic", "grid", grid, cols);
  if (height < 1 || width < 1 || out_height < 1 || out_width < 1 || grid.size(0) != height * width)
    fail("interpolate_bicubic", "a grid of " + Shape{height, width}.str() + " rows", grid.shape().str());
  Tensor out = ctx.empty({out_height * out_width, cols});
  if (grid.on_cuda()) return cuda_ops::interpolate_bicubic(ctx, grid, height, width, out_height, out_width, out), out;
  float* to = out.data<float>();
  ctx.parallel(out_height * out_width, row_grain(16 * cols), [&](int64_t begin, int64_t end, int) {
    ctx.cpu().interpolate_bicubic_f32(to + begin * cols, grid.data<float>(), height, width, cols, out_height, out_width,
                                      begin, end);
  });
  return out;
}

Tensor max_pool_2d(Ctx& ctx, const Tensor& x, Images images, const Window& y, const Window& x_window, Images* out) {
  return pool_2d(ctx, "max_pool_2d", x, images, y, x_window, out, ctx.cpu().max_pool_2d_f32, /*most=*/true);
}
Tensor average_pool_2d(Ctx& ctx, const Tensor& x, Images images, const Window& y, const Window& x_window, Images* out) {
  return pool_2d(ctx, "average_pool_2d", x, images, y, x_window, out, ctx.cpu().average_pool_2d_f32, /*most=*/false);
}

Tensor adaptive_average_pool_2d(Ctx& ctx, const Tensor& x, Images images, int64_t out_height, int64_t out_width) {
  return window_means(ctx, x, images, 1, out_height, out_width);
}

Tensor window_means(Ctx& ctx, const Tensor& x, Images images, int64_t kernel, int64_t out_height, int64_t out_width) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0, cells = out_height * out_width, width = kernel * kernel * cols;
  expect_input("window_means", x, cols, images.count * images.pixels());
  if (out_height < 1 || out_width < 1 || images.pixels() < 1 || kernel < 1 || kernel % 2 == 0)
    fail("window_means", "images and outputs of at least one pixel, and an odd kernel",
         Shape{out_height, out_width}.str() + " and " + std::to_string(kernel));
  Tensor result = ctx.empty({images.count * cells, width});
  if (x.on_cuda()) return cuda_ops::window_means(ctx, x, images, kernel, out_height, out_width, result), result;
  float* to = result.data<float>();
  ctx.parallel(images.count * cells, row_grain(width * (images.pixels() / cells + 1)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t i = begin; i < end; i++)
                   ctx.cpu().window_means_f32(to + i * width, x.data<float>() + i / cells * images.pixels() * cols,
                                              images.height, images.width, cols, kernel, out_height, out_width,
                                              i % cells, i % cells + 1);
               });
  return result;
}

Tensor image_rows(Ctx& ctx, const Tensor& images, const Tensor& mean, const Tensor& deviation) {
  const int64_t channels = mean.numel();
  if (images.rank() != 4 || images.size(1) != channels || (images.dtype() != DType::F32 && images.dtype() != DType::U8))
    fail("image_rows", "images (B, " + std::to_string(channels) + ", height, width) U8 or F32",
         images.shape().str() + " " + std::string(name_of(images.dtype())));
  expect_matrix("image_rows", "mean", mean.reshape({1, channels}), channels);
  expect_matrix("image_rows", "deviation", deviation.reshape({1, deviation.numel()}), channels);
  const int64_t batch = images.size(0), pixels = images.size(2) * images.size(3);
  Tensor result = ctx.empty({batch * pixels, channels});
  if (ctx.cuda() != nullptr) return cuda_ops::image_rows(ctx, images, mean, deviation, result), result;
  float* to = result.data<float>();
  auto convert = [&](const auto* from) {
    ctx.parallel(batch * pixels, row_grain(channels), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const auto* pixel = from + i / pixels * channels * pixels + i % pixels;
        for (int64_t c = 0; c < channels; c++)
          to[i * channels + c] = (float(pixel[c * pixels]) - mean.data<float>()[c]) / deviation.data<float>()[c];
      }
    });
  };
  if (images.dtype() == DType::U8)
    convert(images.data<uint8_t>());
  else
    convert(images.data<float>());
  return result;
}

void add_upsampled(Ctx& ctx, const Tensor& x, const Images& images, Tensor& onto) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0, pixels = images.pixels();
  expect_input("add_upsampled", x, cols, images.count * pixels);
  if (onto.shape() != Shape{4 * images.count * pixels, cols})
    fail("add_upsampled", "a sum of shape " + Shape{4 * images.count * pixels, cols}.str(), onto.shape().str());
  if (onto.on_cuda()) return cuda_ops::add_upsampled(ctx, x, images, onto);
  float* to = onto.data<float>();
  const int64_t width = 2 * images.width;
  ctx.parallel(images.count * 2 * images.height, row_grain(width * cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t line = begin; line < end; line++) {
      const int64_t image = line / (2 * images.height), first = line % (2 * images.height) * width;
      ctx.cpu().add_upsampled_f32(to + line * width * cols, x.data<float>() + image * pixels * cols, images.width, cols,
                                  first, first + width);
    }
  });
}

}  // namespace caracal
