// Pre-tokenizers: the second stage of a tokenizer.json, splitting a normalised text into words.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/normalized_text.h>
#include <caracal/tokenizers/pattern.h>

namespace caracal::tokenizers {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Splits further every split of `text` that is not an added token; may rewrite the text too. Safe to call from many
  /// threads.
  virtual void pre_tokenize(NormalizedText& text) const = 0;
  virtual Json to_json() const = 0;
};

/// Builds the component from the "pre_tokenizer" of a tokenizer.json; null for null. Throws unsupported naming a type
/// that is not built in.
std::shared_ptr<const PreTokenizer> pre_tokenizer_from_json(const Json& json);

/// Splits at white space, which is dropped, and around every punctuation character, which is a word of its own.
class BertPreTokenizer final : public PreTokenizer {
 public:
  BertPreTokenizer();
  void pre_tokenize(NormalizedText& text) const override;
  Json to_json() const override;

 private:
  enum class Kind : uint8_t { word, space, punctuation };
  static Kind kind_of(char32_t cp);

  std::vector<Kind> kinds_;  // of the code points below 0x3400
};

/// What happens to the matches of a pattern that splits a text.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Replaces spaces by a visible character, may put one in front, and splits before every one.
class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { always, first, never };
  Metaspace(std::string replacement, Prepend prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend), split_(split) {}
  /// From the component of a tokenizer.json, which is the same for pre-tokenizer and decoder.
  static Metaspace from_json(const Json& json);
  void pre_tokenize(NormalizedText& text) const override;
  Json to_json() const override;
  const std::string& replacement() const noexcept { return replacement_; }
  bool prepends() const noexcept { return prepend_ != Prepend::never; }

 private:
  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

/// Splits as GPT-2 does, then writes every byte as a character of GPT-2's alphabet.
class ByteLevel final : public PreTokenizer {
 public:
  struct Options {
    bool add_prefix_space = true;
    bool trim_offsets = true;
    bool use_regex = true;
  };
  explicit ByteLevel(const Options& options);
  /// From the component of a tokenizer.json, which is the same for pre-tokenizer, post-processor and decoder.
  static Options options_from_json(const Json& json);
  static Json options_to_json(const Options& options);
  void pre_tokenize(NormalizedText& text) const override;
  Json to_json() const override { return options_to_json(options_); }

 private:
  Options options_;
  std::shared_ptr<const Matcher> matcher_;
};

}  // namespace caracal::tokenizers
