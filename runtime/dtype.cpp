#include <caracal/runtime/dtype.h>

namespace caracal {
namespace {

struct Name {
  DType dtype;
  std::string_view safetensors, torch;
};

constexpr Name kNames[] = {
    {DType::F64, "F64", "float64"},    {DType::F32, "F32", "float32"}, {DType::F16, "F16", "float16"},
    {DType::BF16, "BF16", "bfloat16"}, {DType::I64, "I64", "int64"},   {DType::I32, "I32", "int32"},
    {DType::I16, "I16", "int16"},      {DType::I8, "I8", "int8"},      {DType::U8, "U8", "uint8"},
    {DType::BOOL, "BOOL", "bool"},
};

}  // namespace

std::string_view name_of(DType dtype) noexcept {
  for (const Name& name : kNames)
    if (name.dtype == dtype) return name.safetensors;
  return "?";
}

std::string_view torch_name_of(DType dtype) noexcept {
  for (const Name& name : kNames)
    if (name.dtype == dtype) return name.torch;
  return "?";
}

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  for (const Name& row : kNames)
    if (name == row.safetensors || name == row.torch) return row.dtype;
  return std::nullopt;
}

}  // namespace caracal
