// LayoutLMv2 beyond its goldens: batch mates, padding and threads change no bit; saving; bad input.
#include <random>

#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>

#include "models_testing.h"

namespace caracal {
namespace {

std::shared_ptr<Runtime> threads(int count) { return std::make_shared<Runtime>(RuntimeOptions{.threads = count}); }

LayoutLMv2Config tiny(const Json& overrides = Json::Object{}, const Json& backbone = Json::Object{}) {
  Json args = LayoutLMv2Config::default_detectron2_config();
  args.set("MODEL.RESNETS.DEPTH", 50);
  args.set("MODEL.RESNETS.NUM_GROUPS", 2);
  args.set("MODEL.RESNETS.WIDTH_PER_GROUP", 3);
  args.set("MODEL.RESNETS.STEM_OUT_CHANNELS", 5);
  args.set("MODEL.RESNETS.RES2_OUT_CHANNELS", 8);
  args.set("MODEL.FPN.OUT_CHANNELS", 18);
  for (const auto& [key, value] : backbone.as_object()) args.set(key, value);
  LayoutLMv2Config config({{"vocab_size", 60},
                           {"hidden_size", 24},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 3},
                           {"intermediate_size", 40},
                           {"max_position_embeddings", 40},
                           {"coordinate_size", 4},
                           {"shape_size", 4},
                           {"image_feature_pool_shape", Json::Array{3, 4, 18}},
                           {"initializer_range", 0.2},
                           {"detectron2_config_args", args}});
  config.update(overrides, "tiny");
  return config;
}

constexpr int64_t kBatch = 3, kLength = 9;

// Documents of 9, 4 and 7 tokens, the last with a masked first token.
ModelInputs documents(int64_t height = 64, int64_t width = 32) {
  std::mt19937_64 random(5);
  ModelInputs inputs;
  inputs.input_ids = Tensor::zeros({kBatch, kLength}, DType::I64);
  inputs.attention_mask = Tensor::zeros({kBatch, kLength}, DType::I64);
  inputs.bbox = Tensor::zeros({kBatch, kLength, 4}, DType::I64);
  inputs.image = Tensor::zeros({kBatch, 3, height, width}, DType::U8);
  const int64_t begin[] = {0, 0, 2}, end[] = {9, 4, 9};
  for (int64_t i = 0; i < kBatch * kLength; i++) {
    inputs.input_ids.data<int64_t>()[i] = int64_t(random() % 60);
    inputs.attention_mask.data<int64_t>()[i] = begin[i / kLength] <= i % kLength && i % kLength < end[i / kLength];
    int64_t* box = inputs.bbox.data<int64_t>() + 4 * i;
    for (int j : {0, 1}) box[j] = int64_t(random() % 500), box[j + 2] = box[j] + int64_t(random() % 500);
  }
  for (int64_t i = 0; i < inputs.image.numel(); i++) inputs.image.data<uint8_t>()[i] = uint8_t(random());
  return inputs;
}

// Tokens [begin, end) of document b, without a mask.
ModelInputs alone(const ModelInputs& inputs, int64_t b, int64_t begin, int64_t end) {
  ModelInputs one;
  one.input_ids = inputs.input_ids.rows(b, b + 1).reshape({kLength}).rows(begin, end).reshape({1, end - begin});
  one.bbox = inputs.bbox.rows(b, b + 1).reshape({kLength, 4}).rows(begin, end).reshape({1, end - begin, 4});
  one.image = inputs.image.rows(b, b + 1);
  one.position_ids = Tensor::zeros({1, end - begin}, DType::I64);
  for (int64_t i = begin; i < end; i++) one.position_ids.data<int64_t>()[i - begin] = i;
  return one;
}

TEST(LayoutLMv2, BatchMatesPaddingAndThreadsChangeNoBit) {
  const ModelInputs all = documents();
  const LayoutLMv2Model model(tiny(), {.runtime = threads(1)}), other(tiny(), {.runtime = threads(3)});
  const ForwardOptions options{.output_hidden_states = true, .output_attentions = true};
  const ModelOutput batch = model(all, options), threaded = other(all, options);
  const auto want = batch.named(), got = threaded.named();
  ASSERT_EQ(got.size(), 2u + 3u + 2u);
  for (size_t i = 0; i < want.size(); i++) EXPECT_TRUE(bytes_equal(want[i].second, got[i].second)) << want[i].first;
  const int64_t cells = 12, hidden = 24, begin[] = {0, 0, 2}, end[] = {9, 4, 9};
  for (int64_t b = 0; b < kBatch; b++) {
    const ModelOutput one = model(alone(all, b, begin[b], end[b]));
    const int64_t tokens = end[b] - begin[b];
    const float* row = batch.last_hidden_state.data<float>() + b * (kLength + cells) * hidden;
    const Tensor text = one.last_hidden_state.reshape({tokens + cells, hidden});
    EXPECT_EQ(std::memcmp(row + begin[b] * hidden, text.raw(), size_t(tokens * hidden) * 4), 0) << b;
    EXPECT_EQ(std::memcmp(row + kLength * hidden, text.rows(tokens, tokens + cells).raw(), size_t(cells * hidden) * 4),
              0)
        << b;
    if (begin[b] > 0) continue;  // the pooler reads position 0, which is padding here
    EXPECT_EQ(std::memcmp(batch.pooler_output.data<float>() + b * hidden, one.pooler_output.raw(), hidden * 4), 0) << b;
  }
}

TEST(LayoutLMv2, SavesWhatItLoads) {
  TemporaryDirectory directory;
  const LayoutLMv2ForSequenceClassification model(tiny({{"num_labels", 3}, {"fast_qkv", false}}));
  model.save_pretrained(directory.path);
  const auto again = LayoutLMv2ForSequenceClassification::from_pretrained(directory.path);
  EXPECT_TRUE(again.loading_info().missing_keys.empty() && again.loading_info().unexpected_keys.empty());
  EXPECT_TRUE(bytes_equal(model(documents()).logits, again(documents()).logits));
  // The levels of the pyramid that nothing reads are a part of the checkpoint.
  EXPECT_TRUE(std::ranges::any_of(again.parameters(), [](const Parameter& p) {
    return p.name == "layoutlmv2.visual.backbone.fpn_output5.weight";
  }));
}

TEST(LayoutLMv2, FillsInTheConfiguration) {
  EXPECT_EQ(LayoutLMv2Model(tiny({{"image_feature_pool_shape", Json::Array{2, 2}}}))
                .config()
                .to_dict()
                .at("image_feature_pool_shape"),
            (Json::Array{2, 2, 18}));
  EXPECT_EQ(LayoutLMv2ForQuestionAnswering(tiny()).config().to_dict().at("has_visual_segment_embedding"), Json(true));
}

TEST(LayoutLMv2, RefusesBadInput) {
  const LayoutLMv2Model model(tiny(), {.runtime = threads(1)});
  auto error_of = [&](auto change) {
    ModelInputs inputs = documents();
    change(inputs);
    return message_of([&] { model(inputs); });
  };
  auto box = [](int64_t at, int64_t value) {
    return [=](ModelInputs& inputs) { inputs.bbox.data<int64_t>()[at] = value; };
  };
  EXPECT_EQ(error_of(box(0, -1)).substr(0, 94),
            "[LayoutLMv2Model: bbox] expected 0 <= x0 <= x1 < 1024, and y alike, but got x0, y0, x1, y1 = -");
  EXPECT_NE(error_of(box(2, 1024)).find("1024, "), std::string::npos);
  EXPECT_NE(error_of(box(4 * kLength * 2 + 3, -5)).find("bbox"), std::string::npos);  // of a masked token, too
  EXPECT_NE(error_of([](ModelInputs& inputs) {
              std::swap(inputs.bbox.data<int64_t>()[0], inputs.bbox.data<int64_t>()[2]);
            }).find("x0 <= x1"),
            std::string::npos);
  EXPECT_EQ(error_of([](ModelInputs& inputs) { inputs.bbox = {}; }),
            "[LayoutLMv2Model: bbox] expected shape (3, 9, 4) but got nothing");
  EXPECT_EQ(error_of([](ModelInputs& inputs) {
              inputs.bbox = Tensor::zeros({3, 9, 4});
            }),
            "[LayoutLMv2Model: bbox] expected integers but got (3, 9, 4) F32");
  EXPECT_EQ(error_of([](ModelInputs& inputs) { inputs.image = {}; }),
            "[LayoutLMv2Model: image] expected shape (3, 3, height, width) U8 or F32 but got nothing");
  EXPECT_EQ(error_of([](ModelInputs& inputs) {
              inputs.image = Tensor::zeros({2, 3, 32, 32}, DType::U8);
            }),
            "[LayoutLMv2Model: image] expected shape (3, 3, height, width) U8 or F32 but got (2, 3, 32, 32) U8");
  EXPECT_EQ(
      error_of([](ModelInputs& inputs) {
        inputs.image = Tensor::zeros({3, 3, 33, 224}, DType::U8);
      }),
      "[LayoutLMv2Model: image] expected height and width of 29 to 32 pixels beyond a multiple of 32, such as 224, "
      "but got 33 and 224");
  EXPECT_EQ(error_of([](ModelInputs& inputs) {
              inputs.image = Tensor::zeros({3, 3, 0, 32}, DType::U8);
            }).substr(0, 24),
            "[LayoutLMv2Model: image]");
  EXPECT_NO_THROW(model(documents(32, 61)));
}

TEST(LayoutLMv2, RefusesBadConfigurations) {
  auto error_of = [](const Json& overrides, const Json& backbone = Json::Object{}) {
    return message_of([&] { LayoutLMv2Model model(tiny(overrides, backbone)); });
  };
  EXPECT_EQ(error_of(Json::Object{}, {{"MODEL.RESNETS.DEPTH", 34}}),
            "[LayoutLMv2Config: detectron2_config_args] 'MODEL.RESNETS.DEPTH' expected 50, 101 or 152 but got 34");
  EXPECT_NE(error_of(Json::Object{}, {{"MODEL.RESNETS.NUM_GROUPS", 0}}).find("NUM_GROUPS"), std::string::npos);
  EXPECT_NE(error_of(Json::Object{}, {{"MODEL.RESNETS.NORM", "GN"}}).find("FrozenBN"), std::string::npos);
  EXPECT_NE(error_of(Json::Object{}, {{"MODEL.PIXEL_STD", Json::Array{1}}}).find("PIXEL_STD"), std::string::npos);
  EXPECT_NE(error_of(Json::Object{}, {{"MODEL.FPN.FUSE_TYPE", "max"}}).find("FUSE_TYPE"), std::string::npos);
  // Detectron2's own defaults have no pyramid.
  EXPECT_NE(error_of({{"detectron2_config_args", Json::Object{}}}).find("MODEL.BACKBONE.NAME"), std::string::npos);
  EXPECT_NE(error_of({{"image_feature_pool_shape", Json::Array{3, 4, 17}}}).find("18 channels"), std::string::npos);
  EXPECT_NE(error_of({{"image_feature_pool_shape", Json::Array{9, 9, 18}}}).find("max_position"), std::string::npos);
  EXPECT_NE(error_of({{"coordinate_size", 5}}).find("coordinate_size"), std::string::npos);
  EXPECT_NE(error_of({{"max_2d_position_embeddings", 1000}}).find("above 1000"), std::string::npos);
  EXPECT_NE(error_of({{"rel_pos_bins", 3}}).find("rel_pos_bins"), std::string::npos);
}

}  // namespace
}  // namespace caracal
