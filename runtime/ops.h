// The operations that model code is written in. Each checks its arguments (throws Error), takes its output from the
// call's workspace, and splits the work over the runtime's threads; the kernels do the rest. Tensors are float32; what
// a Linear multiplies them with is its own affair. On a CUDA device tensors have the numbers of the model, and an op
// notes down its launch (cuda_ops.cpp); ids, offsets and all else that is integer stay in the CPU's memory there too.
//
// Results never depend on the thread count or on which other rows are in the batch, to the last bit.
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include <caracal/runtime/memory.h>
#include <caracal/runtime/runtime.h>

namespace caracal {

using kernels::Activation;

/// How a Linear's weight is kept, and what it is multiplied in.
enum class LinearKind {
  f32,       // float32
  bf16,      // bfloat16, multiplied in float32: the bits of f32 with the same weights, half the memory to read
  f16,       // float16, likewise
  bf16_dot,  // bfloat16, and so is x, rounded as it is read; sums in float32
  s8         // 8 bits with a scale for each output; x in 8 bits with a scale for each row, found anew; sums in int32
};
/// Inputs that a Linear of kind s8 may have: beyond, a sum could leave 32 bits.
inline constexpr int64_t kMostInputsS8 = 65536;

/// A torch.nn.Linear whose weight was rearranged for the runtime's kernels. Several matrices that read the same input
/// (query, key, value) may be stacked into one.
struct Linear {
  int64_t in_features = 0, out_features = 0;
  LinearKind kind = LinearKind::f32;
  std::shared_ptr<void> packed;
  std::shared_ptr<const NextWeight> next;  // on the CPU
  Tensor bias;                             // (out_features), or undefined
  Device device = {};                      // where `packed` is, and x must be
};

/// A weight (out, in) in 8 bits: values I8, and scales (out, 1) F32 to multiply their rows by. It is the weight's rows
/// rotated (kernels/cpu/rotate.h), as those of x will be: column i is not input i.
struct QuantizedWeight {
  Tensor values, scales;
};
/// Rounds a weight (out, in) F32, rotated, to 8 bits: in each row the largest magnitude becomes 127. A row with NaN or
/// inf, or whose rotation overflows, gets the scale NaN. The same bytes on every tier and for any number of threads.
QuantizedWeight quantize_weight(const Runtime& runtime, const Tensor& weight);
/// The weight (out, in) F32 that was rounded, but for what rounding took.
Tensor dequantize_weight(const Runtime& runtime, const QuantizedWeight& weight);

/// Packs weights (out_i, in) stacked along out, and their biases (out_i; undefined counts as zero unless all are):
/// F32, or F16 or BF16, which are then kept so (BF16 as `bf16_dot` if asked for). Memory comes from `store`; on a
/// device they are laid there as they are, in the store's numbers. Throws when shapes or dtypes do not fit. Best in the
/// order of use, and before anyone multiplies by what the store holds.
Linear pack_linear(const Runtime& runtime, WeightStore& store, const std::vector<Tensor>& weights,
                   const std::vector<Tensor>& biases, bool bf16_dot = false);
/// The same for weights of 8 bits; the result is of kind s8.
Linear pack_linear(const Runtime& runtime, WeightStore& store, const std::vector<QuantizedWeight>& weights,
                   const std::vector<Tensor>& biases);

/// A torch.nn.LayerNorm over the last dimension.
struct LayerNorm {
  Tensor weight, bias;  // (cols)
  float eps = 1e-5f;
};

/// A batch of sequences of different lengths, stored without padding: rows offsets[b] .. offsets[b + 1] of every
/// (T, H) activation belong to sequence b. Its first keys[b] rows are attended to; rows beyond only attend.
struct Ragged {
  int64_t batch = 0, tokens = 0, longest = 0;  // longest: the most rows of one sequence
  const int64_t* offsets = nullptr;            // (batch + 1)
  const int64_t* keys = nullptr;               // (batch)
};

struct LinearOptions {
  Activation activation = Activation::none;
  const Tensor* residual = nullptr;  // (T, out_features), added after the activation
  Tensor* into = nullptr;            // receives the result (T, out_features); may be the residual
};

/// act(x · Wᵀ + bias) + residual. x (T, in_features) -> (T, out_features).
Tensor linear(Ctx& ctx, const Tensor& x, const Linear& weights, const LinearOptions& options = {});

/// Keys and values that attention() does not take from its first argument: those of another sequence (cross-attention),
/// or of earlier calls and this one together (a cache).
struct KeysValues {
  Tensor rows;       // (K, 2A): key, value side by side
  Ragged sequences;  // of `rows`; sequence b serves sequence b of the queries
};

struct AttentionOptions {
  int64_t heads = 1;
  /// Of the product that x came from. bf16_dot and s8: queries, keys, values and e^(score - highest score) are rounded
  /// to bfloat16 before they are multiplied; sums and softmax are in float32. All others: float32.
  LinearKind kind = LinearKind::f32;
  /// Each row attends to the keys up to its own; the last key is that of the last row that is a key itself. Rows beyond
  /// the keys see none and give 0.
  bool causal = false;
  const KeysValues* keys_values = nullptr;
  const Tensor* bias = nullptr;  // added to the scores: (heads, rows, keys) of each sequence, one after another
  Tensor* probs = nullptr;       // receives the softmax, (heads, rows, keys) of each sequence, one after another
};

/// Multi-head softmax(q kᵀ / √head_dim) v within each sequence, with A = heads · head_dim -> (T, A). x (T, 3A) is
/// query, key, value side by side; with keys_values only its first A columns are read, and x may be (T, A).
Tensor attention(Ctx& ctx, const Tensor& x, const Ragged& sequences, const AttentionOptions& options);

/// The bucket of a distance (key's position less query's) among `buckets`, as in T5 and LayoutLM: one for each small
/// distance and sign, then logarithmically wider ones up to max_distance.
int64_t relative_position_bucket(int64_t distance, int64_t buckets, int64_t max_distance);
/// A bias of the attention scores that depends on how far two rows are apart.
struct RelativePositions {
  Tensor positions;  // (T) I64
  Tensor table;      // (heads, buckets)
  int64_t max_distance = 0;
};
/// What attention() takes as its bias: the sum over `terms` of table[head, bucket(position of key - position of row)].
/// Sequences will not often have more than `most_rows` rows: a device then takes the same memory for all mixes of
/// lengths.
Tensor relative_bias(Ctx& ctx, const Ragged& sequences, std::span<const RelativePositions> terms,
                     int64_t most_rows = 0);

/// Layer norm of each row, (T, H) -> (T, H), then the activation. `out` receives the result when given (it may be x
/// itself).
Tensor layer_norm(Ctx& ctx, const Tensor& x, const LayerNorm& weights, Tensor* out = nullptr,
                  Activation activation = Activation::none);

/// Rows of `table` (rows, H) chosen by ids (T) I64, added to `onto` when given, in place. The caller has
/// checked that the ids are in range. Returns (T, H).
Tensor embedding(Ctx& ctx, const Tensor& ids, const Tensor& table, Tensor* onto = nullptr);

/// Rows of `table` (rows, H) that ids (T) I64 choose.
struct Lookup {
  Tensor ids, table;
};
/// Layer norm of the sum of up to three embeddings, added in this order -> (T, H). As embedding() and layer_norm().
Tensor embedding_norm(Ctx& ctx, std::initializer_list<Lookup> parts, const LayerNorm& weights);

/// Rows of `table` (rows, C) chosen by ids (T) I64, added to columns column .. column + C of x (T, H), in place. The
/// caller has checked that the ids are in range.
void add_embedding_columns(Ctx& ctx, const Tensor& ids, const Tensor& table, int64_t column, Tensor& x);
/// Matrices (T, .) side by side.
Tensor concat_columns(Ctx& ctx, std::initializer_list<const Tensor*> parts);

/// Mean over the rows of each sequence, (T, H) -> (B, H); 0 for an empty sequence.
Tensor mean_pool(Ctx& ctx, const Tensor& x, const Ragged& sequences);
/// Largest value of each column over the rows of each sequence, (T, H) -> (B, H); 0 for an empty sequence.
Tensor max_pool(Ctx& ctx, const Tensor& x, const Ragged& sequences);
/// Mean and unbiased standard deviation of each column over the rows of each sequence, side by side, (T, H) -> (B, 2H);
/// NaN where there are too few rows, as in torch.
Tensor mean_and_deviation(Ctx& ctx, const Tensor& x, const Ragged& sequences);
/// Each row divided by max(its Euclidean length, eps), as torch.nn.functional.normalize. In place.
void l2_normalize(Ctx& ctx, Tensor& x, float eps = 1e-12f);

/// Rows of x (N, H) chosen by `index` (T) I64 -> (T, H). Throws for an index outside x.
Tensor gather_rows(Ctx& ctx, const Tensor& x, const Tensor& index);
/// Writes row i of x (T, H) to row index[i] of `out` (N, H). Rows of `out` that no index names stay as they are.
/// Throws for an index outside `out`.
void scatter_rows(Ctx& ctx, const Tensor& x, const Tensor& index, Tensor& out);

/// onto += scale · x, in place.
void add_scaled(Ctx& ctx, const Tensor& x, float scale, Tensor& onto);
/// The column of the largest value in each of the `groups` equal parts of each row, counted within the part; the first
/// of equal ones, NaN before all. x (T, N) -> (T · groups) I64.
Tensor argmax(Ctx& ctx, const Tensor& x, int64_t groups = 1);

/// What argmax() chose, from a table (groups · N, W) with N rows for each part, side by side: (T · groups) I64 ->
/// (T, groups · W). The caller's `codes` are below N.
Tensor gather_parts(Ctx& ctx, const Tensor& table, const Tensor& codes, int64_t groups);

/// torch.cumsum(x, -1) of x (T, N) F32 or I64: what has been added up so far, in float64 for F32 (as torch on the CPU)
/// and modulo 2^64 for I64.
Tensor cumulative_sum(Ctx& ctx, const Tensor& x);

/// Copies the rows of x (T, H) over those of `out` (T, H).
void copy_rows(Ctx& ctx, const Tensor& x, Tensor& out);
/// Each of the sequences of P rows that x (B · P, H) consists of with `token` (1, H) before it, and positions (P + 1,
/// H) added -> (B · (P + 1), H).
Tensor prepend_token(Ctx& ctx, const Tensor& token, const Tensor& x, const Tensor& positions);

/// 0s.
Tensor zeros(Ctx& ctx, const Shape& shape);
/// Rows of each sequence of x (T, H) behind its keys become 0.
void clear_behind_keys(Ctx& ctx, const Ragged& sequences, Tensor& x);

/// What a caller gave, in memory that ops can read, and in the numbers that they take: x itself on the CPU. All float
/// tensors of a call that are not its own go through here, once; Ctx::fetch() is the way out.
Tensor to_device(Ctx& ctx, const Tensor& x);
/// The same in x's own numbers: for the ops that start from images and samples (image_patches, image_rows,
/// normalized_conv1d).
Tensor to_device_unchanged(Ctx& ctx, const Tensor& x);
/// Images (B, C, height, width), unchanged; on a device with others of 0 behind them, as Ctx::bucket_images() says.
Tensor images_to_device(Ctx& ctx, const Tensor& x);
/// Samples (N) as rows (N, 1), `unchanged` or not; on a device with others behind them, as Ctx::bucket_rows() says.
Tensor samples_to_device(Ctx& ctx, const Tensor& x, bool unchanged);

}  // namespace caracal
