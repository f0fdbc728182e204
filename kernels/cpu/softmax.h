// The two passes that softmax and attention share.
#pragma once

#include <caracal/kernels/cpu/exp.h>

namespace caracal::kernels::CARACAL_TIER {

/// out = e^(x - max x) for one row; returns Σ out.
CARACAL_INLINE float exp_row(float* out, const float* x, int64_t cols) {
  f32x16 lowest = set1(-INFINITY), m = lowest;
  int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) m = max(m, load(x + i));
  if (i < cols) m = max(m, select(first_lanes(cols - i), load_n(x + i, cols - i), lowest));
  f32x16 top = set1(hmax(m)), s0 = zero(), s1 = zero();
  for (i = 0; i + 2 * kLanes <= cols; i += 2 * kLanes) {
    f32x16 e0 = exp(load(x + i) - top), e1 = exp(load(x + i + 16) - top);
    store(out + i, e0);
    store(out + i + 16, e1);
    s0 = s0 + e0;
    s1 = s1 + e1;
  }
  for (; i < cols; i += kLanes) {
    int64_t n = cols - i < kLanes ? cols - i : kLanes;
    f32x16 e = select(first_lanes(n), exp(load_n(x + i, n) - top), zero());
    store_n(out + i, e, n);
    s0 = s0 + e;
  }
  return hsum(s0 + s1);
}

}  // namespace caracal::kernels::CARACAL_TIER
