// The two passes that softmax and attention share.
#pragma once

#include <caracal/kernels/cpu/exp.h>

namespace caracal::kernels::CARACAL_TIER {

CARACAL_INLINE float max_of_row(const float* x, int64_t cols) {
  f32x16 lowest = set1(-INFINITY), m = lowest;
  int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) m = max(m, load(x + i));
  if (i < cols) m = max(m, select(first_lanes(cols - i), load_n(x + i, cols - i), lowest));
  return hmax(m);
}

/// Calls write(i, e^(x - top), n) for each i = 0, 16, …, in ascending order, with n = 16 numbers or, last, those that
/// remain, and zeros; returns the sum. x[i] may be overwritten then.
template <class F>
CARACAL_INLINE float exp_row(const float* x, int64_t cols, float highest, F write) {
  f32x16 top = set1(highest), s0 = zero(), s1 = zero();
  int64_t i = 0;
  for (; i + 2 * kLanes <= cols; i += 2 * kLanes) {
    f32x16 e0 = exp(load(x + i) - top), e1 = exp(load(x + i + 16) - top);
    write(i, e0, kLanes);
    write(i + 16, e1, kLanes);
    s0 = s0 + e0;
    s1 = s1 + e1;
  }
  for (; i < cols; i += kLanes) {
    int64_t n = cols - i < kLanes ? cols - i : kLanes;
    f32x16 e = select(first_lanes(n), exp(load_n(x + i, n) - top), zero());
    write(i, e, n);
    s0 = s0 + e;
  }
  return hsum(s0 + s1);
}

}  // namespace caracal::kernels::CARACAL_TIER
