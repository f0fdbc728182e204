// Models: the third stage of a tokenizer.json, turning words into tokens of a vocabulary.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/encoding.h>
#include <caracal/tokenizers/normalized_text.h>
#include <caracal/tokenizers/text_list.h>
#include <caracal/tokenizers/trie.h>
#include <caracal/tokenizers/vocabulary.h>

namespace caracal::tokenizers {

/// Buffers of a model; reuse one from text to text to save allocations.
struct ModelScratch {
  /// A symbol of a word on its way to tokens.
  struct Symbol {
    int32_t id;
    uint32_t size;           // bytes of the word it stands for; 0 when it was merged away
    int32_t previous, next;  // indices, or -1
  };
  /// A merge that may be made, the one of lowest rank first.
  struct Merge {
    uint32_t rank, at;
    int32_t id;
  };
  /// The best way to the end of a prefix of a word.
  struct Step {
    double score;
    int32_t id;
    uint32_t begin;
  };
  std::vector<Symbol> symbols;
  std::vector<Merge> merges;
  std::vector<std::vector<uint32_t>> places;  // by rank: where that merge may be made
  bool merging = false;                       // until all of them are used
  std::vector<uint32_t> ranks;                // a heap of the ranks that have places, the lowest on top
  std::vector<Step> steps;
  std::vector<uint32_t> ends;
  Surfaces surfaces;
};

class Model {
 public:
  explicit Model(const TokenList& tokens) : vocabulary_(tokens) {}
  virtual ~Model() = default;
  /// Appends the tokens of `words` (none is an added token) to `out`, with ids, spans of original code points and
  /// consecutive word numbers from `first_word` on. Safe to call from many threads.
  virtual void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word,
                        ModelScratch& scratch, std::vector<Token>& out) const = 0;
  virtual Json to_json() const = 0;
  /// What marks a token that does not begin a word ("##"); empty when nothing does.
  virtual std::string_view continuing_subword_prefix() const noexcept { return {}; }

  const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

/// What a model remembers about its tokens: whether the text of a token, met as a word, becomes that one token. Filled
/// as words come by; of fixed size, and without a lock as every thread finds the same answer.
class WholeWords {
 public:
  enum class Answer : uint8_t { unknown, yes, no };
  explicit WholeWords(size_t tokens) : answers_(std::make_unique<std::atomic<Answer>[]>(tokens)) {}
  Answer get(int32_t id) const noexcept { return answers_[size_t(id)].load(std::memory_order_relaxed); }
  void set(int32_t id, bool is_whole) const noexcept {
    answers_[size_t(id)].store(is_whole ? Answer::yes : Answer::no, std::memory_order_relaxed);
  }

 private:
  std::unique_ptr<std::atomic<Answer>[]> answers_;
};

struct ModelData;
/// Builds the component from the "model" of a tokenizer.json. Throws unsupported naming a type that is not built in.
std::shared_ptr<const Model> model_from_json(const Json& json);
/// The same with the vocabulary and the merges read before; those of `json` are not looked at but for their type.
std::shared_ptr<const Model> model_from_json(const Json& json, const ModelData& data);

/// Greedy longest match first: a word is the longest token it starts with, then the longest "##" token, and so on; a
/// word with a part that no token matches, or with too many characters, is one unknown token.
class WordPiece final : public Model {
 public:
  struct Options {
    std::string unk_token = "[UNK]";
    std::string continuing_subword_prefix = "##";
    size_t max_input_chars_per_word = 100;
  };
  WordPiece(const TokenList& tokens, const Options& options);
  std::string_view continuing_subword_prefix() const noexcept override { return options_.continuing_subword_prefix; }

  /// Throws invalid_argument when an unknown token is needed but not in the vocabulary.
  void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch& scratch,
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

/// A word is one token, or the unknown one.
class WordLevel final : public Model {
 public:
  WordLevel(const TokenList& tokens, std::string unk_token);
  /// Throws invalid_argument when an unknown token is needed but not in the vocabulary.
  void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch& scratch,
                std::vector<Token>& out) const override;
  Json to_json() const override;

 private:
  std::string unk_token_;
  int32_t unk_id_;
};

/// Byte-pair encoding: the characters of a word are merged pair by pair, the merge of lowest rank first.
class BPE final : public Model {
 public:
  struct Options {
    std::optional<std::string> unk_token = {};
    std::optional<std::string> continuing_subword_prefix = {};  // of all characters but the first
    std::optional<std::string> end_of_word_suffix = {};         // of the last character
    bool fuse_unk = false;                                      // unknown characters in a row are one token
    bool byte_fallback = false;                                 // an unknown character becomes tokens "<0x..>"
    bool ignore_merges = false;                                 // a word of the vocabulary is taken as it is
  };
  /// Throws bad_file for a merge that names, or makes, a token the vocabulary lacks.
  BPE(const TokenList& tokens, const MergeList& merges, const Options& options);
  std::string_view continuing_subword_prefix() const noexcept override {
    return options_.continuing_subword_prefix ? std::string_view(*options_.continuing_subword_prefix)
                                              : std::string_view();
  }

  void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch& scratch,
                std::vector<Token>& out) const override;
  Json to_json() const override;

 private:
  // Two ids, and that of what they become.
  struct Merge {
    int32_t left = 0, right = 0, id = 0;
  };
  // Where a merge is found by its ids.
  struct Slot {
    uint32_t fingerprint = 0;
    uint32_t rank = UINT32_MAX;  // in a free place
  };
  const Merge* find_pair(int32_t left, int32_t right) const noexcept;
  uint32_t rank_of(const Merge& merge) const noexcept { return uint32_t(&merge - merges_.data()); }
  int32_t find_character(std::string_view character, bool first, bool last, std::string& buffer) const;
  void characters(std::string_view word, ModelScratch& scratch) const;
  void merge_short(std::vector<ModelScratch::Symbol>& symbols) const;
  void merge_by_rank(ModelScratch& scratch) const;
  void merge_by_queue(ModelScratch& scratch) const;
  // Merges the symbol at `at` with the next when that still makes `id`; then calls offer for the two new pairs.
  template <class Offer>
  void merge_at(std::vector<ModelScratch::Symbol>& symbols, uint32_t at, int32_t id, Offer offer) const;

  Options options_;
  std::vector<Slot> slots_;  // a power of two, at most half full
  int shift_ = 63;
  std::vector<Merge> merges_;   // by rank
  std::vector<int32_t> small_;  // ids of characters below U+0400: by [last][first], or -1
  int32_t unk_id_ = -1;
  bool in_order_ = true;  // no merge uses what a later one makes
  WholeWords whole_;
};

/// Unigram language model: of all ways to cut a word, the one whose tokens have the highest sum of scores.
class Unigram final : public Model {
 public:
  /// What a tokenizer.json says the score of a token is.
  struct Score {
    double exact;
    double parsed;  ///< as the reference's JSON parser reads it, which may be a unit in the last place off
  };
  /// The score that is written with the fewest digits.
  static Score score_of(double exact);
  /// A score as the reference reads it that is written as significand times 10^exponent, above 10^-36.
  static double parsed_score(uint64_t significand, int exponent) noexcept;
  /// Ids count up from 0, a score each. `exact_scores`: see ModelData. Throws bad_file when unk_id is not below the
  /// number of tokens.
  Unigram(const TokenList& tokens, const std::vector<Score>& scores, std::optional<size_t> unk_id, bool byte_fallback,
          bool exact_scores);

  /// Throws invalid_argument when an unknown token is needed but there is none.
  void tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch& scratch,
                std::vector<Token>& out) const override;
  Json to_json() const override;

 private:
  void best_path(std::string_view word, ModelScratch& scratch) const;

  std::vector<double> scores_;              // exact, or as the reference reads them
  std::vector<double> exact_scores_;        // for to_json, when scores_ are not
  std::map<size_t, std::string> repeated_;  // texts of pieces that a later one repeats, for to_json
  Trie trie_;
  double unk_score_ = 0;
  int32_t unk_id_ = -1;
  bool byte_fallback_;
  std::array<int32_t, 256> byte_ids_;  // of "<0x00>" …, or -1
  WholeWords whole_;
};

/// The large parts of a model in a tokenizer.json: "vocab" (an object, or Unigram's list) and "merges".
struct ModelData {
  TokenList vocabulary = {};
  std::vector<Unigram::Score> scores = {};
  MergeList merges = {};
  /// False: scores become what Hugging Face's tokenizers reads, which may be a unit in the last place off. True: what
  /// they are, as transformers' named classes read them (T5Tokenizer, AlbertTokenizer, …). It decides ties.
  bool exact_scores = false;
};
/// Reads them from the "model" of a tokenizer.json. Throws bad_file.
ModelData model_data_from_json(const Json& model);

/// The "vocab" of a model: an object of tokens and ids. Throws bad_file for an id that is not a 31-bit
/// number.
TokenList vocabulary_from_json(const Json& vocab);
/// The vocabulary as that object, in the order of ids.
Json vocabulary_to_json(const Vocabulary& vocabulary);
/// Reads a merges.txt into data.merges: one merge a line; lines that begin with "#version" are left out. Throws
/// not_found, io or bad_file.
void read_merges_txt(const std::string& path, ModelData& data);
/// Reads a vocab.txt into data.vocabulary: one token a line, its id is the line number. Throws not_found, io or
/// bad_file.
void read_vocab_txt(const std::string& path, ModelData& data);

}  // namespace caracal::tokenizers
