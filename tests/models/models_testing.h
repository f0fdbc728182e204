// What the model tests share: stored goldens, and comparison at the tolerance the library promises.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include <caracal/loaders/safetensors.h>
#include <caracal/models/auto.h>
#include <caracal/models/bert/modeling_bert.h>
#include <caracal/models/distilbert/modeling_distilbert.h>
#include <caracal/models/vit/modeling_vit.h>
#include <caracal/models/wav2vec2/modeling_wav2vec2.h>

namespace caracal {

inline std::string data_path(const std::string& name) { return std::string(CARACAL_TEST_DATA) + "/" + name; }

inline std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What f() throws, or "no error".
inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// A fresh directory, removed at the end.
struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "caracal-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    path = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

/// The inputs of a reference file.
inline ModelInputs read_inputs(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  ModelInputs inputs;
  for (const TensorInfo& info : file.tensors())
    if (info.name.starts_with("inputs.")) inputs.set(info.name.substr(7), file.tensor(info));
  return inputs;
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
