#include <caracal/runtime/convolution.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <caracal/runtime/checked.h>
#include <caracal/runtime/cuda_device.h>
#include <caracal/runtime/cuda_ops.h>
#include <caracal/runtime/ops_checks.h>

namespace caracal {
namespace {

// What one task keeps of the input while all columns of the weights pass over it: half of a usual L2.
constexpr int64_t kBlockBytes = 512 * 1024;
constexpr int64_t kLeastRows = 32, kMostRows = 1024;

// Where the rows of the left operand come from.
enum class Source {
  strided,  // windows are runs of the input itself
  line,     // windows are runs of a copy of the group's channels with the padding written out
  windows,  // windows are copied one by one
};

// One image, or one sequence as an image of height 1.
struct Plane {
  int64_t in_row, height, width;        // first row of x, size
  int64_t out_row, out_width, outputs;  // first row of the result, size
};

// A convolution's product over planes: the same weights, and blocks of rows that tasks take.
class Product {
 public:
  Product(Ctx& ctx, const Convolution& conv, int64_t planes, int64_t most_outputs, bool one_line)
      : ctx_(ctx), conv_(conv), planes_(planes) {
    channels_ = conv.in_channels / conv.groups;
    n_ = conv.out_channels / conv.groups;
    k_ = conv.y.kernel * conv.x.kernel * channels_;
    const kernels::Kernels& cpu = ctx.cpu();
    panel_width_ = cpu.panel_width_f32(n_);
    panels_ = (n_ + panel_width_ - 1) / panel_width_;
    group_bytes_ = cpu.packed_bytes_f32(n_, k_);

    const bool flat = conv.y.kernel == 1 && conv.y.padding == 0;  // no window reaches another line
    const bool run = conv.x.kernel == 1 || conv.x.dilation == 1;
    const bool pointwise = flat && conv.x.kernel == 1 && conv.x.stride == 1 && conv.y.stride == 1 && !conv.x.padding &&
                           !conv.x.cut && !conv.y.cut;
    if (conv.groups == 1 && (pointwise || (one_line && flat && run && conv.x.padding == 0)))
      source_ = Source::strided;
    else
      source_ = one_line && flat && run ? Source::line : Source::windows;

    const int64_t row_bytes = (source_ == Source::windows ? k_ : conv.x.stride * channels_) * int64_t(sizeof(float));
    const int64_t wanted = 4 * ctx.runtime().threads(), units = std::max<int64_t>(1, planes * conv.groups);
    rows_ = std::clamp<int64_t>(kBlockBytes / std::max<int64_t>(row_bytes, 1), kLeastRows, kMostRows);
    if (ctx.runtime().threads() > 1) rows_ = std::clamp<int64_t>(most_outputs * units / wanted, kLeastRows, rows_);
    row_blocks_ = std::max<int64_t>(1, (most_outputs + rows_ - 1) / rows_);
    rows_ = (most_outputs + row_blocks_ - 1) / row_blocks_;
    panel_blocks_ =
        ctx.runtime().threads() == 1 ? 1 : std::clamp<int64_t>(wanted / (2 * units * row_blocks_), 1, panels_);
    const int64_t floats = source_ == Source::strided ? 0
                           : source_ == Source::line  ? line_positions(rows_) * channels_
                                                      : rows_ * k_;
    scratch_bytes_ = size_t(floats + 15) / 16 * 16 * sizeof(float);
  }

  // plane_of(i) gives plane i.
  template <class F>
  void run(const Tensor& x, Tensor& out, const ConvolutionOptions& options, F plane_of) {
    Ctx::Scope scope(ctx_);
    char* scratch = static_cast<char*>(ctx_.scratch(scratch_bytes_ * size_t(ctx_.runtime().max_tasks())));
    const int64_t per_plane = conv_.groups * row_blocks_ * panel_blocks_;
    const int64_t work = 2 * rows_ * k_ * std::max<int64_t>(1, n_ / panel_blocks_);
    ctx_.parallel(planes_ * per_plane, kWorthATask / std::max<int64_t>(1, work),
                  [&](int64_t begin, int64_t end, int task) {
                    float* own = reinterpret_cast<float*>(scratch + size_t(task) * scratch_bytes_);
                    for (int64_t item = begin; item < end; item++) {
                      const Plane plane = plane_of(item / per_plane);
                      const int64_t within = item % per_plane, panel = within % panel_blocks_;
                      const int64_t block = within / panel_blocks_ % row_blocks_;
                      multiply(x, out, options, plane, within / panel_blocks_ / row_blocks_, block * rows_, panel, own);
                    }
                  });
  }

 private:
  // Positions of a padded line that the windows of `rows` outputs cover.
  int64_t line_positions(int64_t rows) const {
    return (rows - 1) * conv_.x.stride + (conv_.x.kernel - 1) * conv_.x.dilation + 1;
  }

  void multiply(const Tensor& x, Tensor& out, const ConvolutionOptions& options, const Plane& plane, int64_t group,
                int64_t first, int64_t panel_block, float* scratch) const {
    const int64_t rows = std::min(rows_, plane.outputs - first);
    if (rows <= 0) return;
    const kernels::Kernels& cpu = ctx_.cpu();
    const float* in = x.data<float>() + plane.in_row * conv_.in_channels + group * channels_;
    const int64_t out_row = plane.out_row + first, column = group * n_;
    kernels::GemmArgs args{};
    if (source_ == Source::strided) {
      args.lda = conv_.x.stride * channels_;
      args.a = in + first * args.lda;
    } else {
      kernels::WindowArgs window{};
      window.x = in;
      window.ldx = conv_.in_channels;
      window.height = plane.height;
      window.width = plane.width;
      window.channels = channels_;
      window.kernel_y = window.kernel_x = window.stride_y = window.stride_x = window.dilation_y = window.dilation_x = 1;
      window.pad_x = conv_.x.padding;
      if (source_ == Source::line) {
        window.out_width = plane.width + 2 * conv_.x.padding;
        const int64_t begin = first * conv_.x.stride;
        cpu.window_rows_f32(scratch, window, begin, begin + line_positions(rows));
        args.lda = conv_.x.stride * channels_;
      } else {
        window.kernel_y = conv_.y.kernel, window.kernel_x = conv_.x.kernel;
        window.stride_y = conv_.y.stride, window.stride_x = conv_.x.stride;
        window.dilation_y = conv_.y.dilation, window.dilation_x = conv_.x.dilation;
        window.pad_y = conv_.y.padding;
        window.out_width = plane.out_width;
        cpu.window_rows_f32(scratch, window, first, first + rows);
        args.lda = k_;
      }
      args.a = scratch;
    }
    args.packed = static_cast<const char*>(conv_.packed.get()) + size_t(group) * group_bytes_;
    args.c = out.data<float>() + out_row * conv_.out_channels + column;
    args.ldc = args.ldr = conv_.out_channels;
    args.rows = rows;
    args.n = n_;
    args.k = k_;
    args.bias = conv_.bias.defined() ? conv_.bias.data<float>() + column : nullptr;
    args.activation = options.activation;
    if (options.residual != nullptr)
      args.residual = options.residual->data<float>() + out_row * conv_.out_channels + column;
    args.residual_first = options.residual_first;
    args.panel_begin = panels_ * panel_block / panel_blocks_;
    args.panel_end = panels_ * (panel_block + 1) / panel_blocks_;
    cpu.gemm_f32(args);
  }

  Ctx& ctx_;
  const Convolution& conv_;
  int64_t planes_, channels_, n_, k_, panel_width_, panels_;
  Source source_;
  int64_t rows_, row_blocks_, panel_blocks_;
  size_t group_bytes_, scratch_bytes_;
};

Tensor make_result(Ctx& ctx, const char* op, const ConvolutionOptions& options, const Shape& shape) {
  if (options.residual != nullptr && options.residual->shape() != shape)
    fail(op, "residual of shape " + shape.str(), options.residual->shape().str());
  if (options.into == nullptr) return ctx.empty(shape);
  if (options.into->shape() != shape) fail(op, "into of shape " + shape.str(), options.into->shape().str());
  return *options.into;
}

// Sums of each tap of windows [begin, end) of x, and of the products of each two, in double: kernel · (kernel + 3) / 2.
void sum_windows(double* sums, const float* x, const Window& window, int64_t begin, int64_t end) {
  const int64_t taps = window.kernel;
  std::fill_n(sums, taps * (taps + 3) / 2, 0.0);
  for (int64_t t = begin; t < end; t++) {
    const float* p = x + t * window.stride;
    double* product = sums + taps;
    for (int64_t i = 0; i < taps; i++) {
      const double v = double(p[i]);
      sums[i] += v;
      for (int64_t j = i; j < taps; j++) *product++ += v * double(p[j]);
    }
  }
}

// What the norm multiplies the outputs of channel c by, from such sums over `rows` windows.
double norm_scale(const double* sums, int64_t rows, const NormalizedConv1d& conv, int64_t c) {
  const int64_t taps = conv.window.kernel;
  const double count = double(rows);
  const float* w = conv.weight.data<float>() + c * taps;
  const double* product = sums + taps;
  double variance = 0;
  for (int64_t i = 0; i < taps; i++)
    for (int64_t j = i; j < taps; j++)
      variance +=
          (i == j ? 1 : 2) * double(w[i]) * double(w[j]) * (*product++ / count - sums[i] / count * (sums[j] / count));
  if (variance < 0) variance = 0;  // NaN stays
  return double(conv.norm.weight.data<float>()[c]) / std::sqrt(variance + double(conv.norm.eps));
}

// The convolution's weights (C, kernel) with the norm in them.
void fold_norm(float* weight, const double* sums, int64_t rows, const NormalizedConv1d& conv) {
  const int64_t taps = conv.window.kernel;
  for (int64_t c = 0; c < conv.norm.groups; c++) {
    const double scale = norm_scale(sums, rows, conv, c);
    for (int64_t i = 0; i < taps; i++)
      weight[c * taps + i] = float(double(conv.weight.data<float>()[c * taps + i]) * scale);
  }
}

// The variance of a few outputs may be next to nothing beside the outputs: float's digits would not do.
constexpr int64_t kFewOutputs = 64;
void normalize_in_double(float* out, const float* x, const double* sums, int64_t rows, const NormalizedConv1d& conv) {
  const int64_t taps = conv.window.kernel;
  for (int64_t c = 0; c < conv.norm.groups; c++) {
    double y = 0;
    for (int64_t i = 0; i < taps; i++)
      y += double(conv.weight.data<float>()[c * taps + i]) * (double(x[i]) - sums[i] / double(rows));
    out[c] = float(y * norm_scale(sums, rows, conv, c) + double(conv.norm.bias.data<float>()[c]));
  }
}

}  // namespace

int64_t Window::outputs(int64_t n) const {
  const int64_t room = n + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : std::max<int64_t>(0, room / stride + 1 - cut);
}

int64_t Window::most_outputs(int64_t n, int64_t batch) const {
  const char* where = "convolution";  // a configuration names the sizes
  const int64_t reach = checked_add<int64_t>(checked_mul(dilation, kernel - 1, where), 1, where);
  const int64_t added =
      checked_add(checked_mul<int64_t>(2, padding, where), checked_mul(stride, 1 - cut, where), where);
  const int64_t beyond = checked_add(added, -reach, where);  // outputs <= (n + beyond) / stride
  return checked_add(n, checked_mul(batch, std::max<int64_t>(0, beyond), where), where) / stride;
}

Convolution pack_convolution(const Runtime& runtime, WeightStore& store, const Tensor& weight, const Tensor& bias,
                             const ConvolutionShape& shape) {
  const char* op = "pack_convolution";
  if (!weight.defined() || (weight.rank() != 3 && weight.rank() != 4) || weight.dtype() != DType::F32)
    fail(op, "weight (out, in / groups, kernel_y, kernel_x) or (out, in / groups, kernel_x) F32",
         weight.defined() ? weight.shape().str() : "an undefined tensor");
  Convolution conv;
  conv.groups = shape.groups;
  conv.out_channels = weight.size(0);
  conv.y = shape.y, conv.x = shape.x;
  conv.y.kernel = weight.rank() == 4 ? weight.size(2) : 1;
  conv.x.kernel = weight.size(-1);
  if (conv.groups < 1 || conv.out_channels % conv.groups != 0)
    fail(op, "groups that divide " + std::to_string(conv.out_channels), std::to_string(conv.groups));
  for (const Window& w : {conv.y, conv.x})
    if (w.kernel < 1 || w.stride < 1 || w.dilation < 1 || w.padding < 0 || w.cut < 0)
      fail(op, "kernel, stride and dilation of at least 1 and no negative padding",
           std::to_string(w.kernel) + ", " + std::to_string(w.stride) + ", " + std::to_string(w.dilation) + " and " +
               std::to_string(w.padding));
  if (bias.defined() && (bias.shape() != Shape{conv.out_channels} || bias.dtype() != DType::F32))
    fail(op, "bias of shape (" + std::to_string(conv.out_channels) + ",)", bias.shape().str());
  const int64_t channels = weight.size(1), taps = conv.y.kernel * conv.x.kernel, k = channels * taps;
  const int64_t n = conv.out_channels / conv.groups;
  conv.in_channels = checked_mul(channels, conv.groups, op);
  if (bias.defined()) conv.bias = bias.clone();

  // (out, in, taps) to (out, taps, in): the order in which a window lies in channels-last rows.
  Tensor ordered = Tensor::empty({conv.out_channels, k});
  const float* from = weight.data<float>();
  float* to = ordered.data<float>();
  for (int64_t o = 0; o < conv.out_channels; o++, from += k)
    for (int64_t t = 0; t < taps; t++)
      for (int64_t c = 0; c < channels; c++) *to++ = from[c * taps + t];
  if (store.device() != nullptr) {
    conv.device = store.device()->device();
    conv.packed = store.place_stack({ordered});
    conv.bias = store.place(conv.bias, DType::F32);
    return conv;
  }
  const kernels::Kernels& cpu = runtime.cpu();
  const size_t group_bytes = cpu.packed_bytes_f32(n, k);
  conv.packed = store.allocate(checked_mul(group_bytes, size_t(conv.groups), op));
  const int64_t width = cpu.panel_width_f32(n), panels = (n + width - 1) / width;
  runtime.parallel(conv.groups * panels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t group = i / panels, panel = i % panels;
      cpu.pack_gemm_f32(static_cast<char*>(conv.packed.get()) + size_t(group) * group_bytes,
                        ordered.data<float>() + group * n * k, k, n, k, panel, panel + 1);
    }
  });
  return conv;
}

Tensor conv2d(Ctx& ctx, const Tensor& x, Images images, const Convolution& weights, Images* out,
              const ConvolutionOptions& options) {
  expect_input("conv2d", x, weights.in_channels, images.count * images.pixels());
  expect_packed_for("conv2d", x, weights.device);
  *out = {images.count, weights.y.outputs(images.height), weights.x.outputs(images.width)};
  const Images to = *out;
  Tensor result = make_result(ctx, "conv2d", options, {to.count * to.pixels(), weights.out_channels});
  if (x.on_cuda())
    return cuda_ops::convolution(ctx, x, weights, &images, &to, nullptr, nullptr, options, result), result;
  Product product(ctx, weights, images.count, to.pixels(), images.height == 1);
  product.run(x, result, options, [&](int64_t i) {
    return Plane{i * images.pixels(), images.height, images.width, i * to.pixels(), to.width, to.pixels()};
  });
  return result;
}

Ragged convolved(Ctx& ctx, const Ragged& sequences, const Window& window) {
  Tensor offsets = ctx.empty({sequences.batch + 1}, DType::I64), keys = ctx.empty({sequences.batch}, DType::I64);
  int64_t *offset = offsets.data<int64_t>(), *key = keys.data<int64_t>();
  Ragged out{sequences.batch, 0, 0, offset, key};
  for (int64_t b = 0; b < sequences.batch; b++) {
    offset[b] = out.tokens;
    key[b] = window.outputs(sequences.keys[b]);
    out.tokens += key[b];
    out.longest = std::max(out.longest, key[b]);
  }
  offset[sequences.batch] = out.tokens;
  if (ctx.cuda() != nullptr) out.tokens = window.most_outputs(sequences.tokens, sequences.batch);
  return out;
}

Tensor conv1d(Ctx& ctx, const Tensor& x, const Ragged& sequences, const Convolution& weights, Ragged* out,
              const ConvolutionOptions& options) {
  expect_matrix("conv1d", "x", x, weights.in_channels);
  expect_packed_for("conv1d", x, weights.device);
  expect_sequences("conv1d", x, sequences);
  if (weights.y.kernel != 1 || weights.y.padding != 0) fail("conv1d", "a kernel along one axis", "one along two");
  const Ragged to = convolved(ctx, sequences, weights.x);
  *out = to;
  Tensor result = make_result(ctx, "conv1d", options, {to.tokens, weights.out_channels});
  if (x.on_cuda())
    return cuda_ops::convolution(ctx, x, weights, nullptr, nullptr, &sequences, &to, options, result), result;
  Product product(ctx, weights, to.batch, to.longest, true);
  product.run(x, result, options, [&](int64_t b) {
    return Plane{sequences.offsets[b], 1, sequences.keys[b], to.offsets[b], to.keys[b], to.keys[b]};
  });
  return result;
}

void group_norm(Ctx& ctx, Tensor& x, const Ragged& sequences, const GroupNorm& weights, Activation activation) {
  const int64_t cols = weights.weight.defined() ? weights.weight.numel() : 0, groups = weights.groups;
  expect_matrix("group_norm", "x", x, cols);
  expect_sequences("group_norm", x, sequences);
  if (weights.bias.shape() != weights.weight.shape() || groups < 1 || cols % groups != 0)
    fail("group_norm", "bias of shape " + weights.weight.shape().str() + " and groups that divide it",
         weights.bias.shape().str() + " and " + std::to_string(groups));
  if (x.on_cuda()) return cuda_ops::group_norm(ctx, x, sequences, weights, activation);
  Ctx::Scope scope(ctx);
  const kernels::Kernels& cpu = ctx.cpu();
  const int64_t batch = sequences.batch, width = cols / groups;     // channels of a group
  const int64_t unit = std::clamp<int64_t>(64 / width, 1, groups);  // groups whose columns are summed together
  const int64_t units = (groups + unit - 1) / unit;
  Tensor scales = ctx.empty({batch, cols}), shifts = ctx.empty({batch, cols}), centers = ctx.empty({batch, cols});
  float *scale = scales.data<float>(), *shift = shifts.data<float>(), *center = centers.data<float>();
  const float *weight = weights.weight.data<float>(), *bias = weights.bias.data<float>();
  float* data = x.data<float>();
  ctx.parallel(batch * units, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t b = i / units, first = i % units * unit, last = std::min(groups, first + unit);
      const int64_t rows = sequences.keys[b], at = b * cols + first * width, columns = (last - first) * width;
      const double count = double(rows) * double(width);
      const float* in = data + sequences.offsets[b] * cols + first * width;
      // Mean, then variance, of each group: the columns' sums, added up.
      auto over_group = [&](float* sums) {
        for (int64_t g = 0; g < last - first; g++) {
          double sum = 0;
          for (int64_t c = 0; c < width; c++) sum += double(sums[g * width + c]);
          std::fill_n(sums + g * width, width, float(sum / count));
        }
      };
      cpu.column_sums_f32(center + at, in, cols, rows, columns);
      over_group(center + at);
      cpu.column_squares_f32(scale + at, in, cols, rows, columns, center + at);
      over_group(scale + at);
      for (int64_t c = 0; c < columns; c++) {
        const double factor =
            double(weight[first * width + c]) / std::sqrt(double(scale[at + c]) + double(weights.eps));
        scale[at + c] = float(factor);
        shift[at + c] = float(double(bias[first * width + c]) - double(center[at + c]) * factor);
      }
    }
  });
  const int64_t grain = row_grain(cols), blocks = std::max<int64_t>(1, sequences.longest / grain);
  ctx.parallel(batch * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t b = i / blocks, block = i % blocks, rows = sequences.keys[b];
      const int64_t first = rows * block / blocks, last = rows * (block + 1) / blocks;
      float* at = data + (sequences.offsets[b] + first) * cols;
      cpu.scale_shift_f32(at, at, scale + b * cols, shift + b * cols, last - first, cols, activation);
    }
  });
}

Tensor normalized_conv1d(Ctx& ctx, const Tensor& x, const Ragged& sequences, const NormalizedConv1d& weights,
                         Activation activation, Ragged* out) {
  const char* op = "normalized_conv1d";
  const Window& window = weights.window;
  const int64_t taps = window.kernel, channels = weights.norm.groups;
  expect_matrix(op, "x", x, 1);
  expect_sequences(op, x, sequences);
  if (weights.weight.shape() != Shape{channels, taps} || weights.norm.weight.shape() != Shape{channels} ||
      weights.norm.bias.shape() != Shape{channels} || window.padding != 0 || window.cut != 0 || window.dilation != 1)
    fail(op, "a weight of shape " + Shape{channels, taps}.str() + " and a norm of as many groups, without padding",
         weights.weight.shape().str() + " and " + weights.norm.weight.shape().str());
  const Ragged to = convolved(ctx, sequences, window);
  *out = to;
  Tensor result = ctx.empty({to.tokens, channels});
  if (x.on_cuda()) return cuda_ops::normalized_conv1d(ctx, x, sequences, to, weights, activation, result), result;
  Ctx::Scope scope(ctx);
  const kernels::Kernels& cpu = ctx.cpu();

  // The windows less the mean of each tap, so that outputs have mean 0 before the norm's bias and no digits are lost.
  Tensor windows = ctx.empty({to.tokens, taps});
  constexpr int64_t kWindows = 2048;  // whose sums are one block: the order of additions depends on nothing else
  const int64_t blocks = std::max<int64_t>(1, (to.longest + kWindows - 1) / kWindows), sums = taps * (taps + 3) / 2;
  double* partial = static_cast<double*>(ctx.scratch(size_t(to.batch * blocks * sums) * sizeof(double)));
  auto for_blocks = [&](auto f) {
    ctx.parallel(to.batch * blocks, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t b = i / blocks, first = i % blocks * kWindows, last = std::min(first + kWindows, to.keys[b]);
        f(i, b, x.data<float>() + sequences.offsets[b], first, last);
      }
    });
  };
  for_blocks([&](int64_t i, int64_t, const float* in, int64_t first, int64_t last) {
    sum_windows(partial + i * sums, in, window, first, last);
  });
  ctx.parallel(to.batch, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++)
      for (int64_t block = 1; block < blocks; block++)
        for (int64_t i = 0; i < sums; i++) partial[b * blocks * sums + i] += partial[(b * blocks + block) * sums + i];
  });
  for_blocks([&](int64_t, int64_t b, const float* in, int64_t first, int64_t last) {
    const double* total = partial + b * blocks * sums;
    const double count = double(to.keys[b]);
    for (int64_t t = first; t < last; t++)
      for (int64_t i = 0; i < taps; i++)
        windows.data<float>()[(to.offsets[b] + t) * taps + i] =
            float(double(in[t * window.stride + i]) - total[i] / count);
  });

  Convolution folded;  // pointwise, over taps as channels
  folded.in_channels = taps;
  folded.out_channels = channels;
  Tensor scaled = ctx.empty({channels, taps});
  void* packed = ctx.scratch(cpu.packed_bytes_f32(channels, taps));
  folded.packed = std::shared_ptr<void>(std::shared_ptr<void>(), packed);  // owns nothing
  folded.bias = weights.norm.bias;
  const int64_t width = cpu.panel_width_f32(channels), panels = (channels + width - 1) / width;
  for (int64_t b = 0; b < to.batch; b++) {
    const bool few = to.keys[b] <= kFewOutputs;
    ctx.parallel(1, 1, [&](int64_t, int64_t, int) {
      const double* total = partial + b * blocks * sums;
      if (few) {
        for (int64_t t = 0; t < to.keys[b]; t++)
          normalize_in_double(result.data<float>() + (to.offsets[b] + t) * channels,
                              x.data<float>() + sequences.offsets[b] + t * window.stride, total, to.keys[b], weights);
        float* first = result.data<float>() + to.offsets[b] * channels;
        cpu.activation_f32(first, first, to.keys[b] * channels, activation);
        return;
      }
      fold_norm(scaled.data<float>(), total, to.keys[b], weights);
      cpu.pack_gemm_f32(packed, scaled.data<float>(), taps, channels, taps, 0, panels);
    });
    if (few) continue;
    Product product(ctx, folded, 1, to.keys[b], true);
    product.run(windows, result, {.activation = activation},
                [&](int64_t) { return Plane{to.offsets[b], 1, to.keys[b], to.offsets[b], to.keys[b], to.keys[b]}; });
  }
  return result;
}

Tensor glu(Ctx& ctx, const Tensor& x) {
  const int64_t cols = x.rank() == 2 ? x.size(1) / 2 : 0;
  expect_matrix("glu", "x", x, 2 * cols);
  Tensor out = ctx.empty({x.size(0), cols});
  if (x.on_cuda()) return cuda_ops::glu(ctx, x, out), out;
  float* to = out.data<float>();
  ctx.parallel(x.size(0), row_grain(2 * cols), [&](int64_t begin, int64_t end, int) {
    ctx.cpu().glu_f32(to + begin * cols, x.data<float>() + begin * 2 * cols, end - begin, cols);
  });
  return out;
}

}  // namespace caracal
