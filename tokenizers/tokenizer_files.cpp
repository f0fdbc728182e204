// read_tokenizer_files: which files a tokenizer is made of, in the order in which transformers reads them.
#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/files.h>
#include <caracal/tokenizers/special_tokens.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

// False when there is nothing; throws io when that cannot be told (no permission, too long a name, a loop of links).
bool has_type(const fs::path& path, fs::file_type wanted) {
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  if (type == fs::file_type::none) {
    throw Error(ErrorCode::io, path.string(), "expected a file or directory but got: " + error.message());
  }
  return type == wanted;
}

bool is_file(const fs::path& path) { return has_type(path, fs::file_type::regular); }

Json read_optional(const fs::path& path) { return is_file(path) ? Json::parse_file(path.string()) : Json(); }

Json read_object(const fs::path& path) {
  Json json = read_optional(path);
  if (!json.is_null() && !json.is_object()) {
    throw Error(ErrorCode::bad_file, path.string(), "expected dict but got " + std::string(json.type_name()));
  }
  return json;
}

// special_tokens_map.json wins over tokenizer_config.json, but not over what the caller gave.
void merge_special_tokens_map(Json& init_kwargs, const Json& map, const Json& overrides) {
  if (map.is_null()) return;
  for (const auto& [key, value] : map.as_object()) {
    if (const Json* given = overrides.find(key); given != nullptr && !given->is_null()) continue;
    Json merged = value;
    if (value.is_object() && key != "extra_special_tokens") merged.set("special", true);
    if (key == "extra_special_tokens" && value.is_array()) {
      Json::Array list;
      if (const Json* old = init_kwargs.find(key); old != nullptr && old->is_array()) list = old->as_array();
      for (const Json& token : value.as_array()) {
        if (std::find(list.begin(), list.end(), token) == list.end()) list.push_back(token);
      }
      merged = list;
    }
    init_kwargs.set(key, std::move(merged));
  }
}

void read_tokenizer_json_of(TokenizerFiles& files) {
  tokenizers::TokenizerJson json = tokenizers::read_tokenizer_json(files.tokenizer_file);
  files.tokenizer_json = std::move(json.content);
  files.model_data = std::move(json.data);
}

}  // namespace

TokenizerFiles read_tokenizer_files(const std::string& path, const Json& overrides, std::string_view vocabulary) {
  const fs::path root(path);
  TokenizerFiles files;
  Json special_tokens_map, added_tokens;
  const auto add_source = [&](const std::string& name) {
    files.init_source += (files.init_source.empty() ? "" : " or ") + name;
  };
  if (has_type(root, fs::file_type::directory)) {
    if (is_file(root / "tokenizer.json")) files.tokenizer_file = (root / "tokenizer.json").string();
    for (const std::string_view name : {std::string_view("vocab.json"), std::string_view("vocab.txt"), vocabulary}) {
      if (is_file(root / name)) files.vocab_file = (root / name).string();  // the last one wins
    }
    if (is_file(root / "merges.txt")) files.merges_file = (root / "merges.txt").string();
    if (Json config = read_object(root / "tokenizer_config.json"); !config.is_null()) {
      files.init_kwargs = std::move(config);
      add_source((root / "tokenizer_config.json").string());
    }
    special_tokens_map = read_object(root / "special_tokens_map.json");
    added_tokens = read_object(root / "added_tokens.json");
  } else if (is_file(root)) {
    (path.ends_with("tokenizer.json") ? files.tokenizer_file : files.vocab_file) = path;
  }
  if (files.tokenizer_file.empty() && files.vocab_file.empty()) {
    throw Error(ErrorCode::not_found, path, "expected a tokenizer.json, a vocab.txt or a vocab.json but found none");
  }
  if (!files.tokenizer_file.empty()) read_tokenizer_json_of(files);

  Json& init = files.init_kwargs;
  if (overrides.is_object()) {
    for (const auto& [key, value] : overrides.as_object()) init.set(key, value);
    if (!overrides.as_object().empty()) add_source("the arguments");
  }
  const auto empty = [](const Json* list) {
    return list == nullptr || list->is_null() || (list->is_array() && list->as_array().empty());
  };
  if (const Json* old = init.find("additional_special_tokens");
      old != nullptr && empty(init.find("extra_special_tokens"))) {
    init.set("extra_special_tokens", Json(*old));
  }

  std::map<int64_t, AddedToken> by_id;
  if (const Json* decoder = init.find("added_tokens_decoder"); decoder != nullptr && decoder->is_object()) {
    for (const auto& [id, token] : decoder->as_object()) {
      try {
        by_id[std::stoll(id)] =
            in_file(files.init_source, [&token = token] { return added_token_from_json(token, false); });
      } catch (const std::logic_error&) {  // of stoll
        throw Error(ErrorCode::bad_file, path, "expected ids as keys of added_tokens_decoder but got '" + id + "'");
      }
    }
  } else {
    merge_special_tokens_map(init, special_tokens_map, overrides);
    if (!special_tokens_map.is_null()) add_source((root / "special_tokens_map.json").string());
    if (!added_tokens.is_null()) {
      const std::vector<AddedToken> special = in_file(files.init_source, [&] { return special_tokens_of(init); });
      for (const auto& [content, id] : added_tokens.as_object()) {
        const bool is_special = std::any_of(special.begin(), special.end(),
                                            [&content = content](const AddedToken& t) { return t.content == content; });
        const int64_t number = in_file((root / "added_tokens.json").string(), [&id = id] { return id.as_int(); });
        by_id[number] = {.content = content, .normalized = !is_special, .special = is_special};
      }
    }
    if (const Json* list = files.tokenizer_json.find("added_tokens"); list != nullptr && list->is_array()) {
      in_file(files.tokenizer_file, [&] {
        for (const Json& token : list->as_array()) by_id[token.at("id").as_int()] = added_token_from_json(token, false);
      });
    }
  }
  for (auto& [id, token] : by_id) files.added_tokens.push_back(std::move(token));
  return files;
}

TokenizerFiles tokenizer_files_of(const Json& arguments) {
  TokenizerFiles files;
  files.init_source = "the arguments";
  for (const auto& [key, value] : arguments.as_object()) {
    if (key == "vocab_file" || key == "merges_file" || key == "tokenizer_file") {
      (key == "vocab_file"    ? files.vocab_file
       : key == "merges_file" ? files.merges_file
                              : files.tokenizer_file) = value.as_string();
    } else {
      files.init_kwargs.set(key, value);
    }
  }
  if (files.tokenizer_file.empty() && files.vocab_file.empty()) {
    throw Error(ErrorCode::invalid_argument, "tokenizer", "expected vocab_file or tokenizer_file among the arguments");
  }
  if (!files.tokenizer_file.empty()) read_tokenizer_json_of(files);
  return files;
}

TokenizerFiles with_defaults(TokenizerFiles files, const Json& defaults) {
  for (const auto& [key, value] : defaults.as_object()) {
    if (!files.init_kwargs.contains(key)) files.init_kwargs.set(key, value);
  }
  return files;
}

bool flag_of(const TokenizerFiles& files, const char* key, bool otherwise) {
  const Json* value = files.init_kwargs.find(key);
  return value != nullptr && !value->is_null() ? value->as_bool() : otherwise;
}

std::string token_of(const TokenizerFiles& files, const char* key, const char* otherwise) {
  const Json* value = files.init_kwargs.find(key);
  return value != nullptr && !value->is_null() ? added_token_from_json(*value, true).content : otherwise;
}

std::shared_ptr<const tokenizers::ModelData> model_data_of(const TokenizerFiles& files) {
  if (!files.tokenizer_file.empty()) {
    in_file(files.tokenizer_file, [&] { return files.tokenizer_json.at("model").at("vocab").as_object().size(); });
    return files.model_data;
  }
  auto data = std::make_shared<tokenizers::ModelData>();
  if (files.vocab_file.ends_with(".json")) {
    const Json vocab = tokenizers::parse_tokenizer_file(files.vocab_file);
    data->vocabulary = in_file(files.vocab_file, [&] { return tokenizers::vocabulary_from_json(vocab); });
    if (!files.merges_file.empty()) tokenizers::read_merges_txt(files.merges_file, *data);
  } else {
    tokenizers::read_vocab_txt(files.vocab_file, *data);
  }
  return data;
}

}  // namespace caracal
