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

BatchFeature Wav2Vec2Processor::pad(const std::vector<std::vector<int32_t>>& labels,
                                    const FeatureExtractorOptions& options) const {
  const auto pad_id = tokenizer_.pad_token_id();
  if (options.truncation || (!options.padding.empty() && !pad_id))
    throw Error(ErrorCode::invalid_argument, "Wav2Vec2Processor: pad",
                options.truncation ? "expected no truncation with labels but got it"
                                   : "expected a tokenizer with a pad token but got one without");
  std::vector<Tensor> ids, masks;
  BatchFeature lengths;
  for (const auto& row : labels) ids.push_back(Tensor::from(std::vector<float>(row.size()), {int64_t(row.size())}));
  lengths.set("input_values", std::move(ids));
  // The feature extractor knows the rules for lengths, which are the tokenizer's, too.
  const Wav2Vec2FeatureExtractor ruler({{"padding_side", tokenizer_.padding_side()}, {"return_attention_mask", true}});
  const BatchFeature padded = ruler.pad(lengths, options);
  ids = {};
  for (size_t i = 0; i < labels.size(); i++) {
    const Tensor mask = padded.list("attention_mask")[i].to(DType::I64);
    Tensor row = Tensor::empty(mask.shape(), DType::I64);
    auto next = labels[i].begin();
    for (int64_t j = 0; j < row.numel(); j++) row.data<int64_t>()[j] = mask.data<int64_t>()[j] != 0 ? *next++ : *pad_id;
    ids.push_back(std::move(row));
    masks.push_back(mask);
  }
  BatchFeature features;
  features.set("input_ids", std::move(ids));
  features.set("attention_mask", std::move(masks));
  return features;
}

BatchFeature Wav2Vec2Processor::pad(const BatchFeature& input_features, const std::vector<std::vector<int32_t>>& labels,
                                    const FeatureExtractorOptions& options) const {
  const BatchFeature padded = pad(labels, options);
  BatchFeature features = feature_extractor_.pad(input_features, options);
  features.set("labels", padded.list("input_ids"));
  return features;
}

void Wav2Vec2Processor::save_pretrained(const std::string& directory) const {
  save_processor_config(directory, "Wav2Vec2Processor", "feature_extractor", feature_extractor_.to_dict());
  tokenizer_.save_pretrained(directory);
}

}  // namespace caracal
