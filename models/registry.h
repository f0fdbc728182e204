// The registry: which classes serve which model_type. One explicit table (registry.cpp), which register_config and
// register_model extend at run time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <caracal/models/modeling_utils.h>

namespace caracal {

/// A configuration class.
struct ConfigEntry {
  std::string model_type;  // "bert"
  std::string class_name;  // "BertConfig"
  std::unique_ptr<PretrainedConfig> (*make)();
};

/// A model class and the Auto class that chooses it for a model_type.
struct ModelEntry {
  std::string auto_class;    // "AutoModel"
  std::string model_type;    // "bert"
  std::string config_class;  // "BertConfig"
  std::string class_name;    // "BertModel"
  std::unique_ptr<PreTrainedModel> (*load)(const std::string& path, const LoadOptions& options);
  std::unique_ptr<PreTrainedModel> (*make)(const PretrainedConfig& config, const LoadOptions& options);
};

/// Throw unsupported, listing what there is, when nothing is registered.
ConfigEntry find_config(const std::string& model_type);
ModelEntry find_model(const std::string& auto_class, const PretrainedConfig& config);

/// Add an entry; throw invalid_argument when there is one of the same keys, unless `exist_ok` lets this one replace it.
/// Safe to call from several threads.
void register_config(ConfigEntry entry, bool exist_ok);
void register_model(ModelEntry entry, bool exist_ok);

/// The entry of a model class that derives from ModelOf.
template <class Model>
ModelEntry model_entry(std::string auto_class) {
  using Config = typename Model::Config;
  return {std::move(auto_class),
          Config::kModelType,
          Config::kClassName,
          Model::kClassName,
          [](const std::string& path, const LoadOptions& options) -> std::unique_ptr<PreTrainedModel> {
            return std::make_unique<Model>(Model::from_pretrained(path, options));
          },
          [](const PretrainedConfig& config, const LoadOptions& options) -> std::unique_ptr<PreTrainedModel> {
            const Config* own = dynamic_cast<const Config*>(&config);
            if (own == nullptr)
              throw Error(ErrorCode::invalid_argument, Model::kClassName,
                          std::string("expected a configuration of class ") + Config::kClassName + " but got " +
                              config.class_name());
            return std::make_unique<Model>(Model::from_config(*own, options));
          }};
}

template <class Config>
ConfigEntry config_entry() {
  return {Config::kModelType, Config::kClassName,
          []() -> std::unique_ptr<PretrainedConfig> { return std::make_unique<Config>(); }};
}

}  // namespace caracal
