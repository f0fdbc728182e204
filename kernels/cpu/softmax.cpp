// softmax: e^(x - max) / Σ e^(x - max) for each row. A row of nothing but -inf gives NaN, as PyTorch's does.
#include <caracal/kernels/cpu/softmax.h>
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

void softmax_f32(float* out, const float* x, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; row++, x += cols, out += cols) {
    f32x16 sum = set1(exp_row(x, cols, max_of_row(x, cols), [=](int64_t i, f32x16 e, int64_t n) {
      if (n == kLanes)
        store(out + i, e);
      else
        store_n(out + i, e, n);
    }));
    int64_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) store(out + i, load(out + i) / sum);
    if (i < cols) store_n(out + i, load_n(out + i, cols - i) / sum, cols - i);
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
