// Loading of the layers that every architecture is built from.
#pragma once

#include <caracal/loaders/weights.h>
#include <caracal/runtime/ops.h>

namespace caracal {

/// What a model's constructor needs to load its layers: where to run, and where packed weights go.
struct Loader {
  const Runtime& runtime;
  WeightStore& store;
};

/// torch.nn.Linear at `w`: weight (out, in) and, if asked for, bias (out).
Linear load_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features, bool bias = true);

/// Several torch.nn.Linear over the same input, stacked into one product: query, key and value.
Linear load_stacked_linear(const Loader& loader, const std::vector<Weights>& ws, int64_t in_features,
                           int64_t out_features);

/// torch.nn.Embedding at `w`: weight (rows, cols), a view of the file where it is float32. Every page is read now, so
/// that no call waits for the disk.
Tensor load_embedding(const Weights& w, int64_t rows, int64_t cols);

/// torch.nn.LayerNorm at `w`: weight and bias (size).
LayerNorm load_layer_norm(const Weights& w, int64_t size, double eps);

}  // namespace caracal
