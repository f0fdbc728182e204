// Any JSON as config.json beside the weights of a small checkpoint: an Error, or a model that runs. Every architecture
// of tests/data/models, by the JSON's model_type; of a type that is none the target makes one.
#include <caracal/models/auto.h>
#include <caracal/tests/small_inputs.h>

#include "fuzzing.h"

namespace {

using namespace caracal;

struct Architecture {
  const char *model_type, *checkpoint;
  std::vector<const char*> auto_classes;
};

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = {
      {"bert",
       "base",
       {"AutoModel", "AutoModelForPreTraining", "AutoModelForCausalLM", "AutoModelForMultipleChoice",
        "AutoModelForSequenceClassification"}},
      {"distilbert", "base", {"AutoModel", "AutoModelForMaskedLM", "AutoModelForQuestionAnswering"}},
      {"vit", "base", {"AutoModel", "AutoModelForMaskedImageModeling", "AutoModelForImageClassification"}},
      {"wav2vec2",
       "group",
       {"AutoModel", "AutoModelForPreTraining", "AutoModelForCTC", "AutoModelForAudioClassification",
        "AutoModelForAudioXVector"}},
      {"layoutlmv2", "base", {"AutoModel", "AutoModelForTokenClassification", "AutoModelForQuestionAnswering"}}};
  return all;
}

// The weights of each checkpoint, linked into a directory of its own.
struct Directories : Scratch {
  Directories() {
    for (const Architecture& each : architectures()) {
      std::filesystem::create_directory(path / each.model_type);
      std::filesystem::create_symlink(
          std::string(CARACAL_TEST_DATA "/models/") + each.model_type + "/" + each.checkpoint + "/model.safetensors",
          path / each.model_type / "model.safetensors");
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directories directories;
  static const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1});
  static const ModelInputs inputs = small_inputs();
  Json config = json_of(data, size);
  if (!config.is_object()) return 0;
  const Json* type = config.find("model_type");
  const Architecture* chosen = nullptr;
  for (const Architecture& each : architectures())
    if (type != nullptr && *type == Json(each.model_type)) chosen = &each;
  if (chosen == nullptr) chosen = &architectures()[size % architectures().size()];
  config.set("model_type", chosen->model_type);
  const std::string directory = (directories.path / chosen->model_type).string();
  write_file(directory + "/config.json", config.dump());
  try_to([&] {
    const auto read = AutoConfig::from_pretrained(directory);
    read->str(), read->to_diff_dict();
    for (bool ignore : {false, true})
      try_to([&] {
        const AnyModel model = load_auto_model(chosen->auto_classes[size % chosen->auto_classes.size()], directory,
                                               {.ignore_mismatched_sizes = ignore, .runtime = runtime});
        model(inputs, {.output_hidden_states = true, .interpolate_pos_encoding = true});
      });
  });
  return 0;
}
