#include <caracal/tokenizers/batch_encoding.h>

#include <algorithm>

#include <caracal/runtime/error.h>

namespace caracal {
namespace {

using tokenizers::Token;

// A key whose values are one number a token.
struct Column {
  std::string_view key;
  int64_t (*value)(const Token&);
  int64_t padding;
};
constexpr Column kColumns[] = {
    {"input_ids", [](const Token& t) { return int64_t(t.id); }, 0},
    {"token_type_ids", [](const Token& t) { return int64_t(t.type_id); }, 0},
    {"attention_mask", [](const Token& t) { return int64_t(t.attention); }, 0},
    {"special_tokens_mask", [](const Token& t) { return int64_t(t.special); }, 1},
};

template <class F>
auto map_row(std::span<const Token> row, F f) {
  std::vector<std::decay_t<decltype(f(row[0]))>> values;
  values.reserve(row.size());
  for (const Token& token : row) values.push_back(f(token));
  return values;
}

}  // namespace

BatchEncoding::BatchEncoding(std::vector<tokenizers::Encoding> rows, std::vector<int64_t> samples,
                             std::vector<std::string> names, std::vector<std::string> surfaces,
                             std::shared_ptr<const tokenizers::Tokenizer> tokenizer)
    : rows_(std::move(rows)),
      samples_(std::move(samples)),
      names_(std::move(names)),
      surfaces_(std::move(surfaces)),
      tokenizer_(std::move(tokenizer)) {}

std::span<const Token> BatchEncoding::row(size_t i) const {
  if (i >= rows_.size()) {
    throw Error(ErrorCode::invalid_argument, "BatchEncoding",
                "expected a row below " + std::to_string(rows_.size()) + " but got " + std::to_string(i));
  }
  return rows_[i].tokens;
}

bool BatchEncoding::contains(std::string_view key) const {
  return std::find(names_.begin(), names_.end(), key) != names_.end();
}

Tensor BatchEncoding::tensor(std::string_view key, bool pad) const {
  const auto batch = int64_t(rows_.size());
  if (key == "overflow_to_sample_mapping") return Tensor::from(samples_, {batch});
  if (key == "length") {
    Tensor lengths = Tensor::empty({batch}, DType::I64);
    for (size_t i = 0; i < rows_.size(); ++i) lengths.data<int64_t>()[i] = int64_t(rows_[i].size());
    return lengths;
  }
  const auto* column =
      std::find_if(std::begin(kColumns), std::end(kColumns), [&](const Column& c) { return c.key == key; });
  const bool offsets = key == "offset_mapping";
  if (column == std::end(kColumns) && !offsets) {
    throw Error(ErrorCode::not_found, "BatchEncoding",
                "expected input_ids, token_type_ids, attention_mask, special_tokens_mask, offset_mapping, length or "
                "overflow_to_sample_mapping but got '" +
                    std::string(key) + "'");
  }
  size_t longest = 0;
  for (const auto& row : rows_) longest = std::max(longest, row.size());
  const bool ragged = std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) { return row.size() != longest; });
  if (ragged && !pad) {
    throw Error(ErrorCode::invalid_argument, "BatchEncoding",
                "Unable to create tensor, you should probably activate truncation and/or padding with 'padding=True' "
                "'truncation=True' to have batched tensors with the same length. Perhaps your features (`" +
                    std::string(key) + "` in this case) have excessive nesting.");
  }
  const auto length = int64_t(longest);
  Tensor result = Tensor::empty(offsets ? Shape{batch, length, 2} : Shape{batch, length}, DType::I64);
  int64_t* out = result.data<int64_t>();
  for (const auto& row : rows_) {
    for (const Token& token : row.tokens) {
      if (offsets) {
        *out++ = token.begin;
        *out++ = token.end;
      } else {
        *out++ = column->value(token);
      }
    }
    out = std::fill_n(out, (longest - row.size()) * (offsets ? 2 : 1), offsets ? 0 : column->padding);
  }
  return result;
}

std::vector<int32_t> BatchEncoding::input_ids(size_t i) const {
  return map_row(row(i), [](const Token& t) { return t.id; });
}
std::vector<int32_t> BatchEncoding::token_type_ids(size_t i) const {
  return map_row(row(i), [](const Token& t) { return t.type_id; });
}
std::vector<int32_t> BatchEncoding::attention_mask(size_t i) const {
  return map_row(row(i), [](const Token& t) { return int32_t(t.attention); });
}
std::vector<int32_t> BatchEncoding::special_tokens_mask(size_t i) const {
  return map_row(row(i), [](const Token& t) { return int32_t(t.special); });
}
std::vector<std::string> BatchEncoding::tokens(size_t i) const {
  return map_row(row(i), [this](const Token& t) { return std::string(tokenizer_->text_of(t, surfaces_)); });
}
std::vector<BatchEncoding::Span> BatchEncoding::offsets(size_t i) const {
  return map_row(row(i), [](const Token& t) { return Span(t.begin, t.end); });
}
std::vector<int32_t> BatchEncoding::word_ids(size_t i) const {
  return map_row(row(i), [](const Token& t) { return t.word; });
}
std::vector<int32_t> BatchEncoding::sequence_ids(size_t i) const {
  return map_row(row(i), [](const Token& t) { return int32_t(t.sequence); });
}

std::optional<size_t> BatchEncoding::char_to_token(size_t i, uint32_t at, int sequence) const {
  const auto tokens = row(i);
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (tokens[t].sequence == sequence && tokens[t].begin <= at && at < tokens[t].end) return t;
  }
  return std::nullopt;
}

std::optional<BatchEncoding::Span> BatchEncoding::token_to_chars(size_t i, size_t t) const {
  const auto tokens = row(i);
  if (t >= tokens.size()) {
    throw Error(ErrorCode::invalid_argument, "BatchEncoding",
                "expected a token below " + std::to_string(tokens.size()) + " but got " + std::to_string(t));
  }
  if (tokens[t].sequence < 0) return std::nullopt;
  return Span(tokens[t].begin, tokens[t].end);
}

std::optional<std::pair<size_t, size_t>> BatchEncoding::word_to_tokens(size_t i, int32_t word, int sequence) const {
  const auto tokens = row(i);
  const auto in_word = [&](const Token& t) { return t.sequence == sequence && t.word == word; };
  const auto first = std::find_if(tokens.begin(), tokens.end(), in_word);
  if (first == tokens.end()) return std::nullopt;
  const auto last = std::find_if_not(first, tokens.end(), in_word);
  return std::pair(size_t(first - tokens.begin()), size_t(last - tokens.begin()));
}

}  // namespace caracal
