// A download in which the N-th call into the kernel fails, for every N until none is hit: an Error or success, never a
// wrong file in the cache, and the next download makes all well.
#include <algorithm>

#include <caracal/tests/failing_calls.h>
#include <caracal/tests/loaders/hub_testing.h>

#ifndef CARACAL_SANITIZED

// libcurl opens so many more sessions for this thread; -1: any number.
static thread_local int sessions_left = -1;
extern "C" void* curl_multi_init() {
  static const auto real = reinterpret_cast<void* (*)()>(dlsym(RTLD_NEXT, "curl_multi_init"));
  if (sessions_left == 0) return nullptr;
  sessions_left -= sessions_left > 0;
  return real();
}

namespace caracal {
namespace {

TEST(HubFaults, EveryCallOfADownload) {
  // In memory where there is some, as every download waits for the disk.
  const fs::path place = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path(),
                 root = place / ("caracal_hub_faults_" + std::to_string(getpid()));
  clean_environment(root / "home");
  constexpr size_t kLarge = 600'000;
  spill(root / "repositories/org/large/main/config.json", "{}");
  spill(root / "repositories/org/large/main/model.safetensors", noise(kLarge, 1));
  HubServer server(root / "repositories");
  const fs::path cache = root / "cache";
  const HubRequest request{.name = "org/large", .options = {.cache_dir = cache.string()}};
  DownloadOptions options = quick(server);
  options.parallel = 1;
  auto whole = [&](const fs::path& snapshot) {
    return slurp(snapshot / "model.safetensors") == noise(kLarge, 1) && slurp(snapshot / "config.json") == "{}";
  };
  auto descriptors = [] { return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()); };
  download_snapshot(request, options);
  const auto open = descriptors();
  // From nothing, and from what a download that died left behind.
  for (const auto& [resumed, error] : {std::pair{false, ENOSPC}, {true, ENOSPC}, {true, EIO}}) {
    int faults = 0, errors = 0;
    for (bool hit = true; hit; faults++) {
      SCOPED_TRACE(std::to_string(faults) + ", errno " + std::to_string(error));
      fs::remove_all(cache);
      server.reset();
      if (resumed)
        spill(cache / "models--org--large/blobs" /
                  (hub::hash_of_file(File::open(root / "repositories/org/large/main/model.safetensors").descriptor(),
                                     std::string(64, '0'), kLarge, "") +
                   ".caracal-00000000.incomplete"),
              noise(kLarge, 1).substr(0, kLarge / 2));
      std::string snapshot;
      {
        FailedCall fault(faults, error);
        try {
          snapshot = download_snapshot(request, options);
        } catch (const Error& thrown) {
          EXPECT_TRUE(thrown.code() == ErrorCode::io || thrown.code() == ErrorCode::not_found) << thrown.what();
        }
        hit = fault.hit();
      }
      if (snapshot.empty()) {
        EXPECT_TRUE(hit);
        errors++;
      } else {
        EXPECT_TRUE(whole(snapshot));
      }
      SCOPED_TRACE(FailedCall::name());
      expect_right_blobs(cache);
      EXPECT_EQ(descriptors(), open);
      if (snapshot.empty()) {
        EXPECT_TRUE(whole(download_snapshot(request, options)));
        expect_right_blobs(cache);
      }
      EXPECT_LE(unfinished(cache).size(), resumed ? 1u : 0u);  // what was left behind, where it could not be listed
      ASSERT_FALSE(testing::Test::HasFailure());
      ASSERT_LT(faults, 1000);
    }
    EXPECT_GT(faults, 20);
    EXPECT_GT(errors, 5);
    RecordProperty("faults", faults);
  }
  fs::remove_all(root);
}

TEST(HubFaults, AThreadWithoutASessionLeavesItsWorkToOthers) {
  const fs::path root = fs::temp_directory_path() / ("caracal_hub_sessions_" + std::to_string(getpid()));
  clean_environment(root / "home");
  write_text_repository(root / "repositories/org/text/main");
  HubServer server(root / "repositories");
  const HubRequest request{
      .name = "org/text", .part = HubPart::tokenizer, .options = {.cache_dir = (root / "cache").string()}};
  DownloadOptions options = quick(server);
  for (int parallel : {1, 2}) {
    options.parallel = parallel;
    fs::remove_all(root / "cache");
    sessions_left = 1;  // to ask what there is, and none to fetch it
    if (parallel == 1)
      EXPECT_THROW(download_snapshot(request, options), Error);
    else
      EXPECT_EQ(slurp(fs::path(download_snapshot(request, options)) / "vocab.txt"),
                slurp(root / "repositories/org/text/main/vocab.txt"));
    sessions_left = -1;
  }
  fs::remove_all(root);
}

}  // namespace
}  // namespace caracal

#else
TEST(HubFaults, SanitizersHaveTheirOwnCalls) { GTEST_SKIP(); }
#endif
