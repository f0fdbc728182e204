// The matrix product by Eigen's block kernel, W packed once. Compiled into every tier, so Eigen's vectors are the
// tier's.
//
// Eigen's public product packs both operands, in memory taken for it, at every call; so this calls what lies below,
// Eigen::internal::gebp_kernel (Eigen 3.4). It has a path for each number of rows of A up to four, and each sums in an
// order of its own: rows are always filled up to four, so that an element's path depends on its column alone. Within a
// chunk of k an element is then one chain of multiply-adds, or of two interleaved ones, and the chunks' sums are added
// in order, whatever the rows and panels of a call.
#define Eigen caracal::kernels::CARACAL_TIER::eigen::library  // the linker must not merge tiers' inline functions
#define EIGEN_NO_DEBUG
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER::eigen {

using Traits = Eigen::internal::gebp_traits<float, float>;

static constexpr int64_t kQuad = 4;                // rows of A that Eigen multiplies at a time
static constexpr int64_t kMostWidth = 48;          // columns of a panel: of whole vectors in every tier
static constexpr int64_t kChunk = 512;             // steps of k
static constexpr int64_t kRows = 16, kPanels = 4;  // of C, kept on the stack: 12 KB, and 32 KB of A
static_assert(Traits::nr == kQuad && kMostWidth % Traits::mr == 0 && kMostWidth % Traits::LhsProgress == 0);

/// Rows of a matrix for Eigen's packing; after the last one, the last one again.
struct Rows {
  using LinearMapper = Eigen::internal::BlasLinearMapper<const float, int64_t, Eigen::Unaligned>;
  const float* from;
  int64_t stride, last;

  EIGEN_ALWAYS_INLINE const float* at(int64_t i, int64_t k) const { return from + (i < last ? i : last) * stride + k; }
  EIGEN_ALWAYS_INLINE float operator()(int64_t i, int64_t k) const { return *at(i, k); }
  template <class Packet>
  EIGEN_ALWAYS_INLINE Packet loadPacket(int64_t i, int64_t k) const {
    return Eigen::internal::ploadu<Packet>(at(i, k));
  }
  EIGEN_ALWAYS_INLINE LinearMapper getLinearMapper(int64_t k, int64_t i) const { return LinearMapper(at(i, k)); }
};

using PackW = Eigen::internal::gemm_pack_lhs<float, int64_t, Rows, Traits::mr, Traits::LhsProgress,
                                             Traits::LhsPacket4Packing, Eigen::RowMajor>;
using PackA = Eigen::internal::gemm_pack_rhs<float, int64_t, Rows, Traits::nr, Eigen::ColMajor>;
using Result = Eigen::internal::blas_data_mapper<float, int64_t, Eigen::ColMajor>;
using Multiply = Eigen::internal::gebp_kernel<float, float, int64_t, Result, Traits::mr, Traits::nr, false, false>;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t panel_width_f32(int64_t n) { return n > 32 ? kMostWidth : n > 16 ? 32 : 16; }

size_t packed_bytes_f32(int64_t n, int64_t k) {
  const int64_t width = panel_width_f32(n);
  return size_t((n + width - 1) / width) * size_t(width) * size_t(k) * sizeof(float);
}

// [panel][chunk of k][as Eigen lays out its left operand, which here is W]
void pack_gemm_f32(void* packed, const float* w, int64_t ldw, int64_t n, int64_t k, int64_t panel_begin,
                   int64_t panel_end) {
  const int64_t width = panel_width_f32(n);
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    float* to = static_cast<float*>(packed) + panel * width * k;
    for (int64_t k0 = 0; k0 < k; k0 += kChunk) {
      const Rows rows = {w + panel * width * ldw + k0, ldw, smaller(width, n - panel * width) - 1};
      PackW()(to + k0 * width, rows, smaller(kChunk, k - k0), width);
    }
  }
}

/// Bias, activation and residual for a row of `n` products, `y`, and from there to C.
static void finish(const GemmArgs& g, float* y, int64_t row, int64_t column, int64_t n) {
  const float* residual = g.residual ? g.residual + row * g.ldr + column : nullptr;
  float* c = g.c + row * g.ldc + column;
  if (g.bias) add_f32(y, y, g.bias + column, n);
  if (residual && g.residual_first) add_f32(y, y, residual, n);
  if (g.activation != Activation::none) activation_f32(y, y, n, g.activation);
  if (residual && !g.residual_first) return add_f32(c, y, residual, n);
  for (int64_t j = 0; j < n; j++) c[j] = y[j];
}

void gemm_f32(const GemmArgs& g) {
  alignas(64) float tile[kRows * kPanels * kMostWidth], a[kRows * kChunk];
  const int64_t width = panel_width_f32(g.n), ldt = kPanels * width;
  const float* packed = static_cast<const float*>(g.packed);
  for (int64_t first = g.panel_begin; first < g.panel_end; first += kPanels) {
    const int64_t last = smaller(first + kPanels, g.panel_end), column = first * width;
    const int64_t columns = smaller(last * width, g.n) - column;
    for (int64_t row = 0; row < g.rows; row += kRows) {
      const int64_t rows = smaller(kRows, g.rows - row), filled = (rows + kQuad - 1) / kQuad * kQuad;
      for (int64_t i = 0; i < filled * ldt; i++) tile[i] = 0;
      for (int64_t k0 = 0; k0 < g.k; k0 += kChunk) {
        const int64_t k = smaller(kChunk, g.k - k0);
        PackA()(a, Rows{g.a + row * g.lda + k0, g.lda, rows - 1}, k, filled);
        for (int64_t panel = first; panel < last; panel++) {
          const Result result(tile + (panel - first) * width, ldt);
          Multiply()(result, packed + panel * width * g.k + k0 * width, a, width, k, filled, 1.0f);
        }
      }
      for (int64_t i = 0; i < rows; i++) finish(g, tile + i * ldt, row + i, column, columns);
    }
  }
}

extern const Kernels kTable;
constinit const Kernels kTable = {
    Isa::CARACAL_TIER,
    CARACAL_STRING(CARACAL_TIER),
    Backend::eigen,
#define KERNEL(ret, fn, params) fn,  // of this namespace where it is above, else of the tier
#include <caracal/kernels/kernels.def>
#undef KERNEL
};

}  // namespace caracal::kernels::CARACAL_TIER::eigen
