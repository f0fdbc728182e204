// LayoutLMv2Config. Source: transformers/models/layoutlmv2/configuration_layoutlmv2.py
#pragma once

#include <caracal/models/configuration_utils.h>

namespace caracal {

/// Configuration of the LayoutLMv2 models; attributes, types and defaults are transformers.LayoutLMv2Config's.
struct LayoutLMv2Config final : ConfigOf<LayoutLMv2Config> {
  static constexpr const char* kModelType = "layoutlmv2";
  static constexpr const char* kClassName = "LayoutLMv2Config";
  LayoutLMv2Config() = default;
  explicit LayoutLMv2Config(const Json& overrides) { init(overrides, kClassName); }

  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  Json hidden_dropout_prob = 0.1;
  Json attention_probs_dropout_prob = 0.1;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  Json pad_token_id = 0;
  int64_t max_2d_position_embeddings = 1024;
  int64_t max_rel_pos = 128;
  int64_t rel_pos_bins = 32;
  bool fast_qkv = true;
  int64_t max_rel_2d_pos = 256;
  int64_t rel_2d_pos_bins = 64;
  bool convert_sync_batchnorm = true;
  std::vector<int64_t> image_feature_pool_shape{7, 7, 256};
  int64_t coordinate_size = 128;
  int64_t shape_size = 128;
  bool has_relative_attention_bias = true;
  bool has_spatial_attention_bias = true;
  bool has_visual_segment_embedding = false;
  Json detectron2_config_args = default_detectron2_config();  // the same where null is given

  /// Settings of the visual backbone, by Detectron2's names.
  static Json default_detectron2_config();

 protected:
  std::vector<ConfigField> fields() override;
  void post_init(const Json& given) override;
};

}  // namespace caracal
