// GPT-2's byte alphabet: every byte has a printable character of its own.
#pragma once

#include <cstdint>

namespace caracal::tokenizers::byte_level {

/// The character of a byte: itself when it is printable Latin-1, else one from U+0100 on, in the order of bytes.
constexpr char32_t character(char byte) noexcept {
  const auto b = static_cast<unsigned char>(byte);
  if (b <= 0x20) return 0x100 + char32_t(b);
  if (b >= 0x7F && b <= 0xA0) return 0x121 + char32_t(b - 0x7F);
  return b == 0xAD ? 0x143 : b;
}

/// The byte of a character of the alphabet, or -1.
constexpr int byte_of(char32_t cp) noexcept {
  if (cp >= 0x100 && cp <= 0x120) return int(cp - 0x100);
  if (cp >= 0x121 && cp <= 0x142) return int(cp - 0x121) + 0x7F;
  if (cp == 0x143) return 0xAD;
  return cp <= 0xFF && character(static_cast<char>(cp)) == cp ? int(cp) : -1;
}

}  // namespace caracal::tokenizers::byte_level
