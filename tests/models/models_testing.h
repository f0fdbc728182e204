// What the model tests share: stored goldens, and comparison at the tolerance the library promises.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include <caracal/loaders/safetensors.h>
#include <caracal/models/auto.h>
#include <caracal/models/bert/modeling_bert.h>

namespace caracal {

inline std::string data_path(const std::string& name) { return std::string(CARACAL_TEST_DATA) + "/" + name; }

inline ModelInputs read_inputs(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  ModelInputs inputs;
  for (const TensorInfo& info : file.tensors()) inputs.set(info.name, file.tensor(info));
  return inputs;
}

/// float32 against PyTorch float32: max |Δ| <= 2e-5 · max(1, |reference|). Elements where `counts(index)` is false
/// must be exactly 0. Returns the largest difference.
template <class Counts>
double expect_equal(const Tensor& got, const Tensor& want, const std::string& what, Counts counts) {
  EXPECT_EQ(got.shape(), want.shape()) << what;
  if (got.shape() != want.shape()) return 0;
  double worst = 0;
  for (int64_t i = 0; i < got.numel(); i++) {
    const double g = got.data<float>()[i], w = counts(i) ? double(want.data<float>()[i]) : 0.0;
    const double tolerance = counts(i) ? 2e-5 * std::max(1.0, std::abs(w)) : 0.0;
    if (!(std::abs(g - w) <= tolerance)) {  // also when g is NaN
      ADD_FAILURE() << what << ": element " << i << " of " << got.shape().str() << " is " << g << ", expected " << w;
      return std::abs(g - w);
    }
    worst = std::max(worst, std::abs(g - w));
  }
  return worst;
}

inline bool bytes_equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         std::equal(a.values<float>().begin(), a.values<float>().end(), b.values<float>().begin(),
                    [](float x, float y) { return std::memcmp(&x, &y, sizeof x) == 0; });
}

/// A small BERT with random weights.
inline AnyModel tiny_bert(int threads, const Json& overrides = {}) {
  BertConfig config({{"vocab_size", 120},
                     {"hidden_size", 48},
                     {"num_hidden_layers", 3},
                     {"num_attention_heads", 4},
                     {"intermediate_size", 100},
                     {"max_position_embeddings", 64},
                     {"initializer_range", 0.15}});
  config.update(overrides, "tiny_bert");
  return AutoModel::from_config(config, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = threads})});
}

/// Rows of ids as input_ids and attention_mask, padded on the right.
inline ModelInputs make_inputs(const std::vector<std::vector<int64_t>>& rows) {
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const Shape shape{int64_t(rows.size()), int64_t(longest)};
  ModelInputs inputs;
  inputs.input_ids = Tensor::zeros(shape, DType::I64);
  inputs.attention_mask = Tensor::zeros(shape, DType::I64);
  for (size_t b = 0; b < rows.size(); b++) {
    for (size_t s = 0; s < rows[b].size(); s++) {
      inputs.input_ids.data<int64_t>()[b * longest + s] = rows[b][s];
      inputs.attention_mask.data<int64_t>()[b * longest + s] = 1;
    }
  }
  return inputs;
}

}  // namespace caracal
