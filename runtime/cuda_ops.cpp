#include <caracal/runtime/cuda_ops.h>

#include <algorithm>
#include <cmath>

#include <caracal/runtime/cuda_arguments.h>

namespace caracal::cuda_ops {
namespace {

using kernels::cuda::act;
using kernels::cuda::Cuda;

const int64_t* integers(Ctx& ctx, const Tensor& x) {
  return x.on_cuda() ? static_cast<const int64_t*>(x.raw()) : ctx.cuda()->on_device(x.data<int64_t>(), x.numel());
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

// relative_bias() sends up a bucket for each distance, and for these at most.
constexpr int64_t kMostDistance = 1 << 16;
void expect_near(const Tensor& positions) {
  const auto [least, most] = std::ranges::minmax_element(positions.values<int64_t>());
  if (positions.numel() > 0 && *most - *least > kMostDistance)
    throw Error(ErrorCode::unsupported, "relative_bias",
                "expected positions at most " + std::to_string(kMostDistance) + " apart on cuda but got " +
                    std::to_string(*least) + " and " + std::to_string(*most));
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
  args.tf32 = ctx.runtime().tf32();
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

Tensor relative_bias(Ctx& ctx, const Ragged& sequences, std::span<const RelativePositions> terms, int64_t most_rows) {
  int64_t count = 0;
  const int64_t heads = terms[0].table.size(0), *scores = score_offsets(ctx, heads, sequences, sequences, &count);
  // Room for any mix of lengths, so that what is allocated later is where it was.
  const int64_t longest = sequences.longest <= most_rows ? most_rows : ctx.bucket_rows(sequences.longest);
  Tensor out = ctx.empty({heads * sequences.tokens * std::min(sequences.tokens, longest)}, DType::F32);
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
    args.most = std::min(term.max_distance, kMostDistance);
    if (args.most < term.max_distance) expect_near(term.positions);
    args.buckets = term.table.size(1);
    Tensor bucket = ctx.empty({2 * args.most + 1}, DType::I64);
    for (int64_t d = -args.most; d <= args.most; d++)
      bucket.data<int64_t>()[d + args.most] = relative_position_bucket(d, args.buckets, term.max_distance);
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

}  // namespace caracal::cuda_ops
