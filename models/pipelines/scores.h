// From logits to scores and labels.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <caracal/models/configuration_utils.h>

namespace caracal {

/// exp(x - max) / sum, and 1 / (1 + exp(-x)), as numpy computes them in float32.
std::vector<float> softmax(std::span<const float> logits);
std::vector<float> sigmoid(std::span<const float> logits);
/// Index of the largest value, the first of equal ones.
int64_t argmax(std::span<const float> values);
/// Indices of the `count` largest values, in falling order; equal ones in their order.
std::vector<int64_t> top_k(std::span<const float> values, int64_t count);

/// The labels of a configuration by their ids, which must be 0, 1, 2, …. Throws invalid_argument.
std::vector<std::string> labels_of(const PretrainedConfig& config);

}  // namespace caracal
