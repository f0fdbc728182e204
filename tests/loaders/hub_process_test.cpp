// Processes that download at once, die in the middle, or run out of disk: `caracal download` against the loopback hub.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include <caracal/tests/loaders/hub_testing.h>

namespace caracal {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;

class HubProcesses : public WithHub<HubProcesses> {
 public:
  static void write_repositories(const fs::path& repositories) {
    spill(repositories / "org/large/main/config.json", "{}");
    spill(repositories / "org/large/main/model.safetensors", noise(kLarge, 1));
  }

 protected:
  void SetUp() override {
    server->reset();
    fs::remove_all(root / "home");
  }

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
  static uint64_t longest_blob(std::string_view suffix = {}) {
    uint64_t longest = 0;
    std::error_code gone;  // renamed or removed meanwhile
    for (fs::directory_iterator entry(cache() / "models--org--large/blobs", gone), end; !gone && entry != end;
         entry.increment(gone)) {
      std::error_code ignored;
      const uintmax_t size = fs::file_size(entry->path(), ignored);
      if (!ignored && entry->path().string().ends_with(suffix)) longest = std::max<uint64_t>(longest, size);
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
  bandwidth(3'000'000);  // so that the first has not ended when the last begins
  std::vector<pid_t> pids;
  const fs::path list = root / "home/writers";
  fs::create_directories(list.parent_path());
  for (size_t i = 1; i <= 8; i++) {
    pids.push_back(start({{"LD_PRELOAD", CARACAL_LYING_FLOCK},
                          {"CARACAL_WRITERS", list},
                          {"ASAN_OPTIONS", "verify_asan_link_order=0"}}));
    // The next finds what the others have, and takes it for a dead one's.
    for (int wait = 0; wait < 1000 && longest_blob(".incomplete") < i * kLarge / 16; wait++)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (pid_t pid : pids) EXPECT_EQ(wait(pid), 0) << slurp(root / "output");
  const auto requests = server->requests("store");
  EXPECT_GT(requests.size(), 1u);           // the locks did lie
  EXPECT_LE(requests.size(), pids.size());  // who loses a file copies what it had
  EXPECT_TRUE(std::any_of(requests.begin(), requests.end(), [](const auto& entry) { return !entry.range.empty(); }));
  expect_downloaded();
  // No two ever write into one.
  std::map<std::string, std::set<int>> writers;
  std::istringstream lines(slurp(list));
  std::string path;
  for (int pid = 0; lines >> pid >> path;) writers[path].insert(pid);
  EXPECT_GT(writers.size(), pids.size());
  for (const auto& [file, processes] : writers) EXPECT_EQ(processes.size(), 1u) << file;
}

TEST_F(HubProcesses, KilledAnywhereNothingIsWrongAndWhatHasArrivedIsNotSentAgain) {
  bandwidth(30'000'000);
  std::mt19937 random(1);
  int killed = 0, resumed = 0;
  int64_t most_again = 0, sent = 0;
  std::vector<uint64_t> left{0, 0};  // behind, before the run that is looked at and the one before it
  size_t seen = 0;
  while (killed < 50) {
    // By what has arrived, not by time: the machine may be busy.
    const uint64_t before = longest_blob(), bytes = std::min<uint64_t>(before + random() % kChunk, kLarge);
    const pid_t pid = start();
    for (int i = 0; i < 5000 && longest_blob() < bytes; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    if (before < kLarge) ::kill(pid, SIGKILL);  // else the bytes are there, and only the link is missing
    killed += wait(pid) != 0;
    expect_right_blobs(cache());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the server notices
    for (const auto entries = server->requests("store"); seen < entries.size(); seen++) {
      const auto& entry = entries[seen];
      const uint64_t begin = entry.range.empty() ? 0 : std::stoull(entry.range.substr(6));
      // It goes on where the file ends. (A busy server may have noted the request of the run before only now.)
      EXPECT_TRUE(begin == left.back() || begin == left[left.size() - 2]) << begin << " " << left.back();
      resumed += begin > 0;
      if (begin > 0) most_again = std::max(most_again, sent - int64_t(begin));
      sent = int64_t(begin) + entry.sent;
    }
    left.push_back(longest_blob(".incomplete"));
    const std::string snapshot = cached_snapshot("org/large", {.cache_dir = cache().string()});
    if (snapshot.empty() || !fs::exists(fs::path(snapshot) / "model.safetensors")) continue;
    EXPECT_EQ(slurp(fs::path(snapshot) / "model.safetensors"), noise(kLarge, 1));
    fs::remove_all(root / "home");  // once more from the start
    left = {0, 0};
  }
  bandwidth(0);
  EXPECT_EQ(wait(start()), 0) << slurp(root / "output");
  expect_downloaded();
  EXPECT_GT(resumed, 20);
  // What was under way: in the sockets' buffers and libcurl's.
  EXPECT_LE(most_again, int64_t(kChunk));
  std::printf("resumed %d times; at most %lld bytes sent again\n", resumed, static_cast<long long>(most_again));
}

TEST_F(HubProcesses, AFullDiskLeavesNothing) {
  EXPECT_EQ(wait(start({}, kChunk)), 1);
  EXPECT_NE(slurp(root / "output").find("File too large"), std::string::npos) << slurp(root / "output");
  EXPECT_LE(expect_right_blobs(cache()), 1u);  // config.json, if it was quicker
  EXPECT_TRUE(unfinished(cache()).empty());
  EXPECT_EQ(wait(start()), 0) << slurp(root / "output");
  expect_downloaded();
}

// A disk of 8 MiB for the file of 6 MiB and what a dead download left behind of it.
TEST_F(HubProcesses, AFullDiskKeepsWhatWasThere) {
  const fs::path disk = root / "home";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=8m") != 0) GTEST_SKIP() << "needs to mount a disk of its own";
  const std::unique_ptr<const fs::path, void (*)(const fs::path*)> mounted(
      &disk, [](const fs::path* path) { ::umount2(path->c_str(), MNT_DETACH); });
  const std::string bytes = noise(kLarge, 1);
  hub::BlobHash hash(std::string(64, '0'), kLarge);
  hash.update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  const fs::path left = cache() / "models--org--large/blobs" / (hash.finish() + ".caracal-00000000.incomplete");
  auto left_size = [&] { return longest_blob(".incomplete"); };

  // No room for the first piece of a copy.
  spill(left, bytes.substr(0, 4 * kChunk));
  spill(disk / "other", std::string(7 * kChunk / 2, 'x'));
  EXPECT_EQ(wait(start()), 1);
  EXPECT_NE(slurp(root / "output").find("No space left on device"), std::string::npos) << slurp(root / "output");
  EXPECT_EQ(unfinished(cache()), std::vector<fs::path>{left});
  EXPECT_EQ(slurp(left), bytes.substr(0, 4 * kChunk));
  EXPECT_TRUE(server->requests("store").empty());

  // For a copy, as the leftover makes way, but not for the rest of the file.
  spill(disk / "other", std::string(5 * kChunk / 2, 'x'));
  EXPECT_EQ(wait(start()), 1);
  EXPECT_NE(slurp(root / "output").find("No space left on device"), std::string::npos) << slurp(root / "output");
  EXPECT_EQ(server->requests("store").size(), 1u);
  EXPECT_EQ(unfinished(cache()).size(), 1u);
  EXPECT_EQ(left_size(), 4 * kChunk);

  // For all of it, though not for two copies at once.
  fs::remove(disk / "other");
  server->reset();
  EXPECT_EQ(wait(start()), 0) << slurp(root / "output");
  ASSERT_EQ(server->requests("store").size(), 1u);
  EXPECT_EQ(server->requests("store")[0].range, "bytes=" + std::to_string(4 * kChunk) + "-");
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
