// UTF-8 and the character classes of Hugging Face's tokenizers library, which knows an older Unicode than utf8proc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace caracal::tokenizers::unicode {

/// True when every byte is part of well-formed UTF-8 (no surrogates, no overlong forms).
bool is_valid_utf8(std::string_view text);
/// `text` with each ill-formed sequence (maximal subpart) replaced by U+FFFD, as Python's errors="replace" does.
std::string replace_invalid_utf8(std::string_view text);
void replace_invalid_utf8(std::string_view text, std::string& result);
/// Number of code points in well-formed UTF-8.
size_t count_code_points(std::string_view text);

/// Bytes of the code point that starts with this lead byte.
constexpr size_t sequence_length(char lead) noexcept {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// Reads the code point at `p` of well-formed UTF-8 and moves `p` behind it.
inline char32_t decode(const char*& p) noexcept {
  const auto at = [p](int i) { return char32_t(static_cast<unsigned char>(p[i])); };
  const char32_t lead = at(0);
  if (lead < 0x80) return p += 1, lead;
  if (lead < 0xE0) {
    const char32_t cp = (lead & 0x1F) << 6 | (at(1) & 0x3F);
    return p += 2, cp;
  }
  if (lead < 0xF0) {
    const char32_t cp = (lead & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
    return p += 3, cp;
  }
  const char32_t cp = (lead & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
  return p += 4, cp;
}

/// The same for any bytes before `end`, of which an ill-formed sequence (maximal subpart) reads as U+FFFD.
char32_t decode_any(const char*& p, const char* end) noexcept;

/// Start of the code point that ends at `end` (above 0) of well-formed UTF-8.
inline size_t previous(std::string_view text, size_t end) noexcept {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

/// Writes 1 to 4 bytes at `out`, returns how many.
size_t encode(char32_t cp, char* out) noexcept;

/// Unicode White_Space, as Rust's char::is_whitespace.
bool is_whitespace(char32_t cp) noexcept;
/// What BertNormalizer's clean_text removes: NUL, U+FFFD, and Cc, Cf, Co but for tab, line feed, carriage return.
bool is_removed_by_clean_text(char32_t cp) noexcept;
/// What BertPreTokenizer isolates: ASCII punctuation and symbols, and general category P.
bool is_punctuation(char32_t cp) noexcept;
/// The CJK ideograph blocks of BERT's reference code.
bool is_chinese(char32_t cp) noexcept;
/// General category Mn (nonspacing mark), which strip_accents removes.
bool is_nonspacing_mark(char32_t cp) noexcept;
/// \w of Rust's regular expressions (`single_word`, Whitespace): letters, marks, decimal digits, connectors, joiners.
bool is_word(char32_t cp) noexcept;
/// General category M as the unicode-normalization crate knows it, which StripAccents removes.
bool is_combining_mark(char32_t cp) noexcept;
/// Rust's char::is_numeric: general categories Nd, Nl, No.
bool is_numeric(char32_t cp) noexcept;
/// General category of Unicode 16, which the reference's regular expressions know: the value of a
/// utf8proc_category_t (1 Lu, 2 Ll, … 29 Co, 0 Cn).
int general_category(char32_t cp) noexcept;
/// \p{L} and \p{N} of the reference's regular expressions.
bool is_letter(char32_t cp) noexcept;
bool is_number(char32_t cp) noexcept;
/// End of the grapheme cluster that starts at `p`; `p` is before `end`.
const char* next_grapheme(const char* p, const char* end) noexcept;
/// What script() gives for characters of no script or of several.
inline constexpr int kAnyScript = 0;
/// A number for the script of a character; Han, Hiragana and Katakana are one.
int script(char32_t cp) noexcept;
/// Canonical combining class; 0 for starters.
int combining_class(char32_t cp) noexcept;

/// A few code points, the result of mapping one.
struct Mapped {
  std::array<char32_t, 18> code_points;
  size_t size = 0;
};
/// Full lower-case mapping, as Rust's char::to_lowercase (U+0130 gives two code points).
Mapped to_lower(char32_t cp) noexcept;
/// Python's str.lower(), but for the final sigma.
std::string to_lower(std::string_view text);
/// Upper-case mapping, as Python's str.upper() for one character: of the special cases only U+00DF, which gives two.
Mapped to_upper(char32_t cp) noexcept;
/// Canonical decomposition (NFD of one code point, in canonical order).
Mapped decompose(char32_t cp) noexcept;
/// Compatibility decomposition (NFKD of one code point).
Mapped decompose_compatible(char32_t cp) noexcept;
/// The character that a starter and the character behind it compose to, or 0.
char32_t compose(char32_t first, char32_t second) noexcept;

}  // namespace caracal::tokenizers::unicode
