// save: a checkpoint through an Auto class and back to files, to re-shard it, change its dtype or give it another head.
#include <filesystem>

#include <caracal/loaders/file.h>
#include <caracal/models/auto.h>
#include <caracal/runtime/atomic_file.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, task = "AutoModel", output, max_shard_size = "50GB";
  std::vector<std::string> settings;
};

// What belongs to a checkpoint beside configuration and weights.
constexpr const char* kOtherFiles[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "vocab.txt",
                                       "vocab.json",
                                       "merges.txt",
                                       "added_tokens.json",
                                       "special_tokens_map.json",
                                       "preprocessor_config.json",
                                       "processor_config.json"};

void copy_other_files(const std::string& from, const std::string& to) {
  for (const char* name : kOtherFiles) {
    const std::string source = from + "/" + name;
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(source, ignored)) continue;
    const Bytes bytes = load_bytes(File::open(source), Access::read);
    write_atomically(to + "/" + name, {reinterpret_cast<const char*>(bytes.span.data()), bytes.span.size()});
  }
}

void save(const Options& o) {
  LoadOptions load = o.common.load_options();
  const SaveOptions how{.max_shard_size = parse_size(o.max_shard_size)};
  apply_settings(o.settings, o.model, load, nullptr);
  const AnyModel model = load_auto_model(o.task, o.model, load);
  model->save_pretrained(o.output, how);
  copy_other_files(checkpoint_directory(o.model, load, HubPart::everything), o.output);
}

}  // namespace

void add_save(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub =
      app.add_subcommand("save", "Write a checkpoint anew: re-sharded, in another dtype, with another head");
  o->common.add_to(*sub, /*saves=*/true);
  sub->add_option("MODEL", o->model, "checkpoint directory")->required();
  sub->add_option("--task", o->task, "Auto class")->capture_default_str();
  sub->add_option("--output", o->output, "directory to write")->required();
  sub->add_option("--max-shard-size", o->max_shard_size, "largest file: 500MB, 5GiB, …")->capture_default_str();
  sub->add_option("--set", o->settings, "KEY=VALUE: override a configuration attribute, or an option of loading")
      ->take_all();
  sub->callback([o] { save(*o); });
}

}  // namespace caracal::cli
