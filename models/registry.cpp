#include <caracal/models/registry.h>

#include <algorithm>
#include <mutex>

#include <caracal/models/bert/modeling_bert.h>
#include <caracal/models/distilbert/configuration_distilbert.h>
#include <caracal/models/layoutlmv2/configuration_layoutlmv2.h>
#include <caracal/models/vit/configuration_vit.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>

namespace caracal {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<ConfigEntry> configs = {
      config_entry<BertConfig>(), config_entry<DistilBertConfig>(), config_entry<LayoutLMv2Config>(),
      config_entry<ViTConfig>(),  config_entry<Wav2Vec2Config>(),
  };
  std::vector<ModelEntry> models = {
      model_entry<BertModel>("AutoModel"),
  };
};

Registry& registry() {
  static Registry instance;  // made at first use: no global constructor
  return instance;
}

template <class Entries, class Name>
std::string list(const Entries& entries, Name name) {
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(name(entry));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::string text;
  for (const std::string& each : names) text += (text.empty() ? "" : ", ") + each;
  return text;
}

}  // namespace

ConfigEntry find_config(const std::string& model_type) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  for (const ConfigEntry& entry : r.configs)
    if (entry.model_type == model_type) return entry;
  throw Error(ErrorCode::unsupported, "AutoConfig",
              "expected a model_type among " + list(r.configs, [](const ConfigEntry& e) { return e.model_type; }) +
                  " but got '" + model_type + "'");
}

ModelEntry find_model(const std::string& auto_class, const PretrainedConfig& config) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  std::vector<ModelEntry> served;
  for (const ModelEntry& entry : r.models) {
    if (entry.auto_class != auto_class) continue;
    if (entry.model_type == config.model_type()) return entry;
    served.push_back(entry);
  }
  if (served.empty())
    throw Error(ErrorCode::unsupported, auto_class,
                "expected an Auto class among " + list(r.models, [](const ModelEntry& e) { return e.auto_class; }) +
                    " but got '" + auto_class + "'");
  throw Error(ErrorCode::unsupported, auto_class,
              std::string("unrecognized configuration class ") + config.class_name() +
                  " for this kind of AutoModel; model type should be one of " +
                  list(served, [](const ModelEntry& e) { return e.model_type; }));
}

void register_config(ConfigEntry entry) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  std::erase_if(r.configs, [&](const ConfigEntry& e) { return e.model_type == entry.model_type; });
  r.configs.push_back(std::move(entry));
}

void register_model(ModelEntry entry) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  std::erase_if(r.models, [&](const ModelEntry& e) {
    return e.auto_class == entry.auto_class && e.model_type == entry.model_type;
  });
  r.models.push_back(std::move(entry));
}

}  // namespace caracal
