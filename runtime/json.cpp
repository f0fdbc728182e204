#include <caracal/runtime/json.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <system_error>

#include <caracal/runtime/error.h>
#include <caracal/runtime/git_lfs.h>

// The parser is nlohmann/json's, moved into our namespace so that a program that links another version of it cannot
// clash with ours.
#define nlohmann caracal::third_party
#include <nlohmann/json.hpp>
#undef nlohmann

namespace caracal {
namespace {

constexpr std::string_view kWhere = "json";  // of a value that does not know its file
constexpr size_t kMaxDepth = 128;            // as serde_json, which reads these files for the reference library

[[noreturn]] void fail(std::string_view where, const std::string& what) {
  throw Error(ErrorCode::bad_file, where, what);
}

[[noreturn]] void type_error(const char* expected, const Json& got) {
  fail(kWhere, std::string("expected ") + expected + " but got " + got.type_name());
}

// nlohmann's texts start with an id, "[json.exception.parse_error.101] ", which tells a reader nothing.
std::string strip_exception_id(const char* text) {
  std::string_view what = text;
  if (size_t end = what.find("] "); what.starts_with('[') && end != what.npos) what.remove_prefix(end + 2);
  return std::string(what);
}

}  // namespace

void remove_duplicates(Json::Object& object, std::string_view where, Json::Duplicates policy) {
  std::vector<size_t> order(object.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    int c = object[a].first.compare(object[b].first);
    return c < 0 || (c == 0 && a < b);
  });
  std::vector<bool> drop(object.size());
  bool any = false;
  for (size_t i = 1, first = 0; i < order.size(); ++i) {
    if (object[order[i]].first != object[order[first]].first) {
      first = i;
      continue;
    }
    if (policy == Json::Duplicates::reject)
      fail(where, "expected unique keys but got two " + Json(object[order[i]].first).dump());
    object[order[first]].second = std::move(object[order[i]].second);
    drop[order[i]] = any = true;
  }
  if (!any) return;
  Json::Object kept;
  for (size_t i = 0; i < object.size(); ++i) {
    if (!drop[i]) kept.push_back(std::move(object[i]));
  }
  object = std::move(kept);
}

namespace {

// Builds a Json from nlohmann's SAX events. The open containers are a stack of values under construction; each is
// moved into its parent when it closes, so nothing recurses however deep the text.
class Builder {
 public:
  using number_integer_t = int64_t;
  using number_unsigned_t = uint64_t;
  using number_float_t = double;
  using string_t = std::string;
  using binary_t = third_party::json::binary_t;

  Builder(std::string_view where, Json::Duplicates duplicates) : where_(where), duplicates_(duplicates) {}

  Json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool v) { return add(v); }
  bool number_integer(int64_t v) { return add(v); }
  bool number_unsigned(uint64_t v) {
    return v <= uint64_t(INT64_MAX) ? add(int64_t(v)) : add(Json::big_integer(std::to_string(v)));
  }
  bool number_float(double v, const std::string& text) {
    return text.find_first_of(".eE") == text.npos ? add(Json::big_integer(text)) : add(v);
  }
  bool string(std::string& v) { return add(std::move(v)); }
  bool binary(binary_t&) { return false; }  // cannot occur in JSON text
  bool start_object(size_t) { return open(Json::Object{}); }
  bool start_array(size_t) { return open(Json::Array{}); }
  bool key(std::string& v) {
    keys_.back() = std::move(v);
    return true;
  }
  bool end_object() {
    remove_duplicates(open_.back().as_object(), where_, duplicates_);
    return close();
  }
  bool end_array() { return close(); }
  bool parse_error(size_t read, const std::string&, const third_party::json::exception& error) {
    fail(where_, "expected JSON but got bad text at byte " + std::to_string(read > 0 ? read - 1 : 0) + ": " +
                     strip_exception_id(error.what()));
  }

 private:
  bool add(Json v) {
    if (open_.empty()) {
      root_ = std::move(v);
    } else if (open_.back().is_array()) {
      open_.back().as_array().push_back(std::move(v));
    } else {
      open_.back().as_object().emplace_back(std::move(keys_.back()), std::move(v));
    }
    return true;
  }
  bool open(Json v) {
    if (open_.size() == kMaxDepth) fail(where_, "expected at most 128 nested lists and dicts but got more");
    open_.push_back(std::move(v));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    Json v = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    return add(std::move(v));
  }

  std::string_view where_;
  Json::Duplicates duplicates_;
  Json root_;
  std::vector<Json> open_;
  std::vector<std::string> keys_;  // per open container: the key that the next value gets
};

// repr(float): the shortest digits that read back the same, with an exponent of at least two digits when it is below
// -4 or above 15.
void append_double(std::string& out, double v) {
  if (std::isnan(v)) {
    out += "NaN";
    return;
  }
  if (std::isinf(v)) {
    out += v < 0 ? "-Infinity" : "Infinity";
    return;
  }
  char buffer[32];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  std::string_view text(buffer, size_t(end - buffer));  // -d.ddde±xx
  size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent > 15) {
    out += text;
    return;
  }
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (text.front() == '-') out += '-';
  if (exponent < 0) {
    out.append("0.").append(size_t(-exponent - 1), '0').append(digits);
    return;
  }
  size_t whole = size_t(exponent) + 1;
  if (digits.size() <= whole) {
    out.append(digits).append(whole - digits.size(), '0').append(".0");
  } else {
    out.append(digits, 0, whole).append(".").append(digits, whole);
  }
}

// The code point at text[i], moving i behind it; -1 for bytes that are not UTF-8.
int32_t next_code_point(std::string_view text, size_t& i) {
  auto byte = [&](size_t at) { return uint8_t(text[at]); };
  uint8_t lead = byte(i);
  if (lead < 0x80) return text[i++];
  int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || i + size_t(length) > text.size()) return -1;
  int32_t c = lead & (0xFF >> (length + 1));
  for (int k = 1; k < length; ++k) {
    if ((byte(i + size_t(k)) & 0xC0) != 0x80) return -1;
    c = c << 6 | (byte(i + size_t(k)) & 0x3F);
  }
  constexpr int32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (c < kSmallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return -1;
  i += size_t(length);
  return c;
}

void append_string(std::string& out, std::string_view text, bool ascii) {
  auto escape = [&](int32_t unit) {
    constexpr char kHex[] = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(unit >> shift) & 15];
  };
  out += '"';
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    int32_t c = next_code_point(text, i);
    if (c < 0) {
      throw Error(ErrorCode::invalid_argument, "Json::dump",
                  "expected UTF-8 but got a bad byte at " + std::to_string(begin) + " of a string");
    }
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\f': out += "\\f"; break;
      case '\b': out += "\\b"; break;
      default:
        if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
          escape(c);
        } else if (ascii && c >= 0x10000) {
          escape(0xD800 + ((c - 0x10000) >> 10));
          escape(0xDC00 + ((c - 0x10000) & 0x3FF));
        } else {
          out.append(text, begin, i - begin);
        }
    }
  }
  out += '"';
}

struct Dumper {
  int indent;
  bool sort_keys, ascii;
  std::string out{};

  void line(int depth) {
    if (indent >= 0) out.append("\n").append(size_t(indent) * size_t(depth), ' ');
  }
  const char* comma() const { return indent >= 0 ? "," : ", "; }

  void value(const Json& v, int depth) {
    switch (v.type()) {
      case Json::Type::null: out += "null"; break;
      case Json::Type::boolean: out += v.as_bool() ? "true" : "false"; break;
      case Json::Type::integer: out += std::to_string(v.as_int()); break;
      case Json::Type::number:
        if (auto digits = v.big_digits()) {
          out += *digits;
        } else {
          append_double(out, v.as_double());
        }
        break;
      case Json::Type::string: append_string(out, v.as_string(), ascii); break;
      case Json::Type::array: array(v.as_array(), depth); break;
      case Json::Type::object: object(v.as_object(), depth); break;
    }
  }

  void array(const Json::Array& items, int depth) {
    if (items.empty()) {
      out += "[]";
      return;
    }
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += comma();
      line(depth + 1);
      value(items[i], depth + 1);
    }
    line(depth);
    out += ']';
  }

  void object(const Json::Object& members, int depth) {
    if (members.empty()) {
      out += "{}";
      return;
    }
    std::vector<const Json::Member*> order;
    for (const Json::Member& m : members) order.push_back(&m);
    if (sort_keys) std::stable_sort(order.begin(), order.end(), [](auto a, auto b) { return a->first < b->first; });
    out += '{';
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) out += comma();
      line(depth + 1);
      append_string(out, order[i]->first, ascii);
      out += ": ";
      value(order[i]->second, depth + 1);
    }
    line(depth);
    out += '}';
  }
};

}  // namespace

Json Json::parse(std::string_view text, std::string_view where, Duplicates duplicates) {
  expect_no_lfs_pointer(text, where);
  // nlohmann skips a byte order mark and takes a NUL byte for the end of the text; Python and serde_json refuse both.
  if (text.starts_with("\xEF\xBB\xBF")) fail(where, "expected JSON but got a byte order mark at byte 0");
  if (size_t nul = text.find('\0'); nul != text.npos) {
    fail(where, "expected JSON but got a NUL byte at byte " + std::to_string(nul));
  }
  Builder builder(where, duplicates);
  third_party::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json Json::parse_file(const std::string& path) {
  // A device or a pipe would never end, or never begin.
  constexpr uintmax_t kMostBytes = uintmax_t(128) << 20;
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type != std::filesystem::file_type::regular && type != std::filesystem::file_type::not_found &&
      type != std::filesystem::file_type::none)
    throw Error(ErrorCode::io, path, "expected a regular file but got a directory, device, pipe or socket");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::not_found, path, "expected a readable file but got none");
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kMostBytes)
    throw Error(ErrorCode::bad_file, path, "expected at most 128 MiB but got " + std::to_string(size) + " bytes");
  std::ostringstream text;
  if (file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (file.bad() || text.fail()) throw Error(ErrorCode::io, path, "expected to read the file but the read failed");
  return parse(text.view(), path);
}

Json Json::big_integer(std::string digits) {
  Json result;
  result.value_ = BigInteger{std::move(digits)};
  return result;
}

const std::string* Json::big_digits() const noexcept {
  auto big = std::get_if<BigInteger>(&value_);
  return big ? &big->digits : nullptr;
}

const char* Json::type_name() const noexcept {
  if (big_digits()) return "int";
  constexpr const char* kNames[] = {"null", "bool", "int", "float", "str", "list", "dict"};
  return kNames[size_t(type())];
}

bool Json::as_bool() const {
  if (auto v = std::get_if<bool>(&value_)) return *v;
  type_error("bool", *this);
}

int64_t Json::as_int() const {
  if (auto v = std::get_if<int64_t>(&value_)) return *v;
  if (auto digits = big_digits()) fail(kWhere, "expected an int of 64 bits but got " + *digits);
  type_error("int", *this);
}

double Json::as_double() const {
  if (auto v = std::get_if<double>(&value_)) return *v;
  if (auto v = std::get_if<int64_t>(&value_)) return double(*v);
  if (auto digits = big_digits()) {
    double v = 0;
    std::from_chars(digits->data(), digits->data() + digits->size(), v);
    return v;
  }
  type_error("float", *this);
}

const std::string& Json::as_string() const {
  if (auto v = std::get_if<std::string>(&value_)) return *v;
  type_error("str", *this);
}

const Json::Array& Json::as_array() const {
  if (auto v = std::get_if<Array>(&value_)) return *v;
  type_error("list", *this);
}

const Json::Object& Json::as_object() const {
  if (auto v = std::get_if<Object>(&value_)) return *v;
  type_error("dict", *this);
}

Json::Array& Json::as_array() { return const_cast<Array&>(std::as_const(*this).as_array()); }
Json::Object& Json::as_object() { return const_cast<Object&>(std::as_const(*this).as_object()); }

const Json* Json::find(std::string_view key) const noexcept {
  auto object = std::get_if<Object>(&value_);
  if (!object) return nullptr;
  auto member = std::find_if(object->begin(), object->end(), [&](const Member& m) { return m.first == key; });
  return member == object->end() ? nullptr : &member->second;
}

const Json& Json::at(std::string_view key) const {
  if (const Json* v = find(key)) return *v;
  if (!is_object()) type_error("dict", *this);
  fail(kWhere, "expected key \"" + std::string(key) + "\" but got a dict without it");
}

void Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = Object{};
  if (const Json* v = find(key)) {
    const_cast<Json&>(*v) = std::move(value);
  } else {
    as_object().emplace_back(std::string(key), std::move(value));
  }
}

void Json::erase(std::string_view key) {
  std::erase_if(as_object(), [&](const Member& m) { return m.first == key; });
}

std::string Json::dump(int indent, bool sort_keys, bool ascii) const {
  Dumper dumper{indent, sort_keys, ascii};
  dumper.value(*this, 0);
  return std::move(dumper.out);
}

void rethrow_in_file(const Error& error, std::string_view path) {
  const std::string prefix = "[" + std::string(kWhere) + "] ";
  std::string_view text = error.what();
  if (!text.starts_with(prefix)) throw;
  throw Error(error.code(), path, text.substr(prefix.size()));
}

}  // namespace caracal
