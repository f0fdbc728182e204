// Json: the value type of config.json, tokenizer.json and their overrides. Parsing is strict (RFC 8259) and safe on
// hostile input; printing gives the bytes of Python's json.dumps. Unlike Python's parser it refuses NaN, Infinity, lone
// surrogates and floats beyond double's range; dump() of a double that is not finite prints NaN or Infinity as Python
// does.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <caracal/runtime/error.h>

namespace caracal {

class Json {
 public:
  enum class Type { null, boolean, integer, number, string, array, object };
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  /// Members in file order; keys are unique after parse().
  using Object = std::vector<Member>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool v) : value_(v) {}
  Json(int v) : value_(int64_t(v)) {}
  Json(int64_t v) : value_(v) {}
  Json(double v) : value_(v) {}
  Json(const char* v) : value_(std::string(v)) {}
  Json(std::string v) : value_(std::move(v)) {}
  Json(std::string_view v) : value_(std::string(v)) {}
  Json(Array v) : value_(std::move(v)) {}
  Json(Object v) : value_(std::move(v)) {}
  /// An object: Json config = {{"num_labels", 3}, {"activation", "relu"}};
  Json(std::initializer_list<Member> members) : value_(Object(members)) {}

  /// What to do when an object names a key twice.
  enum class Duplicates { last_wins, reject };
  /// Parses one JSON document; integers that fit int64 stay exact. Throws Error(bad_file) that names `where`, the
  /// byte offset and what was wrong (bad UTF-8, trailing bytes, depth over 128, a rejected duplicate key, …), or
  /// unsupported for a Git LFS pointer.
  static Json parse(std::string_view text, std::string_view where, Duplicates duplicates = Duplicates::last_wins);
  /// Reads and parses a whole file of at most 128 MiB. Throws not_found, io, and what parse() throws.
  static Json parse_file(const std::string& path);

  /// An integer too large for int64 reads as a number (as_double), but keeps its digits, so dump() gives them back:
  /// tokenizer_config.json's model_max_length is 1000000000000000019884624838656.
  Type type() const noexcept { return big_digits() ? Type::number : Type(value_.index()); }
  bool is_null() const noexcept { return type() == Type::null; }
  bool is_bool() const noexcept { return type() == Type::boolean; }
  bool is_integer() const noexcept { return type() == Type::integer; }
  /// True for integers and floating-point numbers.
  bool is_number() const noexcept { return type() == Type::integer || type() == Type::number; }
  bool is_string() const noexcept { return type() == Type::string; }
  bool is_array() const noexcept { return type() == Type::array; }
  bool is_object() const noexcept { return type() == Type::object; }
  /// "null", "bool", "int", "float", "str", "list" or "dict": Python's names, for error messages.
  const char* type_name() const noexcept;

  /// Typed access; throws Error(bad_file) "[json] expected int but got str" when the type differs (in_file names the
  /// file). as_double takes integers too.
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;
  Array& as_array();
  Object& as_object();

  /// Member `key` of an object, or null when absent (or when this is not an object).
  const Json* find(std::string_view key) const noexcept;
  /// Member `key`; throws Error(bad_file) when absent.
  const Json& at(std::string_view key) const;
  bool contains(std::string_view key) const noexcept { return find(key) != nullptr; }
  /// Sets or replaces member `key`; turns null into an object. Looks at every member, as find() and at() do: append to
  /// as_object() to build a large object of keys that are known to differ.
  void set(std::string_view key, Json value);
  void erase(std::string_view key);

  /// json.dumps of Python: indent < 0 gives one line with ", " and ": "; otherwise one element a line. Floats as
  /// Python's repr (1e-12, 0.1, 1.0), non-ASCII as \uXXXX unless ascii is false; sort_keys orders keys bytewise.
  std::string dump(int indent = -1, bool sort_keys = false, bool ascii = true) const;

  /// An integer of any size from its decimal digits (with an optional '-'), and those digits; null for all others.
  static Json big_integer(std::string digits);
  const std::string* big_digits() const noexcept;

  friend bool operator==(const Json&, const Json&) = default;

 private:
  struct BigInteger {
    std::string digits;
    friend bool operator==(const BigInteger&, const BigInteger&) = default;
  };
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object, BigInteger> value_;
};

/// Throws `error` again, which is being handled, as in_file does.
[[noreturn]] void rethrow_in_file(const Error& error, std::string_view path);

/// Returns read(), which looks at the Json of the file `path`: at() and as_*() know no file and throw "[json] …", and
/// from here that reads "[path] …". Errors that already name something pass unchanged, so calls may nest.
template <class F>
auto in_file(std::string_view path, F read) -> decltype(read()) {
  try {
    return read();
  } catch (const Error& error) {
    rethrow_in_file(error, path);
  }
}

/// Of members with the same key the last value stays, in the place of the first, as in Python; or bad_file that names
/// `where`. Sorts: no choice of keys makes it slow.
void remove_duplicates(Json::Object& object, std::string_view where, Json::Duplicates policy);

}  // namespace caracal
