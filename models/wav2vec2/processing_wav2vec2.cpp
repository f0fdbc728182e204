#include <caracal/models/wav2vec2/processing_wav2vec2.h>

#include <caracal/loaders/hub_cache.h>

#include <utility>

namespace caracal {

Wav2Vec2Processor::Wav2Vec2Processor(Wav2Vec2FeatureExtractor feature_extractor, Wav2Vec2CTCTokenizer tokenizer)
    : feature_extractor_(std::move(feature_extractor)), tokenizer_(std::move(tokenizer)) {}

Wav2Vec2Processor Wav2Vec2Processor::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::processor, overrides);
  return {Wav2Vec2FeatureExtractor::from_pretrained(at.path, at.overrides),
          Wav2Vec2CTCTokenizer::from_pretrained(at.path)};
}

BatchFeature Wav2Vec2Processor::operator()(const std::vector<Tensor>& audio, const std::vector<std::string>& text,
                                           const FeatureExtractorOptions& audio_options,
                                           const TokenizeOptions& text_options) const {
  BatchFeature features = feature_extractor_(audio, audio_options);
  const BatchEncoding encoding = tokenizer_(text, text_options);
  std::vector<Tensor> labels;
  for (size_t i = 0; i < encoding.size(); i++) {
    const std::vector<int32_t> ids = encoding.input_ids(i);
    labels.push_back(Tensor::from(std::vector<int64_t>(ids.begin(), ids.end()), {int64_t(ids.size())}));
  }
  features.set("labels", std::move(labels));
  return features;
}

void Wav2Vec2Processor::save_pretrained(const std::string& directory) const {
  save_processor_config(directory, "Wav2Vec2Processor", "feature_extractor", feature_extractor_.to_dict());
  tokenizer_.save_pretrained(directory);
}

}  // namespace caracal
