#include <caracal/models/vit/modeling_vit.h>

#include <cmath>

#include <caracal/models/activations.h>
#include <caracal/models/padding.h>
#include <caracal/runtime/checked.h>
#include <caracal/runtime/feature_maps.h>

namespace caracal {
namespace {

// Refuses what cannot be run before any weight is read.
const ViTConfig& checked(const ViTConfig& config) {
  expect_positive(config, "hidden_size", config.hidden_size);
  expect_positive(config, "num_attention_heads", config.num_attention_heads);
  expect_positive(config, "intermediate_size", config.intermediate_size);
  expect_positive(config, "num_channels", config.num_channels);
  expect_positive(config, "encoder_stride", config.encoder_stride);
  expect_layer_count(config, "num_hidden_layers", config.num_hidden_layers);
  const auto image = config.image_height_width(), patch = config.patch_height_width();
  for (int i : {0, 1}) {
    expect_positive(config, "image_size", image[size_t(i)]);
    expect_positive(config, "patch_size", patch[size_t(i)]);
    if (patch[size_t(i)] > image[size_t(i)])
      throw Error(ErrorCode::invalid_argument, "ViTConfig",
                  "expected patch_size to be at most image_size but got " + config.patch_size.dump() + " and " +
                      config.image_size.dump());
  }
  if (config.hidden_size < config.num_attention_heads && !config.has("head_dim"))
    throw Error(ErrorCode::invalid_argument, "ViTConfig",
                "expected hidden_size of at least num_attention_heads but got " + std::to_string(config.hidden_size) +
                    " and " + std::to_string(config.num_attention_heads));
  activation_from_name(config.hidden_act);
  return config;
}

// encoder_stride² · num_channels, a 32-bit number.
int64_t decoder_channels(const ViTConfig& config) {
  const int64_t stride = config.encoder_stride;
  const int64_t channels = checked_mul(checked_mul(stride, stride, "ViTConfig"), config.num_channels, "ViTConfig");
  expect_positive(config, "encoder_stride² · num_channels", channels);
  return channels;
}

// Sequences of one length, without padding: offsets and lengths of `batch` of `length` rows.
Ragged equal_sequences(Ctx& ctx, int64_t batch, int64_t length) {
  Tensor offsets = ctx.empty({batch + 1}, DType::I64), keys = ctx.empty({batch}, DType::I64);
  for (int64_t b = 0; b <= batch; b++) offsets.data<int64_t>()[b] = b * length;
  for (int64_t b = 0; b < batch; b++) keys.data<int64_t>()[b] = length;
  return {batch, batch * length, length, offsets.data<int64_t>(), keys.data<int64_t>()};
}

std::string pixels(std::array<int64_t, 2> size) { return std::to_string(size[0]) + "*" + std::to_string(size[1]); }

// The side of a square of `count` cells; 0 when it is none.
int64_t square_side(int64_t count) {
  const int64_t side = int64_t(std::sqrt(double(count)));
  return side * side == count ? side : 0;
}

}  // namespace

ViTEmbeddings::ViTEmbeddings(const Loader& loader, const Weights& w, const ViTConfig& config, bool use_mask_token)
    : num_channels(config.num_channels),
      image_size(config.image_height_width()),
      patch_size(config.patch_height_width()) {
  const int64_t hidden = config.hidden_size;
  const int64_t patches = (image_size[0] / patch_size[0]) * (image_size[1] / patch_size[1]);
  auto place = [&](const Tensor& rows, int64_t count) { return loader.place(rows.clone().reshape({count, hidden})); };
  cls_token = place(w.get("cls_token", {1, 1, hidden}), 1);
  if (use_mask_token) mask_token = place(w.get("mask_token", {1, 1, hidden}, {.kind = Init::Kind::constant}), 1);
  position_embeddings = place(w.get("position_embeddings", {1, patches + 1, hidden}), patches + 1);
  projection = load_patch_convolution(loader, w / "patch_embeddings" / "projection", num_channels, hidden,
                                      patch_size[0], patch_size[1]);
}

void ViTEmbeddings::mask_patches(Ctx& ctx, const char* model, const Tensor& bool_masked_pos, int64_t batch,
                                 Tensor& x) const {
  const ArgumentName where{model, "bool_masked_pos"};
  if (!mask_token.defined())
    throw Error(ErrorCode::invalid_argument, where.str(), "expected a model with a mask token but this one has none");
  const TextBatch masked = unpad_mask(ctx, where, bool_masked_pos, batch, x.size(0) / std::max<int64_t>(1, batch));
  Tensor zeros = ctx.empty({masked.rows.size(0)}, DType::I64);  // every masked patch takes row 0 of the mask token
  std::fill_n(zeros.data<int64_t>(), zeros.numel(), int64_t(0));
  scatter_rows(ctx, gather_rows(ctx, mask_token, zeros), masked.rows, x);
}

Tensor ViTEmbeddings::positions(Ctx& ctx, const char* model, std::array<int64_t, 2> image,
                                std::array<int64_t, 2> patches) const {
  const int64_t stored = position_embeddings.size(0) - 1, hidden = position_embeddings.size(1);
  if (patches[0] * patches[1] == stored && image[0] == image[1]) return position_embeddings;
  const int64_t side = square_side(stored);  // as the reference, which takes the stored grid for a square
  if (side == 0)
    throw Error(ErrorCode::unsupported, model,
                "expected a square number of position embeddings to interpolate but got " + std::to_string(stored));
  Tensor all = ctx.empty({patches[0] * patches[1] + 1, hidden});
  Tensor first = all.rows(0, 1), rest = all.rows(1, all.size(0));
  copy_rows(ctx, position_embeddings.rows(0, 1), first);
  copy_rows(ctx, interpolate_bicubic(ctx, position_embeddings.rows(1, stored + 1), side, side, patches[0], patches[1]),
            rest);
  return all;
}

Tensor ViTEmbeddings::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, const ForwardOptions& options,
                              std::array<int64_t, 2>* patches) const {
  const Tensor& given = inputs.pixel_values;
  if (!given.defined() || given.rank() != 4 || given.size(1) != num_channels)
    throw Error(ErrorCode::invalid_argument, model,
                "expected pixel_values of shape (B, " + std::to_string(num_channels) + ", height, width) but got " +
                    (given.defined() ? given.shape().str() : "nothing"));
  if (inputs.attention_mask.defined())
    throw Error(ErrorCode::unsupported, model, "expected no attention_mask, as every patch counts, but got one");
  const Tensor pixel_values = given.dtype() == DType::F32 ? given : given.to(DType::F32);
  const std::array<int64_t, 2> image = {pixel_values.size(2), pixel_values.size(3)};
  if (!options.interpolate_pos_encoding && image != image_size)
    throw Error(
        ErrorCode::invalid_argument, model,
        "expected images of " + pixels(image_size) + " pixels, or interpolate_pos_encoding, but got " + pixels(image));
  if (given.size(0) == 0 || image[0] < patch_size[0] || image[1] < patch_size[1])
    throw Error(ErrorCode::invalid_argument, model,
                "expected at least one image of at least a patch, " + pixels(patch_size) + " pixels, but got shape " +
                    given.shape().str());
  *patches = {image[0] / patch_size[0], image[1] / patch_size[1]};
  Tensor x = image_patches(ctx, to_device_unchanged(ctx, pixel_values), patch_size[0], patch_size[1]);
  x = linear(ctx, x, projection);  // (B · P, H)
  if (inputs.bool_masked_pos.defined()) mask_patches(ctx, model, inputs.bool_masked_pos, given.size(0), x);
  const Tensor position =
      options.interpolate_pos_encoding ? positions(ctx, model, image, *patches) : position_embeddings;
  return prepend_token(ctx, cls_token, x, position);  // (B · (P + 1), H)
}

int64_t ViTLayer::head_dim(const ViTConfig& config) {
  if (!config.has("head_dim")) return config.hidden_size / config.num_attention_heads;
  const Json given = config.get("head_dim");
  if (!given.is_integer())
    throw Error(
        ErrorCode::invalid_argument, "ViTConfig",
        "field 'head_dim' expected int but got " + std::string(given.type_name()) + " (value: " + given.dump() + ")");
  expect_positive(config, "head_dim", given.as_int());
  expect_positive(config, "head_dim · num_attention_heads",
                  checked_mul(given.as_int(), config.num_attention_heads, "ViTConfig"));
  return given.as_int();
}

ViTLayer::ViTLayer(const Loader& loader, const Weights& w, const ViTConfig& config, int64_t index)
    : activation(activation_from_name(config.hidden_act)) {
  const int64_t hidden = config.hidden_size;
  const int64_t width = head_dim(config);
  const Weights attention = w / "attention";
  heads = count_heads(attention / "q_proj", config, index, config.num_attention_heads, width);
  qkv = load_stacked_linear(loader, {attention / "q_proj", attention / "k_proj", attention / "v_proj"}, hidden,
                            heads * width, config.qkv_bias);
  o_proj = load_linear(loader, attention / "o_proj", heads * width, hidden);
  layernorm_before = load_layer_norm(loader, w / "layernorm_before", hidden, config.layer_norm_eps);
  layernorm_after = load_layer_norm(loader, w / "layernorm_after", hidden, config.layer_norm_eps);
  fc1 = load_linear(loader, w / "mlp" / "fc1", hidden, config.intermediate_size);
  fc2 = load_linear(loader, w / "mlp" / "fc2", config.intermediate_size, hidden);
}

void ViTLayer::forward(Ctx& ctx, Tensor& x, const Ragged& images, Tensor* attentions) const {
  Ctx::Scope scope(ctx);
  Tensor probs;
  if (attentions != nullptr) probs = empty_attentions(ctx, heads, images, images);
  Tensor h = layer_norm(ctx, x, layernorm_before);  // (T, H)
  h = linear(ctx, h, qkv);                          // (T, 3A)
  h = attention(ctx, h, images,
                {.heads = heads, .kind = qkv.kind, .probs = attentions != nullptr ? &probs : nullptr});  // (T, A)
  if (attentions != nullptr) copy_out(ctx, probs, {images.batch, heads, images.longest, images.longest}, *attentions);
  h = linear(ctx, h, o_proj, {.residual = &x});         // (T, H)
  Tensor m = layer_norm(ctx, h, layernorm_after);       // (T, H)
  m = linear(ctx, m, fc1, {.activation = activation});  // (T, I)
  linear(ctx, m, fc2, {.residual = &h, .into = &x});    // (T, H)
}

ViTBase::ViTBase(const Loader& loader, const Weights& w, const ViTConfig& config, bool use_mask_token)
    : embeddings(loader, w / "embeddings", checked(config), use_mask_token) {
  for (int64_t i = 0; i < config.num_hidden_layers; i++) layers.emplace_back(loader, w / "layers" / i, config, i);
  layernorm = load_layer_norm(loader, w / "layernorm", config.hidden_size, config.layer_norm_eps);
}

Tensor ViTBase::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, ModelOutput& output,
                        const ForwardOptions& options, std::array<int64_t, 2>* patches) const {
  Tensor x = embeddings.forward(ctx, model, inputs, options, patches);  // (T, H) with T = B · (P + 1)
  const int64_t batch = inputs.pixel_values.size(0), length = (*patches)[0] * (*patches)[1] + 1, hidden = x.size(1);
  const Ragged images = equal_sequences(ctx, batch, length);
  auto put = [&](const Tensor& rows, Tensor& out) { copy_out(ctx, rows.reshape({batch, length, hidden}), out); };
  output.hidden_states.resize(options.output_hidden_states ? layers.size() + 1 : 0);
  output.attentions.resize(options.output_attentions ? layers.size() : 0);
  const bool whole = options.output_hidden_states || options.output_attentions;
  int64_t first = 0;
  do {
    Ctx::Scope part_scope(ctx);
    Part part = take_sequences(ctx, x, images, first, whole);
    for (size_t i = 0; i < layers.size(); i++) {
      Ctx::Scope scope(ctx);
      if (options.output_hidden_states) put(x, output.hidden_states[i]);
      layers[i].forward(ctx, part.rows, part.sequences, options.output_attentions ? &output.attentions[i] : nullptr);
    }
    first += part.sequences.batch;
  } while (first < images.batch);
  if (options.output_hidden_states) put(x, output.hidden_states.back());
  return layer_norm(ctx, x, layernorm, &x);
}

Tensor ViTBase::class_tokens(Ctx& ctx, const Tensor& x, int64_t batch) const {
  Tensor first = ctx.empty({batch}, DType::I64);
  for (int64_t b = 0; b < batch; b++) first.data<int64_t>()[b] = b * (x.size(0) / batch);
  return gather_rows(ctx, x, first);
}

ViTModel::ViTModel(const ViTConfig& config, const Weights& w, const LoadOptions& options)
    : ViTPreTrainedModel(config, options), vit_(loader(), w, config, options.use_mask_token) {
  if (!options.add_pooling_layer) return;
  const int64_t width =
      config.pooler_output_size.is_integer() ? config.pooler_output_size.as_int() : config.hidden_size;
  expect_positive(config, "pooler_output_size", width);
  pooler_act_ = activation_from_name(config.pooler_act);
  pooler_ = load_linear(loader(), w / "pooler" / "dense", config.hidden_size, width);
}

void ViTModel::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const {
  std::array<int64_t, 2> patches{};
  Tensor x = vit_.forward(ctx, kClassName, inputs, output, options, &patches);  // (T, H)
  const int64_t batch = inputs.pixel_values.size(0);
  copy_out(ctx, x.reshape({batch, patches[0] * patches[1] + 1, x.size(1)}), output.last_hidden_state);
  if (!pooler_)
    output.pooler_output = {};
  else
    copy_out(ctx, linear(ctx, vit_.class_tokens(ctx, x, batch), *pooler_, {.activation = pooler_act_}),
             output.pooler_output);
}

ViTForMaskedImageModeling::ViTForMaskedImageModeling(const ViTConfig& config, const Weights& w,
                                                     const LoadOptions& options)
    : ViTPreTrainedModel(config, options),
      vit_(loader(), w / "vit", config, /*use_mask_token=*/true),
      decoder_(
          load_patch_convolution(loader(), w / "decoder" / 0, config.hidden_size, decoder_channels(config), 1, 1)) {}

void ViTForMaskedImageModeling::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                    const ForwardOptions& options) const {
  if (inputs.bool_masked_pos.defined() && config_.patch_size != Json(config_.encoder_stride))
    throw Error(ErrorCode::invalid_argument, kClassName,
                "expected patch_size equal to encoder_stride for bool_masked_pos but got " + config_.patch_size.dump() +
                    " and " + std::to_string(config_.encoder_stride));
  std::array<int64_t, 2> patches{};
  Tensor x = vit_.forward(ctx, kClassName, inputs, output, options, &patches);  // (B · (P + 1), H)
  const int64_t batch = inputs.pixel_values.size(0), count = patches[0] * patches[1], side = square_side(count);
  if (side == 0)
    throw Error(ErrorCode::invalid_argument, kClassName,
                "expected a square number of patches but got " + std::to_string(count));
  Tensor index = ctx.empty({batch * count}, DType::I64);  // all rows but the class tokens
  for (int64_t i = 0; i < batch * count; i++) index.data<int64_t>()[i] = i + i / count + 1;
  x = linear(ctx, gather_rows(ctx, x, index), decoder_);  // (B · P, stride² · C)
  copy_out(ctx, pixel_shuffle(ctx, x, batch, side, side, config_.encoder_stride), output.reconstruction);
}

ViTForImageClassification::ViTForImageClassification(const ViTConfig& config, const Weights& w,
                                                     const LoadOptions& options)
    : ViTPreTrainedModel(config, options), vit_(loader(), w / "vit", config, /*use_mask_token=*/false) {
  if (config.num_labels() > 0)
    classifier_ = load_linear(loader(), w / "classifier", config.hidden_size, config.num_labels());
}

void ViTForImageClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                    const ForwardOptions& options) const {
  std::array<int64_t, 2> patches{};
  Tensor x = vit_.forward(ctx, kClassName, inputs, output, options, &patches);   // (T, H)
  x = vit_.class_tokens(ctx, x, inputs.pixel_values.size(0));                    // (B, H)
  copy_out(ctx, classifier_ ? linear(ctx, x, *classifier_) : x, output.logits);  // (B, C)
}

}  // namespace caracal
