#include <caracal/models/modeling_layers.h>

namespace caracal {

Linear load_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features, bool bias) {
  return pack_linear(loader.runtime, loader.store, {w.get("weight", {out_features, in_features})},
                     {bias ? w.get("bias", {out_features}) : Tensor()});
}

Linear load_stacked_linear(const Loader& loader, const std::vector<Weights>& ws, int64_t in_features,
                           int64_t out_features) {
  std::vector<Tensor> weights, biases;
  for (const Weights& w : ws) {
    weights.push_back(w.get("weight", {out_features, in_features}));
    biases.push_back(w.get("bias", {out_features}));
  }
  return pack_linear(loader.runtime, loader.store, weights, biases);
}

Tensor load_embedding(const Weights& w, int64_t rows, int64_t cols) {
  Tensor table = w.get("weight", {rows, cols});
  constexpr size_t kPage = 4096;
  const volatile char* bytes = static_cast<const char*>(table.raw());
  for (size_t i = 0; i < table.nbytes(); i += kPage) (void)bytes[i];
  return table;
}

LayerNorm load_layer_norm(const Weights& w, int64_t size, double eps) {
  return {w.get("weight", {size}), w.get("bias", {size}), float(eps)};
}

}  // namespace caracal
