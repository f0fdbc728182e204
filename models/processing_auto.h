// AutoProcessor: whatever turns raw input into a checkpoint's model inputs.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include <caracal/models/image_processing_auto.h>
#include <caracal/models/layoutlmv2/processing_layoutlmv2.h>
#include <caracal/models/wav2vec2/processing_wav2vec2.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// What AutoProcessor may give: a processor, or where a model has none, its tokenizer, image processor or feature
/// extractor.
using AnyProcessor = std::variant<Wav2Vec2Processor, LayoutLMv2Processor, PreTrainedTokenizerBase,
                                  std::shared_ptr<BaseImageProcessor>, Wav2Vec2FeatureExtractor>;

class AutoProcessor {
 public:
  /// The class is processor_class of processor_config.json, else of preprocessor_config.json, else of
  /// tokenizer_config.json, else that of config.json's processor_class or model_type. Without one, the first that loads
  /// of AutoTokenizer, AutoImageProcessor and AutoFeatureExtractor. Throws unsupported when none does. `overrides` go
  /// to the image processor, feature extractor or lone tokenizer; HubOptions among them to the search for the files.
  static AnyProcessor from_pretrained(const std::string& name_or_path, const Json& overrides = {});
};

}  // namespace caracal
