// Locks and partial files: who holds them when, and what becomes of them.
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include <caracal/tests/loaders/hub_testing.h>

namespace caracal {
namespace {

class HubBlobs : public WithHub<HubBlobs> {
 public:
  static void write_repositories(const fs::path& repositories) {
    spill(repositories / "org/large/main/config.json", "{}");
    spill(repositories / "org/large/main/model.safetensors", noise(kLarge, 1));
  }

 protected:
  void SetUp() override {
    server->reset();
    fs::remove_all(cache());
    fs::create_directories(cache());
  }

  static fs::path lock() { return cache() / "lock"; }
  static fs::path download(const std::function<void(const DownloadProgress&)>& progress = {}) {
    DownloadOptions options = quick(*server);
    options.parallel = 1;
    options.progress = progress;
    return download_snapshot({.name = "org/large", .options = {.cache_dir = cache().string()}}, options);
  }
  // Whether another open file would get the lock at once.
  static bool is_free(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    const bool free = fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) == 0;
    ::close(fd);
    return free;
  }
  static mode_t mode_of(const fs::path& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
  }
  // A blob's name for bytes that are a large file.
  static std::string name_of(const std::string& bytes) {
    hub::BlobHash hash(std::string(64, '0'), bytes.size());
    hash.update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    return hash.finish();
  }
  static fs::path leftover(const char* suffix) {
    return cache() / "models--org--large/blobs" / (name_of(noise(kLarge, 1)) + ".caracal-" + suffix + ".incomplete");
  }

  static constexpr size_t kLarge = size_t(3) << 20;
};

// A process that sleeps, with all files that its parent has open.
class Fork {
 public:
  Fork() : pid_(::fork()) {
    if (pid_ == 0) {
      ::sleep(20);
      ::_exit(0);
    }
  }
  ~Fork() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Fork(const Fork&) = delete;
  Fork& operator=(const Fork&) = delete;

 private:
  pid_t pid_;
};

TEST_F(HubBlobs, AForkedProcessDoesNotKeepALock) {
  auto held = std::make_unique<hub::FileLock>(lock());
  const Fork child;
  EXPECT_FALSE(is_free(lock()));
  held.reset();
  EXPECT_TRUE(is_free(lock()));
}

TEST_F(HubBlobs, AForkedProcessDoesNotGiveALockUp) {
  auto held = std::make_unique<hub::FileLock>(lock());
  const pid_t child = ::fork();
  if (child == 0) {
    held.reset();
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_free(lock()));
}

// Nor does it take away a file on which its parent works, if it unwinds the same download.
TEST_F(HubBlobs, AForkedProcessThatStopsDisturbsNothing) {
  pid_t child = -1;
  auto progress = [&](const DownloadProgress& now) {
    if (child >= 0 || now.file_total < kLarge || now.file_done > 0) return;
    ASSERT_EQ(unfinished(cache()).size(), 1u);
    child = ::fork();
    if (child == 0) throw std::runtime_error("enough");
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    ASSERT_EQ(unfinished(cache()).size(), 1u);
    EXPECT_FALSE(is_free(unfinished(cache())[0]));
    EXPECT_FALSE(is_free(cache() / ".locks/models--org--large" / (name_of(noise(kLarge, 1)) + ".lock")));
  };
  try {
    download(progress);
  } catch (const std::runtime_error&) {
    if (child == 0) ::_exit(0);
    throw;
  }
  EXPECT_GT(child, 0);
}

TEST_F(HubBlobs, AProcessForkedInADownloadKeepsNothingLocked) {
  std::unique_ptr<Fork> child;
  // Stopped half way: what is left behind is of use to the next.
  auto stop = [&](const DownloadProgress& progress) {
    if (progress.done < kLarge / 2) return;
    child = std::make_unique<Fork>();
    throw std::runtime_error("enough");
  };
  EXPECT_THROW(download(stop), std::runtime_error);
  ASSERT_EQ(unfinished(cache()).size(), 1u);
  const size_t size = fs::file_size(unfinished(cache())[0]);
  ASSERT_GE(size, kLarge / 2);
  download();
  EXPECT_EQ(server->requests("store").back().range, "bytes=" + std::to_string(size) + "-");
  // And to the end.
  fs::remove_all(cache());
  child.reset();
  const fs::path snapshot = download([&](const DownloadProgress& progress) {
    if (progress.done >= kLarge / 2 && child == nullptr) child = std::make_unique<Fork>();
  });
  ASSERT_NE(child, nullptr);
  EXPECT_TRUE(is_free(fs::canonical(snapshot / "model.safetensors")));
  EXPECT_TRUE(is_free(cache() / ".locks/models--org--large" / (name_of(noise(kLarge, 1)) + ".lock")));
}

TEST_F(HubBlobs, ALockThatIsRemovedWhileOthersWaitHasASuccessor) {
  auto first = std::make_unique<hub::FileLock>(lock());
  int calls = 0;
  const hub::FileLock second(lock(), [&] {
    if (calls++ > 0) return;
    fs::remove(lock());
    first.reset();
  });
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(fs::exists(lock()));  // what nobody can find locks nobody out
  EXPECT_FALSE(is_free(lock()));
}

TEST_F(HubBlobs, AGroupMayShareALock) {
  const mode_t before = ::umask(022);
  { const hub::FileLock made(lock()); }
  EXPECT_EQ(mode_of(lock()), 0664u);
  ::chmod(lock().c_str(), 0600);
  { const hub::FileLock found(lock()); }
  EXPECT_EQ(mode_of(lock()), 0600u);  // whoever made it knows why
  ::umask(before);
  fs::create_symlink("nowhere", cache() / "link");
  EXPECT_THROW(hub::FileLock(cache() / "link"), Error);
  EXPECT_THROW(hub::FileLock(cache() / "nowhere/lock"), Error);
}

TEST_F(HubBlobs, WhatHasArrivedStaysForTheNext) {
  server->faults({Json{{"match", "store GET"}, {"do", "drop"}, {"bytes", 1'000'000}, {"times", 1}},
                  Json{{"match", "store GET"}, {"do", "status"}, {"code", 500}}});
  EXPECT_THROW(download(), Error);
  EXPECT_EQ(server->requests("store").size(), 6u);  // five without a new byte
  ASSERT_EQ(unfinished(cache()).size(), 1u);
  EXPECT_EQ(slurp(unfinished(cache())[0]), noise(kLarge, 1).substr(0, 1'000'000));
  server->reset();
  EXPECT_EQ(slurp(download() / "model.safetensors"), noise(kLarge, 1));
  ASSERT_EQ(server->requests("store").size(), 1u);
  EXPECT_EQ(server->requests("store")[0].range, "bytes=1000000-");
  EXPECT_EQ(server->requests("store")[0].if_range, "");  // whoever knew the ETag is dead; the hash tells
}

TEST_F(HubBlobs, TheLongestLeftoverIsUsedAndNoneStays) {
  spill(leftover("00000000"), noise(kLarge, 1).substr(0, 1000));
  spill(leftover("00000001"), noise(kLarge, 1).substr(0, 2'000'000));
  spill(leftover("00000002"), noise(kLarge, 1).substr(0, 70'000));
  spill(leftover("00000003"), noise(kLarge + 1, 1));  // too long to be a beginning
  const fs::path snapshot = download();
  ASSERT_EQ(server->requests("store").size(), 1u);
  EXPECT_EQ(server->requests("store")[0].range, "bytes=2000000-");
  EXPECT_EQ(slurp(snapshot / "model.safetensors"), noise(kLarge, 1));
  EXPECT_TRUE(unfinished(cache()).empty());
}

// As another process does where locks lie: what is whole is not fetched again.
TEST_F(HubBlobs, AFileThatLostItsNameIsCopied) {
  int taken = 0;
  const fs::path snapshot = download([&](const DownloadProgress& progress) {
    for (const fs::path& path :
         progress.file_done > kLarge / 2 && taken < 3 ? unfinished(cache()) : std::vector<fs::path>())
      taken += fs::remove(path);
  });
  EXPECT_EQ(taken, 3);
  EXPECT_EQ(slurp(snapshot / "model.safetensors"), noise(kLarge, 1));
  EXPECT_EQ(expect_right_blobs(cache()), 2u);
  EXPECT_TRUE(unfinished(cache()).empty());
  ASSERT_EQ(server->requests("store").size(), 1u);
  EXPECT_EQ(server->requests("store")[0].sent, int64_t(kLarge));
}

}  // namespace
}  // namespace caracal
