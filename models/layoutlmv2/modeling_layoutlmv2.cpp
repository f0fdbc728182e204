#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>

#include <algorithm>
#include <array>

#include <caracal/models/activations.h>

namespace caracal {
namespace {

constexpr int64_t kPage = 1000;  // a page's height and width in the units of bbox

// The configuration as transformers completes it; refuses what cannot be run before any weight is read.
LayoutLMv2Config checked(LayoutLMv2Config config) {
  expect_positive(config, "vocab_size", config.vocab_size);
  expect_positive(config, "hidden_size", config.hidden_size);
  expect_positive(config, "num_attention_heads", config.num_attention_heads);
  expect_positive(config, "intermediate_size", config.intermediate_size);
  expect_positive(config, "max_position_embeddings", config.max_position_embeddings);
  expect_positive(config, "type_vocab_size", config.type_vocab_size);
  expect_positive(config, "coordinate_size", config.coordinate_size);
  expect_positive(config, "shape_size", config.shape_size);
  expect_positive(config, "max_2d_position_embeddings", config.max_2d_position_embeddings);
  expect_layer_count(config, "num_hidden_layers", config.num_hidden_layers);
  auto expect = [&](bool good, const std::string& expected, const std::string& got) {
    if (!good) throw Error(ErrorCode::invalid_argument, "LayoutLMv2Config", "expected " + expected + " but got " + got);
  };
  expect(config.hidden_size % config.num_attention_heads == 0, "hidden_size to be a multiple of num_attention_heads",
         std::to_string(config.hidden_size) + " and " + std::to_string(config.num_attention_heads));
  expect(4 * config.coordinate_size + 2 * config.shape_size == config.hidden_size,
         "4 · coordinate_size + 2 · shape_size to be hidden_size, " + std::to_string(config.hidden_size) + ",",
         std::to_string(config.coordinate_size) + " and " + std::to_string(config.shape_size));
  expect(config.max_2d_position_embeddings > kPage, "max_2d_position_embeddings above " + std::to_string(kPage),
         std::to_string(config.max_2d_position_embeddings));

  std::vector<int64_t>& pool = config.image_feature_pool_shape;
  const int64_t channels = VisualBackboneConfig(config).fpn_out_channels;
  expect(pool.size() == 2 || pool.size() == 3, "image_feature_pool_shape of 2 or 3 sizes", std::to_string(pool.size()));
  for (int64_t size : pool) expect_positive(config, "image_feature_pool_shape", size);
  if (pool.size() == 2) pool.push_back(channels);
  expect(pool[2] == channels,
         "image_feature_pool_shape to end in the backbone's " + std::to_string(channels) + " channels",
         std::to_string(pool[2]));
  expect(pool[0] <= config.max_position_embeddings && pool[1] <= config.max_position_embeddings / pool[0],
         "max_position_embeddings for every cell of image_feature_pool_shape",
         std::to_string(config.max_position_embeddings) + " for " + std::to_string(pool[0]) + " by " +
             std::to_string(pool[1]));
  auto expect_buckets = [&](bool used, const char* bins_field, int64_t bins, const char* most_field, int64_t most) {
    if (!used) return;
    expect_positive(config, bins_field, bins);
    expect_positive(config, most_field, most);
    expect(bins >= 4 && most > bins / 4,
           std::string(bins_field) + " of at least 4 and less than four times " + most_field,
           std::to_string(bins) + " and " + std::to_string(most));
  };
  expect_buckets(config.has_relative_attention_bias, "rel_pos_bins", config.rel_pos_bins, "max_rel_pos",
                 config.max_rel_pos);
  expect_buckets(config.has_spatial_attention_bias, "rel_2d_pos_bins", config.rel_2d_pos_bins, "max_rel_2d_pos",
                 config.max_rel_2d_pos);
  activation_from_name(config.hidden_act);
  return config;
}

// The boxes of a page's cells, row by row, as gather_boxes() gives them.
Tensor cell_boxes(int64_t height, int64_t width) {
  const int64_t cells = height * width;
  Tensor boxes = Tensor::empty({6, cells}, DType::I64);
  int64_t* to = boxes.data<int64_t>();
  for (int64_t i = 0; i < cells; i++) {
    const int64_t x = i % width, y = i / width;
    const int64_t x0 = kPage * x / width, x1 = kPage * (x + 1) / width;
    const int64_t y0 = kPage * y / height, y1 = kPage * (y + 1) / height;
    for (int64_t part = 0; int64_t value : {x0, y0, x1, y1, y1 - y0, x1 - x0}) to[part++ * cells + i] = value;
  }
  return boxes;
}

Tensor flat_row(const Tensor& x, int64_t i) { return x.rows(i, i + 1).reshape({x.size(1)}); }

// 0, 1, … n - 1, `times` times.
Tensor counting(Ctx& ctx, int64_t n, int64_t times) {
  Tensor ids = ctx.empty({n * times}, DType::I64);
  for (int64_t i = 0; i < n * times; i++) ids.data<int64_t>()[i] = i % n;
  return ids;
}

// Puts `cells` rows behind each sequence's text.
void append_page(Ctx& ctx, int64_t cells, LayoutLMv2Batch& batch) {
  const TextBatch& text = batch.text;
  TextBatch& all = batch.all;
  all.batch = text.batch;
  all.length = text.length + cells;
  batch.pages = ctx.bucket_images(text.batch);
  const int64_t tokens = text.sequences.tokens + batch.pages * cells, sequences = text.sequences.batch;
  Tensor offsets = ctx.empty({sequences + 1}, DType::I64), keys = ctx.empty({sequences}, DType::I64);
  all.rows = ctx.empty({tokens}, DType::I64);
  batch.text_rows = ctx.empty({text.sequences.tokens}, DType::I64);
  batch.visual_rows = ctx.empty({batch.pages * cells}, DType::I64);
  if (text.first_rows.defined()) all.first_rows = ctx.empty({sequences}, DType::I64);
  for (int64_t b = 0; b < text.batch; b++) {
    const int64_t begin = text.sequences.offsets[b], end = text.sequences.offsets[b + 1],
                  count = text.sequences.keys[b];
    const int64_t start = begin + b * cells;
    for (int64_t t = begin; t < end; t++) {
      const int64_t row = start + t - begin + (t - begin < count ? 0 : cells);
      batch.text_rows.data<int64_t>()[t] = row;
      all.rows.data<int64_t>()[row] = text.rows.data<int64_t>()[t] + b * cells;
      if (text.first_rows.defined() && text.first_rows.data<int64_t>()[b] == t) all.first_rows.data<int64_t>()[b] = row;
    }
    for (int64_t i = 0; i < cells; i++) {
      batch.visual_rows.data<int64_t>()[b * cells + i] = start + count + i;
      all.rows.data<int64_t>()[start + count + i] = b * all.length + text.length + i;
    }
    offsets.data<int64_t>()[b] = start;
    keys.data<int64_t>()[b] = count + cells;
  }
  // Rows of no sequence, empty sequences, and pages without text, stay behind.
  for (int64_t i = text.batch * cells; i < batch.pages * cells; i++) {
    batch.visual_rows.data<int64_t>()[i] = text.sequences.tokens + i;
    all.rows.data<int64_t>()[text.sequences.tokens + i] = 0;
  }
  const int64_t left = text.sequences.offsets[text.batch];
  for (int64_t t = left; t < text.sequences.tokens; t++) {
    batch.text_rows.data<int64_t>()[t] = t + text.batch * cells;
    all.rows.data<int64_t>()[t + text.batch * cells] = 0;
  }
  const int64_t empty = sequences - text.batch;
  std::fill_n(offsets.data<int64_t>() + text.batch, empty + 1, left + text.batch * cells);
  std::fill_n(keys.data<int64_t>() + text.batch, empty, int64_t(0));
  if (text.first_rows.defined()) std::fill_n(all.first_rows.data<int64_t>() + text.batch, empty, int64_t(0));
  all.sequences = {sequences, tokens, text.sequences.longest + cells, offsets.data<int64_t>(), keys.data<int64_t>()};
}

// The page's cells of each sequence, as sequences of their own.
Ragged pages(Ctx& ctx, const LayoutLMv2Batch& batch, bool among_all) {
  const int64_t count = batch.all.sequences.batch, cells = batch.all.length - batch.text.length;
  Tensor offsets = ctx.empty({count + 1}, DType::I64), keys = ctx.empty({count}, DType::I64);
  for (int64_t b = 0; b <= count; b++) {
    const bool there = b < batch.text.batch;
    offsets.data<int64_t>()[b] = !there      ? batch.text.batch * cells
                                 : among_all ? batch.all.sequences.offsets[b] + batch.text.sequences.keys[b]
                                             : b * cells;
    if (b < count) keys.data<int64_t>()[b] = there ? cells : 0;
  }
  return {count, batch.pages * cells, cells, offsets.data<int64_t>(), keys.data<int64_t>()};
}

}  // namespace

LayoutLMv2Embeddings::LayoutLMv2Embeddings(const Loader& loader, const Weights& w, const LayoutLMv2Config& config)
    : word_embeddings(load_embedding(w / "word_embeddings", config.vocab_size, config.hidden_size,
                                     with_padding_row(config.pad_token_id))),
      position_embeddings(
          load_embedding(w / "position_embeddings", config.max_position_embeddings, config.hidden_size)),
      norm(load_layer_norm(loader, w / "LayerNorm", config.hidden_size, config.layer_norm_eps)) {
  const int64_t coordinates = config.max_2d_position_embeddings;
  x_position_embeddings = load_embedding(w / "x_position_embeddings", coordinates, config.coordinate_size);
  y_position_embeddings = load_embedding(w / "y_position_embeddings", coordinates, config.coordinate_size);
  h_position_embeddings = load_embedding(w / "h_position_embeddings", coordinates, config.shape_size);
  w_position_embeddings = load_embedding(w / "w_position_embeddings", coordinates, config.shape_size);
  token_type_embeddings = load_embedding(w / "token_type_embeddings", config.type_vocab_size, config.hidden_size);
}

Tensor LayoutLMv2Embeddings::page_positions(const Runtime& runtime, const Tensor& boxes) const {
  Tensor rows = position_embeddings.rows(0, boxes.size(1)).clone();
  Arena arena;
  Ctx ctx(runtime, arena);
  add_spatial_position_embeddings(ctx, boxes, rows);
  return rows;
}

void LayoutLMv2Embeddings::place(const Loader& loader) {
  for (Tensor* table : {&word_embeddings, &position_embeddings, &token_type_embeddings, &x_position_embeddings,
                        &y_position_embeddings, &h_position_embeddings, &w_position_embeddings})
    *table = loader.place(*table);
}

void LayoutLMv2Embeddings::add_spatial_position_embeddings(Ctx& ctx, const Tensor& boxes, Tensor& x) const {
  int64_t column = 0, part = 0;
  for (const Tensor* table : {&x_position_embeddings, &y_position_embeddings, &x_position_embeddings,
                              &y_position_embeddings, &h_position_embeddings, &w_position_embeddings}) {
    add_embedding_columns(ctx, flat_row(boxes, part++), *table, column, x);
    column += table->size(1);
  }
}

Tensor LayoutLMv2Embeddings::forward(Ctx& ctx, const char* model, const ModelInputs& inputs,
                                     const LayoutLMv2Batch& batch) const {
  const int64_t positions = position_embeddings.size(0);
  Tensor position_ids =
      gather_ids(ctx, {model, "position_ids"}, inputs.position_ids, Fallback::positions, positions, batch.text);
  Tensor token_type_ids = gather_ids(ctx, {model, "token_type_ids"}, inputs.token_type_ids, Fallback::zeros,
                                     token_type_embeddings.size(0), batch.text);
  Tensor x = embed_tokens(ctx, model, inputs, word_embeddings, batch.text);  // (T, H)
  embedding(ctx, position_ids, position_embeddings, &x);
  add_spatial_position_embeddings(ctx, batch.boxes, x);
  embedding(ctx, token_type_ids, token_type_embeddings, &x);
  return layer_norm(ctx, x, norm, &x);
}

LayoutLMv2Layer::LayoutLMv2Layer(const Loader& loader, const Weights& w, const LayoutLMv2Config& config)
    : heads(config.num_attention_heads), act(activation_from_name(config.hidden_act)) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const Weights attention = w / "attention", self = attention / "self";
  if (config.fast_qkv) {
    const Weights qkv = self / "qkv_linear";
    auto bias = [&] {  // none for the keys
      const Init zeros{.kind = Init::Kind::constant};
      Tensor all = Tensor::zeros({3 * hidden});
      std::copy_n(self.get("q_bias", {1, 1, hidden}, zeros).data<float>(), hidden, all.data<float>());
      std::copy_n(self.get("v_bias", {1, 1, hidden}, zeros).data<float>(), hidden, all.data<float>() + 2 * hidden);
      return all;
    };
    self_qkv = load_linear_with(bias, loader, qkv, hidden, 3 * hidden);
  } else {
    self_qkv = load_stacked_linear(loader, {self / "query", self / "key", self / "value"}, hidden, hidden);
  }
  self_output = load_linear(loader, attention / "output" / "dense", hidden, hidden);
  self_output_norm = load_layer_norm(loader, attention / "output" / "LayerNorm", hidden, config.layer_norm_eps);
  intermediate = load_linear(loader, w / "intermediate" / "dense", hidden, inner);
  output = load_linear(loader, w / "output" / "dense", inner, hidden);
  output_norm = load_layer_norm(loader, w / "output" / "LayerNorm", hidden, config.layer_norm_eps);
}

void LayoutLMv2Layer::forward(Ctx& ctx, Tensor& x, const TextBatch& text, const Tensor* bias,
                              Tensor* attentions) const {  // x (T, H)
  Ctx::Scope scope(ctx);
  Tensor probs;
  if (attentions != nullptr) probs = empty_attentions(ctx, heads, text.sequences, text.sequences);
  Tensor h = linear(ctx, x, self_qkv);  // (T, 3H)
  h = attention(ctx, h, text.sequences,
                {.heads = heads,
                 .kind = self_qkv.kind,
                 .bias = bias,
                 .probs = attentions != nullptr ? &probs : nullptr});  // (T, H)
  if (attentions != nullptr) pad_attentions(ctx, probs, heads, text, text, *attentions);
  h = linear(ctx, h, self_output, {.residual = &x});  // (T, H)
  layer_norm(ctx, h, self_output_norm, &h);
  Tensor m = linear(ctx, h, intermediate, {.activation = act});  // (T, I)
  m = linear(ctx, m, output, {.residual = &h});                  // (T, H)
  layer_norm(ctx, m, output_norm, &x);
}

LayoutLMv2Base::LayoutLMv2Base(const Loader& loader, const Weights& w, const LayoutLMv2Config& layoutlmv2_config)
    : config(layoutlmv2_config), embeddings(loader, w / "embeddings", config), visual(loader, w / "visual", config) {
  const int64_t hidden = config.hidden_size, heads = config.num_attention_heads;
  visual_proj = load_linear(loader, w / "visual_proj", visual.config.fpn_out_channels, hidden);
  visual_boxes = cell_boxes(visual.pool_height, visual.pool_width);
  visual_positions = embeddings.page_positions(loader.runtime, visual_boxes);
  if (config.has_visual_segment_embedding) {
    const Tensor segment = w.get("visual_segment_embedding", {hidden});
    for (int64_t i = 0; i < visual_positions.numel(); i++)
      visual_positions.data<float>()[i] += segment.data<float>()[i % hidden];
  }
  visual_positions = loader.place(visual_positions);
  embeddings.place(loader);
  visual_norm = load_layer_norm(loader, w / "visual_LayerNorm", hidden, config.layer_norm_eps);
  const Weights encoder = w / "encoder";
  for (int64_t i = 0; i < config.num_hidden_layers; i++) layers.emplace_back(loader, encoder / "layer" / i, config);
  auto bias = [&](const char* name, int64_t bins) {
    return loader.place_vector((encoder / name).get("weight", {heads, bins}).clone());
  };
  if (config.has_relative_attention_bias) rel_pos_bias = bias("rel_pos_bias", config.rel_pos_bins);
  if (config.has_spatial_attention_bias) {
    rel_pos_x_bias = bias("rel_pos_x_bias", config.rel_2d_pos_bins);
    rel_pos_y_bias = bias("rel_pos_y_bias", config.rel_2d_pos_bins);
  }
}

Tensor LayoutLMv2Base::visual_embeddings(Ctx& ctx, const char* model, const Tensor& image, int64_t batch) const {
  const int64_t cells = visual_positions.size(0);
  Tensor x = linear(ctx, visual.forward(ctx, model, image, batch), visual_proj);  // (B · P, H)
  embedding(ctx, counting(ctx, cells, x.size(0) / cells), visual_positions, &x);
  return layer_norm(ctx, x, visual_norm, &x);
}

// What every layer adds to its attention scores: undefined when the configuration has no bias.
Tensor LayoutLMv2Base::attention_bias(Ctx& ctx, const char* model, const ModelInputs& inputs,
                                      const LayoutLMv2Batch& batch) const {
  // A number of each row: the text's, and those of the page's cells.
  auto merge = [&](const Tensor& of_text, const Tensor& of_cells) {
    Tensor out = ctx.empty({batch.all.sequences.tokens}, DType::I64);
    for (int64_t t = 0; t < of_text.numel(); t++)
      out.data<int64_t>()[batch.text_rows.data<int64_t>()[t]] = of_text.data<int64_t>()[t];
    for (int64_t i = 0; i < batch.visual_rows.numel(); i++)
      out.data<int64_t>()[batch.visual_rows.data<int64_t>()[i]] = of_cells.data<int64_t>()[i % of_cells.numel()];
    return out;
  };
  std::array<RelativePositions, 3> terms;
  size_t count = 0;
  if (rel_pos_bias.defined()) {
    const Tensor position_ids = gather_ids(ctx, {model, "position_ids"}, inputs.position_ids, Fallback::positions,
                                           embeddings.position_embeddings.size(0), batch.text);
    terms[count++] = {merge(position_ids, counting(ctx, visual_boxes.size(1), 1)), rel_pos_bias, config.max_rel_pos};
  }
  if (rel_pos_x_bias.defined()) {
    auto coordinates = [&](int64_t part) { return merge(flat_row(batch.boxes, part), flat_row(visual_boxes, part)); };
    terms[count++] = {coordinates(0), rel_pos_x_bias, config.max_rel_2d_pos};  // left
    terms[count++] = {coordinates(3), rel_pos_y_bias, config.max_rel_2d_pos};  // bottom
  }
  if (count == 0) return {};
  return relative_bias(ctx, batch.all.sequences, std::span(terms).first(count),
                       config.max_position_embeddings + visual_boxes.size(1));
}

Tensor LayoutLMv2Base::forward(Ctx& ctx, const char* model, const ModelInputs& inputs, bool keep_first,
                               LayoutLMv2Batch& batch, ModelOutput& output, const ForwardOptions& options) const {
  batch.text = unpad(ctx, model, inputs, keep_first);
  expect_positions(model, inputs, batch.text, embeddings.position_embeddings.size(0));
  batch.boxes = gather_boxes(ctx, {model, "bbox"}, inputs.bbox, config.max_2d_position_embeddings, batch.text);
  append_page(ctx, visual_boxes.size(1), batch);
  batch.visual = visual_embeddings(ctx, model, inputs.image, batch.text.batch);
  Tensor x = ctx.empty({batch.all.sequences.tokens, config.hidden_size});
  {
    Ctx::Scope scope(ctx);
    scatter_rows(ctx, embeddings.forward(ctx, model, inputs, batch), batch.text_rows, x);
    scatter_rows(ctx, batch.visual, batch.visual_rows, x);
  }
  const Tensor bias = attention_bias(ctx, model, inputs, batch);
  output.hidden_states.resize(options.output_hidden_states ? layers.size() + 1 : 0);
  output.attentions.resize(options.output_attentions ? layers.size() : 0);
  for (size_t i = 0; i < layers.size(); i++) {
    if (options.output_hidden_states) pad_rows(ctx, x, batch.all, output.hidden_states[i]);
    layers[i].forward(ctx, x, batch.all, bias.defined() ? &bias : nullptr,
                      options.output_attentions ? &output.attentions[i] : nullptr);
  }
  if (options.output_hidden_states) pad_rows(ctx, x, batch.all, output.hidden_states.back());
  return x;
}

Tensor LayoutLMv2Base::text_part(Ctx& ctx, const Tensor& x, const LayoutLMv2Batch& batch) const {
  return gather_rows(ctx, x, batch.text_rows);
}

LayoutLMv2Model::LayoutLMv2Model(const LayoutLMv2Config& config, const Weights& w, const LoadOptions& options)
    : LayoutLMv2PreTrainedModel(checked(config), options),
      layoutlmv2_(loader(), w, config_),
      pooler_(load_linear(loader(), w / "pooler" / "dense", config.hidden_size, config.hidden_size)) {}

void LayoutLMv2Model::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                          const ForwardOptions& options) const {
  LayoutLMv2Batch batch;
  Tensor x = layoutlmv2_.forward(ctx, kClassName, inputs, /*keep_first=*/true, batch, output, options);  // (T, H)
  pad_rows(ctx, x, batch.all, output.last_hidden_state);
  Tensor first = gather_rows(ctx, x, batch.all.first_rows);  // (B, H)
  copy_sequences(ctx, linear(ctx, first, pooler_, {.activation = Activation::tanh}), batch.text, output.pooler_output);
}

// The pooler is a part of every class in transformers, though its heads do not read it.
static void skip_pooler(const Weights& w, int64_t hidden) {
  const Weights dense = w / "pooler" / "dense";
  dense.get("weight", {hidden, hidden});
  dense.get("bias", {hidden});
}

LayoutLMv2ForSequenceClassification::LayoutLMv2ForSequenceClassification(const LayoutLMv2Config& config,
                                                                         const Weights& w, const LoadOptions& options)
    : LayoutLMv2PreTrainedModel(checked(config), options),
      layoutlmv2_(loader(), w / "layoutlmv2", config_),
      classifier_(load_linear(loader(), w / "classifier", 3 * config.hidden_size, label_count(config))) {
  skip_pooler(w / "layoutlmv2", config.hidden_size);
}

void LayoutLMv2ForSequenceClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                              const ForwardOptions& options) const {
  LayoutLMv2Batch batch;
  Tensor x = layoutlmv2_.forward(ctx, kClassName, inputs, /*keep_first=*/true, batch, output, options);  // (T, H)
  Tensor first = gather_rows(ctx, x, batch.all.first_rows);                                              // (B, H)
  Tensor before = mean_pool(ctx, batch.visual, pages(ctx, batch, /*among_all=*/false));                  // (B, H)
  Tensor after = mean_pool(ctx, x, pages(ctx, batch, /*among_all=*/true));                               // (B, H)
  const Tensor all = concat_columns(ctx, {&first, &before, &after});                                     // (B, 3H)
  copy_sequences(ctx, linear(ctx, all, classifier_), batch.text, output.logits);                         // (B, C)
}

LayoutLMv2ForTokenClassification::LayoutLMv2ForTokenClassification(const LayoutLMv2Config& config, const Weights& w,
                                                                   const LoadOptions& options)
    : LayoutLMv2PreTrainedModel(checked(config), options),
      layoutlmv2_(loader(), w / "layoutlmv2", config_),
      classifier_(load_linear(loader(), w / "classifier", config.hidden_size, label_count(config))) {
  skip_pooler(w / "layoutlmv2", config.hidden_size);
}

void LayoutLMv2ForTokenClassification::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                           const ForwardOptions& options) const {
  LayoutLMv2Batch batch;
  Tensor x = layoutlmv2_.forward(ctx, kClassName, inputs, /*keep_first=*/false, batch, output, options);  // (T, H)
  x = layoutlmv2_.text_part(ctx, x, batch);                                                               // (T text, H)
  pad_rows(ctx, linear(ctx, x, classifier_), batch.text, output.logits);                                  // (B, S, C)
}

static LayoutLMv2Config with_segment(LayoutLMv2Config config) {
  config.has_visual_segment_embedding = true;
  return config;
}

LayoutLMv2ForQuestionAnswering::LayoutLMv2ForQuestionAnswering(const LayoutLMv2Config& config, const Weights& w,
                                                               const LoadOptions& options)
    : LayoutLMv2PreTrainedModel(with_segment(checked(config)), options),
      layoutlmv2_(loader(), w / "layoutlmv2", config_),
      qa_outputs_(load_linear(loader(), w / "qa_outputs", config.hidden_size, two_labels(config))) {
  skip_pooler(w / "layoutlmv2", config.hidden_size);
}

void LayoutLMv2ForQuestionAnswering::run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                                         const ForwardOptions& options) const {
  LayoutLMv2Batch batch;
  Tensor x = layoutlmv2_.forward(ctx, kClassName, inputs, /*keep_first=*/false, batch, output, options);  // (T, H)
  Tensor logits = linear(ctx, layoutlmv2_.text_part(ctx, x, batch), qa_outputs_);                         // (T text, 2)
  pad_column(ctx, logits, 0, batch.text, output.start_logits);
  pad_column(ctx, logits, 1, batch.text, output.end_logits);
}

}  // namespace caracal
