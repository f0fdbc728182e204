#include <caracal/models/modeling_layers.h>

namespace caracal {

Linear load_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features, bool bias) {
  return load_stacked_linear(loader, {w}, in_features, out_features, bias);
}

Linear load_stacked_linear(const Loader& loader, const std::vector<Weights>& ws, int64_t in_features,
                           int64_t out_features, bool bias) {
  std::vector<Tensor> weights, biases;
  for (const Weights& w : ws) {
    weights.push_back(w.get("weight", {out_features, in_features}));
    biases.push_back(bias ? w.get("bias", {out_features}) : Tensor());
  }
  Linear linear = pack_linear(loader.runtime, loader.store, weights, biases);
  for (const Weights& w : ws)
    for (const char* name : {"weight", "bias"}) w.release(name);
  return linear;
}

Linear load_patch_convolution(const Loader& loader, const Weights& w, int64_t in_channels, int64_t out_channels,
                              int64_t height, int64_t width) {
  const Tensor weight = w.get("weight", {out_channels, in_channels, height, width});
  Linear linear =
      pack_linear(loader.runtime, loader.store, {weight.reshape({out_channels, in_channels * height * width})},
                  {w.get("bias", {out_channels})});
  for (const char* name : {"weight", "bias"}) w.release(name);
  return linear;
}

Tensor load_embedding(const Weights& w, int64_t rows, int64_t cols, const Init& init) {
  Tensor table = w.get("weight", {rows, cols}, init);
  constexpr size_t kPage = 4096;
  const volatile char* bytes = static_cast<const char*>(table.raw());
  for (size_t i = 0; i < table.nbytes(); i += kPage) (void)bytes[i];
  return table;
}

Init with_padding_row(const Json& pad_token_id) {
  return {.zero_row = pad_token_id.is_integer() ? pad_token_id.as_int() : -1};
}

LayerNorm load_layer_norm(const Weights& w, int64_t size, double eps) {
  LayerNorm norm{w.get("weight", {size}).clone(), w.get("bias", {size}).clone(), float(eps)};
  for (const char* name : {"weight", "bias"}) w.release(name);
  return norm;
}

int64_t count_heads(const Weights& query, const PretrainedConfig& config, int64_t layer, int64_t heads,
                    int64_t head_dim) {
  if (!config.has("pruned_heads")) return heads;
  const Json pruned = config.get("pruned_heads");
  const Json* gone = pruned.find(std::to_string(layer));
  const auto stored = query.stored_shape("weight");
  if (gone == nullptr || !gone->is_array() || !stored || stored->size() != 2) return heads;
  const int64_t left = heads - int64_t(gone->as_array().size());
  return left > 0 && (*stored)[0] == left * head_dim ? left : heads;
}

void expect_positive(const PretrainedConfig& config, const char* field, int64_t value) {
  if (value > 0 && value < int64_t(1) << 31) return;
  throw Error(ErrorCode::invalid_argument, config.class_name(),
              std::string("field '") + field + "' expected a positive 32-bit int but got " + std::to_string(value));
}

void expect_layer_count(const PretrainedConfig& config, const char* field, int64_t value) {
  if (value >= 0 && value <= 10'000) return;
  throw Error(ErrorCode::invalid_argument, config.class_name(),
              std::string("field '") + field + "' expected 0 to 10000 but got " + std::to_string(value));
}

int64_t label_count(const PretrainedConfig& config) {
  if (config.num_labels() > 0) return config.num_labels();
  throw Error(ErrorCode::invalid_argument, config.class_name(), "expected at least one label but got num_labels 0");
}

int64_t two_labels(const PretrainedConfig& config) {
  if (config.num_labels() == 2) return 2;
  throw Error(ErrorCode::invalid_argument, config.class_name(),
              "expected num_labels 2 for question answering but got " + std::to_string(config.num_labels()));
}

}  // namespace caracal
