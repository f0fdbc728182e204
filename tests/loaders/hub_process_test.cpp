// Processes that download at once, die in the middle, or run out of disk: `caracal download` against the loopback hub.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include <caracal/tests/loaders/hub_testing.h>

namespace caracal {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;

class HubProcesses : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root = fs::temp_directory_path() / ("caracal_hub_processes_" + std::to_string(getpid()));
    spill(root / "repositories/org/large/main/config.json", "{}");
    spill(root / "repositories/org/large/main/model.safetensors", noise(kLarge, 1));
    server = new HubServer(root / "repositories");
  }
  static void TearDownTestSuite() {
    delete server;
    fs::remove_all(root);
  }
  void SetUp() override {
    server->reset();
    fs::remove_all(root / "home");
  }

  static fs::path cache() { return root / "home/hub"; }
  static void bandwidth(int64_t bytes) { server->control({{"set", Json{{"bandwidth", bytes}}}}); }

  // `caracal download org/large`, its stdout and stderr in root/output.
  static pid_t start(const Environment& environment = {}, rlim_t file_limit = RLIM_INFINITY) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    for (const auto& [name, value] :
         Environment{{"HF_HOME", root / "home"}, {"HF_ENDPOINT", server->hub}, {"no_proxy", "*"}})
      setenv(name.c_str(), value.c_str(), 1);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    const int output = ::open((root / "output").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ::dup2(output, 1);
    ::dup2(output, 2);
    if (file_limit != RLIM_INFINITY) {
      const rlimit limit{file_limit, file_limit};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      ::signal(SIGXFSZ, SIG_IGN);
    }
    ::execl(CARACAL_CLI, "caracal", "download", "org/large", nullptr);
    ::_exit(127);
  }
  // The exit status, or -1 when a signal ended it.
  static int wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static uint64_t longest_partial() {
    uint64_t longest = 0;
    std::error_code gone;  // renamed or removed meanwhile
    for (fs::directory_iterator entry(cache() / "models--org--large/blobs", gone), end; !gone && entry != end;
         entry.increment(gone)) {
      std::error_code ignored;
      const uintmax_t size = fs::file_size(entry->path(), ignored);
      if (!ignored) longest = std::max<uint64_t>(longest, size);
    }
    return longest;
  }
  static void expect_downloaded() {
    size_t blobs = 0;
    EXPECT_EQ(blobs = expect_right_blobs(cache()), 2u);
    EXPECT_TRUE(unfinished(cache()).empty());
    const std::string snapshot = cached_snapshot("org/large", {.cache_dir = cache().string()});
    EXPECT_EQ(slurp(fs::path(snapshot) / "model.safetensors"), noise(kLarge, 1));
  }

  static constexpr size_t kLarge = size_t(6) << 20, kChunk = size_t(1) << 20;
  static inline fs::path root;
  static inline HubServer* server;
};

TEST_F(HubProcesses, EightFetchOnce) {
  bandwidth(20'000'000);
  std::vector<pid_t> pids;
  for (int i = 0; i < 8; i++) pids.push_back(start());
  for (pid_t pid : pids) EXPECT_EQ(wait(pid), 0) << slurp(root / "output");
  EXPECT_EQ(server->requests("store").size(), 1u);
  expect_downloaded();
}

TEST_F(HubProcesses, EightUnderLocksThatLie) {
  bandwidth(20'000'000);
  std::vector<pid_t> pids;
  for (int i = 0; i < 8; i++)
    pids.push_back(start({{"LD_PRELOAD", CARACAL_LYING_FLOCK}, {"ASAN_OPTIONS", "verify_asan_link_order=0"}}));
  for (pid_t pid : pids) EXPECT_EQ(wait(pid), 0) << slurp(root / "output");
  EXPECT_GT(server->requests("store").size(), 1u);  // the locks did lie
  expect_downloaded();
}

TEST_F(HubProcesses, KilledAnywhereNothingIsWrongAndLittleIsSentAgain) {
  bandwidth(30'000'000);
  std::mt19937 random(1);
  int killed = 0, finished = 0;
  uint64_t most_again = 0, last_end = 0;
  size_t seen = 0;
  while (killed < 50) {
    // By what has arrived, not by time: the machine may be busy.
    const uint64_t before = longest_partial(), bytes = std::min<uint64_t>(before + random() % kChunk, kLarge);
    const pid_t pid = start();
    for (int i = 0; i < 5000 && longest_partial() < bytes; i++)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    if (before < kLarge) ::kill(pid, SIGKILL);  // else the bytes are there, and only the link is missing
    const bool whole = wait(pid) == 0;
    (whole ? finished : killed)++;
    expect_right_blobs(cache());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the server notices
    for (const auto entries = server->requests("store"); seen < entries.size(); seen++) {
      const auto& entry = entries[seen];
      const uint64_t begin = entry.range.empty() ? 0 : std::stoull(entry.range.substr(6));
      EXPECT_LE(begin, last_end);
      most_again = std::max(most_again, last_end - begin);
      last_end = begin + uint64_t(entry.sent);
    }
    const std::string snapshot = cached_snapshot("org/large", {.cache_dir = cache().string()});
    if (snapshot.empty() || !fs::exists(fs::path(snapshot) / "model.safetensors")) continue;
    EXPECT_EQ(slurp(fs::path(snapshot) / "model.safetensors"), noise(kLarge, 1));
    fs::remove_all(root / "home");  // once more from the start
    last_end = 0;
  }
  bandwidth(0);
  EXPECT_EQ(wait(start()), 0) << slurp(root / "output");
  expect_downloaded();
  EXPECT_LE(most_again, kChunk);
  EXPECT_GT(seen, 25u);  // most were killed within the file
  RecordProperty("most_bytes_sent_again", std::to_string(most_again));
  RecordProperty("finished", finished);
}

TEST_F(HubProcesses, AFullDiskLeavesNothing) {
  EXPECT_EQ(wait(start({}, kChunk)), 1);
  EXPECT_NE(slurp(root / "output").find("File too large"), std::string::npos) << slurp(root / "output");
  EXPECT_LE(expect_right_blobs(cache()), 1u);  // config.json, if it was quicker
  EXPECT_TRUE(unfinished(cache()).empty());
  EXPECT_EQ(wait(start()), 0) << slurp(root / "output");
  expect_downloaded();
}

TEST_F(HubProcesses, OfflineAsksNobody) {
  EXPECT_EQ(wait(start({{"HF_HUB_OFFLINE", "1"}})), 1);
  EXPECT_EQ(wait(start()), 0);
  EXPECT_EQ(slurp(root / "output"),
            cached_snapshot("org/large", {.cache_dir = cache().string()}) + "\n");  // and no bar
  server->reset();
  EXPECT_EQ(wait(start({{"HF_HUB_OFFLINE", "1"}})), 0);
  EXPECT_TRUE(server->log().empty());
}

}  // namespace
}  // namespace caracal
