// What all commands share: usage, common options, errors; and the cache.
#include "cli_testing.h"

namespace caracal {
namespace {

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
    for (const char* option : {"--device", "--dtype", "--tf32", "--threads", "--backend", "--isa"})
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
  }
  EXPECT_EQ(caracal("version --device cpu --dtype float32 --backend native --isa scalar --threads 2").status, 0);
}

TEST_F(Cli, EveryDtypeRunsAndSaysSo) {
  const std::string bench =
      "bench --random " + model + "/config.json --batch 1 --seq 3 --seconds 0.01 --threads 1 --json";
  for (const std::string dtype : {"float32", "bfloat16", "float16", "int8"}) {
    const Result r = caracal(bench + " --dtype " + dtype);
    ASSERT_EQ(r.status, 0) << r.err;
    EXPECT_EQ(Json::parse(r.out, "bench").at("dtype"), Json(dtype));
  }
  EXPECT_EQ(Json::parse(caracal(bench).out, "bench").at("dtype"), Json("float32"));
  expect_one_line_error(caracal(bench + " --tf32"), "[tf32] expected false, since the device is cpu, but got true");
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
#ifndef CARACAL_HAS_CUBLAS
  expect_one_line_error(caracal("config " + model + " --backend cublas"),
                        "not built; configure with -DCARACAL_CUBLAS=ON");
#endif
}

TEST_F(Cli, ResultsThatCannotBeWrittenAreAnError) {
  const std::string full = " > /dev/full", tokenizer = write_vocab(), lines = write("lines", "a\ncat\n");
  for (const std::string& command : std::vector<std::string>{"version" + full, "--help" + full,
                                                             "config " + model + full, "inspect --json " + model + full,
                                                             "tokenize --model " + tokenizer + " < " + lines + full})
    expect_one_line_error(caracal_to_its_own_stdout(command), "[stdout]");
}

}  // namespace
}  // namespace caracal
