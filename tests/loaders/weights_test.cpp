#include <caracal/loaders/weights.h>

#include <cmath>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::expect_error;
using testing::TemporaryDirectory;

using Names = std::vector<std::string>;

class WeightsTest : public ::testing::Test {
 protected:
  Checkpoint save(const std::vector<std::pair<std::string, Tensor>>& tensors) {
    save_safetensors(dir / "model.safetensors", tensors);
    return Checkpoint::open(dir.path);
  }
  static Tensor values(std::vector<float> v) { return Tensor::from(v, {int64_t(v.size())}); }
  TemporaryDirectory dir;
};

TEST_F(WeightsTest, CursorReadsByDottedName) {
  Weights w(save({{"encoder.layer.0.weight", values({1, 2})}, {"top", values({3})}}));
  Weights layer = w / "encoder" / "layer" / 0;
  EXPECT_EQ(layer.prefix(), "encoder.layer.0");
  EXPECT_EQ(w.prefix(), "");
  EXPECT_TRUE(layer.has("weight"));
  EXPECT_FALSE(layer.has("bias"));
  EXPECT_EQ(layer.get("weight", {2}).values<float>()[1], 2.0f);
  EXPECT_EQ(w.get("top", {1}).values<float>()[0], 3.0f);
  EXPECT_EQ(w.get("encoder.layer.0.weight", {2}).values<float>()[0], 1.0f);
}

TEST_F(WeightsTest, AlignedF32IsNotCopied) {
  Checkpoint checkpoint = save({{"a", values({1, 2})}});
  Weights w(checkpoint);
  EXPECT_EQ(w.get("a", {2}).raw(), checkpoint.tensor("a").raw());
}

TEST_F(WeightsTest, OtherFloatTypesAreConverted) {
  Tensor a = values({1.5f, -0.25f, 1024});
  Weights w(save({{"f16", a.to(DType::F16)}, {"bf16", a.to(DType::BF16)}, {"f64", a.to(DType::F64)}}));
  for (const char* name : {"f16", "bf16", "f64"}) {
    Tensor t = w.get(name, {3});
    EXPECT_EQ(t.dtype(), DType::F32);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(t.values<float>()[i], a.values<float>()[i]) << name;
  }
}

TEST_F(WeightsTest, ErrorsCarryTheFullNameAndBothShapes) {
  Weights w(save({{"bert.pooler.weight", Tensor::zeros({2, 3})}, {"ids", Tensor::zeros({1}, DType::I64)}}));
  expect_error(ErrorCode::bad_file,
               {"[bert.pooler.weight]", "expected shape (3, 2) but got (2, 3)", "model.safetensors"}, [&] {
                 (w / "bert" / "pooler").get("weight", {3, 2});
               });
  expect_error(ErrorCode::bad_file, {"(6,)", "(2, 3)"}, [&] { w.get("bert.pooler.weight", {6}); });
  expect_error(ErrorCode::not_found, {"[bert.pooler.bias]", "(3,)", dir.path},
               [&] { (w / "bert" / "pooler").get("bias", {3}); });
  expect_error(ErrorCode::bad_file, {"[ids]", "F32", "I64"}, [&] { w.get("ids", {1}); });
}

TEST_F(WeightsTest, BasePrefixIsAddedOrStripped) {
  Weights from_head(save({{"bert.a", values({1})}, {"classifier", values({2})}}), {.base_prefix = "bert"});
  EXPECT_EQ(from_head.get("a", {1}).values<float>()[0], 1.0f);             // BertModel from a head's file
  EXPECT_EQ((from_head / "bert").get("a", {1}).values<float>()[0], 1.0f);  // the head itself
  EXPECT_EQ(from_head.unread(), Names{"classifier"});
  Weights from_base(save({{"a", values({3})}}), {.base_prefix = "bert"});
  EXPECT_EQ((from_base / "bert").get("a", {1}).values<float>()[0], 3.0f);  // a head from the base model's file
  expect_error(ErrorCode::bad_file, {"[bert.a]", "there named a"}, [&] { from_base.get("bert.a", {2}); });
  Weights exact(save({{"a", values({4})}, {"bert.a", values({5})}}), {.base_prefix = "bert"});
  EXPECT_EQ(exact.get("a", {1}).values<float>()[0], 4.0f);
  EXPECT_EQ(exact.get("bert.a", {1}).values<float>()[0], 5.0f);
  EXPECT_FALSE(Weights(save({{"bert.a", values({1})}})).has("a"));  // only with the option
}

TEST_F(WeightsTest, LegacyLayerNormNames) {
  Weights w(save({{"x.LayerNorm.gamma", values({1})}, {"x.LayerNorm.beta", values({2})}, {"x.gamma", values({3})}}),
            {.base_prefix = "bert"});
  Weights norm = w / "bert" / "x" / "LayerNorm";
  EXPECT_EQ(norm.get("weight", {1}).values<float>()[0], 1.0f);
  EXPECT_EQ(norm.get("bias", {1}).values<float>()[0], 2.0f);
  EXPECT_EQ(w.unread(), Names{"x.gamma"});
}

TEST_F(WeightsTest, RecordsWhatWasReadAndMissed) {
  Weights w(save({{"a", values({1})},
                  {"b", values({2})},
                  {"position_ids", values({0})},
                  {"e.position_ids", values({0})},
                  {"my_position_ids", values({0})}}));
  w.get("a", {1});
  EXPECT_EQ(w.unread(), (Names{"b", "my_position_ids"}));
}

TEST_F(WeightsTest, MissingAndMismatchedTensorsCanBeDrawn) {
  Weights w(save({{"a", values({1})}, {"b", values({1})}}), {.init_missing = RandomInit{}});
  EXPECT_EQ(w.get("a", {1}).values<float>()[0], 1.0f);
  Tensor drawn = (w / "classifier").get("weight", {4, 4});
  EXPECT_EQ(drawn.shape(), Shape({4, 4}));
  EXPECT_EQ(w.missing(), Names{"classifier.weight"});
  EXPECT_EQ(w.get("b", {2}).shape(), Shape{2});
  EXPECT_EQ(w.mismatched(), (std::vector<MismatchedKey>{{"b", {1}, {2}}}));
  EXPECT_TRUE(w.unread().empty());
}

TEST_F(WeightsTest, OnlySoMuchIsDrawn) {
  Checkpoint small = save({{"a", values({1, 2})}});
  constexpr int64_t kFloats = (64 << 20) / 4;
  auto weights = [&] { return Weights(small, {.init_missing = RandomInit{}}); };
  EXPECT_EQ(weights().get("x.bias", {kFloats}).numel(), kFloats);
  expect_error(ErrorCode::bad_file, {"[x.bias]", "67108868", "has 8 bytes", dir.path},
               [&] { weights().get("x.bias", {kFloats + 1}); });
  expect_error(ErrorCode::bad_file, {"[word.weight]", "1649267441664"}, [&] {
    (weights() / "word").get("weight", {int64_t(1) << 30, 384});
  });
  expect_error(ErrorCode::invalid_argument, {"overflows"}, [&] { weights().get("x", {int64_t(1) << 62}); });
  // Many tensors count together; one that is asked for twice counts once.
  Weights many = weights();
  for (int i = 0; i < 3; i++) many.get("x.bias", {kFloats / 2});
  many.get("y.bias", {kFloats / 2});
  expect_error(ErrorCode::bad_file, {"[z.bias]", "67108868"}, [&] { many.get("z.bias", {1}); });
  // A larger checkpoint may have larger heads; without one the size is the caller's own wish.
  Checkpoint large = save({{"a", Tensor::zeros({kFloats / 2})}});
  EXPECT_EQ(Weights(large, {.init_missing = RandomInit{}}).get("x.bias", {2 * kFloats}).numel(), 2 * kFloats);
  expect_error(ErrorCode::bad_file, {"134217732"},
               [&] { Weights(large, {.init_missing = RandomInit{}}).get("x.bias", {2 * kFloats + 1}); });
  EXPECT_EQ(Weights::random().get("x.bias", {kFloats + 1}).numel(), kFloats + 1);
}

// transformers' tie_weights, case by case.
TEST_F(WeightsTest, TiedParameters) {
  const WeightsOptions fresh{.init_missing = RandomInit{}};
  Weights source(save({{"table", values({1, 2})}}), fresh);
  EXPECT_TRUE(source.tie("head", "table"));
  EXPECT_TRUE(source.has("head"));
  EXPECT_EQ(source.get("table", {2}).values<float>()[1], 2.0f);
  EXPECT_EQ(source.get("head", {2}).values<float>()[1], 2.0f);
  EXPECT_TRUE(source.missing().empty());
  ASSERT_EQ(source.parameters().size(), 1u);  // saved once, under the source's name
  EXPECT_EQ(source.parameters()[0].name, "table");

  Weights target(save({{"head", values({3, 4})}}), fresh);  // only the target is stored
  EXPECT_TRUE(target.tie("head", "table"));
  EXPECT_EQ(target.get("table", {2}).values<float>()[0], 3.0f);
  EXPECT_EQ(target.get("head", {2}).values<float>()[0], 3.0f);
  EXPECT_TRUE(target.missing().empty() && target.unread().empty());
  ASSERT_EQ(target.parameters().size(), 1u);
  EXPECT_EQ(target.parameters()[0].saved_name, "table");

  Weights equal(save({{"head", values({5})}, {"table", values({5})}}), fresh);
  EXPECT_TRUE(equal.tie("head", "table"));
  equal.get("table", {1});
  EXPECT_TRUE(equal.unread().empty() && equal.warnings().empty());

  Weights different(save({{"head", values({5})}, {"table", values({6})}}), fresh);
  EXPECT_FALSE(different.tie("head", "table"));
  EXPECT_EQ(different.get("table", {1}).values<float>()[0], 6.0f);
  EXPECT_EQ(different.get("head", {1}).values<float>()[0], 5.0f);
  EXPECT_EQ(different.warnings().size(), 1u);
  EXPECT_EQ(different.parameters().size(), 2u);

  Weights neither(save({{"other", values({7})}}), fresh);  // drawn once, both reported
  EXPECT_TRUE(neither.tie("head.weight", "table.weight"));
  Tensor drawn = neither.get("table.weight", {2, 3}, {.zero_row = 1}), tied = neither.get("head.weight", {2, 3});
  EXPECT_TRUE(std::equal(drawn.values<float>().begin(), drawn.values<float>().end(), tied.values<float>().begin()));
  EXPECT_EQ(tied.values<float>()[4], 0.0f);
  EXPECT_EQ(neither.missing(), (Names{"head.weight", "table.weight"}));
  expect_error(ErrorCode::bad_file, {"[head.weight]", "(2, 4)", "(2, 3)", "table.weight"}, [&] {
    neither.get("head.weight", {2, 4});
  });
}

TEST_F(WeightsTest, RenamesAndSavedNames) {
  const WeightsOptions options{.base_prefix = "vit",
                               .renames = {{"encoder.layer.", "layers."}, {".output.dense.", ".mlp.fc2."}}};
  auto saved = [](const Weights& w) {
    Names names;
    for (const Parameter& p : w.parameters()) names.push_back(p.saved_name);
    return names;
  };
  Weights old(save({{"encoder.layer.0.output.dense.weight", values({1})}, {"encoder.layer.1.x", values({2})}}),
              options);
  EXPECT_EQ((old / "vit" / "layers" / 0 / "mlp" / "fc2").get("weight", {1}).values<float>()[0], 1.0f);
  EXPECT_EQ(saved(old), Names{"vit.encoder.layer.0.output.dense.weight"});
  EXPECT_EQ(old.unread(), Names{"layers.1.x"});
  Weights modern(save({{"layers.0.mlp.fc2.weight", values({1})}}), options);
  EXPECT_EQ((modern / "layers" / 0 / "mlp" / "fc2").get("weight", {1}).values<float>()[0], 1.0f);
  EXPECT_EQ(saved(modern), Names{"layers.0.mlp.fc2.weight"});
  Weights legacy(save({{"x.LayerNorm.gamma", values({1})}}));
  legacy.get("x.LayerNorm.weight", {1});
  EXPECT_EQ(saved(legacy), Names{"x.LayerNorm.gamma"});
  // The parameters of one model are the source of the next, names and all.
  Weights next(legacy.parameters());
  EXPECT_EQ(next.get("x.LayerNorm.weight", {1}).values<float>()[0], 1.0f);
  EXPECT_EQ(saved(next), Names{"x.LayerNorm.gamma"});
}

TEST_F(WeightsTest, ValuesAreRoundedToADtype) {
  Weights w(save({{"a", values({1.0009765625f, 3.14159f})}}), {.init_missing = RandomInit{}, .dtype = DType::BF16});
  EXPECT_EQ(w.get("a", {2}).values<float>()[1], 3.140625f);
  EXPECT_EQ(w.get("a", {2}).dtype(), DType::F32);
  Tensor drawn = w.get("b.weight", {8, 8});
  EXPECT_EQ(drawn.to(DType::BF16).to(DType::F32).values<float>()[9], drawn.values<float>()[9]);
  for (const Parameter& p : w.parameters()) {
    EXPECT_EQ(p.dtype, DType::BF16);
    EXPECT_EQ(p.load().dtype(), DType::BF16);
  }
}

// Saving reads each matrix once, and rounds it once.
TEST_F(WeightsTest, QuantizedOnceForBothParameters) {
  int loads = 0;
  const Weights w(std::vector<Parameter>{{"weight", "weight", {2, 3}, DType::F32, [&loads] {
                                            loads++;
                                            return Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
                                          }}});
  const QuantizedWeight made = w.get_quantized(Runtime({.threads = 1}), "weight", {2, 3});
  const std::vector<Parameter> parameters = w.parameters();
  ASSERT_EQ(parameters.size(), 2u);
  EXPECT_EQ(loads, 1);
  const Tensor values = parameters[0].load(), scales = parameters[1].load();
  EXPECT_EQ(loads, 2);
  EXPECT_TRUE(std::ranges::equal(values.values<int8_t>(), made.values.values<int8_t>()));
  EXPECT_TRUE(std::ranges::equal(scales.values<float>(), made.scales.values<float>()));
  // What they are saved as gives the numbers back.
  const Tensor back = Weights(parameters).get_dequantized(Runtime({.threads = 1}), "weight", {2, 3});
  for (int64_t i = 0; i < 6; i++) EXPECT_NEAR(back.data<float>()[i], float(i + 1), 0.03f);
}

TEST_F(WeightsTest, ReleasedTensorsComeBackAndProgressIsTold) {
  std::vector<std::pair<uint64_t, uint64_t>> told;
  Tensor large = Tensor::empty({1 << 20});
  for (int64_t i = 0; i < large.numel(); i++) large.data<float>()[i] = float(i);
  Checkpoint checkpoint = save({{"a", large}, {"b", values({1})}, {"nobodys", values({2})}});
  Weights w(checkpoint, {.progress = [&](uint64_t done, uint64_t total) { told.emplace_back(done, total); }});
  Tensor view = w.get("a", {1 << 20});
  double sum = 0;
  for (float v : view.values<float>()) sum += double(v);
  w.release("a");
  w.release("nobody");
  double again = 0;
  for (float v : view.values<float>()) again += double(v);
  EXPECT_EQ(sum, again);
  w.get("b", {1});
  w.get("b", {1});
  w.finish();
  w.finish();
  constexpr uint64_t kTotal = (4 << 20) + 8;
  EXPECT_EQ(told,
            (std::vector<std::pair<uint64_t, uint64_t>>{{4 << 20, kTotal}, {(4 << 20) + 4, kTotal}, {kTotal, kTotal}}));
}

TEST(RandomWeights, InitialisesAsTransformers) {
  Weights w = Weights::random({.stddev = 0.5f, .seed = 1});
  EXPECT_TRUE(w.has("anything"));
  EXPECT_EQ(w.get("LayerNorm.weight", {3}).values<float>()[2], 1.0f);
  EXPECT_EQ(w.get("LayerNorm.bias", {3}).values<float>()[2], 0.0f);
  EXPECT_EQ(w.get("dense.bias", {3}).values<float>()[0], 0.0f);
  EXPECT_TRUE(w.unread().empty());
  EXPECT_TRUE(w.missing().empty());
  Tensor t = w.get("dense.weight", {300, 400});
  double sum = 0, squares = 0, fourth = 0;
  for (float v : t.values<float>()) {
    sum += v;
    squares += double(v) * v;
    fourth += std::pow(double(v), 4);
  }
  double n = double(t.numel()), variance = squares / n;
  EXPECT_NEAR(sum / n, 0, 0.5 * 4 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(variance), 0.5, 0.005);
  EXPECT_NEAR(fourth / n / (variance * variance), 2.7, 0.1);  // kurtosis of four uniforms; a normal has 3
}

// distilbert's sinusoidal positions, from create_sinusoidal_embeddings(3, 4) of transformers; padding rows; zeros.
TEST(RandomWeights, OtherInitialisations) {
  const Tensor sin = Weights::random().get("p.weight", {3, 4}, {.kind = Init::Kind::sinusoidal});
  const float want[] = {0,           1,           0,           1,           0.84147098f,
                        0.54030231f, 0.00999983f, 0.99995000f, 0.90929743f, -0.41614684f,
                        0.01999867f, 0.99980001f};
  for (int i = 0; i < 12; i++) EXPECT_NEAR(sin.data<float>()[i], want[i], 1e-7f) << i;
  const Tensor table = Weights::random().get("t.weight", {4, 2}, {.zero_row = 2});
  for (int i = 0; i < 8; i++) EXPECT_EQ(table.data<float>()[i] == 0, i / 2 == 2) << i;
  const Tensor zeros = Weights::random().get("mask_token", {1, 1, 3}, {.kind = Init::Kind::constant});
  for (float v : zeros.values<float>()) EXPECT_EQ(v, 0.0f);
}

TEST(RandomWeights, DependOnSeedNameAndIndexOnly) {
  auto draw = [](uint64_t seed, const char* name, Shape shape) {
    Tensor t = Weights::random({.seed = seed}).get(name, shape);
    return std::vector<float>(t.values<float>().begin(), t.values<float>().end());
  };
  std::vector<float> a = draw(0, "a.weight", {4, 4});
  EXPECT_EQ(a, draw(0, "a.weight", {4, 4}));
  EXPECT_NE(a, draw(0, "b.weight", {4, 4}));
  EXPECT_NE(a, draw(1, "a.weight", {4, 4}));
  std::vector<float> longer = draw(0, "a.weight", {8, 4});
  EXPECT_TRUE(std::equal(a.begin(), a.end(), longer.begin()));
  Weights w = Weights::random();
  (w / "b").get("weight", {2, 2});
  EXPECT_EQ((w / "a").get("weight", {4, 4}).values<float>()[7], a[7]);
  // Fixed for good: goldens made from random weights rely on these bits.
  EXPECT_EQ(draw(0, "a.weight", {1, 2}), (std::vector<float>{0x1.b40b36p-6f, 0x1.46bbecp-7f}));
}

}  // namespace
}  // namespace caracal
