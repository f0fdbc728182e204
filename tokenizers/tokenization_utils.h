// PreTrainedTokenizerBase: a tokenizer with transformers' interface, over the pipeline of tokenizer.h.
//
//   auto tokenizer = BertTokenizer::from_pretrained(dir);
//   BatchEncoding inputs = tokenizer({"a text", "another"}, {.padding = true, .truncation = true});
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/batch_encoding.h>
#include <caracal/tokenizers/tokenizer.h>

namespace caracal {

class Runtime;

/// padding: false or "do_not_pad", true or "longest", "max_length". Throws invalid_argument for another name.
class Padding {
 public:
  enum class Strategy { do_not_pad, longest, max_length };
  Padding(bool on = false) : strategy_(on ? Strategy::longest : Strategy::do_not_pad), is_false_(!on) {}
  Padding(const char* name);
  Strategy strategy() const noexcept { return strategy_; }
  bool is_false() const noexcept { return is_false_; }

 private:
  Strategy strategy_;
  bool is_false_ = false;
};

/// truncation: false or "do_not_truncate", true or "longest_first", "only_first", "only_second"; not given, max_length
/// decides. Throws invalid_argument for another name.
class Truncate {
 public:
  Truncate() = default;
  Truncate(bool on)
      : strategy_(on ? tokenizers::TruncationStrategy::longest_first
                     : tokenizers::TruncationStrategy::do_not_truncate) {}
  Truncate(const char* name);
  bool given() const noexcept { return strategy_.has_value(); }
  tokenizers::TruncationStrategy strategy() const noexcept {
    return strategy_.value_or(tokenizers::TruncationStrategy::do_not_truncate);
  }

 private:
  std::optional<tokenizers::TruncationStrategy> strategy_;
};

/// The keyword arguments of a tokenizer call; names and defaults are transformers'.
struct TokenizeOptions {
  bool add_special_tokens = true;
  Padding padding = false;
  Truncate truncation = {};
  std::optional<int64_t> max_length = std::nullopt;  ///< default: model_max_length where something needs it
  int64_t stride = 0;                                ///< tokens by which overflowing chunks overlap
  bool is_split_into_words = false;                  ///< a list of strings is one text, cut into words
  std::optional<int64_t> pad_to_multiple_of = std::nullopt;
  std::optional<std::string> padding_side = std::nullopt;   ///< "right" or "left"; default: the tokenizer's
  bool return_overflowing_tokens = false;                   ///< one row more for each chunk that was cut off
  std::optional<bool> split_special_tokens = std::nullopt;  ///< read special tokens in the text as ordinary text
  Runtime* runtime = nullptr;                               ///< spreads the texts of a batch over its threads
};

/// One element of a batch: a text or a pair of texts. Holds views.
struct TextInput {
  std::string_view text;
  std::optional<std::string_view> pair;
  TextInput(const char* t) : text(t) {}
  TextInput(const std::string& t) : text(t) {}
  TextInput(std::string_view t) : text(t) {}
  TextInput(std::string_view t, std::string_view p) : text(t), pair(p) {}
};

/// What transformers' from_pretrained gathers from a directory before it makes a tokenizer.
struct TokenizerFiles {
  Json init_kwargs{Json::Object{}};      ///< tokenizer_config.json, special_tokens_map.json, then the overrides
  std::string init_source;               ///< what init_kwargs came from, for in_file: a path, and "or …"
  std::vector<AddedToken> added_tokens;  ///< in the order of their ids
  Json tokenizer_json;                   ///< tokenizer.json, or null; without the vocab and merges of its model
  std::shared_ptr<tokenizers::ModelData> model_data = {};  ///< those
  std::string tokenizer_file;                              ///< path of tokenizer.json, or empty
  std::string vocab_file;                                  ///< path of vocab.txt or vocab.json, or empty
  std::string merges_file;                                 ///< path of merges.txt, or empty
};
/// Reads a directory, a tokenizer.json, a vocab.txt or a vocab.json. `overrides` win over tokenizer_config.json;
/// `vocabulary` names the one that the class reads when a directory holds both, "vocab.txt" or "vocab.json". Throws
/// not_found when there is none of them.
TokenizerFiles read_tokenizer_files(const std::string& path, const Json& overrides = {},
                                    std::string_view vocabulary = "vocab.txt");
/// The same from arguments of transformers' __init__ alone: "vocab_file", "merges_file" or "tokenizer_file" name the
/// files, all others are options. Throws invalid_argument when no file is named.
TokenizerFiles tokenizer_files_of(const Json& arguments);
/// `files` with `defaults` for the arguments that are not given.
TokenizerFiles with_defaults(TokenizerFiles files, const Json& defaults);
/// A bool among the arguments; `otherwise` when it is not given, or null.
bool flag_of(const TokenizerFiles& files, const char* key, bool otherwise);
/// The content of a special token among the arguments, or `otherwise`.
std::string token_of(const TokenizerFiles& files, const char* key, const char* otherwise);
/// The model's vocabulary, and its merges (none without merges.txt), from tokenizer.json or else the plain files.
std::shared_ptr<const tokenizers::ModelData> model_data_of(const TokenizerFiles& files);

/// transformers' clean_up_tokenization: takes out the space before punctuation and English contractions; differs a
/// little from the WordPiece decoder's.
std::string clean_up_tokenization(std::string text);

/// transformers' PreTrainedTokenizerBase. A value: copies are independent and share what they can. Calls that do not
/// change it are const and safe from many threads.
class PreTrainedTokenizerBase {
 public:
  /// Takes special tokens, padding_side, truncation_side, model_max_length, model_input_names, … from
  /// `files.init_kwargs` as transformers' __init__ does, and adds the tokens that the pipeline lacks. `class_name` is
  /// the name in tokenizer_config.json.
  PreTrainedTokenizerBase(tokenizers::Tokenizer pipeline, const TokenizerFiles& files, std::string class_name);

  /// A single text or pair. An empty second text counts as none, as in transformers.
  BatchEncoding operator()(const TextInput& text, const TokenizeOptions& options = {}) const;
  BatchEncoding operator()(std::string_view text, std::string_view text_pair,
                           const TokenizeOptions& options = {}) const;
  /// A batch of texts or of {text, pair}: tokenizer({"a", "b"}), tokenizer({{"a", "b"}, {"c", "d"}}).
  BatchEncoding operator()(std::initializer_list<TextInput> texts, const TokenizeOptions& options = {}) const;
  BatchEncoding operator()(std::span<const TextInput> texts, const TokenizeOptions& options = {}) const;
  /// A batch; or with is_split_into_words one text cut into words.
  BatchEncoding operator()(const std::vector<std::string>& texts, const TokenizeOptions& options = {}) const;
  /// Pairs (texts[i], pairs[i]): tokenizer({"a", "c"}, {"b", "d"}); or with is_split_into_words one pair cut into
  /// words. Throws when the counts differ.
  BatchEncoding operator()(std::initializer_list<std::string> texts, std::initializer_list<std::string> pairs,
                           const TokenizeOptions& options = {}) const;
  BatchEncoding operator()(const std::vector<std::string>& texts, std::initializer_list<std::string> pairs,
                           const TokenizeOptions& options = {}) const;
  BatchEncoding operator()(const std::vector<std::string>& texts, std::span<const std::string> pairs,
                           const TokenizeOptions& options = {}) const;
  /// A batch of texts cut into words, and of pairs of them; is_split_into_words is implied.
  BatchEncoding operator()(const std::vector<std::vector<std::string>>& texts,
                           const TokenizeOptions& options = {}) const;
  BatchEncoding operator()(const std::vector<std::vector<std::string>>& texts,
                           std::initializer_list<std::vector<std::string>> pairs,
                           const TokenizeOptions& options = {}) const;
  BatchEncoding operator()(const std::vector<std::vector<std::string>>& texts,
                           std::span<const std::vector<std::string>> pairs, const TokenizeOptions& options = {}) const;

  /// The same as a call, into `out`, whose memory is reused: with texts no longer than before, and no row that
  /// overflows, nothing is allocated. After an error the rows of `out` hold anything.
  void encode(std::span<const TextInput> texts, const TokenizeOptions& options, BatchEncoding& out) const;
  void encode(std::string_view text, const TokenizeOptions& options, BatchEncoding& out) const;

  /// The tokens of a text, without special ones.
  std::vector<std::string> tokenize(std::string_view text) const;
  /// Ids to text. `clean_up_tokenization_spaces` defaults to the tokenizer's setting; as in transformers it does
  /// nothing with a BPE model, whose spaces it would spoil.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false,
                     std::optional<bool> clean_up_tokenization_spaces = std::nullopt) const;
  std::vector<std::string> batch_decode(const std::vector<std::vector<int32_t>>& ids, bool skip_special_tokens = false,
                                        std::optional<bool> clean_up_tokenization_spaces = std::nullopt) const;

  /// The id of a token; that of the unknown token for one that is not in the vocabulary. Throws not_found when there
  /// is no unknown token either.
  int32_t convert_tokens_to_ids(std::string_view token) const;
  std::vector<int32_t> convert_tokens_to_ids(std::span<const std::string> tokens) const;
  /// The token of an id; throws invalid_argument for an id without token.
  std::string convert_ids_to_tokens(int32_t id) const;
  std::vector<std::string> convert_ids_to_tokens(std::span<const int32_t> ids, bool skip_special_tokens = false) const;
  std::string convert_tokens_to_string(std::vector<std::string> tokens) const;

  /// Size of the model's vocabulary, and with the added tokens (Python's len).
  int64_t vocab_size() const { return int64_t(pipeline_->vocab_size()); }
  int64_t size() const { return int64_t(pipeline_->size()); }
  /// All tokens with their ids, in the order of ids.
  std::vector<std::pair<std::string, int32_t>> get_vocab() const;
  /// The added tokens with their ids.
  std::vector<std::pair<int32_t, AddedToken>> added_tokens_decoder() const;

  /// Named special tokens; "name" is "pad_token", "cls_token", …. None when the tokenizer has no such token.
  std::optional<std::string> special_token(std::string_view name) const;
  std::optional<int32_t> special_token_id(std::string_view name) const;
  std::optional<std::string> bos_token() const { return special_token("bos_token"); }
  std::optional<std::string> eos_token() const { return special_token("eos_token"); }
  std::optional<std::string> unk_token() const { return special_token("unk_token"); }
  std::optional<std::string> sep_token() const { return special_token("sep_token"); }
  std::optional<std::string> pad_token() const { return special_token("pad_token"); }
  std::optional<std::string> cls_token() const { return special_token("cls_token"); }
  std::optional<std::string> mask_token() const { return special_token("mask_token"); }
  std::optional<int32_t> bos_token_id() const { return special_token_id("bos_token"); }
  std::optional<int32_t> eos_token_id() const { return special_token_id("eos_token"); }
  std::optional<int32_t> unk_token_id() const { return special_token_id("unk_token"); }
  std::optional<int32_t> sep_token_id() const { return special_token_id("sep_token"); }
  std::optional<int32_t> pad_token_id() const { return special_token_id("pad_token"); }
  std::optional<int32_t> cls_token_id() const { return special_token_id("cls_token"); }
  std::optional<int32_t> mask_token_id() const { return special_token_id("mask_token"); }
  /// Named special tokens that are set, then the extra ones, each once.
  std::vector<std::string> all_special_tokens() const;
  std::vector<int32_t> all_special_ids() const;
  const std::vector<std::string>& extra_special_tokens() const noexcept { return extra_special_tokens_; }

  /// Adds tokens to match as a whole; returns how many were added, as transformers counts. New ids follow size().
  size_t add_tokens(const std::vector<AddedToken>& tokens, bool special_tokens = false);
  size_t add_tokens(const std::vector<std::string>& tokens, bool special_tokens = false);
  /// Sets named special tokens, and "extra_special_tokens" (a list), adding those that are new. Throws
  /// invalid_argument for another name or bad_file for a value that is no token, and then changes nothing.
  size_t add_special_tokens(const Json& tokens);
  /// Special tokens that a call adds to one text or a pair.
  size_t num_special_tokens_to_add(bool pair = false) const;

  /// Tokens the model takes; kVeryLargeInteger when the files do not say. As in transformers any number is taken, and a
  /// call that needs it throws invalid_argument for a negative one.
  static constexpr int64_t kVeryLargeInteger = std::numeric_limits<int64_t>::max();
  int64_t model_max_length() const noexcept { return model_max_length_; }
  void set_model_max_length(int64_t length) { model_max_length_ = length; }
  const std::string& padding_side() const noexcept { return padding_side_; }
  const std::string& truncation_side() const noexcept { return truncation_side_; }
  void set_padding_side(const std::string& side);
  void set_truncation_side(const std::string& side);
  const std::vector<std::string>& model_input_names() const noexcept { return model_input_names_; }
  bool clean_up_tokenization_spaces() const noexcept { return clean_up_tokenization_spaces_; }
  const std::string& class_name() const noexcept { return class_name_; }
  /// What the files ask for and is not done, as sentences: Python code that an auto_map names. Pipelines log them.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  /// False for the classes that run the plain algorithm.
  bool is_fast() const noexcept { return slow_vocabulary_file_.empty(); }
  /// Writes tokenizer_config.json and tokenizer.json (or vocab.json and added_tokens.json, for classes that have no
  /// tokenizer.json) into `directory`, made when it is not there; transformers loads them to an equal tokenizer. What
  /// is there of another tokenizer and would be loaded in their place, or beside them, is removed. Throws io.
  void save_pretrained(const std::string& directory) const;
  /// The pipeline beneath.
  const tokenizers::Tokenizer& backend_tokenizer() const noexcept { return *pipeline_; }

 protected:
  /// For classes without tokenizer.json: the vocabulary file that save_pretrained writes, vocab.txt or vocab.json.
  void set_slow(std::string vocabulary_file) { slow_vocabulary_file_ = std::move(vocabulary_file); }
  void set_post_processor(std::shared_ptr<const tokenizers::PostProcessor> post_processor);

 private:
  struct Sample {
    tokenizers::Text first;
    std::optional<tokenizers::Text> second;
  };
  BatchEncoding encode(std::span<const Sample> samples, const TokenizeOptions& options) const;
  template <class SampleAt>  // gives the Sample of an index
  void encode(size_t count, const SampleAt& sample_at, const TokenizeOptions& options, BatchEncoding& out) const;
  void set_special_token(const std::string& name, const std::string& content);
  void read_settings(const TokenizerFiles& files);

  std::shared_ptr<const tokenizers::Tokenizer> pipeline_;
  std::vector<std::pair<std::string, std::string>> special_tokens_;  // "cls_token" -> "[CLS]"; transformers' order
  std::vector<std::string> extra_special_tokens_;
  std::vector<std::string> model_input_names_;
  std::vector<std::string> warnings_;
  std::string padding_side_ = "right";
  std::string truncation_side_ = "right";
  std::string class_name_;
  int64_t model_max_length_ = kVeryLargeInteger;
  bool clean_up_tokenization_spaces_ = false;
  bool clean_up_bpe_too_ = false;
  bool split_special_tokens_ = false;
  std::string slow_vocabulary_file_;
  Json init_kwargs_;
};

/// transformers' PreTrainedTokenizer: base of the classes that run the plain algorithm over vocabulary files.
class PreTrainedTokenizer : public PreTrainedTokenizerBase {
 protected:
  PreTrainedTokenizer(tokenizers::Tokenizer pipeline, const TokenizerFiles& files, std::string class_name,
                      std::string vocabulary_file)
      : PreTrainedTokenizerBase(std::move(pipeline), files, std::move(class_name)) {
    set_slow(std::move(vocabulary_file));
  }
};

/// transformers' PreTrainedTokenizerFast: exactly what a tokenizer.json says.
class PreTrainedTokenizerFast : public PreTrainedTokenizerBase {
 public:
  using PreTrainedTokenizerBase::PreTrainedTokenizerBase;
  /// `path` is a directory with a tokenizer.json, or the file itself.
  static PreTrainedTokenizerFast from_pretrained(const std::string& path, const Json& overrides = {});
  /// In place of a class of transformers that has none here: save_pretrained writes its name, and scores are exact.
  static PreTrainedTokenizerFast in_place_of(const std::string& class_name, const std::string& path,
                                             const Json& overrides);

 private:
  static PreTrainedTokenizerFast load(const std::string& path, const Json& overrides, const std::string& class_name,
                                      bool exact_scores);
};

}  // namespace caracal
