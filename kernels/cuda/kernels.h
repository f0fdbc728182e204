// The CUDA kernels and what the runtime asks of the driver, as one table of function pointers. No CUDA header is needed
// to read it: pointers are to device memory unless their comment says otherwise.
//
// Every member of every Args is 8 bytes wide, so that there is no padding and equal calls are equal bytes: a captured
// graph is replayed if, and only if, the launches of a call are the bytes of those that it was captured from. So
// nothing that changes from call to call of one shape may be in them by value; what does (offsets, ids) is in device
// memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <caracal/kernels/kernels.h>

struct CUstream_st;
struct CUctx_st;

namespace caracal::kernels::cuda {

using Stream = CUstream_st*;
using Context = CUctx_st*;
/// Numbers of activations and of the matrices they are multiplied with. Vectors (bias, scale and shift of norms),
/// scores' biases and probabilities are float32 always; so is all arithmetic but the products themselves.
enum class Type : int64_t { f32, f16, bf16 };
/// kernels::Activation, 8 bytes wide.
enum class Act : int64_t {};
inline Act act(Activation activation) { return Act(int64_t(activation)); }

/// How many GemmArgs::counters there are.
inline constexpr int64_t kGemmCounters = 1 << 14;
/// c = act(a · wᵀ + bias) + residual, or act(… + residual) with residual_first. Then, if `norm` is not null, the layer
/// norm of each row of c, with the bits of layer_norm().
struct GemmArgs {
  Type type;
  void* c;               // (rows, n), rows ldc apart
  const void *a, *w;     // (rows, k), rows lda apart; (n, k)
  const float* bias;     // (n), or null
  const void* residual;  // (rows, n), rows ldr apart, or null; may be c
  int64_t ldc, lda, ldr, rows, n, k;
  Act activation;
  int64_t residual_first;
  int64_t tf32;   // 1: float32 operands may be rounded to TF32 (10 bits of mantissa) for tensor cores that know it
  void* scratch;  // gemm_scratch(rows, n, k) bytes
  void*
      counters;  // kGemmCounters of 4 bytes, 0 before and after, of one stream's kernels alone; null: slower, same bits
  void* norm;    // (rows, n), or null, if ldc = n; may be c, the residual if ldr = n, a if lda = n; else apart from all
  const float *norm_weight, *norm_bias;  // (n)
  double norm_eps;
};

/// Convolution of `batch` images or sequences, channels last. Of images all have one size; sequence b is in_lengths[b]
/// rows from in_offsets[b] on, and its results are the rows from out_offsets[b] to out_offsets[b + 1]. Window as in
/// kernels::WindowArgs.
struct ConvolutionArgs {
  Type type;
  void* out;             // (rows, out_channels)
  const void *x, *w;     // (…, in_channels); (out_channels, kernel_y · kernel_x · in_channels / groups)
  const float* bias;     // (out_channels), or null
  const void* residual;  // (rows, out_channels), or null; may be out
  const int64_t *in_offsets, *in_lengths, *out_offsets;  // (batch), (batch), (batch + 1); null for images
  int64_t batch, rows, in_channels, out_channels, groups;
  int64_t height, width, out_height, out_width;  // of images; sequences: 1
  int64_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
  Act activation;
  int64_t residual_first;
  int64_t tf32;  // as of GemmArgs
};

/// Softmax(scale · Q Kᵀ + bias) V, for each head of each sequence. Rows of queries of sequence b: q_offsets[b] to
/// q_offsets[b + 1]; its keys: the first k_lengths[b] rows from k_offsets[b] on. No keys: 0.
struct AttentionArgs {
  Type type;
  void* out;  // (tokens, heads · head_dim), rows ldo apart
  const void *q, *k, *v;
  int64_t ldo, ldq, ldk;                             // rows of k and of v are ldk apart
  const int64_t *q_offsets, *k_offsets, *k_lengths;  // (batch + 1), (batch), (batch)
  const int64_t* q_lengths;  // causal: (batch): row r < q_lengths[b] sees keys up to k_lengths[b] - q_lengths[b] + r,
                             // later rows none; else null: all rows see all keys
  int64_t batch, heads, head_dim, tokens;  // tokens: rows of q; those of no sequence are left alone
  double scale;
  const float* bias;      // (heads, rows, keys) of each sequence, those of sequence b from scores[b] on; or null
  float* probs;           // receives the softmax, likewise; 0 where nothing is seen; or null
  const int64_t* scores;  // (batch); null without bias and probs
};

/// out = act(layer norm of each row of x). May be in place.
struct LayerNormArgs {
  Type type;
  void* out;
  const void* x;
  const float *weight, *bias;
  int64_t rows, cols;
  double eps;
  Act activation;
};

/// out[i] = table[ids[i]], or += with accumulate; rows of out are ldo apart.
struct EmbeddingArgs {
  Type type;
  void* out;
  const void* table;  // (…, cols)
  const int64_t* ids;
  int64_t ldo, rows, cols, accumulate;
};

/// out = layer norm of the sum of tables[i][ids[i]]; tables but the first may be null.
inline constexpr int kEmbeddings = 3;
struct EmbeddingNormArgs {
  Type type;
  void* out;
  const void* tables[kEmbeddings];  // (…, cols)
  const int64_t* ids[kEmbeddings];  // (rows)
  const float *weight, *bias;
  int64_t rows, cols;
  double eps;
};

struct RowsArgs {
  Type type;
  void* out;
  const void* x;
  const int64_t* index;
  int64_t rows, cols;
};

/// out = x, converted.
struct MatrixArgs {
  Type out_type, type;
  void* out;
  const void* x;
  int64_t ldo, ldx, rows, cols;
};

struct AddScaledArgs {
  Type type;
  void* out;
  const void* x;
  int64_t count;
  double scale;
};

/// Sequences of length - 1 rows of x, each with `token` (cols) before it; positions (length, cols) are added.
struct PrependTokenArgs {
  Type type;
  void* out;
  const void *token, *x, *positions;
  int64_t rows, length, cols;  // rows of out
};

/// The first lengths[b] rows from offsets[b] on -> row b of out: their mean; their largest, column by column; or mean
/// and unbiased standard deviation side by side, (batch, 2 cols), NaN where there are too few rows. mean, most: 0 for
/// none.
enum class PoolKind : int64_t { mean, most, mean_and_deviation };
struct PoolArgs {
  Type type;
  void* out;
  const void* x;
  const int64_t *offsets, *lengths;
  int64_t batch, cols;
  PoolKind kind;
};

/// l2_normalize: x / max(‖x‖, eps), row by row. cumulative_sum: along each row, in float64. May be in place.
struct NormalizeArgs {
  Type type;
  void* out;
  const void* x;
  int64_t rows, cols;
  double eps;
};

/// Column of the largest value in each of the `groups` equal parts of each row, counted within the part; the first of
/// equal ones, NaN before all.
struct ArgmaxArgs {
  Type type;
  int64_t* out;  // (rows · groups)
  const void* x;
  int64_t rows, cols, groups;
};

/// out (heads, rows, keys) of each sequence from scores[b] on, = or += table[head, bucket[clamp(position of key -
/// position of row)]]. Rows and keys of sequence b as in AttentionArgs, positions (tokens).
struct RelativeBiasArgs {
  float* out;
  const int64_t *offsets, *lengths, *scores, *positions;
  const float* table;     // (heads, buckets)
  const int64_t* bucket;  // (2 most + 1), of the distances from -most to most
  int64_t batch, tokens, heads, buckets, most, accumulate;
};

/// The rows of sequence b behind its first lengths[b], up to offsets[b + 1], become 0.
struct ClearRowsArgs {
  Type type;
  void* x;
  const int64_t *offsets, *lengths;  // (batch + 1), (batch)
  int64_t batch, tokens, cols;
};

/// Patches of images (batch, channels, height, width) float32 as rows of channels · patch_height · patch_width.
struct PatchesArgs {
  Type type;
  void* out;
  const float* images;
  int64_t batch, channels, height, width, patch_height, patch_width;
};

/// x (batch · height · width, channels · factor²) -> float32 (batch, channels, height · factor, width · factor).
struct PixelShuffleArgs {
  Type type;
  float* out;
  const void* x;
  int64_t batch, channels, height, width, factor;
};

/// x (batch · height · width, cols) -> out (batch · out_height · out_width, cols).
struct ResizeArgs {
  Type type;
  void* out;
  const void* x;
  int64_t batch, cols, height, width, out_height, out_width;
};

struct WindowPoolArgs {
  Type type;
  void* out;
  const void* x;
  int64_t batch, channels, height, width, out_height, out_width;
  int64_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
};

/// As window_means_f32 of the CPU: -> (batch · out_height · out_width, kernel² · cols).
struct WindowMeansArgs {
  Type type;
  void* out;
  const void* x;
  int64_t batch, cols, height, width, kernel, out_height, out_width;
};

/// (batch, channels, pixels) bytes or float32 -> rows (batch · pixels, channels) of (value - mean) / deviation.
struct ImageRowsArgs {
  Type type;
  void* out;
  const void* images;
  int64_t bytes;  // 1: images are bytes, 0: float32
  const float *mean, *deviation;
  int64_t batch, channels, pixels;
};

/// Group norm over the first lengths[b] rows from offsets[b] on, in place, then the activation.
struct GroupNormArgs {
  Type type;
  void* x;
  const int64_t *offsets, *lengths;  // (batch + 1), (batch)
  const float *weight, *bias;
  int64_t batch, tokens, cols, groups;
  double eps;
  Act activation;
  void* scratch;  // group_norm_scratch(batch, tokens, cols) bytes
};

/// act(norm(convolution of one channel)): statistics over time, channel by channel. x: float32 samples, sequence b
/// in_lengths[b] from in_offsets[b] on; results out_offsets[b] to out_offsets[b + 1].
struct NormalizedConv1dArgs {
  Type type;
  void* out;                   // (tokens, channels)
  const float *x, *w;          // w (channels, kernel)
  const float *weight, *bias;  // of the norm
  const int64_t *in_offsets, *in_lengths, *out_offsets;
  int64_t batch, tokens, channels, kernel, stride;
  double eps;
  Act activation;
  void* scratch;  // normalized_conv1d_scratch(batch, tokens, channels, kernel) bytes
};

/// What was captured.
using Graph = struct CUgraphExec_st*;
/// Of a stream; while it is being captured nothing else is said.
struct StreamState {
  int device = -1;
  bool primary = false;  // it is of the current context, the primary one of its device
  bool capturing = false;
};
/// cudaStreamCaptureModeRelaxed.
inline constexpr int kRelaxedCapture = 2;

/// The kernels, and the driver. Functions return 0 or an error, whose text error_text() knows. Those without a stream
/// wait until they are done.
struct Cuda {
  const char* backend;  // who multiplies: "native", or "cublas" but for convolutions
#define KERNEL(name, Args) int (*name)(Stream, const Args&);
#include <caracal/kernels/cuda/kernels.def>
#undef KERNEL
  size_t (*gemm_scratch)(int64_t rows, int64_t n, int64_t k);
  size_t (*group_norm_scratch)(int64_t batch, int64_t tokens, int64_t cols);
  size_t (*normalized_conv1d_scratch)(int64_t batch, int64_t tokens, int64_t channels, int64_t kernel);

  /// What a library has to look for before such a product can be captured, or nothing.
  int (*find_gemm)(const GemmArgs&);

  const char* (*error_text)(int error);
  int (*device_count)(int* count);  // 0 devices, and no error, where there is no driver
  int (*driver_versions)(int* has, int* needs);  // the latest CUDA it is for, and ours: 12040 is 12.4
  /// Makes the device (its primary context) current for the calling thread; every other function works on the current
  /// one. `before` receives what was current, null for none: restore() puts it back.
  int (*use_device)(int index, Context* before);
  int (*restore)(Context before);
  int (*exchange_capture_mode)(int* mode);  // the thread's with *mode, a cudaStreamCaptureMode
  int (*current_device)(int* index);
  int (*device_name)(int index, char* name, size_t size, int* major, int* minor, size_t* memory);
  int (*allocate)(void** memory, size_t bytes);
  int (*release)(void* memory);
  int (*allocate_host)(void** memory, size_t bytes);  // pinned
  int (*release_host)(void* memory);
  int (*upload)(Stream stream, void* device, const void* host, size_t bytes);  // from any memory of the host; waits
  int (*create_stream)(Stream* stream);
  int (*destroy_stream)(Stream stream);
  int (*stream_state)(Stream stream, StreamState* state);
  int (*copy)(Stream stream, void* to, const void* from, size_t bytes);  // any direction; host memory pinned
  int (*fill_zero)(Stream stream, void* memory, size_t bytes);
  int (*synchronize)(Stream stream);
  int (*begin_capture)(Stream stream);
  int (*end_capture)(Stream stream, Graph* graph);  // null with an error
  int (*launch_graph)(Stream stream, Graph graph);
  int (*destroy_graph)(Graph graph);
};

/// The table, or null where caracal::cuda was not built or linked (absent.cpp).
const Cuda* cuda_table() noexcept;

/// The same, but for products by cuBLASLt (cublas/gemm.cpp), which is looked for at the first call; *about names it.
/// Null where it is not there, and *about says what is missing; both null where this was not built or linked.
const Cuda* cublas_table(const char** about) noexcept;

}  // namespace caracal::kernels::cuda
