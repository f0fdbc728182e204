#include <caracal/loaders/safetensors.h>
#include <caracal/models/auto.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, task = "AutoModel", inputs, outputs;
  bool hidden_states = false, attentions = false;
  std::vector<std::string> settings;
};

void run(const Options& o) {
  const SafetensorsFile file = SafetensorsFile::open(o.inputs);
  ModelInputs inputs;
  for (const TensorInfo& info : file.tensors()) inputs.set(info.name, file.tensor(info));
  ForwardOptions forward{.output_hidden_states = o.hidden_states, .output_attentions = o.attentions};
  LoadOptions load = o.common.load_options();
  apply_settings(o.settings, o.model, load, &forward);
  const AnyModel model = load_auto_model(o.task, o.model, load);
  save_safetensors(o.outputs, model(inputs, forward).named());
}

}  // namespace

void add_run(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("run", "Run a model on tensors: a safetensors file in, one out");
  o->common.add_to(*sub);
  sub->add_option("--model", o->model, "checkpoint directory")->required();
  sub->add_option("--task", o->task, "Auto class")->capture_default_str();
  sub->add_option("--inputs", o->inputs,
                  "safetensors file; names are the forward arguments (input_ids, attention_mask, …)")
      ->required();
  sub->add_option("--outputs", o->outputs, "safetensors file to write; names are the output's fields")->required();
  sub->add_flag("--hidden-states", o->hidden_states, "also write hidden_states.0 …");
  sub->add_flag("--attentions", o->attentions, "also write attentions.0 …");
  sub->add_option("--set", o->settings,
                  "KEY=VALUE: override a configuration attribute, an option of loading or a forward flag")
      ->take_all();
  sub->callback([o] { run(*o); });
}

}  // namespace caracal::cli
