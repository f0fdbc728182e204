// ViTConfig. Source: transformers/models/vit/configuration_vit.py
#pragma once

#include <array>

#include <caracal/models/configuration_utils.h>

namespace caracal {

/// Configuration of the ViT models; attributes, types and defaults are transformers.ViTConfig's.
struct ViTConfig final : ConfigOf<ViTConfig> {
  static constexpr const char* kModelType = "vit";
  static constexpr const char* kClassName = "ViTConfig";
  ViTConfig() = default;
  explicit ViTConfig(const Json& overrides) { init(overrides, kClassName); }

  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  Json hidden_dropout_prob = 0.0;
  Json attention_probs_dropout_prob = 0.0;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  Json image_size = 224;  // pixels: one number, or [height, width]
  Json patch_size = 16;   // likewise
  int64_t num_channels = 3;
  bool qkv_bias = true;
  int64_t encoder_stride = 16;
  Json pooler_output_size = 768;  // hidden_size where none is given
  std::string pooler_act = "tanh";

  /// image_size and patch_size as {height, width}. Throw invalid_argument when the list has not two elements.
  std::array<int64_t, 2> image_height_width() const { return pair("image_size", image_size); }
  std::array<int64_t, 2> patch_height_width() const { return pair("patch_size", patch_size); }

 protected:
  std::vector<ConfigField> fields() override;
  void post_init(const Json& given) override;

 private:
  static std::array<int64_t, 2> pair(const char* name, const Json& size);
};

}  // namespace caracal
