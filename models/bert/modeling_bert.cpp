#include <caracal/models/bert/modeling_bert.h>

#include <caracal/models/activations.h>

namespace caracal {
namespace {

// Refuses what cannot be run before any weight is read.
const BertConfig& checked(const BertConfig& config) {
  expect_positive(config, "vocab_size", config.vocab_size);
  expect_positive(config, "hidden_size", config.hidden_size);
  expect_positive(config, "num_attention_heads", config.num_attention_heads);
  expect_positive(config, "intermediate_size", config.intermediate_size);
  expect_positive(config, "max_position_embeddings", config.max_position_embeddings);
  expect_positive(config, "type_vocab_size", config.type_vocab_size);
  expect_layer_count(config, "num_hidden_layers", config.num_hidden_layers);
  if (config.hidden_size % config.num_attention_heads != 0)
    throw Error(ErrorCode::invalid_argument, "BertConfig",
                "expected hidden_size to be a multiple of num_attention_heads but got " +
                    std::to_string(config.hidden_size) + " and " + std::to_string(config.num_attention_heads));
  if (config.add_cross_attention && !config.is_decoder)
    throw Error(ErrorCode::invalid_argument, "BertConfig",
                "expected is_decoder for add_cross_attention but got is_decoder false");
  activation_from_name(config.hidden_act);
  return config;
}

}  // namespace

BertEmbeddings::BertEmbeddings(const Loader& loader, const Weights& w, const BertConfig& config)
    : word_embeddings(load_embedding(loader, w / "word_embeddings", config.vocab_size, config.hidden_size,
                                     with_padding_row(config.pad_token_id))),
      position_embeddings(
          load_embedding(loader, w / "position_embeddings", config.max_position_embeddings, config.hidden_size)),
      token_type_embeddings(
          load_embedding(loader, w / "token_type_embeddings", config.type_vocab_size, config.hidden_size)),
      norm(load_layer_norm(loader, w / "LayerNorm", config.hidden_size, config.layer_norm_eps)) {}

Tensor BertEmbeddings::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const TextBatch& text) const {
  const int64_t positions = position_embeddings.size(0);
  expect_positions(model, inputs, text, positions);
  Tensor position_ids =
      gather_ids(ctx, {model, "position_ids"}, inputs.position_ids, Fallback::positions, positions, text);
  Tensor token_type_ids = gather_ids(ctx, {model, "token_type_ids"}, inputs.token_type_ids, Fallback::zeros,
                                     token_type_embeddings.size(0), text);
  const Lookup tokens = token_embeddings(ctx, model, inputs, word_embeddings, text);
  return embedding_norm(ctx, {tokens, {token_type_ids, token_type_embeddings}, {position_ids, position_embeddings}},
                        norm);  // (T, H)
}

BertLayer::BertLayer(const Loader& loader, const Weights& w, const BertConfig& config, int64_t index)
    : act(activation_from_name(config.hidden_act)) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const Weights attention = w / "attention", self = attention / "self";
  head_dim = hidden / config.num_attention_heads;
  heads = count_heads(self / "query", config, index, config.num_attention_heads, head_dim);
  const int64_t width = heads * head_dim;
  self_qkv = load_stacked_linear(loader, {self / "query", self / "key", self / "value"}, hidden, width);
  self_output = load_linear(loader, attention / "output" / "dense", width, hidden);
  self_output_norm = load_layer_norm(loader, attention / "output" / "LayerNorm", hidden, config.layer_norm_eps);
  if (config.add_cross_attention) {
    const Weights cross = w / "crossattention", cross_self = cross / "self";
    crossattention = CrossAttention{
        .query = load_linear(loader, cross_self / "query", hidden, hidden),
        .key_value = load_stacked_linear(loader, {cross_self / "key", cross_self / "value"}, hidden, hidden),
        .output = load_linear(loader, cross / "output" / "dense", hidden, hidden),
        .output_norm = load_layer_norm(loader, cross / "output" / "LayerNorm", hidden, config.layer_norm_eps)};
  }
  intermediate = load_linear(loader, w / "intermediate" / "dense", hidden, inner);
  output = load_linear(loader, w / "output" / "dense", inner, hidden);
  output_norm = load_layer_norm(loader, w / "output" / "LayerNorm", hidden, config.layer_norm_eps);
}

Tensor BertLayer::self_attention(Ctx& ctx, const Tensor& x, const BertLayerCall& call) const {
  Tensor qkv = linear(ctx, x, self_qkv);  // (T, 3A)
  const int64_t width = heads * head_dim;
  KeysValues cached;
  if (call.past != nullptr)
    cached = join_cache(ctx, call.past->keys, call.past->values, heads, head_dim,
                        {.rows = &qkv, .text = &call.text, .keys = width, .values = 2 * width}, call.keys);
  if (call.present != nullptr) {
    const CacheLayer empty;
    const CacheLayer& past = call.past != nullptr ? *call.past : empty;
    extend_cache(ctx, past.keys, qkv, width, heads, head_dim, call.text, call.present->keys);
    extend_cache(ctx, past.values, qkv, 2 * width, heads, head_dim, call.text, call.present->values);
  }
  Tensor probs;
  if (call.attentions != nullptr) probs = empty_attentions(ctx, heads, call.text.sequences, call.keys.sequences);
  Tensor h = attention(ctx, qkv, call.text.sequences,
                       {.heads = heads,
                        .kind = self_qkv.kind,
                        .causal = call.causal,
                        .keys_values = call.past != nullptr ? &cached : nullptr,
                        .probs = call.attentions != nullptr ? &probs : nullptr});  // (T, A)
  if (call.attentions != nullptr) pad_attentions(ctx, probs, heads, call.text, call.keys, *call.attentions);
  return h;
}

Tensor BertLayer::cross_attention(Ctx& ctx, const CrossAttention& w, const Tensor& x, const BertLayerCall& call) const {
  const int64_t width = w.query.out_features, all_heads = width / head_dim;
  Tensor query = linear(ctx, x, w.query);  // (T, H)
  KeysValues encoder;
  if (call.past != nullptr && call.past->cross_keys.defined()) {
    encoder =
        join_cache(ctx, call.past->cross_keys, call.past->cross_values, all_heads, head_dim, {}, *call.encoder_text);
    if (call.present != nullptr && !ctx.planning()) {
      call.present->cross_keys = call.past->cross_keys;
      call.present->cross_values = call.past->cross_values;
    }
  } else {
    encoder = {linear(ctx, *call.encoder, w.key_value), call.encoder_text->sequences};  // (Te, 2H)
    if (call.present != nullptr) {
      extend_cache(ctx, {}, encoder.rows, 0, all_heads, head_dim, *call.encoder_text, call.present->cross_keys);
      extend_cache(ctx, {}, encoder.rows, width, all_heads, head_dim, *call.encoder_text, call.present->cross_values);
    }
  }
  Tensor probs;
  if (call.cross_attentions != nullptr)
    probs = empty_attentions(ctx, all_heads, call.text.sequences, encoder.sequences);
  Tensor h = attention(ctx, query, call.text.sequences,
                       {.heads = all_heads,
                        .kind = w.query.kind,
                        .keys_values = &encoder,
                        .probs = call.cross_attentions != nullptr ? &probs : nullptr});  // (T, H)
  if (call.cross_attentions != nullptr)
    pad_attentions(ctx, probs, all_heads, call.text, *call.encoder_text, *call.cross_attentions);
  h = linear(ctx, h, w.output, {.residual = &x});  // (T, H)
  return layer_norm(ctx, h, w.output_norm, &h);
}

void BertLayer::forward(Ctx& ctx, Tensor& x, const BertLayerCall& call) const {  // x (T, H)
  Ctx::Scope scope(ctx);
  Tensor h = self_attention(ctx, x, call);            // (T, A)
  h = linear(ctx, h, self_output, {.residual = &x});  // (T, H)
  layer_norm(ctx, h, self_output_norm, &h);
  if (call.encoder != nullptr && crossattention) h = cross_attention(ctx, *crossattention, h, call);
  Tensor m = linear(ctx, h, intermediate, {.activation = act});  // (T, I)
  m = linear(ctx, m, output, {.residual = &h});                  // (T, H)
  layer_norm(ctx, m, output_norm, &x);
}

BertBase::BertBase(const Loader& loader, const Weights& w, const BertConfig& bert_config, bool add_pooling_layer)
    : config(checked(bert_config)), embeddings(loader, w / "embeddings", config) {
  for (int64_t i = 0; i < config.num_hidden_layers; i++)
    layers.emplace_back(loader, w / "encoder" / "layer" / i, config, i);
  if (add_pooling_layer) pooler = load_linear(loader, w / "pooler" / "dense", config.hidden_size, config.hidden_size);
}

int64_t BertBase::past_length(const char* model, const ModelInputs& inputs) const {
  if (inputs.past_key_values.empty()) return 0;
  if (!config.is_decoder)
    throw Error(ErrorCode::invalid_argument, model,
                "expected no past_key_values, as config.is_decoder is false, but got some");
  if (inputs.past_key_values.size() != layers.size())
    throw Error(ErrorCode::invalid_argument, model,
                "expected past_key_values of " + std::to_string(layers.size()) + " layers but got " +
                    std::to_string(inputs.past_key_values.size()));
  const Tensor& leading = inputs.input_ids.defined() ? inputs.input_ids : inputs.inputs_embeds;
  const int64_t batch = leading.defined() && leading.rank() > 0 ? leading.size(0) : 0;
  int64_t length = -1;
  for (size_t i = 0; i < layers.size(); i++)
    length = cached_length(model, inputs.past_key_values[i], i, batch, layers[i].heads, layers[i].head_dim, length);
  return length;
}

Tensor BertBase::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const TextBatch& text,
                         ModelOutput& output, const ForwardOptions& options) const {
  const bool with_cache = returns_cache && config.is_decoder && options.use_cache.value_or(config.use_cache);
  const TextBatch keys = text.past > 0 ? unpad_keys(ctx, {model, "attention_mask"}, inputs.attention_mask, text.batch,
                                                    text.past + text.length)
                                       : text;
  // The encoder's hidden states, padding dropped, for cross-attention.
  const Tensor& encoder_states = inputs.encoder_hidden_states;
  const bool cross = config.is_decoder && encoder_states.defined();
  TextBatch encoder_text;
  Tensor encoder;
  if (cross) {
    if (!config.add_cross_attention)
      throw Error(ErrorCode::invalid_argument, model,
                  "expected add_cross_attention for encoder_hidden_states but the configuration has it false");
    if (encoder_states.rank() != 3 || encoder_states.dtype() != DType::F32 || encoder_states.size(0) != text.batch ||
        encoder_states.size(2) != config.hidden_size)
      throw Error(ErrorCode::invalid_argument, model,
                  "expected encoder_hidden_states of shape (" + std::to_string(text.batch) + ", E, " +
                      std::to_string(config.hidden_size) + ") F32 but got " + encoder_states.shape().str());
    const int64_t length = encoder_states.size(1);
    encoder_text =
        unpad_keys(ctx, {model, "encoder_attention_mask"}, inputs.encoder_attention_mask, text.batch, length);
    encoder = gather_rows(ctx, to_device(ctx, encoder_states.reshape({text.batch * length, config.hidden_size})),
                          encoder_text.rows);  // (Te, H)
    for (const CacheLayer& layer : inputs.past_key_values) {
      const Shape want{text.batch, config.num_attention_heads, length, layers[0].head_dim};
      if (layer.cross_keys.defined() && (layer.cross_keys.shape() != want || layer.cross_values.shape() != want))
        throw Error(ErrorCode::invalid_argument, model,
                    "expected past_key_values of cross-attention of shape " + want.str() + " but got " +
                        layer.cross_keys.shape().str());
    }
  }

  Tensor x = embeddings.forward(ctx, model, inputs, text);  // (T, H)
  const size_t count = layers.size();
  output.hidden_states.resize(options.output_hidden_states ? count + 1 : 0);
  output.attentions.resize(options.output_attentions ? count : 0);
  output.cross_attentions.resize(options.output_attentions && cross ? count : 0);
  output.past_key_values.resize(with_cache ? count : 0);
  // A decoder's caches, and what it attends to, are those of the batch.
  const bool whole = options.output_hidden_states || options.output_attentions || config.is_decoder;
  int64_t first = 0;
  do {
    Ctx::Scope part_scope(ctx);
    Part part = take_sequences(ctx, x, text.sequences, first, whole);
    TextBatch some = text;
    some.sequences = part.sequences;
    for (size_t i = 0; i < count; i++) {
      Ctx::Scope scope(ctx);
      if (options.output_hidden_states) pad_rows(ctx, x, text, output.hidden_states[i]);
      BertLayerCall call{.text = some, .keys = text.past > 0 ? keys : some, .causal = config.is_decoder};
      if (!inputs.past_key_values.empty()) call.past = &inputs.past_key_values[i];
      if (with_cache) call.present = &output.past_key_values[i];
      if (with_cache && !cross) call.present->cross_keys = call.present->cross_values = {};  // of an earlier call
      if (cross) call.encoder = &encoder, call.encoder_text = &encoder_text;
      if (options.output_attentions) call.attentions = &output.attentions[i];
      if (options.output_attentions && cross) call.cross_attentions = &output.cross_attentions[i];
      layers[i].forward(ctx, part.rows, call);
    }
    first += part.sequences.batch;
  } while (first < text.sequences.batch);
  if (options.output_hidden_states) pad_rows(ctx, x, text, output.hidden_states.back());
  return x;
}

Tensor BertBase::pool(Ctx& ctx, const Tensor& x, const TextBatch& text) const {
  return linear(ctx, gather_rows(ctx, x, text.first_rows), *pooler, {.activation = Activation::tanh});
}

BertModel::BertModel(const BertConfig& config, const Weights& w, const LoadOptions& options)
    : BertPreTrainedModel(config, options), bert_(loader(), w, config, options.add_pooling_layer) {
  bert_.returns_cache = true;
}

void BertModel::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const {
  const bool pooler = bert_.pooler.has_value();
  const TextBatch text = unpad(ctx, kClassName, inputs, pooler, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  pad_rows(ctx, x, text, output.last_hidden_state);
  if (pooler)
    copy_sequences(ctx, bert_.pool(ctx, x, text), text, output.pooler_output);
  else
    output.pooler_output = {};
}

// The decoder is tied to the word embeddings; its bias and the head's are one parameter.
static Weights tied(const Weights& w, const BertConfig& config) {
  if (config.tie_word_embeddings) {
    w.tie("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight");
    w.tie("cls.predictions.decoder.bias", "cls.predictions.bias");
  }
  return w;
}

BertLMPredictionHead::BertLMPredictionHead(const Loader& loader, const Weights& w, const BertConfig& config)
    : transform(load_linear(loader, w / "transform" / "dense", config.hidden_size, config.hidden_size)),
      norm(load_layer_norm(loader, w / "transform" / "LayerNorm", config.hidden_size, config.layer_norm_eps)) {
  act = activation_from_name(config.hidden_act);
  w.get("bias", {config.vocab_size});  // untied, nothing reads it; it is still a parameter of the model
  decoder = load_linear(loader, w / "decoder", config.hidden_size, config.vocab_size);
}

Tensor BertLMPredictionHead::forward(Ctx& ctx, const Tensor& x) const {
  Tensor h = linear(ctx, x, transform, {.activation = act});  // (T, H)
  layer_norm(ctx, h, norm, &h);
  return linear(ctx, h, decoder);  // (T, V)
}

BertForPreTraining::BertForPreTraining(const BertConfig& config, const Weights& w, const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), tied(w, config) / "bert", config, true),
      predictions_(loader(), w / "cls" / "predictions", config),
      seq_relationship_(load_linear(loader(), w / "cls" / "seq_relationship", config.hidden_size, 2)) {}

void BertForPreTraining::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                             const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, true, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  pad_rows(ctx, predictions_.forward(ctx, x), text, output.prediction_logits);
  copy_sequences(ctx, linear(ctx, bert_.pool(ctx, x, text), seq_relationship_), text, output.seq_relationship_logits);
}

BertLMHeadModel::BertLMHeadModel(const BertConfig& config, const Weights& w, const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), tied(w, config) / "bert", config, false),
      predictions_(loader(), w / "cls" / "predictions", config) {
  bert_.returns_cache = true;
  if (!config.is_decoder)
    runtime().log(LogLevel::warning,
                  "BertLMHeadModel: config.is_decoder is false: attention is bidirectional, which no causal language "
                  "model wants");
}

void BertLMHeadModel::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                          const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  pad_rows(ctx, predictions_.forward(ctx, x), text, output.logits);
}

BertForMaskedLM::BertForMaskedLM(const BertConfig& config, const Weights& w, const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), tied(w, config) / "bert", config, false),
      predictions_(loader(), w / "cls" / "predictions", config) {}

void BertForMaskedLM::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                          const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  pad_rows(ctx, predictions_.forward(ctx, x), text, output.logits);
}

BertForNextSentencePrediction::BertForNextSentencePrediction(const BertConfig& config, const Weights& w,
                                                             const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), w / "bert", config, true),
      seq_relationship_(load_linear(loader(), w / "cls" / "seq_relationship", config.hidden_size, 2)) {}

void BertForNextSentencePrediction::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                        const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, true, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  copy_sequences(ctx, linear(ctx, bert_.pool(ctx, x, text), seq_relationship_), text, output.logits);
}

BertForSequenceClassification::BertForSequenceClassification(const BertConfig& config, const Weights& w,
                                                             const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), w / "bert", config, true),
      classifier_(load_linear(loader(), w / "classifier", config.hidden_size, label_count(config))) {}

void BertForSequenceClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                        const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, true, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);                      // (T, H)
  copy_sequences(ctx, linear(ctx, bert_.pool(ctx, x, text), classifier_), text, output.logits);  // (B, C)
}

BertForMultipleChoice::BertForMultipleChoice(const BertConfig& config, const Weights& w, const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), w / "bert", config, true),
      classifier_(load_linear(loader(), w / "classifier", config.hidden_size, 1)) {}

void BertForMultipleChoice::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                const ForwardOptions& options) const {
  int64_t choices = 1;
  const ModelInputs flat = flatten_choices(kClassName, inputs, &choices);  // (B · N, S)
  const TextBatch text = unpad(ctx, kClassName, flat, true, bert_.past_length(kClassName, flat));
  Tensor x = bert_.forward(ctx, kClassName, flat, text, output, options);  // (T, H)
  Tensor logits = linear(ctx, bert_.pool(ctx, x, text), classifier_);      // (B · N, 1)
  copy_out(ctx, logits, {text.batch / choices, choices}, output.logits);   // (B, N)
}

ModelInputs BertForMultipleChoice::largest_inputs(int64_t max_tokens, int64_t max_batch) const {
  return with_one_choice(largest_text_inputs(max_tokens, max_batch, config_.max_position_embeddings));
}

BertForTokenClassification::BertForTokenClassification(const BertConfig& config, const Weights& w,
                                                       const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), w / "bert", config, false),
      classifier_(load_linear(loader(), w / "classifier", config.hidden_size, label_count(config))) {}

void BertForTokenClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                     const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  pad_rows(ctx, linear(ctx, x, classifier_), text, output.logits);           // (B, S, C)
}

BertForQuestionAnswering::BertForQuestionAnswering(const BertConfig& config, const Weights& w,
                                                   const LoadOptions& options)
    : BertPreTrainedModel(config, options),
      bert_(loader(), w / "bert", config, false),
      qa_outputs_(load_linear(loader(), w / "qa_outputs", config.hidden_size, two_labels(config))) {}

void BertForQuestionAnswering::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                   const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, kClassName, inputs, false, bert_.past_length(kClassName, inputs));
  Tensor x = bert_.forward(ctx, kClassName, inputs, text, output, options);  // (T, H)
  Tensor logits = linear(ctx, x, qa_outputs_);                               // (T, 2)
  pad_column(ctx, logits, 0, text, output.start_logits);
  pad_column(ctx, logits, 1, text, output.end_logits);
}

}  // namespace caracal
