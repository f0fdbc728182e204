#include <caracal/models/configuration_utils.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <ostream>

#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

[[noreturn]] void wrong_type(const std::string& where, const std::string& name, const std::string& expected,
                             const Json& got) {
  const char* type = got.is_null() ? "None" : got.big_digits() ? "int of more than 64 bits" : got.type_name();
  std::string value = got.dump();
  if (value.size() > 200) value = value.substr(0, 200) + "...";
  throw Error(ErrorCode::invalid_argument, where,
              "field '" + name + "' expected " + expected + " but got " + type + " (value: " + value + ")");
}

bool has_type(std::string_view type, const Json& value) {
  if (type == "None") return value.is_null();
  if (type == "int") return value.is_integer();  // not an integer beyond 64 bits, which is a number
  if (type == "list[int]" || type == "list[str]") {
    if (!value.is_array()) return false;
    return std::ranges::all_of(value.as_array(), [&](const Json& item) { return has_type(type.substr(5, 3), item); });
  }
  return type == value.type_name() && value.big_digits() == nullptr;
}

// True when `type` ("float | int | None") names the type of `value`.
bool type_allows(std::string_view type, const Json& value) {
  for (size_t begin = 0; begin <= type.size();) {
    const size_t end = std::min(type.find(" | ", begin), type.size());
    if (has_type(type.substr(begin, end - begin), value)) return true;
    begin = end + 3;
  }
  return false;
}

void set_field(const ConfigField& field, const Json& value, const std::string& where) {
  if (!type_allows(field.type, value)) wrong_type(where, field.name, field.type, value);
  std::visit(
      [&]<class T>(T* target) {
        if constexpr (std::is_same_v<T, bool>) {
          *target = value.as_bool();
        } else if constexpr (std::is_same_v<T, int64_t>) {
          *target = value.as_int();
        } else if constexpr (std::is_same_v<T, double>) {
          *target = value.as_double();
        } else if constexpr (std::is_same_v<T, std::string>) {
          *target = value.as_string();
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          target->clear();
          for (const Json& item : value.as_array()) target->push_back(item.as_int());
        } else {
          *target = value;
        }
      },
      field.value);
}

Json get_field(const ConfigField& field) {
  return std::visit(
      []<class T>(const T* value) {
        if constexpr (std::is_same_v<T, std::vector<int64_t>>)
          return Json(Json::Array(value->begin(), value->end()));
        else
          return Json(*value);
      },
      field.value);
}

const ConfigField* find_field(const std::vector<ConfigField>& fields, std::string_view name) {
  auto at = std::find_if(fields.begin(), fields.end(), [&](const ConfigField& field) { return name == field.name; });
  return at == fields.end() ? nullptr : &*at;
}

// Parameters of generation that old configurations carry: transformers drops them (GenerationConfig has them now),
// except where a class declares one as its own attribute (BertConfig's use_cache).
constexpr std::string_view kGenerationKeys[] = {"assistant_confidence_threshold",
                                                "assistant_lookbehind",
                                                "bad_words_ids",
                                                "begin_suppress_tokens",
                                                "diversity_penalty",
                                                "do_sample",
                                                "early_stopping",
                                                "encoder_no_repeat_ngram_size",
                                                "encoder_repetition_penalty",
                                                "epsilon_cutoff",
                                                "eta_cutoff",
                                                "exponential_decay_length_penalty",
                                                "forced_bos_token_id",
                                                "forced_eos_token_id",
                                                "length_penalty",
                                                "max_length",
                                                "min_length",
                                                "no_repeat_ngram_size",
                                                "num_assistant_tokens",
                                                "num_assistant_tokens_schedule",
                                                "num_beam_groups",
                                                "num_beams",
                                                "num_return_sequences",
                                                "output_scores",
                                                "remove_invalid_values",
                                                "repetition_penalty",
                                                "return_dict_in_generate",
                                                "suppress_tokens",
                                                "target_lookbehind",
                                                "temperature",
                                                "top_k",
                                                "top_p",
                                                "typical_p",
                                                "use_cache"};

// Keys of meaning to Python only, which are never written.
constexpr std::string_view kDroppedKeys[] = {"model_type",
                                             "transformers_version",
                                             "kwargs",
                                             "attn_implementation",
                                             "_attn_implementation",
                                             "_attn_implementation_internal",
                                             "experts_implementation",
                                             "_experts_implementation",
                                             "_experts_implementation_internal",
                                             "_auto_class",
                                             "_commit_hash",
                                             "_is_quantized",
                                             "_post_init_done",
                                             "base_model_fsdp_plan",
                                             "base_model_pp_plan",
                                             "base_model_tp_plan",
                                             "distributed_config",
                                             "ignore_keys_at_rope_validation"};

// Aliases that every class has.
constexpr ConfigAlias kBaseAliases[] = {
    {"torch_dtype", "dtype"}, {"name_or_path", "_name_or_path"}, {"_output_attentions", "output_attentions"}};

template <class Range>
bool contains(const Range& range, std::string_view name) {
  return std::ranges::find(range, name) != std::end(range);
}

// torch's name of a dtype ("half" is another one for "float16").
Json torch_dtype(const Json& dtype, const std::string& where) {
  if (dtype.is_null()) return dtype;
  if (!dtype.is_string()) wrong_type(where, "dtype", "str | None", dtype);
  const std::string& name = dtype.as_string();
  if (name == "float") return "float32";
  if (name == "double") return "float64";
  if (name == "half") return "float16";
  constexpr std::string_view kNames[] = {
      "float32",     "float64",         "float16",        "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz",
      "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "int8",     "int16",         "int32",
      "int64",       "uint8",           "uint16",         "uint32",   "uint64",        "bool"};
  if (!contains(kNames, name)) wrong_type(where, "dtype", "the name of a torch dtype (float32, bfloat16, …)", dtype);
  return dtype;
}

// JSON has no infinity and no NaN: transformers writes {"__float__": "Infinity"}.
constexpr const char* kFloatTag = "__float__";

Json decode_special_floats(const Json& value) {
  if (value.is_array()) {
    Json::Array items;
    for (const Json& item : value.as_array()) items.push_back(decode_special_floats(item));
    return items;
  }
  if (!value.is_object()) return value;
  const Json* tag = value.as_object().size() == 1 ? value.find(kFloatTag) : nullptr;
  if (tag != nullptr && *tag == Json("Infinity")) return std::numeric_limits<double>::infinity();
  if (tag != nullptr && *tag == Json("-Infinity")) return -std::numeric_limits<double>::infinity();
  if (tag != nullptr && *tag == Json("NaN")) return std::numeric_limits<double>::quiet_NaN();
  Json::Object members;
  for (const auto& [key, item] : value.as_object()) members.emplace_back(key, decode_special_floats(item));
  return members;
}

// The value as it is written: special floats encoded, keys sorted.
Json encoded(const Json& value) {
  if (value.type() == Json::Type::number && value.big_digits() == nullptr && !std::isfinite(value.as_double())) {
    const double v = value.as_double();
    return Json::Object{{kFloatTag, std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity"}};
  }
  if (value.is_array()) {
    Json::Array items;
    for (const Json& item : value.as_array()) items.push_back(encoded(item));
    return items;
  }
  if (!value.is_object()) return value;
  Json::Object members;
  for (const auto& [key, item] : value.as_object()) members.emplace_back(key, encoded(item));
  std::ranges::stable_sort(members, {}, &Json::Member::first);
  return members;
}

// The text of config.json. The keys of id2label are integers in Python, and sorted as such.
std::string json_text(const Json& dict) {
  Json sorted = encoded(dict);
  if (const Json* labels = dict.find("id2label")) sorted.set("id2label", *labels);
  return sorted.dump(2) + "\n";
}

// Nothing but the base attributes, at their defaults.
struct BareConfig final : ConfigOf<BareConfig> {
  static constexpr const char *kModelType = "", *kClassName = "";
  std::vector<ConfigField> fields() override { return {}; }
};

// The attributes that transformers 4's base class had beyond today's, with their defaults.
Json old_base_defaults() {
  return {{"add_cross_attention", false},
          {"bos_token_id", nullptr},
          {"cross_attention_hidden_size", nullptr},
          {"decoder_start_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"finetuning_task", nullptr},
          {"is_decoder", false},
          {"pad_token_id", nullptr},
          {"prefix", nullptr},
          {"pruned_heads", Json::Object{}},
          {"sep_token_id", nullptr},
          {"task_specific_params", nullptr},
          {"tf_legacy_loss", false},
          {"tie_encoder_decoder", false},
          {"tie_word_embeddings", true},
          {"tokenizer_class", nullptr},
          {"torchscript", false},
          {"use_bfloat16", false}};
}

// Throws unless `values` is an object or null, which counts as an empty one.
const Json::Object& members_of(const Json& values, const std::string& where) {
  static const Json::Object none;
  if (values.is_null()) return none;
  if (!values.is_object())
    throw Error(ErrorCode::invalid_argument, where,
                std::string("expected an object of configuration keys but got ") + values.type_name());
  return values.as_object();
}

}  // namespace

std::vector<ConfigField> PretrainedConfig::base_fields() {
  return {{"_name_or_path", &name_or_path, "str"},
          {"architectures", &architectures, "list[str] | None"},
          {"chunk_size_feed_forward", &chunk_size_feed_forward, "int"},
          {"dtype", &dtype, "str | None"},
          {"is_encoder_decoder", &is_encoder_decoder, "bool"},
          {"label2id", &label2id, "dict | None"},
          {"output_attentions", &output_attentions, "bool"},
          {"output_hidden_states", &output_hidden_states, "bool"},
          {"problem_type", &problem_type, "str | None"},
          {"return_dict", &return_dict, "bool"}};
}

std::string PretrainedConfig::own_name(const std::string& name) const {
  for (const ConfigAlias& alias : aliases())
    if (name == alias.name) return alias.attribute;
  for (const ConfigAlias& alias : kBaseAliases)
    if (name == alias.name) return alias.attribute;
  return name;
}

bool PretrainedConfig::has(const std::string& name) const {
  auto& self = const_cast<PretrainedConfig&>(*this);  // fields() hands out pointers for set(); only read here
  const std::string own = own_name(name);
  return own == "id2label" || own == "num_labels" || find_field(self.fields(), own) != nullptr ||
         find_field(self.base_fields(), own) != nullptr || extra.contains(own);
}

Json PretrainedConfig::get(const std::string& name) const {
  if (name == "num_labels") return num_labels();
  auto& self = const_cast<PretrainedConfig&>(*this);  // as in has()
  const std::string own = own_name(name);
  if (const auto at = extra.find(own); at != extra.end()) return at->second;
  for (const std::vector<ConfigField>& fields : {self.fields(), self.base_fields()})
    if (const ConfigField* field = find_field(fields, own)) return get_field(*field);
  if (own == "id2label") return to_dict().at(own);
  throw Error(ErrorCode::invalid_argument, class_name(), "expected the name of an attribute but got '" + name + "'");
}

void PretrainedConfig::set(const std::string& name, const Json& value, const std::string& where) {
  const std::string own = own_name(name);
  const std::vector<ConfigField> fields = this->fields(), base = base_fields();
  const ConfigField* field = find_field(fields, own);
  if (field == nullptr) field = find_field(base, own);
  if (own == "dtype") {
    dtype = torch_dtype(value, where);
  } else if (field != nullptr) {
    set_field(*field, value, where);
  } else if (own == "id2label") {
    set_id2label(value, where);
  } else if (own == "num_labels") {
    set_num_labels(value, where);
  } else if (contains(kGenerationKeys, own)) {
    throw Error(ErrorCode::invalid_argument, where,
                "expected an attribute but got '" + name +
                    "', a parameter of generation: it belongs to generation_config.json");
  } else if (!contains(kDroppedKeys, own)) {
    extra[own] = value;
  }
}

void PretrainedConfig::update(const Json& values, const std::string& where) {
  for (const auto& [key, value] : members_of(values, where)) set(key, value, where);
}

// In transformers' order, which decides who wins: declared attributes, what depends on them, dtype and labels, and then
// all other keys, aliases among them.
void PretrainedConfig::init(const Json& values, const std::string& where) {
  const std::vector<ConfigField> own = fields(), base = base_fields();
  const Json::Object& members = members_of(values, where);
  Json::Object rest;
  for (const auto& [key, value] : members) {
    const ConfigField* field = find_field(own, key);
    if (field == nullptr) field = find_field(base, key);
    if (field != nullptr)
      set_field(*field, value, where);
    else if (key != "torch_dtype" && key != "id2label" && !contains(kGenerationKeys, key))
      rest.emplace_back(key, value);
  }
  post_init(values);

  const Json* old_dtype = values.find("torch_dtype");
  dtype = torch_dtype(dtype.is_null() && old_dtype != nullptr ? *old_dtype : dtype, where);
  const Json* labels = values.find("id2label");
  const Json* count = values.find("num_labels");
  if (labels != nullptr && !labels->is_null()) {
    set_id2label(*labels, where);
    if (!values.contains("label2id")) label2id = nullptr;
  } else {
    set_id2label(nullptr, where);
    if (count != nullptr) set_num_labels(*count, where);
  }
  if (problem_type == Json("single_label_classification") && num_labels() == 1)
    throw Error(ErrorCode::invalid_argument, where,
                "problem_type 'single_label_classification' expected num_labels > 1 but got 1: for a binary "
                "classification use num_labels 2, for one output of a regression problem_type 'regression'");
  for (const auto& [key, value] : rest) {
    if (key == "per_layer_config" && !value.is_null())
      throw Error(ErrorCode::unsupported, where,
                  "expected the same configuration for all layers but got per_layer_config");
    if (key != "per_layer_config") set(key, value, where);
  }
  validate();
}

void PretrainedConfig::from_dict(const Json& values, const Json& overrides, const std::string& where, Json* unused) {
  Json merged = Json::Object(members_of(values, where));
  for (const char* key : {"num_labels", "output_attentions", "torch_dtype", "dtype"}) {
    const Json* value = members_of(overrides, class_name()).empty() ? nullptr : overrides.find(key);
    if (value != nullptr && *value != Json("auto")) merged.set(key, *value);
  }
  init(merged, where);
  if (unused != nullptr) *unused = Json::Object{};
  for (const auto& [key, value] : members_of(overrides, class_name())) {
    if (!has(key)) {
      if (unused != nullptr) unused->set(key, value);
    } else if (own_name(key) != "dtype" || value != Json("auto")) {
      set(key, value);
    }
  }
  validate();
}

// null: two labels without names.
void PretrainedConfig::set_id2label(const Json& labels, const std::string& where) {
  if (labels.is_null()) {
    id2label.clear();
    return set_num_labels(2, where);
  }
  if (!labels.is_object()) wrong_type(where, "id2label", "dict | None", labels);
  std::map<int64_t, std::string> parsed;
  for (const auto& [key, value] : labels.as_object()) {
    if (!value.is_string()) wrong_type(where, "id2label." + key, "str", value);
    size_t used = 0;
    int64_t id = -1;
    try {
      id = std::stoll(key, &used);
    } catch (const std::exception&) {
    }
    if (used != key.size() || key.empty()) wrong_type(where, "id2label", "integer keys", Json(key));
    parsed[id] = value.as_string();
  }
  id2label = std::move(parsed);
}

void PretrainedConfig::set_num_labels(const Json& count, const std::string& where) {
  if (!count.is_integer() || count.as_int() < 0 || count.as_int() > 1'000'000)
    wrong_type(where, "num_labels", "int from 0 to 1000000", count);
  if (count.as_int() == num_labels()) return;
  id2label.clear();
  Json::Object names;
  for (int64_t i = 0; i < count.as_int(); i++) {
    id2label[i] = "LABEL_" + std::to_string(i);
    names.emplace_back(id2label[i], i);
  }
  label2id = std::move(names);
}

void PretrainedConfig::save_pretrained(const std::string& directory) const {
  namespace fs = std::filesystem;
  validate();
  const std::string text = json_text(to_diff_dict());
  std::error_code error;
  fs::create_directories(directory, error);
  if (!fs::is_directory(directory, error))
    throw Error(
        ErrorCode::io, directory,
        "expected to make this directory but could not: " + (error ? error.message() : std::string("it is a file")));
  write_atomically((fs::path(directory) / "config.json").string(), text);
}

Json PretrainedConfig::to_dict() const {
  auto& self = const_cast<PretrainedConfig&>(*this);  // as in has()
  Json::Object dict(extra.begin(), extra.end());      // keys all differ: no search, which many keys would make slow
  for (const ConfigField& field : self.base_fields()) dict.emplace_back(field.name, get_field(field));
  Json::Object labels;
  for (const auto& [id, label] : id2label) labels.emplace_back(std::to_string(id), label);
  dict.emplace_back("id2label", std::move(labels));
  for (const ConfigField& field : self.fields()) dict.emplace_back(field.name, get_field(field));
  dict.emplace_back("model_type", model_type());
  dict.emplace_back("transformers_version", kTransformersVersion);
  return dict;
}

Json PretrainedConfig::to_diff_dict() const {
  Json dict = to_dict();
  const Json defaults = BareConfig().to_dict();
  for (const auto& [key, value] : defaults.as_object())
    if (key != "model_type" && key != "transformers_version" && dict.at(key) == value) dict.erase(key);
  dict.erase("_name_or_path");
  return dict;
}

std::string PretrainedConfig::str() const {
  Json dict = to_diff_dict();
  const Json class_defaults = fresh()->to_dict(), old_defaults = old_base_defaults();
  for (const auto& [key, value] : old_defaults.as_object()) {
    const Json *now = dict.find(key), *of_class = class_defaults.find(key);
    if (now != nullptr && *now == value && (of_class == nullptr || *of_class == value)) dict.erase(key);
  }
  return std::string(class_name()) + " " + json_text(dict);
}

bool PretrainedConfig::operator==(const PretrainedConfig& other) const {
  auto text = [](const PretrainedConfig& config) {
    Json dict = config.to_dict();
    dict.erase("_name_or_path");
    return config.class_name() + json_text(dict);
  };
  return text(*this) == text(other);
}

std::ostream& operator<<(std::ostream& out, const PretrainedConfig& config) { return out << config.str(); }

Json load_config_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool directory = fs::is_directory(path, ignored);
  const std::string file = directory ? (fs::path(path) / "config.json").string() : path;
  if (!fs::exists(file, ignored))
    throw Error(ErrorCode::not_found, path,
                directory ? "expected a config.json in this directory but found none"
                          : "expected a directory with a config.json, or such a file, but found neither");
  return decode_special_floats(Json::parse_file(file));
}

}  // namespace caracal
