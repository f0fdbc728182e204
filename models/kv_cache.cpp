#include <caracal/models/kv_cache.h>

#include <algorithm>
#include <cstring>

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

namespace {

// join_cache() where the caches go up first: all there is as blocks of head_dim numbers, and a gather of these.
KeysValues join_on_device(Ctx& ctx, const Tensor& keys, const Tensor& values, int64_t heads, int64_t head_dim,
                          const FreshRows& fresh, const TextBatch& all) {
  const int64_t past = keys.defined() ? keys.size(2) : 0, cached = all.batch * heads * past;
  const int64_t fresh_count = fresh.rows != nullptr ? fresh.rows->numel() / head_dim : 0;
  Tensor blocks = ctx.empty({fresh_count + 2 * cached, head_dim});
  auto put = [&](const Tensor& x, int64_t begin, int64_t count) {
    Tensor part = blocks.rows(begin, begin + count);
    copy_rows(ctx, x.reshape({count, head_dim}), part);
  };
  if (fresh.rows != nullptr) put(*fresh.rows, 0, fresh_count);
  if (cached > 0) put(to_device_unchanged(ctx, keys), fresh_count, cached);
  if (cached > 0) put(to_device_unchanged(ctx, values), fresh_count + cached, cached);

  const int64_t rows = all.sequences.tokens, each = fresh.rows != nullptr ? fresh.rows->size(1) / head_dim : 0;
  Tensor index = ctx.empty({rows * 2 * heads}, DType::I64);
  std::fill_n(index.data<int64_t>(), index.numel(), int64_t(0));  // of rows that belong to no sequence
  for (int64_t b = 0; b < all.batch; b++) {
    int64_t row = fresh.rows != nullptr ? fresh.text->sequences.offsets[b] : 0;
    for (int64_t t = all.sequences.offsets[b]; t < all.sequences.offsets[b + 1]; t++) {
      int64_t* to = index.data<int64_t>() + t * 2 * heads;
      const int64_t position = all.rows.data<int64_t>()[t] % all.length;
      const bool is_fresh = position >= past;
      for (int64_t h = 0; h < heads; h++) {
        const int64_t at = fresh_count + (b * heads + h) * past + position;
        to[h] = is_fresh ? row * each + fresh.keys / head_dim + h : at;
        to[heads + h] = is_fresh ? row * each + fresh.values / head_dim + h : at + cached;
      }
      row += is_fresh;
    }
  }
  return {gather_rows(ctx, blocks, index).reshape({rows, 2 * heads * head_dim}), all.sequences};
}

}  // namespace

KeysValues join_cache(Ctx& ctx, const Tensor& keys, const Tensor& values, int64_t heads, int64_t head_dim,
                      const FreshRows& fresh, const TextBatch& all) {
  if (ctx.cuda() != nullptr) return join_on_device(ctx, keys, values, heads, head_dim, fresh, all);
  const int64_t width = heads * head_dim, past = keys.defined() ? keys.size(2) : 0;
  KeysValues joined{ctx.empty({all.sequences.tokens, 2 * width}), all.sequences};
  if (ctx.planning()) return joined;
  float* out = joined.rows.data<float>();
  const int64_t fresh_cols = fresh.rows != nullptr ? fresh.rows->size(1) : 0;
  const size_t bytes = size_t(head_dim) * sizeof(float);
  for (int64_t b = 0; b < all.batch; b++) {
    const float* from_fresh =
        fresh.rows != nullptr ? fresh.rows->data<float>() + fresh.text->sequences.offsets[b] * fresh_cols : nullptr;
    for (int64_t t = all.sequences.offsets[b]; t < all.sequences.offsets[b + 1]; t++, out += 2 * width) {
      const int64_t position = all.rows.data<int64_t>()[t] % all.length;
      if (position >= past) {
        std::memcpy(out, from_fresh + fresh.keys, size_t(width) * sizeof(float));
        std::memcpy(out + width, from_fresh + fresh.values, size_t(width) * sizeof(float));
        from_fresh += fresh_cols;
        continue;
      }
      for (int64_t h = 0; h < heads; h++) {
        const int64_t at = ((b * heads + h) * past + position) * head_dim;
        std::memcpy(out + h * head_dim, keys.data<float>() + at, bytes);
        std::memcpy(out + width + h * head_dim, values.data<float>() + at, bytes);
      }
    }
  }
  return joined;
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
