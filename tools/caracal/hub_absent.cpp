#include "common.h"

namespace caracal::cli {
namespace {

void add_absent(CLI::App& app, const char* name, const char* what) {
  CLI::App* sub = app.add_subcommand(name, what);
  sub->allow_extras();
  sub->callback([name] {
    throw Error(ErrorCode::not_built, name,
                "expected caracal::hub but caracal was built without it (libcurl, OpenSSL)");
  });
}

}  // namespace

void enable_hub() {}
void add_download(CLI::App& app) { add_absent(app, "download", "Get a repository of the hub (not built)"); }
void add_cache(CLI::App& app, int&) { add_absent(app, "cache", "Manage the hub's cache (not built)"); }

}  // namespace caracal::cli
