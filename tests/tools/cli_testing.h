// The command as a user drives it: exit status, what goes to stdout and stderr, files.
#pragma once

#include <sys/wait.h>

#include <fstream>

#include <caracal/tests/models/models_testing.h>

namespace caracal {

namespace fs = std::filesystem;

struct Result {
  int status;
  std::string out, err;
};

inline std::string slurp(const fs::path& path) {
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

inline void expect_one_line_error(const Result& r, const std::string& part) {
  EXPECT_EQ(r.status, 1) << r.err;
  EXPECT_EQ(r.out, "");
  EXPECT_TRUE(r.err.starts_with("caracal: error: [")) << r.err;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  EXPECT_NE(r.err.find(part), std::string::npos) << r.err;
}

}  // namespace caracal
