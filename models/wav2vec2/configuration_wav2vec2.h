// Wav2Vec2Config. Source: transformers/models/wav2vec2/configuration_wav2vec2.py
#pragma once

#include <caracal/models/configuration_utils.h>

namespace caracal {

/// Configuration of the Wav2Vec2 models; attributes, types and defaults are transformers.Wav2Vec2Config's.
struct Wav2Vec2Config final : ConfigOf<Wav2Vec2Config> {
  static constexpr const char* kModelType = "wav2vec2";
  static constexpr const char* kClassName = "Wav2Vec2Config";
  Wav2Vec2Config() = default;
  explicit Wav2Vec2Config(const Json& overrides) { init(overrides, kClassName); }

  Json vocab_size = 32;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  Json hidden_dropout = 0.1;
  Json activation_dropout = 0.1;
  Json attention_dropout = 0.1;
  Json feat_proj_dropout = 0.0;
  Json feat_quantizer_dropout = 0.0;
  Json final_dropout = 0.1;
  Json layerdrop = 0.1;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-05;
  std::string feat_extract_norm = "group";
  std::string feat_extract_activation = "gelu";
  std::vector<int64_t> conv_dim{512, 512, 512, 512, 512, 512, 512};
  std::vector<int64_t> conv_stride{5, 2, 2, 2, 2, 2, 2};
  std::vector<int64_t> conv_kernel{10, 3, 3, 3, 3, 2, 2};
  bool conv_bias = false;
  int64_t num_conv_pos_embeddings = 128;
  int64_t num_conv_pos_embedding_groups = 16;
  bool do_stable_layer_norm = false;
  bool apply_spec_augment = true;
  Json mask_time_prob = 0.05;
  int64_t mask_time_length = 10;
  int64_t mask_time_min_masks = 2;
  Json mask_feature_prob = 0.0;
  int64_t mask_feature_length = 10;
  int64_t mask_feature_min_masks = 0;
  int64_t num_codevectors_per_group = 320;
  int64_t num_codevector_groups = 2;
  double contrastive_logits_temperature = 0.1;
  int64_t num_negatives = 100;
  int64_t codevector_dim = 256;
  int64_t proj_codevector_dim = 256;
  double diversity_loss_weight = 0.1;
  std::string ctc_loss_reduction = "sum";
  bool ctc_zero_infinity = false;
  bool use_weighted_layer_sum = false;
  int64_t classifier_proj_size = 256;
  std::vector<int64_t> tdnn_dim{512, 512, 512, 512, 1500};
  std::vector<int64_t> tdnn_kernel{5, 3, 3, 1, 1};
  std::vector<int64_t> tdnn_dilation{1, 2, 3, 1, 1};
  int64_t xvector_output_dim = 512;
  Json pad_token_id = 0;
  Json bos_token_id = 1;
  Json eos_token_id = 2;
  bool add_adapter = false;
  int64_t adapter_kernel_size = 3;
  int64_t adapter_stride = 2;
  int64_t num_adapter_layers = 3;
  Json output_hidden_size = 768;  // hidden_size where none is given
  Json adapter_attn_dim;
  int64_t num_feat_extract_layers = 7;  // length of conv_dim, conv_stride and conv_kernel

  /// Samples of audio per row of logits. Throws invalid_argument when the product of conv_stride overflows.
  int64_t inputs_to_logits_ratio() const;
  /// transformers' _get_feat_extract_output_lengths: frames of so many samples, behind the adapter if asked for; not
  /// positive when they are too few.
  int64_t feat_extract_output_length(int64_t samples, bool behind_adapter = false) const;
  /// The fewest samples of which the convolutions make so many frames. Throws invalid_argument when that overflows.
  int64_t samples_of(int64_t frames) const;
  /// The most samples of up to `batch` utterances of which the convolutions make so many frames in all.
  int64_t most_samples_of(int64_t frames, int64_t batch) const;
  /// transformers' _get_feature_vector_attention_mask: how many of `frames` frames, the first ones, count when so many
  /// samples do. Throws invalid_argument for so few samples that the reference's index is outside too.
  int64_t attended_frames(int64_t samples, int64_t frames, bool behind_adapter = false) const;

 protected:
  std::vector<ConfigField> fields() override;
  void post_init(const Json& given) override;
  void validate() const override;
};

}  // namespace caracal
