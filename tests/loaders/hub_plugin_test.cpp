// A plug-in with caracal::hub inside that is unloaded while a name is looked up for it: libcurl's thread for that comes
// back to libcurl. This program has neither of them linked into it.
#include <dlfcn.h>
#include <netdb.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <caracal/tests/sanitized.h>

#ifndef CARACAL_SANITIZED

static std::atomic<int> begun{0}, ended{0};
static std::atomic<bool> answer{false};
// The resolver, as libcurl calls it: of "slow.test" it says that it does not know, once it is allowed to.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  if (node == nullptr || std::string(node) != "slow.test") return real(node, service, hints, result);
  begun++;
  while (!answer) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ended++;
  return EAI_AGAIN;
}

TEST(HubPlugin, ComesAndGoes) {
  const std::string cache = testing::TempDir() + "caracal_hub_plugin_" + std::to_string(getpid());
  setenv("no_proxy", "*", 1);
  auto libcurl = [] { return ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_NOLOAD); };
  auto download = [&](const char* endpoint) {
    void* plugin = ::dlopen(CARACAL_HUB_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(plugin, nullptr) << ::dlerror();
    auto run = reinterpret_cast<int (*)(const char*, const char*)>(::dlsym(plugin, "plugin_download"));
    ASSERT_NE(run, nullptr);
    EXPECT_EQ(run(endpoint, cache.c_str()), 0);
    ASSERT_EQ(::dlclose(plugin), 0);
    EXPECT_EQ(::dlopen(CARACAL_HUB_PLUGIN, RTLD_NOW | RTLD_NOLOAD), nullptr) << "it is still there";
  };
  ASSERT_EQ(libcurl(), nullptr);
  download("http://127.0.0.1:1");
  EXPECT_EQ(libcurl(), nullptr);
  download("http://slow.test");
  EXPECT_EQ(begun - ended, 1);
  EXPECT_NE(libcurl(), nullptr);
  answer = true;
  while (ended < begun) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the thread ends, in code that is there
}

#else
TEST(HubPlugin, SanitizersHaveTheirOwnResolver) { GTEST_SKIP(); }
#endif
