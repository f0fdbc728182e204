// Bad input to models: a clear error or the reference's behaviour, never a crash.
#include <fstream>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

class Scratch : public testing::Test {
 protected:
  // A copy of a small checkpoint that a test may damage.
  void SetUp() override {
    directory = fs::temp_directory_path() / ("caracal_errors_" + std::to_string(getpid()));
    fs::remove_all(directory);
    fs::create_directories(directory);
    fs::copy(data_path("models/bert/base") + "/config.json", directory);
    fs::copy(data_path("models/bert/base") + "/model.safetensors", directory);
  }
  void TearDown() override { fs::remove_all(directory); }

  void set_config(const std::string& key, const Json& value) {
    Json config = Json::parse_file(directory / "config.json");
    config.set(key, value);
    std::ofstream(directory / "config.json") << config.dump();
  }
  std::string load_error(ErrorCode code) {
    try {
      AutoModel::from_pretrained(directory);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      return e.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  fs::path directory;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(Scratch, MissingFiles) {
  fs::remove(directory / "model.safetensors");
  EXPECT_TRUE(contains(load_error(ErrorCode::not_found), "model.safetensors"));
  fs::remove(directory / "config.json");
  EXPECT_TRUE(contains(load_error(ErrorCode::not_found), "config.json"));
  directory /= "nowhere";
  EXPECT_TRUE(contains(load_error(ErrorCode::not_found), "nowhere"));
}

TEST_F(Scratch, TruncatedWeights) {
  fs::resize_file(directory / "model.safetensors", fs::file_size(directory / "model.safetensors") - 1);
  load_error(ErrorCode::bad_file);
  fs::resize_file(directory / "model.safetensors", 5);
  load_error(ErrorCode::bad_file);
}

TEST_F(Scratch, WrongShapeNamesTheTensorAndBothShapes) {
  set_config("vocab_size", 77);
  const std::string message = load_error(ErrorCode::bad_file);
  EXPECT_TRUE(contains(message, "embeddings.word_embeddings.weight")) << message;
  EXPECT_TRUE(contains(message, "(77, ")) << message;
}

TEST_F(Scratch, UnknownModelType) {
  set_config("model_type", "bertology");
  const std::string message = load_error(ErrorCode::unsupported);
  EXPECT_TRUE(contains(message, "'bertology'") && contains(message, "bert")) << message;
  set_config("model_type", nullptr);
  load_error(ErrorCode::bad_file);
}

TEST_F(Scratch, UnknownActivation) {
  set_config("hidden_act", "glue");
  const std::string message = load_error(ErrorCode::unsupported);
  EXPECT_TRUE(contains(message, "'glue'") && contains(message, "gelu_new")) << message;
}

TEST_F(Scratch, ConfigurationsThatCannotBe) {
  for (const char* key : {"vocab_size", "hidden_size", "num_attention_heads", "intermediate_size",
                          "max_position_embeddings", "type_vocab_size"}) {
    const Json before = Json::parse_file(directory / "config.json").at(key);
    for (const Json& value :
         {Json(-1), Json(0), Json(int64_t(1) << 31), Json(INT64_MAX), Json("x"), Json(nullptr), Json(1.5)}) {
      set_config(key, value);
      EXPECT_THROW(AutoModel::from_pretrained(directory), Error) << key << " = " << value.dump();
    }
    set_config(key, before);
  }
  set_config("num_attention_heads", 5);
  EXPECT_TRUE(contains(load_error(ErrorCode::invalid_argument), "multiple of num_attention_heads"));
}

// As in transformers, layers that the checkpoint lacks are drawn and reported; but only as many as fit its size.
TEST_F(Scratch, MoreLayersThanWeights) {
  set_config("num_hidden_layers", 4);
  const AnyModel model = AutoModel::from_pretrained(directory);
  EXPECT_EQ(model->loading_info().missing_keys.size(), 2 * 16u);
  EXPECT_EQ(model->loading_info().missing_keys[0], "encoder.layer.2.attention.output.LayerNorm.bias");
  set_config("num_hidden_layers", 10'000);
  EXPECT_TRUE(contains(load_error(ErrorCode::bad_file), "bytes of tensors to draw"));
  set_config("num_hidden_layers", INT64_MAX);
  EXPECT_THROW(AutoModel::from_pretrained(directory), Error);
}

TEST_F(Scratch, WeightsOfAnotherModel) {
  save_safetensors((directory / "model.safetensors").string(), {{"something.else", Tensor::zeros({2})}});
  EXPECT_TRUE(contains(load_error(ErrorCode::bad_file), "none of them"));
}

class Inputs : public testing::Test {
 protected:
  std::string error_of(const ModelInputs& inputs) {
    try {
      model(inputs);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
      return e.what();
    }
    return "no error";
  }
  AnyModel model = tiny_bert(2);
};

TEST_F(Inputs, IdsOutsideTheVocabulary) {
  EXPECT_EQ(error_of(make_inputs({{1, 120}})), "[BertModel: input_ids] expected ids from 0 to 119 but got 120");
  EXPECT_EQ(error_of(make_inputs({{1, -1}})), "[BertModel: input_ids] expected ids from 0 to 119 but got -1");
  ModelInputs inputs = make_inputs({{1, 2}});
  inputs.token_type_ids = Tensor::from(std::vector<int64_t>{0, 2}, {1, 2});
  EXPECT_TRUE(contains(error_of(inputs), "token_type_ids"));
  inputs.token_type_ids = {};
  inputs.position_ids = Tensor::from(std::vector<int64_t>{0, 64}, {1, 2});
  EXPECT_TRUE(contains(error_of(inputs), "position_ids"));
}

TEST_F(Inputs, SequenceTooLong) {
  EXPECT_NO_THROW(model(make_inputs({std::vector<int64_t>(64, 1)})));
  EXPECT_EQ(error_of(make_inputs({std::vector<int64_t>(65, 1)})),
            "[BertModel] expected at most max_position_embeddings = 64 tokens but got 65");
}

TEST_F(Inputs, WrongShapesAndTypes) {
  EXPECT_TRUE(contains(error_of({}), "neither"));
  ModelInputs both = make_inputs({{1}});
  both.inputs_embeds = Tensor::zeros({1, 1, 48});
  EXPECT_TRUE(contains(error_of(both), "both"));
  ModelInputs flat;
  flat.input_ids = Tensor::zeros({3}, DType::I64);
  EXPECT_TRUE(contains(error_of(flat), "(B, S)"));
  ModelInputs mask = make_inputs({{1, 2, 3}});
  mask.attention_mask = Tensor::zeros({1, 2}, DType::I64);
  EXPECT_TRUE(contains(error_of(mask), "(1, 3)"));
  ModelInputs floats = make_inputs({{1, 2, 3}});
  floats.input_ids = Tensor::zeros({1, 3});
  EXPECT_TRUE(contains(error_of(floats), "integers"));
  ModelInputs embeds;
  embeds.inputs_embeds = Tensor::zeros({1, 3, 47});
  EXPECT_TRUE(contains(error_of(embeds), "(B, S, 48)"));
  ModelInputs unknown;
  EXPECT_THROW(unknown.set("input_idz", Tensor::zeros({1})), Error);
}

// No sentences: empty outputs. No tokens: an error (transformers fails on both, inside a reshape).
TEST_F(Inputs, EmptyBatch) {
  ModelInputs inputs;
  inputs.input_ids = Tensor::zeros({0, 5}, DType::I64);
  const ModelOutput output = model(inputs);
  EXPECT_EQ(output.last_hidden_state.shape(), (Shape{0, 5, 48}));
  EXPECT_EQ(output.pooler_output.shape(), (Shape{0, 48}));
  inputs.input_ids = Tensor::zeros({2, 0}, DType::I64);
  EXPECT_EQ(error_of(inputs), "[BertModel] expected at least one token per sequence but got shape (2, 0)");
}

// One row of mask or of types serves the whole batch, as PyTorch broadcasts it.
TEST_F(Inputs, OneRowServesAll) {
  ModelInputs inputs = make_inputs({{1, 2, 3}, {4, 5, 6}});
  inputs.attention_mask = Tensor::from(std::vector<int64_t>{1, 1, 0, 1, 1, 0}, {2, 3});
  inputs.token_type_ids = Tensor::from(std::vector<int64_t>{0, 1, 0, 0, 1, 0}, {2, 3});
  const ModelOutput want = model(inputs);
  inputs.attention_mask = inputs.attention_mask.rows(0, 1);
  inputs.token_type_ids = inputs.token_type_ids.rows(0, 1);
  EXPECT_TRUE(bytes_equal(model(inputs).last_hidden_state, want.last_hidden_state));
}

// No token counts: zeros out, no NaN.
TEST_F(Inputs, AllMasked) {
  ModelInputs inputs = make_inputs({{1, 2, 3}, {4, 5, 6}});
  std::fill_n(inputs.attention_mask.data<int64_t>(), 3, 0);
  const ModelOutput output = model(inputs, {.output_attentions = true});
  for (int64_t i = 0; i < 3 * 48; i++) EXPECT_EQ(output.last_hidden_state.data<float>()[i], 0);
  for (float value : output.pooler_output.values<float>()) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(Inputs, IntegersOfAnyWidth) {
  const ModelInputs wide = make_inputs({{1, 2, 3}, {4, 5}});
  const ModelOutput want = model(wide);
  for (DType ids : {DType::I32, DType::U8}) {
    for (DType mask : {DType::I32, DType::U8, DType::BOOL, DType::F32}) {
      ModelInputs narrow;
      narrow.input_ids = wide.input_ids.to(ids);
      narrow.attention_mask = wide.attention_mask.to(mask);
      EXPECT_TRUE(bytes_equal(model(narrow).last_hidden_state, want.last_hidden_state));
    }
  }
}

}  // namespace
}  // namespace caracal
