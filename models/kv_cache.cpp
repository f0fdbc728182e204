#include <caracal/models/kv_cache.h>

#include <algorithm>
#include <cstring>

#include <caracal/runtime/keys_values.h>

namespace caracal {

int64_t cached_length(std::string_view model, const CacheLayer& cache, size_t layer, int64_t batch, int64_t heads,
                      int64_t head_dim, int64_t length) {
  for (const Tensor* x : {&cache.keys, &cache.values}) {
    const bool four = x->defined() && x->rank() == 4 && x->dtype() == DType::F32;
    if (length < 0 && four) length = x->size(2);
    const Shape want{batch, heads, std::max<int64_t>(length, 0), head_dim};
    if (!four || x->shape() != want)
      throw Error(ErrorCode::invalid_argument, model,
                  "expected past_key_values of shape " + want.str() + " F32 but got " +
                      (x->defined() ? x->shape().str() + " " + std::string(name_of(x->dtype())) : "nothing") +
                      " in layer " + std::to_string(layer));
  }
  return length;
}

KeysValues join_cache(Ctx& ctx, const Tensor& keys, const Tensor& values, int64_t heads, int64_t head_dim,
                      const FreshRows& fresh, const TextBatch& all) {
  PastAndFresh parts{all.batch, heads, head_dim, keys, values};
  if (fresh.rows != nullptr) {
    parts.rows = fresh.rows;
    parts.first = fresh.text->sequences.offsets;
    parts.key_column = fresh.keys;
    parts.value_column = fresh.values;
  }
  return join_keys_values(ctx, parts, all.sequences, all.rows, all.length);
}

void extend_cache(Ctx& ctx, const Tensor& before, const Tensor& rows, int64_t column, int64_t heads, int64_t head_dim,
                  const TextBatch& text, Tensor& out) {
  ctx.fetch_columns(rows, column, heads * head_dim, [=, &out](const Tensor& from, int64_t begin) {
    const int64_t past = before.defined() ? before.size(2) : 0, length = past + text.length, cols = from.size(1);
    out.resize({text.batch, heads, length, head_dim});
    std::memset(out.raw(), 0, out.nbytes());
    const size_t past_bytes = size_t(past * head_dim) * sizeof(float);
    for (int64_t i = 0; past > 0 && i < text.batch * heads; i++)
      std::memcpy(out.data<float>() + i * length * head_dim, before.data<float>() + i * past * head_dim, past_bytes);
    for (int64_t b = 0; b < text.batch; b++) {
      const int64_t first = text.sequences.offsets[b], end = first + text.sequences.keys[b];
      for (int64_t t = first; t < end; t++) {
        const int64_t position = past + text.rows.data<int64_t>()[t] % text.length;
        for (int64_t h = 0; h < heads; h++)
          std::memcpy(out.data<float>() + ((b * heads + h) * length + position) * head_dim,
                      from.data<float>() + t * cols + begin + h * head_dim, size_t(head_dim) * sizeof(float));
      }
    }
  });
}

}  // namespace caracal
