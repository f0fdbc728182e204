// embedding: out[r] = table[ids[r]], or out[r] += table[ids[r]] (accumulate). The caller has checked the ids.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

void embedding_f32(float* out, const float* table, const int64_t* ids, int64_t rows, int64_t cols, bool accumulate) {
  for (int64_t row = 0; row < rows; row++, out += cols) {
    const float* from = table + ids[row] * cols;
    int64_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) {
      f32x16 v = load(from + i);
      store(out + i, accumulate ? load(out + i) + v : v);
    }
    if (int64_t n = cols - i; n > 0) {
      f32x16 v = load_n(from + i, n);
      store_n(out + i, accumulate ? load_n(out + i, n) + v : v, n);
    }
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
