// AutoImageProcessor and AutoFeatureExtractor: choose the class of a checkpoint's processor.
#pragma once

#include <memory>
#include <string>

#include <caracal/models/image_processing_utils.h>
#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>

namespace caracal {

class AutoImageProcessor {
 public:
  /// The class is image_processor_type, else feature_extractor_type with FeatureExtractor read as ImageProcessor, both
  /// of processor_config.json's "image_processor" or of preprocessor_config.json; else that of config.json's
  /// image_processor_type or model_type. A name may end in Fast or Pil. Throws unsupported for a class that is not
  /// built in, not_found, bad_file or invalid_argument.
  static std::shared_ptr<BaseImageProcessor> from_pretrained(const std::string& name_or_path,
                                                             const Json& overrides = {});
};

class AutoFeatureExtractor {
 public:
  /// The class is feature_extractor_type of processor_config.json's "feature_extractor" or of
  /// preprocessor_config.json, else that of config.json's feature_extractor_type or model_type. Throws likewise.
  static Wav2Vec2FeatureExtractor from_pretrained(const std::string& name_or_path, const Json& overrides = {});
};

}  // namespace caracal
