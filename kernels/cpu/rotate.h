// The rotation of rows before they are rounded to 8 bits. A few columns of the activations of a transformer are many
// times as large as the others, and a scale that has room for them leaves the others few steps. Multiplied by an
// orthogonal matrix, R, which spreads each number over up to 128 places, rows come out alike everywhere; and with W
// rotated too, products are what they were: (x R) (w R)ᵀ = x wᵀ.
//
// R is made of blocks: Hadamard matrices of 128, in the rest of 64, 32, 16 numbers; up to 15 last ones stay as they
// are. It is its own inverse.
#pragma once

#include <caracal/kernels/cpu/vec.h>

namespace caracal::kernels::CARACAL_TIER {

template <int distance>
static constexpr float kSigns[16] = {1,
                                     distance & 1 ? -1 : 1,
                                     distance & 2 ? -1 : 1,
                                     distance & 3 ? -1 : 1,
                                     distance & 4 ? -1 : 1,
                                     distance & 5 ? -1 : 1,
                                     distance & 6 ? -1 : 1,
                                     distance & 7 ? -1 : 1,
                                     distance & 8 ? -1 : 1,
                                     distance & 9 ? -1 : 1,
                                     distance & 10 ? -1 : 1,
                                     distance & 11 ? -1 : 1,
                                     distance & 12 ? -1 : 1,
                                     distance & 13 ? -1 : 1,
                                     distance & 14 ? -1 : 1,
                                     distance & 15 ? -1 : 1};
/// One step of a fast Hadamard transform: of two lanes `distance` apart, the lower receives the sum, the upper lower -
/// upper.
template <int distance>
CARACAL_INLINE f32x16 add_lanes(f32x16 x) {
  return fma(x, load(kSigns<distance>), exchange_lanes<distance>(x));
}

/// use(i, vector) for the `vecs` vectors x[begin + i] of one block, rotated.
template <int vecs, class F>
CARACAL_INLINE void rotate_block(const float* x, int64_t begin, float norm, const F& use) {
  f32x16 v[vecs];
#pragma GCC unroll 8
  for (int i = 0; i < vecs; i++) {
    v[i] = load(x + begin + i * kLanes) * set1(norm);
    v[i] = add_lanes<8>(add_lanes<4>(add_lanes<2>(add_lanes<1>(v[i]))));
  }
#pragma GCC unroll 4
  for (int distance = 1; distance < vecs; distance *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < vecs; i++) {
      if (i & distance) continue;
      const f32x16 low = v[i], high = v[i + distance];
      v[i] = low + high, v[i + distance] = low - high;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < vecs; i++) use(begin + i * kLanes, v[i]);
}

/// use(i, vector) for the vectors x[i] of a row of k numbers, rotated; after the k-th come zeros.
template <class F>
CARACAL_INLINE void rotate(const float* x, int64_t k, const F& use) {
  int64_t i = 0;
  for (; i + 8 * kLanes <= k; i += 8 * kLanes) rotate_block<8>(x, i, 0.08838834764f, use);  // 1 / √128
  if (i + 4 * kLanes <= k) rotate_block<4>(x, i, 0.125f, use), i += 4 * kLanes;
  if (i + 2 * kLanes <= k) rotate_block<2>(x, i, 0.1767766953f, use), i += 2 * kLanes;
  if (i + kLanes <= k) rotate_block<1>(x, i, 0.25f, use), i += kLanes;
  if (i < k) use(i, load_n(x + i, k - i));
}

}  // namespace caracal::kernels::CARACAL_TIER
