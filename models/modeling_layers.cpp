#include <caracal/models/modeling_layers.h>

#include <algorithm>
#include <cmath>

namespace caracal {
namespace {

// (out, in / groups, kernel…)
Shape convolution_weight(int64_t in_channels, int64_t out_channels, std::initializer_list<int64_t> kernel,
                         int64_t groups) {
  if (groups < 1 || in_channels % groups != 0 || out_channels % groups != 0)
    throw Error(ErrorCode::invalid_argument, "convolution",
                "expected groups that divide " + std::to_string(in_channels) + " and " + std::to_string(out_channels) +
                    " channels but got " + std::to_string(groups));
  std::vector<int64_t> dims = {out_channels, in_channels / groups};
  dims.insert(dims.end(), kernel);
  return Shape(std::span<const int64_t>(dims));
}

// True for what lies in a numbered layer of the encoder: "….layer.3.output.dense". Their products take nearly all of
// the time, and a residual and a norm follow each. Rounding would show elsewhere: poolers and heads are read out
// directly, and what stands before the encoder (embeddings, patches, projections of features) all layers see.
bool in_numbered_layer(const std::string& prefix) {
  const std::string name = "." + prefix;  // ViTModel's begin with "layers."
  for (const std::string_view list : {".layer.", ".layers."}) {
    const size_t at = name.find(list);
    if (at != name.npos && at + list.size() < name.size() && name[at + list.size()] >= '0' &&
        name[at + list.size()] <= '9')
      return true;
  }
  return false;
}

/// The matrices at `ws` above each other, each with the bias that `bias_of` gives for it, in the numbers that fit.
template <class F>
Linear load_matrices(const Loader& loader, const std::vector<Weights>& ws, int64_t in_features, int64_t out_features,
                     const F& bias_of, const Init& init = {}) {
  const Shape shape{out_features, in_features};
  const bool narrow = in_numbered_layer(ws[0].prefix());
  auto stored = [](const Weights& w) { return w.is_quantized("weight"); };
  const bool on_cpu = loader.store.device() == nullptr;  // the only place for 8 bits
  const bool asked = loader.dtype == "int8", keep = on_cpu && (asked || loader.dtype == "auto");
  const bool int8 = (keep && std::ranges::any_of(ws, stored)) || (asked && narrow && in_features <= kMostInputsS8);
  std::vector<QuantizedWeight> quantized;
  std::vector<Tensor> weights, biases;
  for (const Weights& w : ws) {
    if (int8)
      quantized.push_back(w.get_quantized(loader.runtime, "weight", shape, init));
    else
      weights.push_back(w.get_dequantized(loader.runtime, "weight", shape, init));
    biases.push_back(bias_of(w));
  }
  Linear linear;
  if (int8) {
    linear = pack_linear(loader.runtime, loader.store, quantized, biases);
  } else {
    const bool bf16_dot = narrow && loader.dtype == "bfloat16";
    const DType dtype = weights[0].dtype();
    const bool as_stored = std::ranges::all_of(weights, [&](const Tensor& w) { return w.dtype() == dtype; }) &&
                           (dtype == DType::F16 || dtype == DType::BF16) &&
                           (bf16_dot || !on_cpu || loader.runtime.cpu().backend == kernels::Backend::native);
    for (Tensor& w : weights)
      if (!as_stored && w.dtype() != DType::F32) w = w.to(DType::F32);
    linear = pack_linear(loader.runtime, loader.store, weights, biases, bf16_dot);
  }
  for (const Weights& w : ws)
    for (const char* name : {"weight", "bias"}) w.release(name);
  return linear;
}

}  // namespace

Linear load_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features, bool bias) {
  return load_stacked_linear(loader, {w}, in_features, out_features, bias);
}

Linear load_linear_with(const std::function<Tensor()>& bias, const Loader& loader, const Weights& w,
                        int64_t in_features, int64_t out_features) {
  return load_matrices(loader, {w}, in_features, out_features, [&](const Weights&) { return bias(); });
}

Linear load_uniform_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features) {
  const float bound = 1.0f / std::sqrt(float(in_features));
  const Init init{.kind = Init::Kind::uniform, .value = 2 * bound, .low = -bound};
  return load_matrices(
      loader, {w}, in_features, out_features, [&](const Weights& at) { return at.get("bias", {out_features}, init); },
      init);
}

Linear load_stacked_linear(const Loader& loader, const std::vector<Weights>& ws, int64_t in_features,
                           int64_t out_features, bool bias) {
  return load_matrices(loader, ws, in_features, out_features,
                       [&](const Weights& w) { return bias ? w.get("bias", {out_features}) : Tensor(); });
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

Convolution load_convolution(const Loader& loader, const Weights& w, int64_t in_channels, int64_t out_channels,
                             std::initializer_list<int64_t> kernel, const ConvolutionShape& shape, bool bias,
                             const Init& weight_init, const Init& bias_init) {
  const Tensor weight =
      w.get("weight", convolution_weight(in_channels, out_channels, kernel, shape.groups), weight_init);
  Convolution conv = pack_convolution(loader.runtime, loader.store, weight,
                                      bias ? w.get("bias", {out_channels}, bias_init) : Tensor(), shape);
  w.release("weight");
  return conv;
}

Convolution load_normalized_convolution(const Loader& loader, const Weights& w, const Weights& norm,
                                        int64_t in_channels, int64_t out_channels,
                                        std::initializer_list<int64_t> kernel, const ConvolutionShape& shape, bool bias,
                                        double eps) {
  Tensor weight = w.get("weight", convolution_weight(in_channels, out_channels, kernel, shape.groups)).clone();
  Tensor shift = bias ? w.get("bias", {out_channels}).clone() : Tensor::zeros({out_channels});
  const Tensor gamma = norm.get("weight", {out_channels}), beta = norm.get("bias", {out_channels}),
               mean = norm.get("running_mean", {out_channels}, {.kind = Init::Kind::constant}),
               variance =
                   norm.get("running_var", {out_channels}, {.kind = Init::Kind::constant, .value = float(1 - eps)});
  const int64_t each = out_channels > 0 ? weight.numel() / out_channels : 0;
  for (int64_t o = 0; o < out_channels; o++) {
    const double scale = double(gamma.data<float>()[o]) / std::sqrt(double(variance.data<float>()[o]) + eps);
    float& b = shift.data<float>()[o];
    b = float((double(b) - double(mean.data<float>()[o])) * scale + double(beta.data<float>()[o]));
    for (int64_t i = o * each; i < (o + 1) * each; i++)
      weight.data<float>()[i] = float(double(weight.data<float>()[i]) * scale);
  }
  w.release("weight");
  return pack_convolution(loader.runtime, loader.store, weight, shift, shape);
}

Tensor load_embedding(const Weights& w, int64_t rows, int64_t cols, const Init& init) {
  Tensor table = w.get("weight", {rows, cols}, init);
  w.keep("weight");
  return table;
}

Tensor load_embedding(const Loader& loader, const Weights& w, int64_t rows, int64_t cols, const Init& init) {
  if (loader.store.device() == nullptr) return load_embedding(w, rows, cols, init);
  const Tensor table = loader.place(w.get_stored("weight", {rows, cols}, init));
  w.release("weight");
  return table;
}

Init with_padding_row(const Json& pad_token_id) {
  return {.zero_row = pad_token_id.is_integer() ? pad_token_id.as_int() : -1};
}

LayerNorm load_layer_norm(const Loader& loader, const Weights& w, int64_t size, double eps) {
  LayerNorm norm{loader.place_vector(w.get("weight", {size}).clone()),
                 loader.place_vector(w.get("bias", {size}).clone()), float(eps)};
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
