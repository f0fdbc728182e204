// ViT. Source: transformers/models/vit/modeling_vit.py; the classes and weights have its names, and the files of the
// hub older ones (kRenames).
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <caracal/models/modeling_layers.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/models/vit/configuration_vit.h>

namespace caracal {

/// Patches through a convolution whose stride is its kernel, a class token before them, position embeddings added.
struct ViTEmbeddings {
  ViTEmbeddings(const Loader& loader, const Weights& w, const ViTConfig& config, bool use_mask_token);
  /// pixel_values (B, C, height, width) -> (B · (patches + 1), H). `patches` receives rows and columns of patches.
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const ForwardOptions& options,
                 std::array<int64_t, 2>* patches) const;

  int64_t num_channels;
  std::array<int64_t, 2> image_size, patch_size;  // height, width
  Linear projection;                              // over channels · patch height · patch width
  Tensor cls_token, mask_token;                   // (1, H); mask_token: undefined without use_mask_token
  Tensor position_embeddings;                     // (patches + 1, H)

 private:
  void mask_patches(Ctx& ctx, const char* model, const Tensor& bool_masked_pos, int64_t batch, Tensor& x) const;
  Tensor positions(Ctx& ctx, const char* model, std::array<int64_t, 2> image, std::array<int64_t, 2> patches) const;
};

/// Layer norm before self-attention and before the feed-forward network, residual after each.
struct ViTLayer {
  ViTLayer(const Loader& loader, const Weights& w, const ViTConfig& config, int64_t index);
  /// Replaces x (T, H) by the layer's output; `attentions`, when given, receives (B, heads, S, S).
  void forward(Ctx& ctx, Tensor& x, const Ragged& images, Tensor* attentions) const;

  int64_t heads;
  Activation activation;
  Linear qkv, o_proj, fc1, fc2;
  LayerNorm layernorm_before, layernorm_after;
};

/// transformers' ViTModel, without its pooler, as a part of the models below.
struct ViTBase {
  ViTBase(const Loader& loader, const Weights& w, const ViTConfig& config, bool use_mask_token);
  /// -> the last hidden state's rows (B · (patches + 1), H), each image's class token first. Fills hidden_states, the
  /// last of which is before the final layer norm, and attentions as asked.
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, ModelOutput& output,
                 const ForwardOptions& options, std::array<int64_t, 2>* patches) const;
  /// The class token of each image, (B, H).
  Tensor class_tokens(Ctx& ctx, const Tensor& x, int64_t batch) const;

  ViTEmbeddings embeddings;
  std::vector<ViTLayer> layers;
  LayerNorm layernorm;
};

/// What the ViT classes have in common.
template <class Derived>
class ViTPreTrainedModel : public ModelOf<Derived, ViTConfig> {
 public:
  static constexpr const char* kBaseModelPrefix = "vit";
  static constexpr Rename kRenames[] = {{"encoder.layer.", "layers."},
                                        {".attention.attention.query.", ".attention.q_proj."},
                                        {".attention.attention.key.", ".attention.k_proj."},
                                        {".attention.attention.value.", ".attention.v_proj."},
                                        {".attention.output.dense.", ".attention.o_proj."},
                                        {".intermediate.dense.", ".mlp.fc1."},
                                        {".output.dense.", ".mlp.fc2."}};

 protected:
  using ModelOf<Derived, ViTConfig>::ModelOf;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override {
    const auto [height, width] = this->config_.image_height_width();
    const auto [patch_height, patch_width] = this->config_.patch_height_width();
    const int64_t tokens = (height / patch_height) * (width / patch_width) + 1;
    const int64_t images = std::clamp<int64_t>(max_tokens / tokens, 1, max_batch);
    ModelInputs inputs;
    inputs.pixel_values = Tensor::zeros({images, this->config_.num_channels, height, width});
    return inputs;
  }
  PreTrainedModel::AttentionNames attention_names(int64_t layer) const override {
    const std::string attention = "layers." + std::to_string(layer) + ".attention.";
    return {{attention + "q_proj", attention + "k_proj", attention + "v_proj"}, attention + "o_proj"};
  }
};

/// The bare encoder, with the pooler unless LoadOptions::add_pooling_layer is false.
/// Outputs: last_hidden_state (B, patches + 1, H), pooler_output (B, pooler_output_size), hidden_states, attentions.
class ViTModel final : public ViTPreTrainedModel<ViTModel> {
 public:
  static constexpr const char* kClassName = "ViTModel";
  /// A model with random weights: from_config.
  explicit ViTModel(const ViTConfig& config, const LoadOptions& options = {})
      : ViTModel(from_config(config, options)) {}
  /// From weights at the top of `w`. Throws unless the configuration can be run. So do the classes below.
  ViTModel(const ViTConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  ViTBase vit_;
  std::optional<Linear> pooler_;
  Activation pooler_act_ = Activation::tanh;
};

/// SimMIM: the masked patches' pixels. bool_masked_pos needs patch_size equal to encoder_stride.
/// Outputs: reconstruction (B, C, √patches · encoder_stride, √patches · encoder_stride).
class ViTForMaskedImageModeling final : public ViTPreTrainedModel<ViTForMaskedImageModeling> {
 public:
  static constexpr const char* kClassName = "ViTForMaskedImageModeling";
  explicit ViTForMaskedImageModeling(const ViTConfig& config, const LoadOptions& options = {})
      : ViTForMaskedImageModeling(from_config(config, options)) {}
  ViTForMaskedImageModeling(const ViTConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  ViTBase vit_;
  Linear decoder_;  // a 1 x 1 convolution
};

/// Outputs: logits (B, num_labels); with num_labels 0 the class token itself, as in transformers.
class ViTForImageClassification final : public ViTPreTrainedModel<ViTForImageClassification> {
 public:
  static constexpr const char* kClassName = "ViTForImageClassification";
  explicit ViTForImageClassification(const ViTConfig& config, const LoadOptions& options = {})
      : ViTForImageClassification(from_config(config, options)) {}
  ViTForImageClassification(const ViTConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  ViTBase vit_;
  std::optional<Linear> classifier_;
};

}  // namespace caracal
