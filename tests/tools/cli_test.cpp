// The command as a user drives it: exit status, what goes to stdout and stderr, files.
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include <caracal/tests/models/models_testing.h>

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
  }
  void TearDown() override { fs::remove_all(folder); }

  // `arguments` go through the shell; stdin is empty unless they redirect it.
  Result caracal(const std::string& arguments) {
    const std::string out = folder / "stdout", err = folder / "stderr";
    const int status = std::system(("< /dev/null " CARACAL_CLI " " + arguments + " > " + out + " 2> " + err).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(out), slurp(err)};
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  }

  fs::path folder;
  const std::string model = data_path("bert/base");
};

void expect_one_line_error(const Result& r, const std::string& part) {
  EXPECT_EQ(r.status, 1) << r.err;
  EXPECT_EQ(r.out, "");
  EXPECT_TRUE(r.err.starts_with("caracal: error: [")) << r.err;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  EXPECT_NE(r.err.find(part), std::string::npos) << r.err;
}

TEST_F(Cli, RunWritesTransformersNames) {
  const std::string inputs = model + "/inputs.0.safetensors", outputs = folder / "out.safetensors";
  const std::string command = "run --model " + model + " --inputs " + inputs + " --outputs " + outputs;
  ASSERT_EQ(caracal(command + " --hidden-states --attentions --threads 1").status, 0);
  const SafetensorsFile file = SafetensorsFile::open(outputs);
  const AnyModel reference = AutoModel::from_pretrained(model);
  const auto want = reference(read_inputs(inputs), {.output_hidden_states = true, .output_attentions = true}).named();
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
  expect_one_line_error(caracal("bench --model " + model + " --seq 100000"), "max_position_embeddings");
  expect_one_line_error(caracal("bench --model " + model + " --isa mmx"), "'mmx'");
  expect_one_line_error(caracal("bench --model " + model + " --device cuda"), "'cuda'");
  expect_one_line_error(caracal("bench --model " + model + " --dtype int4"), "'int4'");
  expect_one_line_error(caracal("bench --model " + model + " --backend mkl"), "'mkl'");
  expect_one_line_error(caracal("pipeline telepathy --model " + model + " hello"), "'telepathy'");
  expect_one_line_error(caracal("run --model " + model + " --task AutoModelForTelepathy --outputs y --inputs " + model +
                                "/inputs.0.safetensors"),
                        "AutoModelForTelepathy");
  expect_one_line_error(caracal("inspect " + write("model.safetensors", "garbage")), "model.safetensors");
}

TEST_F(Cli, BadUsageIsStatus2) {
  EXPECT_EQ(caracal("").status, 2);
  EXPECT_EQ(caracal("dance").status, 2);
  EXPECT_EQ(caracal("run --model x").status, 2);
  EXPECT_EQ(caracal("bench --model x --batch -3").status, 2);
  EXPECT_EQ(caracal("bench").status, 2);
}

TEST_F(Cli, EveryCommandHasHelpAndTheCommonOptions) {
  for (const char* command : {"run", "tokenize", "detokenize", "pipeline", "bench", "inspect", "config", "version"}) {
    const Result r = caracal(std::string(command) + " --help");
    EXPECT_EQ(r.status, 0);
    for (const char* option : {"--device", "--dtype", "--threads", "--backend", "--isa"})
      EXPECT_NE(r.out.find(option), std::string::npos) << command << " " << option;
  }
}

TEST_F(Cli, BenchReportsAsPromised) {
  const Result r = caracal("bench --random " + model +
                           "/config.json --lengths 3,5,9 --seconds 0.05 --threads 1 --isa scalar --json");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 1);
  const Json report = Json::parse(r.out, "bench");
  for (const char* key :
       {"model", "task", "batch", "seq", "threads", "dtype", "isa", "backend", "load_ms", "first_call_ms", "p50_ms",
        "p90_ms", "p99_ms", "min_ms", "mean_ms", "calls", "rss_mb", "tokens_per_s"})
    EXPECT_TRUE(report.contains(key)) << key;
  EXPECT_EQ(report.at("batch"), Json(3));
  EXPECT_EQ(report.at("seq"), Json(9));
  EXPECT_EQ(report.at("isa"), Json("scalar"));
  EXPECT_EQ(report.at("threads"), Json(1));
  EXPECT_GT(report.at("p50_ms").as_double(), 0);
}

TEST_F(Cli, ConfigAndInspectAndVersion) {
  EXPECT_TRUE(caracal("config " + model).out.starts_with("BertConfig {\n  \""));
  const Json report = Json::parse(caracal("inspect --json " + model).out, "inspect");
  EXPECT_EQ(report.at("class"), Json("BertModel"));
  EXPECT_TRUE(report.at("missing").as_array().empty());
  EXPECT_GT(report.at("tensors").as_array().size(), 10u);
  EXPECT_NE(caracal("inspect " + model).out.find("parameters"), std::string::npos);
  EXPECT_TRUE(caracal("version").out.starts_with("caracal "));
}

TEST_F(Cli, TokenizeAndBack) {
  std::string vocab;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "##s", "sit", "."})
    vocab += std::string(token) + "\n";
  const std::string tokenizer = write("vocab.txt", vocab), lines = write("lines", "A cats\nsit.\n"),
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
  // Bytes that are not UTF-8 and empty lines are texts like others.
  EXPECT_EQ(caracal("tokenize --model " + tokenizer + " < " + write("bytes", "\xff\xfe a\n\n")).status, 0);
}

}  // namespace
}  // namespace caracal
