// Pattern: what Split and Replace look for, a string or a regular expression.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/normalized_text.h>

namespace caracal::tokenizers {

/// How a pattern's matches are found.
class Matcher {
 public:
  virtual ~Matcher() = default;
  /// Appends the pieces of `text`, which cover it in order. Time is linear in the text. Safe from many threads.
  virtual void find(std::string_view text, std::vector<Piece>& out) const = 0;
};

/// A string, or a regular expression in the syntax of Oniguruma (Ruby), as tokenizer.json has them.
class Pattern {
 public:
  static Pattern string(std::string text);
  /// Throws unsupported, showing the expression, for look-around, back-references, possessive or atomic groups other
  /// than those of the well-known tokenizers, and for what RE2 cannot run.
  static Pattern regex(std::string expression);
  /// From {"String": …} or {"Regex": …}. Throws bad_file for anything else.
  static Pattern from_json(const Json& json);
  Json to_json() const;

  void find(std::string_view text, std::vector<Piece>& out) const { matcher_->find(text, out); }

 private:
  Pattern(bool is_regex, std::string source, std::shared_ptr<const Matcher> matcher)
      : is_regex_(is_regex), source_(std::move(source)), matcher_(std::move(matcher)) {}

  bool is_regex_;
  std::string source_;
  std::shared_ptr<const Matcher> matcher_;
};

/// The pattern of GPT-2, which ByteLevel uses.
extern const char* const kGpt2Pattern;
/// The hand-written matcher for one of the well-known patterns, or null: they hold a look-ahead, and are the ones that
/// should be fast.
std::shared_ptr<const Matcher> known_matcher(std::string_view expression);
/// The matcher by RE2. Throws as Pattern::regex.
std::shared_ptr<const Matcher> regex_matcher(const std::string& expression);

}  // namespace caracal::tokenizers
