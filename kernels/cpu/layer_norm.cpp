// layer_norm: y = (x - mean) / sqrt(var + eps) · weight + bias for each row, var = Σ (x - mean)² / cols, in two passes
// over the row (it stays in L1): E[x²] - mean² loses all digits when the mean is large.
#include <caracal/kernels/cpu/reduce.h>
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

CARACAL_INLINE f32x16 normalize(f32x16 x, f32x16 mean, f32x16 rstd, f32x16 weight, f32x16 bias) {
  return fma((x - mean) * rstd, weight, bias);
}

void layer_norm_f32(float* out, const float* x, const float* weight, const float* bias, int64_t rows, int64_t cols,
                    float eps) {
  for (int64_t row = 0; row < rows; row++, x += cols, out += cols) {
    float mean = sum_row(x, cols) / float(cols);
    float variance = sum_squares_row(x, cols, mean) / float(cols);
    f32x16 m = set1(mean), rstd = set1(1.0f / sqrtf(variance + eps));
    int64_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) {
      f32x16 w = weight ? load(weight + i) : set1(1.0f), b = bias ? load(bias + i) : zero();
      store(out + i, normalize(load(x + i), m, rstd, w, b));
    }
    if (int64_t n = cols - i; n > 0) {
      f32x16 w = weight ? load_n(weight + i, n) : set1(1.0f), b = bias ? load_n(bias + i, n) : zero();
      store_n(out + i, normalize(load_n(x + i, n), m, rstd, w, b), n);
    }
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
