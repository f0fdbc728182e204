// Wav2Vec2. Source: transformers/models/wav2vec2/modeling_wav2vec2.py; the classes and weights have its names.
//
// Rows are frames. A batch is computed over all samples, padding included, as transformers does; from the feature
// projection on, frames that attention_mask masks are dropped (they are 0 there, which is what the positional
// convolution sees beyond the end), unless something that counts is made from them. With ForwardOptions::per_utterance
// each utterance has its own length from the first sample on.
#pragma once

#include <optional>
#include <vector>

#include <caracal/models/modeling_layers.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/models/padding.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>
#include <caracal/runtime/checked.h>

namespace caracal {

/// One convolution of the feature encoder and the norm behind it, if any.
struct Wav2Vec2ConvLayer {
  Convolution conv;                       // unless
  std::optional<NormalizedConv1d> first;  // it is the first of a "group" model: normalised over time for each channel
  std::optional<LayerNorm> layer_norm;    // over channels
};

/// From samples to frames.
struct Wav2Vec2FeatureEncoder {
  Wav2Vec2FeatureEncoder(const Loader& loader, const Weights& w, const Wav2Vec2Config& config);
  /// x (N), all samples one after another, -> (T, conv_dim). `frames` receives the sequences of the result.
  Tensor forward(Ctx& ctx, const Tensor& x, const Ragged& samples, Ragged* frames) const;

  std::vector<Wav2Vec2ConvLayer> layers;
  Activation activation;
};

/// Self-attention and feed-forward network: a norm behind each, or before each with do_stable_layer_norm.
struct Wav2Vec2EncoderLayer {
  Wav2Vec2EncoderLayer(const Loader& loader, const Weights& w, const Wav2Vec2Config& config, int64_t index);
  /// Replaces x (T, H) by the layer's output; `attentions`, when given, receives (B, heads, S, S).
  void forward(Ctx& ctx, Tensor& x, const TextBatch& frames, Tensor* attentions) const;

  int64_t heads;
  bool stable;
  Activation activation;
  Linear qkv, out_proj, intermediate_dense, output_dense;
  LayerNorm layer_norm, final_layer_norm;
  struct AttnAdapter {  // of one language, in MMS checkpoints
    LayerNorm norm;
    Linear linear_1, linear_2;
  };
  std::optional<AttnAdapter> adapter_layer;
};

/// Positional convolution and layers.
struct Wav2Vec2Encoder {
  Wav2Vec2Encoder(const Loader& loader, const Weights& w, const Wav2Vec2Config& config);
  /// x (T, H) -> (T, H). Fills hidden_states, the last of which is before the final norm of a stable encoder, and
  /// attentions as asked. `mix`, when given, is a weight for each hidden state, whose sum is returned instead.
  Tensor forward(Ctx& ctx, const Tensor& x, const TextBatch& frames, const std::vector<float>* mix, ModelOutput& output,
                 const ForwardOptions& options) const;

  bool stable;
  Activation activation;
  Convolution pos_conv_embed;
  LayerNorm layer_norm;
  std::vector<Wav2Vec2EncoderLayer> layers;
};

/// Convolutions of stride 2, each with a gate, behind the encoder.
struct Wav2Vec2Adapter {
  Wav2Vec2Adapter(const Loader& loader, const Weights& w, const Wav2Vec2Config& config);
  /// x (T, H) -> (T', output_hidden_size); replaces `frames`.
  Tensor forward(Ctx& ctx, const Tensor& x, Ragged* frames) const;
  /// Frames that as many frames give.
  int64_t outputs(int64_t frames) const;

  std::optional<Linear> proj;
  std::optional<LayerNorm> proj_layer_norm;
  std::vector<Convolution> layers;
};

/// How a model above uses the base model.
struct Wav2Vec2Use {
  const std::vector<float>* mix = nullptr;  // weights of a sum of all hidden states, in place of the last
  bool beyond_mask = false;                 // it computes counted values from masked frames too
};

/// What the base model returns, in rows.
struct Wav2Vec2Encoded {
  Tensor hidden;             // (T, H)
  TextBatch frames;          // of `hidden`: keys count, rows beyond are masked frames that are there nevertheless
  Tensor features;           // (T0, conv_dim): normalised features of all frames
  TextBatch feature_frames;  // of `features`, where keys count
  Tensor counted_samples;    // (B, or more) I64: sums of attention_mask
  bool masked = false;       // there is an attention_mask, to be read as transformers does
};

/// transformers' Wav2Vec2Model, as a part of the models below.
struct Wav2Vec2Base {
  Wav2Vec2Base(const Loader& loader, const Weights& w, const Wav2Vec2Config& config);
  Wav2Vec2Encoded forward(Ctx& ctx, const char* model, const ModelInputs& inputs, ModelOutput& output,
                          const ForwardOptions& options, const Wav2Vec2Use& use = {}) const;

  Wav2Vec2Config config;
  Wav2Vec2FeatureEncoder feature_extractor;
  LayerNorm feature_layer_norm;  // of the feature projection
  Linear feature_projection;
  Tensor masked_spec_embed;  // (1, H), or undefined
  Wav2Vec2Encoder encoder;
  std::optional<Wav2Vec2Adapter> adapter;

 private:
  void mask_frames(Ctx& ctx, const char* model, const Tensor& mask_time_indices, const TextBatch& frames,
                   Tensor& x) const;
};

/// What the Wav2Vec2 classes have in common.
template <class Derived>
class Wav2Vec2PreTrainedModel : public ModelOf<Derived, Wav2Vec2Config> {
 public:
  static constexpr const char* kBaseModelPrefix = "wav2vec2";

 protected:
  using ModelOf<Derived, Wav2Vec2Config>::ModelOf;
  /// One utterance of so many frames, and some for the ends of others.
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override {
    ModelInputs inputs;
    inputs.input_values = Tensor::empty({1, this->config_.most_samples_of(max_tokens, max_batch)});
    return inputs;
  }
  PreTrainedModel::AttentionNames attention_names(int64_t layer) const override {
    const std::string attention = "encoder.layers." + std::to_string(layer) + ".attention.";
    return {{attention + "q_proj", attention + "k_proj", attention + "v_proj"},
            attention + "out_proj",
            this->config_.hidden_size / this->config_.num_attention_heads};
  }
};

/// The bare model.
/// Outputs: last_hidden_state (B, S, H), extract_features (B, S, conv_dim), hidden_states, attentions.
class Wav2Vec2Model final : public Wav2Vec2PreTrainedModel<Wav2Vec2Model> {
 public:
  static constexpr const char* kClassName = "Wav2Vec2Model";
  /// A model with random weights: from_config.
  explicit Wav2Vec2Model(const Wav2Vec2Config& config, const LoadOptions& options = {})
      : Wav2Vec2Model(from_config(config, options)) {}
  /// From weights at the top of `w`. Throws unless the configuration can be run. So do the classes below.
  Wav2Vec2Model(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  Wav2Vec2Base wav2vec2_;
};

/// The model and the quantizer it learns from, in evaluation mode.
/// Outputs: projected_states, projected_quantized_states (B, S, proj_codevector_dim), codevector_perplexity ().
class Wav2Vec2ForPreTraining final : public Wav2Vec2PreTrainedModel<Wav2Vec2ForPreTraining> {
 public:
  static constexpr const char* kClassName = "Wav2Vec2ForPreTraining";
  explicit Wav2Vec2ForPreTraining(const Wav2Vec2Config& config, const LoadOptions& options = {})
      : Wav2Vec2ForPreTraining(from_config(config, options)) {}
  Wav2Vec2ForPreTraining(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  void put_perplexity(Ctx& ctx, const Tensor& codes, const TextBatch& frames, const Tensor& mask_time_indices,
                      Tensor& out) const;

  Wav2Vec2Base wav2vec2_;
  Linear weight_proj_;
  Tensor codevectors_;  // (groups · codevectors, codevector_dim / groups)
  Linear project_hid_, project_q_;
};

/// Outputs: logits (B, S, vocab_size), frames behind the adapter if there is one. LoadOptions::target_lang takes the
/// attention adapters and the head of a language from adapter.<lang>.safetensors beside the checkpoint.
class Wav2Vec2ForCTC final : public Wav2Vec2PreTrainedModel<Wav2Vec2ForCTC> {
 public:
  static constexpr const char* kClassName = "Wav2Vec2ForCTC";
  explicit Wav2Vec2ForCTC(const Wav2Vec2Config& config, const LoadOptions& options = {})
      : Wav2Vec2ForCTC(from_config(config, options)) {}
  Wav2Vec2ForCTC(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options);
  /// What target_lang asks for: the language's tensors in `w`, its vocabulary size in `config`. Throws not_found, or
  /// bad_file when the file's tensors are not exactly the model's adapters and head.
  static void adapt(Wav2Vec2Config& config, const Weights& w, const std::string& directory, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  Wav2Vec2Base wav2vec2_;
  Linear lm_head_;
};

/// Outputs: logits (B, num_labels).
class Wav2Vec2ForSequenceClassification final : public Wav2Vec2PreTrainedModel<Wav2Vec2ForSequenceClassification> {
 public:
  static constexpr const char* kClassName = "Wav2Vec2ForSequenceClassification";
  explicit Wav2Vec2ForSequenceClassification(const Wav2Vec2Config& config, const LoadOptions& options = {})
      : Wav2Vec2ForSequenceClassification(from_config(config, options)) {}
  Wav2Vec2ForSequenceClassification(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  Wav2Vec2Base wav2vec2_;
  std::vector<float> mix_;  // empty without use_weighted_layer_sum
  Linear projector_, classifier_;
};

/// Outputs: logits (B, S, num_labels).
class Wav2Vec2ForAudioFrameClassification final : public Wav2Vec2PreTrainedModel<Wav2Vec2ForAudioFrameClassification> {
 public:
  static constexpr const char* kClassName = "Wav2Vec2ForAudioFrameClassification";
  explicit Wav2Vec2ForAudioFrameClassification(const Wav2Vec2Config& config, const LoadOptions& options = {})
      : Wav2Vec2ForAudioFrameClassification(from_config(config, options)) {}
  Wav2Vec2ForAudioFrameClassification(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  Wav2Vec2Base wav2vec2_;
  std::vector<float> mix_;
  Linear classifier_;
};

/// Outputs: embeddings and logits (B, xvector_output_dim).
class Wav2Vec2ForXVector final : public Wav2Vec2PreTrainedModel<Wav2Vec2ForXVector> {
 public:
  static constexpr const char* kClassName = "Wav2Vec2ForXVector";
  explicit Wav2Vec2ForXVector(const Wav2Vec2Config& config, const LoadOptions& options = {})
      : Wav2Vec2ForXVector(from_config(config, options)) {}
  Wav2Vec2ForXVector(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  Wav2Vec2Base wav2vec2_;
  std::vector<float> mix_;
  Linear projector_;
  std::vector<Convolution> tdnn_;
  Linear feature_extractor_, classifier_;
};

}  // namespace caracal
