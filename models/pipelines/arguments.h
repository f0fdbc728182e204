// Arguments: keyword arguments of a pipeline's call, checked by name and type.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// Reads an object of arguments; null is one without any. What is asked for is an argument the callee has: finish()
/// throws for all others. Everything throws invalid_argument that names `where`, the argument and what was expected.
class Arguments {
 public:
  Arguments(const Json& values, std::string where);

  /// Null where it is not given, or is None.
  const Json* find(const char* name) const;
  bool given(const char* name) const;  // also as None
  bool flag(const char* name, bool otherwise) const;
  std::optional<int64_t> integer(const char* name, int64_t least) const;
  std::optional<double> number(const char* name, double least) const;
  /// One of `choices`; empty where it is not given.
  std::string choice(const char* name, std::span<const std::string_view> choices) const;
  std::string choice(const char* name, std::initializer_list<std::string_view> choices) const {
    return choice(name, std::span(choices.begin(), choices.size()));
  }
  std::optional<std::string> text(const char* name) const;
  /// A string or a list of strings.
  std::optional<std::vector<std::string>> strings(const char* name) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const;

  /// The tokenizer's own arguments that tasks on text pass on to it: truncation, max_length, add_special_tokens, and
  /// padding, which changes nothing for one text.
  Truncate truncation() const;
  TokenizeOptions tokenizer_options() const;
  /// The same, of an object of arguments.
  TokenizeOptions tokenizer_options(const char* name) const;

  void finish() const;

 private:
  const Json& values_;
  std::string where_;
  mutable std::vector<std::string_view> known_;
};

}  // namespace caracal
