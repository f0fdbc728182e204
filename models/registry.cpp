#include <caracal/models/registry.h>

#include <algorithm>
#include <mutex>

#include <caracal/models/bert/modeling_bert.h>
#include <caracal/models/distilbert/modeling_distilbert.h>
#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>
#include <caracal/models/vit/modeling_vit.h>
#include <caracal/models/wav2vec2/modeling_wav2vec2.h>

namespace caracal {
namespace {

// The Auto classes of the documentation, and the names of the same classes in other frameworks and releases.
constexpr std::string_view kAutoClasses[] = {
#define AUTO_CLASS(name) #name,
#include <caracal/models/auto_classes.def>
#undef AUTO_CLASS
};

std::string_view name_without_alias(std::string_view name) {
  for (std::string_view framework : {"TF", "Flax"})
    if (name.starts_with(framework)) name.remove_prefix(framework.size());
  return name == "AutoModelForVision2Seq" ? "AutoModelForImageTextToText" : name;
}

struct Registry {
  std::mutex mutex;
  std::vector<ConfigEntry> configs = {
      config_entry<BertConfig>(), config_entry<DistilBertConfig>(), config_entry<LayoutLMv2Config>(),
      config_entry<ViTConfig>(),  config_entry<Wav2Vec2Config>(),
  };
  std::vector<ModelEntry> models = {
      model_entry<BertModel>("AutoModel"),
      model_entry<BertForPreTraining>("AutoModelForPreTraining"),
      model_entry<BertLMHeadModel>("AutoModelForCausalLM"),
      model_entry<BertForMaskedLM>("AutoModelForMaskedLM"),
      model_entry<BertForNextSentencePrediction>("AutoModelForNextSentencePrediction"),
      model_entry<BertForSequenceClassification>("AutoModelForSequenceClassification"),
      model_entry<BertForMultipleChoice>("AutoModelForMultipleChoice"),
      model_entry<BertForTokenClassification>("AutoModelForTokenClassification"),
      model_entry<BertForQuestionAnswering>("AutoModelForQuestionAnswering"),
      model_entry<BertModel>("AutoModelForTextEncoding"),
      model_entry<DistilBertModel>("AutoModel"),
      model_entry<DistilBertForMaskedLM>("AutoModelForPreTraining"),
      model_entry<DistilBertForMaskedLM>("AutoModelForMaskedLM"),
      model_entry<DistilBertForSequenceClassification>("AutoModelForSequenceClassification"),
      model_entry<DistilBertForMultipleChoice>("AutoModelForMultipleChoice"),
      model_entry<DistilBertForTokenClassification>("AutoModelForTokenClassification"),
      model_entry<DistilBertForQuestionAnswering>("AutoModelForQuestionAnswering"),
      model_entry<DistilBertModel>("AutoModelForTextEncoding"),
      model_entry<LayoutLMv2Model>("AutoModel"),
      model_entry<LayoutLMv2ForSequenceClassification>("AutoModelForSequenceClassification"),
      model_entry<LayoutLMv2ForTokenClassification>("AutoModelForTokenClassification"),
      model_entry<LayoutLMv2ForQuestionAnswering>("AutoModelForQuestionAnswering"),
      model_entry<LayoutLMv2ForQuestionAnswering>("AutoModelForDocumentQuestionAnswering"),
      model_entry<ViTModel>("AutoModel"),
      model_entry<ViTForImageClassification>("AutoModelForImageClassification"),
      model_entry<ViTForMaskedImageModeling>("AutoModelForMaskedImageModeling"),
      model_entry<Wav2Vec2Model>("AutoModel"),
      model_entry<Wav2Vec2ForPreTraining>("AutoModelForPreTraining"),
      model_entry<Wav2Vec2ForCTC>("AutoModelForCTC"),
      model_entry<Wav2Vec2ForSequenceClassification>("AutoModelForAudioClassification"),
      model_entry<Wav2Vec2ForAudioFrameClassification>("AutoModelForAudioFrameClassification"),
      model_entry<Wav2Vec2ForXVector>("AutoModelForAudioXVector"),
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
    if (entry.auto_class != name_without_alias(auto_class)) continue;
    if (entry.model_type == config.model_type()) return entry;
    served.push_back(entry);
  }
  if (!served.empty())
    throw Error(ErrorCode::unsupported, auto_class,
                "expected a model type among " + list(served, [](const ModelEntry& e) { return e.model_type; }) +
                    " but got " + config.class_name() + " ('" + config.model_type() + "')");
  if (std::ranges::find(kAutoClasses, name_without_alias(auto_class)) != std::end(kAutoClasses))
    throw Error(ErrorCode::unsupported, auto_class,
                "expected an architecture that serves this class but there is none yet; caracal has models of type " +
                    list(r.models, [](const ModelEntry& e) { return e.model_type; }));
  throw Error(ErrorCode::unsupported, auto_class,
              "expected an Auto class among " +
                  list(kAutoClasses, [](std::string_view name) { return std::string(name); }) + " but got '" +
                  auto_class + "'");
}

void register_config(ConfigEntry entry, bool exist_ok) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  auto same = [&](const ConfigEntry& e) { return e.model_type == entry.model_type; };
  if (!exist_ok && std::ranges::any_of(r.configs, same))
    throw Error(ErrorCode::invalid_argument, "AutoConfig",
                "expected a model_type that is not registered, or exist_ok, but got '" + entry.model_type + "'");
  std::erase_if(r.configs, same);
  r.configs.push_back(std::move(entry));
}

void register_model(ModelEntry entry, bool exist_ok) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  auto same = [&](const ModelEntry& e) { return e.auto_class == entry.auto_class && e.model_type == entry.model_type; };
  if (!exist_ok && std::ranges::any_of(r.models, same))
    throw Error(ErrorCode::invalid_argument, entry.auto_class,
                "expected a configuration class without a model, or exist_ok, but got " + entry.config_class);
  std::erase_if(r.models, same);
  r.models.push_back(std::move(entry));
}

}  // namespace caracal
