#include <caracal/tokenizers/batch_encoding.h>

#include <algorithm>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/unicode.h>

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

// Units before each code point of a text, and in all.
std::vector<uint32_t> units_before(std::string_view text, BatchEncoding::Unit unit) {
  std::vector<uint32_t> before;
  uint32_t count = 0;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    before.push_back(count);
    const char* const at = p;
    const char32_t cp = tokenizers::unicode::decode_any(p, end);
    count += unit == BatchEncoding::Unit::code_points ? 1
             : unit == BatchEncoding::Unit::bytes     ? uint32_t(p - at)
             : cp >= 0x10000                          ? 2
                                                      : 1;
  }
  before.push_back(count);
  return before;
}

}  // namespace

void BatchEncoding::resize(size_t rows) {
  for (; rows_.size() > rows; rows_.pop_back()) buffers_.rows.push_back(std::move(rows_.back()));
  while (rows_.size() < rows) {
    if (buffers_.rows.empty()) {
      rows_.emplace_back();
    } else {
      rows_.push_back(std::move(buffers_.rows.back()));
      buffers_.rows.pop_back();
    }
  }
}

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

void BatchEncoding::check_even(std::string_view key, bool pad) const {
  const bool ragged =
      std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) { return row.size() != rows_[0].size(); });
  if (!ragged || pad) return;
  throw Error(ErrorCode::invalid_argument, "BatchEncoding",
              "Unable to create tensor, you should probably activate truncation and/or padding with 'padding=True' "
              "'truncation=True' to have batched tensors with the same length. Perhaps your features (`" +
                  std::string(key) + "` in this case) have excessive nesting.");
}

void BatchEncoding::add(Extra extra) {
  names_.push_back(extra.key);
  extras_.push_back(std::move(extra));
}

std::span<const int64_t> BatchEncoding::extra(std::string_view key, size_t i) const {
  row(i);  // checks i
  for (const Extra& extra : extras_) {
    if (extra.key == key) return extra.rows[i];
  }
  throw Error(ErrorCode::not_found, "BatchEncoding", "expected an added key but got '" + std::string(key) + "'");
}

Tensor BatchEncoding::extra_tensor(const Extra& extra, bool pad) const {
  check_even(extra.key, pad);
  size_t longest = 0;
  for (const auto& row : rows_) longest = std::max(longest, row.size());
  Shape shape{int64_t(rows_.size()), int64_t(longest)};
  if (extra.width > 1) shape = Shape{int64_t(rows_.size()), int64_t(longest), extra.width};
  Tensor result = Tensor::empty(shape, DType::I64);
  int64_t* out = result.data<int64_t>();
  for (size_t i = 0; i < rows_.size(); ++i) {
    out = std::copy(extra.rows[i].begin(), extra.rows[i].end(), out);
    for (size_t t = rows_[i].size(); t < longest; ++t) out = std::copy(extra.padding.begin(), extra.padding.end(), out);
  }
  return result;
}

Tensor BatchEncoding::tensor(std::string_view key, bool pad) const {
  const auto batch = int64_t(rows_.size());
  if (key == "overflow_to_sample_mapping") return Tensor::from(samples_, {batch});
  if (key == "length") {
    Tensor lengths = Tensor::empty({batch}, DType::I64);
    for (size_t i = 0; i < rows_.size(); ++i) lengths.data<int64_t>()[i] = int64_t(rows_[i].size());
    return lengths;
  }
  for (const Extra& extra : extras_) {
    if (extra.key == key) return extra_tensor(extra, pad);
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
  check_even(key, pad);
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
template <class UnitsOf>
std::vector<BatchEncoding::Span> BatchEncoding::offsets_in(size_t i, const UnitsOf& units_of) const {
  std::vector<Span> spans;
  for (const Token& token : row(i)) {
    if (token.sequence < 0) {
      spans.emplace_back(0, 0);
      continue;
    }
    const std::vector<uint32_t>* before = units_of(token);
    if (before == nullptr || token.end >= before->size()) {
      throw Error(ErrorCode::invalid_argument, "BatchEncoding", "expected the texts of the row for its offsets");
    }
    spans.emplace_back((*before)[token.begin], (*before)[token.end]);
  }
  return spans;
}

std::vector<BatchEncoding::Span> BatchEncoding::offsets(size_t i, Unit unit, std::string_view text,
                                                        std::string_view text_pair) const {
  const std::vector<uint32_t> tables[] = {units_before(text, unit), units_before(text_pair, unit)};
  return offsets_in(i, [&](const Token& token) { return &tables[token.sequence]; });
}
std::vector<BatchEncoding::Span> BatchEncoding::offsets(size_t i, Unit unit, std::span<const std::string> words,
                                                        std::span<const std::string> pair_words) const {
  std::vector<std::vector<uint32_t>> tables[2];
  for (const std::string& word : words) tables[0].push_back(units_before(word, unit));
  for (const std::string& word : pair_words) tables[1].push_back(units_before(word, unit));
  return offsets_in(i, [&](const Token& token) {
    const auto& table = tables[token.sequence];
    return size_t(token.word) < table.size() ? &table[size_t(token.word)] : nullptr;
  });
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
