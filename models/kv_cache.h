// Between a decoder's cache, (B, heads, P, head_dim) tensors as transformers has them, and attention()'s ragged rows.
#pragma once

#include <caracal/models/modeling_inputs.h>
#include <caracal/models/padding.h>

namespace caracal {

/// The keys and values of one call as rows (T, ·) with `keys` and `values` at these columns.
struct FreshRows {
  const Tensor* rows = nullptr;
  int64_t keys = 0, values = 0;
};

/// Checks that a cache has `layers` layers of keys and values (batch, heads, P, head_dim) F32 with one P, which is
/// returned; 0 for an empty cache. Throws invalid_argument naming `model`.
int64_t cached_length(std::string_view model, const std::vector<CacheLayer>& cache, size_t layers, int64_t batch,
                      int64_t heads, int64_t head_dim);

/// Cached keys and values (B, heads, P, head_dim), of the positions that `all` leaves, each sequence followed by its
/// fresh rows -> rows (K, 2 · heads · head_dim). `all` covers P + S positions; `keys` and `values` may be undefined
/// (P = 0).
KeysValues join_cache(Ctx& ctx, const Tensor& keys, const Tensor& values, int64_t heads, int64_t head_dim,
                      const FreshRows& fresh, const TextBatch& all);

/// The cache of the next call: `before` (B, heads, P, head_dim, or undefined) followed by the columns from `column` on
/// of `rows` at their places among S positions -> out (B, heads, P + S, head_dim); 0 at masked positions.
void extend_cache(Ctx& ctx, const Tensor& before, const Tensor& rows, int64_t column, int64_t heads, int64_t head_dim,
                  const TextBatch& text, Tensor& out);

}  // namespace caracal
