// Convolutions, images and sound on a device.
#include <caracal/runtime/cuda_arguments.h>

namespace caracal::cuda_ops {

using kernels::cuda::act;
using kernels::cuda::Cuda;

void convolution(Ctx& ctx, const Tensor& x, const Convolution& weights, const Images* images, const Images* to,
                 const Ragged* sequences, const Ragged* out_sequences, const ConvolutionOptions& options, Tensor& out) {
  const char* op = images != nullptr ? "conv2d" : "conv1d";
  kernels::cuda::ConvolutionArgs args{};
  args.type = type_of(ctx);
  args.out = numbers(ctx, op, out);
  args.x = numbers(ctx, op, x);
  args.w = weights.packed.get();
  args.bias = floats(op, weights.bias);
  args.residual = options.residual != nullptr ? numbers(ctx, op, *options.residual) : nullptr;
  args.height = args.width = args.out_height = args.out_width = 1;
  if (images != nullptr) {
    args.batch = images->count;
    args.height = images->height, args.width = images->width;
    args.out_height = to->height, args.out_width = to->width;
  } else {
    const Sequences in = on_device(ctx, *sequences), made = on_device(ctx, *out_sequences);
    args.batch = sequences->batch;
    args.in_offsets = in.offsets;
    args.in_lengths = in.lengths;
    args.out_offsets = made.offsets;
  }
  args.rows = out.size(0);
  args.in_channels = weights.in_channels;
  args.out_channels = weights.out_channels;
  args.groups = weights.groups;
  args.kernel_y = weights.y.kernel, args.kernel_x = weights.x.kernel;
  args.stride_y = weights.y.stride, args.stride_x = weights.x.stride;
  args.pad_y = weights.y.padding, args.pad_x = weights.x.padding;
  args.dilation_y = weights.y.dilation, args.dilation_x = weights.x.dilation;
  args.activation = act(options.activation);
  args.residual_first = options.residual_first;
  args.tf32 = ctx.runtime().tf32();
  ctx.cuda()->launch<&Cuda::convolution>(args);
}

void group_norm(Ctx& ctx, Tensor& x, const Ragged& sequences, const GroupNorm& weights, Activation activation) {
  Ctx::Scope scope(ctx);
  const Sequences s = on_device(ctx, sequences);
  kernels::cuda::GroupNormArgs args{};
  args.type = type_of(ctx);
  args.x = numbers(ctx, "group_norm", x);
  args.offsets = s.offsets;
  args.lengths = s.lengths;
  args.weight = floats("group_norm", weights.weight);
  args.bias = floats("group_norm", weights.bias);
  args.batch = sequences.batch;
  args.tokens = x.size(0);
  args.cols = x.size(1);
  args.groups = weights.groups;
  args.eps = double(weights.eps);
  args.activation = act(activation);
  args.scratch = ctx.scratch(ctx.cuda()->device().table().group_norm_scratch(args.batch, args.tokens, args.cols));
  ctx.cuda()->launch<&Cuda::group_norm>(args);
}

void normalized_conv1d(Ctx& ctx, const Tensor& x, const Ragged& sequences, const Ragged& to,
                       const NormalizedConv1d& weights, Activation activation, Tensor& out) {
  const char* op = "normalized_conv1d";
  Ctx::Scope scope(ctx);
  const Sequences in = on_device(ctx, sequences), made = on_device(ctx, to);
  kernels::cuda::NormalizedConv1dArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.x = floats(op, x);
  args.w = floats(op, weights.weight);
  args.weight = floats(op, weights.norm.weight);
  args.bias = floats(op, weights.norm.bias);
  args.in_offsets = in.offsets;
  args.in_lengths = in.lengths;
  args.out_offsets = made.offsets;
  args.batch = sequences.batch;
  args.tokens = to.tokens;
  args.channels = weights.norm.groups;
  args.kernel = weights.window.kernel;
  args.stride = weights.window.stride;
  args.eps = double(weights.norm.eps);
  args.activation = act(activation);
  args.scratch = ctx.scratch(
      ctx.cuda()->device().table().normalized_conv1d_scratch(args.batch, args.tokens, args.channels, args.kernel));
  ctx.cuda()->launch<&Cuda::normalized_conv1d>(args);
}

void image_patches(Ctx& ctx, const Tensor& images, int64_t patch_height, int64_t patch_width, Tensor& out) {
  kernels::cuda::PatchesArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.images = floats("image_patches", images);
  args.batch = images.size(0), args.channels = images.size(1);
  args.height = images.size(2), args.width = images.size(3);
  args.patch_height = patch_height, args.patch_width = patch_width;
  ctx.cuda()->launch<&Cuda::patches>(args);
}

void pixel_shuffle(Ctx& ctx, const Tensor& x, int64_t height, int64_t width, int64_t factor, Tensor& out) {
  kernels::cuda::PixelShuffleArgs args{};
  args.type = type_of(ctx);
  args.out = static_cast<float*>(out.raw());
  args.x = numbers(ctx, "pixel_shuffle", x);
  args.batch = out.size(0), args.channels = out.size(1);
  args.height = height, args.width = width;
  args.factor = factor;
  ctx.cuda()->launch<&Cuda::pixel_shuffle>(args);
}

namespace {
kernels::cuda::ResizeArgs resize(Ctx& ctx, const char* op, const Tensor& x, const Images& from, const Images& to,
                                 Tensor& out) {
  kernels::cuda::ResizeArgs args{};
  args.type = type_of(ctx);
  args.out = numbers(ctx, op, out);
  args.x = numbers(ctx, op, x);
  args.batch = from.count;
  args.cols = x.size(1);
  args.height = from.height, args.width = from.width;
  args.out_height = to.height, args.out_width = to.width;
  return args;
}
}  // namespace

void interpolate_bicubic(Ctx& ctx, const Tensor& grid, int64_t height, int64_t width, int64_t out_height,
                         int64_t out_width, Tensor& out) {
  ctx.cuda()->launch<&Cuda::interpolate_bicubic>(
      resize(ctx, "interpolate_bicubic", grid, {1, height, width}, {1, out_height, out_width}, out));
}

void pool_2d(Ctx& ctx, const Tensor& x, Images images, const Window& y, const Window& x_window, Images to, bool most,
             Tensor& out) {
  kernels::cuda::WindowPoolArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.x = numbers(ctx, "pool_2d", x);
  args.batch = images.count;
  args.channels = x.size(1);
  args.height = images.height, args.width = images.width;
  args.out_height = to.height, args.out_width = to.width;
  args.kernel_y = y.kernel, args.kernel_x = x_window.kernel;
  args.stride_y = y.stride, args.stride_x = x_window.stride;
  args.pad_y = y.padding, args.pad_x = x_window.padding;
  args.dilation_y = y.dilation, args.dilation_x = x_window.dilation;
  if (most)
    ctx.cuda()->launch<&Cuda::max_pool_2d>(args);
  else
    ctx.cuda()->launch<&Cuda::average_pool_2d>(args);
}

void window_means(Ctx& ctx, const Tensor& x, Images images, int64_t kernel, int64_t out_height, int64_t out_width,
                  Tensor& out) {
  if (kernel == 1)
    return ctx.cuda()->launch<&Cuda::adaptive_average_pool_2d>(
        resize(ctx, "window_means", x, images, {images.count, out_height, out_width}, out));
  kernels::cuda::WindowMeansArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.x = numbers(ctx, "window_means", x);
  args.batch = images.count;
  args.cols = x.size(1);
  args.height = images.height, args.width = images.width;
  args.kernel = kernel;
  args.out_height = out_height, args.out_width = out_width;
  ctx.cuda()->launch<&Cuda::window_means>(args);
}

void image_rows(Ctx& ctx, const Tensor& images, const Tensor& mean, const Tensor& deviation, Tensor& out) {
  kernels::cuda::ImageRowsArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  if (!images.on_cuda()) fail("image_rows", "memory of the device", "memory of the CPU");
  args.images = images.raw();
  args.bytes = images.dtype() == DType::U8;
  args.mean = floats("image_rows", mean);
  args.deviation = floats("image_rows", deviation);
  args.batch = images.size(0), args.channels = images.size(1);
  args.pixels = images.size(2) * images.size(3);
  ctx.cuda()->launch<&Cuda::image_rows>(args);
}

void add_upsampled(Ctx& ctx, const Tensor& x, const Images& images, Tensor& onto) {
  ctx.cuda()->launch<&Cuda::add_upsampled>(
      resize(ctx, "add_upsampled", x, images, {images.count, 2 * images.height, 2 * images.width}, onto));
}

}  // namespace caracal::cuda_ops
