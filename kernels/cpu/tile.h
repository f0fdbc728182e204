// The micro-kernel of every matrix product: a tile of MR rows x NV vectors of C, held in registers while k runs.
#pragma once

#include <caracal/kernels/cpu/vec.h>

namespace caracal::kernels::CARACAL_TIER {

/// The kind of numbers that a product multiplies. A step is the least that one instruction takes of a row of A (Input)
/// and, for each of 16 columns, of W (a vector of kVectorWeights); it may take `kParts` turns, each adding to the sums.
struct Float32 {
  using Input = float;
  using Weight = float;
  using Sum = float;
  using Columns = f32x16;
  using Sums = f32x16;
  static constexpr int64_t kPerStep = 1;  // steps of k
  static constexpr int64_t kVectorWeights = kLanes;
  static constexpr int kParts = 1;
  template <int>
  CARACAL_INLINE Columns columns(const Weight* b) {
    return load(b);
  }
  template <int>
  CARACAL_INLINE f32x16 input(const Input& x) {
    return set1(x);
  }
  CARACAL_INLINE Sums multiply_add(f32x16 x, Columns b, Sums sum) { return fma(x, b, sum); }
  CARACAL_INLINE Sums none() { return zero(); }
  CARACAL_INLINE Sums load_sums(const Sum* p) { return load(p); }
  CARACAL_INLINE void store_sums(Sum* p, Sums x) { store(p, x); }
};

template <class Format>
struct TileOf {
  const typename Format::Input* a;  // (MR, k), rows lda apart
  int64_t lda;
  const typename Format::Weight* b;  // (k, NV vectors), ldb apart
  int64_t ldb;
  typename Format::Sum* c;  // (MR, 16 NV), rows ldc apart
  int64_t ldc;
  int64_t k;               // in steps
  bool accumulate;         // start from what c holds instead of 0
  const char* prefetch;    // brought into L2 meanwhile,
  int64_t prefetch_per_4;  // so many cache lines for every 4 steps of k
};
using Tile = TileOf<Float32>;

/// How the next part of b gets into the cache while this one is multiplied.
enum class Fetch {
  listed,  // by Tile::prefetch: b is small enough for L2 and is used by several passes
  stream,  // b is read once, from memory: kStreamAhead bytes ahead of its own reading
};
static constexpr int64_t kStreamAhead = 8192;

template <class Format, int part, int MR, int NV>
CARACAL_INLINE void multiply_part(typename Format::Sums (&acc)[MR][NV], const typename Format::Input* const (&a)[MR],
                                  int64_t k, const typename Format::Weight* b) {
  typename Format::Columns row[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; v++) row[v] = Format::template columns<part>(b + v * Format::kVectorWeights);
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++) {
    auto x = Format::template input<part>(a[i][k]);
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) acc[i][v] = Format::multiply_add(x, row[v], acc[i][v]);
  }
}

template <class Format, int MR, int NV>
CARACAL_INLINE void multiply_step(typename Format::Sums (&acc)[MR][NV], const typename Format::Input* const (&a)[MR],
                                  int64_t k, const typename Format::Weight* b) {
  multiply_part<Format, 0>(acc, a, k, b);
  if constexpr (Format::kParts == 2) multiply_part<Format, 1>(acc, a, k, b);
}

template <int64_t bytes>
CARACAL_INLINE void prefetch_ahead(const void* b) {
  const char* ahead = static_cast<const char*>(b) + kStreamAhead;
#pragma GCC unroll 4
  for (int64_t i = 0; i < bytes; i += 64) prefetch_l1(ahead + i);
}

/// c (+)= a · b. Each element is one chain of multiply-adds in ascending k, whatever MR and NV are.
template <int MR, int NV, Fetch fetch, class Format = Float32>
static __attribute__((noinline)) void multiply_tile(const TileOf<Format>& t) {
  typename Format::Sums acc[MR][NV];
  const typename Format::Input* a[MR];  // a pointer per row and one index fit the integer registers, strides would not
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++) {
    a[i] = t.a + i * t.lda;
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++)
      acc[i][v] = t.accumulate ? Format::load_sums(t.c + i * t.ldc + v * kLanes) : Format::none();
  }
  const typename Format::Weight* b = t.b;
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
      if constexpr (fetch == Fetch::stream && MR > kTileRows / 2)
        prefetch_ahead<NV * Format::kVectorWeights * int64_t(sizeof(typename Format::Weight))>(b);
      multiply_step<Format, MR, NV>(acc, a, k + u, b);
    }
  }
  for (; k < t.k; k++, b += ldb) {
    multiply_step<Format, MR, NV>(acc, a, k, b);
    asm volatile("");  // GCC 12 vectorises this loop over k, wrongly where a step has two parts
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) Format::store_sums(t.c + i * t.ldc + v * kLanes, acc[i][v]);
  }
}

/// multiply_tile for a number of rows known at run time, 1 <= rows <= MR.
template <int MR, int NV, Fetch fetch, class Format = Float32>
static inline void multiply_rows(int64_t rows, const TileOf<Format>& t) {
  if (rows == MR) return multiply_tile<MR, NV, fetch, Format>(t);
  if constexpr (MR > 1) multiply_rows<MR - 1, NV, fetch, Format>(rows, t);
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
