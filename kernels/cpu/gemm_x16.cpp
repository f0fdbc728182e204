// gemm_bf16 and gemm_f16: W is kept in 16 bits and widened, exactly, as it is read; all arithmetic is float32. With few
// rows a product is bound by reading W, so half the bytes take half the time. The bits are those of gemm_f32 with the
// same numbers.
#include <caracal/kernels/cpu/product.h>

namespace caracal::kernels::CARACAL_TIER {

template <f32x16 (*widen)(const uint16_t*)>
struct Widened : Float32 {
  using Weight = uint16_t;
  template <int>
  CARACAL_INLINE f32x16 columns(const Weight* b) {
    return widen(b);
  }
};
using Bfloat16 = FloatRows<Widened<load_bf16>>;
using Float16 = FloatRows<Widened<load_f16>>;

int64_t panel_width_low(int64_t n) { return panel_vecs(n) * kLanes; }

size_t packed_bytes_x16(int64_t n, int64_t k) { return packed_bytes<Bfloat16>(n, k); }

void pack_gemm_x16(void* packed, const uint16_t* w, int64_t n, int64_t k, int64_t panel_begin, int64_t panel_end) {
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    const int64_t first = panel * panel_width_low(n), width = vecs_in(n, panel) * kLanes;
    uint16_t* to = static_cast<uint16_t*>(packed) + first * k;
    for (int64_t j = 0; j < width; j++) {
      const int64_t column = first + j;
      for (int64_t i = 0; i < k; i++) to[i * width + j] = column < n ? w[column * k + i] : uint16_t(0);
    }
  }
}

void gemm_bf16(const GemmArgs& g) { multiply<Bfloat16>(g); }

void gemm_f16(const GemmArgs& g) { multiply<Float16>(g); }

}  // namespace caracal::kernels::CARACAL_TIER
