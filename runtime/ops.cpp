#include <caracal/runtime/ops.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <caracal/runtime/cuda_ops.h>
#include <caracal/runtime/cuda_workspace.h>
#include <caracal/runtime/ops_checks.h>

namespace caracal {
namespace {

using PoolKernel = void (*)(float*, const float*, int64_t, int64_t);

Tensor pool(Ctx& ctx, const char* op, const Tensor& x, const Ragged& sequences, PoolKernel kernel,
            kernels::cuda::PoolKind kind) {
  expect_matrix(op, "x", x, x.rank() == 2 ? x.size(1) : 0);
  const int64_t cols = x.size(1);
  expect_sequences(op, x, sequences);
  Tensor out = ctx.empty({sequences.batch, cols});
  if (x.on_cuda()) return cuda_ops::pool(ctx, x, sequences, kind, out), out;
  const float* in = x.data<float>();
  float* result = out.data<float>();
  ctx.parallel(sequences.batch, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++) {
      const int64_t rows = sequences.keys[b];
      if (rows == 0)
        std::memset(result + b * cols, 0, size_t(cols) * sizeof(float));
      else
        kernel(result + b * cols, in + sequences.offsets[b] * cols, rows, cols);
    }
  });
  return out;
}

}  // namespace

Tensor attention(Ctx& ctx, const Tensor& x, const Ragged& sequences, const AttentionOptions& options) {
  const KeysValues* other = options.keys_values;
  const int64_t heads = options.heads, cols = x.rank() == 2 ? x.size(1) : 0;
  const int64_t width = other == nullptr ? cols / 3 : other->rows.rank() == 2 ? other->rows.size(1) / 2 : 0;  // A
  if (heads < 1 || width < 1 || width % heads != 0 || (cols != 3 * width && (other == nullptr || cols != width)))
    fail("attention", "x of shape (T, 3 · heads · head_dim) for " + std::to_string(heads) + " heads", x.shape().str());
  expect_matrix("attention", "x", x, cols);
  if (x.size(0) != sequences.tokens) fail("attention", std::to_string(sequences.tokens) + " rows", x.shape().str());
  if (other != nullptr) {
    expect_matrix("attention", "keys_values", other->rows, 2 * width);
    if (other->sequences.batch != sequences.batch || other->rows.size(0) != other->sequences.tokens)
      fail("attention", "keys and values of " + std::to_string(sequences.batch) + " sequences",
           std::to_string(other->sequences.batch) + " in " + other->rows.shape().str());
  }
  if (x.on_cuda()) return cuda_ops::attention(ctx, x, sequences, options, width);
  const int64_t head_dim = width / heads;
  const Ragged& key_sequences = other != nullptr ? other->sequences : sequences;
  const int64_t ldk = other != nullptr ? 2 * width : cols;
  const float* q_base = x.data<float>();
  const float* k_base = other != nullptr ? other->rows.data<float>() : q_base + width;

  const kernels::Kernels& cpu = ctx.cpu();
  const bool bf16 = options.kind == LinearKind::bf16_dot || options.kind == LinearKind::s8;
  const auto scratch_of = bf16 ? cpu.attention_scratch_bf16_dot : cpu.attention_scratch_f32;
  const auto attend = bf16 ? cpu.attention_bf16_dot : cpu.attention_f32;
  Tensor out = ctx.empty({sequences.tokens, width});
  Ctx::Scope scope(ctx);
  const size_t scratch_bytes = (scratch_of(key_sequences.longest, head_dim) + 63) / 64 * 64;
  char* scratch = static_cast<char*>(ctx.scratch(scratch_bytes * size_t(ctx.runtime().max_tasks())));

  // One item is a block of query rows of one head of one sequence; blocks only where heads are too few for the threads.
  // Sequences change fastest: they differ in length, heads do not, and threads get neighbouring items.
  const int64_t wanted = 2 * ctx.runtime().threads();
  const int64_t pairs = sequences.batch * heads;
  const int64_t blocks =
      pairs == 0 || pairs >= wanted ? 1 : std::clamp<int64_t>(sequences.longest / 32, 1, (wanted + pairs - 1) / pairs);
  const int64_t per_item = 4 * head_dim * key_sequences.longest * std::max<int64_t>(1, sequences.longest / blocks);
  const int64_t grain = kWorthATask / std::max<int64_t>(1, per_item);
  float* result = out.data<float>();
  float* probs = options.probs != nullptr ? options.probs->data<float>() : nullptr;
  const float* bias = options.bias != nullptr ? options.bias->data<float>() : nullptr;
  int64_t* scores_begin = nullptr;  // of each sequence
  if (probs != nullptr || bias != nullptr) {
    scores_begin = static_cast<int64_t*>(ctx.scratch(size_t(sequences.batch) * sizeof(int64_t)));
    int64_t count = 0;
    for (int64_t b = 0; b < sequences.batch; b++) {
      scores_begin[b] = count;
      count += heads * (sequences.offsets[b + 1] - sequences.offsets[b]) * key_sequences.keys[b];
    }
    for (const Tensor* scores : {static_cast<const Tensor*>(options.probs), options.bias})
      if (scores != nullptr && scores->numel() != count)
        fail("attention", std::to_string(count) + (scores == options.bias ? " biases" : " probs"),
             scores->shape().str());
  }
  const float scale = float(1.0 / std::sqrt(double(head_dim)));

  ctx.parallel(pairs * blocks, grain, [&](int64_t begin, int64_t end, int task) {
    for (int64_t item = begin; item < end; item++) {
      const int64_t head = item / (sequences.batch * blocks), b = item / blocks % sequences.batch,
                    block = item % blocks;
      const int64_t start = sequences.offsets[b], rows = sequences.offsets[b + 1] - start;
      const int64_t row_begin = rows * block / blocks, row_end = rows * (block + 1) / blocks;
      if (row_begin == row_end) continue;
      kernels::AttentionArgs args{};
      args.q = q_base + (start + row_begin) * cols + head * head_dim;
      args.k = k_base + key_sequences.offsets[b] * ldk + head * head_dim;
      args.v = args.k + width;
      args.ldq = cols;
      args.ldk = args.ldv = ldk;
      // A causal row that is no key itself stands before all keys: it sees none, and gives 0.
      const int64_t seeing = options.causal ? std::clamp(sequences.keys[b], row_begin, row_end) : row_end;
      for (int64_t row = start + seeing; row < start + row_end; row++)
        std::fill_n(result + row * width + head * head_dim, head_dim, 0.0f);
      args.queries = seeing - row_begin;
      args.keys = key_sequences.keys[b];
      args.head_dim = head_dim;
      if (options.causal) args.hidden = std::max<int64_t>(0, sequences.keys[b] - 1 - row_begin);
      args.scale = scale;
      args.out = result + (start + row_begin) * width + head * head_dim;
      args.ldo = width;
      args.ldp = args.ldb = args.keys;
      if (probs != nullptr) {
        args.probs = probs + scores_begin[b] + (head * rows + row_begin) * args.keys;
        std::fill_n(args.probs + args.queries * args.keys, (row_end - seeing) * args.keys, 0.0f);
      }
      if (bias != nullptr) args.bias = bias + scores_begin[b] + (head * rows + row_begin) * args.keys;
      args.scratch = scratch + size_t(task) * scratch_bytes;
      attend(args);
    }
  });
  return out;
}

int64_t relative_position_bucket(int64_t distance, int64_t buckets, int64_t max_distance) {
  const int64_t half = buckets / 2, exact = half / 2, n = std::abs(distance);
  int64_t bucket = n;
  if (n >= exact) {  // in float32, as the reference
    const float log = std::log(float(n) / float(exact)) / float(std::log(double(max_distance) / double(exact)));
    bucket = std::min(half - 1, exact + int64_t(log * float(half - exact)));
  }
  return distance > 0 ? half + bucket : bucket;
}

Tensor relative_bias(Ctx& ctx, const Ragged& sequences, std::span<const RelativePositions> terms, int64_t most_rows) {
  if (terms.empty()) fail("relative_bias", "at least one term", "none");
  const int64_t heads = terms[0].table.size(0);
  for (const RelativePositions& term : terms) {
    expect_ids("relative_bias", term.positions, sequences.tokens);
    expect_matrix("relative_bias", "table", term.table, term.table.size(-1));
    if (term.table.size(0) != heads || term.table.size(1) < 4 || term.max_distance <= term.table.size(1) / 4)
      fail("relative_bias", "tables of " + std::to_string(heads) + " heads and at least 4 buckets, within max_distance",
           term.table.shape().str() + " and " + std::to_string(term.max_distance));
  }
  if (terms[0].table.on_cuda()) return cuda_ops::relative_bias(ctx, sequences, terms, most_rows);
  int64_t count = 0;
  Tensor starts = ctx.empty({sequences.batch}, DType::I64);
  int64_t* start = starts.data<int64_t>();
  for (int64_t b = 0; b < sequences.batch; b++) {
    start[b] = count;
    count += heads * (sequences.offsets[b + 1] - sequences.offsets[b]) * sequences.keys[b];
  }
  Tensor out = ctx.empty({count});
  Ctx::Scope scope(ctx);
  // Buckets of the distances that occur; those beyond max_distance share the last. A configuration may name any
  // max_distance: it must not cost memory.
  constexpr int64_t kTable = 4096;
  std::array<int32_t*, 8> buckets{};
  if (terms.size() > buckets.size()) fail("relative_bias", "at most 8 terms", std::to_string(terms.size()));
  for (size_t i = 0; i < terms.size(); i++) {
    const int64_t most = std::min(terms[i].max_distance, kTable);
    buckets[i] = static_cast<int32_t*>(ctx.scratch(size_t(2 * most + 1) * sizeof(int32_t))) + most;
    for (int64_t d = -most; d <= most; d++)
      buckets[i][d] = int32_t(relative_position_bucket(d, terms[i].table.size(1), terms[i].max_distance));
  }
  const size_t index_bytes = size_t(sequences.longest + 15) / 16 * 16 * sizeof(int32_t);
  char* indices = static_cast<char*>(ctx.scratch(index_bytes * size_t(ctx.runtime().max_tasks())));
  float* to = out.data<float>();
  ctx.parallel(sequences.tokens, row_grain(heads * sequences.longest * int64_t(terms.size())),
               [&](int64_t begin, int64_t end, int task) {
                 int32_t* index = reinterpret_cast<int32_t*>(indices + size_t(task) * index_bytes);
                 int64_t b = 0;
                 for (int64_t t = begin; t < end; t++) {
                   while (sequences.offsets[b + 1] <= t) b++;
                   const int64_t first = sequences.offsets[b], rows = sequences.offsets[b + 1] - first;
                   const int64_t keys = sequences.keys[b];
                   for (size_t i = 0; i < terms.size(); i++) {
                     const int64_t* position = terms[i].positions.data<int64_t>();
                     const int64_t most = terms[i].max_distance, bins = terms[i].table.size(1);
                     for (int64_t k = 0; k < keys; k++) {
                       const int64_t distance = std::clamp(position[first + k] - position[t], -most, most);
                       index[k] = std::abs(distance) <= kTable
                                      ? buckets[i][distance]
                                      : int32_t(relative_position_bucket(distance, bins, most));
                     }
                     for (int64_t h = 0; h < heads; h++)
                       ctx.cpu().lookup_f32(to + start[b] + (h * rows + t - first) * keys,
                                            terms[i].table.data<float>() + h * bins, index, keys, i > 0);
                   }
                 }
               });
  return out;
}

Tensor layer_norm(Ctx& ctx, const Tensor& x, const LayerNorm& weights, Tensor* out, Activation activation) {
  const int64_t cols = weights.weight.defined() ? weights.weight.numel() : 0;
  expect_matrix("layer_norm", "x", x, cols);
  if (weights.bias.shape() != weights.weight.shape())
    fail("layer_norm", "bias of shape " + weights.weight.shape().str(), weights.bias.shape().str());
  if (out != nullptr && out->shape() != x.shape())
    fail("layer_norm", "out of shape " + x.shape().str(), out->shape().str());
  Tensor result = out != nullptr ? *out : ctx.empty(x.shape());
  if (x.on_cuda()) return cuda_ops::layer_norm(ctx, x, weights, result, activation), result;
  const float *in = x.data<float>(), *weight = weights.weight.data<float>(), *bias = weights.bias.data<float>();
  float* to = result.data<float>();
  ctx.parallel(x.size(0), row_grain(cols), [&](int64_t begin, int64_t end, int) {
    ctx.cpu().layer_norm_f32(to + begin * cols, in + begin * cols, weight, bias, end - begin, cols, weights.eps);
    if (activation != Activation::none)
      ctx.cpu().activation_f32(to + begin * cols, to + begin * cols, (end - begin) * cols, activation);
  });
  return result;
}

Tensor embedding(Ctx& ctx, const Tensor& ids, const Tensor& table, Tensor* onto) {
  expect_ids("embedding", ids, -1);
  expect_matrix("embedding", "table", table, table.rank() == 2 ? table.size(1) : 0);
  const int64_t rows = ids.size(0), cols = table.size(1);
  if (onto != nullptr && onto->shape() != Shape{rows, cols})
    fail("embedding", "a sum of shape " + Shape{rows, cols}.str(), onto->shape().str());
  Tensor out = onto != nullptr ? *onto : ctx.empty({rows, cols});
  if (table.on_cuda()) return cuda_ops::embedding(ctx, ids, table, out, 0, onto != nullptr), out;
  float* to = out.data<float>();
  ctx.parallel(rows, row_grain(cols), [&](int64_t begin, int64_t end, int) {
    ctx.cpu().embedding_f32(to + begin * cols, table.data<float>(), ids.data<int64_t>() + begin, end - begin, cols,
                            onto != nullptr);
  });
  return out;
}

Tensor embedding_norm(Ctx& ctx, std::initializer_list<Lookup> parts, const LayerNorm& weights) {
  const char* op = "embedding_norm";
  if (parts.size() < 1 || parts.size() > size_t(kernels::cuda::kEmbeddings))
    fail(op, "1 to " + std::to_string(kernels::cuda::kEmbeddings) + " embeddings", std::to_string(parts.size()));
  const Lookup& first = *parts.begin();
  const int64_t cols = weights.weight.defined() ? weights.weight.numel() : 0;
  for (const Lookup& part : parts) {
    expect_ids(op, part.ids, first.ids.size(0));
    expect_matrix(op, "table", part.table, cols);
  }
  if (first.table.on_cuda()) return cuda_ops::embedding_norm(ctx, parts, weights);
  Tensor x = embedding(ctx, first.ids, first.table);
  for (const Lookup& part : parts)
    if (&part != &first) embedding(ctx, part.ids, part.table, &x);
  return layer_norm(ctx, x, weights, &x);
}

void add_embedding_columns(Ctx& ctx, const Tensor& ids, const Tensor& table, int64_t column, Tensor& x) {
  const int64_t cols = table.rank() == 2 ? table.size(1) : 0, width = x.rank() == 2 ? x.size(1) : 0;
  expect_ids("add_embedding_columns", ids, x.size(0));
  expect_matrix("add_embedding_columns", "table", table, cols);
  expect_matrix("add_embedding_columns", "x", x, width);
  if (column < 0 || column > width - cols)
    fail("add_embedding_columns", std::to_string(cols) + " columns within " + std::to_string(width),
         std::to_string(column));
  if (x.on_cuda()) return cuda_ops::embedding(ctx, ids, table, x, column, true);
  float* to = x.data<float>() + column;
  const int64_t* id = ids.data<int64_t>();
  ctx.parallel(x.size(0), row_grain(cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; t++)
      ctx.cpu().add_f32(to + t * width, to + t * width, table.data<float>() + id[t] * cols, cols);
  });
}

Tensor concat_columns(Ctx& ctx, std::initializer_list<const Tensor*> parts) {
  int64_t width = 0;
  const int64_t rows = parts.size() > 0 ? (*parts.begin())->size(0) : 0;
  for (const Tensor* part : parts) {
    expect_matrix("concat_columns", "part", *part, part->size(-1));
    if (part->size(0) != rows) fail("concat_columns", std::to_string(rows) + " rows", part->shape().str());
    width += part->size(1);
  }
  Tensor out = ctx.empty({rows, width});
  if (out.on_cuda()) {
    for (int64_t column = 0; const Tensor* part : parts) {
      cuda_ops::copy_matrix(ctx, *part, out, column);
      column += part->size(1);
    }
    return out;
  }
  float* to = out.data<float>();
  for (const Tensor* part : parts) {
    const int64_t cols = part->size(1);
    const float* from = part->data<float>();
    ctx.parallel(rows, row_grain(cols), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) std::memcpy(to + t * width, from + t * cols, size_t(cols) * sizeof(float));
    });
    to += cols;
  }
  return out;
}

Tensor mean_pool(Ctx& ctx, const Tensor& x, const Ragged& sequences) {
  return pool(ctx, "mean_pool", x, sequences, ctx.cpu().mean_rows_f32, kernels::cuda::PoolKind::mean);
}
Tensor max_pool(Ctx& ctx, const Tensor& x, const Ragged& sequences) {
  return pool(ctx, "max_pool", x, sequences, ctx.cpu().max_rows_f32, kernels::cuda::PoolKind::most);
}

Tensor mean_and_deviation(Ctx& ctx, const Tensor& x, const Ragged& sequences) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_matrix("mean_and_deviation", "x", x, cols);
  expect_sequences("mean_and_deviation", x, sequences);
  Tensor out = ctx.empty({sequences.batch, 2 * cols});
  if (x.on_cuda()) return cuda_ops::pool(ctx, x, sequences, kernels::cuda::PoolKind::mean_and_deviation, out), out;
  float* result = out.data<float>();
  ctx.parallel(sequences.batch, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++) {
      const float* in = x.data<float>() + sequences.offsets[b] * cols;
      float *mean = result + 2 * b * cols, *deviation = mean + cols;
      const int64_t rows = sequences.keys[b];
      ctx.cpu().column_sums_f32(mean, in, cols, rows, cols);
      for (int64_t c = 0; c < cols; c++) mean[c] /= float(rows);
      ctx.cpu().column_squares_f32(deviation, in, cols, rows, cols, mean);
      for (int64_t c = 0; c < cols; c++) deviation[c] = rows < 2 ? NAN : std::sqrt(deviation[c] / float(rows - 1));
    }
  });
  return out;
}

void l2_normalize(Ctx& ctx, Tensor& x, float eps) {
  expect_matrix("l2_normalize", "x", x, x.rank() == 2 ? x.size(1) : 0);
  if (x.on_cuda()) return cuda_ops::l2_normalize(ctx, x, eps);
  const int64_t cols = x.size(1);
  float* data = x.data<float>();
  ctx.parallel(x.size(0), row_grain(cols), [&](int64_t begin, int64_t end, int) {
    ctx.cpu().l2_normalize_f32(data + begin * cols, data + begin * cols, end - begin, cols, eps);
  });
}

Tensor gather_rows(Ctx& ctx, const Tensor& x, const Tensor& index) {
  expect_ids("gather_rows", index, -1);
  expect_rows_within("gather_rows", index, x.size(0));
  return embedding(ctx, index, x);
}

void scatter_rows(Ctx& ctx, const Tensor& x, const Tensor& index, Tensor& out) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_matrix("scatter_rows", "x", x, cols);
  expect_matrix("scatter_rows", "out", out, cols);
  expect_ids("scatter_rows", index, x.size(0));
  expect_rows_within("scatter_rows", index, out.size(0));
  if (out.on_cuda()) return cuda_ops::scatter_rows(ctx, x, index, out);
  const float* from = x.data<float>();
  const int64_t* rows = index.data<int64_t>();
  float* to = out.data<float>();
  ctx.parallel(x.size(0), row_grain(cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      std::memcpy(to + rows[i] * cols, from + i * cols, size_t(cols) * sizeof(float));
  });
}

void add_scaled(Ctx& ctx, const Tensor& x, float scale, Tensor& onto) {
  if (onto.shape() != x.shape()) fail("add_scaled", "a sum of shape " + x.shape().str(), onto.shape().str());
  if (x.on_cuda()) return cuda_ops::add_scaled(ctx, x, scale, onto);
  const float* from = x.data<float>();
  float* to = onto.data<float>();
  ctx.parallel(x.numel(), kElementsPerTask, [&](int64_t begin, int64_t end, int) {
    ctx.cpu().add_scaled_f32(to + begin, from + begin, scale, end - begin);
  });
}

Tensor argmax(Ctx& ctx, const Tensor& x, int64_t groups) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_matrix("argmax", "x", x, cols);
  if (groups < 1 || cols < groups || cols % groups != 0)
    fail("argmax", "columns in " + std::to_string(groups) + " equal parts", x.shape().str());
  if (x.on_cuda()) return cuda_ops::argmax(ctx, x, groups);
  const int64_t width = cols / groups, count = x.size(0) * groups;
  Tensor out = ctx.empty({count}, DType::I64);
  int64_t* to = out.data<int64_t>();
  std::fill_n(to, count, int64_t(0));  // while planning, what follows reads them
  ctx.parallel(count, row_grain(width), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const float* part = x.data<float>() + i * width;
      for (int64_t c = 1; c < width && !std::isnan(part[to[i]]); c++)
        if (part[c] > part[to[i]] || std::isnan(part[c])) to[i] = c;
    }
  });
  return out;
}

Tensor gather_parts(Ctx& ctx, const Tensor& table, const Tensor& codes, int64_t groups) {
  const int64_t width = table.rank() == 2 ? table.size(1) : 0;
  expect_matrix("gather_parts", "table", table, width);
  expect_ids("gather_parts", codes, -1);
  if (groups < 1 || table.size(0) % groups != 0 || codes.size(0) % groups != 0)
    fail("gather_parts", "a table and codes in " + std::to_string(groups) + " equal parts",
         table.shape().str() + " and " + codes.shape().str());
  const int64_t rows = codes.size(0) / groups, each = table.size(0) / groups;
  Tensor out = ctx.empty({rows, groups * width});
  if (codes.on_cuda()) return cuda_ops::gather_parts(ctx, table, codes, groups, out), out;
  Tensor ids = ctx.empty({codes.size(0)}, DType::I64);
  for (int64_t i = 0; i < codes.size(0); i++)  // nobody has written codes while planning
    ids.data<int64_t>()[i] = (ctx.planning() ? 0 : codes.data<int64_t>()[i]) + i % groups * each;
  Tensor parts = out.reshape({codes.size(0), width});
  copy_rows(ctx, gather_rows(ctx, table, ids), parts);
  return out;
}

Tensor cumulative_sum(Ctx& ctx, const Tensor& x) {
  if (x.rank() != 2 || (x.dtype() != DType::F32 && x.dtype() != DType::I64 && !x.on_cuda()))
    fail("cumulative_sum", "x (T, N) F32 or I64", x.shape().str() + " " + std::string(name_of(x.dtype())));
  if (x.on_cuda()) return cuda_ops::cumulative_sum(ctx, x);
  const int64_t cols = x.size(1);
  Tensor out = ctx.empty(x.shape(), x.dtype());
  auto over_rows = [&]<class T, class Sum>(T* to, const T* from, Sum) {
    ctx.parallel(x.size(0), row_grain(cols), [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; r++) {
        Sum sum = 0;
        for (int64_t i = r * cols; i < (r + 1) * cols; i++) to[i] = T(sum += Sum(from[i]));
      }
    });
  };
  if (x.dtype() == DType::F32)
    over_rows(out.data<float>(), x.data<float>(), double());
  else
    over_rows(out.data<int64_t>(), x.data<int64_t>(), uint64_t());
  return out;
}

void copy_rows(Ctx& ctx, const Tensor& x, Tensor& out) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_matrix("copy_rows", "x", x, cols);
  if (out.shape() != x.shape()) fail("copy_rows", "out of shape " + x.shape().str(), out.shape().str());
  if (out.on_cuda()) return cuda_ops::copy_matrix(ctx, x, out, 0);
  const float* from = x.data<float>();
  float* to = out.data<float>();
  ctx.parallel(x.size(0), row_grain(cols), [&](int64_t begin, int64_t end, int) {
    std::memcpy(to + begin * cols, from + begin * cols, size_t((end - begin) * cols) * sizeof(float));
  });
}

Tensor prepend_token(Ctx& ctx, const Tensor& token, const Tensor& x, const Tensor& positions) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_matrix("prepend_token", "x", x, cols);
  expect_matrix("prepend_token", "token", token, cols);
  expect_matrix("prepend_token", "positions", positions, cols);
  const int64_t length = positions.size(0), rest = length - 1;
  if (token.size(0) != 1 || rest < 1 || x.size(0) % rest != 0)
    fail("prepend_token", "a token and sequences of " + std::to_string(rest) + " rows",
         token.shape().str() + " and " + x.shape().str());
  const int64_t rows = x.size(0) / rest * length;
  Tensor out = ctx.empty({rows, cols});
  if (x.on_cuda()) return cuda_ops::prepend_token(ctx, token, x, positions, out), out;
  const float *in = x.data<float>(), *first = token.data<float>(), *position = positions.data<float>();
  float* to = out.data<float>();
  ctx.parallel(rows, row_grain(cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t b = t / length, p = t % length;
      ctx.cpu().add_f32(to + t * cols, p == 0 ? first : in + (b * rest + p - 1) * cols, position + p * cols, cols);
    }
  });
  return out;
}

Tensor zeros(Ctx& ctx, const Shape& shape) {
  Tensor out = ctx.empty(shape);
  if (out.on_cuda())
    ctx.cuda()->fill_zero(out.raw(), out.nbytes());
  else if (!ctx.planning())
    std::memset(out.raw(), 0, out.nbytes());
  return out;
}

void clear_behind_keys(Ctx& ctx, const Ragged& sequences, Tensor& x) {
  const int64_t cols = x.rank() == 2 ? x.size(1) : 0;
  expect_matrix("clear_behind_keys", "x", x, cols);
  expect_sequences("clear_behind_keys", x, sequences);
  if (x.on_cuda()) return cuda_ops::clear_behind_keys(ctx, sequences, x);
  for (int64_t b = 0; !ctx.planning() && b < sequences.batch; b++) {
    const int64_t begin = sequences.offsets[b] + sequences.keys[b], end = sequences.offsets[b + 1];
    std::fill_n(x.data<float>() + begin * cols, (end - begin) * cols, 0.0f);
  }
}

Tensor to_device(Ctx& ctx, const Tensor& x) {
  if (ctx.cuda() == nullptr) return x;
  return cuda_ops::to_device(ctx, x, x.shape(), /*convert=*/true);
}

Tensor to_device_unchanged(Ctx& ctx, const Tensor& x) {
  if (ctx.cuda() == nullptr) return x;
  return cuda_ops::to_device(ctx, x, x.shape(), /*convert=*/false);
}

Tensor images_to_device(Ctx& ctx, const Tensor& x) {
  if (ctx.cuda() == nullptr) return x;
  return cuda_ops::to_device(ctx, x, {ctx.bucket_images(x.size(0)), x.size(1), x.size(2), x.size(3)},
                             /*convert=*/false);
}

Tensor samples_to_device(Ctx& ctx, const Tensor& x, bool unchanged) {
  if (ctx.cuda() == nullptr) return x.reshape({x.numel(), 1});
  return cuda_ops::to_device(ctx, x, {ctx.bucket_rows(x.numel()), 1}, /*convert=*/!unchanged);
}

}  // namespace caracal
