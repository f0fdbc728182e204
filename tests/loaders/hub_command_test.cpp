// `caracal download` as a user drives it, and the bar of every command that downloads.
#include <algorithm>

#include <caracal/tests/loaders/hub_testing.h>

namespace caracal {
namespace {

struct Result {
  int status;
  std::string out, err;
};

class HubCommand : public WithHub<HubCommand> {
 public:
  static void write_repositories(const fs::path& repositories) {
    const fs::path base = fs::path(CARACAL_TEST_DATA) / "models/bert/base";
    write_text_repository(repositories / "org/text/main");
    write_text_repository(repositories / "org/text/v1.0");
    spill(repositories / "org/text/v1.0/vocab.txt", "old\n");
    write_text_repository(repositories / "org/private/main");
    spill(repositories / "org/large/main/config.json", slurp(base / "config.json"));
    spill(repositories / "org/large/main/model.safetensors", noise(kLarge, 1));
    for (const char* variant : {"", ".fp16"}) {
      const fs::path sub = repositories / "org/variants/main/sub";
      spill(sub / "config.json", "{}");
      spill(sub / ("model" + std::string(variant) + ".safetensors"), "weights" + std::string(variant));
    }
    spill(repositories / "org/variants/main/config.json", "{\"not\": \"of the subfolder\"}");
  }

 protected:
  void SetUp() override {
    server->reset();
    fs::remove_all(root / "home");
  }

  static std::string environment(const std::string& more = {}) {
    return "env -u HF_TOKEN -u HF_HUB_OFFLINE -u HF_HUB_CACHE -u HF_HUB_DISABLE_PROGRESS_BARS HF_HOME=" +
           (root / "home").string() + " HF_ENDPOINT=" + server->hub + " 'no_proxy=*' " + more + " ";
  }
  static Result caracal(const std::string& arguments, const std::string& more = {}) {
    const std::string out = root / "stdout", err = root / "stderr";
    const int status =
        std::system((environment(more) + CARACAL_CLI " " + arguments + " < /dev/null > " + out + " 2> " + err).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(out), slurp(err)};
  }
  // With a terminal for both streams.
  static std::string on_terminal(const std::string& arguments, const std::string& more = {}) {
    const std::string shown = root / "shown";
    (void)!std::system(
        (environment(more) + "script -qec '" CARACAL_CLI " " + arguments + "' /dev/null < /dev/null > " + shown)
            .c_str());
    return slurp(shown);
  }
  // The snapshot that the command printed.
  static fs::path folder_of(const Result& result) {
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    EXPECT_TRUE(result.out.ends_with("\n"));
    return result.out.substr(0, result.out.find('\n'));
  }
  static void expect_error(const Result& result, const std::string& part) {
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(result.err.starts_with("caracal: error: [")) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }
  static std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (!entry.is_directory()) names.push_back(entry.path().lexically_relative(folder));
    std::sort(names.begin(), names.end());
    return names;
  }

  static constexpr size_t kLarge = 1'200'000;
};

TEST_F(HubCommand, TheseFilesAlone) {
  const fs::path folder = folder_of(caracal("download org/text vocab.txt 1_Pooling/config.json"));
  EXPECT_EQ(folder.parent_path(), root / "home/hub/models--org--text/snapshots");
  EXPECT_EQ(files_in(folder), (std::vector<std::string>{"1_Pooling/config.json", "vocab.txt"}));
  expect_error(caracal("download org/text vocab.txt absent.txt"), "absent.txt");
  EXPECT_EQ(folder_of(caracal("download org/text")), folder);
  EXPECT_EQ(files_in(folder).size(), 6u);
}

TEST_F(HubCommand, ARevision) {
  const fs::path main = folder_of(caracal("download org/text vocab.txt")),
                 old = folder_of(caracal("download org/text vocab.txt --revision v1.0"));
  EXPECT_NE(main, old);
  EXPECT_EQ(slurp(old / "vocab.txt"), "old\n");
  EXPECT_EQ(folder_of(caracal("download org/text vocab.txt --revision " + old.filename().string())), old);
  expect_error(caracal("download org/text --revision v2.0"), "Invalid rev id");
}

TEST_F(HubCommand, ASubfolderAndAVariant) {
  const fs::path folder = folder_of(caracal("download org/variants --subfolder sub --variant fp16"));
  EXPECT_EQ(files_in(folder), (std::vector<std::string>{"sub/config.json", "sub/model.fp16.safetensors"}));
  EXPECT_EQ(slurp(folder / "sub/model.fp16.safetensors"), "weights.fp16");
  folder_of(caracal("download org/variants --subfolder sub"));
  EXPECT_EQ(files_in(folder).size(), 3u);
}

TEST_F(HubCommand, AnewWhatTheCacheHas) {
  const fs::path folder = folder_of(caracal("download org/text vocab.txt")), blob = fs::canonical(folder / "vocab.txt");
  spill(blob, "damaged");
  folder_of(caracal("download org/text vocab.txt"));
  EXPECT_EQ(slurp(blob), "damaged");
  folder_of(caracal("download org/text vocab.txt --force"));
  EXPECT_EQ(slurp(blob), slurp(root / "repositories/org/text/main/vocab.txt"));
  server->reset();
  expect_error(caracal("download org/text vocab.txt --force --local"), "expected");
  EXPECT_TRUE(server->log().empty());
}

TEST_F(HubCommand, TheCacheAlone) {
  expect_error(caracal("download org/text --local"), " cache");
  EXPECT_TRUE(server->log().empty());
  const fs::path folder = folder_of(caracal("download org/text"));
  server->reset();
  EXPECT_EQ(folder_of(caracal("download org/text --local")), folder);
  EXPECT_TRUE(server->log().empty());
  const std::string other = " --cache-dir " + (root / "home/other").string();
  expect_error(caracal("download org/text --local" + other), " cache");
  EXPECT_EQ(folder_of(caracal("download org/text vocab.txt" + other)),
            root / "home/other/models--org--text/snapshots" / folder.filename());
}

TEST_F(HubCommand, AToken) {
  expect_error(caracal("download org/private vocab.txt"), "it needs a token");
  const Result wrong = caracal("download org/private vocab.txt --token wrong");
  expect_error(wrong, "Invalid credentials");
  EXPECT_EQ(wrong.err.find("wrong"), std::string::npos) << wrong.err;
  folder_of(caracal("download org/private vocab.txt --token secret"));
  for (const auto& entry : server->requests("org/private"))
    if (entry.status == 200) {
      EXPECT_EQ(entry.token, "Bearer secret");
    }
}

TEST_F(HubCommand, ABarOnATerminalAlone) {
  const Json slowly = {{"bandwidth", int64_t(kLarge)}};  // a second
  server->control({{"set", slowly}});
  const std::string bar = " kB, ";
  const std::string shown = on_terminal("download org/large");
  EXPECT_NE(shown.find("\r["), shown.npos) << shown;
  EXPECT_NE(shown.find("/1201" + bar), shown.npos) << shown;  // with config.json
  EXPECT_NE(shown.find(" s left"), shown.npos) << shown;
  fs::remove_all(root / "home");
  const std::string without = on_terminal("download org/large", "HF_HUB_DISABLE_PROGRESS_BARS=1");
  EXPECT_EQ(without.find(bar), without.npos) << without;
  EXPECT_NE(without.find("/snapshots/"), without.npos) << without;
  fs::remove_all(root / "home");
  folder_of(caracal("download org/large"));  // nothing on stderr
}

TEST_F(HubCommand, AnErrorBeginsALine) {
  for (const std::string& command : {std::string("download org/large"), std::string("bench --model org/large")}) {
    fs::remove_all(root / "home");
    server->control({{"set", Json{{"bandwidth", int64_t(kLarge)}}}});
    server->faults({Json{{"match", "store GET"}, {"do", "drop"}, {"bytes", 800'000}, {"times", 1}},
                    Json{{"match", "store GET"}, {"do", "status"}, {"code", 404}}});
    const std::string shown = on_terminal(command);
    EXPECT_NE(shown.find(" kB, "), shown.npos) << shown;
    EXPECT_NE(shown.find("\r\x1b[Kcaracal: error: ["), shown.npos) << shown;
  }
}

}  // namespace
}  // namespace caracal
