#include <caracal/runtime/keys_values.h>

#include <algorithm>
#include <cstring>

#include <caracal/runtime/ops_checks.h>

namespace caracal {
namespace {

// Calls f(sequence, row, position, row of this call or -1) for all rows in order.
template <class F>
void for_each_row(const PastAndFresh& parts, int64_t past, const Ragged& sequences, const Tensor& places,
                  int64_t length, const F& f) {
  for (int64_t b = 0; b < parts.batch; b++) {
    int64_t next = parts.rows != nullptr ? parts.first[b] : 0;
    for (int64_t t = sequences.offsets[b]; t < sequences.offsets[b + 1]; t++) {
      const int64_t position = places.data<int64_t>()[t] % length;
      f(b, t, position, position >= past ? next++ : -1);
    }
  }
}

// The caches go up first, and all there is lies there as blocks of head_dim numbers: a gather of these.
Tensor join_on_device(Ctx& ctx, const PastAndFresh& parts, int64_t past, const Ragged& sequences, const Tensor& places,
                      int64_t length) {
  const int64_t heads = parts.heads, head_dim = parts.head_dim, cached = parts.batch * heads * past;
  const int64_t fresh = parts.rows != nullptr ? parts.rows->numel() / head_dim : 0;
  Tensor blocks = ctx.empty({fresh + 2 * cached, head_dim});
  auto put = [&](const Tensor& x, int64_t begin, int64_t count) {
    Tensor part = blocks.rows(begin, begin + count);
    copy_rows(ctx, x.reshape({count, head_dim}), part);
  };
  if (fresh > 0) put(*parts.rows, 0, fresh);
  if (cached > 0) put(to_device_unchanged(ctx, parts.keys), fresh, cached);
  if (cached > 0) put(to_device_unchanged(ctx, parts.values), fresh + cached, cached);

  const int64_t rows = sequences.tokens, each = parts.rows != nullptr ? parts.rows->size(1) / head_dim : 0;
  Tensor index = ctx.empty({rows * 2 * heads}, DType::I64);
  std::fill_n(index.data<int64_t>(), index.numel(), int64_t(0));  // of rows that belong to no sequence
  for_each_row(parts, past, sequences, places, length, [&](int64_t b, int64_t t, int64_t position, int64_t row) {
    int64_t* to = index.data<int64_t>() + t * 2 * heads;
    for (int64_t h = 0; h < heads; h++) {
      const int64_t at = fresh + (b * heads + h) * past + position;
      to[h] = row >= 0 ? row * each + parts.key_column / head_dim + h : at;
      to[heads + h] = row >= 0 ? row * each + parts.value_column / head_dim + h : at + cached;
    }
  });
  return gather_rows(ctx, blocks, index).reshape({rows, 2 * heads * head_dim});
}

}  // namespace

KeysValues join_keys_values(Ctx& ctx, const PastAndFresh& parts, const Ragged& sequences, const Tensor& places,
                            int64_t length) {
  const char* op = "join_keys_values";
  const int64_t heads = parts.heads, head_dim = parts.head_dim, width = heads * head_dim;
  if (heads < 1 || head_dim < 1)
    fail(op, "heads with numbers", std::to_string(heads) + " of " + std::to_string(head_dim));
  const int64_t past = parts.keys.defined() ? parts.keys.size(2) : 0;
  for (const Tensor* x : {&parts.keys, &parts.values}) {
    const Shape want{parts.batch, heads, past, head_dim};
    if (x->defined() != parts.keys.defined() || (x->defined() && (x->shape() != want || x->dtype() != DType::F32)))
      fail(op, "keys and values " + want.str() + " F32", x->defined() ? x->shape().str() : "an undefined tensor");
  }
  expect_ids(op, places, sequences.tokens);
  if (const Tensor* rows = parts.rows) {
    expect_matrix(op, "rows", *rows, rows->size(-1));
    for (int64_t column : {parts.key_column, parts.value_column})
      if (column < 0 || column % head_dim != 0 || column > rows->size(1) - width || rows->size(1) % head_dim != 0)
        fail(op, "columns of whole heads", std::to_string(column) + " of " + rows->shape().str());
  }
  if (ctx.cuda() != nullptr) return {join_on_device(ctx, parts, past, sequences, places, length), sequences};
  KeysValues joined{ctx.empty({sequences.tokens, 2 * width}), sequences};
  if (ctx.planning()) return joined;
  float* out = joined.rows.data<float>();
  const float* rows = parts.rows != nullptr ? parts.rows->data<float>() : nullptr;
  const int64_t cols = parts.rows != nullptr ? parts.rows->size(1) : 0;
  const float *keys = past > 0 ? parts.keys.data<float>() : nullptr,
              *values = past > 0 ? parts.values.data<float>() : nullptr;
  const size_t bytes = size_t(head_dim) * sizeof(float);
  for_each_row(parts, past, sequences, places, length, [&](int64_t b, int64_t t, int64_t position, int64_t row) {
    float* to = out + t * 2 * width;
    if (row >= 0) {
      std::memcpy(to, rows + row * cols + parts.key_column, size_t(width) * sizeof(float));
      std::memcpy(to + width, rows + row * cols + parts.value_column, size_t(width) * sizeof(float));
      return;
    }
    for (int64_t h = 0; h < heads; h++) {
      const int64_t at = ((b * heads + h) * past + position) * head_dim;
      std::memcpy(to + h * head_dim, keys + at, bytes);
      std::memcpy(to + width + h * head_dim, values + at, bytes);
    }
  });
  return joined;
}

}  // namespace caracal
