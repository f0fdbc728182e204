#include <caracal/tokenizers/tokenizer_json.h>

#include <charconv>
#include <optional>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/files.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

// Thrown where the scanner meets what it does not know: then the whole text is parsed as any other JSON, which tells
// what is wrong with it, if anything is.
struct Unusual {};

// Walks over JSON text without building values.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : p_(text.data()), end_(p_ + text.size()) {}

  const char* at() const { return p_; }
  // The next character that is no white space, which stays.
  char peek() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
    if (p_ == end_) throw Unusual();
    return *p_;
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++p_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) throw Unusual();
  }
  // Calls item() for each element between `open` and `close`.
  template <class Item>
  void list(char open, char close, Item item) {
    expect(open);
    if (take(close)) return;
    do item();
    while (take(','));
    expect(close);
  }
  void string(std::string& out) {
    out.clear();
    expect('"');
    for (;;) {
      const char* const run = p_;
      while (p_ != end_ && *p_ != '"' && *p_ != '\\' && static_cast<unsigned char>(*p_) >= 0x20) ++p_;
      out.append(run, size_t(p_ - run));
      if (p_ == end_) throw Unusual();
      const char c = *p_++;
      if (c == '"') return;
      if (c != '\\') throw Unusual();
      escape(out);
    }
  }
  int64_t integer() {
    peek();
    int64_t value = 0;
    const auto [rest, error] = std::from_chars(p_, end_, value);
    if (error != std::errc() || (rest != end_ && (*rest == '.' || *rest == 'e' || *rest == 'E'))) throw Unusual();
    p_ = rest;
    return value;
  }
  double number() {
    peek();
    if (*p_ != '-' && (*p_ < '0' || *p_ > '9')) throw Unusual();
    double value = 0;
    const auto [rest, error] = std::from_chars(p_, end_, value);
    if (error != std::errc()) throw Unusual();
    p_ = rest;
    return value;
  }
  void skip_value() {
    size_t depth = 0;
    do {
      const char c = peek();
      if (c == '"') {
        skip_string();
      } else {
        ++p_;
        if (c == '{' || c == '[') ++depth;
        if ((c == '}' || c == ']') && depth-- == 0) throw Unusual();
        if (depth == 0 && c != '}' && c != ']') {  // a number or a word
          while (p_ != end_ && *p_ != ',' && *p_ != '}' && *p_ != ']' && *p_ > ' ') ++p_;
        }
      }
    } while (depth > 0);
  }

 private:
  void skip_string() {
    for (++p_; p_ != end_ && *p_ != '"'; ++p_) {
      if (*p_ == '\\' && ++p_ == end_) throw Unusual();
    }
    if (p_ == end_) throw Unusual();
    ++p_;
  }
  char32_t hex4() {
    unsigned value = 0;
    if (end_ - p_ < 4) throw Unusual();
    const auto [rest, error] = std::from_chars(p_, p_ + 4, value, 16);
    if (error != std::errc() || rest != p_ + 4) throw Unusual();
    p_ = rest;
    return value;
  }
  void escape(std::string& out) {
    if (p_ == end_) throw Unusual();
    const char c = *p_++;
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const size_t i = kFrom.find(c); i != std::string_view::npos) {
      out += kTo[i];
      return;
    }
    if (c != 'u') throw Unusual();
    char32_t cp = hex4();
    if (cp >= 0xD800 && cp < 0xE000) {
      if (cp >= 0xDC00 || end_ - p_ < 6 || p_[0] != '\\' || p_[1] != 'u') throw Unusual();
      p_ += 2;
      const char32_t low = hex4();
      if (low < 0xDC00 || low >= 0xE000) throw Unusual();
      cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    }
    char bytes[4];
    out.append(bytes, unicode::encode(cp, bytes));
  }

  const char* p_;
  const char* end_;
};

// A part of the text that was read apart.
struct Span {
  const char* begin;
  const char* end;
};

void read_vocab(Scanner& in, ModelData& data) {
  std::string token;
  if (in.peek() == '{') {
    data.vocabulary.clear();
    in.list('{', '}', [&] {
      in.string(token);
      in.expect(':');
      const int64_t id = in.integer();
      if (id < 0 || id > INT32_MAX) throw Unusual();
      data.vocabulary.push_back({token, int32_t(id)});
    });
    return;
  }
  data.pieces.clear();
  in.list('[', ']', [&] {
    in.expect('[');
    in.string(token);
    in.expect(',');
    const double score = in.number();
    in.expect(']');
    data.pieces.push_back({token, score});
  });
}

void read_merges(Scanner& in, ModelData& data) {
  std::string left, right;
  data.merges.clear();
  in.list('[', ']', [&] {
    if (in.peek() == '[') {
      in.expect('[');
      in.string(left);
      in.expect(',');
      in.string(right);
      in.expect(']');
      data.merges.emplace_back(left, right);
      return;
    }
    in.string(left);
    if (left.starts_with("#version")) return;
    const size_t space = left.find(' ');
    if (space == std::string::npos || left.find(' ', space + 1) != std::string::npos) throw Unusual();
    data.merges.emplace_back(left.substr(0, space), left.substr(space + 1));
  });
}

// Reads the vocab and the merges of the model; the text without them is appended to `rest`.
void read_apart(std::string_view text, ModelData& data, std::string& rest) {
  Scanner in(text);
  std::optional<Span> spans[2];  // of vocab and merges, each at most once
  std::string key;
  const auto apart = [&](std::optional<Span>& span, auto read) {
    if (span) throw Unusual();
    in.peek();
    const char* const begin = in.at();
    read(in, data);
    span = {begin, in.at()};
  };
  bool has_model = false;
  in.list('{', '}', [&] {
    in.string(key);
    in.expect(':');
    if (key != "model") return in.skip_value();
    if (has_model) throw Unusual();
    has_model = true;
    in.list('{', '}', [&] {
      in.string(key);
      in.expect(':');
      if (key == "vocab") {
        apart(spans[0], read_vocab);
      } else if (key == "merges" && in.peek() == '[') {
        apart(spans[1], read_merges);
      } else {
        in.skip_value();
      }
    });
  });
  if (spans[0] && spans[1] && spans[1]->begin < spans[0]->begin) std::swap(spans[0], spans[1]);
  const char* done = text.data();
  for (const std::optional<Span>& span : spans) {
    if (!span) continue;
    rest.append(done, span->begin);
    rest += *span->begin == '{' ? "{}" : "[]";
    done = span->end;
  }
  rest.append(done, text.data() + text.size());
}

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view where) {
  TokenizerJson result;
  if (unicode::is_valid_utf8(text)) {
    try {
      std::string rest;
      read_apart(text, result.data, rest);
      result.content = Json::parse(rest, where);
      return result;
    } catch (const Unusual&) {
      result = {};
    }
  }
  result.content = Json::parse(text, where);
  if (!result.content.is_object()) {
    throw Error(ErrorCode::bad_file, where, "expected dict but got " + std::string(result.content.type_name()));
  }
  if (const Json* model = result.content.find("model"); model != nullptr && model->is_object()) {
    result.data = in_file(where, [&] { return model_data_from_json(*model); });
  }
  return result;
}

TokenizerJson read_tokenizer_json(const std::string& path) { return parse_tokenizer_json(read_text_file(path), path); }

}  // namespace caracal::tokenizers
