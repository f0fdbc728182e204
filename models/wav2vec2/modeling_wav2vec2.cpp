#include <caracal/models/wav2vec2/modeling_wav2vec2.h>

#include <algorithm>
#include <cmath>

#include <caracal/models/activations.h>

namespace caracal {
namespace {

constexpr double kTorchEps = 1e-5;  // of norms whose eps the reference does not take from the configuration

void expect(bool holds, const std::string& expected, const std::string& got) {
  if (!holds)
    throw Error(ErrorCode::invalid_argument, Wav2Vec2Config::kClassName, "expected " + expected + " but got " + got);
}

constexpr int64_t kMostSamplesPerFrame = 1 << 14;  // a second; Wav2Vec2 has 320

// Refuses what cannot be run before any weight is read.
const Wav2Vec2Config& checked(const Wav2Vec2Config& config) {
  for (const auto& [name, value] : {std::pair{"hidden_size", config.hidden_size},
                                    {"num_attention_heads", config.num_attention_heads},
                                    {"intermediate_size", config.intermediate_size},
                                    {"num_conv_pos_embeddings", config.num_conv_pos_embeddings},
                                    {"num_conv_pos_embedding_groups", config.num_conv_pos_embedding_groups}})
    expect_positive(config, name, value);
  expect_layer_count(config, "num_hidden_layers", config.num_hidden_layers);
  expect(!config.conv_dim.empty(), "at least one convolution", "an empty conv_dim");
  expect_layer_count(config, "num_feat_extract_layers", config.num_feat_extract_layers);
  for (const auto& [name, values] : {std::pair{"conv_dim", &config.conv_dim},
                                     {"conv_kernel", &config.conv_kernel},
                                     {"conv_stride", &config.conv_stride}})
    for (int64_t value : *values) expect_positive(config, name, value);
  expect(config.inputs_to_logits_ratio() <= kMostSamplesPerFrame,
         "conv_stride of at most " + std::to_string(kMostSamplesPerFrame) + " samples a frame",
         std::to_string(config.inputs_to_logits_ratio()));
  expect(config.feat_extract_norm == "group" || config.feat_extract_norm == "layer",
         "feat_extract_norm 'group' or 'layer'", "'" + config.feat_extract_norm + "'");
  expect(config.hidden_size % config.num_attention_heads == 0, "hidden_size divisible by num_attention_heads",
         std::to_string(config.hidden_size) + " and " + std::to_string(config.num_attention_heads));
  expect(config.hidden_size % config.num_conv_pos_embedding_groups == 0,
         "hidden_size divisible by num_conv_pos_embedding_groups",
         std::to_string(config.hidden_size) + " and " + std::to_string(config.num_conv_pos_embedding_groups));
  if (config.add_adapter) {
    expect_positive(config, "output_hidden_size", config.output_hidden_size.as_int());
    expect_positive(config, "adapter_kernel_size", config.adapter_kernel_size);
    expect_positive(config, "adapter_stride", config.adapter_stride);
    expect_layer_count(config, "num_adapter_layers", config.num_adapter_layers);
  }
  if (!config.adapter_attn_dim.is_null()) expect_positive(config, "adapter_attn_dim", config.adapter_attn_dim.as_int());
  activation_from_name(config.hidden_act);
  activation_from_name(config.feat_extract_activation);
  return config;
}

// How transformers' _init_weights draws a torch.nn.Conv1d's parameters.
Init conv_weight_init(int64_t inputs) { return {.kind = Init::Kind::normal, .value = std::sqrt(2.0f / float(inputs))}; }
Init conv_bias_init(int64_t inputs) {
  const float bound = 1.0f / std::sqrt(float(inputs));
  return {.kind = Init::Kind::uniform, .value = 2 * bound, .low = -bound};
}

Convolution load_conv1d(const Loader& loader, const Weights& w, int64_t in, int64_t out, int64_t kernel,
                        const Window& window, bool bias) {
  return load_convolution(loader, w, in, out, {kernel}, {.x = window}, bias, conv_weight_init(in * kernel),
                          conv_bias_init(in * kernel));
}

NormalizedConv1d load_normalized_conv1d(const Loader& loader, const Weights& w, const Window& window, bool bias,
                                        const GroupNorm& norm) {
  const int64_t taps = window.kernel;
  if (bias) w.get("bias", {norm.groups}, conv_bias_init(taps));  // read so that it is saved; the norm takes it out
  const Tensor weight = w.get("weight", {norm.groups, 1, taps}, conv_weight_init(taps)).clone();
  return {loader.place_vector(weight.reshape({norm.groups, taps})), window, norm};
}

// torch's weight_norm(conv, dim=2): each tap's (H, H / groups) matrix is original1, scaled to the length original0.
Convolution load_positional_convolution(const Loader& loader, const Weights& w, const Wav2Vec2Config& config) {
  const int64_t hidden = config.hidden_size, taps = config.num_conv_pos_embeddings;
  const int64_t groups = config.num_conv_pos_embedding_groups, channels = hidden / groups;
  const Weights norm = w / "parametrizations" / "weight";
  const float stddev = 2 / std::sqrt(float(taps) * float(hidden));
  const Tensor length =
      norm.get("original0", {1, 1, taps},
               {.kind = Init::Kind::constant, .value = stddev * std::sqrt(float(hidden) * float(channels))});
  Tensor weight =
      norm.get("original1", {hidden, channels, taps}, {.kind = Init::Kind::normal, .value = stddev}).clone();
  std::vector<double> scale(size_t(taps), 0.0);
  float* values = weight.data<float>();
  for (int64_t i = 0; i < hidden * channels; i++)
    for (int64_t t = 0; t < taps; t++) scale[size_t(t)] += double(values[i * taps + t]) * double(values[i * taps + t]);
  for (int64_t t = 0; t < taps; t++) scale[size_t(t)] = double(length.data<float>()[t]) / std::sqrt(scale[size_t(t)]);
  for (int64_t i = 0; i < hidden * channels; i++)
    for (int64_t t = 0; t < taps; t++) values[i * taps + t] = float(double(values[i * taps + t]) * scale[size_t(t)]);
  norm.release("original1");
  return pack_convolution(
      loader.runtime, loader.store, weight, w.get("bias", {hidden}),
      {.groups = groups, .x = {.padding = taps / 2, .cut = taps % 2 == 0 ? 1 : 0}});  // as many outputs as inputs
}

Tensor ids(Ctx& ctx, int64_t n) { return ctx.empty({n}, DType::I64); }

// A number for each of `batch` sequences, and 0 for those behind that Ctx::bucket_batch() adds.
Tensor counts(Ctx& ctx, int64_t batch, int64_t value) {
  Tensor x = ids(ctx, ctx.bucket_batch(batch));
  std::fill_n(x.data<int64_t>(), batch, value);
  std::fill_n(x.data<int64_t>() + batch, x.numel() - batch, int64_t(0));
  return x;
}

// How many samples of each row attention_mask (B, N) leaves. With `at_end`, what it masks must be at the end.
Tensor count_samples(Ctx& ctx, const char* model, const Tensor& mask, int64_t batch, int64_t samples, bool at_end) {
  Tensor counted = counts(ctx, batch, 0);
  Ctx::Scope scope(ctx);
  const ArgumentName where{model, "attention_mask"};
  const TextBatch left = unpad_mask(ctx, where, mask, batch, samples);
  for (int64_t b = 0; b < batch; b++) {
    const int64_t count = left.sequences.keys[b];
    counted.data<int64_t>()[b] = count;
    if (at_end && count > 0 &&
        left.rows.data<int64_t>()[left.sequences.offsets[b] + count - 1] != b * samples + count - 1)
      throw Error(ErrorCode::invalid_argument, where.str(),
                  "expected masked samples at the end only, for per_utterance, but got some before others in row " +
                      std::to_string(b));
  }
  return counted;
}

// Sequences of keys[b] rows at the beginning of `each` rows, `batch` and empty ones.
Ragged beginnings(Ctx& ctx, int64_t batch, int64_t each, const Tensor& keys) {
  const int64_t count = keys.numel();
  int64_t* offsets = ids(ctx, count + 1).data<int64_t>();
  for (int64_t b = 0; b <= count; b++) offsets[b] = std::min(b, batch) * each;
  return {count, ctx.bucket_rows(batch * each), each, offsets, keys.data<int64_t>()};
}

}  // namespace

Wav2Vec2FeatureEncoder::Wav2Vec2FeatureEncoder(const Loader& loader, const Weights& w, const Wav2Vec2Config& config)
    : activation(activation_from_name(config.feat_extract_activation)) {
  int64_t channels = 1;
  for (size_t i = 0; i < config.conv_dim.size(); i++) {
    const Weights layer = w / "conv_layers" / int64_t(i);
    const int64_t out = config.conv_dim[i];
    Wav2Vec2ConvLayer& l = layers.emplace_back();
    const Window window{.kernel = config.conv_kernel[i], .stride = config.conv_stride[i]};
    if (config.feat_extract_norm == "group" && i == 0) {
      const LayerNorm norm = load_layer_norm(loader, layer / "layer_norm", out, kTorchEps);
      l.first = load_normalized_conv1d(loader, layer / "conv", window, config.conv_bias,
                                       {norm.weight, norm.bias, out, norm.eps});
    } else {
      l.conv = load_conv1d(loader, layer / "conv", channels, out, window.kernel, window, config.conv_bias);
    }
    if (config.feat_extract_norm == "layer")
      l.layer_norm = load_layer_norm(loader, layer / "layer_norm", out, kTorchEps);
    channels = out;
  }
}

Tensor Wav2Vec2FeatureEncoder::forward(Ctx& ctx, const Tensor& input, const Ragged& samples, Ragged* frames) const {
  Tensor x = samples_to_device(ctx, input, /*unchanged=*/layers[0].first.has_value());  // (N, 1)
  *frames = samples;
  for (const Wav2Vec2ConvLayer& layer : layers) {
    Ragged shorter;
    if (layer.first) {
      x = normalized_conv1d(ctx, x, *frames, *layer.first, activation, &shorter);
    } else {
      x = conv1d(ctx, x, *frames, layer.conv, &shorter,
                 {.activation = layer.layer_norm ? Activation::none : activation});
    }
    if (layer.layer_norm) layer_norm(ctx, x, *layer.layer_norm, &x, activation);
    *frames = shorter;
  }
  return x;  // (T, conv_dim)
}

Wav2Vec2EncoderLayer::Wav2Vec2EncoderLayer(const Loader& loader, const Weights& w, const Wav2Vec2Config& config,
                                           int64_t index)
    : stable(config.do_stable_layer_norm), activation(activation_from_name(config.hidden_act)) {
  const int64_t hidden = config.hidden_size, head_dim = hidden / config.num_attention_heads;
  const Weights attention = w / "attention", feed_forward = w / "feed_forward";
  heads = count_heads(attention / "q_proj", config, index, config.num_attention_heads, head_dim);
  qkv = load_stacked_linear(loader, {attention / "q_proj", attention / "k_proj", attention / "v_proj"}, hidden,
                            heads * head_dim);
  out_proj = load_linear(loader, attention / "out_proj", heads * head_dim, hidden);
  layer_norm = load_layer_norm(loader, w / "layer_norm", hidden, config.layer_norm_eps);
  intermediate_dense = load_linear(loader, feed_forward / "intermediate_dense", hidden, config.intermediate_size);
  output_dense = load_linear(loader, feed_forward / "output_dense", config.intermediate_size, hidden);
  final_layer_norm = load_layer_norm(loader, w / "final_layer_norm", hidden, config.layer_norm_eps);
  if (stable && !config.adapter_attn_dim.is_null()) {
    const Weights adapter = w / "adapter_layer";
    const int64_t inner = config.adapter_attn_dim.as_int();
    adapter_layer = AttnAdapter{load_layer_norm(loader, adapter / "norm", hidden, kTorchEps),
                                load_linear(loader, adapter / "linear_1", hidden, inner),
                                load_linear(loader, adapter / "linear_2", inner, hidden)};
  }
}

void Wav2Vec2EncoderLayer::forward(Ctx& ctx, Tensor& x, const TextBatch& frames, Tensor* attentions) const {
  Ctx::Scope scope(ctx);
  Tensor probs;
  if (attentions != nullptr) probs = empty_attentions(ctx, heads, frames.sequences, frames.sequences);
  Tensor h = linear(ctx, stable ? caracal::layer_norm(ctx, x, layer_norm) : x, qkv);  // (T, 3A)
  h = attention(ctx, h, frames.sequences,
                {.heads = heads, .kind = qkv.kind, .probs = attentions != nullptr ? &probs : nullptr});
  if (attentions != nullptr) pad_attentions(ctx, probs, heads, frames, frames, *attentions);
  h = linear(ctx, h, out_proj, {.residual = &x});  // (T, H)
  if (!stable) caracal::layer_norm(ctx, h, layer_norm, &h);
  Tensor m = stable ? caracal::layer_norm(ctx, h, final_layer_norm) : h;
  m = linear(ctx, m, intermediate_dense, {.activation = activation});  // (T, I)
  linear(ctx, m, output_dense, {.residual = &h, .into = &x});          // (T, H)
  if (!stable) caracal::layer_norm(ctx, x, final_layer_norm, &x);
  if (!stable || !adapter_layer) return;
  Tensor a = caracal::layer_norm(ctx, x, adapter_layer->norm);
  a = linear(ctx, a, adapter_layer->linear_1, {.activation = Activation::relu});  // (T, inner)
  linear(ctx, a, adapter_layer->linear_2, {.residual = &x, .into = &x});          // (T, H)
}

Wav2Vec2Encoder::Wav2Vec2Encoder(const Loader& loader, const Weights& w, const Wav2Vec2Config& config)
    : stable(config.do_stable_layer_norm), activation(activation_from_name(config.feat_extract_activation)) {
  pos_conv_embed = load_positional_convolution(loader, w / "pos_conv_embed" / "conv", config);
  layer_norm = load_layer_norm(loader, w / "layer_norm", config.hidden_size, config.layer_norm_eps);
  for (int64_t i = 0; i < config.num_hidden_layers; i++) layers.emplace_back(loader, w / "layers" / i, config, i);
}

Tensor Wav2Vec2Encoder::forward(Ctx& ctx, const Tensor& input, const TextBatch& frames, const std::vector<float>* mix,
                                ModelOutput& output, const ForwardOptions& options) const {
  Ragged same;
  Tensor x = conv1d(ctx, input, with_all_rows(ctx, frames.sequences), pos_conv_embed, &same,
                    {.activation = activation, .residual = &input});  // (T, H)
  if (!stable) caracal::layer_norm(ctx, x, layer_norm, &x);
  Tensor sum;
  if (mix != nullptr) sum = zeros(ctx, x.shape());
  output.hidden_states.resize(options.output_hidden_states ? layers.size() + 1 : 0);
  output.attentions.resize(options.output_attentions ? layers.size() : 0);
  for (size_t i = 0; i <= layers.size(); i++) {
    if (options.output_hidden_states) pad_rows(ctx, x, frames, output.hidden_states[i]);
    if (mix != nullptr) add_scaled(ctx, x, (*mix)[i], sum);
    if (i < layers.size())
      layers[i].forward(ctx, x, frames, options.output_attentions ? &output.attentions[i] : nullptr);
  }
  if (mix != nullptr) return sum;
  return stable ? caracal::layer_norm(ctx, x, layer_norm, &x) : x;
}

Wav2Vec2Adapter::Wav2Vec2Adapter(const Loader& loader, const Weights& w, const Wav2Vec2Config& config) {
  const int64_t hidden = config.output_hidden_size.as_int();
  if (hidden != config.hidden_size) {
    proj = load_linear(loader, w / "proj", config.hidden_size, hidden);
    proj_layer_norm = load_layer_norm(loader, w / "proj_layer_norm", hidden, kTorchEps);
  }
  for (int64_t i = 0; i < config.num_adapter_layers; i++)
    layers.push_back(load_conv1d(loader, w / "layers" / i / "conv", hidden, 2 * hidden, config.adapter_kernel_size,
                                 {.stride = config.adapter_stride, .padding = 1}, true));
}

int64_t Wav2Vec2Adapter::outputs(int64_t frames) const {
  for (const Convolution& layer : layers) frames = layer.x.outputs(frames);
  return frames;
}

Tensor Wav2Vec2Adapter::forward(Ctx& ctx, const Tensor& input, Ragged* frames) const {
  Tensor x = input;  // (T, H)
  if (proj) {
    x = linear(ctx, x, *proj);
    layer_norm(ctx, x, *proj_layer_norm, &x);
  }
  for (const Convolution& layer : layers) {
    Ragged shorter;
    x = glu(ctx, conv1d(ctx, x, *frames, layer, &shorter));  // (T', output_hidden_size)
    *frames = shorter;
  }
  return x;
}

Wav2Vec2Base::Wav2Vec2Base(const Loader& loader, const Weights& w, const Wav2Vec2Config& model_config)
    : config(checked(model_config)),
      feature_extractor(loader, w / "feature_extractor", config),
      feature_layer_norm(load_layer_norm(loader, w / "feature_projection" / "layer_norm", config.conv_dim.back(),
                                         config.layer_norm_eps)),
      feature_projection(load_uniform_linear(loader, w / "feature_projection" / "projection", config.conv_dim.back(),
                                             config.hidden_size)),
      masked_spec_embed(
          config.mask_time_prob.as_double() > 0 || config.mask_feature_prob.as_double() > 0
              ? loader.place(w.get("masked_spec_embed", {config.hidden_size}, {.kind = Init::Kind::uniform, .value = 1})
                                 .clone()
                                 .reshape({1, config.hidden_size}))
              : Tensor()),
      encoder(loader, w / "encoder", config) {
  if (config.add_adapter) adapter.emplace(loader, w / "adapter", config);
}

void Wav2Vec2Base::mask_frames(Ctx& ctx, const char* model, const Tensor& mask_time_indices, const TextBatch& frames,
                               Tensor& x) const {
  const ArgumentName where{model, "mask_time_indices"};
  if (!masked_spec_embed.defined())
    throw Error(ErrorCode::invalid_argument, where.str(),
                "expected a model with a mask vector (mask_time_prob or mask_feature_prob above 0) but got none");
  const TextBatch chosen = unpad_mask(ctx, where, mask_time_indices, frames.batch, frames.length);
  Tensor index = ids(ctx, chosen.sequences.tokens), zeros = ids(ctx, chosen.sequences.tokens);
  int64_t count = 0;
  for (int64_t position : chosen.rows.values<int64_t>()) {
    const int64_t b = position / frames.length, s = position % frames.length, first = frames.sequences.offsets[b];
    if (s < frames.sequences.offsets[b + 1] - first) index.data<int64_t>()[count++] = first + s;
  }
  std::fill_n(zeros.data<int64_t>(), count, int64_t(0));  // every one takes row 0 of the mask vector
  scatter_rows(ctx, gather_rows(ctx, masked_spec_embed, zeros.rows(0, count)), index.rows(0, count), x);
}

Wav2Vec2Encoded Wav2Vec2Base::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, ModelOutput& output,
                                      const ForwardOptions& options, const Wav2Vec2Use& use) const {
  const Tensor& given = inputs.input_values;
  if (!given.defined() || given.rank() != 2 || given.dtype() != DType::F32)
    throw Error(ErrorCode::invalid_argument, model,
                "expected input_values of shape (B, N) F32, mono, but got " +
                    (given.defined() ? given.shape().str() + " " + std::string(name_of(given.dtype())) : "nothing"));
  const int64_t batch = given.size(0), samples = given.size(1), length = config.feat_extract_output_length(samples);
  auto expect_frames = [&](int64_t count) {
    if (config.feat_extract_output_length(count) < 1)
      throw Error(ErrorCode::invalid_argument, model,
                  "expected at least " + std::to_string(config.samples_of(1)) +
                      " samples, of which the convolutions make a frame, but got " + std::to_string(count));
  };
  expect_frames(samples);

  Wav2Vec2Encoded result;
  result.masked = inputs.attention_mask.defined() && !options.per_utterance;
  const Tensor all = counts(ctx, batch, samples);
  const Tensor counted = inputs.attention_mask.defined()
                             ? count_samples(ctx, model, inputs.attention_mask, batch, samples, options.per_utterance)
                             : all;
  result.counted_samples = counted;
  Tensor attended = counts(ctx, batch, 0);  // frames that count
  for (int64_t b = 0; b < batch; b++) {
    const int64_t count = counted.data<int64_t>()[b];
    if (options.per_utterance) expect_frames(count);
    attended.data<int64_t>()[b] = config.attended_frames(count, length);
  }

  Ragged frames;
  const Tensor& used = options.per_utterance ? counted : all;
  Tensor x =
      feature_extractor.forward(ctx, given.reshape({batch * samples}), beginnings(ctx, batch, samples, used), &frames);
  layer_norm(ctx, x, feature_layer_norm, &x);  // (T0, conv_dim)
  result.features = x;
  frames.keys = attended.data<int64_t>();
  result.feature_frames = padded_at_end(ctx, frames, batch, length);
  result.frames = result.feature_frames;
  const bool keep_masked = use.beyond_mask || adapter;
  if (result.masked && !keep_masked) {
    result.frames = unpad_lengths(ctx, attended, batch, length, frames.tokens);
    x = gather_rows(ctx, x, result.frames.rows);  // (T, conv_dim)
  }
  x = linear(ctx, x, feature_projection);  // (T, H)
  if (inputs.mask_time_indices.defined() && config.apply_spec_augment)
    mask_frames(ctx, model, inputs.mask_time_indices, result.frames, x);
  if (keep_masked) clear_behind_keys(ctx, result.frames.sequences, x);  // masked frames are 0
  x = encoder.forward(ctx, x, result.frames, use.mix, output, options);
  if (adapter && use.mix == nullptr) {
    Ragged shorter = with_all_rows(ctx, result.frames.sequences);
    x = adapter->forward(ctx, x, &shorter);  // (T', output_hidden_size)
    Tensor counting = counts(ctx, batch, 0);
    for (int64_t b = 0; b < batch; b++) {
      if (shorter.keys[b] < 1 && !ctx.planning())
        throw Error(ErrorCode::invalid_argument, model,
                    "expected enough samples for a frame behind the adapter but got " + std::to_string(samples));
      counting.data<int64_t>()[b] =
          result.masked ? config.attended_frames(counted.data<int64_t>()[b], shorter.keys[b], true) : shorter.keys[b];
    }
    shorter.keys = counting.data<int64_t>();
    result.frames = padded_at_end(ctx, shorter, batch, adapter->outputs(length));
  }
  result.hidden = x;
  return result;
}

}  // namespace caracal
