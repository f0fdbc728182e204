// BERT. Source: transformers/models/bert/modeling_bert.py; the classes and weights have its names.
#pragma once

#include <optional>
#include <vector>

#include <caracal/models/bert/configuration_bert.h>
#include <caracal/models/modeling_layers.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/models/padding.h>

namespace caracal {

/// Word, token-type and position embeddings, summed and normalised.
struct BertEmbeddings {
  BertEmbeddings(const Weights& w, const BertConfig& config);
  Tensor forward(Ctx& ctx, const ModelInputs& inputs, const TextBatch& text) const;  // (T, H)

  Tensor word_embeddings, position_embeddings, token_type_embeddings;  // (vocab, H), (positions, H), (types, H)
  LayerNorm norm;
};

/// Self-attention and feed-forward network, each followed by residual and layer norm.
struct BertLayer {
  BertLayer(const Loader& loader, const Weights& w, const BertConfig& config);
  /// Replaces x (T, H) by the layer's output; `probs`, when given, receives the attention weights.
  void forward(Ctx& ctx, Tensor& x, const Ragged& sequences, Tensor* probs) const;

  int64_t heads;
  Activation act;
  Linear self_qkv, self_output, intermediate, output;
  LayerNorm self_output_norm, output_norm;
};

/// The bare encoder, with the pooler unless LoadOptions::add_pooling_layer is false.
/// Outputs: last_hidden_state, pooler_output, hidden_states, attentions.
class BertModel final : public PreTrainedModel {
 public:
  using Config = BertConfig;
  static constexpr const char* kClassName = "BertModel";
  static constexpr const char* kBaseModelPrefix = "bert";

  /// Loads a checkpoint directory. Throws not_found, bad_file, unsupported or invalid_argument.
  static BertModel from_pretrained(const std::string& path, const LoadOptions& options = {});

  /// From weights at the top of `w`. Throws unless the configuration can be run.
  BertModel(const BertConfig& config, const Weights& w, const LoadOptions& options);

  const char* class_name() const override { return kClassName; }
  const BertConfig& config() const override { return config_; }

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override;

 private:
  BertConfig config_;
  std::unique_ptr<WeightStore> store_;
  BertEmbeddings embeddings_;
  std::vector<BertLayer> layers_;
  std::optional<Linear> pooler_;
};

}  // namespace caracal
