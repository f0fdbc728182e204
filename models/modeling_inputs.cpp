#include <caracal/models/modeling_inputs.h>

#include <charconv>

#include <caracal/tokenizers/batch_encoding.h>

namespace caracal {
namespace {

struct Argument {
  const char* name;
  Tensor ModelInputs::*member;
};

constexpr Argument kArguments[] = {
    {"input_ids", &ModelInputs::input_ids},
    {"attention_mask", &ModelInputs::attention_mask},
    {"token_type_ids", &ModelInputs::token_type_ids},
    {"position_ids", &ModelInputs::position_ids},
    {"inputs_embeds", &ModelInputs::inputs_embeds},
    {"encoder_hidden_states", &ModelInputs::encoder_hidden_states},
    {"encoder_attention_mask", &ModelInputs::encoder_attention_mask},
    {"pixel_values", &ModelInputs::pixel_values},
    {"bool_masked_pos", &ModelInputs::bool_masked_pos},
    {"input_values", &ModelInputs::input_values},
    {"mask_time_indices", &ModelInputs::mask_time_indices},
    {"bbox", &ModelInputs::bbox},
    {"image", &ModelInputs::image},
};

struct CachePart {
  std::string_view name;
  Tensor CacheLayer::*member;
};

constexpr CachePart kCacheParts[] = {
    {"keys", &CacheLayer::keys},
    {"values", &CacheLayer::values},
    {"cross_keys", &CacheLayer::cross_keys},
    {"cross_values", &CacheLayer::cross_values},
};

// The tensor that "past_key_values.3.keys" names, or null.
Tensor* cache_tensor(std::vector<CacheLayer>& layers, std::string_view name) {
  constexpr std::string_view kPrefix = "past_key_values.";
  constexpr size_t kMostLayers = 10'000;
  if (!name.starts_with(kPrefix)) return nullptr;
  name.remove_prefix(kPrefix.size());
  size_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || layer >= kMostLayers) return nullptr;
  name.remove_prefix(size_t(end - name.data()));
  for (const CachePart& part : kCacheParts) {
    if (name != "." + std::string(part.name)) continue;
    if (layers.size() <= layer) layers.resize(layer + 1);
    return &(layers[layer].*part.member);
  }
  return nullptr;
}

}  // namespace

ModelInputs::ModelInputs(const BatchEncoding& encoding) {
  for (const std::string& name : encoding.keys()) set(name, encoding.padded(name));
  if (encoding.size() == 0) input_ids = Tensor::empty({0, 0}, DType::I64);
}

void ModelInputs::set(const std::string& name, Tensor value) {
  std::string known;
  for (const Argument& argument : kArguments) {
    if (name == argument.name) {
      this->*argument.member = std::move(value);
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(argument.name);
  }
  if (Tensor* tensor = cache_tensor(past_key_values, name)) {
    *tensor = std::move(value);
    return;
  }
  throw Error(ErrorCode::invalid_argument, "ModelInputs",
              "expected one of " + known + ", past_key_values.<layer>.keys … but got '" + name + "'");
}

}  // namespace caracal
