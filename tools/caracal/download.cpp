// download: a repository of the hub into the cache.
#include "common.h"
#include "hub.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  HubRequest request;
};

void download(Options& o) {
  HubRequest& request = o.request;
  check_hub_name(request.name);
  request.only_more = !request.more.empty();
  print_line(download_snapshot(request, download_options()));
}

}  // namespace

void add_download(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "download", "Get a repository of the hub, or files of it, into the cache, and print the folder of its snapshot");
  o->common.add_to(*sub);
  sub->add_option("NAME", o->request.name, "owner/name on the hub")->required();
  sub->add_option("FILE", o->request.more, "these files alone; default: all that caracal can read");
  sub->add_option("--revision", o->request.options.revision, "branch, tag or commit; default: main");
  sub->add_option("--subfolder", o->request.options.subfolder, "of the repository");
  sub->add_option("--variant", o->request.options.variant, "of the weights: fp16 for model.fp16.safetensors");
  sub->add_option("--cache-dir", o->request.options.cache_dir, "default: $HF_HUB_CACHE, $HF_HOME/hub, …");
  sub->add_option("--token", o->request.options.token, "default: $HF_TOKEN, or the file $HF_HOME/token");
  sub->add_flag("--force", o->request.options.force_download, "download anew what the cache has");
  sub->add_flag("--local", o->request.options.local_files_only, "look in the cache alone");
  sub->callback([o] { download(*o); });
}

}  // namespace caracal::cli
