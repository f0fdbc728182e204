// gemm: C = epilogue(A · Wᵀ), W packed in panels [panel][k][kWidth] in the order in which they are streamed.
//
// With few rows the product is bound by reading W from memory, with many by the multipliers; in between it pays to do
// both at once. So k is cut in chunks small enough to stay in L2 while all rows pass over them, and during those passes
// the next chunk (of this panel, of the next panel, or of whatever the caller will multiply next) is prefetched into L2.
#include <caracal/kernels/cpu/activation.h>
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/tile.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int64_t kWidth = kTileVecs * kLanes;
#ifndef KC
#define KC 768
#endif
static constexpr int64_t kChunk = KC;        // steps of k: 147 KB of W at 48 columns
static constexpr int64_t kBlockPasses = 16;   // row passes whose partial sums are kept on the stack: 24 KB at 8 x 48

int64_t panel_width_f32() { return kWidth; }

size_t packed_bytes_f32(int64_t n, int64_t k) {
  return size_t((n + kWidth - 1) / kWidth) * size_t(kWidth) * size_t(k) * sizeof(float);
}

void pack_gemm_f32(void* packed, const float* w, int64_t ldw, int64_t n, int64_t k, int64_t panel_begin,
                   int64_t panel_end) {
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    float* to = static_cast<float*>(packed) + panel * k * kWidth;
    for (int64_t j = 0; j < kWidth; j += 8) {
      int64_t column = panel * kWidth + j, present = n - column;
      const float* from = w + column * ldw;
      int64_t i = 0;
      if (present >= 8) {
        for (; i + 8 <= k; i += 8) transpose_8x8(to + i * kWidth + j, kWidth, from + i, ldw);
      }
      for (; i < k; i++) {
        for (int64_t jj = 0; jj < 8; jj++) to[i * kWidth + j + jj] = jj < present ? from[jj * ldw + i] : 0.0f;
      }
    }
  }
}

/// Bias, activation and residual for rows [row, row + rows) of the panel at `column`; `tile` holds the products.
template <Activation activation>
static void finish_rows(const GemmArgs& g, const float* tile, int64_t row, int64_t rows, int64_t column) {
  for (int64_t v = 0; v < kTileVecs; v++, column += kLanes) {
    int64_t n = g.n - column;
    if (n <= 0) return;
    if (n > kLanes) n = kLanes;
    f32x16 bias = g.bias ? load_n(g.bias + column, n) : zero();
    for (int64_t i = 0; i < rows; i++) {
      f32x16 y = load(tile + i * kWidth + v * kLanes);
      if (g.bias) y = y + bias;
      y = activate<activation>(y);
      const float* residual = g.residual + (row + i) * g.ldr + column;
      float* c = g.c + (row + i) * g.ldc + column;
      if (n == kLanes) {
        store(c, g.residual ? y + load(residual) : y);
      } else {
        store_n(c, g.residual ? y + load_n(residual, n) : y, n);
      }
    }
  }
}

void gemm_f32(const GemmArgs& g) {
  alignas(64) float tile[kBlockPasses * kTileRows * kWidth];
  const Passes passes = split_rows(g.rows, kTileRows);
  const int64_t blocks = (passes.count + kBlockPasses - 1) / kBlockPasses;
  const float* panel = static_cast<const float*>(g.packed) + g.panel_begin * g.k * kWidth;
  for (int64_t p = g.panel_begin; p < g.panel_end; p++, panel += g.k * kWidth) {
    for (int64_t block = 0; block < blocks; block++) {
      const int64_t first = passes.count * block / blocks, last = passes.count * (block + 1) / blocks;
      const int64_t top = pass_begin(passes, first);
      int64_t k0 = 0;
      do {
        const int64_t k = g.k - k0 < kChunk ? g.k - k0 : kChunk;
        const bool complete = k0 + k == g.k;
        // What is streamed after this chunk, and how much of it to ask for in every 4 steps of k.
        const float* chunk = panel + k0 * kWidth;
        const char* next = reinterpret_cast<const char*>(chunk + k * kWidth);
        int64_t next_k = complete ? g.k : g.k - k0 - k;
        int64_t next_bytes = (next_k < kChunk ? next_k : kChunk) * kWidth * int64_t(sizeof(float));
        if (complete && block + 1 < blocks) {
          next = reinterpret_cast<const char*>(panel);
        } else if (complete && p + 1 == g.panel_end) {
          next = static_cast<const char*>(g.next);
          next_bytes = next ? int64_t(g.next_bytes) : 0;
          if (next_bytes > kChunk * kWidth * int64_t(sizeof(float))) next_bytes = kChunk * kWidth * int64_t(sizeof(float));
        }
        const int64_t lines = (next_bytes + 63) / 64, groups = k / 4;
        const int64_t all_groups = groups * (last - first);
        const int64_t per_group = all_groups ? (lines + all_groups - 1) / all_groups : 0;
        for (int64_t pass = first; pass < last; pass++) {
          const int64_t row = pass_begin(passes, pass), rows = pass_begin(passes, pass + 1) - row;
          const int64_t asked = (pass - first) * groups * per_group;
          float* c = tile + (row - top) * kWidth;
          multiply_rows<kTileRows, kTileVecs>(
              rows, {g.a + row * g.lda + k0, g.lda, chunk, kWidth, c, kWidth, k, k0 > 0, next + (asked < lines ? asked * 64 : 0),
                     asked < lines ? per_group : 0});
          if (complete) CARACAL_SWITCH_ACTIVATION(g.activation, finish_rows, g, c, row, rows, p * kWidth)
        }
        k0 += k;
      } while (k0 < g.k);
    }
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
