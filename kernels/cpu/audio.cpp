// What audio features are made of. Sums add in numpy's order (eight running sums over blocks of up to 128, halves of
// longer ranges added as a tree), so that means and variances are numpy's to the last bit.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

// The sum of term(x[i]); `squares`: of (x[i] - mean)², else of x[i].
static float pairwise_sum(const float* x, float mean, bool squares, int64_t n) {
  if (n > 128) {
    int64_t half = n / 2;
    half -= half % 8;
    return pairwise_sum(x, mean, squares, half) + pairwise_sum(x + half, mean, squares, n - half);
  }
  auto term = [=](float v) {
    if (!squares) return v;
    const float d = v - mean;
    return d * d;
  };
  if (n < 8) {
    float sum = -0.0f;
    for (int64_t i = 0; i < n; i++) sum += term(x[i]);
    return sum;
  }
  float r[8];
  for (int j = 0; j < 8; j++) r[j] = term(x[j]);
  int64_t i = 8;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; j++) r[j] += term(x[i + j]);
  }
  float sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < n; i++) sum += term(x[i]);
  return sum;
}

float pairwise_sum_f32(const float* x, int64_t n) { return pairwise_sum(x, 0, false, n); }
float pairwise_squares_f32(const float* x, float mean, int64_t n) { return pairwise_sum(x, mean, true, n); }

void standardize_f32(float* out, const float* x, int64_t n, float mean, float deviation) {
  const f32x16 m = set1(mean), d = set1(deviation);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, (load(x + i) - m) / d);
  if (i < n) store_n(out + i, (load_n(x + i, n - i) - m) / d, n - i);
}

void fir_f32(float* out, int64_t out_step, const float* x, int64_t x_step, int64_t count, const float* taps,
             int64_t n_taps) {
  for (int64_t i = 0; i < count; i++, x += x_step) {
    f32x16 sum = zero();
    int64_t t = 0;
    for (; t + kLanes <= n_taps; t += kLanes) sum = fma(load(x + t), load(taps + t), sum);
    if (t < n_taps) sum = fma(load_n(x + t, n_taps - t), load_n(taps + t, n_taps - t), sum);
    out[i * out_step] = hsum(sum);
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
