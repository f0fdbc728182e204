// What HttpSession makes of statuses, headers, waits and names, and what its errors show.
#include <dlfcn.h>
#include <netdb.h>

#include <atomic>
#include <chrono>
#include <thread>

#include <caracal/tests/loaders/hub_testing.h>
#include <caracal/tests/sanitized.h>

#ifndef CARACAL_SANITIZED
// The resolver, as libcurl calls it: of "slow.test" it says that it does not know, once it is allowed to.
static std::atomic<int> lookups{0};
static std::atomic<bool> answer{false};
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  if (node == nullptr || std::string(node) != "slow.test") return real(node, service, hints, result);
  lookups++;
  while (!answer) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  lookups--;
  return EAI_AGAIN;
}
#endif

namespace caracal {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class HubHttp : public WithHub<HubHttp> {
 public:
  static void write_repositories(const fs::path& repositories) {
    spill(repositories / "org/text/main/vocab.txt", "[PAD]\n");
    spill(repositories / "org/gated/main/vocab.txt", "[PAD]\n");
    spill(repositories / "org/large/main/model.safetensors", noise(kLarge, 1));
  }

 protected:
  static HubRequest request(const std::string& name, const std::string& token = {}) {
    return {.name = name, .options = {.cache_dir = cache().string(), .token = token}};
  }
  // The code and text of the error, or nothing.
  template <class F>
  static std::pair<std::optional<ErrorCode>, std::string> error_of(F f) {
    try {
      f();
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    return {};
  }

  static constexpr size_t kLarge = 300'000;
};

TEST_F(HubHttp, ARenamedRepositoryIsFollowed) {
  const fs::path snapshot = download(request("old", "secret"));
  EXPECT_EQ(slurp(snapshot / "vocab.txt"), "[PAD]\n");
  EXPECT_EQ(snapshot.parent_path().parent_path().filename(), "models--old");
  size_t moved = 0;
  for (const auto& entry : server->log()) {
    EXPECT_EQ(entry.token, "Bearer secret") << entry.path;  // the same hub
    moved += entry.status == 307;
  }
  EXPECT_EQ(moved, 3u);  // the commit, the list, the file
}

TEST_F(HubHttp, AGatedRepositoryNeedsATokenThatMay) {
  const auto [code, text] = error_of([] { download(request("org/gated")); });
  EXPECT_EQ(code, ErrorCode::io);
  EXPECT_EQ(text, "[" + server->hub + "/api/models/org/gated/revision/main] " +
                      "expected status 200 but got 403: Access to model is restricted");
  EXPECT_EQ(server->log().size(), 1u);  // asking again would not help
  EXPECT_EQ(slurp(fs::path(download(request("org/gated", "secret"))) / "vocab.txt"), "[PAD]\n");
}

TEST_F(HubHttp, ATimeOutOfTheServerIsAskedAgain) {
  server->faults({Json{{"match", "store GET"}, {"do", "status"}, {"code", 408}, {"times", 2}}});
  EXPECT_EQ(slurp(fs::path(download(request("org/large"))) / "model.safetensors"), noise(kLarge, 1));
  EXPECT_EQ(server->requests("store").size(), 3u);
}

TEST_F(HubHttp, AServerWithoutTheRestIsAskedForAll) {
  const std::string bytes = noise(kLarge, 1);
  hub::BlobHash hash(std::string(64, '0'), kLarge);
  hash.update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  spill(cache() / "models--org--large/blobs" / (hash.finish() + ".caracal-00000000.incomplete"), bytes.substr(0, 1000));
  server->faults({Json{{"match", "store GET"}, {"do", "status"}, {"code", 416}, {"times", 1}}});
  EXPECT_EQ(slurp(fs::path(download(request("org/large"))) / "model.safetensors"), bytes);
  const auto found = server->requests("store");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].range, "bytes=1000-");
  EXPECT_EQ(found[1].range, "");
  // Nothing was asked for but the whole.
  fs::remove_all(cache());
  server->faults({Json{{"match", "store GET"}, {"do", "status"}, {"code", 416}}});
  const auto [code, text] = error_of([] { download(request("org/large")); });
  EXPECT_EQ(code, ErrorCode::bad_file);
  EXPECT_NE(text.find("expected status 200 but got 416"), text.npos) << text;
  EXPECT_EQ(server->requests("store").size(), 3u);
}

TEST_F(HubHttp, HeadersHaveAnEnd) {
  server->faults({Json{{"match", "hub GET /api"}, {"do", "headers"}, {"count", 60}, {"times", 1}},
                  Json{{"match", "hub GET /api"}, {"do", "headers"}, {"count", 70}}});
  hub::HttpSession session(quick(*server).http);
  EXPECT_EQ(session.get_text({.url = server->hub + "/api"}, 100), "no");
  const auto [code, text] = error_of([&] { session.get_text({.url = server->hub + "/api"}, 100); });
  EXPECT_EQ(code, ErrorCode::io);
  EXPECT_EQ(text, "[" + server->hub + "/api] expected at most 65536 bytes of headers but got more");
  EXPECT_EQ(server->log().size(), 2u);
}

TEST_F(HubHttp, WaitsGrowUpToALongest) {
  int calls = 0;
  const hub::HttpSession session({.attempts = 9, .first_wait = 0.1, .longest_wait = 0.4}, [&] { calls++; });
  const hub::TransientError error("hub", "expected an answer but got none");
  auto waited = [&](const hub::TransientError& failed, int failures) {
    const auto begin = Clock::now();
    session.wait_or_throw(failed, failures);
    return Clock::now() - begin;
  };
  // Each is drawn from the upper half of 0.1 s, 0.2 s, 0.4 s and from there on 0.4 s.
  EXPECT_GE(waited(error, 1), milliseconds(50));
  EXPECT_GE(waited(error, 2), milliseconds(100));
  EXPECT_GE(waited(error, 3), milliseconds(200));
  const auto last = waited(error, 8);
  EXPECT_GE(last, milliseconds(200));
  EXPECT_LT(last, milliseconds(2000));  // without an end it would be 6.4 s at least
  EXPECT_GE(calls, 6);
  EXPECT_GE(waited({"hub", "busy", 0.7}, 1), milliseconds(700));  // what the server asks for, where that is more
  EXPECT_THROW(session.wait_or_throw(error, 9), hub::TransientError);
  EXPECT_THROW(session.wait_or_throw({"hub", "busy", 301}, 1), hub::TransientError);
}

TEST_F(HubHttp, ErrorsShowNoSecrets) {
  EXPECT_EQ(hub::url_shown("https://me:pass@host:1/a@b?signature=abc"), "https://host:1/a@b");
  EXPECT_EQ(hub::url_shown("me:pass@host/a"), "host/a");
  EXPECT_EQ(hub::url_shown("http://a@b@host"), "http://host");
  EXPECT_EQ(hub::url_shown("http://host?a@b"), "http://host");
  EXPECT_EQ(hub::url_shown(""), "");
  EXPECT_EQ(hub::url_shown("http://me:pass@" + std::string(500, 'a')), "http://" + std::string(193, 'a'));
  const std::string host = server->hub.substr(7);
  hub::HttpSession session({.attempts = 1, .timeout = 1});
  server->faults({Json{{"match", "broken"}, {"do", "status"}, {"code", 400}}, Json{{"match", "loop"}, {"do", "loop"}},
                  Json{{"match", "headers"}, {"do", "headers"}, {"count", 70}}});
  const std::string urls[] = {"http://me:pass@" + host + "/broken?pass",
                              "http://me:pass@" + host + "/loop?pass",
                              "http://me:pass@" + host + "/headers",
                              "http://me:pass@" + host + "/_log",
                              "http://me:pass@127.0.0.1:1/refused",
                              "http://me:pass@",
                              "http://me:pass@[/a",
                              "ftp://me:pass@host/a"};
  for (const std::string& url : urls) {
    const auto [code, text] = error_of([&] { session.get_text({.url = url}, 1); });
    EXPECT_EQ(code, ErrorCode::io) << url;
    EXPECT_EQ(text.find("me:"), text.npos) << text;
    EXPECT_EQ(text.find("pass"), text.npos) << text;
  }
}

// Where the nameserver is dead. Neither the caller who stops nor the time-out waits for it.
TEST_F(HubHttp, ALookUpThatIsGivenUpIsNotWaitedFor) {
#ifdef CARACAL_SANITIZED
  GTEST_SKIP() << "sanitizers have their own resolver";
#else
  const auto begin = Clock::now();
  DownloadOptions options = quick(*server);
  options.endpoint = "http://slow.test";
  options.progress = [&](const DownloadProgress&) {
    if (Clock::now() - begin > milliseconds(300)) throw std::runtime_error("enough");
  };
  EXPECT_THROW(download_snapshot(request("org/text"), options), std::runtime_error);
  EXPECT_LT(Clock::now() - begin, milliseconds(1500));
  EXPECT_EQ(lookups, 1);
  const auto then = Clock::now();
  options.progress = {};
  options.http = {.attempts = 1, .timeout = 1};
  const auto [code, text] = error_of([&] { download_snapshot(request("org/text"), options); });
  EXPECT_EQ(code, ErrorCode::io) << text;
  EXPECT_LT(Clock::now() - then, milliseconds(2500));
  EXPECT_EQ(lookups, 2);
  answer = true;
  while (lookups > 0) std::this_thread::sleep_for(milliseconds(10));
  std::this_thread::sleep_for(milliseconds(100));  // its thread ends
#endif
}

}  // namespace
}  // namespace caracal
