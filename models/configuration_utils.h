// PretrainedConfig: what config.json says. One class per architecture derives from it, as in transformers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <caracal/runtime/json.h>

namespace caracal {

/// The transformers release whose files caracal reads and writes.
inline constexpr const char* kTransformersVersion = "5.23.0";

/// One attribute of a configuration class. `type` is Python's type expression ("int", "float | int", "int | None").
struct ConfigField {
  const char* name;
  std::variant<bool*, int64_t*, double*, std::string*, Json*> value;
  const char* type;
};

/// Base of all configurations (transformers.PreTrainedConfig). Attributes are plain members under their config.json
/// names; keys that no class knows are kept in `extra` and written back.
class PretrainedConfig {
 public:
  virtual ~PretrainedConfig() = default;
  /// "bert"; the value of config.json's model_type.
  virtual const char* model_type() const = 0;
  /// "BertConfig".
  virtual const char* class_name() const = 0;
  virtual std::unique_ptr<PretrainedConfig> clone() const = 0;

  Json architectures;  // list of class names, or null
  int64_t chunk_size_feed_forward = 0;
  Json dtype;  // "float32", …, or null
  std::map<int64_t, std::string> id2label{{0, "LABEL_0"}, {1, "LABEL_1"}};
  Json label2id{Json::Object{{"LABEL_0", 0}, {"LABEL_1", 1}}};
  bool is_encoder_decoder = false;
  bool output_attentions = false;
  bool output_hidden_states = false;
  Json problem_type;
  bool return_dict = true;
  Json extra{Json::Object{}};

  int64_t num_labels() const { return int64_t(id2label.size()); }

  /// Sets attributes from an object of config.json keys; `where` (a file or a class name) opens error messages.
  /// Throws invalid_argument `field 'hidden_size' expected int but got str` for a value of the wrong type.
  void update(const Json& values, const std::string& where);
  /// All attributes, model_type and transformers_version.
  Json to_dict() const;
  /// to_dict without the base attributes that have their default value: what save_pretrained writes and str() shows.
  Json to_diff_dict() const;
  /// The documentation's listing: `BertConfig {json}` with sorted keys, two spaces of indent and a last newline.
  std::string str() const;

 protected:
  PretrainedConfig() = default;
  PretrainedConfig(const PretrainedConfig&) = default;
  PretrainedConfig& operator=(const PretrainedConfig&) = default;
  /// The attributes of the derived class.
  virtual std::vector<ConfigField> fields() = 0;

 private:
  std::vector<ConfigField> base_fields();
  void set_labels(const Json& values, const std::string& where);
};

/// Reads the config.json of a checkpoint: `path` is its directory or the file itself. Throws not_found or bad_file.
Json load_config_file(const std::string& path);

/// What every configuration class adds to its attributes: construction from defaults and overrides, and loading.
/// Derived supplies kModelType, kClassName and fields().
template <class Derived>
class ConfigOf : public PretrainedConfig {
 public:
  const char* model_type() const override { return Derived::kModelType; }
  const char* class_name() const override { return Derived::kClassName; }
  std::unique_ptr<PretrainedConfig> clone() const override {
    return std::make_unique<Derived>(static_cast<const Derived&>(*this));
  }

  /// Defaults, with `overrides` applied: BertConfig::with({{"num_hidden_layers", 6}}).
  static Derived with(const Json& overrides) {
    Derived config;
    config.update(overrides, Derived::kClassName);
    return config;
  }
  /// From a checkpoint directory or a config.json, with `overrides` applied last.
  static Derived from_pretrained(const std::string& path, const Json& overrides = {}) {
    Derived config;
    config.update(load_config_file(path), path);
    config.update(overrides, Derived::kClassName);
    return config;
  }
};

}  // namespace caracal
