// The instructions that CUDA C++ has no words for; the only inline assembly. In tests tests/cuda/shim has its twin,
// which comes first on the include path.
//
// Fragments of a warp's 16 x 8 x k product, g = lane / 4, t = lane % 4, two 16-bit numbers a register, the lower column
// (of b: the lower k) in the low half:
//   a[0]: row g,     k 2t, 2t + 1      a[2]: row g,     k 2t + 8, 2t + 9     (16 x k, row-major: as ldmatrix loads it)
//   a[1]: row g + 8, k 2t, 2t + 1      a[3]: row g + 8, k 2t + 8, 2t + 9
//   b[0]: column g,  k 2t, 2t + 1      b[1]: column g,  k 2t + 8, 2t + 9
//   d[0], d[1]: row g, columns 2t, 2t + 1;   d[2], d[3]: row g + 8, likewise
// Of TF32, one number a register, the same registers hold k t in place of 2t, 2t + 1 and k t + 4 in place of 2t + 8,
// 2t + 9: what ldmatrix loads when it takes a float for two 16-bit numbers.
#pragma once

#include <stdint.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace caracal::kernels::cuda {

/// Compute capability that the code is compiled for, times 10: 75, 80, … (in tests: the pretended device's).
__host__ __device__ constexpr int arch() {
#ifdef __CUDA_ARCH__
  return __CUDA_ARCH__ / 10;
#else
  return 0;
#endif
}

/// Waits until what comes before in the stream is done and its writes are seen. Every thread of every kernel calls it,
/// before it reads or writes global memory, whether it goes on to do anything or not.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel in the stream begin (up to its wait_for_previous) once all blocks have called it or are done.
__device__ __forceinline__ void start_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// What other blocks may be adding to, as it is now.
__device__ __forceinline__ unsigned load_counter(const unsigned* global) {
  unsigned x;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(__cvta_generic_to_global(global)) : "memory");
  return x;
}

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return uint32_t(__cvta_generic_to_shared(shared));
}

/// 2^x to 2 units in the last place, 0 for what would be below the normal numbers.
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Begins to copy 16 bytes to shared memory, both sides 16-byte aligned; writes zeros if not valid (global is not read
/// then). They are there after cp_async_commit(), cp_async_wait and a barrier. sm_75: copies at once.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid = true) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
#else
  *static_cast<uint4*>(shared) = valid ? *static_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
#endif
}

/// Closes the group of the thread's copies begun since the last call; it may be empty.
__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until all but the thread's N latest groups are there (for the thread itself: others need a barrier besides).
template <int N>
__device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

/// Four matrices of 8 rows of 16 bytes, each row somewhere in shared memory, 16-byte aligned: lane 8 i + j gives the
/// address of row j of matrix i. r[i] = numbers 2t and 2t + 1 of row g of matrix i; _trans: of column g, rows 2t and
/// 2t + 1.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}

/// d += a · b, 16 x 8 x 8 in half (a[0], a[1], b as above without the upper half of k).
__device__ __forceinline__ void mma_16x8x8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(b));
}

/// d += a · b, 16 x 8 x 16, T half or __nv_bfloat16 (sm_80 and up: below, it stops the kernel).
template <class T>
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ __forceinline__ void mma_16x8x16<half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  mma_16x8x8(d, a[0], a[1], b[0]);
  mma_16x8x8(d, a[2], a[3], b[1]);
#endif
}

template <>
__device__ __forceinline__ void mma_16x8x16<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4],
                                                           const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

/// d += a · b, 16 x 8 x 8 in TF32: of each register the upper 19 bits count, see to_tf32(). sm_80 and up: below, it
/// stops the kernel.
__device__ __forceinline__ void mma_16x8x8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

/// Asks for memory to be brought into L2, and waits for nothing; sm_90 and up, elsewhere nothing. Address and size are
/// multiples of 16. Reads nothing that could be out of date: it may come before wait_for_previous().
__device__ __forceinline__ void prefetch_l2(const void* global, size_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(uint32_t(bytes)) : "memory");
#endif
}

}  // namespace caracal::kernels::cuda
