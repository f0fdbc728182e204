// Element types of tensors, named as in safetensors files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace caracal {

enum class DType : uint8_t { F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL };

/// Bytes of one element.
constexpr size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::F64:
    case DType::I64: return 8;
    case DType::F32:
    case DType::I32: return 4;
    case DType::F16:
    case DType::BF16:
    case DType::I16: return 2;
    default: return 1;
  }
}

/// The safetensors name: "F32", "BF16", "BOOL", …
std::string_view name_of(DType dtype) noexcept;

/// PyTorch's name: "float32", "bfloat16", …
std::string_view torch_name_of(DType dtype) noexcept;

/// Inverse of name_of; also accepts PyTorch's names ("float32", "torch.bfloat16"). Empty for anything else.
std::optional<DType> dtype_from_name(std::string_view name) noexcept;

/// The DType of a C++ element type; float16 and bfloat16 have none.
template <class T>
constexpr DType dtype_of() = delete;
template <>
constexpr DType dtype_of<double>() {
  return DType::F64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::F32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::I64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::I32;
}
template <>
constexpr DType dtype_of<int16_t>() {
  return DType::I16;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::I8;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::U8;
}
template <>
constexpr DType dtype_of<bool>() {
  return DType::BOOL;
}

}  // namespace caracal
