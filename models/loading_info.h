// How a checkpoint and a model matched.
#pragma once

#include <string>
#include <vector>

#include <caracal/loaders/weights.h>

namespace caracal {

/// What transformers' from_pretrained(output_loading_info=True) returns beside the model. Names sorted.
struct LoadingInfo {
  std::vector<std::string> missing_keys;       // the model's names: freshly initialised
  std::vector<std::string> unexpected_keys;    // the checkpoint's names: unused
  std::vector<MismatchedKey> mismatched_keys;  // of another shape: freshly initialised, with ignore_mismatched_sizes
  std::vector<std::string> warnings;           // sentences, such as about tied weights that differ

  /// The table that transformers logs, without colours; indices of layers are folded as layer.{0, 1}.x. Empty when
  /// everything matched.
  std::string report(const std::string& class_name, const std::string& path) const;
};

}  // namespace caracal
