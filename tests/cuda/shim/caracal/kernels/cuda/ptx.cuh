// kernels/cuda/ptx.cuh for the host: the same functions, with the fragments as the PTX ISA lays them out.
#pragma once

#include <stdint.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace caracal::kernels::cuda {

inline int arch() { return shim::arch(); }
inline void wait_for_previous() { shim::waited_for_previous(); }
inline void start_next() {}

inline unsigned load_counter(const unsigned* global) {
  const caracal_shim_atomic guard(const_cast<unsigned*>(global), sizeof *global, false);
  return *global;
}

inline float fast_exp2(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}

/// What is to be overwritten becomes NaN at once, and is there only after cp_async_wait: both races show.
inline void cp_async_16(void* shared, const void* global, bool valid = true) {
  shim::begin_copy(shared, global, valid);
  if (arch() < 80) shim::commit_copies(), shim::finish_copies(0);
}
inline void cp_async_commit() {
  if (arch() >= 80) shim::commit_copies();
}
template <int N>
void cp_async_wait() {
  if (arch() >= 80) shim::finish_copies(N);
}

template <bool kTrans>
void ldmatrix(uint32_t (&r)[4], const void* shared) {
  struct Operand {
    const uint16_t* row;
    uint32_t* r;
  } mine = {static_cast<const uint16_t*>(shared), r};
  shim::check_shared(shared, 16, "ldmatrix");
  shim::warp_together("ldmatrix_x4", 0xffffffffu, &mine, [](void* const* operands, unsigned) {
    for (int lane = 0; lane < 32; lane++) {
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; i++) {
        uint32_t pair[2];
        for (int high = 0; high < 2; high++) {
          const int row = kTrans ? 2 * t + high : g, column = kTrans ? g : 2 * t + high;
          pair[high] = static_cast<Operand*>(operands[8 * i + row])->row[column];
        }
        static_cast<Operand*>(operands[lane])->r[i] = pair[0] | pair[1] << 16;
      }
    }
  });
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared) { ldmatrix<false>(r, shared); }
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared) { ldmatrix<true>(r, shared); }

/// Registers of 16 x 8 x k, k cut into kHalves: a[2 · half + (row of 8)], b[half], each with the numbers of T that 32
/// bits have. Sums are exact (double), rounded at the end.
template <class T, int kHalves>
void mma(const char* name, float (&d)[4], const uint32_t* a, const uint32_t* b) {
  struct Operand {
    float* d;
    const uint32_t *a, *b;
  } mine = {d, a, b};
  shim::warp_together(name, 0xffffffffu, &mine, [](void* const* operands, unsigned) {
    constexpr int each = 4 / sizeof(T), k = 4 * each * kHalves;
    float rows[16][k], columns[8][k];
    auto number = [](uint32_t bits, int high) {
      if constexpr (std::is_same_v<T, float>) return __uint_as_float(bits & ~0x1fffu);  // TF32 has the upper 19 bits
      const auto narrow = static_cast<unsigned short>(high == 0 ? bits & 0xffff : bits >> 16);
      if constexpr (std::is_same_v<T, ::half>)
        return __half2float(__ushort_as_half(narrow));
      else
        return __bfloat162float(__ushort_as_bfloat16(narrow));
    };
    for (int lane = 0; lane < 32; lane++) {
      const Operand& operand = *static_cast<Operand*>(operands[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int part = 0; part < kHalves; part++) {
        for (int high = 0; high < each; high++) {
          const int at = (4 * part + t) * each + high;
          rows[g][at] = number(operand.a[2 * part], high);
          rows[g + 8][at] = number(operand.a[2 * part + 1], high);
          columns[g][at] = number(operand.b[part], high);
        }
      }
    }
    for (int lane = 0; lane < 32; lane++) {
      float* sums = static_cast<Operand*>(operands[lane])->d;
      for (int i = 0; i < 4; i++) {
        const float *row = rows[lane / 4 + 8 * (i / 2)], *column = columns[2 * (lane % 4) + i % 2];
        double sum = double(sums[i]);
        for (int j = 0; j < k; j++) sum += double(row[j]) * double(column[j]);
        sums[i] = float(sum);
      }
    }
  });
}

inline void mma_16x8x8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  const uint32_t a[] = {a0, a1};
  mma<half, 1>("mma_16x8x8", d, a, &b);
}

template <class T>
void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <>
inline void mma_16x8x16<half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (arch() >= 80) return mma<half, 2>("mma_16x8x16<half>", d, a, b);
  mma_16x8x8(d, a[0], a[1], b[0]);
  mma_16x8x8(d, a[2], a[3], b[1]);
}
template <>
inline void mma_16x8x16<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (arch() < 80) __trap();
  mma<__nv_bfloat16, 2>("mma_16x8x16<__nv_bfloat16>", d, a, b);
}

inline void mma_16x8x8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (arch() < 80) __trap();
  mma<float, 2>("mma_16x8x8_tf32", d, a, b);
}

inline void prefetch_l2(const void* global, size_t bytes) {
  if (uintptr_t(global) % 16 != 0 || bytes % 16 != 0 || bytes == 0) {
    shim::fail(cudaErrorMisalignedAddress, "prefetch_l2");
  }
}

}  // namespace caracal::kernels::cuda
