#include <caracal/models/tokenization_auto.h>

#include <filesystem>
#include <system_error>

#include <caracal/loaders/hub_cache.h>
#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/bert/tokenization_bert_legacy.h>
#include <caracal/models/clip/tokenization_clip.h>
#include <caracal/models/distilbert/tokenization_distilbert.h>
#include <caracal/models/gpt2/tokenization_gpt2.h>
#include <caracal/models/layoutlmv2/tokenization_layoutlmv2.h>
#include <caracal/models/roberta/tokenization_roberta.h>
#include <caracal/models/wav2vec2/tokenization_wav2vec2.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

using Load = PreTrainedTokenizerBase (*)(const std::string& path, const Json& overrides);

template <class T>
PreTrainedTokenizerBase load(const std::string& path, const Json& overrides) {
  return T::from_pretrained(path, overrides);
}

struct TokenizerEntry {
  const char* class_name;  // without "Fast"
  Load load;
};

constexpr TokenizerEntry kTokenizers[] = {
    {"BertTokenizer", load<BertTokenizer>},
    {"BertTokenizerLegacy", load<BertTokenizerLegacy>},
    {"CLIPTokenizer", load<CLIPTokenizer>},
    {"DistilBertTokenizer", load<DistilBertTokenizer>},
    {"GPT2Tokenizer", load<GPT2Tokenizer>},
    {"LayoutLMv2Tokenizer", load<LayoutLMv2Tokenizer>},
    {"PreTrainedTokenizerFast", load<PreTrainedTokenizerFast>},
    {"RobertaTokenizer", load<RobertaTokenizer>},
    {"TokenizersBackend", load<PreTrainedTokenizerFast>},
    {"Wav2Vec2CTCTokenizer", load<Wav2Vec2CTCTokenizer>},
};

// The class of a configuration that names none, as in transformers.
constexpr std::pair<const char*, const char*> kModelTypes[] = {
    {"bart", "RobertaTokenizer"},
    {"bert", "BertTokenizer"},
    {"clip", "CLIPTokenizer"},
    {"convbert", "BertTokenizer"},
    {"data2vec-text", "RobertaTokenizer"},
    {"distilbert", "BertTokenizer"},
    {"gpt2", "GPT2Tokenizer"},
    {"hubert", "Wav2Vec2CTCTokenizer"},
    {"layoutlm", "BertTokenizer"},
    {"layoutlmv2", "LayoutLMv2Tokenizer"},
    {"longformer", "RobertaTokenizer"},
    {"megatron-bert", "BertTokenizer"},
    {"roberta", "RobertaTokenizer"},
    {"roberta-prelayernorm", "RobertaTokenizer"},
    {"squeezebert", "BertTokenizer"},
    {"visual_bert", "BertTokenizer"},
    {"wav2vec2", "Wav2Vec2CTCTokenizer"},
    {"wav2vec2-bert", "Wav2Vec2CTCTokenizer"},
    {"wav2vec2-conformer", "Wav2Vec2CTCTokenizer"},
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

// Here and not in tokenizers/, which know nothing of names of the hub.
PreTrainedTokenizerFast PreTrainedTokenizerFast::from_pretrained(const std::string& path, const Json& overrides) {
  return load(path, overrides, "PreTrainedTokenizerFast", false);
}

PreTrainedTokenizerFast PreTrainedTokenizerFast::in_place_of(const std::string& class_name, const std::string& path,
                                                             const Json& overrides) {
  return load(path, overrides, class_name, true);
}

PreTrainedTokenizerFast PreTrainedTokenizerFast::load(const std::string& path, const Json& overrides,
                                                      const std::string& class_name, bool exact_scores) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  const TokenizerFiles files = read_tokenizer_files(at.path, at.overrides);
  if (files.tokenizer_file.empty()) {
    throw Error(ErrorCode::not_found, at.path, "expected a tokenizer.json but found none");
  }
  files.model_data->exact_scores = exact_scores;
  auto pipeline = in_file(files.tokenizer_file,
                          [&] { return tokenizers::Tokenizer::from_json(files.tokenizer_json, *files.model_data); });
  return {std::move(pipeline), files, class_name};
}

PreTrainedTokenizerBase AutoTokenizer::from_pretrained(const std::string& name_or_path, const Json& arguments) {
  const LocatedFiles at = locate_files(name_or_path, HubPart::tokenizer, arguments);
  const std::string& path = at.path;
  const Json& overrides = at.overrides;
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
  std::string wanted = class_name;
  for (const auto& [type, name] : kModelTypes) {
    if (class_name.empty() && model_type == type) wanted = name;
  }
  // transformers has no slow class left; here use_fast false gives the plain algorithm where there is one.
  const Json* use_fast = overrides.find("use_fast");
  if (wanted == "BertTokenizer" && use_fast != nullptr && use_fast->is_bool() && !use_fast->as_bool()) {
    wanted = "BertTokenizerLegacy";
  }
  for (const TokenizerEntry& entry : kTokenizers) {
    if (wanted == entry.class_name) return entry.load(path, overrides);
  }
  if (fs::is_regular_file(root / "tokenizer.json", ignored)) {
    return class_name.empty() ? PreTrainedTokenizerFast::from_pretrained(path, overrides)
                              : PreTrainedTokenizerFast::in_place_of(class_name, path, overrides);
  }
  std::string known;
  for (const TokenizerEntry& entry : kTokenizers) known += (known.empty() ? "" : ", ") + std::string(entry.class_name);
  throw Error(ErrorCode::unsupported, path,
              "expected a tokenizer.json or one of " + known + " but got " +
                  (class_name.empty() ? "model type '" + model_type + "'" : "tokenizer class '" + class_name + "'"));
}

}  // namespace caracal
