// The Auto classes: every name of the documentation, dispatch, and registration of an architecture outside the library.
#include <type_traits>

#include "models_testing.h"

namespace caracal {
namespace {

template <class F>
std::string message(ErrorCode code, F f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "threw nothing";
  return {};
}

// A user's own architecture: embeddings and one linear layer, under the prefix "new_model".
struct NewModelConfig final : ConfigOf<NewModelConfig> {
  static constexpr const char *kModelType = "new-model", *kClassName = "NewModelConfig";
  NewModelConfig() = default;
  explicit NewModelConfig(const Json& overrides) { init(overrides, kClassName); }
  int64_t vocab_size = 11, width = 8;

 protected:
  std::vector<ConfigField> fields() override { return {{"vocab_size", &vocab_size, "int"}, {"width", &width, "int"}}; }
};

class NewModel final : public ModelOf<NewModel, NewModelConfig> {
 public:
  static constexpr const char *kClassName = "NewModel", *kBaseModelPrefix = "new_model";
  NewModel(const NewModelConfig& config, const Weights& w, const LoadOptions& options)
      : ModelOf(config, options),
        table_(load_embedding(loader(), w / "embeddings", config.vocab_size, config.width)),
        dense_(load_linear(loader(), w / "dense", config.width, config.width)) {}

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions&) const override {
    const TextBatch text = unpad(ctx, kClassName, inputs, false);
    pad_rows(ctx, linear(ctx, embed_tokens(ctx, kClassName, inputs, table_, text), dense_), text,
             output.last_hidden_state);
  }
  ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const override {
    return largest_text_inputs(max_tokens, max_batch, max_tokens);
  }

 private:
  Tensor table_;
  Linear dense_;
};

struct OtherConfig final : ConfigOf<OtherConfig> {
  static constexpr const char *kModelType = "other", *kClassName = "OtherConfig";

 protected:
  std::vector<ConfigField> fields() override { return {}; }
};

TEST(AutoModel, RegistersAnArchitecture) {
  const NewModelConfig config({{"width", 5}});
  EXPECT_NE(message(ErrorCode::unsupported, [&] { AutoModel::from_config(config); }).find("NewModelConfig"),
            std::string::npos);
  // The two checks of the documentation: the key is the class's model_type, the configuration that of the model.
  EXPECT_EQ(message(ErrorCode::invalid_argument, [] { AutoConfig::register_config<NewModelConfig>("newer-model"); }),
            "[AutoConfig] expected the model_type of NewModelConfig, 'new-model', but got 'newer-model'");
  EXPECT_EQ(message(ErrorCode::invalid_argument, [] { AutoModel::register_model<OtherConfig, NewModel>(); }),
            "[AutoModel] expected the configuration class of NewModel, NewModelConfig, but got OtherConfig");
  AutoConfig::register_config<NewModelConfig>("new-model");
  AutoModel::register_model<NewModelConfig, NewModel>();
  message(ErrorCode::invalid_argument, [] { AutoConfig::register_config<NewModelConfig>("new-model"); });
  message(ErrorCode::invalid_argument, [] { AutoModel::register_model<NewModelConfig, NewModel>(); });
  AutoConfig::register_config<NewModelConfig>("new-model", /*exist_ok=*/true);
  AutoModel::register_model<NewModelConfig, NewModel>(/*exist_ok=*/true);

  const AnyModel model = AutoModel::from_config(config, {.seed = 7});
  EXPECT_STREQ(model->class_name(), "NewModel");
  const ModelInputs inputs = make_inputs({{3, 1}, {2}});
  const Tensor want = model(inputs).last_hidden_state;
  EXPECT_EQ(want.shape(), (Shape{2, 2, 5}));
  const std::string directory = testing::TempDir() + "new_model";
  model->save_pretrained(directory);
  const AnyModel loaded = AutoModel::from_pretrained(directory);
  EXPECT_STREQ(loaded->class_name(), "NewModel");
  EXPECT_TRUE(bytes_equal(loaded(inputs).last_hidden_state, want));
  EXPECT_TRUE(loaded->loading_info().missing_keys.empty() && loaded->loading_info().unexpected_keys.empty());
  EXPECT_NE(AutoConfig::from_pretrained(directory)->str().find("NewModelConfig {"), std::string::npos);
}

TEST(AutoModel, EveryDocumentedClassHasAName) {
  int classes = 0;
#define AUTO_CLASS(name)                                 \
  static_assert(std::is_same_v<TF##name, name>);         \
  static_assert(std::is_same_v<Flax##name, name>);       \
  static_assert(!std::is_default_constructible_v<name>); \
  classes++;
#include <caracal/models/auto_classes.def>
#undef AUTO_CLASS
  EXPECT_EQ(classes, 36);
  static_assert(std::is_same_v<AutoModelForVision2Seq, AutoModelForImageTextToText>);
}

TEST(AutoModel, SaysWhatItHasInstead) {
  const BertConfig bert;
  const ViTConfig vit;
  // A class that serves other model types.
  EXPECT_EQ(message(ErrorCode::unsupported, [&] { AutoModelForSequenceClassification::from_config(vit); }),
            "[AutoModelForSequenceClassification] expected a model type among bert, distilbert, layoutlmv2 but got "
            "ViTConfig ('vit')");
  // A class that nothing serves yet; by an alias too.
  EXPECT_NE(message(ErrorCode::unsupported, [&] { AutoModelForDepthEstimation::from_config(bert); })
                .find("[AutoModelForDepthEstimation] expected an architecture that serves this class but there is none "
                      "yet; caracal has models of type bert, distilbert"),
            std::string::npos);
  EXPECT_NE(message(ErrorCode::unsupported, [&] { make_auto_model("AutoModelForVision2Seq", bert); })
                .find("there is none yet"),
            std::string::npos);
  // No Auto class at all.
  EXPECT_NE(message(ErrorCode::unsupported, [&] { make_auto_model("AutoModelForMagic", bert); })
                .find("expected an Auto class among AutoModel, AutoModelFor"),
            std::string::npos);
  EXPECT_STREQ(make_auto_model("TFAutoModelForMaskedLM", tiny_bert(1)->config())->class_name(), "BertForMaskedLM");
}

// One checkpoint, several heads: each new head is initialised and reported, the rest is the checkpoint's.
TEST(AutoModel, OneCheckpointSeveralHeads) {
  const std::string directory = data_path("models/distilbert/base");
  std::vector<std::string> log;
  const auto runtime = std::make_shared<Runtime>(
      RuntimeOptions{.threads = 1, .log = [&](LogLevel, const std::string& text) { log.push_back(text); }});
  const LoadOptions options{.config = {{"num_labels", 3}}, .runtime = runtime};
  const ModelInputs inputs = read_inputs(directory + "/reference.0.safetensors");
  const AnyModel sequence = AutoModelForSequenceClassification::from_pretrained(directory, options),
                 token = AutoModelForTokenClassification::from_pretrained(directory, options),
                 base = AutoModel::from_pretrained(directory, {.runtime = runtime});
  EXPECT_STREQ(sequence->class_name(), "DistilBertForSequenceClassification");
  EXPECT_STREQ(token->class_name(), "DistilBertForTokenClassification");
  EXPECT_EQ(sequence->loading_info().missing_keys,
            (std::vector<std::string>{"classifier.bias", "classifier.weight", "pre_classifier.bias",
                                      "pre_classifier.weight"}));
  EXPECT_EQ(token->loading_info().missing_keys, (std::vector<std::string>{"classifier.bias", "classifier.weight"}));
  ASSERT_EQ(log.size(), 2u);  // the base model has nothing to report
  EXPECT_EQ(
      log[1],
      "DistilBertForTokenClassification LOAD REPORT from: " + directory +
          "\n"
          "Key               | Status  | \n"
          "------------------+---------+-\n"
          "classifier.bias   | MISSING | \n"
          "classifier.weight | MISSING | \n"
          "\nNotes:\n"
          "- MISSING:\tthose params were newly initialized because missing from the checkpoint. Consider training "
          "on your downstream task.");
  const ForwardOptions hidden{.output_hidden_states = true};
  const ModelOutput a = sequence(inputs, hidden), b = token(inputs, hidden), c = base(inputs, hidden);
  EXPECT_TRUE(bytes_equal(a.hidden_states.back(), c.last_hidden_state));
  EXPECT_TRUE(bytes_equal(b.hidden_states.back(), c.last_hidden_state));
  EXPECT_EQ(a.logits.size(1), 3);
  EXPECT_EQ(b.logits.size(2), 3);
}

}  // namespace
}  // namespace caracal
