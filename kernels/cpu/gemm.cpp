// gemm: C = epilogue(A · Wᵀ), W packed in panels [panel][k][width] in the order in which they are streamed.
//
// With few rows the product is bound by reading W from memory, with many by the multipliers; in between it pays to do
// both at once. So k is cut in chunks small enough to stay in L2 while all rows pass over them, and during those passes
// the next chunk (of this panel, of the next panel, or of whatever the caller will multiply next) is prefetched into
// L2. When one pass takes all rows, nothing is used twice and W is simply read as a stream.
#include <caracal/kernels/cpu/activation.h>
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/tile.h>

namespace caracal::kernels::CARACAL_TIER {

// How many vectors of columns a panel has: as many as the tile, or fewer where they hold all columns with fewer zeros
// (the groups of a convolution have 8 to 64).
CARACAL_INLINE int64_t panel_vecs(int64_t n) {
  const int64_t vecs = (n + kLanes - 1) / kLanes;
  if (vecs == 4 && kTileVecs == 3) return 2;
  return vecs < 1 ? 1 : vecs < kTileVecs ? vecs : kTileVecs;
}

static constexpr int64_t kChunk = 768;       // steps of k: 147 KB of W at 48 columns
static constexpr int64_t kBlockPasses = 16;  // row passes whose partial sums are kept on the stack: 24 KB at 8 x 48

int64_t panel_width_f32(int64_t n) { return panel_vecs(n) * kLanes; }

size_t packed_bytes_f32(int64_t n, int64_t k) {
  const int64_t width = panel_width_f32(n);
  return size_t((n + width - 1) / width) * size_t(width) * size_t(k) * sizeof(float);
}

void pack_gemm_f32(void* packed, const float* w, int64_t ldw, int64_t n, int64_t k, int64_t panel_begin,
                   int64_t panel_end) {
  const int64_t width = panel_width_f32(n);
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    float* to = static_cast<float*>(packed) + panel * k * width;
    for (int64_t j = 0; j < width; j += 8) {
      int64_t column = panel * width + j, present = n - column;
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

/// Bias, activation and residual for rows [row, row + rows) of the panel of `vecs` vectors at `column`; `tile` holds
/// the products.
template <Activation activation>
static void finish_rows(const GemmArgs& g, const float* tile, int64_t vecs, int64_t row, int64_t rows, int64_t column) {
  for (int64_t v = 0; v < vecs; v++, column += kLanes) {
    int64_t n = g.n - column;
    if (n <= 0) return;
    if (n > kLanes) n = kLanes;
    f32x16 bias = g.bias ? load_n(g.bias + column, n) : zero();
    for (int64_t i = 0; i < rows; i++) {
      f32x16 y = load(tile + (i * vecs + v) * kLanes);
      if (g.bias) y = y + bias;
      const float* residual = g.residual ? g.residual + (row + i) * g.ldr + column : nullptr;
      if (residual && g.residual_first) {
        y = y + (n == kLanes ? load(residual) : load_n(residual, n));
        residual = nullptr;
      }
      y = activate<activation>(y);
      float* c = g.c + (row + i) * g.ldc + column;
      if (n == kLanes) {
        store(c, residual ? y + load(residual) : y);
      } else {
        store_n(c, residual ? y + load_n(residual, n) : y, n);
      }
    }
  }
}

/// What a thread reads after a chunk of W, to be fetched while the chunk is multiplied.
struct Next {
  const char* from;
  int64_t bytes;
};
template <int NV>
CARACAL_INLINE Next what_follows(const GemmArgs& g, int64_t p, const float* panel, bool last_block, int64_t k_done) {
  const int64_t step_bytes = NV * kLanes * int64_t(sizeof(float)), chunk_bytes = kChunk * step_bytes;
  Next next = {reinterpret_cast<const char*>(panel), g.k * step_bytes};  // this panel again
  if (k_done < g.k) {
    next.from += k_done * step_bytes;
    next.bytes -= k_done * step_bytes;
  } else if (last_block && p + 1 < g.panel_end) {
    next.from += next.bytes;
  } else if (last_block) {
    next = {static_cast<const char*>(g.next), g.next ? int64_t(g.next_bytes) : 0};
  }
  if (next.bytes > chunk_bytes) next.bytes = chunk_bytes;
  return next;
}

/// Columns of panel p, of NV vectors, for row passes [first, last), whose partial sums `tile` holds.
template <int NV>
static void multiply_block(const GemmArgs& g, int64_t p, const float* panel, const Passes& passes, int64_t first,
                           int64_t last, float* tile) {
  constexpr int64_t kWidth = NV * kLanes;
  const int64_t top = pass_begin(passes, first);
  int64_t k0 = 0;
  do {
    const int64_t k = g.k - k0 < kChunk ? g.k - k0 : kChunk;
    const Next next = what_follows<NV>(g, p, panel, last == passes.count, k0 + k);
    const int64_t lines = (next.bytes + 63) / 64, groups = k / 4, all_groups = groups * (last - first);
    const int64_t per_group = all_groups ? (lines + all_groups - 1) / all_groups : 0;
    for (int64_t pass = first; pass < last; pass++) {
      const int64_t row = pass_begin(passes, pass), rows = pass_begin(passes, pass + 1) - row;
      const int64_t fetched = (pass - first) * groups * per_group;
      const bool more = fetched < lines;
      float* c = tile + (row - top) * kWidth;
      Tile t = {.a = g.a + row * g.lda + k0,
                .lda = g.lda,
                .b = panel + k0 * kWidth,
                .ldb = kWidth,
                .c = c,
                .ldc = kWidth,
                .k = k,
                .accumulate = k0 > 0,
                .prefetch = more ? next.from + fetched * 64 : nullptr,
                .prefetch_per_4 = more ? per_group : 0};
      if (passes.count == 1) {
        multiply_rows<kTileRows, NV, Fetch::stream>(rows, t);
      } else {
        multiply_rows<kTileRows, NV, Fetch::listed>(rows, t);
      }
      if (k0 + k == g.k) CARACAL_SWITCH_ACTIVATION(g.activation, finish_rows, g, c, NV, row, rows, p * kWidth)
    }
    k0 += k;
  } while (k0 < g.k);
}

template <int NV>
static void multiply_panels(const GemmArgs& g) {
  constexpr int64_t kWidth = NV * kLanes;
  alignas(64) float tile[kBlockPasses * kTileRows * kWidth];
  const Passes passes = split_rows(g.rows, kTileRows);
  const int64_t blocks = (passes.count + kBlockPasses - 1) / kBlockPasses;
  const float* panel = static_cast<const float*>(g.packed) + g.panel_begin * g.k * kWidth;
  for (int64_t p = g.panel_begin; p < g.panel_end; p++, panel += g.k * kWidth) {
    for (int64_t block = 0; block < blocks; block++) {
      multiply_block<NV>(g, p, panel, passes, passes.count * block / blocks, passes.count * (block + 1) / blocks, tile);
    }
  }
  if (passes.count == 1 && g.next) {  // a stream does not know where the next one begins
    for (int64_t i = 0; i < kStreamAhead && size_t(i) < g.next_bytes; i += 64) {
      prefetch_l2(static_cast<const char*>(g.next) + i);
    }
  }
}

/// multiply_panels for panels of a width known at run time.
template <int NV>
static inline void multiply_panels_of(int64_t vecs, const GemmArgs& g) {
  if (vecs == NV) return multiply_panels<NV>(g);
  if constexpr (NV > 1) multiply_panels_of<NV - 1>(vecs, g);
}

void gemm_f32(const GemmArgs& g) { multiply_panels_of<kTileVecs>(panel_vecs(g.n), g); }

}  // namespace caracal::kernels::CARACAL_TIER
