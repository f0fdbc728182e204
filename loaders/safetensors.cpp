#include <caracal/loaders/safetensors.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/checked.h>
#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>

#define nlohmann caracal::third_party  // see runtime/json.cpp
#include <nlohmann/json.hpp>
#undef nlohmann

namespace caracal {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and used in place");

constexpr size_t kMaxRank = 64;
constexpr uint64_t kMaxDim = uint64_t(1) << 48;
constexpr size_t kMaxDepth = 127;  // as serde_json
constexpr size_t kMaxWarnings = 16;

struct TypeRow {
  std::string_view name;
  uint64_t bits;
};
// In the reference's order, by which save_safetensors lays tensors out (last first).
constexpr TypeRow kTypes[] = {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
                              {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
                              {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
                              {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
                              {"I64", 64},        {"U64", 64}};

const TypeRow* find_type(std::string_view name) {
  auto row = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeRow& t) { return t.name == name; });
  return row == std::end(kTypes) ? nullptr : row;
}

[[noreturn]] void fail(std::string_view where, const std::string& what) {
  throw Error(ErrorCode::bad_file, where, what);
}

// In quotes, escaped, and cut where a hostile name would make the message huge.
std::string quote(std::string_view name) {
  constexpr size_t kLongest = 300;
  if (name.size() <= kLongest) return Json(name).dump();
  size_t end = kLongest;
  while ((uint8_t(name[end]) & 0xC0) == 0x80) --end;  // back to the start of a code point
  return Json(std::string(name.substr(0, end)) + "...").dump();
}

std::string describe(const TensorInfo& info) {
  return quote(info.name) + " at data bytes [" + std::to_string(info.begin) + ", " + std::to_string(info.end) + ")";
}

std::string shape_text(const std::vector<int64_t>& shape) {
  Json::Array dims;
  for (int64_t d : shape) dims.emplace_back(d);
  return Json(std::move(dims)).dump();
}

// Bytes that shape and dtype ask for. The zero sizes are left out of the product until its end, so that the verdict on
// an overflow does not depend on the order of the sizes.
uint64_t expected_bytes(const TensorInfo& info, uint64_t element_bits, std::string_view where) {
  uint64_t bits = element_bits;
  bool empty = false;
  try {
    for (int64_t d : info.shape) {
      if (d == 0)
        empty = true;
      else
        bits = checked_mul(bits, uint64_t(d), where);
    }
  } catch (const Error&) {
    fail(where, "expected a size below 2^61 bytes but got tensor " + quote(info.name) + " of shape " +
                    shape_text(info.shape) + " and dtype " + std::string(info.dtype_name));
  }
  if (empty) return 0;
  if (bits % 8 != 0) {
    fail(where, "expected whole bytes but got " + std::to_string(bits) + " bits in tensor " + quote(info.name));
  }
  return bits / 8;
}

// Takes nlohmann's SAX events for the header. Integers come as text made of digits only (number_unsigned): "-0", "1.0"
// and 2^64 arrive by other events and are refused. Memory stays within a small multiple of the header.
class HeaderReader {
 public:
  using number_integer_t = int64_t;
  using number_unsigned_t = uint64_t;
  using number_float_t = double;
  using string_t = std::string;
  using binary_t = third_party::json::binary_t;

  HeaderReader(const std::string& where, std::vector<TensorInfo>& tensors, Metadata& metadata,
               std::vector<std::string>& warnings)
      : where_(where), tensors_(tensors), metadata_(metadata), warnings_(warnings) {}

  bool null() { return scalar(Kind::null, 0, nullptr); }
  bool boolean(bool) { return scalar(Kind::other, 0, nullptr); }
  bool number_integer(int64_t) { return scalar(Kind::other, 0, nullptr); }
  bool number_unsigned(uint64_t v) { return scalar(Kind::digits, v, nullptr); }
  bool number_float(double, const std::string&) { return scalar(Kind::other, 0, nullptr); }
  bool string(std::string& v) { return scalar(Kind::string, 0, &v); }
  bool binary(binary_t&) { return false; }  // cannot occur in JSON text
  bool start_object(size_t) { return open(true); }
  bool start_array(size_t) { return open(false); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    if (skip_ > 0) return true;
    if (state_ == State::tensor) {
      field(name);
    } else {
      key_ = std::move(name);
      if (state_ == State::top && key_ == "__metadata__" && std::exchange(has_metadata_, true)) {
        fail(where_, "expected one \"__metadata__\" but got two");
      }
    }
    return true;
  }

  bool parse_error(size_t position, const std::string&, const third_party::json::exception&) {
    fail(where_,
         "expected a JSON header but got bad text at byte " + std::to_string(checked_add<size_t>(position, 7, where_)));
  }

 private:
  enum class State { document, top, tensor, metadata, shape, offsets };
  enum class Field { unknown, dtype, shape, offsets };
  enum class Kind { null, digits, string, other };

  // The current tensor's name and field, for messages.
  [[noreturn]] void fail_value(const char* expected) {
    constexpr const char* kFields[] = {"an unknown field", "dtype", "shape", "data_offsets"};
    std::string at = state_ == State::document ? "header" : state_ == State::top ? quote(key_) : quote(info_.name);
    if (state_ == State::metadata) at = "__metadata__ key " + quote(key_);
    if (state_ >= State::tensor && state_ != State::metadata) at += std::string(", ") + kFields[int(field_)];
    fail(where_, std::string("expected ") + expected + " but got another value in " + at);
  }

  void warn(std::string text) {
    if (warnings_.size() < kMaxWarnings) warnings_.push_back(std::move(text));
  }

  void field(const std::string& name) {
    constexpr std::string_view kNames[] = {"", "dtype", "shape", "data_offsets"};
    field_ = Field::unknown;
    for (int i = 1; i < 4; ++i) {
      if (name == kNames[i]) field_ = Field(i);
    }
    if (field_ == Field::unknown) {
      warn("tensor " + quote(info_.name) + " has an unknown field " + quote(name));
    } else if (std::exchange(seen_[int(field_)], true)) {
      fail(where_, "expected one field " + name + " but got two in tensor " + quote(info_.name));
    }
  }

  bool scalar(Kind kind, uint64_t number, std::string* text) {
    if (skip_ > 0) return true;
    switch (state_) {
      case State::document: fail_value("a dict");
      case State::top:
        if (key_ != "__metadata__" || kind != Kind::null) fail_value("a dict");
        warn("__metadata__ is null");
        return true;
      case State::metadata:
        if (kind != Kind::string) fail_value("a string");
        if (!metadata_.insert_or_assign(std::move(key_), std::move(*text)).second) {
          warn("__metadata__ names a key twice; the last value counts");
        }
        return true;
      case State::tensor:
        if (field_ == Field::unknown) return true;
        if (field_ != Field::dtype) fail_value("a list of integers");
        if (kind != Kind::string) fail_value("a string");
        type_ = find_type(*text);
        if (!type_)
          fail(where_, "expected a safetensors dtype but got " + quote(*text) + " in tensor " + quote(info_.name));
        return true;
      case State::shape:
      case State::offsets:
        if (kind != Kind::digits) fail_value("integers from 0 to 2^64-1, in digits only,");
        if (state_ == State::shape && number > kMaxDim) {
          fail(where_,
               "expected sizes of at most 2^48 but got " + std::to_string(number) + " in tensor " + quote(info_.name));
        }
        if (numbers_.size() == (state_ == State::shape ? kMaxRank : 2)) {
          fail_value(state_ == State::shape ? "at most 64 sizes" : "two offsets");
        }
        numbers_.push_back(number);
        return true;
    }
    return true;
  }

  bool open(bool object) {
    if (++depth_ > kMaxDepth) fail(where_, "expected at most 127 nested lists and dicts in the header but got more");
    if (skip_ > 0) {
      ++skip_;
    } else if (state_ == State::document || state_ == State::top) {
      if (!object) fail_value("a dict");
      if (state_ == State::document) {
        state_ = State::top;
      } else if (key_ == "__metadata__") {
        state_ = State::metadata;
      } else {
        state_ = State::tensor;
        info_ = {};
        info_.name = std::move(key_);
        type_ = nullptr;
        std::fill(std::begin(seen_), std::end(seen_), false);
      }
    } else if (state_ == State::tensor) {
      if (field_ == Field::unknown) {
        skip_ = 1;
      } else {
        if (field_ == Field::dtype) fail_value("a string");
        if (object) fail_value("a list of integers");
        state_ = field_ == Field::shape ? State::shape : State::offsets;
        numbers_.clear();
      }
    } else {
      fail_value(state_ == State::metadata ? "a string" : "integers");
    }
    return true;
  }

  bool close() {
    --depth_;
    if (skip_ > 0) {
      --skip_;
      return true;
    }
    switch (state_) {
      case State::shape:
        info_.shape.assign(numbers_.begin(), numbers_.end());
        state_ = State::tensor;
        break;
      case State::offsets:
        if (numbers_.size() != 2) fail_value("two offsets");
        info_.begin = numbers_[0];
        info_.end = numbers_[1];
        state_ = State::tensor;
        break;
      case State::tensor:
        finish_tensor();
        state_ = State::top;
        break;
      case State::metadata: state_ = State::top; break;
      default: break;
    }
    return true;
  }

  void finish_tensor() {
    if (!seen_[1] || !seen_[2] || !seen_[3]) {
      fail(where_, "expected the fields dtype, shape and data_offsets but tensor " + quote(info_.name) + " lacks one");
    }
    info_.dtype_name = type_->name;
    info_.dtype = dtype_from_name(type_->name);
    if (info_.begin > info_.end) fail(where_, "expected offsets in ascending order but got tensor " + describe(info_));
    uint64_t bytes = expected_bytes(info_, type_->bits, where_);
    if (info_.end - info_.begin != bytes) {
      fail(where_, "expected " + std::to_string(bytes) + " bytes for shape " + shape_text(info_.shape) + " and dtype " +
                       std::string(type_->name) + " but got tensor " + describe(info_));
    }
    tensors_.push_back(std::move(info_));
  }

  const std::string& where_;
  std::vector<TensorInfo>& tensors_;
  Metadata& metadata_;
  std::vector<std::string>& warnings_;
  State state_ = State::document;
  Field field_ = Field::unknown;
  std::string key_;
  bool has_metadata_ = false;
  TensorInfo info_;
  const TypeRow* type_ = nullptr;
  bool seen_[4] = {};
  std::vector<uint64_t> numbers_;
  size_t depth_ = 0, skip_ = 0;  // open containers; of these, the ones inside an unknown field
};

// The data section must be covered exactly once, by tensors sorted by their place in it.
void check_layout(const std::vector<TensorInfo>& tensors, uint64_t data_begin, uint64_t file_size,
                  const std::string& where) {
  const TensorInfo* previous = nullptr;
  uint64_t position = 0;
  for (const TensorInfo& info : tensors) {
    if (info.begin != position) {
      std::string pair =
          previous ? describe(*previous) + " and " + describe(info) : "the first tensor, " + describe(info);
      fail(where, std::string("expected tensors that ") + (info.begin < position ? "do not overlap" : "leave no hole") +
                      " but got " + pair);
    }
    position = info.end;
    previous = &info;
  }
  uint64_t end = checked_add(data_begin, position, where);
  if (end != file_size) {
    fail(where, "expected the file to end with its last tensor at byte " + std::to_string(end) + " but it " +
                    (end > file_size ? "is truncated: it has " : "has ") + std::to_string(file_size) + " bytes");
  }
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path, Access access) { return open(File::open(path), access); }

SafetensorsFile SafetensorsFile::open(const File& file, Access access) {
  return parse(load_bytes(file, access), file.path());
}

SafetensorsFile SafetensorsFile::parse(Bytes bytes, std::string where) {
  SafetensorsFile file;
  file.path_ = std::move(where);
  file.bytes_ = std::move(bytes);
  std::span<const uint8_t> data = file.bytes_.span;

  // A foreign file is only told apart where its first bytes make no header: a length like "PK\3\4" is possible.
  std::string_view foreign = foreign_format_of_content(data);
  if (data.size() < 8) {
    if (!foreign.empty()) throw_foreign_format(foreign, file.path_);
    fail(file.path_, "expected at least 8 bytes but got a file of " + std::to_string(data.size()));
  }
  uint64_t header = 0;
  std::memcpy(&header, data.data(), 8);
  bool fits = header <= kMaxHeader && header <= data.size() - 8;
  if (!foreign.empty() &&
      (!fits || header == 0 || std::string_view("{ \t\r\n").find(char(data[8])) == std::string_view::npos)) {
    throw_foreign_format(foreign, file.path_);
  }
  if (header > kMaxHeader) {
    fail(file.path_, "expected a header of at most " + std::to_string(kMaxHeader) + " bytes but bytes 0 to 7 give " +
                         std::to_string(header));
  }
  file.data_begin_ = checked_add<uint64_t>(8, header, file.path_);
  if (!fits) {
    fail(file.path_, "expected the header to end at byte " + std::to_string(file.data_begin_) + " but the file has " +
                         std::to_string(data.size()) + " bytes");
  }

  // nlohmann skips a byte order mark and takes a NUL byte for the end of the text.
  std::string_view text(reinterpret_cast<const char*>(data.data()) + 8, header);
  if (text.starts_with("\xEF\xBB\xBF")) fail(file.path_, "expected a JSON header but got a byte order mark at byte 8");
  if (size_t nul = text.find('\0'); nul != text.npos) {
    fail(file.path_, "expected a JSON header but got a NUL byte at byte " +
                         std::to_string(checked_add<size_t>(nul, 8, file.path_)));
  }
  HeaderReader reader(file.path_, file.tensors_, file.metadata_, file.warnings_);
  third_party::json::sax_parse(text.begin(), text.end(), &reader);

  std::vector<TensorInfo>& tensors = file.tensors_;
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  file.by_name_.resize(tensors.size());
  std::iota(file.by_name_.begin(), file.by_name_.end(), 0u);
  std::sort(file.by_name_.begin(), file.by_name_.end(),
            [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
  auto twice = std::adjacent_find(file.by_name_.begin(), file.by_name_.end(),
                                  [&](uint32_t a, uint32_t b) { return tensors[a].name == tensors[b].name; });
  if (twice != file.by_name_.end()) {
    fail(file.path_,
         "expected unique tensor names but got " + describe(tensors[twice[0]]) + " and " + describe(tensors[twice[1]]));
  }
  check_layout(tensors, file.data_begin_, data.size(), file.path_);
  return file;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const noexcept {
  auto it = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                             [&](uint32_t i, std::string_view n) { return tensors_[i].name < n; });
  return it != by_name_.end() && tensors_[*it].name == name ? &tensors_[*it] : nullptr;
}

Tensor SafetensorsFile::tensor(const TensorInfo& info) const {
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::unsupported, path_, what + " in tensor " + quote(info.name));
  };
  if (!info.dtype) refuse("expected a dtype that caracal computes with but got " + std::string(info.dtype_name));
  if (info.shape.size() > size_t(Shape::kMaxRank)) {
    refuse("expected at most 8 dimensions but got " + std::to_string(info.shape.size()));
  }
  Shape shape{std::span<const int64_t>(info.shape)};
  size_t size = size_t(info.end - info.begin);
  const uint8_t* data = bytes_.span.data() + checked_add(data_begin_, info.begin, path_);

  bool odd_bool = *info.dtype == DType::BOOL && std::any_of(data, data + size, [](uint8_t b) { return b > 1; });
  if (!odd_bool && reinterpret_cast<uintptr_t>(data) % size_of(*info.dtype) == 0) {
    return Tensor::view(data, shape, *info.dtype, bytes_.owner);
  }
  Tensor copy = Tensor::empty(shape, *info.dtype);
  uint8_t* out = static_cast<uint8_t*>(copy.raw());
  if (odd_bool) {
    std::transform(data, data + size, out, [](uint8_t b) { return uint8_t(b != 0); });
  } else if (size > 0) {
    std::memcpy(out, data, size);
  }
  return copy;
}

void SafetensorsFile::release(const TensorInfo& info) const noexcept {
  caracal::release(bytes_, bytes_.span.subspan(size_t(data_begin_ + info.begin), size_t(info.end - info.begin)));
}

void SafetensorsFile::read_ahead(const TensorInfo& info) const noexcept {
  caracal::read_ahead(bytes_, bytes_.span.subspan(size_t(data_begin_ + info.begin), size_t(info.end - info.begin)));
}

void save_safetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                      const Metadata& metadata) {
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined())
      throw Error(ErrorCode::invalid_argument, path, "expected a tensor but got an undefined one for " + quote(name));
    sources.push_back({name, tensor.dtype(), tensor.shape(), [&tensor = tensor] { return tensor; }});
  }
  save_safetensors(path, sources, metadata);
}

void save_safetensors(const std::string& path, const std::vector<TensorSource>& tensors, const Metadata& metadata) {
  auto refuse = [&](const std::string& what) { throw Error(ErrorCode::invalid_argument, path, what); };
  std::vector<const TensorSource*> order;
  for (const TensorSource& entry : tensors) {
    if (entry.name == "__metadata__") refuse("expected tensor names but got the reserved name \"__metadata__\"");
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](auto a, auto b) {
    const TypeRow *ta = find_type(name_of(a->dtype)), *tb = find_type(name_of(b->dtype));
    return ta != tb ? ta > tb : a->name < b->name;
  });

  auto text = [](std::string_view s) { return Json(s).dump(-1, false, /*ascii=*/false); };
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) header += text(key) + ":" + text(value) + ",";
    header.back() = '}';
    header += ',';
  }
  std::vector<std::string_view> names;
  uint64_t position = 0;
  for (auto entry : order) {
    names.push_back(entry->name);
    const uint64_t bytes = checked_mul(uint64_t(entry->shape.numel()), uint64_t(size_of(entry->dtype)), path);
    uint64_t end = checked_add<uint64_t>(position, bytes, path);
    header += text(entry->name) + ":{\"dtype\":\"" + std::string(name_of(entry->dtype)) + "\",\"shape\":[";
    for (int64_t d : entry->shape) header += std::to_string(d) + ",";
    if (entry->shape.rank() > 0) header.pop_back();
    header += "],\"data_offsets\":[" + std::to_string(position) + "," + std::to_string(end) + "]},";
    position = end;
  }
  if (header.size() > 1) header.pop_back();
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) refuse("expected unique tensor names but got two " + quote(*twice));
  if (header.size() > SafetensorsFile::kMaxHeader) refuse("expected a header of at most 100000000 bytes but got more");

  AtomicFile file(path);
  uint64_t length = header.size();
  file.write(&length, 8);
  file.write(header.data(), header.size());
  for (auto entry : order) {
    const Tensor tensor = entry->load();
    if (tensor.shape() != entry->shape || tensor.dtype() != entry->dtype)
      refuse("expected " + quote(entry->name) + " to be as announced but got another shape or dtype");
    file.write(tensor.raw(), tensor.nbytes());
  }
  file.commit();
}

}  // namespace caracal
