#include <caracal/models/pipelines/arguments.h>

#include <algorithm>

namespace caracal {

Arguments::Arguments(const Json& values, std::string where) : values_(values), where_(std::move(where)) {
  if (!values.is_null() && !values.is_object())
    throw Error(ErrorCode::invalid_argument, where_,
                std::string("expected an object of arguments but got ") + values.type_name());
}

void Arguments::refuse(const std::string& name, const std::string& what) const {
  throw Error(ErrorCode::invalid_argument, where_ + ": " + name, what);
}

bool Arguments::given(const char* name) const {
  if (std::ranges::find(known_, name) == known_.end()) known_.push_back(name);
  return values_.contains(name);
}

const Json* Arguments::find(const char* name) const {
  const Json* value = given(name) ? values_.find(name) : nullptr;
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool Arguments::flag(const char* name, bool otherwise) const {
  const Json* value = find(name);
  if (value != nullptr && !value->is_bool()) refuse(name, "expected true or false but got " + value->dump());
  return value != nullptr ? value->as_bool() : otherwise;
}

std::optional<int64_t> Arguments::integer(const char* name, int64_t least) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_integer() || value->as_int() < least)
    refuse(name, "expected an integer of at least " + std::to_string(least) + " but got " + value->dump());
  return value->as_int();
}

std::optional<double> Arguments::number(const char* name, double least) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_number() || !(value->as_double() >= least))
    refuse(name, "expected a number of at least " + Json(least).dump() + " but got " + value->dump());
  return value->as_double();
}

std::string Arguments::choice(const char* name, std::span<const std::string_view> choices) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string() && std::ranges::find(choices, value->as_string()) != choices.end()) return value->as_string();
  std::string list;
  for (std::string_view each : choices) list += (list.empty() ? "" : ", ") + std::string(each);
  refuse(name, "expected one of " + list + " but got " + value->dump());
}

std::optional<std::string> Arguments::text(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(name, "expected a string but got " + value->dump());
  return value->as_string();
}

std::optional<std::vector<std::string>> Arguments::strings(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return std::vector{value->as_string()};
  std::vector<std::string> list;
  if (value->is_array()) {
    for (const Json& each : value->as_array())
      if (each.is_string()) list.push_back(each.as_string());
  }
  if (!value->is_array() || list.size() != value->as_array().size())
    refuse(name, "expected a list of strings but got " + value->dump());
  return list;
}

Truncate Arguments::truncation() const {
  const Json* value = find("truncation");
  if (value == nullptr) return {};
  if (value->is_bool()) return value->as_bool();
  return choice("truncation", {"longest_first", "only_first", "only_second", "do_not_truncate"}).c_str();
}

TokenizeOptions Arguments::tokenizer_options() const {
  TokenizeOptions options{.truncation = truncation()};
  options.max_length = integer("max_length", 0);
  options.add_special_tokens = flag("add_special_tokens", true);
  if (const Json* value = find("padding"))
    options.padding =
        value->is_bool() ? Padding(value->as_bool()) : Padding(choice("padding", {"longest", "do_not_pad"}).c_str());
  return options;
}

TokenizeOptions Arguments::tokenizer_options(const char* name) const {
  const Json none, *values = find(name);
  const Arguments nested(values != nullptr ? *values : none, where_ + ": " + name);
  TokenizeOptions options = nested.tokenizer_options();
  nested.finish();
  return options;
}

void Arguments::finish() const {
  if (values_.is_null()) return;
  for (const auto& [name, unused] : values_.as_object()) {
    if (std::ranges::find(known_, name) != known_.end()) continue;
    std::string list;
    for (std::string_view each : known_) list += (list.empty() ? "" : ", ") + std::string(each);
    throw Error(
        ErrorCode::invalid_argument, where_,
        "expected " + (list.empty() ? "no arguments" : "an argument among " + list) + " but got '" + name + "'");
  }
}

}  // namespace caracal
