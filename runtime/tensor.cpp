#include <caracal/runtime/tensor.h>

#include <cmath>
#include <cstring>

#include <caracal/runtime/checked.h>
#include <caracal/runtime/memory.h>

namespace caracal {
namespace {

size_t byte_count(const Shape& shape, DType dtype) {
  return checked_mul(size_t(shape.numel()), size_of(dtype), "Tensor");
}

float f16_to_float(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
  uint32_t bits;
  if (exponent == 0) {
    const float value = std::ldexp(float(mantissa), -24);
    return sign ? -value : value;
  }
  if (exponent == 31)
    bits = sign | 0x7f800000 | mantissa << 13;
  else
    bits = sign | (exponent + 112) << 23 | mantissa << 13;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// Round to nearest even, as torch's .to(torch.float16).
uint16_t float_to_f16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return uint16_t(sign | 0x7e00);   // NaN
  if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);  // rounds to 65536 or more: infinity
  if (magnitude < 0x38800000) {                                 // subnormal: units of 2^-24
    float abs;
    std::memcpy(&abs, &magnitude, 4);
    return uint16_t(sign | uint16_t(std::nearbyint(std::ldexp(abs, 24))));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return uint16_t(sign | ((rounded >> 13) - (112 << 10)));
}

float bf16_to_float(uint16_t h) {
  const uint32_t bits = uint32_t(h) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

uint16_t float_to_bf16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Calls f(get) where get(i) reads element i in the widest type of its kind (double or int64_t; float for 16 bit).
template <class F>
void read_elements(const void* data, DType dtype, F f) {
  auto typed = [&]<class T>(const T* p) { f([p](int64_t i) { return p[i]; }); };
  switch (dtype) {
    case DType::F64: return typed(static_cast<const double*>(data));
    case DType::F32: return typed(static_cast<const float*>(data));
    case DType::I64: return typed(static_cast<const int64_t*>(data));
    case DType::I32: return typed(static_cast<const int32_t*>(data));
    case DType::I16: return typed(static_cast<const int16_t*>(data));
    case DType::I8: return typed(static_cast<const int8_t*>(data));
    case DType::U8: return typed(static_cast<const uint8_t*>(data));
    // A file's BOOL bytes may be any value: not 0 is true.
    case DType::BOOL: return f([p = static_cast<const uint8_t*>(data)](int64_t i) { return uint8_t(p[i] != 0); });
    case DType::F16: return f([p = static_cast<const uint16_t*>(data)](int64_t i) { return f16_to_float(p[i]); });
    case DType::BF16: return f([p = static_cast<const uint16_t*>(data)](int64_t i) { return bf16_to_float(p[i]); });
  }
}

// Float to integer as torch on x86: truncates; out of range and NaN give the type's minimum instead of undefined
// behaviour.
template <class To, class From>
To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr double limit = 9223372036854775808.0;
    if (!(double(value) >= -limit && double(value) < limit)) return To(INT64_MIN);
    return To(int64_t(value));
  } else {
    return To(value);
  }
}

}  // namespace

Shape::Shape(std::span<const int64_t> dims) {
  if (dims.size() > size_t(kMaxRank))
    throw Error(ErrorCode::invalid_argument, "Shape",
                "expected at most 8 dimensions but got " + std::to_string(dims.size()));
  rank_ = int(dims.size());
  for (size_t i = 0; i < dims.size(); i++) {
    if (dims[i] < 0)
      throw Error(ErrorCode::invalid_argument, "Shape",
                  "expected sizes of at least 0 but got " + std::to_string(dims[i]));
    dims_[i] = dims[i];
  }
}

int64_t Shape::numel() const {
  int64_t count = 1;
  for (int64_t dim : *this) count = checked_mul(count, dim, "Shape");
  return count;
}

std::string Shape::str() const {
  std::string text = "(";
  for (int i = 0; i < rank_; i++) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + (rank_ == 1 ? ",)" : ")");
}

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  Tensor result;
  result.resize(shape, dtype);
  return result;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) {
  Tensor result = empty(shape, dtype);
  std::memset(result.data_, 0, result.nbytes());
  return result;
}

Tensor Tensor::view(const void* data, const Shape& shape, DType dtype, std::shared_ptr<const void> keep_alive,
                    Device device) {
  byte_count(shape, dtype);
  Tensor result;
  result.data_ = const_cast<void*>(data);
  result.shape_ = shape;
  result.dtype_ = dtype;
  result.defined_ = true;
  result.keep_alive_ = std::move(keep_alive);
  result.device_ = device;
  return result;
}

int64_t Tensor::size(int i) const {
  const int index = i < 0 ? i + rank() : i;
  if (index < 0 || index >= rank())
    throw Error(ErrorCode::invalid_argument, "Tensor::size",
                "expected a dimension of shape " + shape_.str() + " but got " + std::to_string(i));
  return shape_[index];
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.numel() != numel())
    throw Error(ErrorCode::invalid_argument, "Tensor::reshape",
                "expected " + std::to_string(numel()) + " elements but shape " + shape.str() + " has " +
                    std::to_string(shape.numel()));
  Tensor result = *this;
  result.shape_ = shape;
  return result;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  if (rank() < 1 || begin < 0 || begin > end || end > shape_[0])
    throw Error(ErrorCode::invalid_argument, "Tensor::rows",
                "expected a row range within " + shape_.str() + " but got [" + std::to_string(begin) + ", " +
                    std::to_string(end) + ")");
  std::array<int64_t, Shape::kMaxRank> dims;
  std::copy(shape_.begin(), shape_.end(), dims.begin());
  const size_t row_bytes = shape_[0] == 0 ? 0 : nbytes() / size_t(shape_[0]);
  dims[0] = end - begin;
  return view(static_cast<const char*>(data_) + size_t(begin) * row_bytes,
              Shape(std::span<const int64_t>(dims.data(), size_t(rank()))), dtype_, keep_alive_, device_);
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return clone();
  require(dtype_);
  Tensor result = empty(shape_, dtype);
  const int64_t n = numel();
  read_elements(data_, dtype_, [&](auto get) {
    auto fill = [&]<class T>(T* out) {
      for (int64_t i = 0; i < n; i++) out[i] = convert<T>(get(i));
    };
    switch (dtype) {
      case DType::F64: return fill(static_cast<double*>(result.data_));
      case DType::F32: return fill(static_cast<float*>(result.data_));
      case DType::I64: return fill(static_cast<int64_t*>(result.data_));
      case DType::I32: return fill(static_cast<int32_t*>(result.data_));
      case DType::I16: return fill(static_cast<int16_t*>(result.data_));
      case DType::I8: return fill(static_cast<int8_t*>(result.data_));
      case DType::U8: return fill(static_cast<uint8_t*>(result.data_));
      case DType::BOOL:
        for (int64_t i = 0; i < n; i++) static_cast<bool*>(result.data_)[i] = get(i) != 0;
        return;
      case DType::F16:
        for (int64_t i = 0; i < n; i++) static_cast<uint16_t*>(result.data_)[i] = float_to_f16(float(get(i)));
        return;
      case DType::BF16:
        for (int64_t i = 0; i < n; i++) static_cast<uint16_t*>(result.data_)[i] = float_to_bf16(float(get(i)));
        return;
    }
  });
  return result;
}

Tensor Tensor::clone() const {
  if (!defined_) return {};
  require(dtype_);
  Tensor result = empty(shape_, dtype_);
  if (nbytes() > 0) std::memcpy(result.data_, data_, nbytes());
  return result;
}

void Tensor::resize(const Shape& shape, DType dtype) {
  const size_t bytes = byte_count(shape, dtype);
  if (capacity_ < bytes || capacity_ == 0 || keep_alive_.use_count() != 1) {
    std::shared_ptr<void> memory = allocate_memory(bytes);
    data_ = memory.get();
    keep_alive_ = std::move(memory);
    capacity_ = std::max<size_t>(bytes, 1);
  }
  shape_ = shape;
  dtype_ = dtype;
  defined_ = true;
  device_ = {};
}

void Tensor::require(DType dtype) const {
  if (device_.type != DeviceType::cpu)
    throw Error(ErrorCode::invalid_argument, "Tensor::data", "expected memory of the CPU but got cuda");
  if (dtype != dtype_)
    throw Error(ErrorCode::invalid_argument, "Tensor::data",
                "expected a tensor of dtype " + std::string(name_of(dtype)) + " but got " +
                    (defined_ ? std::string(name_of(dtype_)) : "an undefined one"));
}

}  // namespace caracal
