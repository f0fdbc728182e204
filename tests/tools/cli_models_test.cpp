// The commands that run, measure, compare, save and describe models.
#include "cli_testing.h"

#include <caracal/tests/sanitized.h>

namespace caracal {
namespace {

TEST_F(Cli, RunWritesTransformersNames) {
  const std::string inputs = write_inputs(model), outputs = folder / "out.safetensors";
  const std::string command = "run --model " + model + " --inputs " + inputs + " --outputs " + outputs;
  ASSERT_EQ(caracal(command + " --hidden-states --attentions --threads 1").status, 0);
  const SafetensorsFile file = SafetensorsFile::open(outputs);
  const AnyModel reference = AutoModel::from_pretrained(model);
  const auto want = reference(read_inputs(model + "/reference.0.safetensors"),
                              {.output_hidden_states = true, .output_attentions = true})
                        .named();
  EXPECT_EQ(file.tensors().size(), want.size());
  for (const auto& [name, tensor] : want) {
    ASSERT_NE(file.find(name), nullptr) << name;
    EXPECT_TRUE(bytes_equal(file.tensor(*file.find(name)), tensor)) << name;
  }
  // --set overrides the configuration.
  ASSERT_EQ(caracal(command + " --set hidden_act=relu --set layer_norm_eps=0.5").status, 0);
  const SafetensorsFile changed = SafetensorsFile::open(outputs);
  EXPECT_FALSE(bytes_equal(changed.tensor(*changed.find("last_hidden_state")), want[0].second));
}

TEST_F(Cli, SetTakesAttributesAndForwardFlagsOnly) {
  const std::string outputs = folder / "out.safetensors",
                    command = "run --model " + model + " --inputs " + write_inputs(model) + " --outputs " + outputs;
  const Result typo = caracal(command + " --set hiden_act=relu");
  expect_one_line_error(typo, "'hiden_act'");
  for (const char* meant : {"BertConfig", "hidden_act", "num_labels", "id2label", "layer_norm_eps"})
    EXPECT_NE(typo.err.find(meant), std::string::npos) << meant << ": " << typo.err;
  EXPECT_FALSE(fs::exists(outputs));
  expect_one_line_error(caracal(command + " --set model_type=roberta"), "'model_type'");
  expect_one_line_error(caracal(command + " --set output_attentions=7"), "output_attentions");
  ASSERT_EQ(
      caracal(command + " --set output_hidden_states=true --set output_attentions=True --set num_labels=3").status, 0);
  const SafetensorsFile file = SafetensorsFile::open(outputs);
  EXPECT_NE(file.find("hidden_states.2"), nullptr);
  EXPECT_NE(file.find("attentions.1"), nullptr);
}

TEST_F(Cli, BenchReportsAsPromised) {
  const Result r = caracal("bench --random " + model +
                           "/config.json --batch 3 --lengths 3,5,9 --seconds 0.05 --threads 1 --isa scalar --json");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 1);
  const Json report = Json::parse(r.out, "bench");
  for (const char* key :
       {"model", "task", "batch", "seq", "threads", "dtype", "isa", "backend", "load_ms", "first_call_ms", "p50_ms",
        "p90_ms", "p99_ms", "min_ms", "mean_ms", "calls", "rss_mb", "peak_rss_mb", "tokens_per_s"})
    EXPECT_TRUE(report.contains(key)) << key;
  EXPECT_EQ(report.at("batch"), Json(3));
  EXPECT_EQ(report.at("seq"), Json(9));
  EXPECT_EQ(report.at("isa"), Json("scalar"));
  EXPECT_EQ(report.at("threads"), Json(1));
  EXPECT_GT(report.at("p50_ms").as_double(), 0);
  EXPECT_GT(report.at("rss_mb").as_double(), 0);
  EXPECT_GE(report.at("peak_rss_mb").as_double(), report.at("rss_mb").as_double());
}

TEST_F(Cli, BenchPacesItsCalls) {  // 5 calls or more, 20 ms apart
  const Result r = caracal("bench --random " + model + "/config.json --seq 4 --seconds 0.1 --every-ms 20 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  const Json report = Json::parse(r.out, "bench");
  EXPECT_EQ(report.at("every_ms").as_double(), 20);
  EXPECT_EQ(report.at("calls"), Json(5));  // back to back it would be thousands
}

TEST_F(Cli, BenchCallsFromSeveralThreads) {
  const Result r = caracal("bench --random " + model + "/config.json --seq 4 --seconds 0.01 --callers 3 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  const Json report = Json::parse(r.out, "bench");
  EXPECT_EQ(report.at("callers"), Json(3));
  EXPECT_GE(report.at("calls").as_int(), 3 * 5);  // 5 or more of each
  EXPECT_NEAR(report.at("tokens_per_s").as_double() * report.at("mean_ms").as_double(), 3 * 4 * 1e3, 600);
}

TEST_F(Cli, BenchGivesEveryTaskWhatItNeeds) {
  struct Case {
    const char *model, *task;
    std::vector<int64_t> lengths;
  };
  const std::vector<int64_t> text = {5, 5}, image = {17, 17};  // 4 * 4 patches and one row more
  for (const Case& c : std::vector<Case>{{"bert/base", "AutoModel", text},
                                         {"bert/base", "AutoModelForPreTraining", text},
                                         {"bert/lm_cross", "AutoModelForCausalLM", text},
                                         {"bert/base", "AutoModelForMaskedLM", text},
                                         {"bert/base", "AutoModelForNextSentencePrediction", text},
                                         {"bert/base", "AutoModelForSequenceClassification", text},
                                         {"bert/base", "AutoModelForMultipleChoice", text},
                                         {"bert/base", "AutoModelForTokenClassification", text},
                                         {"bert/base", "AutoModelForQuestionAnswering", text},
                                         {"distilbert/base", "AutoModel", text},
                                         {"distilbert/base", "AutoModelForMaskedLM", text},
                                         {"distilbert/base", "AutoModelForMultipleChoice", text},
                                         {"distilbert/base", "AutoModelForQuestionAnswering", text},
                                         {"vit/base", "AutoModel", image},
                                         {"vit/tall_patches", "AutoModel", {13, 13}},  // 24 * 15 pixels of 6 * 5
                                         {"vit/base", "AutoModelForImageClassification", image},
                                         {"vit/base", "AutoModelForMaskedImageModeling", image}}) {
    const Result r = caracal("bench --random " + data_path("models/" + std::string(c.model) + "/config.json") +
                             " --task " + c.task + " --batch 2 --seq 5 --seconds 0.01 --threads 1 --json");
    ASSERT_EQ(r.status, 0) << c.model << " " << c.task << ": " << r.err;
    const Json report = Json::parse(r.out, "bench");
    Json::Array lengths(c.lengths.begin(), c.lengths.end());
    EXPECT_EQ(report.at("batch"), Json(2));
    EXPECT_EQ(report.at("seq"), Json(c.lengths[0])) << c.model;
    EXPECT_EQ(report.at("lengths"), Json(lengths)) << c.model;
    EXPECT_GT(report.at("tokens_per_s").as_double(), 0);
  }
  expect_one_line_error(caracal("bench --model " + data_path("models/vit/base") + " --lengths 3,4"), "[--lengths]");
}

// A large checkpoint: what was packed leaves the file's pages behind.
TEST_F(Cli, LoadingHoldsTheWeightsOnce) {
#ifdef CARACAL_SANITIZED
  GTEST_SKIP() << "a sanitizer's memory counts too";
#endif
  const AnyModel large = AutoModel::from_config(
      BertConfig({{"vocab_size", 2000}, {"num_hidden_layers", 3}, {"hidden_size", 768}, {"intermediate_size", 3072}}));
  large->save_pretrained(folder / "large");
  const double bytes = 4 * double(large->num_parameters()), bound = 1.15 * bytes + double(64 << 20);
  ASSERT_GT(2 * bytes, bound) << "too small to tell once from twice";
  const Result r = caracal("bench --model " + (folder / "large").string() + " --seq 8 --seconds 0.01 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  const Json report = Json::parse(r.out, "bench");
  EXPECT_LE(report.at("peak_rss_mb").as_double() * 0x1p20, bound);
  EXPECT_GT(report.at("rss_mb").as_double() * 0x1p20, bytes);
}

TEST_F(Cli, SaveWritesWhatItLoaded) {
  const std::string out = folder / "saved";
  fs::create_directory(folder / "model");
  write_vocab("model/vocab.txt");
  for (const char* file : {"config.json", "model.safetensors"}) fs::copy(model + "/" + file, folder / "model");
  const Result saved = caracal("save " + (folder / "model").string() + " --task AutoModelForTokenClassification" +
                               " --set num_labels=3 --dtype bfloat16 --max-shard-size 20KB --output " + out);
  ASSERT_EQ(saved.status, 0) << saved.err;
  EXPECT_NE(saved.err.find("classifier.weight"), std::string::npos) << saved.err;  // a fresh head
  EXPECT_TRUE(fs::exists(out + "/vocab.txt"));
  EXPECT_TRUE(fs::exists(out + "/model.safetensors.index.json"));
  const AnyModel loaded = AutoModelForTokenClassification::from_pretrained(out);
  EXPECT_STREQ(loaded->class_name(), "BertForTokenClassification");
  EXPECT_TRUE(loaded->loading_info().missing_keys.empty());
  EXPECT_EQ(loaded->config().num_labels(), 3);
  EXPECT_EQ(loaded->config().dtype, Json("bfloat16"));
  expect_one_line_error(caracal("save " + out + " --output " + out + "2 --max-shard-size big"), "500MB");
  expect_one_line_error(caracal("save " + out + " --output " + out + "2 --set hiden_act=relu"), "'hiden_act'");
  EXPECT_FALSE(fs::exists(out + "2"));
}

TEST_F(Cli, SaveRoundsTo8BitsAndBack) {
  auto counts = [&](const std::string& of) { return Json::parse(caracal("inspect --json " + of).out, "inspect"); };
  const std::string int8 = folder / "int8", floats = folder / "floats";
  ASSERT_EQ(caracal("save " + model + " --dtype int8 --output " + int8).status, 0);
  EXPECT_NE(counts(int8).at("dtypes").find("I8"), nullptr);
  ASSERT_EQ(caracal("save " + int8 + " --dtype float32 --output " + floats).status, 0);
  EXPECT_EQ(counts(floats).at("dtypes").find("I8"), nullptr);
  EXPECT_EQ(counts(floats).at("unused"), Json(Json::Array{}));
  EXPECT_EQ(counts(floats).at("parameters"), counts(int8).at("parameters"));
}

TEST_F(Cli, ParityNamesTheFirstLayerThatDiverges) {
  fs::create_directory(folder / "model");
  for (const char* file : {"config.json", "model.safetensors", "reference.0.safetensors"})
    fs::copy(model + "/" + file, folder / "model");
  const std::string copy = folder / "model",
                    command = "parity --model " + copy + " --reference " + copy + "/reference.0.safetensors";
  const Result good = caracal(command + " --json");
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  const Json report = Json::parse(good.out, "parity");
  EXPECT_TRUE(report.at("first_diverging").is_null());
  EXPECT_LT(report.at("worst").as_double(), 2e-5);
  EXPECT_GT(report.at("compared").as_int(), 5);
  // One wrong weight in the second layer.
  std::vector<std::pair<std::string, Tensor>> tensors;
  const SafetensorsFile file = SafetensorsFile::open(copy + "/model.safetensors");
  for (const TensorInfo& info : file.tensors()) {
    tensors.emplace_back(info.name, file.tensor(info).clone());
    if (info.name.ends_with("layer.1.output.dense.weight")) tensors.back().second.data<float>()[3] += 0.5f;
  }
  save_safetensors(copy + "/model.safetensors", tensors);
  const Result bad = caracal(command);
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.out.find("first diverging: hidden_states.2\n"), std::string::npos) << bad.out;
  EXPECT_EQ(Json::parse(caracal(command + " --json").out, "parity").at("first_diverging"), Json("hidden_states.2"));
  expect_one_line_error(caracal("parity --model " + copy + " --reference " + copy + "/model.safetensors"), "inputs");
}

TEST_F(Cli, ConfigAndInspectAndVersion) {
  EXPECT_TRUE(caracal("config " + model).out.starts_with("BertConfig {\n  \""));
  const std::string out = folder / "saved";
  const Result saved = caracal("config " + model + " --set hidden_act=relu --set num_labels=3 --output " + out);
  EXPECT_EQ(saved.out + saved.err, "");
  EXPECT_EQ(*AutoConfig::from_pretrained(out),
            *AutoConfig::from_pretrained(model, {{"hidden_act", "relu"}, {"num_labels", 3}}));
  expect_one_line_error(caracal("config " + model + " --set hiden_act=relu"), "'hiden_act'");
  const Json report = Json::parse(caracal("inspect --json " + model).out, "inspect");
  EXPECT_EQ(report.at("class"), Json("BertModel"));
  EXPECT_TRUE(report.at("missing").as_array().empty());
  EXPECT_GT(report.at("tensors").as_array().size(), 10u);
  EXPECT_EQ(report.at("tensor_count"), Json(int64_t(report.at("tensors").as_array().size())));
  int64_t bytes = 0;
  for (const Json& tensor : report.at("tensors").as_array()) {
    EXPECT_EQ(tensor.at("dtype"), Json("F32"));
    bytes += tensor.at("bytes").as_int();
  }
  EXPECT_EQ(report.at("bytes"), Json(bytes));
  EXPECT_EQ(report.at("parameters"), Json(bytes / 4));
  EXPECT_EQ(report.at("dtypes"), Json(Json::Object{{"F32", bytes / 4}}));
  EXPECT_TRUE(report.at("warnings").as_array().empty());
  const Json other = Json::parse(caracal("inspect --json " + data_path("models/bert/from_masked_lm")).out, "inspect");
  EXPECT_EQ(other.at("missing"), Json(Json::Array{"pooler.dense.bias", "pooler.dense.weight"}));
  EXPECT_FALSE(other.at("unused").as_array().empty());
  for (const Json& name : other.at("unused").as_array())
    EXPECT_TRUE(name.as_string().starts_with("cls.")) << name.dump();
  EXPECT_NE(caracal("inspect " + model).out.find("parameters"), std::string::npos);
  EXPECT_TRUE(caracal("version").out.starts_with("caracal "));
  EXPECT_NE(caracal("version --isa scalar").out.find("isa scalar      supported, in use"), std::string::npos);
  EXPECT_NE(caracal("version --backend native").out.find("backend native built, in use"), std::string::npos);
#ifdef CARACAL_HAS_CUBLAS
  EXPECT_NE(caracal("version").out.find("backend cublas built, for --device cuda"), std::string::npos);
#else
  EXPECT_NE(caracal("version").out.find("backend cublas not built"), std::string::npos);
#endif
  EXPECT_NE(caracal("version --backend eigen").out.find("backend eigen  built, in use"), std::string::npos);
}

TEST_F(Cli, InspectWarnsAboutFilesThatNoClassCanLoad) {
  // A tensor with a key of the header that is not in the format, and no config.json.
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1}})";
  fs::create_directories(folder / "odd");
  write("odd/model.safetensors", std::string(1, char(header.size())) + std::string(7, '\0') + header + "1234");
  const Result r = caracal("inspect " + (folder / "odd").string());
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("1 tensors, 1 parameters (1 F32)"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("note: "), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("not loadable: ["), std::string::npos) << r.out;
}

}  // namespace
}  // namespace caracal
