// PretrainedConfig: what config.json says. One class per architecture derives from it, as in transformers.
// Source: transformers/configuration_utils.py
#pragma once

#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <caracal/loaders/hub_cache.h>
#include <caracal/runtime/json.h>

namespace caracal {

/// The transformers release whose files caracal reads and writes.
inline constexpr const char* kTransformersVersion = "5.23.0";

/// One attribute of a configuration class. `type` is Python's type expression: "int", "float | int", "list[int]",
/// "int | None", …
struct ConfigField {
  const char* name;
  std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*, Json*> value;
  const char* type;
};

/// Another name for an attribute (transformers' attribute_map): "hidden_size" for DistilBERT's "dim". Files hold the
/// attribute's own name.
struct ConfigAlias {
  const char* name;
  const char* attribute;
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
  Json label2id{Json::Object{{"LABEL_0", 0}, {"LABEL_1", 1}}};  // null when a file gives id2label alone
  bool is_encoder_decoder = false;
  bool output_attentions = false;
  bool output_hidden_states = false;
  Json problem_type;  // "regression", "single_label_classification", "multi_label_classification", or null
  bool return_dict = true;
  std::string name_or_path;  // what it was loaded from; never written
  std::map<std::string, Json> extra;

  int64_t num_labels() const { return int64_t(id2label.size()); }

  /// Whether there is an attribute of this name, alias or extra key.
  bool has(const std::string& name) const;
  /// The attribute of this name, alias or extra key, as JSON. Throws invalid_argument when there is none.
  Json get(const std::string& name) const;
  /// Sets one attribute; a name that nobody knows becomes an extra key. "num_labels" names the labels LABEL_0 … unless
  /// there are as many already. Throws invalid_argument `field 'hidden_size' expected int but got str` for a value of
  /// the wrong type, and for generation parameters (`max_length`), which are no attributes.
  void set(const std::string& name, const Json& value) { set(name, value, class_name()); }
  /// set() for every member of an object; `where` (a file or a class name) opens error messages.
  void update(const Json& values, const std::string& where);

  /// What from_pretrained does to a default-constructed configuration: `values` is the content of the file `where`, as
  /// load_config_file gives it. `overrides` of attributes that there are come last; the others are ignored, and put
  /// into `unused`, if given, as transformers' return_unused_kwargs does. Throws like set().
  void from_dict(const Json& values, const Json& overrides, const std::string& where, Json* unused = nullptr);
  /// Writes `directory`/config.json, byte for byte as transformers does; makes the directory. Throws invalid_argument
  /// for attributes that contradict each other, io.
  void save_pretrained(const std::string& directory) const;

  /// All attributes, model_type and transformers_version.
  Json to_dict() const;
  /// to_dict without the base attributes that have their default value: what save_pretrained writes.
  Json to_diff_dict() const;
  /// The documentation's listing: `BertConfig {json}` with sorted keys, two spaces of indent and a last newline. It
  /// leaves out every attribute at the default that transformers 4's base class had for it (tie_word_embeddings,
  /// bos_token_id, …).
  std::string str() const;

  /// Same class and same attributes, extra keys included; name_or_path does not count. 0 and 0.0 differ, as in files.
  bool operator==(const PretrainedConfig& other) const;

 protected:
  PretrainedConfig() = default;
  PretrainedConfig(const PretrainedConfig&) = default;
  PretrainedConfig& operator=(const PretrainedConfig&) = default;
  /// The attributes of the derived class.
  virtual std::vector<ConfigField> fields() = 0;
  virtual std::vector<ConfigAlias> aliases() const { return {}; }
  /// Fills attributes that depend on others; `given` holds the values that were set.
  virtual void post_init(const Json& given) { (void)given; }
  /// Throws invalid_argument when attributes contradict each other.
  virtual void validate() const {}
  /// transformers' __init__ with `values` as keyword arguments: what constructors with overrides call.
  void init(const Json& values, const std::string& where);

 private:
  virtual std::unique_ptr<PretrainedConfig> fresh() const = 0;
  std::vector<ConfigField> base_fields();
  std::string own_name(const std::string& name) const;
  void set(const std::string& name, const Json& value, const std::string& where);
  void set_id2label(const Json& labels, const std::string& where);
  void set_num_labels(const Json& count, const std::string& where);
};

/// Prints str().
std::ostream& operator<<(std::ostream& out, const PretrainedConfig& config);

/// Reads the config.json of a checkpoint: its directory, or the file itself. Throws not_found or bad_file.
Json load_config_file(const std::string& path);

/// What every configuration class has. Derived supplies kModelType, kClassName, fields(), a default constructor and
/// `explicit Derived(const Json& overrides) { init(overrides, kClassName); }`:
///   DistilBertConfig config({{"activation", "relu"}, {"attention_dropout", 0.4}});
template <class Derived>
class ConfigOf : public PretrainedConfig {
 public:
  const char* model_type() const override { return Derived::kModelType; }
  const char* class_name() const override { return Derived::kClassName; }
  std::unique_ptr<PretrainedConfig> clone() const override {
    return std::make_unique<Derived>(static_cast<const Derived&>(*this));
  }

  /// From a checkpoint directory, a name of the hub (locate_files) or a config.json, with `overrides` as in from_dict.
  /// Throws not_found, bad_file, or invalid_argument for a value of the wrong type.
  static Derived from_pretrained(const std::string& path, const Json& overrides = {}, Json* unused = nullptr) {
    const LocatedFiles at = locate_files(path, HubPart::config, overrides);
    Derived config;
    config.from_dict(load_config_file(at.path), at.overrides, at.path, unused);
    return config;
  }

 private:
  std::unique_ptr<PretrainedConfig> fresh() const override { return std::make_unique<Derived>(); }
};

}  // namespace caracal
