#include <caracal/models/configuration_utils.h>

#include <algorithm>
#include <filesystem>

#include <caracal/runtime/error.h>

namespace caracal {
namespace {

[[noreturn]] void wrong_type(const std::string& where, const std::string& name, const char* expected, const Json& got) {
  throw Error(
      ErrorCode::invalid_argument, where,
      "field '" + name + "' expected " + expected + " but got " + got.type_name() + " (value: " + got.dump() + ")");
}

// True when `type` ("float | int | None") names the type of `value`.
bool type_allows(std::string_view type, const Json& value) {
  const std::string_view name = value.is_null() ? "None" : value.type_name();
  for (size_t begin = 0; begin <= type.size();) {
    const size_t end = std::min(type.find(" | ", begin), type.size());
    if (type.substr(begin, end - begin) == name) return true;
    begin = end + 3;
  }
  return false;
}

void set_field(const ConfigField& field, const Json& value, const std::string& where) {
  if (!type_allows(field.type, value)) wrong_type(where, field.name, field.type, value);
  std::visit(
      [&]<class T>(T* target) {
        if constexpr (std::is_same_v<T, bool>)
          *target = value.as_bool();
        else if constexpr (std::is_same_v<T, int64_t>)
          *target = value.as_int();
        else if constexpr (std::is_same_v<T, double>)
          *target = value.as_double();
        else if constexpr (std::is_same_v<T, std::string>)
          *target = value.as_string();
        else
          *target = value;
      },
      field.value);
}

Json get_field(const ConfigField& field) {
  return std::visit([](auto* value) { return Json(*value); }, field.value);
}

const ConfigField* find_field(const std::vector<ConfigField>& fields, std::string_view name) {
  auto at = std::find_if(fields.begin(), fields.end(), [&](const ConfigField& field) { return name == field.name; });
  return at == fields.end() ? nullptr : &*at;
}

// Parameters of generation that old configurations carry: transformers drops them (GenerationConfig has them now).
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

// Keys that are no attributes: handled elsewhere, or of meaning to Python only.
constexpr std::string_view kOtherKeys[] = {"id2label",
                                           "label2id",
                                           "num_labels",
                                           "model_type",
                                           "transformers_version",
                                           "_name_or_path",
                                           "name_or_path",
                                           "_commit_hash",
                                           "attn_implementation",
                                           "_attn_implementation",
                                           "experts_implementation"};

// Nothing but the base attributes, at their defaults.
struct BareConfig final : ConfigOf<BareConfig> {
  static constexpr const char *kModelType = "", *kClassName = "";
  std::vector<ConfigField> fields() override { return {}; }
};

}  // namespace

std::vector<ConfigField> PretrainedConfig::base_fields() {
  return {{"architectures", &architectures, "list | None"},
          {"chunk_size_feed_forward", &chunk_size_feed_forward, "int"},
          {"dtype", &dtype, "str | None"},
          {"is_encoder_decoder", &is_encoder_decoder, "bool"},
          {"output_attentions", &output_attentions, "bool"},
          {"output_hidden_states", &output_hidden_states, "bool"},
          {"problem_type", &problem_type, "str | None"},
          {"return_dict", &return_dict, "bool"}};
}

void PretrainedConfig::update(const Json& values, const std::string& where) {
  if (values.is_null()) return;
  if (!values.is_object())
    throw Error(ErrorCode::invalid_argument, where,
                std::string("expected an object of configuration keys but got ") + values.type_name());
  const std::vector<ConfigField> own = fields(), base = base_fields();
  const bool first = extra.as_object().empty();
  for (const auto& [key, value] : values.as_object()) {
    const ConfigField* field = find_field(own, key);
    if (field == nullptr) field = find_field(base, key);
    if (field != nullptr) {
      set_field(*field, value, where);
    } else if (std::ranges::find(kOtherKeys, key) != std::end(kOtherKeys) ||
               std::ranges::find(kGenerationKeys, key) != std::end(kGenerationKeys)) {
      continue;
    } else if (key == "torch_dtype") {
      if (!values.contains("dtype")) set_field(*find_field(base, "dtype"), value, where);
    } else if (first) {
      extra.as_object().emplace_back(key, value);  // keys are unique: no search, which hostile files would make slow
    } else {
      extra.set(key, value);
    }
  }
  set_labels(values, where);
}

// id2label, label2id and num_labels together: num_labels builds LABEL_0 … for both maps unless id2label has as many.
void PretrainedConfig::set_labels(const Json& values, const std::string& where) {
  if (const Json* labels = values.find("label2id")) {
    if (!labels->is_object() && !labels->is_null()) wrong_type(where, "label2id", "dict | None", *labels);
    label2id = *labels;
  }
  const Json* labels = values.find("id2label");
  if (labels != nullptr && !labels->is_null()) {
    if (!labels->is_object()) wrong_type(where, "id2label", "dict | None", *labels);
    id2label.clear();
    for (const auto& [key, value] : labels->as_object()) {
      if (!value.is_string()) wrong_type(where, "id2label." + key, "str", value);
      size_t used = 0;
      int64_t id = -1;
      try {
        id = std::stoll(key, &used);
      } catch (const std::exception&) {
      }
      if (used != key.size() || key.empty()) wrong_type(where, "id2label", "integer keys", Json(key));
      id2label[id] = value.as_string();
    }
    if (!values.contains("label2id")) label2id = nullptr;
  }
  const Json* count = values.find("num_labels");
  if (count == nullptr) return;
  if (!count->is_integer() || count->as_int() < 0 || count->as_int() > 1'000'000)
    wrong_type(where, "num_labels", "int", *count);
  if (count->as_int() == num_labels()) return;
  id2label.clear();
  Json::Object names;
  for (int64_t i = 0; i < count->as_int(); i++) {
    id2label[i] = "LABEL_" + std::to_string(i);
    names.emplace_back(id2label[i], i);
  }
  label2id = std::move(names);
}

Json PretrainedConfig::to_dict() const {
  auto& self = const_cast<PretrainedConfig&>(*this);  // fields() hands out pointers for update(); only read here
  Json dict = extra;
  for (const ConfigField& field : self.base_fields()) dict.set(field.name, get_field(field));
  Json::Object labels;
  for (const auto& [id, label] : id2label) labels.emplace_back(std::to_string(id), label);
  dict.set("id2label", std::move(labels));
  dict.set("label2id", label2id);
  for (const ConfigField& field : self.fields()) dict.set(field.name, get_field(field));
  dict.set("model_type", model_type());
  dict.set("transformers_version", kTransformersVersion);
  return dict;
}

Json PretrainedConfig::to_diff_dict() const {
  Json dict = to_dict();
  const Json defaults = BareConfig().to_dict();
  for (const auto& [key, value] : defaults.as_object())
    if (key != "model_type" && key != "transformers_version" && dict.at(key) == value) dict.erase(key);
  return dict;
}

std::string PretrainedConfig::str() const {
  return std::string(class_name()) + " " + to_diff_dict().dump(2, true) + "\n";
}

Json load_config_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return Json::parse_file(path);
  const std::string file = (fs::path(path) / "config.json").string();
  if (!fs::exists(file, ignored))
    throw Error(ErrorCode::not_found, path, "expected a config.json in this directory but found none");
  return Json::parse_file(file);
}

}  // namespace caracal
