// A shared object that has caracal::hub linked into it, as a plug-in of a host would. For hub_plugin_test.
#include <chrono>

#include <caracal/loaders/hub.h>

// Downloads from `endpoint` into `cache`, and gives up after 0.2 s. 0 when the download did not work, as it should not.
extern "C" __attribute__((visibility("default"))) int plugin_download(const char* endpoint, const char* cache) {
  using namespace caracal;
  using Clock = std::chrono::steady_clock;
  const auto enough = Clock::now() + std::chrono::milliseconds(200);
  try {
    DownloadOptions options{.endpoint = endpoint, .http = {.attempts = 1}, .progress = [&](const DownloadProgress&) {
                              if (Clock::now() > enough) throw Error(ErrorCode::io, "caller", "enough");
                            }};
    download_snapshot({.name = "org/text", .options = {.cache_dir = cache}}, options);
    return 1;
  } catch (const Error&) {
    return 0;
  }
}
