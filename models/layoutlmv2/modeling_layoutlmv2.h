// LayoutLMv2. Source: transformers/models/layoutlmv2/modeling_layoutlmv2.py; the classes and weights have its names.
#pragma once

#include <vector>

#include <caracal/models/layoutlmv2/visual_backbone.h>
#include <caracal/models/modeling_layers.h>
#include <caracal/models/padding.h>

namespace caracal {

/// A batch as the encoder sees it: each sequence's text, then the cells of its page (P), then a masked first token that
/// poolers read (see TextBatch).
struct LayoutLMv2Batch {
  TextBatch text, all;
  Tensor text_rows, visual_rows;  // (T text), (B · P) I64: where each row lies among those of `all`
  Tensor boxes;                   // (6, T text) I64, see gather_boxes()
  Tensor visual;                  // (B · P, H): the page's embeddings, as they go into the first layer
  int64_t pages = 0;              // B, or more (Ctx::bucket_images): B in the shapes above; the last belong to no text
};

/// Word, position, token-type and box embeddings, summed and normalised.
struct LayoutLMv2Embeddings {
  LayoutLMv2Embeddings(const Loader& loader, const Weights& w, const LayoutLMv2Config& config);
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const LayoutLMv2Batch& batch) const;  // (T, H)
  /// What is added to the features of a page's cells: the first positions and the cells' boxes. On the CPU, before
  /// place().
  Tensor page_positions(const Runtime& runtime, const Tensor& boxes) const;  // (P, H)
  /// Moves the tables to where ops read them.
  void place(const Loader& loader);
  /// What a box adds: embeddings of left, top, right and bottom, height and width side by side, from the numbers of
  /// gather_boxes(). Added to x (T, H).
  void add_spatial_position_embeddings(Ctx& ctx, const Tensor& boxes, Tensor& x) const;

  Tensor word_embeddings, position_embeddings, token_type_embeddings;
  Tensor x_position_embeddings, y_position_embeddings;  // (coordinates, coordinate_size)
  Tensor h_position_embeddings, w_position_embeddings;  // (coordinates, shape_size)
  LayerNorm norm;
};

/// Self-attention with a bias and feed-forward network, each followed by residual and layer norm.
struct LayoutLMv2Layer {
  LayoutLMv2Layer(const Loader& loader, const Weights& w, const LayoutLMv2Config& config);
  /// Replaces x (T, H) by the layer's output. `bias`, when not null, is relative_bias()'s; `attentions`, when not null,
  /// receives (B, heads, S + P, S + P).
  void forward(Ctx& ctx, Tensor& x, const TextBatch& text, const Tensor* bias, Tensor* attentions) const;

  int64_t heads;
  Activation act;
  Linear self_qkv, self_output, intermediate, output;
  LayerNorm self_output_norm, output_norm;
};

/// transformers' LayoutLMv2Model as a part of the models below.
struct LayoutLMv2Base {
  LayoutLMv2Base(const Loader& loader, const Weights& w, const LayoutLMv2Config& layoutlmv2_config);
  /// -> the last hidden state's rows. Fills `batch`, and hidden_states and attentions as asked. `model` names the class
  /// in messages.
  Tensor forward(Ctx& ctx, const char* model, const ModelInputs& inputs, bool keep_first, LayoutLMv2Batch& batch,
                 ModelOutput& output, const ForwardOptions& options) const;
  /// Rows x of the text alone -> (T text, H).
  Tensor text_part(Ctx& ctx, const Tensor& x, const LayoutLMv2Batch& batch) const;

  LayoutLMv2Config config;
  LayoutLMv2Embeddings embeddings;
  LayoutLMv2VisualBackbone visual;
  Linear visual_proj;
  LayerNorm visual_norm;
  Tensor visual_boxes;      // (6, P) I64: the cells' boxes, as gather_boxes() gives them
  Tensor visual_positions;  // (P, H): what is added to the page's features: positions, boxes, segment
  std::vector<LayoutLMv2Layer> layers;
  Tensor rel_pos_bias, rel_pos_x_bias, rel_pos_y_bias;  // (heads, buckets), undefined where the configuration has none

 private:
  Tensor visual_embeddings(Ctx& ctx, const char* model, const Tensor& image, int64_t batch) const;  // (B · P, H)
  Tensor attention_bias(Ctx& ctx, const char* model, const ModelInputs& inputs, const LayoutLMv2Batch& batch) const;
};

/// What the LayoutLMv2 classes have in common.
template <class Derived>
class LayoutLMv2PreTrainedModel : public ModelOf<Derived, LayoutLMv2Config> {
 public:
  static constexpr const char* kBaseModelPrefix = "layoutlmv2";
  static constexpr const char* kVocabularyParameters[] = {"embeddings.word_embeddings.weight"};

 protected:
  using ModelOf<Derived, LayoutLMv2Config>::ModelOf;
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override {
    constexpr int64_t kPixels = 224;  // a side of what LayoutLMv2ImageProcessor makes
    ModelInputs inputs = largest_text_inputs(max_tokens, max_batch, this->config_.max_position_embeddings);
    const int64_t batch = inputs.input_ids.size(0), length = inputs.input_ids.size(1);
    const int64_t channels = int64_t(VisualBackboneConfig(this->config_).pixel_mean.size());
    inputs.bbox = Tensor::zeros({batch, length, 4}, DType::I64);
    inputs.image = Tensor::zeros({batch, channels, kPixels, kPixels}, DType::U8);
    return inputs;
  }
};

/// The bare encoder. Takes input_ids or inputs_embeds, bbox and image. Outputs: last_hidden_state (B, S + P, H) with
/// the page's P cells behind the text, pooler_output, hidden_states, attentions.
class LayoutLMv2Model final : public LayoutLMv2PreTrainedModel<LayoutLMv2Model> {
 public:
  static constexpr const char* kClassName = "LayoutLMv2Model";
  /// A model with random weights: from_config.
  explicit LayoutLMv2Model(const LayoutLMv2Config& config, const LoadOptions& options = {})
      : LayoutLMv2Model(from_config(config, options)) {}
  /// From weights at the top of `w`. Throws unless the configuration can be run. So do the classes below.
  LayoutLMv2Model(const LayoutLMv2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  LayoutLMv2Base layoutlmv2_;
  Linear pooler_;
};

/// Outputs: logits (B, num_labels), from the first token, the page as it goes in and the page as it comes out.
class LayoutLMv2ForSequenceClassification final
    : public LayoutLMv2PreTrainedModel<LayoutLMv2ForSequenceClassification> {
 public:
  static constexpr const char* kClassName = "LayoutLMv2ForSequenceClassification";
  explicit LayoutLMv2ForSequenceClassification(const LayoutLMv2Config& config, const LoadOptions& options = {})
      : LayoutLMv2ForSequenceClassification(from_config(config, options)) {}
  LayoutLMv2ForSequenceClassification(const LayoutLMv2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  LayoutLMv2Base layoutlmv2_;
  Linear classifier_;
};

/// Outputs: logits (B, S, num_labels), of the text.
class LayoutLMv2ForTokenClassification final : public LayoutLMv2PreTrainedModel<LayoutLMv2ForTokenClassification> {
 public:
  static constexpr const char* kClassName = "LayoutLMv2ForTokenClassification";
  explicit LayoutLMv2ForTokenClassification(const LayoutLMv2Config& config, const LoadOptions& options = {})
      : LayoutLMv2ForTokenClassification(from_config(config, options)) {}
  LayoutLMv2ForTokenClassification(const LayoutLMv2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  LayoutLMv2Base layoutlmv2_;
  Linear classifier_;
};

/// Outputs: start_logits, end_logits (B, S). Has a visual segment embedding whatever the configuration says, as in
/// transformers.
class LayoutLMv2ForQuestionAnswering final : public LayoutLMv2PreTrainedModel<LayoutLMv2ForQuestionAnswering> {
 public:
  static constexpr const char* kClassName = "LayoutLMv2ForQuestionAnswering";
  explicit LayoutLMv2ForQuestionAnswering(const LayoutLMv2Config& config, const LoadOptions& options = {})
      : LayoutLMv2ForQuestionAnswering(from_config(config, options)) {}
  LayoutLMv2ForQuestionAnswering(const LayoutLMv2Config& config, const Weights& w, const LoadOptions& options);

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const override;

 private:
  LayoutLMv2Base layoutlmv2_;
  Linear qa_outputs_;
};

}  // namespace caracal
