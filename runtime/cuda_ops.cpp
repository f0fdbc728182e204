#include <caracal/runtime/cuda_ops.h>

#include <cmath>
#include <utility>

#include <caracal/runtime/cuda_workspace.h>
#include <caracal/runtime/ops_checks.h>

namespace caracal::cuda_ops {
namespace {

using kernels::cuda::act;
using kernels::cuda::Cuda;

kernels::cuda::Type type_of(const Ctx& ctx) { return cuda_ops::type_of(ctx.cuda()->numbers()); }

// Activations and matrices: on the device, in the call's numbers.
const void* numbers(const Ctx& ctx, const char* op, const Tensor& x) {
  if (!x.on_cuda() || x.dtype() != ctx.cuda()->numbers())
    fail(op, "memory of the device with " + std::string(name_of(ctx.cuda()->numbers())),
         std::string(name_of(x.dtype())) + (x.on_cuda() ? "" : " of the CPU"));
  return x.raw();
}
void* numbers(const Ctx& ctx, const char* op, Tensor& x) {
  return const_cast<void*>(numbers(ctx, op, std::as_const(x)));
}

// Vectors and tables that are float32 always; null for an undefined one.
const float* floats(const char* op, const Tensor& x) {
  if (!x.defined()) return nullptr;
  if (!x.on_cuda() || x.dtype() != DType::F32)
    fail(op, "memory of the device with F32", std::string(name_of(x.dtype())) + (x.on_cuda() ? "" : " of the CPU"));
  return static_cast<const float*>(x.raw());
}

const int64_t* integers(Ctx& ctx, const Tensor& x) {
  return x.on_cuda() ? static_cast<const int64_t*>(x.raw()) : ctx.cuda()->on_device(x.data<int64_t>(), x.numel());
}

struct Sequences {
  const int64_t *offsets, *lengths;  // (batch + 1), (batch)
};
Sequences on_device(Ctx& ctx, const Ragged& s) {
  return {ctx.cuda()->on_device(s.offsets, s.batch + 1), ctx.cuda()->on_device(s.keys, s.batch)};
}

// Where the scores (heads, rows, keys) of each sequence begin, and how many there are.
const int64_t* score_offsets(Ctx& ctx, int64_t heads, const Ragged& queries, const Ragged& keys, int64_t* count) {
  Tensor scores = ctx.empty({queries.batch}, DType::I64);
  *count = 0;
  for (int64_t b = 0; b < queries.batch; b++) {
    scores.data<int64_t>()[b] = *count;
    *count += heads * (queries.offsets[b + 1] - queries.offsets[b]) * keys.keys[b];
  }
  return integers(ctx, scores);
}

const void* columns(const void* x, int64_t begin, DType dtype) {
  return static_cast<const char*>(x) + size_t(begin) * size_of(dtype);
}

}  // namespace

kernels::cuda::Type type_of(DType dtype) {
  switch (dtype) {
    case DType::F32: return kernels::cuda::Type::f32;
    case DType::F16: return kernels::cuda::Type::f16;
    case DType::BF16: return kernels::cuda::Type::bf16;
    default:
      throw Error(ErrorCode::internal, "cuda", "expected F32, F16 or BF16 but got " + std::string(name_of(dtype)));
  }
}

Tensor linear(Ctx& ctx, const Tensor& x, const Linear& weights, const LinearOptions& options) {
  Tensor out = options.into != nullptr ? *options.into : ctx.empty({x.size(0), weights.out_features});
  Ctx::Scope scope(ctx);
  kernels::cuda::GemmArgs args{};
  args.type = type_of(ctx);
  args.c = out.raw();
  args.a = numbers(ctx, "linear", x);
  args.w = weights.packed.get();
  args.bias = floats("linear", weights.bias);
  args.residual = options.residual != nullptr ? numbers(ctx, "linear", *options.residual) : nullptr;
  args.n = args.ldc = args.ldr = weights.out_features;
  args.k = args.lda = weights.in_features;
  args.rows = x.size(0);
  args.activation = act(options.activation);
  if (const size_t bytes = ctx.cuda()->device().table().gemm_scratch(args.rows, args.n, args.k); bytes > 0) {
    ctx.empty({args.rows, args.n});  // where a norm of the result goes may not be scratch: see joins()
    args.scratch = ctx.scratch(bytes);
  }
  args.counters = ctx.cuda()->counters();
  ctx.cuda()->launch<&Cuda::gemm>(args);
  return out;
}

Tensor attention(Ctx& ctx, const Tensor& x, const Ragged& sequences, const AttentionOptions& options, int64_t width) {
  const KeysValues* other = options.keys_values;
  Tensor out = ctx.empty({sequences.tokens, width});
  const Ragged& key_sequences = other != nullptr ? other->sequences : sequences;
  const Sequences q = on_device(ctx, sequences), k = on_device(ctx, key_sequences);
  kernels::cuda::AttentionArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.q = numbers(ctx, "attention", x);
  args.k = other != nullptr ? numbers(ctx, "attention", other->rows) : columns(args.q, width, x.dtype());
  args.v = columns(args.k, width, x.dtype());
  args.ldo = width;
  args.ldq = x.size(1);
  args.ldk = other != nullptr ? 2 * width : x.size(1);
  args.q_offsets = q.offsets;
  args.k_offsets = k.offsets;
  args.k_lengths = k.lengths;
  if (options.causal) args.q_lengths = q.lengths;
  args.batch = sequences.batch;
  args.heads = options.heads;
  args.head_dim = width / options.heads;
  args.tokens = sequences.tokens;
  args.scale = double(float(1.0 / std::sqrt(double(args.head_dim))));
  if (options.bias != nullptr || options.probs != nullptr) {
    int64_t count = 0;
    args.scores = score_offsets(ctx, options.heads, sequences, key_sequences, &count);
    for (const Tensor* scores : {static_cast<const Tensor*>(options.probs), options.bias})
      if (scores != nullptr && scores->numel() < count)
        fail("attention", std::to_string(count) + (scores == options.bias ? " biases" : " probs"),
             scores->shape().str());
    if (options.bias != nullptr) args.bias = floats("attention", *options.bias);
    if (options.probs != nullptr) args.probs = const_cast<float*>(floats("attention", *options.probs));
  }
  ctx.cuda()->launch<&Cuda::attention>(args);
  return out;
}

Tensor relative_bias(Ctx& ctx, const Ragged& sequences, std::span<const RelativePositions> terms) {
  constexpr int64_t kMostDistance = 1 << 16;  // a table of the buckets goes up with each call
  int64_t count = 0;
  const int64_t heads = terms[0].table.size(0), *scores = score_offsets(ctx, heads, sequences, sequences, &count);
  Tensor out = ctx.empty({ctx.bucket_rows(count)}, DType::F32);
  const Sequences s = on_device(ctx, sequences);
  kernels::cuda::RelativeBiasArgs args{};
  args.out = static_cast<float*>(out.raw());
  args.offsets = s.offsets;
  args.lengths = s.lengths;
  args.scores = scores;
  args.batch = sequences.batch;
  args.tokens = sequences.tokens;
  args.heads = heads;
  for (const RelativePositions& term : terms) {
    if (term.max_distance > kMostDistance)
      throw Error(ErrorCode::unsupported, "relative_bias",
                  "expected a distance of at most " + std::to_string(kMostDistance) + " on cuda but got " +
                      std::to_string(term.max_distance));
    args.most = term.max_distance;
    args.buckets = term.table.size(1);
    Tensor bucket = ctx.empty({2 * args.most + 1}, DType::I64);
    for (int64_t d = -args.most; d <= args.most; d++)
      bucket.data<int64_t>()[d + args.most] = relative_position_bucket(d, args.buckets, args.most);
    args.positions = integers(ctx, term.positions);
    args.table = floats("relative_bias", term.table);
    args.bucket = integers(ctx, bucket);
    ctx.cuda()->launch<&Cuda::relative_bias>(args);
    args.accumulate = 1;
  }
  return out;
}

namespace {

// Whether a norm can be the end of the product before it: it is of what that gives, and where it goes lies apart from
// what the product still reads when a block of rows is done, or has the same rows in the same place. Weights, biases
// and counters need no look: they are allocations of the model's and the workspace's own, and where a norm goes is the
// arena's.
bool joins(const Ctx& ctx, const kernels::cuda::LayerNormArgs& norm, const kernels::cuda::GemmArgs& product) {
  const int64_t rows = product.rows, cols = product.n, size = int64_t(size_of(ctx.cuda()->numbers()));
  if (norm.x != product.c || norm.rows != rows || norm.cols != cols || product.ldc != cols || product.norm != nullptr ||
      norm.type != product.type || norm.activation != act(Activation::none))
    return false;
  const auto to = uintptr_t(norm.out);
  auto apart = [&](const void* p, int64_t bytes) {
    return p == nullptr || uintptr_t(p) + uintptr_t(bytes) <= to || to + uintptr_t(rows * cols * size) <= uintptr_t(p);
  };
  auto apart_or_same = [&](const void* p, int64_t pitch, int64_t width) {
    return (p == norm.out && pitch == cols) || apart(p, ((rows - 1) * pitch + width) * size);
  };
  const size_t scratch =
      product.scratch != nullptr ? ctx.cuda()->device().table().gemm_scratch(rows, cols, product.k) : 0;
  return rows > 0 && apart_or_same(product.c, product.ldc, cols) && apart_or_same(product.a, product.lda, product.k) &&
         apart_or_same(product.residual, product.ldr, cols) && apart(product.scratch, int64_t(scratch));
}

}  // namespace

void layer_norm(Ctx& ctx, const Tensor& x, const LayerNorm& weights, Tensor& out, Activation activation) {
  kernels::cuda::LayerNormArgs args{};
  args.type = type_of(ctx);
  args.out = numbers(ctx, "layer_norm", out);
  args.x = numbers(ctx, "layer_norm", x);
  args.weight = floats("layer_norm", weights.weight);
  args.bias = floats("layer_norm", weights.bias);
  args.rows = x.size(0);
  args.cols = x.size(1);
  args.eps = double(weights.eps);
  args.activation = act(activation);
  auto* product = ctx.cuda()->last_launch<&Cuda::gemm, kernels::cuda::GemmArgs>();
  if (product == nullptr || !joins(ctx, args, *product)) return ctx.cuda()->launch<&Cuda::layer_norm>(args);
  product->norm = args.out;
  product->norm_weight = args.weight, product->norm_bias = args.bias;
  product->norm_eps = args.eps;
}

Tensor embedding_norm(Ctx& ctx, std::initializer_list<Lookup> parts, const LayerNorm& weights) {
  const char* op = "embedding_norm";
  kernels::cuda::EmbeddingNormArgs args{};
  args.type = type_of(ctx);
  args.rows = parts.begin()->ids.numel();
  args.cols = weights.weight.numel();
  Tensor out = ctx.empty({args.rows, args.cols});
  args.out = out.raw();
  for (int i = 0; const Lookup& part : parts) {
    args.tables[i] = numbers(ctx, op, part.table);
    args.ids[i++] = integers(ctx, part.ids);
  }
  args.weight = floats(op, weights.weight);
  args.bias = floats(op, weights.bias);
  args.eps = double(weights.eps);
  ctx.cuda()->launch<&Cuda::embedding_norm>(args);
  return out;
}

void embedding(Ctx& ctx, const Tensor& ids, const Tensor& table, Tensor& out, int64_t column, bool accumulate) {
  kernels::cuda::EmbeddingArgs args{};
  args.type = type_of(ctx);
  args.out = const_cast<void*>(columns(numbers(ctx, "embedding", out), column, out.dtype()));
  args.table = numbers(ctx, "embedding", table);
  args.ids = integers(ctx, ids);
  args.ldo = out.size(1);
  args.rows = ids.numel();
  args.cols = table.size(1);
  args.accumulate = accumulate;
  ctx.cuda()->launch<&Cuda::embedding>(args);
}

void scatter_rows(Ctx& ctx, const Tensor& x, const Tensor& index, Tensor& out) {
  kernels::cuda::RowsArgs args{};
  args.type = type_of(ctx);
  args.out = numbers(ctx, "scatter_rows", out);
  args.x = numbers(ctx, "scatter_rows", x);
  args.index = integers(ctx, index);
  args.rows = x.size(0);
  args.cols = x.size(1);
  ctx.cuda()->launch<&Cuda::scatter_rows>(args);
}

void clear_behind_keys(Ctx& ctx, const Ragged& sequences, Tensor& x) {
  const Sequences s = on_device(ctx, sequences);
  kernels::cuda::ClearRowsArgs args{};
  args.type = type_of(ctx);
  args.x = numbers(ctx, "clear_behind_keys", x);
  args.offsets = s.offsets;
  args.lengths = s.lengths;
  args.batch = sequences.batch;
  args.tokens = x.size(0);
  args.cols = x.size(1);
  ctx.cuda()->launch<&Cuda::clear_rows>(args);
}

void copy_matrix(Ctx& ctx, const Tensor& x, Tensor& out, int64_t column) {
  kernels::cuda::MatrixArgs args{};
  args.out_type = cuda_ops::type_of(out.dtype());
  args.type = cuda_ops::type_of(x.dtype());
  args.out = const_cast<void*>(columns(out.raw(), column, out.dtype()));
  args.x = x.raw();
  args.ldo = out.size(1);
  args.ldx = args.cols = x.size(1);
  args.rows = x.size(0);
  ctx.cuda()->launch<&Cuda::copy_matrix>(args);
}

void pool(Ctx& ctx, const Tensor& x, const Ragged& sequences, kernels::cuda::PoolKind kind, Tensor& out) {
  const Sequences s = on_device(ctx, sequences);
  kernels::cuda::PoolArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.x = numbers(ctx, "pool", x);
  args.offsets = s.offsets;
  args.lengths = s.lengths;
  args.batch = sequences.batch;
  args.cols = x.size(1);
  args.kind = kind;
  ctx.cuda()->launch<&Cuda::pool>(args);
}

namespace {
kernels::cuda::NormalizeArgs rows_of(Ctx& ctx, const char* op, const Tensor& x, Tensor& out) {
  kernels::cuda::NormalizeArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.x = numbers(ctx, op, x);
  args.rows = x.size(0);
  args.cols = out.size(1);
  return args;
}
}  // namespace

void l2_normalize(Ctx& ctx, Tensor& x, float eps) {
  kernels::cuda::NormalizeArgs args = rows_of(ctx, "l2_normalize", x, x);
  args.eps = double(eps);
  ctx.cuda()->launch<&Cuda::l2_normalize>(args);
}

Tensor cumulative_sum(Ctx& ctx, const Tensor& x) {
  Tensor out = ctx.empty(x.shape());
  ctx.cuda()->launch<&Cuda::cumulative_sum>(rows_of(ctx, "cumulative_sum", x, out));
  return out;
}

void glu(Ctx& ctx, const Tensor& x, Tensor& out) { ctx.cuda()->launch<&Cuda::glu>(rows_of(ctx, "glu", x, out)); }

void add_scaled(Ctx& ctx, const Tensor& x, float scale, Tensor& onto) {
  kernels::cuda::AddScaledArgs args{};
  args.type = type_of(ctx);
  args.out = numbers(ctx, "add_scaled", onto);
  args.x = numbers(ctx, "add_scaled", x);
  args.count = x.numel();
  args.scale = double(scale);
  ctx.cuda()->launch<&Cuda::add_scaled>(args);
}

Tensor argmax(Ctx& ctx, const Tensor& x, int64_t groups) {
  const Shape shape{x.size(0) * groups};
  Tensor out = Tensor::view(ctx.scratch(size_t(shape.numel()) * sizeof(int64_t)), shape, DType::I64, nullptr,
                            ctx.cuda()->device().device());
  kernels::cuda::ArgmaxArgs args{};
  args.type = type_of(ctx);
  args.out = static_cast<int64_t*>(out.raw());
  args.x = numbers(ctx, "argmax", x);
  args.rows = x.size(0);
  args.cols = x.size(1);
  args.groups = groups;
  ctx.cuda()->launch<&Cuda::argmax>(args);
  return out;
}

// Each part's rows of the table for the codes of all parts, of which every groups-th is right.
void gather_parts(Ctx& ctx, const Tensor& table, const Tensor& codes, int64_t groups, Tensor& out) {
  Ctx::Scope scope(ctx);
  const int64_t each = table.size(0) / groups, width = table.size(1), rows = out.size(0);
  Tensor found = ctx.empty({rows * groups, width});
  for (int64_t g = 0; g < groups; g++) {
    embedding(ctx, codes, table.rows(g * each, (g + 1) * each), found, 0, false);
    kernels::cuda::MatrixArgs args{};
    args.out_type = args.type = type_of(ctx);
    args.out = const_cast<void*>(columns(out.raw(), g * width, out.dtype()));
    args.x = columns(found.raw(), g * width, out.dtype());
    args.ldo = args.ldx = groups * width;
    args.rows = rows;
    args.cols = width;
    ctx.cuda()->launch<&Cuda::copy_matrix>(args);
  }
}

void prepend_token(Ctx& ctx, const Tensor& token, const Tensor& x, const Tensor& positions, Tensor& out) {
  kernels::cuda::PrependTokenArgs args{};
  args.type = type_of(ctx);
  args.out = out.raw();
  args.token = numbers(ctx, "prepend_token", token);
  args.x = numbers(ctx, "prepend_token", x);
  args.positions = numbers(ctx, "prepend_token", positions);
  args.rows = out.size(0);
  args.length = positions.size(0);
  args.cols = x.size(1);
  ctx.cuda()->launch<&Cuda::prepend_token>(args);
}

Tensor to_device(Ctx& ctx, const Tensor& x, const Shape& shape, bool convert) {
  const size_t room = size_t(shape.numel()) * size_of(x.dtype());
  const Tensor staged = Tensor::view(ctx.cuda()->on_device(x.raw(), x.nbytes(), room), shape, x.dtype(), nullptr,
                                     ctx.cuda()->device().device());
  if (!convert || x.dtype() == ctx.cuda()->numbers()) return staged;
  Tensor out = ctx.empty(shape);
  const int64_t cols = shape.rank() > 0 && shape.numel() > 0 ? shape[shape.rank() - 1] : 1;
  Tensor rows = out.reshape({shape.numel() / cols, cols});
  copy_matrix(ctx, staged.reshape(rows.shape()), rows, 0);
  return out;
}

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
