// Numbers in kernels: reading and writing float32, float16 and bfloat16, activations, sums of warps and blocks.
#pragma once

#include <math.h>
#include <stdint.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <caracal/kernels/cuda/kernels.h>

namespace caracal::kernels::cuda {

// Types.

/// f.operator()<T>() for T = float, half or __nv_bfloat16: `with_type(args.type, [&]<class T>() { return …; })`.
template <class F>
int with_type(Type type, F&& f) {
  switch (type) {
    case Type::f32: return f.template operator()<float>();
    case Type::f16: return f.template operator()<half>();
    case Type::bf16: return f.template operator()<__nv_bfloat16>();
  }
  return cudaErrorInvalidValue;
}

__host__ __device__ __forceinline__ float to_float(float x) { return x; }
__host__ __device__ __forceinline__ float to_float(half x) { return __half2float(x); }
__host__ __device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

/// Rounded to the nearest, ties to even.
template <class T>
__host__ __device__ __forceinline__ T from_float(float x);
template <>
__host__ __device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__host__ __device__ __forceinline__ half from_float<half>(float x) {
  return __float2half_rn(x);
}
template <>
__host__ __device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// The bits of a float, of which the upper 19 are it in TF32 (10 bits of mantissa), rounded to the nearest, ties away
/// from 0, as cvt.rna.tf32 does: that is these two instructions and a third, which clears the lower bits that mma.sync
/// does not read (so it is in CUTLASS, too: round_half_ulp_truncate).
__device__ __forceinline__ uint32_t to_tf32(uint32_t bits) {
  return fabsf(__uint_as_float(bits)) < INFINITY ? bits + 0x1000 : bits;  // a NaN would become -0
}

template <class T>
__device__ __forceinline__ float load(const T* p) {
  return to_float(*p);
}
template <class T>
__device__ __forceinline__ void store(T* p, float x) {
  *p = from_float<T>(x);
}

/// N numbers that are read and written at once; N · sizeof(T) = 2, 4, 8 or 16 bytes, at an address that they divide.
template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T x[N];
};

/// V = 8 numbers at a 16-byte aligned address, or 1 at any.
template <int V, class T>
__device__ __forceinline__ void load_vector(float (&x)[V], const T* p) {
  static_assert(V == 8 || V == 1);
  constexpr int n = V == 1 ? 1 : 16 / sizeof(T);
#pragma unroll
  for (int i = 0; i < V; i += n) {
    const Pack<T, n> pack = *reinterpret_cast<const Pack<T, n>*>(p + i);
#pragma unroll
    for (int j = 0; j < n; j++) x[i + j] = to_float(pack.x[j]);
  }
}
template <int V, class T>
__device__ __forceinline__ void store_vector(T* p, const float (&x)[V]) {
  static_assert(V == 8 || V == 1);
  constexpr int n = V == 1 ? 1 : 16 / sizeof(T);
#pragma unroll
  for (int i = 0; i < V; i += n) {
    Pack<T, n> pack;
#pragma unroll
    for (int j = 0; j < n; j++) pack.x[j] = from_float<T>(x[i + j]);
    *reinterpret_cast<Pack<T, n>*>(p + i) = pack;
  }
}

/// Whether all rows of a matrix, ld numbers apart, start at a multiple of 16 bytes; for host functions that choose a
/// kernel.
template <class T>
inline bool aligned_rows(const void* p, int64_t ld) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && ld * int64_t(sizeof(T)) % 16 == 0;
}

// Activations: the formulas of cpu/activation.h.

/// The larger one; NaN if either is.
__host__ __device__ __forceinline__ float max_nan(float a, float b) { return a > b || a != a ? a : b; }

/// Φ(-a) for a >= 0, cpu/activation.h: |Δ| <= 1.1e-8 / max(1, a).
__host__ __device__ __forceinline__ float normal_tail(float a) {
  float u = 1.0f / fmaf(0.34f, a, 1.0f);
  float r = 0.044229839f;
  r = fmaf(r, u, -0.197814181f);
  r = fmaf(r, u, 0.259095073f);
  r = fmaf(r, u, -0.0260253046f);
  r = fmaf(r, u, 0.154201567f);
  r = fmaf(r, u, 0.130346462f);
  r = fmaf(r, u, 0.135966554f);
  return r * u * expf(-0.5f * a * a);
}
/// x Φ(x), the erf form.
__host__ __device__ __forceinline__ float gelu(float x) {
  float a = fabsf(x);
  a = a > 20.0f ? 20.0f : a;  // NaN passes through
  const float phi = normal_tail(a);
  return x > 0.0f ? x - a * phi : x * phi;
}
__host__ __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__host__ __device__ __forceinline__ float clip(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;  // NaN passes through
}
__host__ __device__ __forceinline__ float softplus(float x) { return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x))); }

/// One function for all; in a kernel's epilogue `act` is the same for all threads, so the branch costs next to nothing.
__host__ __device__ inline float activate(float x, Act act) {
  switch (Activation(int64_t(act))) {
    case Activation::none: break;
    case Activation::relu: return x < 0.0f ? 0.0f : x;
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh: return x * sigmoid(x * fmaf(x * x, 0.0713548163f, 1.59576912f));
    case Activation::quick_gelu: return x * sigmoid(1.702f * x);
    case Activation::silu: return x / (1.0f + expf(-x));
    case Activation::tanh: return tanhf(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::gelu_10: return clip(gelu(x), -10.0f, 10.0f);
    case Activation::hardswish: return x * (clip(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6));
    case Activation::laplace: {
      const float z = (x - 0.707107f) * 3.54490509f, a = fabsf(z), tail = normal_tail(a > 20.0f ? 20.0f : a);
      return z > 0.0f ? 1.0f - tail : tail;
    }
    case Activation::leaky_relu: return x > 0.0f ? x : x * 0.01f;
    case Activation::mish: {
      const float e = expf(x > 20.0f ? 20.0f : x), m = e * (e + 2.0f);
      return x * (m / (m + 2.0f));
    }
    case Activation::relu2: return x < 0.0f ? 0.0f : x * x;
    case Activation::relu6: return clip(x, 0.0f, 6.0f);
    case Activation::sqrtsoftplus: return sqrtf(softplus(x));
  }
  return x;
}

// Sums: one tree, so that equal numbers give equal bits.

/// Of all 32 lanes' x, to all lanes; the warp is whole.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}
/// Of all threads of the block (x alone, whole warps), to all threads. Called by all of them.
__device__ inline float block_sum(float x) {
  __shared__ float warps[32];
  x = warp_sum(x);
  __syncthreads();  // the sums of the call before have been read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? warps[threadIdx.x % 32] : 0.0f);
}

}  // namespace caracal::kernels::cuda
