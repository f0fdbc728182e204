// What the five kinds of tokenizer.json components share when they are read.
#pragma once

#include <string>
#include <string_view>

#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>

namespace caracal::tokenizers {

/// The "type" of a component; throws bad_file when it is missing or not a string.
inline const std::string& component_type(const Json& json, std::string_view kind) {
  const Json* type = json.find("type");
  if (type == nullptr || !type->is_string()) {
    throw Error(ErrorCode::bad_file, "tokenizer.json", "expected a string 'type' in " + std::string(kind));
  }
  return type->as_string();
}

/// Refuses a component that is not built in, naming it.
[[noreturn]] inline void throw_unsupported_component(std::string_view kind, std::string_view type) {
  throw Error(ErrorCode::unsupported, "tokenizer.json",
              std::string(kind) + " of type '" + std::string(type) + "' is not supported");
}

}  // namespace caracal::tokenizers
