// Checked size arithmetic: every size that comes from a file or a caller goes through here.
#pragma once

#include <concepts>
#include <string_view>

#include <caracal/runtime/error.h>

namespace caracal {

/// a * b; throws invalid_argument naming `where` when the product does not fit T.
template <std::integral T>
T checked_mul(T a, T b, std::string_view where) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) throw Error(ErrorCode::invalid_argument, where, "size overflows");
  return result;
}

/// a + b; throws invalid_argument naming `where` when the sum does not fit T.
template <std::integral T>
T checked_add(T a, T b, std::string_view where) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) throw Error(ErrorCode::invalid_argument, where, "size overflows");
  return result;
}

}  // namespace caracal
