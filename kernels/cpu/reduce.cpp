// Reductions over rows (pooling) and row normalisation.
#include <caracal/kernels/cpu/reduce.h>
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

// out[c] = Σ_r x[r][c] / rows, rows in ascending order.
void mean_rows_f32(float* out, const float* x, int64_t rows, int64_t cols) {
  f32x16 count = set1(float(rows));
  for (int64_t c = 0; c < cols; c += kLanes) {
    int64_t n = cols - c < kLanes ? cols - c : kLanes;
    f32x16 sum = zero();
    for (int64_t r = 0; r < rows; r++) sum = sum + load_n(x + r * cols + c, n);
    store_n(out + c, sum / count, n);
  }
}

// out[c] = max_r x[r][c]; NaN wins, as in torch.max; -inf without rows.
void max_rows_f32(float* out, const float* x, int64_t rows, int64_t cols) {
  for (int64_t c = 0; c < cols; c += kLanes) {
    int64_t n = cols - c < kLanes ? cols - c : kLanes;
    f32x16 top = set1(-INFINITY);
    for (int64_t r = 0; r < rows; r++) {
      f32x16 v = load_n(x + r * cols + c, n);
      top = select(is_nan(top), top, max(top, v));  // max() itself returns v when v is NaN
    }
    store_n(out + c, top, n);
  }
}

// x / max(‖x‖₂, eps), as torch.nn.functional.normalize.
void l2_normalize_f32(float* out, const float* x, int64_t rows, int64_t cols, float eps) {
  for (int64_t row = 0; row < rows; row++, x += cols, out += cols) {
    float norm = sqrtf(sum_squares_row(x, cols, 0.0f));
    f32x16 divisor = set1(norm < eps ? eps : norm);
    for (int64_t i = 0; i < cols; i += kLanes) {
      int64_t n = cols - i < kLanes ? cols - i : kLanes;
      store_n(out + i, load_n(x + i, n) / divisor, n);
    }
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
