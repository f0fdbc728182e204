// attention: softmax(scale · Q Kᵀ + bias) V for one head of one sequence. Kᵀ is laid out in panels first; then for each
// block of queries the whole rows of scores are computed, turned into e^(s - max), multiplied by V and divided by their
// sum. A row's result depends on its query alone, not on which queries share the call: keys that a causal query does
// not see have probability 0, whose products add nothing.
#include <caracal/kernels/cpu/softmax.h>
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/tile.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int64_t kQueryBlock = 4 * kWideRows;  // queries that share a pass over Kᵀ and V

CARACAL_INLINE int64_t round_up(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Scratch, in floats: Kᵀ, V with whole vectors (only if head_dim has a tail), scores, products.
CARACAL_INLINE int64_t padded_v_floats(int64_t keys, int64_t head_dim) {
  return head_dim % kLanes ? keys * round_up(head_dim) : 0;
}

size_t attention_scratch_f32(int64_t keys, int64_t head_dim) {
  int64_t floats = head_dim * round_up(keys) + padded_v_floats(keys, head_dim) + kQueryBlock * round_up(keys) +
                   kQueryBlock * round_up(head_dim);
  return size_t(floats) * sizeof(float);
}

/// One panel of at most kWideVecs vectors of keys: to[d][key], zeros after the last key.
static void transpose_panel(float* to, int64_t width, const float* k, int64_t ldk, int64_t keys, int64_t head_dim) {
  for (int64_t j = 0; j < width; j += 8) {
    const float* from = k + j * ldk;
    int64_t d = 0;
    if (keys - j >= 8) {
      for (; d + 8 <= head_dim; d += 8) transpose_8x8(to + d * width + j, width, from + d, ldk);
    }
    for (; d < head_dim; d++) {
      for (int64_t jj = 0; jj < 8; jj++) to[d * width + j + jj] = j + jj < keys ? from[jj * ldk + d] : 0.0f;
    }
  }
}

/// multiply_rows for a number of vectors known at run time too, 1 <= vecs <= NV.
template <int NV>
static inline void multiply_rows_vecs(int64_t rows, int64_t vecs, const Tile& t) {
  if (vecs == NV) return multiply_rows<kWideRows, NV, Fetch::listed>(rows, t);
  if constexpr (NV > 1) multiply_rows_vecs<NV - 1>(rows, vecs, t);
}

/// c = a · b with `vecs` vectors of columns, for a block of rows.
CARACAL_INLINE void multiply_block(int64_t rows, int64_t vecs, Tile t) {
  const Passes passes = split_rows(rows, kWideRows);
  const float* a = t.a;
  float* c = t.c;
  for (int64_t pass = 0; pass < passes.count; pass++) {
    const int64_t row = pass_begin(passes, pass);
    t.a = a + row * t.lda;
    t.c = c + row * t.ldc;
    multiply_rows_vecs<kWideVecs>(pass_begin(passes, pass + 1) - row, vecs, t);
  }
}

CARACAL_INLINE int64_t panel_vecs(int64_t vec, int64_t vecs) { return vecs - vec < kWideVecs ? vecs - vec : kWideVecs; }

/// scores = scale · scores + bias
CARACAL_INLINE void scale_row(float* scores, float scale, const float* bias, int64_t keys) {
  f32x16 s = set1(scale);
  for (int64_t i = 0; i < keys; i += kLanes) {
    int64_t n = keys - i < kLanes ? keys - i : kLanes;
    f32x16 x = load(scores + i);
    store(scores + i, bias ? fma(x, s, load_n(bias + i, n)) : x * s);
  }
}

/// out = x / sum; x is padded to whole vectors.
CARACAL_INLINE void divide_row(float* out, const float* x, float sum, int64_t n) {
  f32x16 s = set1(sum);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i) / s);
  if (i < n) store_n(out + i, load(x + i) / s, n - i);
}

/// How many keys query q attends to.
CARACAL_INLINE int64_t visible_keys(const AttentionArgs& t, int64_t q) {
  const int64_t hidden = t.hidden > q ? t.hidden - q : 0;
  return t.keys > hidden ? t.keys - hidden : 0;
}

void attention_f32(const AttentionArgs& t) {
  if (t.keys == 0) {
    for (int64_t q = 0; q < t.queries; q++) {
      for (int64_t d = 0; d < t.head_dim; d++) t.out[q * t.ldo + d] = 0.0f;
    }
    return;
  }
  const int64_t key_vecs = round_up(t.keys) / kLanes, dim_vecs = round_up(t.head_dim) / kLanes;
  const int64_t lds = key_vecs * kLanes, ldp = dim_vecs * kLanes;
  float* keys = static_cast<float*>(t.scratch);
  float* values = keys + t.head_dim * lds;
  float* scores = values + padded_v_floats(t.keys, t.head_dim);
  float* products = scores + kQueryBlock * lds;

  for (int64_t vec = 0; vec < key_vecs; vec += kWideVecs) {
    const int64_t key = vec * kLanes;
    transpose_panel(keys + key * t.head_dim, panel_vecs(vec, key_vecs) * kLanes, t.k + key * t.ldk, t.ldk, t.keys - key,
                    t.head_dim);
  }
  const float* v = t.v;
  int64_t ldv = t.ldv;
  if (t.head_dim % kLanes) {
    for (int64_t key = 0; key < t.keys; key++) {
      for (int64_t d = 0; d < ldp; d += kLanes) {
        int64_t n = t.head_dim - d < kLanes ? t.head_dim - d : kLanes;
        store(values + key * ldp + d, load_n(t.v + key * t.ldv + d, n));
      }
    }
    v = values, ldv = ldp;
  }

  for (int64_t q = 0; q < t.queries; q += kQueryBlock) {
    const int64_t rows = t.queries - q < kQueryBlock ? t.queries - q : kQueryBlock;
    const int64_t seen = visible_keys(t, q + rows - 1);  // by the last row, which sees the most
    for (int64_t vec = 0; vec * kLanes < seen; vec += kWideVecs) {
      const int64_t vecs = panel_vecs(vec, key_vecs), key = vec * kLanes;
      multiply_block(rows, vecs,
                     {t.q + q * t.ldq, t.ldq, keys + key * t.head_dim, vecs * kLanes, scores + key, lds, t.head_dim,
                      false, nullptr, 0});
    }
    float sums[kQueryBlock];
    for (int64_t i = 0; i < rows; i++) {
      float* row = scores + i * lds;
      const int64_t keys_seen = visible_keys(t, q + i);
      scale_row(row, t.scale, t.bias ? t.bias + (q + i) * t.ldb : nullptr, keys_seen);
      sums[i] = keys_seen ? exp_row(row, row, keys_seen) : 1.0f;
      const int64_t zeros = (t.probs ? t.keys : seen) - keys_seen;
      for (int64_t j = 0; j < zeros; j++) row[keys_seen + j] = 0.0f;
      if (t.probs) divide_row(t.probs + (q + i) * t.ldp, row, sums[i], t.keys);
    }
    for (int64_t vec = 0; vec < dim_vecs; vec += kWideVecs) {
      multiply_block(rows, panel_vecs(vec, dim_vecs),
                     {scores, lds, v + vec * kLanes, ldv, products + vec * kLanes, ldp, seen, false, nullptr, 0});
    }
    for (int64_t i = 0; i < rows; i++) divide_row(t.out + (q + i) * t.ldo, products + i * ldp, sums[i], t.head_dim);
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
