// Any JSON as preprocessor_config.json of the feature extractor, which then takes two sounds: an Error or features,
// never more. The JSON's members are the arguments of the call, too.
#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>

#include "fuzzing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  const Json json = json_of(data, size);
  static const std::vector<Tensor> sounds{Tensor::zeros({50}), Tensor::zeros({7})};
  FeatureExtractorOptions options{.padding = "longest", .pad_to_multiple_of = 7, .return_attention_mask = true};
  auto number = [&](const char* key, int64_t& to) {
    const Json* value = json.find(key);
    // Lengths that are allowed but slow to fill would only tell how large they are.
    if (value != nullptr && value->is_integer() && (value->as_int() < 100'000 || value->as_int() > 1LL << 32))
      to = value->as_int();
  };
  number("max_length", options.max_length);
  number("pad_to_multiple_of", options.pad_to_multiple_of);
  number("call_sampling_rate", options.sampling_rate);
  if (const Json* value = json.find("padding"); value != nullptr && value->is_string())
    options.padding = value->as_string();
  if (const Json* value = json.find("mask"); value != nullptr) options.return_attention_mask = *value;
  options.truncation = json.contains("truncation");
  try_to([&] {
    const Wav2Vec2FeatureExtractor extractor(json);
    extractor.str(), extractor(sounds, options);
  });
  return 0;
}
