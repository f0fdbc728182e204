// Normalizers: the first stage of a tokenizer.json, cleaning a text before it is split into words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/normalized_text.h>

namespace caracal::tokenizers {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Rewrites `text` in place, keeping its origins. Safe to call from many threads.
  virtual void normalize(NormalizedText& text) const = 0;
  /// The component as it stands in a tokenizer.json.
  virtual Json to_json() const = 0;
};

/// Builds the component from the "normalizer" of a tokenizer.json; null for null. Throws unsupported naming a type that
/// is not built in.
std::shared_ptr<const Normalizer> normalizer_from_json(const Json& json);

/// BERT's cleaning: control characters out, white space to ' ', spaces around Chinese characters, accents off, lower
/// case; each step is optional.
class BertNormalizer final : public Normalizer {
 public:
  struct Options {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool strip_accents = true;
    bool lowercase = true;
  };
  explicit BertNormalizer(const Options& options);

  void normalize(NormalizedText& text) const override;
  Json to_json() const override;

 private:
  Options options_;
  // Code points below 0x3400 that become one other and need no reordering; 0 for those that take the long way.
  std::vector<uint16_t> simple_;
};

/// NFD, NFKD, NFC, NFKC, by the tables of the reference's (older) Unicode.
class UnicodeNormalizer final : public Normalizer {
 public:
  UnicodeNormalizer(bool compatible, bool compose) : compatible_(compatible), compose_(compose) {}
  void normalize(NormalizedText& text) const override;
  Json to_json() const override;

 private:
  bool compatible_, compose_;
};

/// SentencePiece's rewriting rules, a trie of byte strings that ride base64-coded in the file.
class Precompiled final : public Normalizer {
 public:
  /// Throws bad_file when the rules are damaged.
  explicit Precompiled(std::string base64);
  void normalize(NormalizedText& text) const override;
  Json to_json() const override;

 private:
  // The replacement of the shortest rule that `chunk` begins with, or null data().
  std::string_view find(std::string_view chunk) const;

  std::string base64_;
  std::vector<uint32_t> trie_;
  std::string replacements_;  // each ends with NUL
  std::vector<bool> plain_;   // ASCII characters that no rule changes when they stand alone
};

}  // namespace caracal::tokenizers
