// Sentence embeddings from a sentence-transformers directory.
//
//   auto model = SentenceTransformer::from_pretrained("path/to/all-MiniLM-L6-v2");
//   Tensor embeddings = model.encode({"a text", "another"});   // (2, 384)
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <caracal/models/auto.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// sentence_transformers.SimilarityFunction; the distances are negative, so that more is nearer.
enum class SimilarityFunction { cosine, dot, euclidean, manhattan };

/// Each row of a (N, H) with each of b (M, H), (N, M).
Tensor similarity(SimilarityFunction function, const Tensor& a, const Tensor& b);
/// The cosine of the angle between them: sentence_transformers.util.cos_sim.
inline Tensor cosine_similarity(const Tensor& a, const Tensor& b) {
  return similarity(SimilarityFunction::cosine, a, b);
}

struct EncodeOptions {
  int64_t batch_size = 32;                          // texts per call of the model; results do not depend on it
  std::function<void(int64_t done)> progress = {};  // called after each batch with the number of texts in it
  std::optional<std::string> prompt_name = {};  // which of the checkpoint's prompts; none: its default, if it has one
  std::optional<std::string> prompt = {};       // stands before each text, in place of a named one
};

/// sentence_transformers.SentenceTransformer: the modules of modules.json in a row: Transformer, Pooling, Normalize.
class SentenceTransformer {
 public:
  /// Loads the directory. One without modules.json gets mean pooling, as in sentence-transformers. Throws unsupported
  /// for other modules or pooling modes, bad_file for a module in a folder outside the directory, and what loading
  /// does.
  static SentenceTransformer from_pretrained(const std::string& path, const LoadOptions& options = {});

  /// One embedding per text, (N, H) F32; zeros for a text without tokens. Texts longer than max_seq_length tokens are
  /// cut. Throws invalid_argument for a prompt_name that the checkpoint does not have.
  Tensor encode(const std::vector<std::string>& texts, const EncodeOptions& options = {}) const;
  /// The same with the prompt "query" or "document" unless options name another: without the default one.
  Tensor encode_query(const std::vector<std::string>& texts, const EncodeOptions& options = {}) const;
  Tensor encode_document(const std::vector<std::string>& texts, const EncodeOptions& options = {}) const;
  /// By the checkpoint's similarity_fn_name: cosine unless it says otherwise.
  Tensor similarity(const Tensor& a, const Tensor& b) const { return caracal::similarity(similarity_, a, b); }

  /// What stands before the texts. `tokens` of it are left out when the embeddings are pooled.
  struct Prompt {
    std::string text;
    int64_t tokens = 0;
  };
  Prompt prompt_of(const EncodeOptions& options) const;
  /// The texts as encode() gives them to the model, and what it makes of the model's last_hidden_state (B, S, H).
  BatchEncoding tokenize(const std::vector<std::string>& texts, const Prompt& prompt) const;
  Tensor pool(const Tensor& last_hidden_state, const BatchEncoding& encoding, const Prompt& prompt) const;

  const PreTrainedModel& model() const noexcept { return *model_; }
  const AnyModel& any_model() const noexcept { return model_; }
  const PreTrainedTokenizerBase& tokenizer() const noexcept { return tokenizer_; }
  int64_t max_seq_length() const noexcept { return max_seq_length_; }

 private:
  enum class Pooling { cls, mean, max };

  SentenceTransformer(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {}
  void read_config(const std::string& file);
  std::string unknown_prompt(const std::string& name) const;

  AnyModel model_;
  PreTrainedTokenizerBase tokenizer_;
  int64_t max_seq_length_ = 0;
  Pooling pooling_ = Pooling::mean;
  bool normalize_ = false, include_prompt_ = true;
  SimilarityFunction similarity_ = SimilarityFunction::cosine;
  std::map<std::string, std::string> prompts_{{"document", ""}, {"query", ""}};
  std::optional<std::string> default_prompt_name_;
};

}  // namespace caracal
