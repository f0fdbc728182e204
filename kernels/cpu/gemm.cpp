// gemm_f32: the product of float32 numbers.
#include <caracal/kernels/cpu/product.h>

namespace caracal::kernels::CARACAL_TIER {

int64_t panel_width_f32(int64_t n) { return panel_vecs(n) * kLanes; }

size_t packed_bytes_f32(int64_t n, int64_t k) { return packed_bytes<FloatRows<Float32>>(n, k); }

void pack_gemm_f32(void* packed, const float* w, int64_t ldw, int64_t n, int64_t k, int64_t panel_begin,
                   int64_t panel_end) {
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    const int64_t first = panel * panel_width_f32(n), width = vecs_in(n, panel) * kLanes;
    float* to = static_cast<float*>(packed) + first * k;
    for (int64_t j = 0; j < width; j += 8) {
      int64_t column = first + j, present = n - column;
      const float* from = w + column * ldw;
      int64_t i = 0;
      if (present >= 8) {
        for (; i + 8 <= k; i += 8) transpose_8x8(to + i * width + j, width, from + i, ldw);
      }
      for (; i < k; i++) {
        for (int64_t jj = 0; jj < 8; jj++) to[i * width + j + jj] = jj < present ? from[jj * ldw + i] : 0.0f;
      }
    }
  }
}

void gemm_f32(const GemmArgs& g) { multiply<FloatRows<Float32>>(g); }

}  // namespace caracal::kernels::CARACAL_TIER
