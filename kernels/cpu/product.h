// The matrix product of every kind of numbers: C = epilogue(A · Wᵀ), W packed in panels [panel][k][width] in the order
// in which they are streamed.
//
// With few rows the product is bound by reading W from memory, with many by the multipliers; in between it pays to do
// both at once. So k is cut in chunks small enough to stay in L2 while all rows pass over them, and during those passes
// the next chunk (of this panel, of the next panel, or of whatever the caller will multiply next) is prefetched into
// L2. When one pass takes all rows, nothing is used twice and W is simply read as a stream.
#pragma once

#include <caracal/kernels/cpu/activation.h>
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/tile.h>

namespace caracal::kernels::CARACAL_TIER {

CARACAL_INLINE int64_t vectors(int64_t n) { return (n + kLanes - 1) / kLanes; }

// How many vectors of columns a panel has: as many as the tile, or all that there are. Four make two panels of two, as
// a tile of one vector is slow.
CARACAL_INLINE int64_t panel_vecs(int64_t n) {
  const int64_t vecs = vectors(n);
  if (vecs == 4 && kTileVecs == 3) return 2;
  return vecs < 1 ? 1 : vecs < kTileVecs ? vecs : kTileVecs;
}
// How many vectors panel `panel` has: the last what remains.
CARACAL_INLINE int64_t vecs_in(int64_t n, int64_t panel) {
  const int64_t left = vectors(n) - panel * panel_vecs(n);
  return left < panel_vecs(n) ? left : panel_vecs(n);
}

static constexpr int64_t kChunkBytes = 768 * 64;  // of W, for each vector of columns: 147 KB at 48 columns
static constexpr int64_t kBlockPasses = 16;  // row passes whose partial sums are kept on the stack: 24 KB at 8 x 48

template <class Format>
static constexpr int64_t kVectorBytes = Format::kVectorWeights* int64_t(sizeof(typename Format::Weight));
template <class Format>
CARACAL_INLINE int64_t steps_of(int64_t k) {
  return (k + Format::kPerStep - 1) / Format::kPerStep;
}
/// Bytes of a panel of `vecs` vectors: what Format keeps of each vector of columns, and W.
template <class Format>
CARACAL_INLINE int64_t panel_bytes(int64_t vecs, int64_t k) {
  return vecs * (Format::kHeaderBytes + steps_of<Format>(k) * kVectorBytes<Format>);
}
template <class Format>
CARACAL_INLINE size_t packed_bytes(int64_t n, int64_t k) {
  const int64_t whole = vectors(n) / panel_vecs(n), rest = vectors(n) % panel_vecs(n);
  return size_t(whole * panel_bytes<Format>(panel_vecs(n), k) + panel_bytes<Format>(rest, k));
}

/// What a Format adds to its numbers: where A is, what a panel says about its columns before W begins, and what a sum
/// is worth. This one: rows of float32, sums that are the products.
template <class Numbers>
struct FloatRows : Numbers {
  static constexpr int64_t kHeaderBytes = 0;  // of a panel, for each vector of columns
  struct Header {};
  const GemmArgs& g;

  CARACAL_MEMBER explicit FloatRows(const GemmArgs& args) : g(args) {}
  CARACAL_MEMBER const float* row(int64_t i) const { return g.a + i * g.lda; }
  CARACAL_MEMBER int64_t lda() const { return g.lda; }
  CARACAL_INLINE Header header(const char*, int64_t, int64_t) { return {}; }
  CARACAL_MEMBER f32x16 value(f32x16 sum, Header, int64_t) const { return sum; }
};

/// A residual of rows ld apart, added before or after the activation; both may be null.
struct Residual {
  const float *before, *after;
  int64_t ld;
};

/// The usual activations are compiled into an epilogue each. All others share one, which looks at the name each time: a
/// third of the time to compile, a third of the code.
static constexpr Activation kUnusual = Activation(-1);
static f32x16 activate_unusual(f32x16 x, Activation activation) {
  f32x16 y = x;
  CARACAL_SWITCH_ACTIVATION(activation, y = activate, x)
  return y;
}
#define CARACAL_SWITCH_USUAL_ACTIVATION(activation, function, ...)                   \
  switch (activation) {                                                              \
    case Activation::none: function<Activation::none>(__VA_ARGS__); break;           \
    case Activation::relu: function<Activation::relu>(__VA_ARGS__); break;           \
    case Activation::gelu: function<Activation::gelu>(__VA_ARGS__); break;           \
    case Activation::gelu_tanh: function<Activation::gelu_tanh>(__VA_ARGS__); break; \
    default: function<kUnusual>(__VA_ARGS__);                                        \
  }

/// c = activation(value(row) + bias + before) + after for `rows` rows of n columns; `full`: n is kLanes.
template <Activation activation, bool full, class F>
CARACAL_INLINE void finish_columns(float* c, int64_t ldc, int64_t rows, int64_t n, const float* bias, Residual residual,
                                   Activation unusual, const F& value) {
  auto load_row = [n](const float* p) { return full ? load(p) : load_n(p, n); };
  const f32x16 b = bias ? load_row(bias) : zero();
  for (int64_t i = 0; i < rows; i++) {
    f32x16 y = value(i);
    if (bias) y = y + b;
    if (residual.before) y = y + load_row(residual.before + i * residual.ld);
    if constexpr (activation == kUnusual)
      y = activate_unusual(y, unusual);
    else
      y = activate<activation>(y);
    if (residual.after) y = y + load_row(residual.after + i * residual.ld);
    if constexpr (full) {
      store(c + i * ldc, y);
    } else {
      store_n(c + i * ldc, y, n);
    }
  }
}

/// Bias, activation and residual for rows [row, row + rows) of the panel of `vecs` vectors at `column`; `tile` holds
/// the sums.
template <Activation activation, class Format>
static void finish_rows(const Format& f, const typename Format::Sum* tile, const char* panel, int64_t vecs, int64_t row,
                        int64_t rows, int64_t column) {
  const GemmArgs& g = f.g;
  for (int64_t v = 0; v < vecs && column < g.n; v++, column += kLanes, tile += kLanes) {
    const int64_t n = g.n - column;
    const auto header = Format::header(panel, vecs, v);
    auto value = [&](int64_t i) { return f.value(Format::load_sums(tile + i * vecs * kLanes), header, row + i); };
    float* c = g.c + row * g.ldc + column;
    const float* bias = g.bias ? g.bias + column : nullptr;
    const float* added = g.residual ? g.residual + row * g.ldr + column : nullptr;
    const Residual residual = {g.residual_first ? added : nullptr, g.residual_first ? nullptr : added, g.ldr};
    if (n >= kLanes)
      finish_columns<activation, true>(c, g.ldc, rows, kLanes, bias, residual, g.activation, value);
    else
      finish_columns<activation, false>(c, g.ldc, rows, n, bias, residual, g.activation, value);
  }
}

/// What a thread reads after a chunk of W, to be fetched while the chunk is multiplied.
struct Next {
  const char* from;
  int64_t bytes;
};
template <class Format, int NV>
CARACAL_INLINE Next what_follows(const GemmArgs& g, int64_t p, const char* panel, bool last_block, int64_t steps_done) {
  const int64_t done = NV * (Format::kHeaderBytes + steps_done * kVectorBytes<Format>);
  Next next = {panel, panel_bytes<Format>(NV, g.k)};  // this panel again
  if (steps_done < steps_of<Format>(g.k)) {
    next.from += done;
    next.bytes -= done;
  } else if (last_block && p + 1 < g.panel_end) {
    next = {panel + next.bytes, panel_bytes<Format>(vecs_in(g.n, p + 1), g.k)};
  } else if (last_block) {
    next = {static_cast<const char*>(g.next), int64_t(g.next_bytes)};
  }
  if (next.bytes > kTileVecs * kChunkBytes) next.bytes = kTileVecs * kChunkBytes;
  return next;
}

/// Panel p, of NV vectors, whose columns begin at `column`, for row passes [first, last) with partial sums in `tile`.
template <class Format, int NV>
static void multiply_block(const Format& f, int64_t p, int64_t column, const char* panel, const Passes& passes,
                           int64_t first, int64_t last, typename Format::Sum* tile) {
  constexpr int64_t kWidth = NV * kLanes, kStepWeights = NV * Format::kVectorWeights;
  constexpr int64_t kChunk = kChunkBytes / kVectorBytes<Format>;
  const GemmArgs& g = f.g;
  const int64_t top = pass_begin(passes, first), steps = steps_of<Format>(g.k);
  const auto* weights = reinterpret_cast<const typename Format::Weight*>(panel + NV * Format::kHeaderBytes);
  int64_t k0 = 0;
  do {
    const int64_t k = steps - k0 < kChunk ? steps - k0 : kChunk;
    const Next next = what_follows<Format, NV>(g, p, panel, last == passes.count, k0 + k);
    const int64_t lines = (next.bytes + 63) / 64, groups = k / 4, all_groups = groups * (last - first);
    const int64_t per_group = all_groups ? (lines + all_groups - 1) / all_groups : 0;
    for (int64_t pass = first; pass < last; pass++) {
      const int64_t row = pass_begin(passes, pass), rows = pass_begin(passes, pass + 1) - row;
      const int64_t fetched = (pass - first) * groups * per_group;
      const bool more = fetched < lines;
      if (k0 + k == steps && g.residual) {  // strides that the hardware does not foresee
        for (int64_t i = row; i < row + rows; i++) {
          for (int64_t at = column; at < column + kWidth && at < g.n; at += kLanes)
            prefetch_l1(reinterpret_cast<const char*>(g.residual + i * g.ldr + at));
        }
      }
      typename Format::Sum* c = tile + (row - top) * kWidth;
      TileOf<Format> t = {.a = f.row(row) + k0,
                          .lda = f.lda(),
                          .b = weights + k0 * kStepWeights,
                          .ldb = kStepWeights,
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
      if (k0 + k == steps)
        CARACAL_SWITCH_USUAL_ACTIVATION(g.activation, finish_rows, f, c, panel, NV, row, rows, column)
    }
    k0 += k;
  } while (k0 < steps);
}

/// Panels [begin, end), all of NV vectors, behind panels of panel_vecs(n).
template <class Format, int NV>
static void multiply_panels(const Format& f, int64_t begin, int64_t end) {
  const GemmArgs& g = f.g;
  alignas(64) typename Format::Sum tile[kBlockPasses * kTileRows * NV * kLanes];
  const Passes passes = split_rows(g.rows, kTileRows);
  const int64_t blocks = (passes.count + kBlockPasses - 1) / kBlockPasses, vecs = panel_vecs(g.n);
  for (int64_t p = begin; p < end; p++) {
    const char* panel = static_cast<const char*>(g.packed) + p * panel_bytes<Format>(vecs, g.k);
    for (int64_t block = 0; block < blocks; block++) {
      multiply_block<Format, NV>(f, p, p * vecs * kLanes, panel, passes, passes.count * block / blocks,
                                 passes.count * (block + 1) / blocks, tile);
    }
  }
}

/// multiply_panels for panels of a width known at run time.
template <class Format, int NV = kTileVecs>
static inline void multiply_panels_of(int64_t vecs, const Format& f, int64_t begin, int64_t end) {
  if (vecs == NV) return multiply_panels<Format, NV>(f, begin, end);
  if constexpr (NV > 1) multiply_panels_of<Format, NV - 1>(vecs, f, begin, end);
}

template <class Format>
static inline void multiply(const GemmArgs& g) {
  if (g.panel_begin >= g.panel_end) return;
  const int64_t vecs = panel_vecs(g.n), last = vecs_in(g.n, g.panel_end - 1);
  const int64_t narrow = last < vecs ? g.panel_end - 1 : g.panel_end;
  const Format f(g);
  if (g.panel_begin < narrow) multiply_panels_of<Format>(vecs, f, g.panel_begin, narrow);
  if (narrow < g.panel_end) multiply_panels_of<Format>(last, f, narrow, g.panel_end);
}

}  // namespace caracal::kernels::CARACAL_TIER
