// The command as a user drives it: exit status, what goes to stdout and stderr, files.
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>
#include <caracal/models/vit/image_processing_vit.h>
#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>
#include <caracal/tests/models/models_testing.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CARACAL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CARACAL_SANITIZED 1
#endif
#endif

namespace caracal {
namespace {

namespace fs = std::filesystem;

struct Result {
  int status;
  std::string out, err;
};

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Cli : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("caracal_cli_" + std::to_string(getpid()));
    fs::create_directories(folder);
    setenv("HF_HUB_OFFLINE", "1", 1);  // a name that is no path is looked for in an empty cache, and nowhere else
    setenv("HF_HOME", (folder / "huggingface").c_str(), 1);
  }
  void TearDown() override { fs::remove_all(folder); }

  // For arguments that redirect stdout.
  Result caracal_to_its_own_stdout(const std::string& arguments) {
    const std::string err = folder / "stderr";
    const int status = std::system(("< /dev/null " CARACAL_CLI " " + arguments + " 2> " + err).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, "", slurp(err)};
  }
  // `arguments` go through the shell; stdin is empty unless they redirect it.
  Result caracal(const std::string& arguments) {
    const std::string out = folder / "stdout", err = folder / "stderr";
    const int status = std::system(("< /dev/null " CARACAL_CLI " " + arguments + " > " + out + " 2> " + err).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(out), slurp(err)};
  }
  // A vocabulary of ten tokens in the file `name`.
  std::string write_vocab(const std::string& name = "vocab.txt") {
    std::string vocab;
    for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "##s", "sit", "."})
      vocab += std::string(token) + "\n";
    return write(name, vocab);
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  }

  // The inputs of the first reference file of a case as a file for `caracal run`.
  std::string write_inputs(const std::string& directory) {
    const SafetensorsFile file = SafetensorsFile::open(directory + "/reference.0.safetensors");
    std::vector<std::pair<std::string, Tensor>> inputs;
    for (const TensorInfo& info : file.tensors())
      if (info.name.starts_with("inputs.")) inputs.emplace_back(info.name.substr(7), file.tensor(info));
    save_safetensors(folder / "inputs.safetensors", inputs);
    return folder / "inputs.safetensors";
  }

  fs::path folder;
  const std::string model = data_path("models/bert/base");
};

void expect_one_line_error(const Result& r, const std::string& part) {
  EXPECT_EQ(r.status, 1) << r.err;
  EXPECT_EQ(r.out, "");
  EXPECT_TRUE(r.err.starts_with("caracal: error: [")) << r.err;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  EXPECT_NE(r.err.find(part), std::string::npos) << r.err;
}

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

TEST_F(Cli, BadInputIsOneLineAndStatus1) {
  expect_one_line_error(caracal("run --model /nowhere --inputs x --outputs y"), "[x]");
  expect_one_line_error(caracal("config /nowhere"), "/nowhere");
  expect_one_line_error(caracal("bench --model " + model + " --batch 2 --lengths 3,4,5"), "expected 2 lengths");
  expect_one_line_error(caracal("bench --model " + model + " --seq 100000"), "max_position_embeddings");
  expect_one_line_error(caracal("pipeline telepathy --model " + model + " hello"), "'telepathy'");
  expect_one_line_error(
      caracal("run --model " + model + " --task AutoModelForTelepathy --outputs y --inputs " + write_inputs(model)),
      "AutoModelForTelepathy");
  expect_one_line_error(caracal("inspect " + write("model.safetensors", "garbage")), "model.safetensors");
}

TEST_F(Cli, BadUsageIsStatus2) {
  EXPECT_EQ(caracal("").status, 2);
  EXPECT_EQ(caracal("dance").status, 2);
  EXPECT_EQ(caracal("run --model x").status, 2);
  EXPECT_EQ(caracal("bench --model x --batch -3").status, 2);
  EXPECT_EQ(caracal("bench").status, 2);
  EXPECT_EQ(caracal("bench --model x --seq 2 --lengths 3,5").status, 2);
}

TEST_F(Cli, EveryCommandHasHelpAndTheCommonOptions) {
  std::vector<const char*> commands = {"run",     "tokenize", "detokenize", "pipeline", "preprocess", "bench",
                                       "inspect", "config",   "version",    "save",     "parity"};
#ifdef CARACAL_HAS_HUB
  commands.insert(commands.end(), {"download", "cache ls", "cache rm", "cache verify"});
#endif
  for (const char* command : commands) {
    const Result r = caracal(std::string(command) + " --help");
    EXPECT_EQ(r.status, 0);
    for (const char* option : {"--device", "--dtype", "--threads", "--backend", "--isa"})
      EXPECT_NE(r.out.find(option), std::string::npos) << command << " " << option;
  }
}

#ifdef CARACAL_HAS_HUB
TEST_F(Cli, TheCacheIsListedCheckedAndEmptied) {
  expect_one_line_error(caracal("download org/name"), "in the cache");
  expect_one_line_error(caracal("download ../name"), "name of the hub");
  expect_one_line_error(caracal("config org/name"), "downloads are off");
  expect_one_line_error(caracal("cache rm org/name"), "in the cache");
  EXPECT_EQ(caracal("cache").status, 2);
  const fs::path repository = folder / "huggingface/hub/models--org--name";
  const std::string commit(40, 'c'), empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";  // git's hash of nothing
  fs::create_directories(repository / "blobs");
  fs::create_directories(repository / "snapshots" / commit);
  fs::create_symlink("../../blobs/" + empty, repository / "snapshots" / commit / "a.txt");
  write("huggingface/hub/models--org--name/blobs/" + empty, "");
  EXPECT_EQ(caracal("download org/name").out, (repository / "snapshots" / commit).string() + "\n");
  EXPECT_NE(caracal("cache ls").out.find("org/name"), std::string::npos);
  const Json list = Json::parse(caracal("cache ls --json").out, "cache ls");
  EXPECT_EQ(list.as_array()[0].at("revisions").as_array()[0].at("commit"), Json(commit));
  EXPECT_EQ(caracal("cache verify").status, 0);
  write("huggingface/hub/models--org--name/blobs/" + empty, "damaged\x1b[31m");
  const Result damaged = caracal("cache verify org/name");
  EXPECT_EQ(damaged.status, 1);
  EXPECT_NE(damaged.out.find("problem: "), std::string::npos);
  EXPECT_EQ(caracal("cache rm org/name --revision " + commit).status, 0);
  EXPECT_FALSE(fs::exists(repository / "blobs" / empty));
  EXPECT_EQ(caracal("cache rm org/name").status, 0);
  EXPECT_EQ(caracal("cache ls").out, "");
}
#endif

TEST_F(Cli, EveryCommandChecksTheCommonOptions) {
  for (const std::string& command :
       std::vector<std::string>{"run --model x --inputs x --outputs x", "tokenize --model x", "detokenize --model x",
                                "pipeline feature-extraction --model x", "preprocess --model x --image x --outputs x",
                                "bench --model x", "inspect x", "config x", "version"}) {
    for (const char* unknown : {"--device gpu", "--device cuda:", "--device cuda:x", "--dtype int4", "--backend mkl",
                                "--isa mmx", "--threads -1"}) {
      const Result r = caracal(command + " " + unknown);
      EXPECT_EQ(r.status, 2) << command << " " << unknown;
      EXPECT_EQ(r.out, "");
    }
    // Known, but not in this build.
    expect_one_line_error(caracal(command + " --device cuda:0"), "[--device] expected cpu but got 'cuda:0': not built");
    expect_one_line_error(caracal(command + " --dtype bfloat16"), "[--dtype]");
  }
  EXPECT_EQ(caracal("version --device cpu --dtype float32 --backend native --isa scalar --threads 2").status, 0);
}

// Every backend that was built runs and says so; one that was not is refused with the way to get it.
TEST_F(Cli, EveryCommandTakesABackend) {
  const std::string bench = "bench --random " + model + "/config.json --batch 1 --seq 3 --seconds 0.01 --threads 1 ";
  for (kernels::Backend backend : kernels::kBackends) {
    const std::string name = kernels::backend_name(backend);
    if (kernels::backend_kernels(backend, kernels::best_isa()) == nullptr) {
      expect_one_line_error(caracal("config " + model + " --backend " + name), "not built; configure with");
      continue;
    }
    const Result r = caracal(bench + "--json --backend " + name);
    ASSERT_EQ(r.status, 0) << r.err;
    EXPECT_EQ(Json::parse(r.out, "bench").at("backend"), Json(name));
  }
}

TEST_F(Cli, ResultsThatCannotBeWrittenAreAnError) {
  const std::string full = " > /dev/full", tokenizer = write_vocab(), lines = write("lines", "a\ncat\n");
  for (const std::string& command : std::vector<std::string>{"version" + full, "--help" + full,
                                                             "config " + model + full, "inspect --json " + model + full,
                                                             "tokenize --model " + tokenizer + " < " + lines + full})
    expect_one_line_error(caracal_to_its_own_stdout(command), "[stdout]");
}

TEST_F(Cli, HostileTextIsEscapedAndCut) {
  fs::copy(model, folder / "hostile");
  fs::permissions(folder / "hostile/config.json", fs::perms::owner_write, fs::perm_options::add);
  // ESC, DEL and the C1 control CSI, then é, in a value that the error message quotes.
  std::string config = slurp(model + "/config.json");
  config.replace(config.find("\"gelu\""), 6,
                 "\"\\u001b]0;x\\u0007\\u007f\\u009b31m\\u00e9" + std::string(5000, 'A') + "\"");
  write("hostile/config.json", config);
  const Result r = caracal("bench --model " + (folder / "hostile").string());
  expect_one_line_error(r,
                        "\\x1b]0;x\\x07\\x7f\\xc2\\x9b31m\xc3\xa9"
                        "AAA");
  EXPECT_LT(r.err.size(), 1100u);
  EXPECT_TRUE(r.err.ends_with("A…\n")) << r.err;
  const Result usage = caracal("version --dtype \"$(printf 'dan\\033ce')\"");
  EXPECT_EQ(usage.status, 2);
  EXPECT_NE(usage.err.find("dan\\x1bce"), std::string::npos) << usage.err;
  // Bytes that are no UTF-8, in a text that is echoed.
  fs::copy(model + "/config.json", folder / "hostile/config.json", fs::copy_options::overwrite_existing);
  write_vocab("hostile/vocab.txt");
  const Result echoed = caracal("pipeline feature-extraction --model " + (folder / "hostile").string() + " < " +
                                write("text", "a \x9b\xc0\x9b cat\n"));
  EXPECT_EQ(echoed.status, 0) << echoed.err;
  EXPECT_NE(echoed.out.find("a \\x9b\\xc0\\x9b cat\n"), std::string::npos) << echoed.out;
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

TEST_F(Cli, BenchOfATokenizer) {
  std::string text;
  for (int i = 0; i < 200; i++) text += "A cats sit.\n";
  const std::string command = " --seconds 0.02 --threads 3 --json --tokenize " + write("text", text);
  const Result r = caracal("bench --model " + write_vocab() + command);
  ASSERT_EQ(r.status, 0) << r.err;
  const Json report = Json::parse(r.out, "bench");
  for (const char* key : {"mb_per_s", "lines_per_s", "tokens_per_s", "load_ms"})
    EXPECT_GT(report.at(key).as_double(), 0) << key;
  EXPECT_EQ(report.at("threads"), Json(3));
  EXPECT_EQ(report.at("tokenizer"), Json("BertTokenizer"));
  // An error on a thread of the pool is an error like others.
  std::string broken = R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],)"
                       R"("normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,)"
                       R"("decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]",)"
                       R"("continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"a": 0}}})";
  expect_one_line_error(caracal("bench --model " + write("tokenizer.json", broken) + command), "[UNK]");
}

TEST_F(Cli, PipelineResultAndTheWarningOfMissingWeights) {
  fs::copy(data_path("models/bert/from_masked_lm"), folder / "model");
  write_vocab("model/vocab.txt");
  const std::string command = "pipeline feature-extraction --json --model " + (folder / "model").string();
  const Result r = caracal(command + " 'a cats' .");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 2);
  const Json result = Json::parse(r.out.substr(0, r.out.find('\n')), "pipeline");
  ModelInputs inputs = make_inputs({{2, 5, 6, 7, 3}});
  const Tensor want = AutoModel::from_pretrained(data_path("models/bert/from_masked_lm"))(inputs).last_hidden_state;
  const Json::Array& rows = result.as_array().at(0).as_array();
  ASSERT_EQ(rows.size(), 5u);
  for (size_t s = 0; s < rows.size(); s++)
    for (size_t i = 0; i < rows[s].as_array().size(); i++)
      EXPECT_NEAR(rows[s].as_array()[i].as_double(), want.data<float>()[int64_t(s) * want.size(2) + int64_t(i)], 2e-5);
  EXPECT_EQ(r.err, "");  // features need no pooler
  const Result run = caracal("run --model " + (folder / "model").string() + " --inputs " +
                             write_inputs(folder / "model") + " --outputs " + (folder / "out").string());
  EXPECT_EQ(run.status, 0);
  EXPECT_TRUE(run.err.starts_with("caracal: warning: BertModel LOAD REPORT from: ")) << run.err;
  EXPECT_NE(run.err.find("\npooler.dense.weight "), std::string::npos) << run.err;
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
  EXPECT_NE(caracal("version --isa scalar").out.find("isa scalar  supported, in use"), std::string::npos);
  EXPECT_NE(caracal("version --backend native").out.find("backend native built, in use"), std::string::npos);
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

TEST_F(Cli, TokenizeAndBack) {
  const std::string tokenizer = write_vocab(), lines = write("lines", "A cats\nsit.\n"),
                    pairs = write("pairs", "a\tcat\n");
  Result r = caracal("tokenize --model " + tokenizer + " < " + lines);
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(
      r.out.substr(0, r.out.find('\n')),
      R"({"input_ids": [2, 5, 6, 7, 3], "token_type_ids": [0, 0, 0, 0, 0], "attention_mask": [1, 1, 1, 1, 1], "special_tokens_mask": [1, 0, 0, 0, 1], "tokens": ["[CLS]", "a", "cat", "##s", "[SEP]"], "offset_mapping": [[0, 0], [0, 1], [2, 5], [5, 6], [0, 0]]})");
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 2);
  EXPECT_NE(caracal("tokenize --pair --model " + tokenizer + " < " + pairs).out.find("\"input_ids\": [2, 5, 3, 6, 3]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --json --model " + tokenizer + " < " +
                    write("json", R"(["a", "cat"])"
                                  "\n"))
                .out.find("\"input_ids\": [2, 5, 3, 6, 3]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --no-special-tokens --max-length 1 --model " + tokenizer + " < " + lines)
                .out.find("\"input_ids\": [5]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --padding longest --model " + tokenizer + " < " + lines)
                .out.find("\"attention_mask\": [1, 1, 1, 1, 0]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --padding max_length --max-length 7 --model " + tokenizer + " < " + lines)
                .out.find("\"attention_mask\": [1, 1, 1, 1, 1, 0, 0]"),
            std::string::npos);
  EXPECT_EQ(
      caracal("detokenize --skip-special-tokens --model " + tokenizer + " < " + write("ids", "[2, 5, 6, 7, 3]\n")).out,
      "a cats\n");
  expect_one_line_error(caracal("tokenize --pair --model " + tokenizer + " < " + lines), "tab");
  // A line for each chunk of an input, overlapping by one token.
  r = caracal("tokenize --no-special-tokens --max-length 3 --stride 1 --model " + tokenizer + " < " +
              write("long", "a cats sit.\n"));
  std::string ids;
  std::istringstream chunks(r.out);
  for (std::string line; std::getline(chunks, line);) ids += Json::parse(line, "tokenize").at("input_ids").dump();
  EXPECT_EQ(ids, "[5, 6, 7][7, 8, 9]");
  EXPECT_EQ(caracal("tokenize --slow --model " + tokenizer + " < " + lines).out,
            caracal("tokenize --model " + tokenizer + " < " + lines).out);
  // Bytes that are not UTF-8 and empty lines are texts like others.
  EXPECT_EQ(caracal("tokenize --model " + tokenizer + " < " + write("bytes", "\xff\xfe a\n\n")).status, 0);
}

TEST_F(Cli, Preprocess) {
  const std::string images = data_path("media/images/"), sounds = data_path("media/audio/"), out = folder / "out";
  ViTImageProcessor({{"size", 20}}).save_pretrained((folder / "vit").string());
  Wav2Vec2FeatureExtractor().save_pretrained((folder / "wav2vec2").string());
  const std::string vit = "preprocess --outputs " + out + " --model " + (folder / "vit").string(),
                    wav2vec2 = "preprocess --outputs " + out + " --model " + (folder / "wav2vec2").string();
  EXPECT_EQ(caracal(vit).status, 2);
  EXPECT_EQ(caracal(vit + " --image x --audio y").status, 2);
  expect_one_line_error(caracal(vit + " --image " + images + "absent.png"), "absent.png");
  const std::string files = " --image " + images + "rgb.png " + images + "borrowed_tiny_1x1_gray.jpg";
#ifdef CARACAL_HAS_MEDIA
  ASSERT_EQ(caracal(vit + files + " --set size=[9,8]").status, 0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("pixel_values")).shape(), (Shape{2, 3, 9, 8}));
  }
  ASSERT_EQ(caracal(vit + files + " --set do_resize=false").status, 0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("pixel_values.1")).shape(), (Shape{3, 1, 1}));
  }
  expect_one_line_error(caracal(vit + files + " --set sise=3"), "'sise'");
  expect_one_line_error(caracal(vit + " --image " + images + "borrowed_bad_truncated.jpg"), "bad_truncated");
  expect_one_line_error(caracal(vit + " --audio " + sounds + "s16.wav"), "Wav2Vec2FeatureExtractor");
  ASSERT_EQ(caracal(wav2vec2 + " --audio " + sounds + "s16.wav " + sounds + "s16.flac").status, 0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("input_values.0")).numel(), 2400);
  }
  ASSERT_EQ(
      caracal(wav2vec2 + " --set padding=longest --set return_attention_mask=true --set do_normalize=false --audio " +
              sounds + "s16.wav " + sounds + "s16.flac")
          .status,
      0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("input_values")).shape(), (Shape{2, 2400}));
    EXPECT_EQ(file.tensor(*file.find("attention_mask")).data<int32_t>()[3000], 1);
    EXPECT_EQ(file.tensor(*file.find("attention_mask")).data<int32_t>()[4799], 0);
  }
  fs::copy(data_path("media/combined/wav2vec2"), folder / "speech", fs::copy_options::recursive);
  ASSERT_EQ(caracal("preprocess --text HELLO --outputs " + out + " --model " + (folder / "speech").string() +
                    " --audio " + sounds + "s16.flac")
                .status,
            0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("labels")).shape(), (Shape{1, 5}));
  }
  expect_one_line_error(caracal(vit + files + " --text why"), "--text");
  expect_one_line_error(caracal(wav2vec2 + " --set max_lenght=3 --audio " + sounds + "s16.wav"), "'max_lenght'");
#else
  expect_one_line_error(caracal(vit + files), "caracal::media");
#endif
}

TEST_F(Cli, PreprocessReadsPages) {
#ifdef CARACAL_HAS_OCR
  const std::string out = folder / "out";
  LayoutLMv2ImageProcessor().save_pretrained((folder / "layoutlmv2").string());
  ASSERT_EQ(caracal("preprocess --outputs " + out + " --model " + (folder / "layoutlmv2").string() + " --image " +
                    data_path("media/pages/note.png"))
                .status,
            0);
  const SafetensorsFile file = SafetensorsFile::open(out);
  EXPECT_EQ(file.tensor(*file.find("pixel_values")).dtype(), DType::U8);
  const Json expected = Json::parse_file(data_path("media/pages.json")).at("note");
  EXPECT_EQ(file.metadata().at("words"), Json(Json::Array{expected.at("words")}).dump());
  EXPECT_EQ(file.metadata().at("boxes"), Json(Json::Array{expected.at("boxes")}).dump());
  // With the tokenizer's files beside it, the whole processor.
  fs::copy(data_path("media/combined/layoutlmv2"), folder / "whole", fs::copy_options::recursive);
  ASSERT_EQ(
      caracal(
          "preprocess --set apply_ocr=true --set max_length=8 --set truncation=true --text 'what is it?' --outputs " +
          out + " --model " + (folder / "whole").string() + " --image " + data_path("media/pages/note.png"))
          .status,
      0);
  const SafetensorsFile whole = SafetensorsFile::open(out);
  EXPECT_EQ(whole.tensor(*whole.find("bbox")).shape(), (Shape{1, 8, 4}));
  EXPECT_EQ(whole.tensor(*whole.find("image")).shape(), (Shape{1, 3, 224, 224}));
#else
  GTEST_SKIP() << "built without caracal::ocr";
#endif
}

TEST_F(Cli, LinesComeOutAsTheyGoIn) {
  // The second line is sent only when the answer to the first one is there; after 10 s it never is.
  const std::string tokenizer = write_vocab(), out = folder / "out";
  auto answers = [&](const std::string& command, const std::string& line) {
    const std::string dialogue = "(echo '" + line + "'; i=0; while [ ! -s " + out +
                                 " ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; [ -s " + out + " ] && echo '" +
                                 line + "') | " CARACAL_CLI " " + command + " --model " + tokenizer + " | cat > " + out;
    EXPECT_EQ(std::system(dialogue.c_str()), 0);
    const std::string text = slurp(out);
    fs::remove(out);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(answers("tokenize", "a cat"), 2);
  EXPECT_EQ(answers("detokenize", "[5, 6]"), 2);
}

}  // namespace
}  // namespace caracal
