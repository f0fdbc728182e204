// ViTImageProcessor: resize to a square, rescale to 0 … 1, normalise.
#pragma once

#include <string>

#include <caracal/models/image_processing_utils.h>

namespace caracal {

/// transformers.ViTImageProcessor (with the results of ViTImageProcessorPil).
class ViTImageProcessor : public BaseImageProcessor {
 public:
  /// Arguments as in Python: ViTImageProcessor({{"resample", "PIL.Image.BOX"}, {"do_normalize", false}}).
  /// `where` opens error messages.
  explicit ViTImageProcessor(const Json& arguments = {}, const std::string& where = "ViTImageProcessor");
  /// From a checkpoint directory or a preprocessor_config.json, with `overrides` applied last.
  static ViTImageProcessor from_pretrained(const std::string& path, const Json& overrides = {});
};

/// transformers' names of the same class by backend.
using ViTImageProcessorPil = ViTImageProcessor;
using ViTImageProcessorFast = ViTImageProcessor;

}  // namespace caracal
