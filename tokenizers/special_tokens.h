// Special tokens as tokenizer_config.json writes them: strings, or objects with flags.
#pragma once

#include <string>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/added_tokens.h>

namespace caracal {

/// The attributes that name a special token, in transformers' order.
inline constexpr const char* kSpecialTokenNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                     "pad_token", "cls_token", "mask_token"};

/// A token from a string, or from an object with "content" and flags; missing flags take transformers' defaults
/// (normalized: not special). `special` is the default of that flag. Throws bad_file for another type.
AddedToken added_token_from_json(const Json& json, bool special);

/// Named special tokens of init arguments: the standard names that are set, then other keys that end in "_token".
std::vector<std::pair<std::string, AddedToken>> named_special_tokens(const Json& init_kwargs);
/// The list "extra_special_tokens".
std::vector<AddedToken> extra_special_tokens(const Json& init_kwargs);
/// All of them.
std::vector<AddedToken> special_tokens_of(const Json& init_kwargs);

}  // namespace caracal
