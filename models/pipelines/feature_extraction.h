// The feature-extraction pipeline: texts in, the model's last hidden states out.
#pragma once

#include <string>
#include <vector>

#include <caracal/models/auto.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// transformers.FeatureExtractionPipeline.
class FeatureExtractionPipeline {
 public:
  FeatureExtractionPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {}
  static FeatureExtractionPipeline from_pretrained(const std::string& path, const LoadOptions& options = {});

  /// The last hidden state of each text's tokens, (S, H) F32 each. Texts are not cut: one longer than the model allows
  /// throws.
  std::vector<Tensor> operator()(const std::vector<std::string>& texts) const;

  const PreTrainedModel& model() const noexcept { return *model_; }

 private:
  AnyModel model_;
  PreTrainedTokenizerBase tokenizer_;
};

}  // namespace caracal
