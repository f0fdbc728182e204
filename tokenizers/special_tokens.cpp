#include <caracal/tokenizers/special_tokens.h>

#include <algorithm>

#include <caracal/runtime/error.h>

namespace caracal {

AddedToken added_token_from_json(const Json& json, bool special) {
  AddedToken token{.special = special};
  if (json.is_string()) {
    token.content = json.as_string();
    token.normalized = !special;
    return token;
  }
  if (!json.is_object()) {
    throw Error(ErrorCode::bad_file, "tokenizer_config.json",
                "expected a special token as str or dict but got " + std::string(json.type_name()));
  }
  const auto flag = [&json](const char* key, bool otherwise) {
    const Json* value = json.find(key);
    return value != nullptr && !value->is_null() ? value->as_bool() : otherwise;
  };
  token.content = json.at("content").as_string();
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.special = flag("special", special);
  token.normalized = flag("normalized", !token.special);
  return token;
}

std::vector<std::pair<std::string, AddedToken>> named_special_tokens(const Json& init_kwargs) {
  std::vector<std::pair<std::string, AddedToken>> tokens;
  for (const char* name : kSpecialTokenNames) {
    if (const Json* value = init_kwargs.find(name); value != nullptr && !value->is_null()) {
      tokens.emplace_back(name, added_token_from_json(*value, true));
    }
  }
  if (!init_kwargs.is_object()) return tokens;
  for (const auto& [key, value] : init_kwargs.as_object()) {
    const bool standard =
        std::find(std::begin(kSpecialTokenNames), std::end(kSpecialTokenNames), key) != std::end(kSpecialTokenNames);
    const bool is_token = value.is_string() || (value.is_object() && value.contains("content"));
    if (!standard && key.ends_with("_token") && is_token) tokens.emplace_back(key, added_token_from_json(value, true));
  }
  if (const Json* extra = init_kwargs.find("extra_special_tokens"); extra != nullptr && extra->is_object()) {
    for (const auto& [key, value] : extra->as_object()) tokens.emplace_back(key, added_token_from_json(value, true));
  }
  return tokens;
}

std::vector<AddedToken> extra_special_tokens(const Json& init_kwargs) {
  std::vector<AddedToken> tokens;
  if (const Json* extra = init_kwargs.find("extra_special_tokens"); extra != nullptr && extra->is_array()) {
    for (const Json& value : extra->as_array()) tokens.push_back(added_token_from_json(value, true));
  }
  return tokens;
}

std::vector<AddedToken> special_tokens_of(const Json& init_kwargs) {
  std::vector<AddedToken> all = extra_special_tokens(init_kwargs);
  for (auto& [name, token] : named_special_tokens(init_kwargs)) all.push_back(std::move(token));
  return all;
}

}  // namespace caracal
