// Models: the third stage of a tokenizer.json, turning words into tokens of a vocabulary.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/encoding.h>
#include <caracal/tokenizers/normalized_text.h>
#include <caracal/tokenizers/vocabulary.h>

namespace caracal::tokenizers {

class Model {
 public:
  explicit Model(const std::vector<Vocabulary::Entry>& entries) : vocabulary_(entries) {}
  virtual ~Model() = default;
  /// Appends the tokens of `words` (none is an added token) to `out`, with ids, spans of original code points and
  /// consecutive word numbers from `first_word` on. Safe to call from many threads.
  virtual void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word,
                        std::vector<Token>& out) const = 0;
  virtual Json to_json() const = 0;

  const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

/// Builds the component from the "model" of a tokenizer.json. Throws unsupported naming a type that is not built in.
std::shared_ptr<const Model> model_from_json(const Json& json);

/// Greedy longest match first: a word is the longest token it starts with, then the longest "##" token, and so on; a
/// word with a part that no token matches, or with too many characters, is one unknown token.
class WordPiece final : public Model {
 public:
  struct Options {
    std::string unk_token = "[UNK]";
    std::string continuing_subword_prefix = "##";
    size_t max_input_chars_per_word = 100;
  };
  WordPiece(const std::vector<Vocabulary::Entry>& entries, const Options& options);

  /// Throws invalid_argument when an unknown token is needed but not in the vocabulary.
  void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word,
                std::vector<Token>& out) const override;
  Json to_json() const override;

 private:
  // Appends the pieces of one word; false, with nothing appended, when some part matches no token.
  bool pieces(const NormalizedText& text, const Split& word, int32_t number, std::vector<Token>& out) const;

  // Bytes of the longest token, without the prefix, that begins with these two bytes; 255 for more. At least 1.
  using Lengths = std::vector<uint8_t>;

  Options options_;
  uint64_t continuing_hash_;
  int32_t unk_id_;
  Lengths first_lengths_, continuing_lengths_;
};

/// The "vocab" of a model: an object of tokens and ids. Throws bad_file for an id that is not a 31-bit number.
std::vector<Vocabulary::Entry> vocabulary_from_json(const Json& vocab);
/// Reads a vocab.txt: one token a line, its id is the line number. Throws not_found or io.
std::vector<Vocabulary::Entry> read_vocab_txt(const std::string& path);

}  // namespace caracal::tokenizers
