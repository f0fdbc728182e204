#include <caracal/models/kv_cache.h>

#include <cstring>

namespace caracal {

int64_t cached_length(std::string_view model, const std::vector<CacheLayer>& cache, size_t layers, int64_t batch,
                      int64_t heads, int64_t head_dim) {
  if (cache.empty()) return 0;
  auto fail = [&](const std::string& expected, const std::string& got) {
    throw Error(ErrorCode::invalid_argument, model, "expected past_key_values " + expected + " but got " + got);
  };
  if (cache.size() != layers) fail("of " + std::to_string(layers) + " layers", std::to_string(cache.size()));
  int64_t length = -1;
  for (size_t i = 0; i < layers; i++) {
    for (const Tensor* x : {&cache[i].keys, &cache[i].values}) {
      const bool four = x->defined() && x->rank() == 4 && x->dtype() == DType::F32;
      if (length < 0 && four) length = x->size(2);
      const Shape want{batch, heads, std::max<int64_t>(length, 0), head_dim};
      if (!four || x->shape() != want)
        fail("of shape " + want.str() + " F32",
             (x->defined() ? x->shape().str() + " " + std::string(name_of(x->dtype())) : "nothing") + " in layer " +
                 std::to_string(i));
    }
  }
  return length;
}

KeysValues join_cache(Ctx& ctx, const Tensor& keys, const Tensor& values, int64_t heads, int64_t head_dim,
                      const FreshRows& fresh, const TextBatch& all) {
  const int64_t width = heads * head_dim, past = keys.defined() ? keys.size(2) : 0;
  KeysValues joined{ctx.empty({all.sequences.tokens, 2 * width}), all.sequences};
  if (ctx.planning()) return joined;
  float* out = joined.rows.data<float>();
  const int64_t fresh_cols = fresh.rows != nullptr ? fresh.rows->size(1) : 0;
  const float* from_fresh = fresh.rows != nullptr ? fresh.rows->data<float>() : nullptr;
  const size_t bytes = size_t(head_dim) * sizeof(float);
  for (int64_t b = 0; b < all.batch; b++) {
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
  if (ctx.planning()) return;
  const int64_t past = before.defined() ? before.size(2) : 0, length = past + text.length, cols = rows.size(1);
  out.resize({text.batch, heads, length, head_dim});
  std::memset(out.raw(), 0, out.nbytes());
  const size_t past_bytes = size_t(past * head_dim) * sizeof(float);
  for (int64_t i = 0; past > 0 && i < text.batch * heads; i++)
    std::memcpy(out.data<float>() + i * length * head_dim, before.data<float>() + i * past * head_dim, past_bytes);
  for (int64_t b = 0; b < text.batch; b++) {
    const int64_t begin = text.sequences.offsets[b], end = begin + text.sequences.keys[b];
    for (int64_t t = begin; t < end; t++) {
      const int64_t position = past + text.rows.data<int64_t>()[t] % text.length;
      for (int64_t h = 0; h < heads; h++)
        std::memcpy(out.data<float>() + ((b * heads + h) * length + position) * head_dim,
                    rows.data<float>() + t * cols + column + h * head_dim, size_t(head_dim) * sizeof(float));
    }
  }
}

}  // namespace caracal
