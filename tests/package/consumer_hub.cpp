// A user's program that downloads, from a place where nobody listens.
#include <cstdio>

#include <caracal/caracal.h>
#include <caracal/loaders/hub.h>

int main() {
  caracal::enable_downloads({.endpoint = "http://127.0.0.1:9", .http = {.attempts = 1}});
  try {
    caracal::AutoTokenizer::from_pretrained("org/name", {{"cache_dir", "/nowhere"}});
  } catch (const caracal::Error& error) {
    std::printf("%s\n", error.what());
    return error.code() == caracal::ErrorCode::io ? 0 : 1;
  }
  return 1;
}
