// inspect, config, version: what is in a checkpoint, and what this command is.
#include <cstdio>
#include <map>
#include <string_view>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/loaders/checkpoint.h>
#include <caracal/models/auto.h>
#include <caracal/models/configuration_utils.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, task, output;
  std::vector<std::string> settings;
  bool json = false;
};

Json to_json(const std::vector<std::string>& names) {
  Json::Array array;
  for (const std::string& name : names) array.emplace_back(name);
  return array;
}

// Loads the model as --task (AutoModel without one) would and reports which of its weights the checkpoint lacks and
// which tensors it does not ask for. Only the constructor knows that, so the weights are read in full.
void add_differences(Json& report, const Options& o) {
  try {
    const AnyModel model = load_auto_model(o.task.empty() ? "AutoModel" : o.task, o.model, o.common.load_options());
    report.set("class", model->class_name());
    report.set("missing", to_json(model->loading_info().missing_keys));
    report.set("unused", to_json(model->loading_info().unexpected_keys));
  } catch (const Error& e) {  // the tensors are worth listing even when no class can load them
    report.set("error", e.what());
  }
}

void inspect(const Options& o) {
  const Checkpoint checkpoint = Checkpoint::open(locate_checkpoint({.name = o.model, .part = HubPart::model}));
  Json::Array tensors;
  std::map<std::string, int64_t> dtypes;
  int64_t parameters = 0;
  for (const std::string& name : checkpoint.names()) {
    const TensorInfo& info = *checkpoint.find(name);
    Json::Array shape;
    int64_t count = 1;
    for (int64_t dim : info.shape) {
      shape.emplace_back(dim);
      count *= dim;  // the reader checked that it fits
    }
    if (!name.ends_with(kScaleSuffix)) {
      parameters += count;
      dtypes[std::string(info.dtype_name)] += count;
    }
    tensors.push_back(Json::Object{{"name", name},
                                   {"dtype", info.dtype_name},
                                   {"shape", std::move(shape)},
                                   {"bytes", int64_t(info.end - info.begin)}});
  }
  Json report = Json::Object{{"path", checkpoint.path()},
                             {"tensor_count", int64_t(tensors.size())},
                             {"parameters", parameters},
                             {"bytes", int64_t(checkpoint.total_bytes())},
                             {"dtypes", Json::Object(dtypes.begin(), dtypes.end())},
                             {"warnings", to_json(checkpoint.warnings())}};
  add_differences(report, o);
  if (o.json) {
    report.set("tensors", std::move(tensors));
    std::printf("%s\n", report.dump().c_str());
    return;
  }
  for (const Json& tensor : tensors)
    std::printf("%-5s %-16s %12lld  %s\n", tensor.at("dtype").as_string().c_str(), tensor.at("shape").dump().c_str(),
                static_cast<long long>(tensor.at("bytes").as_int()), printable(tensor.at("name").as_string()).c_str());
  std::printf("%zu tensors, %lld parameters (", tensors.size(), static_cast<long long>(parameters));
  for (auto it = dtypes.begin(); it != dtypes.end(); ++it)
    std::printf("%s%lld %s", it == dtypes.begin() ? "" : ", ", static_cast<long long>(it->second), it->first.c_str());
  std::printf("), %.1f MB\n", double(checkpoint.total_bytes()) / 1e6);
  for (const std::string& warning : checkpoint.warnings()) std::printf("  note: %s\n", printable(warning).c_str());
  if (const Json* error = report.find("error")) {
    std::printf("not loadable: %s\n", printable(error->as_string(), kMessageLimit).c_str());
    return;
  }
  std::printf("%s: %zu missing, %zu unused\n", report.at("class").as_string().c_str(),
              report.at("missing").as_array().size(), report.at("unused").as_array().size());
  for (const char* kind : {"missing", "unused"})
    for (const Json& name : report.at(kind).as_array())
      std::printf("  %s: %s\n", kind, printable(name.as_string()).c_str());
}

void print_config(const Options& o) {
  const Json settings = parse_settings(o.settings);
  const auto config = AutoConfig::from_pretrained(o.model, settings);
  check_settings(settings, *config);
  if (o.output.empty())
    std::fputs(config->str().c_str(), stdout);
  else
    config->save_pretrained(o.output);
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub =
      app.add_subcommand("inspect", "List a checkpoint's tensors, and what the model class misses or leaves unused");
  o->common.add_to(*sub);
  sub->add_option("MODEL", o->model, "checkpoint directory")->required();
  sub->add_option("--task", o->task, "Auto class to compare with; default AutoModel");
  sub->add_flag("--json", o->json, "one JSON object");
  sub->callback([o] { inspect(*o); });
}

void add_config(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("config", "Print a checkpoint's configuration, or write it");
  o->common.add_to(*sub);
  sub->add_option("MODEL", o->model, "checkpoint directory or config.json")->required();
  sub->add_option("--set", o->settings, "KEY=VALUE: override an attribute")->take_all();
  sub->add_option("--output", o->output, "directory to write config.json into, as save_pretrained does");
  sub->callback([o] { print_config(*o); });
}

void add_version(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub =
      app.add_subcommand("version", "Print the version, the instruction sets of this machine and the backends");
  o->common.add_to(*sub);
  sub->callback([o] {
    const auto runtime = o->common.make_runtime();
    std::printf("caracal %s (transformers %s files)\n", CARACAL_VERSION, kTransformersVersion);
    for (kernels::Isa isa : kernels::kIsas)
      std::printf("isa %-11s %s%s\n", kernels::isa_name(isa),
                  kernels::isa_supported(isa) ? "supported" : "not on this CPU",
                  isa == runtime->cpu().isa ? ", in use" : "");
    for (kernels::Backend backend : kernels::kBackends) {
      const bool built = kernels::backend_kernels(backend, runtime->cpu().isa) != nullptr;
      std::printf("backend %-6s %s%s\n", kernels::backend_name(backend), built ? "built" : "not built",
                  kernels::backend_name(backend) == std::string_view(runtime->backend()) ? ", in use" : "");
    }
    const char* about = nullptr;
    kernels::cuda::cublas_table(&about);
    std::printf("backend cublas %s%s%s\n", about != nullptr ? "built, for --device cuda: " : "not built",
                about != nullptr ? about : "", std::string_view(runtime->backend()) == "cublas" ? ", in use" : "");
  });
}

}  // namespace caracal::cli
