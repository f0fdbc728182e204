// The Auto classes: they read config.json and choose the concrete class.
#pragma once

#include <memory>
#include <string>

#include <caracal/models/modeling_utils.h>
#include <caracal/models/registry.h>

namespace caracal {

/// transformers.AutoConfig.
class AutoConfig {
 public:
  /// The configuration class that config.json's model_type names, with `overrides` applied. `path` is a checkpoint
  /// directory or a config.json. Throws not_found, bad_file, or unsupported for an unknown model_type.
  static std::unique_ptr<PretrainedConfig> from_pretrained(const std::string& path, const Json& overrides = {});
  static void register_config(ConfigEntry entry) { caracal::register_config(std::move(entry)); }
};

/// A model chosen at run time: call it like the concrete class. Cheap to copy; copies share the model.
class AnyModel {
 public:
  explicit AnyModel(std::shared_ptr<const PreTrainedModel> model) : model_(std::move(model)) {}
  /// See PreTrainedModel::operator().
  ModelOutput operator()(const ModelInputs& inputs, const ForwardOptions& options = {}) const {
    return (*model_)(inputs, options);
  }
  const PreTrainedModel& operator*() const noexcept { return *model_; }
  const PreTrainedModel* operator->() const noexcept { return model_.get(); }

 private:
  std::shared_ptr<const PreTrainedModel> model_;
};

/// Loads a checkpoint directory through the Auto class of the given name ("AutoModel", "AutoModelForMaskedLM", …).
AnyModel load_auto_model(const std::string& auto_class, const std::string& path, const LoadOptions& options = {});
/// A model of this configuration with random weights: the same ones for the same seed, on every machine.
AnyModel make_auto_model(const std::string& auto_class, const PretrainedConfig& config, const LoadOptions& options = {},
                         uint64_t seed = 0);

/// transformers.AutoModel: the bare model without a head.
class AutoModel {
 public:
  static AnyModel from_pretrained(const std::string& path, const LoadOptions& options = {}) {
    return load_auto_model("AutoModel", path, options);
  }
  static AnyModel from_config(const PretrainedConfig& config, const LoadOptions& options = {}, uint64_t seed = 0) {
    return make_auto_model("AutoModel", config, options, seed);
  }
  static void register_model(ModelEntry entry) { caracal::register_model(std::move(entry)); }
};

}  // namespace caracal
