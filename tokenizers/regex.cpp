// Regular expressions by RE2: Oniguruma's syntax is rewritten to RE2's, with the reference's Unicode version spelled
// out.
#include <re2/re2.h>

#include <algorithm>
#include <array>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/pattern.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

constexpr char32_t kEnd = 0x110000;

// The code points that satisfy `test`, as they read within brackets.
template <class Test>
std::string ranges(Test test) {
  std::string out;
  const auto put = [&out](char32_t cp) {
    std::array<char, 16> text;
    std::snprintf(text.data(), text.size(), "\\x{%x}", unsigned(cp));
    out += text.data();
  };
  char32_t first = kEnd;
  for (char32_t cp = 0; cp <= kEnd; ++cp) {
    const bool in = cp < kEnd && (cp < 0xD800 || cp > 0xDFFF) && test(cp);
    if (in && first == kEnd) first = cp;
    if (in || first == kEnd) continue;
    put(first);
    if (cp - 1 != first) out += '-', put(cp - 1);
    first = kEnd;
  }
  return out;
}

constexpr const char* kCategories[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                       "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                       "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

// \w of Oniguruma within brackets: no joiners. Outside, Latin-1's superscripts and fractions count too.
bool is_onig_word(char32_t cp) { return unicode::is_word(cp) && cp != 0x200C && cp != 0x200D; }
constexpr const char* kLatinNumbers = "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";

class Translator {
 public:
  explicit Translator(const std::string& expression) : source_(expression) {}

  // The expression for RE2. `tail_group` gets the number of the group that stands for "\s+(?!\S)|\s+", or 0.
  std::string run(int& tail_group) {
    tail_group = 0;
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (take("\\s+(?!\\S)|\\s+") && depth_ == 0) {
        tail_group = ++groups_;
        out_ += "(" + set("s") + "+)";
      } else if (take("[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+")) {  // possessive, but nothing could be given back
        out_ += "[^\\r\\n" + members("L") + members("N") + "]?" + set("L") + "+";
      } else if (take(" ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*")) {
        out_ += " ?[^" + members("s") + members("L") + members("N") + "]+[\\r\\n]*";
      } else if (take("\\s++$")) {
        out_ += set("s") + "+(?m:$)";
      } else if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        bracket();
      } else if (c == '(') {
        group();
      } else if (c == ')') {
        --depth_;
        out_ += c, ++at_;
      } else if (c == '^' || c == '$') {
        out_ += c == '^' ? "(?m:^)" : "(?m:$)", ++at_;
      } else if (c == '*' || c == '+' || c == '?') {
        out_ += c, ++at_;
        if (at_ < source_.size() && source_[at_] == '+') refuse("a possessive quantifier");
        if (at_ < source_.size() && source_[at_] == '?') out_ += '?', ++at_;
      } else {
        out_ += c, ++at_;
      }
    }
    return std::move(out_);
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::unsupported, "tokenizer.json",
                "expected a regular expression that runs in linear time but got " + what + " in '" +
                    source_.substr(0, 1000) + "'");
  }

 private:
  bool take(std::string_view text) {
    if (std::string_view(source_).substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  // What stands within brackets for \s, \w, \d, \h or a category; empty for a name that RE2 shall look up.
  static std::string members(const std::string& name) {
    if (name == "s")
      return "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
    if (name == "h") return "0-9a-fA-F";
    if (name == "w") return ranges(is_onig_word);
    if (name == "d") return members("Nd");
    if (name == "L") return ranges(unicode::is_letter);
    if (name == "N") return ranges(unicode::is_number);
    std::vector<bool> wanted(std::size(kCategories));
    for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = std::string_view(kCategories[i]).starts_with(name);
    if (name.empty() || std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return {};
    return ranges([&](char32_t cp) { return wanted[size_t(unicode::general_category(cp))]; });
  }
  static std::string set(const std::string& name) { return "[" + members(name) + "]"; }
  // What is outside of a class, within brackets.
  static std::string complement(const std::string& name) {
    const auto category = [](const char* prefix) {
      return [prefix](char32_t cp) {
        return !std::string_view(kCategories[unicode::general_category(cp)]).starts_with(prefix);
      };
    };
    if (name == "s") return ranges([](char32_t cp) { return !unicode::is_whitespace(cp); });
    if (name == "w") return ranges([](char32_t cp) { return !is_onig_word(cp); });
    if (name == "h") return "\\x{0}-/:-@G-`g-\\x{10ffff}";
    return ranges(category(name == "d" ? "Nd" : name.c_str()));
  }

  // A backslash and what follows, within brackets or not.
  void escape(bool in_bracket) {
    if (at_ + 1 >= source_.size()) refuse("a backslash at the end");
    const char c = source_[at_ + 1];
    at_ += 2;
    const auto put_class = [&](const std::string& name, bool negated) {
      const std::string inside = members(name);
      if (inside.empty()) {  // a script or another property
        out_ += std::string(negated ? "\\P{" : "\\p{") + name + "}";
      } else if (in_bracket) {
        out_ += negated ? complement(name) : inside;
      } else {
        out_ += (negated ? "[^" : "[") + inside + (name == "w" ? kLatinNumbers : "") + "]";
      }
    };
    if (std::string_view("swdh").find(c) != std::string_view::npos) return put_class(std::string(1, c), false);
    if (std::string_view("SWDH").find(c) != std::string_view::npos) {
      return put_class(std::string(1, char(c + 0x20)), true);
    }
    if (c == 'p' || c == 'P') {
      const size_t close = source_.find('}', at_);
      if (at_ >= source_.size() || source_[at_] != '{' || close == std::string::npos) refuse("\\p without {…}");
      std::string name = source_.substr(at_ + 1, close - at_ - 1);
      at_ = close + 1;
      const bool caret = name.starts_with('^');
      if (caret) name.erase(0, 1);
      return put_class(name, (c == 'P') != caret);
    }
    if (c >= '1' && c <= '9' && !in_bracket) refuse("a back-reference");
    if (c == 'k' || c == 'g') refuse("a back-reference");
    if (c == 'K' || c == 'G' || c == 'R' || c == 'X' || c == 'y' || c == 'Y' || c == 'O' || c == 'N') {
      refuse("\\" + std::string(1, c));
    }
    if (c == 'b' && in_bracket) return void(out_ += "\\x08");
    if (c == 'b' || c == 'B') refuse("a word boundary");
    if (c == 'e') return void(out_ += "\\x1b");
    if (c == 'Z') refuse("\\Z");
    if (c == 'u') {
      if (at_ + 4 > source_.size()) refuse("\\u without four digits");
      out_ += "\\x{" + source_.substr(at_, 4) + "}";
      at_ += 4;
      return;
    }
    if (static_cast<unsigned char>(c) >= 0x80) return void(out_ += c);
    out_ += '\\';
    out_ += c;
  }

  // A bracket expression; brackets within one are a union.
  void bracket() {
    out_ += source_[at_++];
    if (at_ < source_.size() && source_[at_] == '^') out_ += source_[at_++];
    int open = 1;
    for (bool first = true; open > 0; first = false) {
      if (at_ >= source_.size()) refuse("a bracket that is not closed");
      const char c = source_[at_];
      if (take("&&")) refuse("an intersection of classes");
      if (c == '\\') {
        escape(true);
      } else if (c == '[') {
        if (at_ + 1 < source_.size() && (source_[at_ + 1] == ':' || source_[at_ + 1] == '^')) {
          refuse("a POSIX or negated class within brackets");
        }
        ++open, ++at_;
      } else if (c == ']' && first) {
        out_ += "\\]", ++at_;
      } else if (c == ']') {
        if (--open == 0) out_ += c;
        ++at_;
      } else {
        out_ += c, ++at_;
      }
    }
  }

  void group() {
    ++at_, ++depth_;
    if (at_ >= source_.size() || source_[at_] != '?') {
      ++groups_;
      out_ += '(';
      return;
    }
    const std::string_view rest = std::string_view(source_).substr(at_);
    if (rest.starts_with("?=") || rest.starts_with("?!")) refuse("a look-ahead");
    if (rest.starts_with("?<=") || rest.starts_with("?<!")) refuse("a look-behind");
    if (rest.starts_with("?>")) refuse("an atomic group");
    if (rest.starts_with("?~") || rest.starts_with("?(")) refuse("a conditional group");
    if (rest.starts_with("?#")) {
      at_ = std::min(source_.find(')', at_), source_.size() - 1) + 1, --depth_;
      return;
    }
    out_ += "(?";
    ++at_;
    if (rest.starts_with("?<") || rest.starts_with("?P<")) {
      ++groups_;
      out_ += rest[1] == 'P' ? "" : "P";
      return;
    }
    for (; at_ < source_.size() && source_[at_] != ':' && source_[at_] != ')'; ++at_) {
      if (source_[at_] == 'x') refuse("extended syntax");
      out_ += source_[at_] == 'm' ? 's' : source_[at_];  // Ruby's m lets . match a line feed
    }
    if (at_ < source_.size()) {
      if (source_[at_] == ')') --depth_;
      out_ += source_[at_++];
    }
  }

  const std::string& source_;
  std::string out_;
  size_t at_ = 0;
  int depth_ = 0, groups_ = 0;
};

class RegexMatcher final : public Matcher {
 public:
  explicit RegexMatcher(const std::string& expression) {
    Translator translator(expression);
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(64 << 20);
    re_ = std::make_unique<re2::RE2>(translator.run(tail_group_), options);
    if (!re_->ok()) translator.refuse("what RE2 refuses (" + re_->error() + ")");
  }

  void find(std::string_view text, std::vector<Piece>& out) const override {
    if (text.empty()) return out.push_back({0, 0, false});
    const re2::StringPiece input(text.data(), text.size());
    std::array<re2::StringPiece, 17> groups;
    const int count = tail_group_ > 0 && tail_group_ < int(groups.size()) ? tail_group_ + 1 : 1;
    size_t done = 0;    // end of the last piece
    size_t from = 0;    // where to look
    bool first = true;  // no match yet
    while (from <= text.size() && re_->Match(input, from, text.size(), RE2::UNANCHORED, groups.data(), count)) {
      const auto begin = size_t(groups[0].data() - text.data());
      size_t end = begin + groups[0].size();
      if (begin == end && !first && begin == done) {  // an empty match just behind a match does not count
        if (from >= text.size()) break;
        from += unicode::sequence_length(text[from]);
        continue;
      }
      if (count > 1 && groups[size_t(tail_group_)].data() != nullptr) end = without_last(text, begin, end);
      if (done != begin) out.push_back({uint32_t(done), uint32_t(begin), false});
      out.push_back({uint32_t(begin), uint32_t(end), true});
      done = from = end;
      first = false;
    }
    if (done != text.size()) out.push_back({uint32_t(done), uint32_t(text.size()), false});
  }

 private:
  // "\s+(?!\S)|\s+": white space before a word leaves its last character to the word, unless it is the only one.
  static size_t without_last(std::string_view text, size_t begin, size_t end) {
    if (end == text.size()) return end;
    size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    return last == begin ? end : last;
  }

  std::unique_ptr<re2::RE2> re_;
  int tail_group_ = 0;
};

}  // namespace

std::shared_ptr<const Matcher> regex_matcher(const std::string& expression) {
  return std::make_shared<RegexMatcher>(expression);
}

}  // namespace caracal::tokenizers
