// The classes of Wav2Vec2: the base model and what is on top of it.
#include <algorithm>
#include <cmath>
#include <set>

#include <caracal/models/wav2vec2/modeling_wav2vec2.h>

namespace caracal {
namespace {

// softmax(layer_weights), one for each hidden state; empty without use_weighted_layer_sum.
std::vector<float> load_mix(const Weights& w, const Wav2Vec2Config& config) {
  if (!config.use_weighted_layer_sum) return {};
  const int64_t count = config.num_hidden_layers + 1;
  const Tensor weights = w.get("layer_weights", {count}, {.kind = Init::Kind::constant, .value = 1 / float(count)});
  const float largest = *std::ranges::max_element(weights.values<float>());
  double sum = 0;
  for (float x : weights.values<float>()) sum += std::exp(double(x) - double(largest));
  std::vector<float> mix;
  for (float x : weights.values<float>()) mix.push_back(float(std::exp(double(x) - double(largest)) / sum));
  return mix;
}

const std::vector<float>* or_null(const std::vector<float>& mix) { return mix.empty() ? nullptr : &mix; }

const Wav2Vec2Config& without_adapter(const Wav2Vec2Config& config, const char* model) {
  if (config.add_adapter)
    throw Error(ErrorCode::invalid_argument, model, "expected add_adapter false, which this head needs, but got true");
  return config;
}

int64_t hidden_width(const Wav2Vec2Config& config) {
  return config.add_adapter ? config.output_hidden_size.as_int() : config.hidden_size;
}

int64_t vocabulary(const Wav2Vec2Config& config) {
  if (!config.vocab_size.is_integer())
    throw Error(ErrorCode::invalid_argument, Wav2Vec2ForCTC::kClassName,
                "expected vocab_size, which sizes the head, but got " + config.vocab_size.dump());
  expect_positive(config, "vocab_size", config.vocab_size.as_int());
  return config.vocab_size.as_int();
}

int64_t codevector_width(const Wav2Vec2Config& config) {
  expect_positive(config, "num_codevector_groups", config.num_codevector_groups);
  expect_positive(config, "num_codevectors_per_group", config.num_codevectors_per_group);
  expect_positive(config, "codevector_dim", config.codevector_dim);
  expect_positive(config, "proj_codevector_dim", config.proj_codevector_dim);
  if (config.codevector_dim % config.num_codevector_groups != 0)
    throw Error(ErrorCode::invalid_argument, Wav2Vec2ForPreTraining::kClassName,
                "expected codevector_dim divisible by num_codevector_groups but got " +
                    std::to_string(config.codevector_dim) + " and " + std::to_string(config.num_codevector_groups));
  return config.codevector_dim / config.num_codevector_groups;
}

// A layer of the time-delay network: a convolution whose weight is stored as a linear layer's, (out, kernel · in).
Convolution load_tdnn_layer(const Loader& loader, const Weights& w, int64_t in, int64_t out, int64_t kernel,
                            int64_t dilation) {
  const Tensor stored = w.get("weight", {out, kernel * in});
  Tensor weight = Tensor::empty({out, in, kernel});
  for (int64_t o = 0; o < out; o++)
    for (int64_t t = 0; t < kernel; t++)
      for (int64_t c = 0; c < in; c++)
        weight.data<float>()[(o * in + c) * kernel + t] = stored.data<float>()[(o * kernel + t) * in + c];
  return pack_convolution(loader.runtime, loader.store, weight, w.get("bias", {out}), {.x = {.dilation = dilation}});
}

}  // namespace

Wav2Vec2Model::Wav2Vec2Model(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options)
    : Wav2Vec2PreTrainedModel(config, options), wav2vec2_(loader(), w, config) {}

void Wav2Vec2Model::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const {
  const Wav2Vec2Encoded x = wav2vec2_.forward(ctx, kClassName, inputs, output, options);
  pad_rows(ctx, x.hidden, x.frames, output.last_hidden_state);
  pad_rows(ctx, x.features, x.feature_frames, output.extract_features);
}

Wav2Vec2ForPreTraining::Wav2Vec2ForPreTraining(const Wav2Vec2Config& config, const Weights& w,
                                               const LoadOptions& options)
    : Wav2Vec2PreTrainedModel(config, options), wav2vec2_(loader(), w / "wav2vec2", config) {
  const int64_t width = codevector_width(config), groups = config.num_codevector_groups;
  const int64_t codes = groups * config.num_codevectors_per_group, features = config.conv_dim.back();
  const Weights quantizer = w / "quantizer", weight_proj = quantizer / "weight_proj";
  const Init drawn{.kind = Init::Kind::uniform, .value = 1};
  codevectors_ = loader().place(quantizer.get("codevectors", {1, codes, width}, drawn).clone().reshape({codes, width}));
  weight_proj_ = pack_linear(runtime(), *store_,
                             {weight_proj.get("weight", {codes, features}, {.kind = Init::Kind::normal, .value = 1})},
                             {weight_proj.get("bias", {codes})});
  project_hid_ = load_uniform_linear(loader(), w / "project_hid", config.hidden_size, config.proj_codevector_dim);
  project_q_ = load_uniform_linear(loader(), w / "project_q", config.codevector_dim, config.proj_codevector_dim);
}

void Wav2Vec2ForPreTraining::put_perplexity(Ctx& ctx, const Tensor& codes, const TextBatch& frames,
                                            const Tensor& mask_time_indices, Tensor& out) const {
  const int64_t groups = config_.num_codevector_groups, all = codevectors_.size(0);
  const TextBatch chosen =
      unpad_mask(ctx, {kClassName, "mask_time_indices"}, mask_time_indices, frames.batch, frames.length);
  int64_t* const count = ctx.empty({all}, DType::I64).data<int64_t>();
  ctx.fetch(codes, [=, &out](const Tensor& found) {
    std::fill_n(count, all, int64_t(0));
    int64_t total = 0;
    for (int64_t position : chosen.rows.values<int64_t>()) {
      const int64_t b = position / frames.length, s = position % frames.length, first = frames.sequences.offsets[b];
      if (s >= frames.sequences.offsets[b + 1] - first) continue;
      for (int64_t g = 0; g < groups; g++) count[g * all / groups + found.data<int64_t>()[(first + s) * groups + g]]++;
      total++;
    }
    double perplexity = 0;
    for (int64_t g = 0; g < groups; g++) {
      double entropy = 0;
      for (int64_t i = g * all / groups; i < (g + 1) * all / groups; i++) {
        const double p = double(count[i]) / double(total);
        if (p != 0) entropy -= p * std::log(p);
      }
      perplexity += std::exp(entropy);
    }
    out.resize(Shape{});
    out.data<float>()[0] = float(perplexity);
  });
}

void Wav2Vec2ForPreTraining::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                 const ForwardOptions& options) const {
  const Wav2Vec2Encoded x = wav2vec2_.forward(ctx, kClassName, inputs, output, options);
  pad_rows(ctx, linear(ctx, x.hidden, project_hid_), x.frames, output.projected_states);
  const int64_t groups = config_.num_codevector_groups;
  const Tensor codes = argmax(ctx, linear(ctx, x.features, weight_proj_), groups);  // (T0 · groups)
  const Tensor quantized = gather_parts(ctx, codevectors_, codes, groups);          // (T0, codevector_dim)
  pad_rows(ctx, linear(ctx, quantized, project_q_), x.feature_frames, output.projected_quantized_states);
  put_perplexity(ctx, codes, x.feature_frames, inputs.mask_time_indices, output.codevector_perplexity);
}

Wav2Vec2ForCTC::Wav2Vec2ForCTC(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options)
    : Wav2Vec2PreTrainedModel(config, options),
      wav2vec2_(loader(), w / "wav2vec2", config),
      lm_head_(load_linear(loader(), w / "lm_head", hidden_width(config), vocabulary(config))) {}

void Wav2Vec2ForCTC::adapt(Wav2Vec2Config& config, const Weights& w, const std::string& directory,
                           const LoadOptions& options) {
  const std::string& language = options.target_lang;
  if (language.empty()) return;
  if (config.adapter_attn_dim.is_null())
    throw Error(ErrorCode::invalid_argument, kClassName,
                "expected a configuration with adapter_attn_dim for target_lang '" + language + "' but it is null");
  if (directory.empty() || language.find('/') != language.npos)
    throw Error(ErrorCode::invalid_argument, kClassName,
                "expected the language of a file in a checkpoint directory but got target_lang '" + language + "'");
  const std::string path = directory + "/adapter." + language + ".safetensors";
  const Checkpoint file = Checkpoint::open(path, {.access = options.access});
  std::set<std::string> expected = {"lm_head.weight", "lm_head.bias"};
  for (int64_t i = 0; config.do_stable_layer_norm && i < config.num_hidden_layers; i++)
    for (const char* layer : {"norm", "linear_1", "linear_2"})
      for (const char* part : {".weight", ".bias"})
        expected.insert("wav2vec2.encoder.layers." + std::to_string(i) + ".adapter_layer." + layer + part);
  for (const std::string& name : file.names())
    if (expected.erase(name) == 0)
      throw Error(ErrorCode::bad_file, path, "expected attention adapters and a head but got '" + name + "' too");
  if (!expected.empty())
    throw Error(ErrorCode::bad_file, path, "expected '" + *expected.begin() + "' but got no tensor of this name");
  const std::vector<int64_t>& shape = file.find("lm_head.weight")->shape;
  if (shape.size() == 2) config.vocab_size = shape[0];
  w.overlay(file);
}

void Wav2Vec2ForCTC::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                         const ForwardOptions& options) const {
  const Wav2Vec2Encoded x = wav2vec2_.forward(ctx, kClassName, inputs, output, options);
  pad_rows(ctx, linear(ctx, x.hidden, lm_head_), x.frames, output.logits);  // (B, S, V)
}

Wav2Vec2ForSequenceClassification::Wav2Vec2ForSequenceClassification(const Wav2Vec2Config& config, const Weights& w,
                                                                     const LoadOptions& options)
    : Wav2Vec2PreTrainedModel(config, options),
      wav2vec2_(loader(), w / "wav2vec2", without_adapter(config, kClassName)),
      mix_(load_mix(w, config)),
      projector_(load_linear(loader(), w / "projector", config.hidden_size, config.classifier_proj_size)),
      classifier_(load_linear(loader(), w / "classifier", config.classifier_proj_size, label_count(config))) {}

void Wav2Vec2ForSequenceClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                            const ForwardOptions& options) const {
  const Wav2Vec2Encoded x = wav2vec2_.forward(ctx, kClassName, inputs, output, options, {.mix = or_null(mix_)});
  const Tensor pooled = mean_pool(ctx, linear(ctx, x.hidden, projector_), x.frames.sequences);  // (B, P)
  copy_sequences(ctx, linear(ctx, pooled, classifier_), x.frames, output.logits);               // (B, C)
}

Wav2Vec2ForAudioFrameClassification::Wav2Vec2ForAudioFrameClassification(const Wav2Vec2Config& config, const Weights& w,
                                                                         const LoadOptions& options)
    : Wav2Vec2PreTrainedModel(config, options),
      wav2vec2_(loader(), w / "wav2vec2", without_adapter(config, kClassName)),
      mix_(load_mix(w, config)),
      classifier_(load_linear(loader(), w / "classifier", config.hidden_size, label_count(config))) {}

void Wav2Vec2ForAudioFrameClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                              const ForwardOptions& options) const {
  const Wav2Vec2Encoded x = wav2vec2_.forward(ctx, kClassName, inputs, output, options, {.mix = or_null(mix_)});
  pad_rows(ctx, linear(ctx, x.hidden, classifier_), x.frames, output.logits);  // (B, S, C)
}

Wav2Vec2ForXVector::Wav2Vec2ForXVector(const Wav2Vec2Config& config, const Weights& w, const LoadOptions& options)
    : Wav2Vec2PreTrainedModel(config, options), wav2vec2_(loader(), w / "wav2vec2", config), mix_(load_mix(w, config)) {
  const std::vector<int64_t>&dims = config.tdnn_dim, &kernels = config.tdnn_kernel, &dilations = config.tdnn_dilation;
  if (dims.empty() || kernels.size() < dims.size() || dilations.size() < dims.size())
    throw Error(ErrorCode::invalid_argument, kClassName,
                "expected a kernel and a dilation for each of tdnn_dim but got " + std::to_string(dims.size()) + ", " +
                    std::to_string(kernels.size()) + " and " + std::to_string(dilations.size()));
  for (size_t i = 0; i < dims.size(); i++) {
    expect_positive(config, "tdnn_dim", dims[i]);
    expect_positive(config, "tdnn_kernel", kernels[i]);
    expect_positive(config, "tdnn_dilation", dilations[i]);
  }
  expect_positive(config, "xvector_output_dim", config.xvector_output_dim);
  const int64_t width = config.xvector_output_dim;
  projector_ =
      load_linear(loader(), w / "projector", mix_.empty() ? hidden_width(config) : config.hidden_size, dims[0]);
  for (size_t i = 0; i < dims.size(); i++)
    tdnn_.push_back(load_tdnn_layer(loader(), w / "tdnn" / int64_t(i) / "kernel", dims[i > 0 ? i - 1 : 0], dims[i],
                                    kernels[i], dilations[i]));
  feature_extractor_ = load_linear(loader(), w / "feature_extractor", 2 * dims.back(), width);
  classifier_ = load_linear(loader(), w / "classifier", width, width);
  // The loss's, which no output needs: read so that it is saved.
  (w / "objective").get("weight", {width, label_count(config)}, {.kind = Init::Kind::normal, .value = 1});
}

void Wav2Vec2ForXVector::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                             const ForwardOptions& options) const {
  const Wav2Vec2Encoded encoded =
      wav2vec2_.forward(ctx, kClassName, inputs, output, options, {.mix = or_null(mix_), .beyond_mask = true});
  Tensor x = linear(ctx, encoded.hidden, projector_);  // (T, tdnn_dim)
  Ragged frames = with_all_rows(ctx, encoded.frames.sequences);
  for (const Convolution& layer : tdnn_) {
    Ragged shorter;
    x = conv1d(ctx, x, frames, layer, &shorter, {.activation = Activation::relu});  // (T', tdnn_dim)
    frames = shorter;
  }
  Tensor lengths = ctx.empty({frames.batch}, DType::I64);
  std::fill_n(lengths.data<int64_t>(), frames.batch, int64_t(0));
  for (int64_t b = 0; b < encoded.frames.batch; b++) {
    if (frames.keys[b] < 1 && !ctx.planning())
      throw Error(ErrorCode::invalid_argument, kClassName,
                  "expected as many frames as the TDNN layers span but got " +
                      std::to_string(encoded.frames.sequences.offsets[b + 1] - encoded.frames.sequences.offsets[b]));
    int64_t length = frames.keys[b];
    if (encoded.masked) {  // as the reference: dilations left out, and a slice [:length]
      length = config_.feat_extract_output_length(encoded.counted_samples.data<int64_t>()[b], true);
      for (int64_t kernel : config_.tdnn_kernel) length -= kernel - 1;
      length = std::clamp<int64_t>(length < 0 ? length + frames.keys[b] : length, 0, frames.keys[b]);
    }
    lengths.data<int64_t>()[b] = length;
  }
  frames.keys = lengths.data<int64_t>();
  x = linear(ctx, mean_and_deviation(ctx, x, frames), feature_extractor_);  // (B, xvector_output_dim)
  copy_sequences(ctx, x, encoded.frames, output.embeddings);
  copy_sequences(ctx, linear(ctx, x, classifier_), encoded.frames, output.logits);
}

}  // namespace caracal
