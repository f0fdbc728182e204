// BERT. Source: transformers/models/bert/modeling_bert.py; the classes and weights have its names.
#pragma once

#include <optional>
#include <vector>

#include <caracal/models/bert/configuration_bert.h>
#include <caracal/models/kv_cache.h>
#include <caracal/models/modeling_layers.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/models/padding.h>

namespace caracal {

/// Word, token-type and position embeddings, summed and normalised.
struct BertEmbeddings {
  BertEmbeddings(const Loader& loader, const Weights& w, const BertConfig& config);
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const TextBatch& text) const;  // (T, H)

  Tensor word_embeddings, position_embeddings, token_type_embeddings;  // (vocab, H), (positions, H), (types, H)
  LayerNorm norm;
};

/// What a layer of one call works on beside its input.
struct BertLayerCall {
  const TextBatch& text;
  const TextBatch& keys;  // of self-attention: the text, with a cache the cached positions before it
  bool causal = false;
  const CacheLayer* past = nullptr;                           // cached so far
  CacheLayer* present = nullptr;                              // receives the cache of the next call
  const Tensor* encoder = nullptr;                            // (Te, H): what cross-attention attends to
  const TextBatch* encoder_text = nullptr;                    // its rows
  Tensor *attentions = nullptr, *cross_attentions = nullptr;  // receive (B, heads, S, keys)
};

/// Self-attention, in decoders cross-attention, and feed-forward network, each followed by residual and layer norm.
struct BertLayer {
  BertLayer(const Loader& loader, const Weights& w, const BertConfig& config, int64_t index);
  /// Replaces x (T, H) by the layer's output.
  void forward(Ctx& ctx, Tensor& x, const BertLayerCall& call) const;

  int64_t heads, head_dim;
  Activation act;
  Linear self_qkv, self_output, intermediate, output;
  LayerNorm self_output_norm, output_norm;
  struct CrossAttention {
    Linear query, key_value, output;
    LayerNorm output_norm;
  };
  std::optional<CrossAttention> crossattention;

 private:
  Tensor self_attention(Ctx& ctx, const Tensor& x, const BertLayerCall& call) const;  // (T, A)
  Tensor cross_attention(Ctx& ctx, const CrossAttention& w, const Tensor& x,
                         const BertLayerCall& call) const;  // (T, H)
};

/// transformers' BertModel as a part of the models below.
struct BertBase {
  BertBase(const Loader& loader, const Weights& w, const BertConfig& bert_config, bool add_pooling_layer);
  /// -> the last hidden state's rows (T, H). Fills hidden_states, attentions, cross_attentions and past_key_values as
  /// asked. `model` names the class in messages; `text` is unpad()'s, with this->past_length().
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const TextBatch& text, ModelOutput& output,
                 const ForwardOptions& options) const;
  /// The pooler over the first token of each sequence -> (B, H).
  Tensor pool(Ctx& ctx, const Tensor& x, const TextBatch& text) const;
  /// How many positions the cache in `inputs` holds. Throws invalid_argument when it is not one of this model's.
  int64_t past_length(const char* model, const ModelInputs& inputs) const;

  BertConfig config;
  BertEmbeddings embeddings;
  std::vector<BertLayer> layers;
  std::optional<Linear> pooler;
  bool returns_cache = false;  // BertModel and BertLMHeadModel do
};

/// What the BERT classes have in common.
template <class Derived>
class BertPreTrainedModel : public ModelOf<Derived, BertConfig> {
 public:
  static constexpr const char* kBaseModelPrefix = "bert";
  static constexpr const char* kVocabularyParameters[] = {"embeddings.word_embeddings.weight",
                                                          "cls.predictions.decoder.weight", "cls.predictions.bias",
                                                          "cls.predictions.decoder.bias"};

 protected:
  using ModelOf<Derived, BertConfig>::ModelOf;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override {
    return largest_text_inputs(max_tokens, max_batch, this->config_.max_position_embeddings);
  }
  PreTrainedModel::AttentionNames attention_names(int64_t layer) const override {
    const std::string attention = "encoder.layer." + std::to_string(layer) + ".attention.";
    return {{attention + "self.query", attention + "self.key", attention + "self.value"},
            attention + "output.dense",
            this->config_.hidden_size / this->config_.num_attention_heads};
  }
};

/// The bare encoder, with the pooler unless LoadOptions::add_pooling_layer is false; with config.is_decoder a decoder.
/// Outputs: last_hidden_state, pooler_output, past_key_values, hidden_states, attentions, cross_attentions.
class BertModel final : public BertPreTrainedModel<BertModel> {
 public:
  static constexpr const char* kClassName = "BertModel";
  /// A model with random weights: from_config.
  explicit BertModel(const BertConfig& config, const LoadOptions& options = {})
      : BertModel(from_config(config, options)) {}
  /// From weights at the top of `w`. Throws unless the configuration can be run. So do the classes below.
  BertModel(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
};

/// dense, activation, layer norm, then a product with the (usually tied) word embeddings.
struct BertLMPredictionHead {
  BertLMPredictionHead(const Loader& loader, const Weights& w, const BertConfig& config);
  Tensor forward(Ctx& ctx, const Tensor& x) const;  // (T, H) -> (T, V)

  Linear transform, decoder;
  LayerNorm norm;
  Activation act;
};

/// Outputs: prediction_logits, seq_relationship_logits.
class BertForPreTraining final : public BertPreTrainedModel<BertForPreTraining> {
 public:
  static constexpr const char* kClassName = "BertForPreTraining";
  explicit BertForPreTraining(const BertConfig& config, const LoadOptions& options = {})
      : BertForPreTraining(from_config(config, options)) {}
  BertForPreTraining(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
  BertLMPredictionHead predictions_;
  Linear seq_relationship_;
};

/// The causal language model (AutoModelForCausalLM). Outputs: logits (B, S, V), past_key_values. Without
/// config.is_decoder its attention is bidirectional, as in transformers.
class BertLMHeadModel final : public BertPreTrainedModel<BertLMHeadModel> {
 public:
  static constexpr const char* kClassName = "BertLMHeadModel";
  explicit BertLMHeadModel(const BertConfig& config, const LoadOptions& options = {})
      : BertLMHeadModel(from_config(config, options)) {}
  BertLMHeadModel(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;
  bool can_generate() const override { return true; }

 private:
  BertBase bert_;
  BertLMPredictionHead predictions_;
};

/// Outputs: logits (B, S, V).
class BertForMaskedLM final : public BertPreTrainedModel<BertForMaskedLM> {
 public:
  static constexpr const char* kClassName = "BertForMaskedLM";
  explicit BertForMaskedLM(const BertConfig& config, const LoadOptions& options = {})
      : BertForMaskedLM(from_config(config, options)) {}
  BertForMaskedLM(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
  BertLMPredictionHead predictions_;
};

/// Outputs: logits (B, 2): whether the second text follows the first (column 0) or not.
class BertForNextSentencePrediction final : public BertPreTrainedModel<BertForNextSentencePrediction> {
 public:
  static constexpr const char* kClassName = "BertForNextSentencePrediction";
  explicit BertForNextSentencePrediction(const BertConfig& config, const LoadOptions& options = {})
      : BertForNextSentencePrediction(from_config(config, options)) {}
  BertForNextSentencePrediction(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
  Linear seq_relationship_;
};

/// Outputs: logits (B, num_labels).
class BertForSequenceClassification final : public BertPreTrainedModel<BertForSequenceClassification> {
 public:
  static constexpr const char* kClassName = "BertForSequenceClassification";
  explicit BertForSequenceClassification(const BertConfig& config, const LoadOptions& options = {})
      : BertForSequenceClassification(from_config(config, options)) {}
  BertForSequenceClassification(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
  Linear classifier_;
};

/// Takes (B, choices, S). Outputs: logits (B, choices).
class BertForMultipleChoice final : public BertPreTrainedModel<BertForMultipleChoice> {
 public:
  static constexpr const char* kClassName = "BertForMultipleChoice";
  explicit BertForMultipleChoice(const BertConfig& config, const LoadOptions& options = {})
      : BertForMultipleChoice(from_config(config, options)) {}
  BertForMultipleChoice(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override;

 private:
  BertBase bert_;
  Linear classifier_;
};

/// Outputs: logits (B, S, num_labels).
class BertForTokenClassification final : public BertPreTrainedModel<BertForTokenClassification> {
 public:
  static constexpr const char* kClassName = "BertForTokenClassification";
  explicit BertForTokenClassification(const BertConfig& config, const LoadOptions& options = {})
      : BertForTokenClassification(from_config(config, options)) {}
  BertForTokenClassification(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
  Linear classifier_;
};

/// Outputs: start_logits, end_logits (B, S).
class BertForQuestionAnswering final : public BertPreTrainedModel<BertForQuestionAnswering> {
 public:
  static constexpr const char* kClassName = "BertForQuestionAnswering";
  explicit BertForQuestionAnswering(const BertConfig& config, const LoadOptions& options = {})
      : BertForQuestionAnswering(from_config(config, options)) {}
  BertForQuestionAnswering(const BertConfig& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  BertBase bert_;
  Linear qa_outputs_;
};

}  // namespace caracal
