// The Auto classes: they read config.json and choose the concrete class.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>

#include <caracal/models/modeling_utils.h>
#include <caracal/models/registry.h>

namespace caracal {

/// transformers.AutoConfig.
class AutoConfig {
 public:
  AutoConfig() = delete;
  /// The configuration class that config.json's model_type names, with `overrides` applied. `name_or_path` is a
  /// checkpoint directory, a name of the hub (locate_files) or a config.json. Throws not_found, bad_file, or
  /// unsupported for an unknown model_type. `unused` receives the overrides that are no attributes.
  static std::unique_ptr<PretrainedConfig> from_pretrained(const std::string& name_or_path, const Json& overrides = {},
                                                           Json* unused = nullptr);

  /// Makes AutoConfig choose Config, a class derived from ConfigOf, for config.json files of this model_type. Throws
  /// invalid_argument when it is not the class's own, or is taken and `exist_ok` does not say to replace it.
  template <class Config>
  static void register_config(const std::string& model_type, bool exist_ok = false) {
    if (model_type != Config::kModelType)
      throw Error(ErrorCode::invalid_argument, "AutoConfig",
                  std::string("expected the model_type of ") + Config::kClassName + ", '" + Config::kModelType +
                      "', but got '" + model_type + "'");
    caracal::register_config(config_entry<Config>(), exist_ok);
  }
};

/// A model chosen at run time: call it like the concrete class. Cheap to copy; copies share the model.
class AnyModel {
 public:
  explicit AnyModel(std::shared_ptr<PreTrainedModel> model) : model_(std::move(model)) {}
  /// See PreTrainedModel::operator().
  ModelOutput operator()(const ModelInputs& inputs, const ForwardOptions& options = {}) const {
    return (*model_)(inputs, options);
  }
  PreTrainedModel& operator*() const noexcept { return *model_; }
  PreTrainedModel* operator->() const noexcept { return model_.get(); }

 private:
  std::shared_ptr<PreTrainedModel> model_;
};

/// Loads a checkpoint directory, or one of the hub (checkpoint_directory), through the Auto class of the given name
/// ("AutoModel", "AutoModelForMaskedLM", …). Throws like AutoConfig and PreTrainedModel, and unsupported when no
/// architecture of the configuration's model_type is registered for the Auto class: the message lists those that are.
AnyModel load_auto_model(const std::string& auto_class, const std::string& path, const LoadOptions& options = {});
/// A model of this configuration with random weights: the same ones for the same options.seed, on every machine.
AnyModel make_auto_model(const std::string& auto_class, const PretrainedConfig& config,
                         const LoadOptions& options = {});

/// A string as a template argument.
template <size_t N>
struct AutoClassName {
  char text[N];
  consteval AutoClassName(const char (&name)[N]) { std::copy_n(name, N, text); }
};

/// What every Auto class of models offers; the class is its name.
template <AutoClassName kName>
class AutoModelClass {
 public:
  AutoModelClass() = delete;  // from_pretrained and from_config make models
  /// See load_auto_model.
  static AnyModel from_pretrained(const std::string& path, const LoadOptions& options = {}) {
    return load_auto_model(kName.text, path, options);
  }
  /// See make_auto_model.
  static AnyModel from_config(const PretrainedConfig& config, const LoadOptions& options = {}) {
    return make_auto_model(kName.text, config, options);
  }
  /// Makes this Auto class choose Model, a class derived from ModelOf, for configurations of class Config. Throws
  /// invalid_argument when that is not the configuration class of Model, or has a model and `exist_ok` does not say to
  /// replace it.
  template <class Config, class Model>
  static void register_model(bool exist_ok = false) {
    if constexpr (!std::is_same_v<Config, typename Model::Config>)
      throw Error(ErrorCode::invalid_argument, kName.text,
                  std::string("expected the configuration class of ") + Model::kClassName + ", " +
                      Model::Config::kClassName + ", but got " + Config::kClassName);
    caracal::register_model(model_entry<Model>(kName.text), exist_ok);
  }
};

/// AutoModel: the bare model without a head; AutoModelFor…: with the head of a task. The documentation's TensorFlow and
/// Flax classes load the same checkpoints: here they are other names of the same class.
#define AUTO_CLASS(name)              \
  using name = AutoModelClass<#name>; \
  using TF##name = name;              \
  using Flax##name = name;
#include <caracal/models/auto_classes.def>
#undef AUTO_CLASS
using AutoModelForVision2Seq = AutoModelForImageTextToText;
using TFAutoModelForVision2Seq = AutoModelForVision2Seq;
using FlaxAutoModelForVision2Seq = AutoModelForVision2Seq;

}  // namespace caracal
