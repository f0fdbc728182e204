// The documentation's examples on models, heads and Auto classes in C++, in its order (configurations have theirs in
// configuration_test): "Create a custom architecture", the AutoClass tutorial, and "Extending the Auto Classes". Names
// of the hub are directories with small checkpoints here.
#include <cstdlib>
#include <fstream>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

class Documents : public testing::Test {
 protected:
  Documents() : folder(testing::TempDir() + "caracal_documents") {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~Documents() override { fs::remove_all(folder); }

  const std::string distilbert = data_path("models/distilbert/base"), bert = data_path("models/bert/base");
  const std::string folder;
};

// A model with the size of the small checkpoint and changed attributes, as the documents' my_config.
DistilBertConfig my_config(const std::string& checkpoint) {
  return DistilBertConfig::from_pretrained(checkpoint, {{"activation", "relu"}, {"attention_dropout", 0.4}});
}

DistilBertConfig my_config_of(const std::string& checkpoint) {
  return DistilBertConfig::from_pretrained(checkpoint, {{"activation", "relu"}});
}

TEST_F(Documents, ModelFromAConfiguration) {
  my_config(distilbert).save_pretrained(folder + "/your_model_save_path");
  const DistilBertConfig config = DistilBertConfig::from_pretrained(folder + "/your_model_save_path/config.json");
  EXPECT_EQ(config, my_config(distilbert));
  const DistilBertModel model(config);  // random weights
  EXPECT_EQ(model.config().activation, "relu");
  EXPECT_EQ(model(make_inputs({{3, 4, 5}})).last_hidden_state.shape(), (Shape{1, 3, config.dim}));
}

TEST_F(Documents, ModelFromACheckpointWithItsOrAnotherConfiguration) {
  const ModelInputs inputs = make_inputs({{3, 4, 5}});
  const DistilBertModel model = DistilBertModel::from_pretrained(distilbert);
  EXPECT_EQ(model.config().activation, "gelu");
  const DistilBertModel with_mine = DistilBertModel::from_pretrained(distilbert, {.config = my_config(distilbert)});
  EXPECT_EQ(with_mine.config().activation, "relu");
  EXPECT_FALSE(bytes_equal(model(inputs).last_hidden_state, with_mine(inputs).last_hidden_state));
  // The same by overrides, and by attributes' names in the call, as keyword arguments there.
  const DistilBertModel same = DistilBertModel::from_pretrained(distilbert, {.config = {{"activation", "relu"}}});
  EXPECT_TRUE(bytes_equal(same(inputs).last_hidden_state, with_mine(inputs).last_hidden_state));
  EXPECT_THROW(DistilBertModel::from_pretrained(distilbert, {.config = {{"activatoin", "relu"}}}), Error);
  EXPECT_THROW(DistilBertModel::from_pretrained(distilbert, {.config = BertConfig()}), Error);
}

TEST_F(Documents, ModelHeads) {
  const ModelInputs inputs = make_inputs({{3, 4, 5}});
  const auto classification = DistilBertForSequenceClassification::from_pretrained(distilbert);
  EXPECT_EQ(classification(inputs).logits.shape(), (Shape{1, 2}));
  EXPECT_EQ(classification.loading_info().missing_keys.size(), 4u);
  const auto answering = DistilBertForQuestionAnswering::from_pretrained(distilbert);
  const ModelOutput output = answering(inputs);
  EXPECT_EQ(output.start_logits.shape(), (Shape{1, 3}));
  EXPECT_EQ(output.end_logits.shape(), (Shape{1, 3}));
}

TEST_F(Documents, AutoClassTutorial) {
  const ModelInputs inputs = make_inputs({{3, 4, 5}});
  const auto sequence = AutoModelForSequenceClassification::from_pretrained(distilbert);
  EXPECT_STREQ(sequence->class_name(), "DistilBertForSequenceClassification");
  const auto token = AutoModelForTokenClassification::from_pretrained(distilbert);
  EXPECT_STREQ(token->class_name(), "DistilBertForTokenClassification");
  EXPECT_EQ(token(inputs).logits.shape(), (Shape{1, 3, 2}));
  const auto model = AutoModel::from_pretrained(bert);
  EXPECT_STREQ(model->class_name(), "BertModel");
  // The documentation's tabs for other frameworks load the same checkpoints.
  EXPECT_STREQ(TFAutoModelForSequenceClassification::from_pretrained(distilbert)->class_name(),
               "DistilBertForSequenceClassification");
}

// The documents' names of the hub: here snapshots in a local cache, as huggingface_hub lays it out.
TEST_F(Documents, NamesInTheHubCache) {
  const std::string repository = folder + "/models--distilbert--distilbert-base-uncased", commit(40, 'a');
  fs::create_directories(repository + "/refs");
  fs::create_directories(repository + "/snapshots/" + commit);
  std::ofstream(repository + "/refs/main") << commit;
  for (const char* file : {"config.json", "model.safetensors"})
    fs::create_symlink(distilbert + "/" + file, repository + "/snapshots/" + commit + "/" + file);
  const std::string name = "distilbert/distilbert-base-uncased";
  EXPECT_EQ(DistilBertConfig::from_pretrained(name, {{"activation", "relu"}, {"cache_dir", folder}}),
            my_config_of(distilbert));
  EXPECT_STREQ(AutoModel::from_pretrained(name, {.cache_dir = folder})->class_name(), "DistilBertModel");
  EXPECT_STREQ(DistilBertForQuestionAnswering::from_pretrained(name, {.cache_dir = folder}).class_name(),
               "DistilBertForQuestionAnswering");
  std::ofstream(repository + "/refs/main") << "../../../etc";
  for (const char* bad : {"distilbert/distilbert-base-uncased", "bert-base", "a/b/c", "../x", "/x", "x/", ""})
    EXPECT_THROW(AutoModel::from_pretrained(bad, {.cache_dir = folder}), Error) << bad;
}

// "Extending the Auto Classes"; auto_test has its checks.
struct DocumentedConfig final : ConfigOf<DocumentedConfig> {
  static constexpr const char *kModelType = "documented-model", *kClassName = "DocumentedConfig";
  DocumentedConfig() = default;
  explicit DocumentedConfig(const Json& overrides) { init(overrides, kClassName); }

 protected:
  std::vector<ConfigField> fields() override { return {}; }
};

class DocumentedModel final : public ModelOf<DocumentedModel, DocumentedConfig> {
 public:
  static constexpr const char *kClassName = "DocumentedModel", *kBaseModelPrefix = "model";
  DocumentedModel(const DocumentedConfig& config, const Weights& w, const LoadOptions& options)
      : ModelOf(config, options), table_(w.get("table", {4, 2}).clone()) {}

 protected:
  void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions&) const override {
    const TextBatch text = unpad(ctx, kClassName, inputs, false);
    pad_rows(ctx, embed_tokens(ctx, kClassName, inputs, table_, text), text, output.last_hidden_state);
  }
  ModelInputs largest_inputs(int64_t tokens, int64_t batch) const override {
    return largest_text_inputs(tokens, batch, tokens);
  }

 private:
  Tensor table_;
};

TEST_F(Documents, ExtendingTheAutoClasses) {
  AutoConfig::register_config<DocumentedConfig>("documented-model");
  AutoModel::register_model<DocumentedConfig, DocumentedModel>();
  AutoModel::from_config(DocumentedConfig())->save_pretrained(folder + "/new");
  const auto model = AutoModel::from_pretrained(folder + "/new");
  EXPECT_STREQ(model->class_name(), "DocumentedModel");
  EXPECT_EQ(model(make_inputs({{1, 3}})).last_hidden_state.shape(), (Shape{1, 2, 2}));
}

}  // namespace
}  // namespace caracal
