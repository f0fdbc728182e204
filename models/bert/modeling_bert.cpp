#include <caracal/models/bert/modeling_bert.h>

#include <caracal/models/activations.h>

namespace caracal {
namespace {

// Refuses what cannot be run before any weight is read.
const BertConfig& checked(const BertConfig& config) {
  auto expect = [](bool ok, const std::string& what) {
    if (!ok) throw Error(ErrorCode::invalid_argument, "BertConfig", what);
  };
  auto positive = [&](const char* name, int64_t value) {
    expect(value > 0 && value < int64_t(1) << 31,
           std::string("field '") + name + "' expected a positive 32-bit int but got " + std::to_string(value));
  };
  positive("vocab_size", config.vocab_size);
  positive("hidden_size", config.hidden_size);
  positive("num_attention_heads", config.num_attention_heads);
  positive("intermediate_size", config.intermediate_size);
  positive("max_position_embeddings", config.max_position_embeddings);
  positive("type_vocab_size", config.type_vocab_size);
  expect(config.num_hidden_layers >= 0 && config.num_hidden_layers <= 10'000,
         "field 'num_hidden_layers' expected 0 to 10000 but got " + std::to_string(config.num_hidden_layers));
  expect(config.hidden_size % config.num_attention_heads == 0,
         "expected hidden_size to be a multiple of num_attention_heads but got " + std::to_string(config.hidden_size) +
             " and " + std::to_string(config.num_attention_heads));
  activation_from_name(config.hidden_act);
  if (config.is_decoder)
    throw Error(ErrorCode::unsupported, "BertModel",
                "expected an encoder but got a configuration with is_decoder = true");
  return config;
}

}  // namespace

BertEmbeddings::BertEmbeddings(const Weights& w, const BertConfig& config)
    : word_embeddings(load_embedding(w / "word_embeddings", config.vocab_size, config.hidden_size)),
      position_embeddings(
          load_embedding(w / "position_embeddings", config.max_position_embeddings, config.hidden_size)),
      token_type_embeddings(load_embedding(w / "token_type_embeddings", config.type_vocab_size, config.hidden_size)),
      norm(load_layer_norm(w / "LayerNorm", config.hidden_size, config.layer_norm_eps)) {}

Tensor BertEmbeddings::forward(Ctx& ctx, const ModelInputs& inputs, const TextBatch& text) const {
  const int64_t positions = position_embeddings.size(0), hidden = word_embeddings.size(1);
  if (text.length > positions && !inputs.position_ids.defined())
    throw Error(ErrorCode::invalid_argument, "BertModel",
                "expected at most max_position_embeddings = " + std::to_string(positions) + " tokens but got " +
                    std::to_string(text.length));
  Tensor position_ids =
      gather_ids(ctx, "BertModel: position_ids", inputs.position_ids, Fallback::positions, positions, text);
  Tensor token_type_ids = gather_ids(ctx, "BertModel: token_type_ids", inputs.token_type_ids, Fallback::zeros,
                                     token_type_embeddings.size(0), text);

  Tensor x;  // (T, H)
  if (inputs.input_ids.defined()) {
    x = embedding(
        ctx, gather_ids(ctx, "BertModel: input_ids", inputs.input_ids, Fallback::zeros, word_embeddings.size(0), text),
        word_embeddings);
  } else {
    if (inputs.inputs_embeds.size(2) != hidden || inputs.inputs_embeds.dtype() != DType::F32)
      throw Error(ErrorCode::invalid_argument, "BertModel",
                  "expected inputs_embeds of shape (B, S, " + std::to_string(hidden) + ") F32 but got " +
                      inputs.inputs_embeds.shape().str() + " " + std::string(name_of(inputs.inputs_embeds.dtype())));
    x = gather_rows(ctx, inputs.inputs_embeds.reshape({text.batch * text.length, hidden}), text.rows);
  }
  embedding(ctx, token_type_ids, token_type_embeddings, &x);
  embedding(ctx, position_ids, position_embeddings, &x);
  return layer_norm(ctx, x, norm, &x);
}

BertLayer::BertLayer(const Loader& loader, const Weights& w, const BertConfig& config)
    : heads(config.num_attention_heads), act(activation_from_name(config.hidden_act)) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const Weights attention = w / "attention", self = attention / "self";
  self_qkv = load_stacked_linear(loader, {self / "query", self / "key", self / "value"}, hidden, hidden);
  self_output = load_linear(loader, attention / "output" / "dense", hidden, hidden);
  self_output_norm = load_layer_norm(attention / "output" / "LayerNorm", hidden, config.layer_norm_eps);
  intermediate = load_linear(loader, w / "intermediate" / "dense", hidden, inner);
  output = load_linear(loader, w / "output" / "dense", inner, hidden);
  output_norm = load_layer_norm(w / "output" / "LayerNorm", hidden, config.layer_norm_eps);
}

void BertLayer::forward(Ctx& ctx, Tensor& x, const Ragged& sequences, Tensor* probs) const {  // x (T, H)
  Ctx::Scope scope(ctx);
  Tensor qkv = linear(ctx, x, self_qkv);                                        // (T, 3H)
  Tensor h = attention(ctx, qkv, sequences, {.heads = heads, .probs = probs});  // (T, H)
  h = linear(ctx, h, self_output, {.residual = &x});                            // (T, H)
  layer_norm(ctx, h, self_output_norm, &h);
  Tensor m = linear(ctx, h, intermediate, {.activation = act});  // (T, I)
  m = linear(ctx, m, output, {.residual = &h});                  // (T, H)
  layer_norm(ctx, m, output_norm, &x);
}

BertModel BertModel::from_pretrained(const std::string& path, const LoadOptions& options) {
  return load_pretrained<BertModel>(path, options);
}

BertModel::BertModel(const BertConfig& config, const Weights& w, const LoadOptions& options)
    : PreTrainedModel(options.runtime),
      config_(checked(config)),
      store_(std::make_unique<WeightStore>()),
      embeddings_(w / "embeddings", config_) {
  const Loader loader{runtime(), *store_};
  for (int64_t i = 0; i < config_.num_hidden_layers; i++) {
    const Weights layer = w / "encoder" / "layer" / i;
    // A missing head is drawn at random; a missing layer is a damaged checkpoint.
    if (!(layer / "attention" / "self" / "query").has("weight"))
      throw Error(ErrorCode::bad_file, layer.prefix(),
                  "expected num_hidden_layers = " + std::to_string(config_.num_hidden_layers) +
                      " layers of weights but got none for this one");
    layers_.emplace_back(loader, layer, config_);
  }
  if (options.add_pooling_layer)
    pooler_ = load_linear(loader, w / "pooler" / "dense", config_.hidden_size, config_.hidden_size);
}

void BertModel::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const {
  const TextBatch text = unpad(ctx, "BertModel", inputs, pooler_.has_value());
  Tensor x = embeddings_.forward(ctx, inputs, text);  // (T, H)
  output.hidden_states.resize(options.output_hidden_states ? layers_.size() + 1 : 0);
  output.attentions.resize(options.output_attentions ? layers_.size() : 0);
  for (size_t i = 0; i < layers_.size(); i++) {
    Ctx::Scope scope(ctx);
    if (options.output_hidden_states) pad_rows(ctx, x, text, output.hidden_states[i]);
    Tensor probs;
    if (options.output_attentions) probs = empty_attentions(ctx, config_.num_attention_heads, text.sequences);
    layers_[i].forward(ctx, x, text.sequences, options.output_attentions ? &probs : nullptr);
    if (options.output_attentions) pad_attentions(ctx, probs, config_.num_attention_heads, text, output.attentions[i]);
  }
  if (options.output_hidden_states) pad_rows(ctx, x, text, output.hidden_states.back());
  pad_rows(ctx, x, text, output.last_hidden_state);
  if (!pooler_) {
    output.pooler_output = {};
    return;
  }
  Tensor pooled =
      linear(ctx, gather_rows(ctx, x, text.first_rows), *pooler_, {.activation = Activation::tanh});  // (B, H)
  copy_out(ctx, pooled, output.pooler_output);
}

ModelInputs BertModel::largest_inputs(int64_t max_tokens, int64_t max_batch) const {
  return largest_text_inputs(max_tokens, max_batch, config_.max_position_embeddings);
}

}  // namespace caracal
