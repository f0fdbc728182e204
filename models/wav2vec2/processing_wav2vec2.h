// Wav2Vec2Processor: a feature extractor and a CTC tokenizer as one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>
#include <caracal/models/wav2vec2/tokenization_wav2vec2.h>

namespace caracal {

/// transformers.Wav2Vec2Processor. Immutable; may be called from several threads at once.
class Wav2Vec2Processor {
 public:
  Wav2Vec2Processor(Wav2Vec2FeatureExtractor feature_extractor, Wav2Vec2CTCTokenizer tokenizer);
  /// From a checkpoint directory: processor_config.json or preprocessor_config.json, and the tokenizer's files.
  static Wav2Vec2Processor from_pretrained(const std::string& path, const Json& overrides = {});

  /// Sound alone: the feature extractor's result.
  BatchFeature operator()(const std::vector<Tensor>& audio, const FeatureExtractorOptions& options = {}) const {
    return feature_extractor_(audio, options);
  }
  /// Text alone: the tokenizer's result.
  BatchEncoding operator()(const std::vector<std::string>& text, const TokenizeOptions& options = {}) const {
    return tokenizer_(text, options);
  }
  /// Both: the sound's features and `labels`, the ids of each text (N) I64.
  BatchFeature operator()(const std::vector<Tensor>& audio, const std::vector<std::string>& text,
                          const FeatureExtractorOptions& audio_options = {},
                          const TokenizeOptions& text_options = {}) const;

  /// Frames' ids to text; see Wav2Vec2CTCTokenizer.
  Wav2Vec2CTCTokenizerOutput decode(std::span<const int32_t> ids, const Wav2Vec2DecodeOptions& options = {}) const {
    return tokenizer_.decode(ids, options);
  }
  std::vector<Wav2Vec2CTCTokenizerOutput> batch_decode(const std::vector<std::vector<int32_t>>& ids,
                                                       const Wav2Vec2DecodeOptions& options = {}) const {
    return tokenizer_.batch_decode(ids, options);
  }

  const Wav2Vec2FeatureExtractor& feature_extractor() const noexcept { return feature_extractor_; }
  const Wav2Vec2CTCTokenizer& tokenizer() const noexcept { return tokenizer_; }
  /// Writes processor_config.json and the tokenizer's files, which transformers loads back.
  void save_pretrained(const std::string& directory) const;

 private:
  Wav2Vec2FeatureExtractor feature_extractor_;
  Wav2Vec2CTCTokenizer tokenizer_;
};

}  // namespace caracal
