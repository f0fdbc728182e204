// What image processors and feature extractors share: BatchFeature, their result, and their configuration files.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/models/modeling_utils.h>
#include <caracal/runtime/json.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// transformers.BatchFeature: named values, one tensor for each image or utterance. A model's forward takes it as it
/// is.
class BatchFeature {
 public:
  /// Left, top, right, bottom, each 0 to 1000.
  using Box = std::array<int64_t, 4>;

  /// What OCR found: the words of each image and their boxes. Empty when there was no OCR.
  std::vector<std::vector<std::string>> words;
  std::vector<std::vector<Box>> boxes;

  void set(std::string name, std::vector<Tensor> values);
  bool contains(std::string_view name) const noexcept;
  /// Names in transformers' order.
  std::vector<std::string> keys() const;
  /// The values of a name, one an input. Throws not_found.
  const std::vector<Tensor>& list(std::string_view name) const;
  /// The same as one tensor (B, …): return_tensors="pt". Throws invalid_argument when the shapes differ, not_found.
  Tensor operator[](std::string_view name) const;
  /// The arguments of a model's forward.
  operator ModelInputs() const;

 private:
  std::vector<std::pair<std::string, std::vector<Tensor>>> values_;
};

/// The part of a checkpoint's files that configures an image processor (`part` "image_processor") or a feature
/// extractor
/// ("feature_extractor"): that member of processor_config.json when it has one, else preprocessor_config.json; then
/// `overrides` applied. `path` is the directory or a file. Throws not_found or bad_file.
Json load_preprocessor_config(const std::string& path, std::string_view part, const Json& overrides = {});

/// Writes `config` to preprocessor_config.json in `directory`, which is made when missing, in transformers' bytes.
void save_preprocessor_config(const std::string& directory, const Json& config);
/// The same to processor_config.json, as the member `part` of a processor's configuration.
void save_processor_config(const std::string& directory, const char* processor_class, const char* part, Json config);

}  // namespace caracal
