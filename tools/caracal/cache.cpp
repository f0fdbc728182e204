// cache: what the hub's cache holds, taking out of it, and checking its bytes.
#include <cstdio>

#include <caracal/loaders/hub_scan.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string name, revision, cache_dir;
  bool json = false;
};

Json::Array to_json(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

void list(const Options& o) {
  Json::Array repositories;
  for (const CachedRepository& repository : scan_cache(o.cache_dir)) {
    Json::Array revisions;
    for (const CachedRevision& revision : repository.revisions)
      revisions.push_back(Json::Object{{"commit", revision.commit},
                                       {"refs", to_json(revision.refs)},
                                       {"bytes", int64_t(revision.bytes)},
                                       {"files", to_json(revision.files)}});
    repositories.push_back(Json::Object{{"name", repository.name},
                                        {"path", repository.path},
                                        {"bytes", int64_t(repository.bytes)},
                                        {"revisions", std::move(revisions)},
                                        {"incomplete", to_json(repository.incomplete)}});
  }
  if (o.json) return print_line(Json(std::move(repositories)).dump());
  for (const Json& repository : repositories) {
    std::printf("%s  %.1f MB\n", printable(repository.at("name").as_string()).c_str(),
                double(repository.at("bytes").as_int()) / 1e6);
    for (const Json& revision : repository.at("revisions").as_array()) {
      std::string refs;
      for (const Json& ref : revision.at("refs").as_array()) refs += " " + ref.as_string();
      std::printf("  %s  %zu files, %.1f MB%s\n", printable(revision.at("commit").as_string()).c_str(),
                  revision.at("files").as_array().size(), double(revision.at("bytes").as_int()) / 1e6,
                  printable(refs).c_str());
    }
    if (const size_t count = repository.at("incomplete").as_array().size(); count > 0)
      std::printf("  %zu unfinished downloads\n", count);
  }
}

void remove(const Options& o) {
  const uint64_t freed = remove_from_cache(o.name, o.revision, o.cache_dir);
  std::printf("%.1f MB freed\n", double(freed) / 1e6);
}

void verify(const Options& o, int& status) {
  const CacheReport report = verify_cache(o.name, o.cache_dir);
  if (o.json) {
    print_line(Json{{"blobs", int64_t(report.blobs)},
                    {"bytes", int64_t(report.bytes)},
                    {"problems", to_json(report.problems)},
                    {"notes", to_json(report.notes)}}
                   .dump());
  } else {
    for (const std::string& problem : report.problems) std::printf("problem: %s\n", printable(problem).c_str());
    for (const std::string& note : report.notes) std::printf("note: %s\n", printable(note).c_str());
    std::printf("%llu blobs, %.1f MB, %zu problems\n", static_cast<unsigned long long>(report.blobs),
                double(report.bytes) / 1e6, report.problems.size());
  }
  if (!report.problems.empty()) status = 1;
}

}  // namespace

void add_cache(CLI::App& app, int& status) {
  CLI::App* cache = app.add_subcommand("cache", "List, empty or check the hub's cache");
  cache->require_subcommand(1);
  auto add = [&](const char* name, const char* what) {
    auto o = std::make_shared<Options>();
    CLI::App* sub = cache->add_subcommand(name, what);
    o->common.add_to(*sub);
    sub->add_option("--cache-dir", o->cache_dir, "default: $HF_HUB_CACHE, $HF_HOME/hub, …");
    return std::pair(sub, o);
  };
  const auto [ls, ls_options] = add("ls", "List repositories and their revisions");
  ls->add_flag("--json", ls_options->json, "one JSON list");
  ls->callback([o = ls_options] { list(*o); });

  const auto [rm, rm_options] = add("rm", "Take a repository out, or one revision of it");
  rm->add_option("NAME", rm_options->name, "owner/name")->required();
  rm->add_option("--revision", rm_options->revision, "commit, branch or tag; default: the whole repository");
  rm->callback([o = rm_options] { remove(*o); });

  const auto [check, check_options] = add("verify", "Hash every file; exit status 1 when one is damaged");
  check->add_option("NAME", check_options->name, "owner/name; default: all");
  check->add_flag("--json", check_options->json, "one JSON object");
  check->callback([o = check_options, &status] { verify(*o, status); });
}

}  // namespace caracal::cli
