#include <caracal/models/padding.h>

#include <algorithm>
#include <cstring>

#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

std::string describe(const Tensor& x) {
  return x.defined() ? x.shape().str() + " " + std::string(name_of(x.dtype())) : "nothing";
}

// Calls f(values) with the tensor's elements as a typed span of integers (or floats, for masks).
template <class F>
void with_values(const ArgumentName& where, const Tensor& x, bool floats, F f) {
  switch (x.dtype()) {
    case DType::I64: return f(x.values<int64_t>());
    case DType::I32: return f(x.values<int32_t>());
    case DType::I16: return f(x.values<int16_t>());
    case DType::I8: return f(x.values<int8_t>());
    case DType::U8: return f(x.values<uint8_t>());
    case DType::BOOL:
      return f(std::span(static_cast<const uint8_t*>(x.raw()), size_t(x.numel())));  // a file's byte may be 2
    case DType::F32:
      if (floats) return f(x.values<float>());
      break;
    default: break;
  }
  throw Error(
      ErrorCode::invalid_argument, where.str(),
      "expected " + std::string(floats ? "a mask of integers, BOOL or F32" : "integers") + " but got " + describe(x));
}

Tensor integers(Ctx& ctx, int64_t n) { return ctx.empty({n}, DType::I64); }

// The rows that columns [past, past + length) of a mask (B, past + length) leave.
TextBatch rows_of(Ctx& ctx, const ArgumentName& where, const Tensor& mask, int64_t batch, int64_t past, int64_t length,
                  bool keep_first, bool rounded) {
  TextBatch text;
  text.batch = batch;
  text.length = length;
  text.past = past;
  const int64_t columns = checked_add(past, length, where.model);
  const bool one_mask = mask.defined() && mask.shape() == Shape{1, columns};
  if (mask.defined() && !one_mask && mask.shape() != Shape{batch, columns})
    throw Error(ErrorCode::invalid_argument, where.str(),
                "expected a mask of shape " + Shape{batch, columns}.str() + " but got " + describe(mask));

  const int64_t sequences = rounded ? ctx.bucket_batch(batch) : batch;
  auto rounded_rows = [&](int64_t n) { return rounded ? ctx.bucket_rows(n) : n; };
  Tensor offsets = integers(ctx, sequences + 1), keys = integers(ctx, sequences);
  Tensor rows = integers(ctx, rounded_rows(batch * length));
  if (keep_first) text.first_rows = integers(ctx, sequences);
  int64_t count = 0;
  auto split = [&](auto counts) {
    for (int64_t b = 0; b < batch; b++) {
      const int64_t start = count, mask_row = (one_mask ? 0 : b * columns) + past;
      offsets.data<int64_t>()[b] = start;
      for (int64_t s = 0; s < length; s++)
        if (counts(mask_row + s)) rows.data<int64_t>()[count++] = b * length + s;
      keys.data<int64_t>()[b] = count - start;
      if (keep_first) {
        const bool first_counts = counts(mask_row);
        text.first_rows.data<int64_t>()[b] = first_counts ? start : count;
        if (!first_counts) rows.data<int64_t>()[count++] = b * length;
      }
      text.sequences.longest = std::max(text.sequences.longest, count - start);
    }
    std::fill_n(offsets.data<int64_t>() + batch, sequences - batch + 1, count);
  };
  if (mask.defined())
    with_values(where, mask, true, [&](auto values) { split([values](int64_t i) { return values[size_t(i)] != 0; }); });
  else
    split([](int64_t) { return true; });

  const int64_t tokens = rounded_rows(count);
  std::fill_n(rows.data<int64_t>() + count, tokens - count, int64_t(0));
  std::fill_n(keys.data<int64_t>() + batch, sequences - batch, int64_t(0));
  if (keep_first) std::fill_n(text.first_rows.data<int64_t>() + batch, sequences - batch, int64_t(0));
  text.sequences.batch = sequences;
  text.sequences.tokens = tokens;
  text.sequences.offsets = offsets.data<int64_t>();
  text.sequences.keys = keys.data<int64_t>();
  text.rows = rows.rows(0, tokens);
  return text;
}

}  // namespace

TextBatch unpad(Ctx& ctx, std::string_view model, const ModelInputs& inputs, bool keep_first, int64_t past) {
  if (inputs.input_ids.defined() == inputs.inputs_embeds.defined())
    throw Error(ErrorCode::invalid_argument, model,
                std::string("expected either input_ids or inputs_embeds but got ") +
                    (inputs.input_ids.defined() ? "both" : "neither"));
  const bool from_ids = inputs.input_ids.defined();
  const Tensor& leading = from_ids ? inputs.input_ids : inputs.inputs_embeds;
  if (leading.rank() != (from_ids ? 2 : 3))
    throw Error(ErrorCode::invalid_argument, model,
                std::string("expected ") +
                    (from_ids ? "input_ids of shape (B, S)" : "inputs_embeds of shape (B, S, H)") + " but got " +
                    describe(leading));
  if (leading.size(0) > 0 && leading.numel() == 0)
    throw Error(ErrorCode::invalid_argument, model,
                "expected at least one token per sequence but got shape " + leading.shape().str());
  return rows_of(ctx, {model, "attention_mask"}, inputs.attention_mask, leading.size(0), past, leading.size(1),
                 keep_first, /*rounded=*/true);
}

TextBatch unpad_mask(Ctx& ctx, const ArgumentName& where, const Tensor& mask, int64_t batch, int64_t length) {
  return rows_of(ctx, where, mask, batch, 0, length, /*keep_first=*/false, /*rounded=*/false);
}

TextBatch unpad_keys(Ctx& ctx, const ArgumentName& where, const Tensor& mask, int64_t batch, int64_t length) {
  return rows_of(ctx, where, mask, batch, 0, length, /*keep_first=*/false, /*rounded=*/true);
}

TextBatch padded_at_end(Ctx& ctx, const Ragged& sequences, int64_t batch, int64_t length) {
  TextBatch text;
  text.batch = batch;
  text.length = length;
  text.sequences = sequences;
  text.rows = integers(ctx, sequences.tokens);
  const int64_t end = sequences.batch > 0 ? sequences.offsets[sequences.batch] : 0;
  std::fill_n(text.rows.data<int64_t>() + end, sequences.tokens - end, int64_t(0));  // rows of no sequence
  for (int64_t b = 0; b < sequences.batch; b++)
    for (int64_t t = sequences.offsets[b]; t < sequences.offsets[b + 1]; t++)
      text.rows.data<int64_t>()[t] = b * length + t - sequences.offsets[b];
  return text;
}

TextBatch unpad_lengths(Ctx& ctx, const Tensor& lengths, int64_t batch, int64_t length, int64_t most) {
  const int64_t count = lengths.size(0);
  Tensor offsets = integers(ctx, count + 1);
  Ragged sequences{count, 0, 0, offsets.data<int64_t>(), lengths.data<int64_t>()};
  for (int64_t b = 0; b < count; b++) {
    offsets.data<int64_t>()[b] = sequences.tokens;
    sequences.tokens += sequences.keys[b];
    sequences.longest = std::max(sequences.longest, sequences.keys[b]);
  }
  offsets.data<int64_t>()[count] = sequences.tokens;
  sequences.tokens = ctx.bucket_part(sequences.tokens, most);
  return padded_at_end(ctx, sequences, batch, length);
}

Ragged with_all_rows(Ctx& ctx, const Ragged& sequences) {
  Tensor keys = integers(ctx, sequences.batch);
  for (int64_t b = 0; b < sequences.batch; b++)
    keys.data<int64_t>()[b] = sequences.offsets[b + 1] - sequences.offsets[b];
  Ragged all = sequences;
  all.keys = keys.data<int64_t>();
  return all;
}

ModelInputs flatten_choices(std::string_view model, const ModelInputs& inputs, int64_t* choices) {
  const Tensor& leading = inputs.input_ids.defined() ? inputs.input_ids : inputs.inputs_embeds;
  const int rank = inputs.input_ids.defined() ? 3 : 4;
  if (leading.defined() && leading.rank() != rank)
    throw Error(ErrorCode::invalid_argument, model,
                std::string("expected ") +
                    (rank == 3 ? "input_ids of shape (B, choices, S)" : "inputs_embeds of shape (B, choices, S, H)") +
                    " but got " + describe(leading));
  *choices = leading.defined() ? leading.size(1) : 1;
  if (*choices == 0)
    throw Error(ErrorCode::invalid_argument, model,
                "expected at least one choice but got shape " + leading.shape().str());
  ModelInputs flat = inputs;
  for (Tensor* x : {&flat.input_ids, &flat.attention_mask, &flat.token_type_ids, &flat.position_ids})
    if (x->defined() && x->rank() == 3) *x = x->reshape({x->size(0) * x->size(1), x->size(2)});
  if (Tensor& x = flat.inputs_embeds; x.defined() && x.rank() == 4)
    x = x.reshape({x.size(0) * x.size(1), x.size(2), x.size(3)});
  return flat;
}

ModelInputs with_one_choice(ModelInputs inputs) {
  for (Tensor* x : {&inputs.input_ids, &inputs.attention_mask})
    if (x->defined()) *x = x->reshape({x->size(0), 1, x->size(1)});
  return inputs;
}

Tensor gather_ids(Ctx& ctx, const ArgumentName& where, const Tensor& ids, Fallback fallback, int64_t limit,
                  const TextBatch& text) {
  const int64_t* rows = text.rows.data<int64_t>();
  const int64_t count = text.sequences.tokens;
  Tensor out = ctx.empty({count}, DType::I64);
  int64_t* to = out.data<int64_t>();
  if (!ids.defined()) {
    for (int64_t t = 0; t < count; t++) to[t] = fallback == Fallback::zeros ? 0 : text.past + rows[t] % text.length;
    return out;
  }
  const bool shared = ids.shape() == Shape{1, text.length};
  if (!shared && ids.shape() != Shape{text.batch, text.length})
    throw Error(ErrorCode::invalid_argument, where.str(),
                "expected shape " + Shape{text.batch, text.length}.str() + " but got " + describe(ids));
  with_values(where, ids, false, [&](auto values) {
    for (auto id : values) {  // masked ones too: the reference looks them up as well
      if (int64_t(id) < 0 || int64_t(id) >= limit)
        throw Error(ErrorCode::invalid_argument, where.str(),
                    "expected ids from 0 to " + std::to_string(limit - 1) + " but got " + std::to_string(int64_t(id)));
    }
    for (int64_t t = 0; t < count; t++) to[t] = int64_t(values[size_t(shared ? rows[t] % text.length : rows[t])]);
  });
  return out;
}

Tensor gather_boxes(Ctx& ctx, const ArgumentName& where, const Tensor& boxes, int64_t limit, const TextBatch& text) {
  if (!boxes.defined() || boxes.shape() != Shape{text.batch, text.length, 4})
    throw Error(ErrorCode::invalid_argument, where.str(),
                "expected shape " + Shape{text.batch, text.length, 4}.str() + " but got " + describe(boxes));
  const int64_t* rows = text.rows.data<int64_t>();
  const int64_t count = text.sequences.tokens;
  Tensor out = integers(ctx, 6 * count);
  int64_t* to = out.data<int64_t>();
  with_values(where, boxes, false, [&](auto values) {
    auto corner = [&](int64_t token, int64_t i) { return int64_t(values[size_t(4 * token + i)]); };
    for (int64_t t = 0; t < text.batch * text.length; t++) {  // masked ones too: the reference looks them up as well
      const int64_t x0 = corner(t, 0), y0 = corner(t, 1), x1 = corner(t, 2), y1 = corner(t, 3);
      if (0 <= x0 && x0 <= x1 && x1 < limit && 0 <= y0 && y0 <= y1 && y1 < limit) continue;
      std::string box;
      for (int64_t i = 0; i < 4; i++) box += (i == 0 ? "" : ", ") + std::to_string(corner(t, i));
      throw Error(
          ErrorCode::invalid_argument, where.str(),
          "expected 0 <= x0 <= x1 < " + std::to_string(limit) + ", and y alike, but got x0, y0, x1, y1 = " + box);
    }
    for (int64_t t = 0; t < count; t++) {
      for (int64_t i = 0; i < 4; i++) to[i * count + t] = corner(rows[t], i);
      to[4 * count + t] = corner(rows[t], 3) - corner(rows[t], 1);
      to[5 * count + t] = corner(rows[t], 2) - corner(rows[t], 0);
    }
  });
  return out.reshape({6, count});
}

Lookup token_embeddings(Ctx& ctx, std::string_view model, const ModelInputs& inputs, const Tensor& table,
                        const TextBatch& text) {
  const int64_t hidden = table.size(1);
  if (inputs.input_ids.defined())
    return {gather_ids(ctx, {model, "input_ids"}, inputs.input_ids, Fallback::zeros, table.size(0), text), table};
  const Tensor& embeds = inputs.inputs_embeds;
  if (embeds.size(2) != hidden || embeds.dtype() != DType::F32)
    throw Error(
        ErrorCode::invalid_argument, model,
        "expected inputs_embeds of shape (B, S, " + std::to_string(hidden) + ") F32 but got " + describe(embeds));
  return {text.rows, to_device(ctx, embeds.reshape({text.batch * text.length, hidden}))};
}

Tensor embed_tokens(Ctx& ctx, std::string_view model, const ModelInputs& inputs, const Tensor& table,
                    const TextBatch& text) {
  const Lookup tokens = token_embeddings(ctx, model, inputs, table, text);
  return embedding(ctx, tokens.ids, tokens.table);
}

void expect_positions(std::string_view model, const ModelInputs& inputs, const TextBatch& text, int64_t limit) {
  if (inputs.position_ids.defined() || text.past + text.length <= limit) return;
  throw Error(ErrorCode::invalid_argument, model,
              "expected at most max_position_embeddings = " + std::to_string(limit) + " tokens but got " +
                  std::to_string(text.past + text.length));
}

void pad_rows(Ctx& ctx, const Tensor& x, const TextBatch& text, Tensor& out) {
  ctx.fetch(x, [&ctx, text, &out](const Tensor& from) {
    const int64_t cols = from.size(1), padded = text.batch * text.length;
    out.resize({text.batch, text.length, cols});
    // Rows that only attend are masked: they have no place in the output.
    int64_t counted = 0;
    for (int64_t b = 0; b < text.batch; b++) counted += text.sequences.keys[b];
    if (counted != padded) std::memset(out.raw(), 0, out.nbytes());
    Tensor flat = out.reshape({padded, cols});
    for (int64_t b = 0; b < text.batch; b++) {
      const int64_t begin = text.sequences.offsets[b], end = begin + text.sequences.keys[b];
      scatter_rows(ctx, from.rows(begin, end), text.rows.rows(begin, end), flat);
    }
  });
}

void pad_column(Ctx& ctx, const Tensor& x, int64_t column, const TextBatch& text, Tensor& out) {
  ctx.fetch_columns(x, column, 1, [text, &out](const Tensor& from, int64_t at) {
    const int64_t cols = from.size(1);
    out.resize({text.batch, text.length});
    std::memset(out.raw(), 0, out.nbytes());
    for (int64_t b = 0; b < text.batch; b++) {
      const int64_t begin = text.sequences.offsets[b], end = begin + text.sequences.keys[b];
      for (int64_t t = begin; t < end; t++)
        out.data<float>()[text.rows.data<int64_t>()[t]] = from.data<float>()[t * cols + at];
    }
  });
}

Tensor empty_attentions(Ctx& ctx, int64_t heads, const Ragged& queries, const Ragged& keys) {
  int64_t count = 0;
  for (int64_t b = 0; b < queries.batch; b++)
    count += heads * (queries.offsets[b + 1] - queries.offsets[b]) * keys.keys[b];
  return ctx.empty({ctx.bucket_rows(count)}, DType::F32);
}

void pad_attentions(Ctx& ctx, const Tensor& probs, int64_t heads, const TextBatch& queries, const TextBatch& keys,
                    Tensor& out) {
  ctx.fetch(probs, [heads, queries, keys, &out](const Tensor& x) {
    out.resize({queries.batch, heads, queries.length, keys.length});
    std::memset(out.raw(), 0, out.nbytes());
    const float* from = x.data<float>();
    for (int64_t b = 0; b < queries.batch; b++) {
      const int64_t* row = queries.rows.data<int64_t>() + queries.sequences.offsets[b];
      const int64_t* column = keys.rows.data<int64_t>() + keys.sequences.offsets[b];
      const int64_t rows = queries.sequences.offsets[b + 1] - queries.sequences.offsets[b];
      const int64_t counted = queries.sequences.keys[b], columns = keys.sequences.keys[b];
      for (int64_t head = 0; head < heads; head++) {
        for (int64_t q = 0; q < counted; q++) {
          float* to = out.data<float>() + ((b * heads + head) * queries.length + row[q] % queries.length) * keys.length;
          for (int64_t k = 0; k < columns; k++) to[column[k] % keys.length] = from[(head * rows + q) * columns + k];
        }
      }
      from += heads * rows * columns;
    }
  });
}

void copy_out(Ctx& ctx, const Tensor& x, Tensor& out) { copy_out(ctx, x, x.shape(), out); }

void copy_out(Ctx& ctx, const Tensor& x, const Shape& shape, Tensor& out) {
  if (shape.numel() > x.numel())
    throw Error(ErrorCode::invalid_argument, "copy_out", "expected " + shape.str() + " but got " + x.shape().str());
  ctx.fetch(x, [shape, &out](const Tensor& from) {
    out.resize(shape, from.dtype());
    std::memcpy(out.raw(), from.raw(), out.nbytes());
  });
}

void copy_sequences(Ctx& ctx, const Tensor& x, const TextBatch& text, Tensor& out) {
  copy_out(ctx, x, {text.batch, x.size(1)}, out);
}

Part take_sequences(Ctx& ctx, const Tensor& x, const Ragged& sequences, int64_t first, bool whole) {
  if (ctx.cuda() != nullptr) return {x, sequences};
  Tensor offsets = integers(ctx, sequences.batch + 1);  // of a whole batch, too: it may be the plan for parts
  const int64_t* from = sequences.offsets + first;
  const int64_t left = sequences.batch - first, rows = from[left] - from[0], usual = 200 * ctx.runtime().threads();
  const int64_t parts = (rows + usual / 2) / usual;
  if (whole || ctx.planning() || (first == 0 && parts <= 1)) return {x, sequences};
  const int64_t wanted = rows / std::max<int64_t>(1, parts);
  Ragged part{.offsets = offsets.data<int64_t>(), .keys = sequences.keys + first};
  offsets.data<int64_t>()[0] = 0;
  // As near to `wanted` as whole sequences get, and no part of a few rows, which would read all weights for them.
  auto goes_on = [&] {
    if (part.batch == left || part.batch == 0) return part.batch == 0;
    return std::min(part.tokens, rows - part.tokens) < usual / 2 ||
           part.tokens + (from[part.batch + 1] - from[0]) <= 2 * wanted;
  };
  while (goes_on()) {
    const int64_t b = part.batch++;
    part.longest = std::max(part.longest, from[b + 1] - from[b]);
    part.tokens = offsets.data<int64_t>()[b + 1] = from[b + 1] - from[0];
  }
  return {x.rows(from[0], from[part.batch]), part};
}

ModelInputs largest_text_inputs(int64_t max_tokens, int64_t max_batch, int64_t max_length) {
  // A masked first token is kept beside the real ones, in every sequence: so many rows more.
  int64_t left = checked_add(max_tokens, max_batch, "prepare");
  const int64_t length = std::min(left, max_length);
  ModelInputs inputs;
  inputs.input_ids = Tensor::zeros({max_batch, length}, DType::I64);
  inputs.attention_mask = Tensor::zeros({max_batch, length}, DType::U8);
  for (int64_t b = 0; b < max_batch; b++) {
    const int64_t take = std::min(left, length);
    std::fill_n(inputs.attention_mask.data<uint8_t>() + b * length, take, uint8_t(1));
    left -= take;
  }
  return inputs;
}

}  // namespace caracal
