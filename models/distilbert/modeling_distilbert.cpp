#include <caracal/models/distilbert/modeling_distilbert.h>

#include <caracal/models/activations.h>

namespace caracal {
namespace {

constexpr double kEps = 1e-12;  // of every layer norm: not configurable

// Refuses what cannot be run before any weight is read.
const DistilBertConfig& checked(const DistilBertConfig& config) {
  expect_positive(config, "vocab_size", config.vocab_size);
  expect_positive(config, "dim", config.dim);
  expect_positive(config, "n_heads", config.n_heads);
  expect_positive(config, "hidden_dim", config.hidden_dim);
  expect_positive(config, "max_position_embeddings", config.max_position_embeddings);
  expect_layer_count(config, "n_layers", config.n_layers);
  if (config.dim % config.n_heads != 0)
    throw Error(ErrorCode::invalid_argument, "DistilBertConfig",
                "expected dim to be a multiple of n_heads but got " + std::to_string(config.dim) + " and " +
                    std::to_string(config.n_heads));
  activation_from_name(config.activation);
  return config;
}

}  // namespace

DistilBertTransformerBlock::DistilBertTransformerBlock(const Loader& loader, const Weights& w,
                                                       const DistilBertConfig& config, int64_t index)
    : activation(activation_from_name(config.activation)) {
  const int64_t dim = config.dim, head_dim = dim / config.n_heads;
  const Weights attention = w / "attention", ffn = w / "ffn";
  heads = count_heads(attention / "q_lin", config, index, config.n_heads, head_dim);
  qkv = load_stacked_linear(loader, {attention / "q_lin", attention / "k_lin", attention / "v_lin"}, dim,
                            heads * head_dim);
  out_lin = load_linear(loader, attention / "out_lin", heads * head_dim, dim);
  sa_layer_norm = load_layer_norm(loader, w / "sa_layer_norm", dim, kEps);
  lin1 = load_linear(loader, ffn / "lin1", dim, config.hidden_dim);
  lin2 = load_linear(loader, ffn / "lin2", config.hidden_dim, dim);
  output_layer_norm = load_layer_norm(loader, w / "output_layer_norm", dim, kEps);
}

void DistilBertTransformerBlock::forward(Ctx& ctx, Tensor& x, const TextBatch& text, Tensor* attentions) const {
  Ctx::Scope scope(ctx);
  Tensor probs;
  if (attentions != nullptr) probs = empty_attentions(ctx, heads, text.sequences, text.sequences);
  Tensor h = linear(ctx, x, qkv);  // (T, 3A)
  h = attention(ctx, h, text.sequences,
                {.heads = heads, .kind = qkv.kind, .probs = attentions != nullptr ? &probs : nullptr});  // (T, A)
  if (attentions != nullptr) pad_attentions(ctx, probs, heads, text, text, *attentions);
  h = linear(ctx, h, out_lin, {.residual = &x});  // (T, dim)
  layer_norm(ctx, h, sa_layer_norm, &h);
  Tensor m = linear(ctx, h, lin1, {.activation = activation});  // (T, hidden_dim)
  m = linear(ctx, m, lin2, {.residual = &h});                   // (T, dim)
  layer_norm(ctx, m, output_layer_norm, &x);
}

DistilBertBase::DistilBertBase(const Loader& loader, const Weights& w, const DistilBertConfig& config)
    : word_embeddings(load_embedding(loader, w / "embeddings" / "word_embeddings", checked(config).vocab_size,
                                     config.dim, with_padding_row(config.pad_token_id))),
      position_embeddings(
          load_embedding(loader, w / "embeddings" / "position_embeddings", config.max_position_embeddings, config.dim,
                         {.kind = config.sinusoidal_pos_embds ? Init::Kind::sinusoidal : Init::Kind::by_name})),
      norm(load_layer_norm(loader, w / "embeddings" / "LayerNorm", config.dim, kEps)) {
  for (int64_t i = 0; i < config.n_layers; i++) layers.emplace_back(loader, w / "transformer" / "layer" / i, config, i);
}

Tensor DistilBertBase::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const TextBatch& text,
                               ModelOutput& output, const ForwardOptions& options) const {
  const int64_t positions = position_embeddings.size(0);
  expect_positions(model, inputs, text, positions);
  Tensor position_ids =
      gather_ids(ctx, {model, "position_ids"}, inputs.position_ids, Fallback::positions, positions, text);
  const Lookup tokens = token_embeddings(ctx, model, inputs, word_embeddings, text);
  Tensor x = embedding_norm(ctx, {tokens, {position_ids, position_embeddings}}, norm);  // (T, dim)
  output.hidden_states.resize(options.output_hidden_states ? layers.size() + 1 : 0);
  output.attentions.resize(options.output_attentions ? layers.size() : 0);
  const bool whole = options.output_hidden_states || options.output_attentions;
  int64_t first = 0;
  do {
    Ctx::Scope part_scope(ctx);
    Part part = take_sequences(ctx, x, text.sequences, first, whole);
    TextBatch some = text;
    some.sequences = part.sequences;
    for (size_t i = 0; i < layers.size(); i++) {
      Ctx::Scope scope(ctx);
      if (options.output_hidden_states) pad_rows(ctx, x, text, output.hidden_states[i]);
      layers[i].forward(ctx, part.rows, some, options.output_attentions ? &output.attentions[i] : nullptr);
    }
    first += part.sequences.batch;
  } while (first < text.sequences.batch);
  if (options.output_hidden_states) pad_rows(ctx, x, text, output.hidden_states.back());
  return x;
}

DistilBertModel::DistilBertModel(const DistilBertConfig& config, const Weights& w, const LoadOptions& options)
    : DistilBertPreTrainedModel(config, options), distilbert_(loader(), w, config) {}

void DistilBertModel::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                          const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false);
  Tensor x = distilbert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, dim)
  pad_rows(ctx, x, text, output.last_hidden_state);
}

static Weights tied(const Weights& w, const DistilBertConfig& config) {
  if (config.tie_word_embeddings) w.tie("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight");
  return w;
}

DistilBertForMaskedLM::DistilBertForMaskedLM(const DistilBertConfig& config, const Weights& w,
                                             const LoadOptions& options)
    : DistilBertPreTrainedModel(config, options),
      distilbert_(loader(), tied(w, config) / "distilbert", config),
      vocab_transform_(load_linear(loader(), w / "vocab_transform", config.dim, config.dim)),
      vocab_projector_(load_linear(loader(), w / "vocab_projector", config.dim, config.vocab_size)),
      vocab_layer_norm_(load_layer_norm(loader(), w / "vocab_layer_norm", config.dim, kEps)),
      activation_(activation_from_name(config.activation)) {}

void DistilBertForMaskedLM::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false);
  Tensor x = distilbert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, dim)
  x = linear(ctx, x, vocab_transform_, {.activation = activation_});               // (T, dim)
  layer_norm(ctx, x, vocab_layer_norm_, &x);
  pad_rows(ctx, linear(ctx, x, vocab_projector_), text, output.logits);  // (B, S, V)
}

DistilBertForSequenceClassification::DistilBertForSequenceClassification(const DistilBertConfig& config,
                                                                         const Weights& w, const LoadOptions& options)
    : DistilBertPreTrainedModel(config, options),
      distilbert_(loader(), w / "distilbert", config),
      pre_classifier_(load_linear(loader(), w / "pre_classifier", config.dim, config.dim)),
      classifier_(load_linear(loader(), w / "classifier", config.dim, label_count(config))) {}

void DistilBertForSequenceClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                              const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, true);
  Tensor x = distilbert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, dim)
  x = gather_rows(ctx, x, text.first_rows);                                        // (B, dim)
  x = linear(ctx, x, pre_classifier_, {.activation = Activation::relu});
  copy_sequences(ctx, linear(ctx, x, classifier_), text, output.logits);  // (B, C)
}

DistilBertForQuestionAnswering::DistilBertForQuestionAnswering(const DistilBertConfig& config, const Weights& w,
                                                               const LoadOptions& options)
    : DistilBertPreTrainedModel(config, options),
      distilbert_(loader(), w / "distilbert", config),
      qa_outputs_(load_linear(loader(), w / "qa_outputs", config.dim, two_labels(config))) {}

void DistilBertForQuestionAnswering::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                         const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false);
  Tensor x = distilbert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, dim)
  Tensor logits = linear(ctx, x, qa_outputs_);                                     // (T, 2)
  pad_column(ctx, logits, 0, text, output.start_logits);
  pad_column(ctx, logits, 1, text, output.end_logits);
}

DistilBertForTokenClassification::DistilBertForTokenClassification(const DistilBertConfig& config, const Weights& w,
                                                                   const LoadOptions& options)
    : DistilBertPreTrainedModel(config, options),
      distilbert_(loader(), w / "distilbert", config),
      classifier_(load_linear(loader(), w / "classifier", config.dim, label_count(config))) {}

void DistilBertForTokenClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                           const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false);
  Tensor x = distilbert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, dim)
  pad_rows(ctx, linear(ctx, x, classifier_), text, output.logits);                 // (B, S, C)
}

DistilBertForMultipleChoice::DistilBertForMultipleChoice(const DistilBertConfig& config, const Weights& w,
                                                         const LoadOptions& options)
    : DistilBertPreTrainedModel(config, options),
      distilbert_(loader(), w / "distilbert", config),
      pre_classifier_(load_linear(loader(), w / "pre_classifier", config.dim, config.dim)),
      classifier_(load_linear(loader(), w / "classifier", config.dim, 1)) {}

void DistilBertForMultipleChoice::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                      const ForwardOptions& options) const {
  int64_t choices = 1;
  const ModelInputs flat = flatten_choices(kClassName, inputs, &choices);  // (B · N, S)
  const TextBatch text = unpad(ctx, kClassName, flat, true);
  Tensor x = distilbert_.forward(ctx, kClassName, flat, text, output, options);  // (T, dim)
  x = gather_rows(ctx, x, text.first_rows);                                      // (B · N, dim)
  x = linear(ctx, x, pre_classifier_, {.activation = Activation::relu});
  Tensor logits = linear(ctx, x, classifier_);                            // (B · N, 1)
  copy_out(ctx, logits, {text.batch / choices, choices}, output.logits);  // (B, N)
}

ModelInputs DistilBertForMultipleChoice::largest_inputs(int64_t max_tokens, int64_t max_batch) const {
  return with_one_choice(largest_text_inputs(max_tokens, max_batch, config_.max_position_embeddings));
}

}  // namespace caracal
