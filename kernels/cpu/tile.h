// The micro-kernel of every matrix product: a tile of MR rows x NV vectors of C, held in registers while k runs.
#pragma once

#include <caracal/kernels/cpu/vec.h>

namespace caracal::kernels::CARACAL_TIER {

struct Tile {
  const float* a;  // (MR, k), rows lda apart
  int64_t lda;
  const float* b;  // (k, 16 NV), rows ldb apart
  int64_t ldb;
  float* c;  // (MR, 16 NV), rows ldc apart
  int64_t ldc;
  int64_t k;
  bool accumulate;         // start from what c holds instead of 0
  const char* prefetch;    // brought into L2 meanwhile,
  int64_t prefetch_per_4;  // so many cache lines for every 4 steps of k
};

/// How the next part of b gets into the cache while this one is multiplied.
enum class Fetch {
  listed,  // by Tile::prefetch: b is small enough for L2 and is used by several passes
  stream,  // b is read once, from memory: kStreamAhead bytes ahead of its own reading
};
static constexpr int64_t kStreamAhead = 8192;

template <int MR, int NV>
CARACAL_INLINE void multiply_step(f32x16 (&acc)[MR][NV], const float* const (&a)[MR], int64_t k, const float* b) {
  f32x16 row[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++) {
    f32x16 x = set1(a[i][k]);
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) acc[i][v] = fma(x, row[v], acc[i][v]);
  }
}

template <int NV>
CARACAL_INLINE void prefetch_ahead(const float* b) {
  const char* ahead = reinterpret_cast<const char*>(b) + kStreamAhead;
#pragma GCC unroll 4
  for (int v = 0; v < NV; v++) prefetch_l1(ahead + 64 * v);
}

/// c (+)= a · b. Each element is one chain of fma in ascending k, whatever MR and NV are.
template <int MR, int NV, Fetch fetch>
static __attribute__((noinline)) void multiply_tile(const Tile& t) {
  f32x16 acc[MR][NV];
  const float* a[MR];  // a pointer per row and one index fit the integer registers, strides would not
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++) {
    a[i] = t.a + i * t.lda;
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) acc[i][v] = t.accumulate ? load(t.c + i * t.ldc + v * kLanes) : zero();
  }
  const float* b = t.b;
  const char* prefetch = t.prefetch;
  const int64_t ldb = t.ldb, lines = t.prefetch_per_4, k_of_4 = t.k & ~int64_t(3);
  int64_t k = 0;
  for (; k < k_of_4; k += 4) {
    if constexpr (fetch == Fetch::listed) {
      for (int64_t i = 0; i < lines; i++, prefetch += 64) prefetch_l2(prefetch);
    }
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++, b += ldb) {
      // With few rows the hardware prefetcher alone is faster (measured: up to 4 of 8 rows).
      if constexpr (fetch == Fetch::stream && MR > kTileRows / 2) prefetch_ahead<NV>(b);
      multiply_step<MR, NV>(acc, a, k + u, b);
    }
  }
  for (; k < t.k; k++, b += ldb) multiply_step<MR, NV>(acc, a, k, b);
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) store(t.c + i * t.ldc + v * kLanes, acc[i][v]);
  }
}

/// multiply_tile for a number of rows known at run time, 1 <= rows <= MR.
template <int MR, int NV, Fetch fetch>
static inline void multiply_rows(int64_t rows, const Tile& t) {
  if (rows == MR) return multiply_tile<MR, NV, fetch>(t);
  if constexpr (MR > 1) multiply_rows<MR - 1, NV, fetch>(rows, t);
}

/// `rows` rows in as few passes of at most MR as will do, as even as they come: 9 rows at MR = 8 are 5 + 4.
struct Passes {
  int64_t count, base, extra;
};
CARACAL_INLINE Passes split_rows(int64_t rows, int64_t most) {
  int64_t count = (rows + most - 1) / most;
  return count ? Passes{count, rows / count, rows % count} : Passes{0, 0, 0};
}
CARACAL_INLINE int64_t pass_begin(const Passes& p, int64_t pass) {
  return pass * p.base + (pass < p.extra ? pass : p.extra);
}

}  // namespace caracal::kernels::CARACAL_TIER
