// Sentence embeddings from a sentence-transformers directory.
//
//   auto model = SentenceTransformer::from_pretrained("path/to/all-MiniLM-L6-v2");
//   Tensor embeddings = model.encode({"a text", "another"});   // (2, 384)
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <caracal/models/auto.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

struct EncodeOptions {
  int64_t batch_size = 32;                          // texts per call of the model; results do not depend on it
  std::function<void(int64_t done)> progress = {};  // called after each batch with the number of texts in it
};

/// sentence_transformers.SentenceTransformer: the modules of modules.json in a row: Transformer, Pooling, Normalize.
class SentenceTransformer {
 public:
  /// Loads the directory. One without modules.json gets mean pooling, as in sentence-transformers. Throws unsupported
  /// for other modules or pooling modes.
  static SentenceTransformer from_pretrained(const std::string& path, const LoadOptions& options = {});

  /// One embedding per text, (N, H) F32. Texts longer than max_seq_length tokens are cut.
  Tensor encode(const std::vector<std::string>& texts, const EncodeOptions& options = {}) const;

  /// The texts as encode() gives them to the model, and what it makes of the model's last_hidden_state (B, S, H).
  BatchEncoding tokenize(const std::vector<std::string>& texts) const;
  Tensor pool(const Tensor& last_hidden_state, const BatchEncoding& encoding) const;

  const PreTrainedModel& model() const noexcept { return *model_; }
  const AnyModel& any_model() const noexcept { return model_; }
  const PreTrainedTokenizerBase& tokenizer() const noexcept { return tokenizer_; }
  int64_t max_seq_length() const noexcept { return max_seq_length_; }

 private:
  enum class Pooling { cls, mean, max };

  SentenceTransformer(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {}

  AnyModel model_;
  PreTrainedTokenizerBase tokenizer_;
  int64_t max_seq_length_ = 0;
  Pooling pooling_ = Pooling::mean;
  bool normalize_ = false;
};

/// Cosine of the angle between each row of a (N, H) and each of b (M, H), (N, M): sentence_transformers.util.cos_sim.
Tensor cosine_similarity(const Tensor& a, const Tensor& b);

}  // namespace caracal
