// Sums, table look-ups and conversions of n elements.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

void add_f32(float* out, const float* x, const float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i) + load(y + i));
  if (i < n) store_n(out + i, load_n(x + i, n - i) + load_n(y + i, n - i), n - i);
}

void add_scaled_f32(float* out, const float* x, float scale, int64_t n) {
  const f32x16 s = set1(scale);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, fma(load(x + i), s, load(out + i)));
  if (i < n) store_n(out + i, fma(load_n(x + i, n - i), s, load_n(out + i, n - i)), n - i);
}

// out (+)= table[index]
void lookup_f32(float* out, const float* table, const int32_t* index, int64_t n, bool accumulate) {
  if (accumulate) {
    for (int64_t i = 0; i < n; i++) out[i] += table[index[i]];
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = table[index[i]];
  }
}

// A tail shorter than a vector goes through a zero-filled copy, so that nothing past x[n] is read.
CARACAL_INLINE void copy_tail(uint16_t* tail, const uint16_t* x, int64_t n) {
  for (int64_t i = 0; i < kLanes; i++) tail[i] = i < n ? x[i] : uint16_t(0);
}

void f16_to_f32(float* out, const uint16_t* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load_f16(x + i));
  uint16_t tail[kLanes];
  if (copy_tail(tail, x + i, n - i); i < n) store_n(out + i, load_f16(tail), n - i);
}

void bf16_to_f32(float* out, const uint16_t* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load_bf16(x + i));
  uint16_t tail[kLanes];
  if (copy_tail(tail, x + i, n - i); i < n) store_n(out + i, load_bf16(tail), n - i);
}

}  // namespace caracal::kernels::CARACAL_TIER
