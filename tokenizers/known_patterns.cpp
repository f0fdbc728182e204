// The splitting patterns of GPT-2, of Llama 3 and of Qwen 2, by hand: one pass over the text, class by class.
#include <caracal/tokenizers/pattern.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

enum class Kind : uint8_t { letter, number, space, other };

Kind kind_of(char32_t cp) {
  if (unicode::is_letter(cp)) return Kind::letter;
  if (unicode::is_number(cp)) return Kind::number;
  return unicode::is_whitespace(cp) ? Kind::space : Kind::other;
}

class KnownMatcher : public Matcher {
 public:
  KnownMatcher() : kinds_(kTableEnd) {
    for (char32_t cp = 0; cp < kTableEnd; ++cp) kinds_[cp] = kind_of(cp);
  }

 protected:
  static constexpr char32_t kTableEnd = 0x3400;

  Kind kind(char32_t cp) const { return cp < kTableEnd ? kinds_[cp] : kind_of(cp); }
  Kind kind_at(const char* p) const { return kind(unicode::decode(p)); }
  // End of the run of this kind that starts at p.
  const char* run(const char* p, const char* end, Kind wanted) const {
    while (p != end) {
      const char* next = p;
      if (kind(unicode::decode(next)) != wanted) break;
      p = next;
    }
    return p;
  }
  // End of "\s+(?!\S)|\s+" at p, where white space begins that ends at `run_end`.
  static const char* spaces(const char* p, const char* run_end, const char* end) {
    if (run_end == end) return end;
    const char* last = run_end - 1;
    while (last > p && (static_cast<unsigned char>(*last) & 0xC0) == 0x80) --last;
    return last == p ? run_end : last;
  }
  // Bytes of a contraction ('s, 'll, …) at p, or 0.
  static size_t contraction(const char* p, const char* end, bool any_case) {
    const auto left = size_t(end - p);
    if (left < 2 || *p != '\'') return 0;
    const auto at = [&](size_t i) { return any_case && p[i] >= 'A' && p[i] <= 'Z' ? char(p[i] + 0x20) : p[i]; };
    const char a = at(1);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (left < 3) return 0;
    const char b = at(2);
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return any_case && a == '\xC5' && b == '\xBF' ? 3 : 0;  // a long s
  }

 private:
  std::vector<Kind> kinds_;
};

// Calls next(p, end), which gives the end of the match at p, until the text is done: these patterns match everywhere.
template <class Next>
void match_all(std::string_view text, std::vector<Piece>& out, Next next) {
  if (text.empty()) return out.push_back({0, 0, false});
  const char* const base = text.data();
  const char* const end = base + text.size();
  for (const char* p = base; p != end;) {
    const char* const q = next(p, end);
    out.push_back({uint32_t(p - base), uint32_t(q - base), true});
    p = q;
  }
}

class Gpt2Matcher final : public KnownMatcher {
 public:
  void find(std::string_view text, std::vector<Piece>& out) const override {
    match_all(text, out, [this](const char* p, const char* end) -> const char* {
      if (const size_t bytes = contraction(p, end, false)) return p + bytes;
      const char* const word = *p == ' ' && p + 1 != end ? p + 1 : p;
      const Kind k = kind_at(word);
      if (k != Kind::space) return run(word, end, k);
      return spaces(p, run(p, end, Kind::space), end);
    });
  }
};

// Llama 3 (numbers of up to three digits) and Qwen 2 (one).
class TiktokenMatcher final : public KnownMatcher {
 public:
  explicit TiktokenMatcher(int digits) : digits_(digits) {}

  void find(std::string_view text, std::vector<Piece>& out) const override {
    match_all(text, out, [this](const char* p, const char* end) -> const char* {
      if (const size_t bytes = contraction(p, end, true)) return p + bytes;
      const char* next = p;
      const Kind k = kind(unicode::decode(next));
      if (k == Kind::letter) return run(next, end, Kind::letter);
      if (k == Kind::number) {
        for (int i = 1; i < digits_ && next != end && kind_at(next) == Kind::number; ++i) unicode::decode(next);
        return next;
      }
      const bool is_line_end = *p == '\r' || *p == '\n';
      if (!is_line_end && next != end && kind_at(next) == Kind::letter) return run(next, end, Kind::letter);
      const char* const word = *p == ' ' && next != end ? next : p;
      if (kind_at(word) == Kind::other) return line_ends(run(word, end, Kind::other), end);
      const char* const run_end = run(p, end, Kind::space);
      for (const char* q = run_end; q != p; --q) {  // up to the last line end of the white space
        if (q[-1] == '\r' || q[-1] == '\n') return q;
      }
      return spaces(p, run_end, end);
    });
  }

 private:
  static const char* line_ends(const char* p, const char* end) {
    while (p != end && (*p == '\r' || *p == '\n')) ++p;
    return p;
  }

  int digits_;
};

// CLIP: its special tokens, contractions, letters, single digits, other signs; white space is no match.
class ClipMatcher final : public KnownMatcher {
 public:
  void find(std::string_view text, std::vector<Piece>& out) const override {
    if (text.empty()) return out.push_back({0, 0, false});
    const char* const base = text.data();
    const char* const end = base + text.size();
    for (const char* p = base; p != end;) {
      const char* q = p;
      const Kind k = kind(unicode::decode(q));
      if (k == Kind::space || k == Kind::letter) {
        q = run(q, end, k);
      } else if (k == Kind::other) {
        const std::string_view rest(p, size_t(end - p));
        size_t bytes = contraction(p, end, false);
        for (const std::string_view special : {"<|startoftext|>", "<|endoftext|>"}) {
          if (rest.starts_with(special)) bytes = special.size();
        }
        q = bytes != 0 ? p + bytes : run(q, end, k);
      }
      out.push_back({uint32_t(p - base), uint32_t(q - base), k != Kind::space});
      p = q;
    }
  }
};

// \s+
class SpacesMatcher final : public KnownMatcher {
 public:
  void find(std::string_view text, std::vector<Piece>& out) const override {
    if (text.empty()) return out.push_back({0, 0, false});
    const char* const base = text.data();
    const char* const end = base + text.size();
    const char* done = base;
    for (const char* p = base; p != end;) {
      const char* const at = p;
      if (kind(unicode::decode(p)) != Kind::space) continue;
      p = run(p, end, Kind::space);
      if (done != at) out.push_back({uint32_t(done - base), uint32_t(at - base), false});
      out.push_back({uint32_t(at - base), uint32_t(p - base), true});
      done = p;
    }
    if (done != end) out.push_back({uint32_t(done - base), uint32_t(end - base), false});
  }
};

}  // namespace

std::shared_ptr<const Matcher> known_matcher(std::string_view expression) {
  if (expression == kGpt2Pattern ||
      expression == R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)") {
    return std::make_shared<Gpt2Matcher>();
  }
  if (expression == R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)") {
    return std::make_shared<ClipMatcher>();
  }
  if (expression == R"(\s+)") return std::make_shared<SpacesMatcher>();
  const std::string_view head = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  const std::string_view tail = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  if (!expression.starts_with(head) || !expression.ends_with(tail)) return nullptr;
  if (expression.size() < head.size() + tail.size()) return nullptr;
  const std::string_view numbers = expression.substr(head.size(), expression.size() - head.size() - tail.size());
  if (numbers == R"(\p{N}{1,3})") return std::make_shared<TiktokenMatcher>(3);
  if (numbers == R"(\p{N})") return std::make_shared<TiktokenMatcher>(1);
  return nullptr;
}

}  // namespace caracal::tokenizers
