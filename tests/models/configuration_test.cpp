#include <chrono>

#include <caracal/models/vit/configuration_vit.h>

#include "models_testing.h"

namespace caracal {
namespace {

TEST(BertConfig, PrintsTheDocumentsListing) {
  EXPECT_EQ(BertConfig().str(), R"(BertConfig {
  "attention_probs_dropout_prob": 0.1,
  "classifier_dropout": null,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "hidden_size": 768,
  "initializer_range": 0.02,
  "intermediate_size": 3072,
  "layer_norm_eps": 1e-12,
  "max_position_embeddings": 512,
  "model_type": "bert",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "pad_token_id": 0,
  "transformers_version": "5.23.0",
  "type_vocab_size": 2,
  "use_cache": true,
  "vocab_size": 30522
}
)");
}

TEST(BertConfig, OverridesAndStrictTypes) {
  EXPECT_EQ(BertConfig({{"hidden_act", "relu"}, {"num_hidden_layers", 2}}).num_hidden_layers, 2);
  EXPECT_EQ(message_of([] {
              BertConfig({{"hidden_size", "768"}});
            }),
            "[BertConfig] field 'hidden_size' expected int but got str (value: \"768\")");
  EXPECT_EQ(message_of([] {
              BertConfig({{"layer_norm_eps", 1}});
            }),
            "[BertConfig] field 'layer_norm_eps' expected float but got int (value: 1)");
  EXPECT_EQ(message_of([] {
              BertConfig({{"hidden_size", true}});
            }),
            "[BertConfig] field 'hidden_size' expected int but got bool (value: true)");
  EXPECT_NO_THROW(BertConfig({{"hidden_dropout_prob", 0}, {"pad_token_id", nullptr}}));
  EXPECT_EQ(BertConfig({{"my_key", 3}}).to_dict().at("my_key"), Json(3));
}

// Who wins and what is rebuilt when files and overrides name labels, as transformers does it.
TEST(BertConfig, Labels) {
  const BertConfig three({{"num_labels", 3}});
  EXPECT_EQ(three.num_labels(), 3);
  EXPECT_EQ(three.id2label.at(2), "LABEL_2");
  EXPECT_EQ(three.label2id.at("LABEL_1"), Json(1));
  const BertConfig named({{"id2label", {{"0", "no"}, {"1", "yes"}, {"10", "maybe"}}}});
  EXPECT_EQ(named.id2label.at(10), "maybe");
  EXPECT_TRUE(named.label2id.is_null());
  EXPECT_THROW(BertConfig({{"id2label", {{"x", "no"}}}}), Error);
  EXPECT_THROW(BertConfig({{"num_labels", -1}}), Error);
  const BertConfig rebuilt({{"id2label", {{"0", "x"}}}, {"num_labels", 3}});
  EXPECT_EQ(rebuilt.id2label.at(0), "LABEL_0");
  EXPECT_EQ(rebuilt.num_labels(), 3);
  const BertConfig only_label2id({{"label2id", {{"a", 0}, {"b", 1}, {"c", 2}}}});
  EXPECT_EQ(only_label2id, BertConfig());
  EXPECT_EQ(BertConfig({{"id2label", nullptr}}), BertConfig());
  const BertConfig same_count({{"id2label", {{"0", "no"}, {"1", "yes"}}}, {"num_labels", 2}});
  EXPECT_EQ(same_count.id2label.at(1), "yes");
  EXPECT_THROW(BertConfig({{"num_labels", nullptr}}), Error);
  EXPECT_THROW(BertConfig({{"id2label", {{"0", 1}}}}), Error);
  EXPECT_THROW(BertConfig({{"num_labels", 1}, {"problem_type", "single_label_classification"}}), Error);
  EXPECT_NO_THROW(BertConfig({{"num_labels", 1}, {"problem_type", "regression"}}));

  BertConfig config({{"id2label", {{"0", "x"}, {"1", "y"}, {"2", "z"}}}, {"label2id", {{"x", 0}}}});
  config.set("id2label", {{"0", "u"}});
  EXPECT_EQ(config.num_labels(), 1);
  EXPECT_EQ(config.label2id, Json({{"x", 0}}));
  config.set("num_labels", 2);
  EXPECT_EQ(config.get("label2id"), Json({{"LABEL_0", 0}, {"LABEL_1", 1}}));
}

TEST(BertConfig, GetAndSet) {
  BertConfig config({{"my_key", 3}});
  EXPECT_EQ(config.get("hidden_size"), Json(768));
  EXPECT_EQ(config.get("my_key"), Json(3));
  EXPECT_EQ(config.get("num_labels"), Json(2));
  EXPECT_TRUE(config.has("my_key") && config.has("num_labels") && config.has("use_cache") && config.has("torch_dtype"));
  EXPECT_FALSE(config.has("dim") || config.has("max_length") || config.has("model_type"));
  config.set("hidden_size", 96);
  config.set("another", "x");
  config.set("eos_token_id", Json::Array{1, 2});
  EXPECT_EQ(config.hidden_size, 96);
  EXPECT_EQ(config.extra.at("another"), Json("x"));
  EXPECT_EQ(message_of([&] { config.get("hidden_dim"); }),
            "[BertConfig] expected the name of an attribute but got 'hidden_dim'");
  EXPECT_EQ(message_of([&] { config.set("hidden_size", nullptr); }),
            "[BertConfig] field 'hidden_size' expected int but got None (value: null)");
  EXPECT_EQ(message_of([&] {
              config.set("eos_token_id", Json::Array{1, true});
            }),
            "[BertConfig] field 'eos_token_id' expected int | list[int] | None but got list (value: [1, true])");
  EXPECT_EQ(
      message_of([&] { config.set("hidden_size", Json::big_integer("99999999999999999999")); }),
      "[BertConfig] field 'hidden_size' expected int but got int of more than 64 bits (value: 99999999999999999999)");
  EXPECT_NE(message_of([&] { config.set("max_length", 20); }).find("generation_config.json"), std::string::npos);
  EXPECT_LT(message_of([&] { config.set("hidden_act", Json::Array(5000)); }).size(), 400u);
}

TEST(BertConfig, Dtype) {
  EXPECT_EQ(BertConfig({{"torch_dtype", "float16"}}).dtype, Json("float16"));
  EXPECT_EQ(BertConfig({{"torch_dtype", "float16"}, {"dtype", "bfloat16"}}).dtype, Json("bfloat16"));
  EXPECT_EQ(BertConfig({{"dtype", "half"}}).dtype, Json("float16"));
  EXPECT_TRUE(BertConfig({{"torch_dtype", nullptr}}).dtype.is_null());
  EXPECT_NE(message_of([] { BertConfig({{"dtype", "float17"}}); }).find("float17"), std::string::npos);
  EXPECT_THROW(BertConfig({{"dtype", 16}}), Error);
  const std::string file = data_path("models/bert/base/config.json");
  EXPECT_EQ(BertConfig::from_pretrained(file, {{"dtype", "auto"}}).dtype, Json("float32"));
  EXPECT_EQ(BertConfig::from_pretrained(file, {{"torch_dtype", "bfloat16"}}).dtype, Json("bfloat16"));
}

TEST(BertConfig, ComparesAllAttributes) {
  static_assert(!std::is_convertible_v<Json, BertConfig> && std::is_constructible_v<BertConfig, Json>);
  BertConfig config;
  EXPECT_EQ(config, BertConfig());
  config.name_or_path = "/somewhere";
  EXPECT_EQ(config, BertConfig());
  EXPECT_NE(BertConfig({{"my_key", 1}}), BertConfig());
  EXPECT_NE(BertConfig({{"layer_norm_eps", 1e-5}}), BertConfig());
  const PretrainedConfig &bert = config, &vit = ViTConfig();
  EXPECT_NE(bert, vit);
  EXPECT_EQ(*bert.clone(), bert);
}

// One configuration per layer is a feature of transformers 5 that no model here has.
TEST(BertConfig, RefusesPerLayerConfig) {
  EXPECT_NO_THROW(BertConfig({{"per_layer_config", nullptr}}));
  try {
    BertConfig config({{"per_layer_config", {{"0", {{"hidden_size", 3}}}}}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
  }
}

// What transformers drops on load is not kept, printed or written.
TEST(BertConfig, DropsGenerationAndImplementationKeys) {
  const BertConfig config(
      {{"max_length", 20}, {"temperature", 0.5}, {"_attn_implementation", "sdpa"}, {"gradient_checkpointing", false}});
  EXPECT_EQ(config.str().find("max_length"), std::string::npos);
  EXPECT_EQ(config.str().find("temperature"), std::string::npos);
  EXPECT_EQ(config.str().find("_attn"), std::string::npos);
  EXPECT_NE(config.str().find("gradient_checkpointing"), std::string::npos);
}

// 60,000 unknown keys load in time that grows with their number, not its square.
TEST(BertConfig, ManyUnknownKeys) {
  Json::Object keys;
  for (int i = 0; i < 60'000; i++) keys.emplace_back("key_" + std::to_string(i), i);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(BertConfig(keys).to_dict().at("key_59999"), Json(59'999));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(AutoConfig, ReadsADirectoryOrAFile) {
  const std::string directory = data_path("models/bert/base");
  const auto a = AutoConfig::from_pretrained(directory),
             b = AutoConfig::from_pretrained(directory + "/config.json", {{"hidden_act", "relu"}});
  EXPECT_STREQ(a->class_name(), "BertConfig");
  EXPECT_EQ(dynamic_cast<BertConfig&>(*b).hidden_act, "relu");
  EXPECT_EQ(a->to_dict().at("dtype"), Json("float32"));
}

}  // namespace
}  // namespace caracal
