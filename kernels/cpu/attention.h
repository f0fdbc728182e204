// softmax(scale · Q Kᵀ + bias) V for one head of one sequence, in any kind of numbers. Kᵀ is laid out in panels first;
// then for each block of queries the whole rows of scores are computed, turned into e^(s - max), multiplied by V and
// divided by their sum. A row's result depends on its query alone, not on which queries share the call: keys that a
// causal query does not see have probability 0, whose products with finite values add nothing.
#pragma once

#include <caracal/kernels/cpu/softmax.h>
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/tile.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int64_t kQueryBlock = 4 * kWideRows;  // queries that share a pass over Kᵀ and V

CARACAL_INLINE int64_t round_up(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
CARACAL_INLINE int64_t vector_lanes(int64_t n) { return n < kLanes ? n : kLanes; }

/// to[d][j] = k[j][d] for 8 keys, of which `keys` exist (the others are zeros), and `dims` of their numbers.
CARACAL_INLINE void transpose_8_keys(float* to, int64_t ldt, const float* k, int64_t ldk, int64_t keys, int64_t dims) {
  if (keys >= 8 && dims >= 8) return transpose_8x8(to, ldt, k, ldk);
  for (int64_t d = 0; d < dims && d < 8; d++) {
    for (int64_t j = 0; j < 8; j++) to[d * ldt + j] = j < keys ? k[j * ldk + d] : 0.0f;
  }
}

/// multiply_rows for a number of vectors known at run time too, 1 <= vecs <= NV.
template <int NV, class Format>
static inline void multiply_rows_vecs(int64_t rows, int64_t vecs, const TileOf<Format>& t) {
  if (vecs == NV) return multiply_rows<kWideRows, NV, Fetch::listed>(rows, t);
  if constexpr (NV > 1) multiply_rows_vecs<NV - 1>(rows, vecs, t);
}

/// c = a · b with `vecs` vectors of columns, for a block of rows.
template <class Format>
CARACAL_INLINE void multiply_block(int64_t rows, int64_t vecs, TileOf<Format> t) {
  const Passes passes = split_rows(rows, kWideRows);
  const auto* a = t.a;
  float* c = t.c;
  for (int64_t pass = 0; pass < passes.count; pass++) {
    const int64_t row = pass_begin(passes, pass);
    t.a = a + row * t.lda;
    t.c = c + row * t.ldc;
    multiply_rows_vecs<kWideVecs>(pass_begin(passes, pass + 1) - row, vecs, t);
  }
}

CARACAL_INLINE int64_t panel_vecs(int64_t vec, int64_t vecs) { return vecs - vec < kWideVecs ? vecs - vec : kWideVecs; }

/// scores = scale · scores + bias; returns the highest.
CARACAL_INLINE float scale_row(float* scores, float scale, const float* bias, int64_t keys) {
  f32x16 s = set1(scale), lowest = set1(-INFINITY), highest = lowest;
  for (int64_t i = 0; i < keys; i += kLanes) {
    f32x16 x = load(scores + i);
    x = bias ? fma(x, s, load_n(bias + i, vector_lanes(keys - i))) : x * s;
    store(scores + i, x);
    highest = max(highest, keys - i < kLanes ? select(first_lanes(keys - i), x, lowest) : x);
  }
  return hmax(highest);
}

/// out = x / sum
CARACAL_INLINE void divide_row(float* out, const float* x, float sum, int64_t n) {
  f32x16 s = set1(sum);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i) / s);
  if (i < n) store_n(out + i, load_n(x + i, n - i) / s, n - i);
}

/// How many keys query q attends to.
CARACAL_INLINE int64_t visible_keys(const AttentionArgs& t, int64_t q) {
  const int64_t hidden = t.hidden > q ? t.hidden - q : 0;
  return t.keys > hidden ? t.keys - hidden : 0;
}

/// Where the parts of the scratch begin, in floats. Kᵀ and V are weights of the Format, Q and probabilities its inputs;
/// a vector of weights is as large as one of floats, and inputs take at most a float for each number.
template <class Numbers>
struct Scratch {
  int64_t values, queries, scores, products, end;
  CARACAL_MEMBER Scratch(int64_t keys, int64_t head_dim) {
    values = steps(head_dim) * round_up(keys);
    const bool copies = Numbers::copies_values(head_dim, keys, INT64_MAX);  // as if there were many queries
    queries = values + (copies ? steps(keys) * round_up(head_dim) : 0);
    scores = queries + (Numbers::kConverts ? kQueryBlock * round_up(head_dim) : 0);
    products = scores + kQueryBlock * round_up(keys);
    end = products + kQueryBlock * round_up(head_dim);
  }
  static CARACAL_MEMBER int64_t steps(int64_t n) { return (n + Numbers::kPerStep - 1) / Numbers::kPerStep; }
};

/// Numbers is a format of tile.h that also says
///   store_inputs(to, x)      x as kLanes / kPerStep steps of a row
///   kConverts                whether Q must be laid out so first
///   copies_values(head_dim, keys, queries)  whether V is laid out anew, by values(to, ldt, v, ldv, keys, head_dim)
///   keys(to, width, k, ldk, keys, head_dim)  the panel of Kᵀ for `width` keys, zeros where there are fewer
template <class Numbers>
CARACAL_INLINE void attend(const AttentionArgs& t) {
  using Weight = typename Numbers::Weight;
  using Input = typename Numbers::Input;
  constexpr int64_t kInputFloats = int64_t(sizeof(Input) / sizeof(float));
  if (t.keys == 0) {
    for (int64_t q = 0; q < t.queries; q++) {
      for (int64_t d = 0; d < t.head_dim; d++) t.out[q * t.ldo + d] = 0.0f;
    }
    return;
  }
  const Scratch<Numbers> at(t.keys, t.head_dim);
  const int64_t key_vecs = round_up(t.keys) / kLanes, dim_vecs = round_up(t.head_dim) / kLanes;
  const int64_t lds = key_vecs * kLanes, ldp = dim_vecs * kLanes, dim_steps = at.steps(t.head_dim);
  float* scratch = static_cast<float*>(t.scratch);
  Weight* keys = reinterpret_cast<Weight*>(scratch);
  float *scores = scratch + at.scores, *products = scratch + at.products;

  for (int64_t vec = 0; vec < key_vecs; vec += kWideVecs) {
    const int64_t key = vec * kLanes;
    Numbers::keys(keys + vec * dim_steps * Numbers::kVectorWeights, panel_vecs(vec, key_vecs) * kLanes,
                  t.k + key * t.ldk, t.ldk, t.keys - key, t.head_dim);
  }
  const Weight* v;
  int64_t ldv;
  if (Numbers::copies_values(t.head_dim, t.keys, t.queries)) {
    Weight* values = reinterpret_cast<Weight*>(scratch + at.values);
    v = values, ldv = dim_vecs * Numbers::kVectorWeights;
    Numbers::values(values, ldv, t.v, t.ldv, t.keys, t.head_dim);
  } else {
    v = reinterpret_cast<const Weight*>(t.v), ldv = t.ldv;
  }

  for (int64_t q = 0; q < t.queries; q += kQueryBlock) {
    const int64_t rows = t.queries - q < kQueryBlock ? t.queries - q : kQueryBlock;
    const int64_t seen = visible_keys(t, q + rows - 1);  // by the last row, which sees the most
    const Input* a = reinterpret_cast<const Input*>(t.q + q * t.ldq);
    int64_t lda = t.ldq;
    if (Numbers::kConverts) {
      lda = ldp / kInputFloats;
      Input* to = reinterpret_cast<Input*>(scratch + at.queries);
      for (int64_t i = 0; i < rows; i++) {
        for (int64_t d = 0; d < t.head_dim; d += kLanes)
          Numbers::store_inputs(to + i * lda + d / Numbers::kPerStep,
                                load_n(t.q + (q + i) * t.ldq + d, vector_lanes(t.head_dim - d)));
      }
      a = to;
    }
    for (int64_t vec = 0; vec * kLanes < seen; vec += kWideVecs) {
      const int64_t vecs = panel_vecs(vec, key_vecs);
      multiply_block<Numbers>(rows, vecs,
                              {a, lda, keys + vec * dim_steps * Numbers::kVectorWeights, vecs * Numbers::kVectorWeights,
                               scores + vec * kLanes, lds, dim_steps, false, nullptr, 0});
    }
    float sums[kQueryBlock];
    for (int64_t i = 0; i < rows; i++) {
      float* row = scores + i * lds;
      const int64_t keys_seen = visible_keys(t, q + i);
      const float highest = scale_row(row, t.scale, t.bias ? t.bias + (q + i) * t.ldb : nullptr, keys_seen);
      Input* input = reinterpret_cast<Input*>(row);  // in place: no input begins behind its numbers
      float* probs = t.probs ? t.probs + (q + i) * t.ldp : nullptr;
      sums[i] = exp_row(row, keys_seen, highest, [=](int64_t j, f32x16 e, int64_t n) {
        if (probs) store_n(probs + j, e, n);
        Numbers::store_inputs(input + j / Numbers::kPerStep, e);
      });
      if (keys_seen == 0) sums[i] = 1;
      for (int64_t j = round_up(keys_seen); j < seen; j += kLanes)
        Numbers::store_inputs(input + j / Numbers::kPerStep, zero());
      if (probs) {
        divide_row(probs, probs, sums[i], keys_seen);
        for (int64_t j = keys_seen; j < t.keys; j++) probs[j] = 0.0f;
      }
    }
    for (int64_t vec = 0; vec < dim_vecs; vec += kWideVecs) {
      multiply_block<Numbers>(
          rows, panel_vecs(vec, dim_vecs),
          {reinterpret_cast<const Input*>(scores), lds / kInputFloats, v + vec * Numbers::kVectorWeights, ldv,
           products + vec * kLanes, ldp, at.steps(seen), false, nullptr, 0});
    }
    for (int64_t i = 0; i < rows; i++) divide_row(t.out + (q + i) * t.ldo, products + i * ldp, sums[i], t.head_dim);
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
