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
  std::string auto_class;   // "AutoModel"
  std::string model_type;   // "bert"
  std::string class_name;   // "BertModel"
  std::string base_prefix;  // "bert"
  std::unique_ptr<PreTrainedModel> (*make)(const PretrainedConfig& config, const Weights& weights,
                                           const LoadOptions& options);
};

/// Throw unsupported, listing what there is, when nothing is registered.
ConfigEntry find_config(const std::string& model_type);
ModelEntry find_model(const std::string& auto_class, const PretrainedConfig& config);

/// Add an entry, or replace the one of the same keys. Safe to call from several threads.
void register_config(ConfigEntry entry);
void register_model(ModelEntry entry);

/// A ModelEntry for a class with Config, kClassName, kBaseModelPrefix and a constructor (config, weights, options).
template <class Model>
ModelEntry model_entry(std::string auto_class) {
  return {std::move(auto_class), Model::Config::kModelType, Model::kClassName, Model::kBaseModelPrefix,
          [](const PretrainedConfig& config, const Weights& weights,
             const LoadOptions& options) -> std::unique_ptr<PreTrainedModel> {
            return std::make_unique<Model>(dynamic_cast<const typename Model::Config&>(config), weights, options);
          }};
}

template <class Config>
ConfigEntry config_entry() {
  return {Config::kModelType, Config::kClassName,
          []() -> std::unique_ptr<PretrainedConfig> { return std::make_unique<Config>(); }};
}

}  // namespace caracal
