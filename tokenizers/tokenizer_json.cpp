#include <caracal/tokenizers/tokenizer_json.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

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

// Copies at most so many bytes of the text to a place, fewer only at the end, and returns how many.
using Source = std::function<size_t(char* to, size_t most)>;

// Reads JSON from front to back through a window on the text, whose pages are all that the text needs.
class Scanner {
 public:
  Scanner(Source source, size_t size, std::string_view where)
      : source_(std::move(source)),
        size_(size),
        where_(where),
        capacity_(std::clamp(size + 1, 2 * kLongestWord, kWindow)),
        window_(std::make_unique_for_overwrite<char[]>(capacity_ + kPadding)),
        p_(window_.get()),
        end_(p_) {
    refill();
  }

  // Bytes of the text that are still to come, unless its file changes.
  size_t rest() const { return size_ - std::min(size_, at()); }
  [[noreturn]] void fail(const std::string& expected) {
    need_word();  // to show
    const std::string got =
        p_ == end_ ? "the end" : Json(unicode::replace_invalid_utf8({p_, std::min<size_t>(left(), 20)})).dump();
    throw Error(ErrorCode::bad_file, where_,
                "expected " + expected + " but got " + got + " at byte " + std::to_string(at()));
  }

  // The next character that is no white space, which stays; zero at the end.
  char peek() {
    do {
      while (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t') {
        ++p_;
        uint64_t others;  // what is no space
        while ((others = load_eight(p_) ^ eight(' ')) == 0) p_ += 8;
        p_ += std::countr_zero(others) / 8;
      }
    } while (p_ == end_ && refill());
    return *p_;
  }
  bool is_at_end() { return peek() == 0 && p_ == end_; }
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
  // Writes a string into the list behind the first `size` bytes of what is open there; returns their new number.
  size_t string(TextList& list, size_t size = 0) {
    if (!take('"')) fail("a string");
    char* to = list.open(size, left());
    const auto go_on = [&] {  // where the window ends
      size = size_t(to - list.open(0, 0));
      const bool has_more = refill();
      to = list.open(size, left());
      return has_more;
    };
    while (true) {
      uint64_t run, ends;  // of ordinary characters; the zeros behind the window are control characters
      while ((ends = ends_of_run(run = load_eight(p_))) == 0) {
        std::memcpy(to, &run, sizeof(run));
        p_ += 8;
        to += 8;
      }
      std::memcpy(to, &run, sizeof(run));
      const int length = std::countr_zero(ends) / 8;
      p_ += length;
      to += length;
      if (*p_ == '"') break;
      if (*p_ == '\\') {
        if (left() < kLongestEscape && go_on()) continue;
        ++p_;
        to += escape(to);  // no longer than it is written
      } else if (p_ != end_ || !go_on()) {
        fail("a string without control characters");
      }
    }
    ++p_;
    return size_t(to - list.open(0, 0));
  }
  std::string string() {
    const size_t size = string(scratch_);
    return {scratch_.open(0, 0), size};
  }
  int32_t id() {
    peek();
    need_word();
    int32_t value = 0;
    const auto [rest, error] = std::from_chars(p_, end_, value);
    const bool zero_first = *p_ == '0' && rest > p_ + 1;
    if (error != std::errc() || value < 0 || *p_ == '-' || zero_first || is_number_part(*rest)) fail("a 31-bit id");
    p_ = rest;
    return value;
  }
  double number() {
    peek();
    need_word();
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
    need_word();
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
          std::string key = string();
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

  size_t left() const { return size_t(end_ - p_); }  // in the window
  size_t at() const { return before_ + size_t(p_ - window_.get()); }
  // A number or name can be read when it is this long or ends before.
  void need_word() {
    if (left() < kLongestWord) refill();
  }
  // Moves what is left to the front of the window and reads on; false when nothing comes.
  bool refill() {
    if (has_all_) return false;
    before_ += size_t(p_ - window_.get());
    std::memmove(window_.get(), p_, left());
    end_ = window_.get() + left();
    p_ = window_.get();
    const char* const begin = end_;
    char* filled = std::copy(cut_.begin(), cut_.end(), window_.get() + (begin - p_));
    while (end_ == begin && !has_all_) {
      const size_t got = source_(filled, size_t(window_.get() + capacity_ - filled));
      filled += got;
      has_all_ = got == 0;
      end_ = has_all_ ? filled : end_of_last_character(begin, filled);
    }
    if (!unicode::is_valid_utf8({begin, size_t(end_ - begin)}))
      throw Error(ErrorCode::bad_file, where_, "expected UTF-8");
    cut_.assign(end_, static_cast<const char*>(filled));
    std::memset(window_.get() + left(), 0, kPadding);
    return end_ != begin;
  }
  // The end of the last character that is there as a whole; of what is no UTF-8, something near.
  static const char* end_of_last_character(const char* begin, const char* end) {
    const char* p = end;
    while (p != begin && end - p < 3 && (static_cast<unsigned char>(p[-1]) & 0xC0) == 0x80) --p;
    if (p == begin) return end;
    return p - 1 + unicode::sequence_length(p[-1]) > end ? p - 1 : end;
  }
  // A number, or true, false or null.
  Json word() {
    need_word();
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
  // Writes what stands for a character behind a backslash; returns its bytes.
  size_t escape(char* to) {
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const size_t i = kFrom.find(*p_); i != std::string_view::npos) {
      *to = kTo[i];
      ++p_;
      return 1;
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
    return unicode::encode(cp, to);
  }

  static constexpr size_t kWindow = size_t(1) << 16, kPadding = 8;  // zeros behind the window
  static constexpr size_t kLongestEscape = 12, kLongestWord = 512;

  Source source_;
  size_t size_;  // of the text
  std::string_view where_;
  size_t capacity_;
  std::unique_ptr<char[]> window_;
  size_t before_ = 0;  // bytes of the text before the window
  const char* p_;
  const char* end_;
  std::string cut_;  // a character's bytes behind end_, whose others are still to come
  bool has_all_ = false;
  TextList scratch_;
};

// Least bytes of an entry of a vocabulary, a piece or a merge that is worth room from the start.
constexpr size_t kEntryBytes = 16;

// Room for one more in a list, and at first for as many as the rest of the text may hold.
template <class T>
void make_room(Scanner& in, TextList& texts, std::vector<T>& others) {
  if (texts.size() == Vocabulary::kMaxTokens) {
    in.fail("at most " + std::to_string(Vocabulary::kMaxTokens) + " tokens or merges");
  }
  if (!texts.empty()) return;
  const size_t most = std::min(in.rest() / kEntryBytes + 1, Vocabulary::kMaxTokens);
  texts.reserve(most, in.rest());
  others.reserve(most);
}

void read_vocab(Scanner& in, ModelData& data) {
  TextList& texts = data.vocabulary.texts;  // no structured binding: clang 14 captures none
  std::vector<int32_t>& ids = data.vocabulary.ids;
  if (in.peek() == '{') {
    in.list('{', '}', [&] {
      make_room(in, texts, ids);
      texts.close(in.string(texts));
      in.expect(':');
      ids.push_back(in.id());
    });
    return;
  }
  in.list('[', ']', [&] {
    make_room(in, texts, ids);
    if (ids.empty()) data.scores.reserve(ids.capacity());
    in.expect('[');
    texts.close(in.string(texts));
    in.expect(',');
    data.scores.push_back(in.score());
    in.expect(']');
    ids.push_back(int32_t(ids.size()));
  });
}

void read_merges(Scanner& in, MergeList& merges, std::string_view where) {
  TextList& texts = merges.texts;
  std::vector<uint32_t>& middles = merges.middles;
  in.list('[', ']', [&] {
    make_room(in, texts, middles);
    if (!in.take('[')) {
      texts.close(in.string(texts));
      texts[texts.size() - 1].starts_with("#version") ? texts.pop_back() : merges.split_last(where);
      return;
    }
    const size_t middle = in.string(texts);
    in.expect(',');
    *texts.open(middle, 1) = ' ';
    texts.close(in.string(texts, middle + 1));
    in.expect(']');
    middles.push_back(uint32_t(middle));
  });
}

// The whole file; the vocab and the merges of the model go to `data`.
Json read(Scanner in, std::string_view where, ModelData& data) {
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
    std::string key = in.string();
    in.expect(':');
    if (key != "model" || in.peek() != '{') {
      members.emplace_back(std::move(key), in.value(1));
      return;
    }
    if (has_model) in.fail("one 'model'");
    has_model = true;
    Json::Object model;
    in.list('{', '}', [&] {
      std::string part = in.string();
      in.expect(':');
      Json value = part == "vocab"    ? apart(has_vocab, [&] { read_vocab(in, data); })
                   : part == "merges" ? apart(has_merges, [&] { read_merges(in, data.merges, where); })
                                      : in.value(2);
      model.emplace_back(std::move(part), std::move(value));
    });
    remove_duplicates(model, where, Json::Duplicates::last_wins);
    members.emplace_back(std::move(key), std::move(model));
  });
  if (!in.is_at_end()) in.fail("the end");
  remove_duplicates(members, where, Json::Duplicates::last_wins);
  return members;
}

TokenizerJson parse(Source source, size_t size, std::string_view where) {
  auto data = std::make_shared<ModelData>();
  Json content = read({std::move(source), size, where}, where, *data);
  return {std::move(content), std::move(data)};
}

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view where) {
  return parse(
      [rest = text](char* to, size_t most) mutable {
        const size_t size = rest.copy(to, most);
        rest.remove_prefix(size);
        return size;
      },
      text.size(), where);
}

TokenizerJson read_tokenizer_json(const std::string& path) {
  FileReader reader(path);
  return parse([&](char* to, size_t most) { return reader.read(to, most); }, reader.size(), path);
}

}  // namespace caracal::tokenizers
