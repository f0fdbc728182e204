// Tokenizer: the five stages and the added tokens of a tokenizer.json, from text to tokens and back.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/added_tokens.h>
#include <caracal/tokenizers/decoders.h>
#include <caracal/tokenizers/encoding.h>
#include <caracal/tokenizers/model.h>
#include <caracal/tokenizers/normalizers.h>
#include <caracal/tokenizers/post_processors.h>
#include <caracal/tokenizers/pre_tokenizers.h>
#include <caracal/tokenizers/tokenizer_json.h>

namespace caracal::tokenizers {

/// One text: a string, or words that were split before (offsets are then within each word). Bytes that are not UTF-8
/// count as U+FFFD, one for each maximal ill-formed part.
struct Text {
  std::string_view text = {};
  std::span<const std::string> words = {};
  bool is_split = false;
};

/// Truncation as part of encoding; the post-processor's tokens count against max_length.
struct Truncation {
  size_t max_length = 512;
  size_t stride = 0;
  TruncationStrategy strategy = TruncationStrategy::do_not_truncate;
  Side side = Side::right;
  bool keep_overflow = true;  ///< false: what is cut off is not wanted
};

/// The "truncation" and "padding" of a tokenizer.json. transformers' calls replace them, so nothing here applies them;
/// they are kept for those who do, and to be saved again.
struct BakedOptions {
  Json truncation = {};
  Json padding = {};
};

/// The pipeline. Its parts are immutable and shared: copies are cheap. Const functions are safe from many threads.
class Tokenizer {
 public:
  struct Parts {
    std::shared_ptr<const Normalizer> normalizer = {};       // or null
    std::shared_ptr<const PreTokenizer> pre_tokenizer = {};  // or null: the whole text is one word
    std::shared_ptr<const Model> model = {};
    std::shared_ptr<const PostProcessor> post_processor = {};  // or null: texts are joined, type ids 0 and 1
    std::shared_ptr<const Decoder> decoder = {};               // or null: tokens are joined with spaces
  };
  explicit Tokenizer(Parts parts) : parts_(std::move(parts)) {}

  /// Reads the content of a tokenizer.json; its "truncation" and "padding" are left to the caller. Throws bad_file, or
  /// unsupported naming the component.
  static Tokenizer from_json(const Json& json);
  /// The same with the vocabulary and the merges read before.
  static Tokenizer from_json(const Json& json, const ModelData& data);
  static Tokenizer from_json(const TokenizerJson& json) { return from_json(json.content, *json.data); }
  /// Reads a tokenizer.json file.
  static Tokenizer from_file(const std::string& path);

  /// The content of a tokenizer.json, which Hugging Face's library loads to an equal tokenizer.
  Json to_json() const;
  /// Writes that to a file, as Hugging Face's library would lay it out. Throws io or not_found.
  void save(const std::string& path) const;

  const Parts& parts() const noexcept { return parts_; }
  const AddedVocabulary& added() const noexcept { return added_; }
  void set_post_processor(std::shared_ptr<const PostProcessor> p) { parts_.post_processor = std::move(p); }
  /// Registers added tokens; returns how many were new or changed.
  size_t add_tokens(const std::vector<AddedToken>& tokens);

  /// Buffers of encode; reuse one from call to call to save allocations.
  struct Workspace {
    NormalizedText text;
    std::vector<Match> matches, inner_matches;
    std::string repaired;
    RowParts parts;
    ModelScratch model;  // its surfaces grow from call to call until they are cleared
  };
  /// Text, or a pair, to tokens: ids, offsets in code points, words, types. Not padded. `split_special_tokens` treats
  /// special tokens in the text as ordinary text.
  Encoding encode(const Text& first, const Text* second, bool add_special_tokens, const Truncation& truncation,
                  bool split_special_tokens, Workspace& workspace) const;
  /// The same into `out`, whose memory is reused.
  void encode(const Text& first, const Text* second, bool add_special_tokens, const Truncation& truncation,
              bool split_special_tokens, Workspace& workspace, Encoding& out) const;
  /// Tokens to text; ids that have no token are left out.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  /// The last stage alone: tokens to text.
  std::string join(std::vector<std::string> tokens, bool skip_special_tokens = false) const;

  /// Id of a token of the model or an added one, or -1.
  int32_t token_to_id(std::string_view token) const;
  /// The token of an id; null data() when there is none.
  std::string_view id_to_token(int32_t id) const;
  /// The text of a token of an encoding made with `workspace`.
  std::string_view text_of(const Token& token, const Surfaces& surfaces) const;
  const BakedOptions& baked() const noexcept { return baked_; }
  void set_baked(BakedOptions baked) { baked_ = std::move(baked); }
  /// Tokens in the model's vocabulary, and with the added ones.
  size_t vocab_size() const noexcept { return parts_.model->vocabulary().size(); }
  size_t size() const;

 private:
  template <class MakeModel>
  static Tokenizer from_parts_of(const Json& json, MakeModel make_model);
  uint32_t surface_of(int32_t id, std::string_view matched, Workspace& workspace) const;
  void encode_text(std::string_view text, bool split_special_tokens, Workspace& workspace,
                   std::vector<Token>& out) const;
  // Runs the stages behind the search for added tokens on one part of a text. `first` is the index of its first code
  // point; `word` counts on.
  void encode_part(std::string_view part, uint32_t first, bool split_special_tokens, Workspace& workspace,
                   int32_t& word, std::vector<Token>& out) const;
  void encode_one(const Text& text, bool split_special_tokens, Workspace& workspace, Encoding& out) const;

  Parts parts_;
  AddedVocabulary added_;
  BakedOptions baked_;
};

}  // namespace caracal::tokenizers
