// Sums and maxima of a row of `cols` floats, in an order that depends on `cols` alone: four vectors of 16 lanes take
// turns, then ((0 + 1) + (2 + 3)), then the lane tree of hsum.
#pragma once

#include <caracal/kernels/cpu/vec.h>

namespace caracal::kernels::CARACAL_TIER {

CARACAL_INLINE float sum_row(const float* x, int64_t cols) {
  f32x16 s0 = zero(), s1 = zero(), s2 = zero(), s3 = zero();
  int64_t i = 0;
  for (; i + 4 * kLanes <= cols; i += 4 * kLanes) {
    s0 = s0 + load(x + i);
    s1 = s1 + load(x + i + 16);
    s2 = s2 + load(x + i + 32);
    s3 = s3 + load(x + i + 48);
  }
  for (; i + kLanes <= cols; i += kLanes) s0 = s0 + load(x + i);
  if (i < cols) s1 = s1 + load_n(x + i, cols - i);
  return hsum((s0 + s1) + (s2 + s3));
}

/// Σ (x - center)²
CARACAL_INLINE float sum_squares_row(const float* x, int64_t cols, float center) {
  f32x16 c = set1(center), s0 = zero(), s1 = zero(), s2 = zero(), s3 = zero();
  int64_t i = 0;
  for (; i + 4 * kLanes <= cols; i += 4 * kLanes) {
    f32x16 d0 = load(x + i) - c, d1 = load(x + i + 16) - c, d2 = load(x + i + 32) - c, d3 = load(x + i + 48) - c;
    s0 = fma(d0, d0, s0);
    s1 = fma(d1, d1, s1);
    s2 = fma(d2, d2, s2);
    s3 = fma(d3, d3, s3);
  }
  for (; i + kLanes <= cols; i += kLanes) {
    f32x16 d = load(x + i) - c;
    s0 = fma(d, d, s0);
  }
  if (i < cols) {
    f32x16 d = select(first_lanes(cols - i), load_n(x + i, cols - i) - c, zero());
    s1 = fma(d, d, s1);
  }
  return hsum((s0 + s1) + (s2 + s3));
}

}  // namespace caracal::kernels::CARACAL_TIER
