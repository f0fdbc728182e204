// Bytes of tokens, compared and copied without the calls to memcmp and memcpy that would take most of the time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace caracal::tokenizers {

template <class T>
T load_bytes(const char* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

/// Whether the first `size` bytes are the same.
inline bool same_bytes(const char* a, const char* b, size_t size) noexcept {
  const auto both_ends = [&]<class T>(T) {
    return load_bytes<T>(a) == load_bytes<T>(b) &&
           load_bytes<T>(a + size - sizeof(T)) == load_bytes<T>(b + size - sizeof(T));
  };
  if (size > 16) return std::memcmp(a, b, size) == 0;
  if (size >= 8) return both_ends(uint64_t());
  if (size >= 4) return both_ends(uint32_t());
  if (size >= 2) return both_ends(uint16_t());
  return size == 0 || *a == *b;
}
inline bool same_text(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && same_bytes(a.data(), b.data(), a.size());
}

/// Copies `size` bytes that do not overlap.
inline void copy_bytes(char* to, const char* from, size_t size) noexcept {
  const auto both_ends = [&]<class T>(T) {
    const T first = load_bytes<T>(from), last = load_bytes<T>(from + size - sizeof(T));
    std::memcpy(to, &first, sizeof(T));
    std::memcpy(to + size - sizeof(T), &last, sizeof(T));
  };
  if (size > 16)
    std::memcpy(to, from, size);
  else if (size >= 8)
    both_ends(uint64_t());
  else if (size >= 4)
    both_ends(uint32_t());
  else if (size >= 2)
    both_ends(uint16_t());
  else if (size == 1)
    *to = *from;
}

}  // namespace caracal::tokenizers
