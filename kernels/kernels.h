// The CPU kernels of one instruction set, as a table of function pointers. A kernel gets raw pointers and sizes: it
// allocates nothing, throws nothing, starts no thread and looks at no dtype at run time (the dtype is in its name).
// The caller checks arguments, owns all memory and splits the work over threads by row, panel or head ranges.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace caracal::kernels {

/// Instruction-set tiers, each a set of CPU features: avx2 = avx2 + fma + f16c; avx512 = avx2 + avx512 f, bw, dq, vl.
/// avx2_vnni = avx2 + avx_vnni; avx512_vnni = avx512 + avx512_vnni; avx512_bf16 = avx512_vnni + avx512_bf16: these
/// three differ from the tier below in the products of narrow numbers only.
enum class Isa { scalar, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16 };
inline constexpr Isa kIsas[] = {Isa::scalar, Isa::avx2,        Isa::avx2_vnni,
                                Isa::avx512, Isa::avx512_vnni, Isa::avx512_bf16};

/// Who multiplies matrices, and so convolves; all else is caracal's own in every one. native: cpu/gemm.cpp. onednn:
/// Intel's library, where caracal::onednn was linked. eigen: Eigen's block kernel, compiled for each tier.
enum class Backend { native, onednn, eigen };
inline constexpr Backend kBackends[] = {Backend::native, Backend::onednn, Backend::eigen};

/// Elementwise functions, also available in the GEMM epilogue. Formulas are those of transformers' ACT2FN:
/// gelu = x Φ(x) by erf; gelu_tanh = "gelu_new" and "gelu_pytorch_tanh"; quick_gelu = x σ(1.702 x); silu = x σ(x);
/// gelu_10 = gelu clipped to ±10; laplace = Φ((x - 0.707107) / 0.282095); leaky_relu with slope 0.01; relu2 = relu².
enum class Activation {
  none,
  relu,
  gelu,
  gelu_tanh,
  quick_gelu,
  silu,
  tanh,
  sigmoid,
  gelu_10,
  hardswish,
  laplace,
  leaky_relu,
  mish,
  relu2,
  relu6,
  sqrtsoftplus
};

/// C = epilogue(A · Wᵀ), where W (n, k) was packed by the same tier's pack_gemm_f32. Every element of C is one chain of
/// multiply-adds in ascending k (natively; a library adds chunks of k), whatever the number of rows, threads or
/// neighbours: results never depend on them.
struct GemmArgs {
  const float* a;  // (rows, k), rows lda apart
  int64_t lda;
  const void* packed;  // the whole packed W
  float* c;            // (rows, n), rows ldc apart
  int64_t ldc;
  int64_t rows, n, k;
  const float* bias;      // (n), added first; may be null
  Activation activation;  // applied second
  const float* residual;  // (rows, n), rows ldr apart, added last; may be null; may equal c
  int64_t ldr;
  bool residual_first = false;     // add the residual before the activation
  int64_t panel_begin, panel_end;  // this call's share of the ceil(n / panel_width) output panels
  const void* rows_a =
      nullptr;       // gemm_bf16_dot, gemm_s8: A as rows_… converted it, rows lda bytes apart, in place of a
  const void* next;  // what the calling thread will read next, of this W or of another: fetched while the last panel is
  size_t next_bytes;  // multiplied, unless one pass takes all rows. 0 bytes: nothing
};

/// Softmax(scale · Q Kᵀ + bias) V for one head of one sequence.
struct AttentionArgs {
  const float *q, *k, *v;           // (queries, head_dim), (keys, head_dim), (keys, head_dim)
  int64_t ldq, ldk, ldv;            // distance between rows
  int64_t queries, keys, head_dim;  // keys may be 0: the output is then 0
  int64_t hidden;  // causal attention: the last `hidden` keys are hidden from the first query, one less
                   // from each query after it; 0: all see all. A query that sees none gives 0
  float scale;
  const float* bias;  // (queries, keys), rows ldb apart, or null
  int64_t ldb;
  float* out;  // (queries, head_dim), rows ldo apart
  int64_t ldo;
  float* probs;  // (queries, keys), rows ldp apart: receives the softmax; or null
  int64_t ldp;
  void* scratch;  // attention_scratch_…(keys, head_dim) bytes, 64-byte aligned
};

/// One pass of an image resize, along x or along y. Output i is Σ weight[t] · in[first + t], t < count, in units of
/// 2^-22, rounded and clamped to a byte.
struct ResampleArgs {
  uint8_t* out;
  int64_t ldo;  // bytes between rows
  const uint8_t* in;
  int64_t ldi;
  int64_t in_size, out_size, channels;  // resample_x: pixels of a row and their bytes
  int64_t row_bytes;                    // resample_y: bytes of a row
  const int32_t* bounds;                // (outputs, 2): first, count
  const int16_t* weights;               // (outputs, 2, taps): weight >> 12, then weight & 4095; 0 from count on
  int64_t taps;                         // a multiple of 4, at least every count
};

/// The windows of a convolution or pooling over an image of pixels, each a row of channels. Output pixel (oy, ox) looks
/// at pixels (oy · stride_y - pad_y + i · dilation_y, ox · stride_x - pad_x + j · dilation_x), i < kernel_y, j <
/// kernel_x; those outside the image are padding. A sequence is an image of height 1.
struct WindowArgs {
  const float* x;  // (height · width, channels), rows ldx apart
  int64_t ldx, height, width, channels;
  int64_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
  int64_t out_width;
};

/// The table: one member per line of kernels.def.
struct Kernels {
  Isa isa;
  const char* name;  // "scalar", "avx2", …
  Backend backend;   // of the matrix product
#define KERNEL(ret, fn, params) ret(*fn) params;
#include <caracal/kernels/kernels.def>
#undef KERNEL
};

/// The tier that computes everything but products of narrow numbers: avx512 of avx512_vnni.
Isa base_isa(Isa isa) noexcept;

/// Name of a tier, and its inverse; false for an unknown name.
const char* isa_name(Isa isa) noexcept;
bool isa_from_name(const char* name, Isa& isa) noexcept;

/// True when this CPU and operating system can run the tier (CPUID and XCR0).
bool isa_supported(Isa isa) noexcept;

/// The widest supported tier.
Isa best_isa() noexcept;

/// The native table of a tier; call only when isa_supported(isa).
const Kernels& cpu_kernels(Isa isa) noexcept;

/// Name of a backend, and its inverse; false for an unknown name.
const char* backend_name(Backend backend) noexcept;
bool backend_from_name(const char* name, Backend& backend) noexcept;

/// native where tiers were written by hand (x86-64), eigen on every other architecture.
Backend best_backend() noexcept;

/// The table of a tier whose matrix products a backend computes, null when it was not built or linked; call only when
/// isa_supported(isa).
const Kernels* backend_kernels(Backend backend, Isa isa) noexcept;

}  // namespace caracal::kernels
