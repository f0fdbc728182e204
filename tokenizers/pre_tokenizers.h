// Pre-tokenizers: the second stage of a tokenizer.json, splitting a normalised text into words.
#pragma once

#include <memory>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/normalized_text.h>

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

}  // namespace caracal::tokenizers
