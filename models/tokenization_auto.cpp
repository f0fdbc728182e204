#include <caracal/models/tokenization_auto.h>

#include <filesystem>
#include <system_error>

#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

struct TokenizerEntry {
  const char* class_name;  // without "Fast"
  const char* model_type;  // of the configurations that use it by default
  PreTrainedTokenizerBase (*load)(const std::string& path, const Json& overrides);
};

constexpr TokenizerEntry kTokenizers[] = {
    {"BertTokenizer", "bert",
     [](const std::string& path, const Json& overrides) -> PreTrainedTokenizerBase {
       return BertTokenizer::from_pretrained(path, overrides);
     }},
};

namespace fs = std::filesystem;

std::string string_member(const fs::path& file, const char* key) {
  std::error_code ignored;
  const fs::file_type type = fs::status(file, ignored).type();
  // Of a file that cannot be looked at (type none) parse_file says why.
  if (type != fs::file_type::regular && type != fs::file_type::none) return {};
  const Json json = Json::parse_file(file.string());
  const Json* value = json.find(key);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}

}  // namespace

PreTrainedTokenizerBase AutoTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const fs::path root(path);
  std::error_code ignored;
  const bool is_directory = fs::is_directory(root, ignored);
  if (!is_directory && path.ends_with("tokenizer.json"))
    return PreTrainedTokenizerFast::from_pretrained(path, overrides);
  if (!is_directory) return BertTokenizer::from_pretrained(path, overrides);

  std::string class_name = string_member(root / "tokenizer_config.json", "tokenizer_class");
  if (class_name.empty()) class_name = string_member(root / "config.json", "tokenizer_class");
  if (class_name != "PreTrainedTokenizerFast" && class_name.ends_with("Fast")) class_name.resize(class_name.size() - 4);
  const std::string model_type = class_name.empty() ? string_member(root / "config.json", "model_type") : std::string();
  for (const TokenizerEntry& entry : kTokenizers) {
    if (class_name.empty() ? model_type == entry.model_type : class_name == entry.class_name)
      return entry.load(path, overrides);
  }
  if (fs::is_regular_file(root / "tokenizer.json", ignored))
    return PreTrainedTokenizerFast::from_pretrained(path, overrides);
  std::string known;
  for (const TokenizerEntry& entry : kTokenizers) known += (known.empty() ? "" : ", ") + std::string(entry.class_name);
  throw Error(ErrorCode::unsupported, path,
              "expected a tokenizer.json or one of " + known + " but got " +
                  (class_name.empty() ? "model type '" + model_type + "'" : "tokenizer class '" + class_name + "'"));
}

}  // namespace caracal
