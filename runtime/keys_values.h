// A decoder's keys and values of earlier calls and of this one, as attention() takes them.
#pragma once

#include <caracal/runtime/ops.h>

namespace caracal {

/// What join_keys_values() joins, of B sequences. P: positions of earlier calls.
struct PastAndFresh {
  int64_t batch = 0, heads = 1, head_dim = 0;
  Tensor keys, values;                       // the caller's, (B, heads, P, head_dim) F32; undefined: P = 0
  const Tensor* rows = nullptr;              // of this call (T, ·), or null
  const int64_t* first = nullptr;            // (B): each sequence's first among `rows`; the rest follow it
  int64_t key_column = 0, value_column = 0;  // where keys and values (heads · head_dim) lie in `rows`
};

/// Row t of `sequences` is position places[t] % length of its sequence: one of the P earlier ones, or the next one of
/// this call's rows. -> rows (K, 2 · heads · head_dim) of `sequences`, key and value side by side. Throws when shapes
/// do not fit.
KeysValues join_keys_values(Ctx& ctx, const PastAndFresh& parts, const Ragged& sequences, const Tensor& places,
                            int64_t length);

}  // namespace caracal
