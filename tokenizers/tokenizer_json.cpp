#include <caracal/tokenizers/tokenizer_json.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/files.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr uint64_t kOnes = 0x0101010101010101u, kHighs = kOnes << 7;
constexpr uint64_t eight(char c) { return kOnes * static_cast<unsigned char>(c); }
uint64_t load_eight(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}
// The high bit of the first byte that is zero is set, and of none before it.
constexpr uint64_t zeros(uint64_t word) { return (word - kOnes) & ~word & kHighs; }
// The same for the first byte at which a run of ordinary characters of a JSON
// string ends.
constexpr uint64_t ends_of_run(uint64_t word) {
  const uint64_t control = (word - eight(' ')) & ~word & kHighs;
  return control | zeros(word ^ eight('"')) | zeros(word ^ eight('\\'));
}

constexpr size_t kMaxDepth = 128;  // as Json
constexpr uint64_t kExactDouble = uint64_t(1) << 53;

// Reads JSON from front to back. Strings are views of the text, or of a copy
// where they have escapes.
class Scanner {
 public:
  Scanner(const FileText& file, std::string_view where, ModelData& data)
      : begin_(file.text.data()), p_(begin_), end_(p_ + file.text.size()), where_(where), data_(data) {}

  const char* at() const { return p_; }
  size_t left() const { return size_t(end_ - p_); }
  [[noreturn]] void fail(const std::string& expected) const {
    const size_t at = size_t(p_ - begin_);
    const std::string got =
        p_ == end_ ? "the end" : Json(unicode::replace_invalid_utf8({p_, std::min<size_t>(left(), 20)})).dump();
    throw Error(ErrorCode::bad_file, where_,
                "expected " + expected + " but got " + got + " at byte " + std::to_string(at));
  }

  // The next character that is no white space, which stays; zero at the end.
  char peek() {
    while (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t') {
      ++p_;
      uint64_t others;  // what is no space
      while ((others = load_eight(p_) ^ eight(' ')) == 0) p_ += 8;
      p_ += std::countr_zero(others) / 8;
    }
    return *p_;
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++p_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("'") + c + "'");
  }
  // Calls item() for each element between `open` and `close`.
  template <class Item>
  void list(char open, char close, Item item) {
    expect(open);
    if (take(close)) return;
    do item();
    while (take(','));
    if (!take(close)) fail(std::string("',' or '") + close + "'");
  }
  std::string_view string() {
    if (!take('"')) fail("a string");
    const char* const begin = p_;
    skip_run();
    if (*p_ == '"') return {begin, size_t(p_++ - begin)};
    if (copy_ == nullptr) {  // no string is longer without its escapes
      auto room = std::make_shared_for_overwrite<char[]>(size_t(end_ - begin));
      copy_ = room.get();
      data_.texts.push_back(std::move(room));
    }
    const char* const copy = copy_;
    copy_ = std::copy(begin, static_cast<const char*>(p_), copy_);
    while (*p_ != '"') {
      if (*p_ != '\\') fail("a string without control characters");
      ++p_;
      escape();
      const char* const run = p_;
      skip_run();
      copy_ = std::copy(run, static_cast<const char*>(p_), copy_);
    }
    ++p_;
    return {copy, size_t(copy_ - copy)};
  }
  int32_t id() {
    peek();
    int32_t value = 0;
    const auto [rest, error] = std::from_chars(p_, end_, value);
    const bool zero_first = *p_ == '0' && rest > p_ + 1;
    if (error != std::errc() || value < 0 || *p_ == '-' || zero_first || is_number_part(*rest)) fail("a 31-bit id");
    p_ = rest;
    return value;
  }
  double number() {
    peek();
    const char* const digits = p_ + (*p_ == '-');
    double value = 0;
    const auto [rest, error] = std::from_chars(p_, end_, value);
    const bool zero_first = *digits == '0' && is_digit(digits[1]);
    if (error != std::errc() || !is_digit(*digits) || zero_first || !is_digit(rest[-1]) || is_number_part(*rest)) {
      fail("a number");
    }
    p_ = rest;
    return value;
  }
  Unigram::Score score() {
    const bool is_negative = peek() == '-';
    const char* const digits = p_ + is_negative;
    const char* p = digits;
    uint64_t significand = 0;
    int decimals = 0;
    for (; is_digit(*p); ++p) significand = significand * 10 + uint64_t(*p - '0');
    if (*p == '.') {
      for (++p; is_digit(*p); ++p, ++decimals) significand = significand * 10 + uint64_t(*p - '0');
    }
    const bool is_short = p > digits && p - digits < 20;  // fits 64 bits
    const bool is_plain = is_digit(*digits) && is_digit(p[-1]) && !is_number_part(*p);
    if (!is_short || !is_plain || (*digits == '0' && is_digit(digits[1]))) return Unigram::score_of(number());
    double parsed = Unigram::parsed_score(significand, -decimals);
    if (is_negative) parsed = -parsed;
    if (significand > kExactDouble) return {number(), parsed};
    p_ = p;
    return {parsed, parsed};  // both numbers and their ratio are exact, or rounded once
  }
  // Any value, as Json::parse has it.
  Json value(size_t depth = 0) {
    if (depth == kMaxDepth) fail("at most 128 nested lists and dicts");
    switch (peek()) {
      case '{': {
        Json::Object members;
        list('{', '}', [&] {
          std::string key(string());
          expect(':');
          members.emplace_back(std::move(key), value(depth + 1));
        });
        remove_duplicates(members, where_, Json::Duplicates::last_wins);
        return members;
      }
      case '[': {
        Json::Array array;
        list('[', ']', [&] { array.push_back(value(depth + 1)); });
        return array;
      }
      case '"': return string();
      default: return word();
    }
  }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_number_part(char c) { return is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'; }

  // To the next quote, backslash or control character; the zeros behind the
  // text are control characters.
  void skip_run() {
    uint64_t ends;
    while ((ends = ends_of_run(load_eight(p_))) == 0) p_ += 8;
    p_ += std::countr_zero(ends) / 8;
  }
  // A number, or true, false or null.
  Json word() {
    const char* const begin = p_;
    const char* end = p_;
    while (static_cast<unsigned char>(*end) > ' ' && *end != ',' && *end != ']' && *end != '}') ++end;
    const std::string_view text(begin, size_t(end - begin));
    Json json;
    if (text == "true" || text == "false") {
      json = text == "true";
    } else if (text != "null") {
      try {
        json = Json::parse(text, where_);
      } catch (const Error&) {
        fail("a value");
      }
    }
    p_ = end;
    return json;
  }
  char32_t hex4() {
    unsigned value = 0;
    const auto [rest, error] = std::from_chars(p_, std::min(p_ + 4, end_), value, 16);
    if (error != std::errc() || rest != p_ + 4) fail("four hexadecimal digits");
    p_ = rest;
    return value;
  }
  void escape() {
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const size_t i = kFrom.find(*p_); i != std::string_view::npos) {
      *copy_++ = kTo[i];
      ++p_;
      return;
    }
    if (*p_ != 'u') fail("an escape");
    ++p_;
    char32_t cp = hex4();
    if (cp >= 0xD800 && cp < 0xE000) {
      if (cp >= 0xDC00 || p_[0] != '\\' || p_[1] != 'u') fail("a pair of surrogates");
      p_ += 2;
      const char32_t low = hex4();
      if (low < 0xDC00 || low >= 0xE000) fail("a pair of surrogates");
      cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    }
    copy_ += unicode::encode(cp, copy_);
  }

  const char* begin_;
  const char* p_;
  const char* end_;
  std::string_view where_;
  ModelData& data_;
  char* copy_ = nullptr;  // behind the last string with escapes
};

// Least bytes of an entry of a vocabulary, a piece or a merge that is worth
// room from the start.
constexpr size_t kEntryBytes = 16;

template <class T>
void add(std::vector<T>& list, const Scanner& in, T value) {
  if (list.empty()) list.reserve(std::min(in.left() / kEntryBytes + 1, Vocabulary::kMaxTokens));
  if (list.size() == Vocabulary::kMaxTokens) {
    in.fail("at most " + std::to_string(Vocabulary::kMaxTokens) + " tokens or merges");
  }
  list.push_back(value);
}

void read_vocab(Scanner& in, ModelData& data) {
  if (in.peek() == '{') {
    in.list('{', '}', [&] {
      const std::string_view token = in.string();
      in.expect(':');
      add(data.vocabulary, in, {token, in.id()});
    });
    return;
  }
  in.list('[', ']', [&] {
    in.expect('[');
    const std::string_view token = in.string();
    in.expect(',');
    const Unigram::Score score = in.score();
    in.expect(']');
    add(data.vocabulary, in, {token, int32_t(data.vocabulary.size())});
    add(data.scores, in, score);
  });
}

void read_merges(Scanner& in, ModelData& data, std::string_view where) {
  in.list('[', ']', [&] {
    if (in.take('[')) {
      const std::string_view left = in.string();
      in.expect(',');
      const std::string_view right = in.string();
      in.expect(']');
      add(data.merges, in, {left, right});
      return;
    }
    const std::string_view merge = in.string();
    if (!merge.starts_with("#version")) add(data.merges, in, split_merge(merge, where));
  });
}

// The whole file; the vocab and the merges of the model go to `data`.
Json read(const FileText& file, std::string_view where, ModelData& data) {
  Scanner in(file, where, data);
  const auto apart = [&](bool& has, auto read_part) -> Json {
    const char open = in.peek();
    if (open != '{' && open != '[') return in.value();  // the model says what is wrong with it
    if (has) in.fail("one 'vocab' and one 'merges'");
    has = true;
    read_part();
    if (open == '{') return Json::Object{};
    return Json::Array{};
  };
  Json::Object members;
  bool has_model = false, has_vocab = false, has_merges = false;
  in.list('{', '}', [&] {
    std::string key(in.string());
    in.expect(':');
    if (key != "model" || in.peek() != '{') {
      members.emplace_back(std::move(key), in.value(1));
      return;
    }
    if (has_model) in.fail("one 'model'");
    has_model = true;
    Json::Object model;
    in.list('{', '}', [&] {
      std::string part(in.string());
      in.expect(':');
      Json value = part == "vocab"    ? apart(has_vocab, [&] { read_vocab(in, data); })
                   : part == "merges" ? apart(has_merges, [&] { read_merges(in, data, where); })
                                      : in.value(2);
      model.emplace_back(std::move(part), std::move(value));
    });
    remove_duplicates(model, where, Json::Duplicates::last_wins);
    members.emplace_back(std::move(key), std::move(model));
  });
  if (in.peek() != 0 || in.left() != 0) in.fail("the end");
  remove_duplicates(members, where, Json::Duplicates::last_wins);
  return members;
}

TokenizerJson parse(const FileText& file, std::string_view where) {
  auto data = std::make_shared<ModelData>();
  data->texts.push_back(file.owner);
  if (!unicode::is_valid_utf8(file.text)) throw Error(ErrorCode::bad_file, where, "expected UTF-8");
  Json content = read(file, where, *data);
  return {std::move(content), std::move(data)};
}

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view where) {
  return parse(copy_text(text), where);
}

TokenizerJson read_tokenizer_json(const std::string& path) { return parse(read_text_file(path), path); }

}  // namespace caracal::tokenizers
