#include <chrono>
#include <functional>

#include "models_testing.h"

namespace caracal {
namespace {

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

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
  const std::string directory = data_path("bert/base");
  const auto a = AutoConfig::from_pretrained(directory),
             b = AutoConfig::from_pretrained(directory + "/config.json", {{"hidden_act", "relu"}});
  EXPECT_STREQ(a->class_name(), "BertConfig");
  EXPECT_EQ(dynamic_cast<BertConfig&>(*b).hidden_act, "relu");
  EXPECT_EQ(a->to_dict().at("dtype"), Json("float32"));
}

// A user's own architecture: registered at run time, found by the Auto classes.
struct CustomConfig final : ConfigOf<CustomConfig> {
  static constexpr const char *kModelType = "custom-bert", *kClassName = "CustomConfig";
  CustomConfig() = default;
  explicit CustomConfig(const Json& overrides) { init(overrides, kClassName); }
  int64_t width = 8;

 protected:
  std::vector<ConfigField> fields() override { return {{"width", &width, "int"}}; }
};

struct CustomModel final : PreTrainedModel {
  using Config = CustomConfig;
  static constexpr const char *kClassName = "CustomModel", *kBaseModelPrefix = "custom";
  CustomModel(const CustomConfig& config, const Weights& w, const LoadOptions& options)
      : PreTrainedModel(options.runtime), config_(config), table_(w.get("table", {4, config.width})) {}
  const char* class_name() const override { return kClassName; }
  const CustomConfig& config() const override { return config_; }
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions&) const override {
    output.last_hidden_state = embedding(ctx, inputs.input_ids.reshape({inputs.input_ids.numel()}), table_).clone();
  }
  ModelInputs largest_inputs(int64_t, int64_t) const override { return make_inputs({{0}}); }

 private:
  CustomConfig config_;
  Tensor table_;
};

TEST(AutoModel, RegistersAtRunTime) {
  AutoConfig::register_config(config_entry<CustomConfig>());
  AutoModel::register_model(model_entry<CustomModel>("AutoModel"));
  const AnyModel model = AutoModel::from_config(CustomConfig({{"width", 5}}));
  EXPECT_STREQ(model->class_name(), "CustomModel");
  EXPECT_EQ(model(make_inputs({{3, 1}})).last_hidden_state.shape(), (Shape{2, 5}));
}

}  // namespace
}  // namespace caracal
