// DistilBERT. Source: transformers/models/distilbert/modeling_distilbert.py; the classes and weights have its names.
#pragma once

#include <vector>

#include <caracal/models/distilbert/configuration_distilbert.h>
#include <caracal/models/modeling_layers.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/models/padding.h>

namespace caracal {

/// One layer: self-attention and feed-forward network, each followed by residual and layer norm.
struct DistilBertTransformerBlock {
  DistilBertTransformerBlock(const Loader& loader, const Weights& w, const DistilBertConfig& config, int64_t index);
  /// Replaces x (T, dim) by the layer's output; `attentions`, when given, receives (B, heads, S, S).
  void forward(Ctx& ctx, Tensor& x, const TextBatch& text, Tensor* attentions) const;

  int64_t heads;
  Activation activation;
  Linear qkv, out_lin, lin1, lin2;
  LayerNorm sa_layer_norm, output_layer_norm;
};

/// transformers' DistilBertModel as a part of the models below: word and position embeddings, then the layers.
/// token_type_ids are ignored.
struct DistilBertBase {
  DistilBertBase(const Loader& loader, const Weights& w, const DistilBertConfig& config);
  /// -> the last hidden state's rows (T, dim). Fills hidden_states and attentions as asked. `model` names the class in
  /// messages.
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const TextBatch& text, ModelOutput& output,
                 const ForwardOptions& options) const;

  Tensor word_embeddings, position_embeddings;  // (vocab, dim), (positions, dim)
  LayerNorm norm;
  std::vector<DistilBertTransformerBlock> layers;
};

/// What the DistilBERT classes have in common.
template <class Derived>
class DistilBertPreTrainedModel : public ModelOf<Derived, DistilBertConfig> {
 public:
  static constexpr const char* kBaseModelPrefix = "distilbert";
  static constexpr const char* kVocabularyParameters[] = {"embeddings.word_embeddings.weight", "vocab_projector.weight",
                                                          "vocab_projector.bias"};

 protected:
  using ModelOf<Derived, DistilBertConfig>::ModelOf;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override {
    return largest_text_inputs(max_tokens, max_batch, this->config_.max_position_embeddings);
  }
  PreTrainedModel::AttentionNames attention_names(int64_t layer) const override {
    const std::string attention = "transformer.layer." + std::to_string(layer) + ".attention.";
    return {{attention + "q_lin", attention + "k_lin", attention + "v_lin"}, attention + "out_lin"};
  }
};

/// The bare encoder. Outputs: last_hidden_state, hidden_states, attentions.
class DistilBertModel final : public DistilBertPreTrainedModel<DistilBertModel> {
 public:
  static constexpr const char* kClassName = "DistilBertModel";
  /// A model with random weights: from_config.
  explicit DistilBertModel(const DistilBertConfig& config, const LoadOptions& options = {})
      : DistilBertModel(from_config(config, options)) {}
  /// From weights at the top of `w`. Throws unless the configuration can be run. So do the classes below.
  DistilBertModel(const DistilBertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  DistilBertBase distilbert_;
};

/// Outputs: logits (B, S, V).
class DistilBertForMaskedLM final : public DistilBertPreTrainedModel<DistilBertForMaskedLM> {
 public:
  static constexpr const char* kClassName = "DistilBertForMaskedLM";
  explicit DistilBertForMaskedLM(const DistilBertConfig& config, const LoadOptions& options = {})
      : DistilBertForMaskedLM(from_config(config, options)) {}
  DistilBertForMaskedLM(const DistilBertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  DistilBertBase distilbert_;
  Linear vocab_transform_, vocab_projector_;
  LayerNorm vocab_layer_norm_;
  Activation activation_;
};

/// The first token through pre_classifier, ReLU and classifier. Outputs: logits (B, num_labels).
class DistilBertForSequenceClassification final
    : public DistilBertPreTrainedModel<DistilBertForSequenceClassification> {
 public:
  static constexpr const char* kClassName = "DistilBertForSequenceClassification";
  explicit DistilBertForSequenceClassification(const DistilBertConfig& config, const LoadOptions& options = {})
      : DistilBertForSequenceClassification(from_config(config, options)) {}
  DistilBertForSequenceClassification(const DistilBertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  DistilBertBase distilbert_;
  Linear pre_classifier_, classifier_;
};

/// Outputs: start_logits, end_logits (B, S).
class DistilBertForQuestionAnswering final : public DistilBertPreTrainedModel<DistilBertForQuestionAnswering> {
 public:
  static constexpr const char* kClassName = "DistilBertForQuestionAnswering";
  explicit DistilBertForQuestionAnswering(const DistilBertConfig& config, const LoadOptions& options = {})
      : DistilBertForQuestionAnswering(from_config(config, options)) {}
  DistilBertForQuestionAnswering(const DistilBertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  DistilBertBase distilbert_;
  Linear qa_outputs_;
};

/// Outputs: logits (B, S, num_labels).
class DistilBertForTokenClassification final : public DistilBertPreTrainedModel<DistilBertForTokenClassification> {
 public:
  static constexpr const char* kClassName = "DistilBertForTokenClassification";
  explicit DistilBertForTokenClassification(const DistilBertConfig& config, const LoadOptions& options = {})
      : DistilBertForTokenClassification(from_config(config, options)) {}
  DistilBertForTokenClassification(const DistilBertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  DistilBertBase distilbert_;
  Linear classifier_;
};

/// Takes (B, choices, S). Outputs: logits (B, choices).
class DistilBertForMultipleChoice final : public DistilBertPreTrainedModel<DistilBertForMultipleChoice> {
 public:
  static constexpr const char* kClassName = "DistilBertForMultipleChoice";
  explicit DistilBertForMultipleChoice(const DistilBertConfig& config, const LoadOptions& options = {})
      : DistilBertForMultipleChoice(from_config(config, options)) {}
  DistilBertForMultipleChoice(const DistilBertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override;

 private:
  DistilBertBase distilbert_;
  Linear pre_classifier_, classifier_;
};

}  // namespace caracal
