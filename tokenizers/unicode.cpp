#include <caracal/tokenizers/unicode.h>

#include <utf8proc.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace caracal::tokenizers::unicode {
namespace {

struct Range {
  char32_t first, last;
};

// utf8proc 2.8 follows Unicode 15.0. The reference (tokenizers 0.23.3) mixes versions: general categories of about
// Unicode 8, decomposition and combining classes of about Unicode 9, lower case of Unicode 17. The tables list every
// code point on which they differ; unicode_test.cpp holds the reference's answer for all of them.
constexpr Range kNotFormat[] = {{0x890, 0x891}, {0x8E2, 0x8E2}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}};

constexpr Range kNotNonspacing[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8E1},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC04},     {0xC3C, 0xC3C},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x180F, 0x180F},   {0x1885, 0x1886},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFB},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},
    {0xA9BD, 0xA9BD},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x111C9, 0x111C9},
    {0x111CF, 0x111CF}, {0x1123E, 0x1123E}, {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x11438, 0x1143F},
    {0x11442, 0x11444}, {0x11446, 0x11446}, {0x1145E, 0x1145E}, {0x1182F, 0x11837}, {0x11839, 0x1183A},
    {0x1193B, 0x1193C}, {0x1193E, 0x1193E}, {0x11943, 0x11943}, {0x119D4, 0x119D7}, {0x119DA, 0x119DB},
    {0x119E0, 0x119E0}, {0x11A01, 0x11A0A}, {0x11A33, 0x11A38}, {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47},
    {0x11A51, 0x11A56}, {0x11A59, 0x11A5B}, {0x11A8A, 0x11A96}, {0x11A98, 0x11A99}, {0x11C30, 0x11C36},
    {0x11C38, 0x11C3D}, {0x11C3F, 0x11C3F}, {0x11C92, 0x11CA7}, {0x11CAA, 0x11CB0}, {0x11CB2, 0x11CB3},
    {0x11CB5, 0x11CB6}, {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A}, {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45},
    {0x11D47, 0x11D47}, {0x11D90, 0x11D91}, {0x11D95, 0x11D95}, {0x11D97, 0x11D97}, {0x11EF3, 0x11EF4},
    {0x11F00, 0x11F01}, {0x11F36, 0x11F3A}, {0x11F40, 0x11F40}, {0x11F42, 0x11F42}, {0x13440, 0x13440},
    {0x13447, 0x13455}, {0x16F4F, 0x16F4F}, {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF2D}, {0x1CF30, 0x1CF46},
    {0x1E000, 0x1E006}, {0x1E008, 0x1E018}, {0x1E01B, 0x1E021}, {0x1E023, 0x1E024}, {0x1E026, 0x1E02A},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
    {0x1E944, 0x1E94A},
};

constexpr Range kNotPunctuation[] = {
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},     {0xC84, 0xC84},
    {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59},
    {0x10F86, 0x10F89}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C},
    {0x116B9, 0x116B9}, {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
    {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F},
};

constexpr Range kStarters[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF},
};

// Not among the combining marks of unicode-normalization, which also counts U+1CF2 and U+1CF3.
constexpr Range kNotCombining[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC04},     {0xC3C, 0xC3C},     {0xCF3, 0xCF3},     {0xD00, 0xD00},
    {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x1715, 0x1715},
    {0x180F, 0x180F},   {0x1ABF, 0x1ACE},   {0x1CF7, 0x1CF7},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},
    {0xA8FF, 0xA8FF},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x11145, 0x11146},
    {0x111C9, 0x111C9}, {0x111CE, 0x111CF}, {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x1182C, 0x1183A}, {0x11930, 0x11935}, {0x11937, 0x11938}, {0x1193B, 0x1193E}, {0x11940, 0x11940},
    {0x11942, 0x11943}, {0x119D1, 0x119D7}, {0x119DA, 0x119E0}, {0x119E4, 0x119E4}, {0x11A01, 0x11A0A},
    {0x11A33, 0x11A39}, {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47}, {0x11A51, 0x11A5B}, {0x11A8A, 0x11A99},
    {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A}, {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45}, {0x11D47, 0x11D47},
    {0x11D8A, 0x11D8E}, {0x11D90, 0x11D91}, {0x11D93, 0x11D97}, {0x11EF3, 0x11EF6}, {0x11F00, 0x11F01},
    {0x11F03, 0x11F03}, {0x11F34, 0x11F3A}, {0x11F3E, 0x11F42}, {0x13440, 0x13440}, {0x13447, 0x13455},
    {0x16F4F, 0x16F4F}, {0x16F7F, 0x16F87}, {0x16FE4, 0x16FE4}, {0x16FF0, 0x16FF1}, {0x1CF00, 0x1CF2D},
    {0x1CF30, 0x1CF46}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF},
};

// Compatibility decompositions that came after Unicode 9.
constexpr Range kNotCompatible[] = {{0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},  {0x10781, 0x107BA},
                                    {0x1E030, 0x1E06D}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};

struct CategoryRange {
  char32_t first, last;
  int category;
};
// What Unicode 16 added to, or changed in, Unicode 15.0.
constexpr CategoryRange kUnicode16[] = {
    {0x897, 0x897, UTF8PROC_CATEGORY_MN},     {0x1B4E, 0x1B4F, UTF8PROC_CATEGORY_PO},
    {0x1B7F, 0x1B7F, UTF8PROC_CATEGORY_PO},   {0x1C89, 0x1C89, UTF8PROC_CATEGORY_LU},
    {0x1C8A, 0x1C8A, UTF8PROC_CATEGORY_LL},   {0x2427, 0x2429, UTF8PROC_CATEGORY_SO},
    {0x2FFC, 0x2FFF, UTF8PROC_CATEGORY_SO},   {0x31E4, 0x31E5, UTF8PROC_CATEGORY_SO},
    {0x31EF, 0x31EF, UTF8PROC_CATEGORY_SO},   {0xA7CB, 0xA7CC, UTF8PROC_CATEGORY_LU},
    {0xA7CD, 0xA7CD, UTF8PROC_CATEGORY_LL},   {0xA7DA, 0xA7DA, UTF8PROC_CATEGORY_LU},
    {0xA7DB, 0xA7DB, UTF8PROC_CATEGORY_LL},   {0xA7DC, 0xA7DC, UTF8PROC_CATEGORY_LU},
    {0x105C0, 0x105F3, UTF8PROC_CATEGORY_LO}, {0x10D40, 0x10D49, UTF8PROC_CATEGORY_ND},
    {0x10D4A, 0x10D4D, UTF8PROC_CATEGORY_LO}, {0x10D4E, 0x10D4E, UTF8PROC_CATEGORY_LM},
    {0x10D4F, 0x10D4F, UTF8PROC_CATEGORY_LO}, {0x10D50, 0x10D65, UTF8PROC_CATEGORY_LU},
    {0x10D69, 0x10D6D, UTF8PROC_CATEGORY_MN}, {0x10D6E, 0x10D6E, UTF8PROC_CATEGORY_PD},
    {0x10D6F, 0x10D6F, UTF8PROC_CATEGORY_LM}, {0x10D70, 0x10D85, UTF8PROC_CATEGORY_LL},
    {0x10D8E, 0x10D8F, UTF8PROC_CATEGORY_SM}, {0x10EC2, 0x10EC4, UTF8PROC_CATEGORY_LO},
    {0x10EFC, 0x10EFC, UTF8PROC_CATEGORY_MN}, {0x11380, 0x11389, UTF8PROC_CATEGORY_LO},
    {0x1138B, 0x1138B, UTF8PROC_CATEGORY_LO}, {0x1138E, 0x1138E, UTF8PROC_CATEGORY_LO},
    {0x11390, 0x113B5, UTF8PROC_CATEGORY_LO}, {0x113B7, 0x113B7, UTF8PROC_CATEGORY_LO},
    {0x113B8, 0x113BA, UTF8PROC_CATEGORY_MC}, {0x113BB, 0x113C0, UTF8PROC_CATEGORY_MN},
    {0x113C2, 0x113C2, UTF8PROC_CATEGORY_MC}, {0x113C5, 0x113C5, UTF8PROC_CATEGORY_MC},
    {0x113C7, 0x113CA, UTF8PROC_CATEGORY_MC}, {0x113CC, 0x113CD, UTF8PROC_CATEGORY_MC},
    {0x113CE, 0x113CE, UTF8PROC_CATEGORY_MN}, {0x113CF, 0x113CF, UTF8PROC_CATEGORY_MC},
    {0x113D0, 0x113D0, UTF8PROC_CATEGORY_MN}, {0x113D1, 0x113D1, UTF8PROC_CATEGORY_LO},
    {0x113D2, 0x113D2, UTF8PROC_CATEGORY_MN}, {0x113D3, 0x113D3, UTF8PROC_CATEGORY_LO},
    {0x113D4, 0x113D5, UTF8PROC_CATEGORY_PO}, {0x113D7, 0x113D8, UTF8PROC_CATEGORY_PO},
    {0x113E1, 0x113E2, UTF8PROC_CATEGORY_MN}, {0x116D0, 0x116E3, UTF8PROC_CATEGORY_ND},
    {0x1171E, 0x1171E, UTF8PROC_CATEGORY_MC}, {0x11BC0, 0x11BE0, UTF8PROC_CATEGORY_LO},
    {0x11BE1, 0x11BE1, UTF8PROC_CATEGORY_PO}, {0x11BF0, 0x11BF9, UTF8PROC_CATEGORY_ND},
    {0x11F5A, 0x11F5A, UTF8PROC_CATEGORY_MN}, {0x13460, 0x143FA, UTF8PROC_CATEGORY_LO},
    {0x16100, 0x1611D, UTF8PROC_CATEGORY_LO}, {0x1611E, 0x16129, UTF8PROC_CATEGORY_MN},
    {0x1612A, 0x1612C, UTF8PROC_CATEGORY_MC}, {0x1612D, 0x1612F, UTF8PROC_CATEGORY_MN},
    {0x16130, 0x16139, UTF8PROC_CATEGORY_ND}, {0x16D40, 0x16D42, UTF8PROC_CATEGORY_LM},
    {0x16D43, 0x16D6A, UTF8PROC_CATEGORY_LO}, {0x16D6B, 0x16D6C, UTF8PROC_CATEGORY_LM},
    {0x16D6D, 0x16D6F, UTF8PROC_CATEGORY_PO}, {0x16D70, 0x16D79, UTF8PROC_CATEGORY_ND},
    {0x18CFF, 0x18CFF, UTF8PROC_CATEGORY_LO}, {0x1CC00, 0x1CCEF, UTF8PROC_CATEGORY_SO},
    {0x1CCF0, 0x1CCF9, UTF8PROC_CATEGORY_ND}, {0x1CD00, 0x1CEB3, UTF8PROC_CATEGORY_SO},
    {0x1E5D0, 0x1E5ED, UTF8PROC_CATEGORY_LO}, {0x1E5EE, 0x1E5EF, UTF8PROC_CATEGORY_MN},
    {0x1E5F0, 0x1E5F0, UTF8PROC_CATEGORY_LO}, {0x1E5F1, 0x1E5FA, UTF8PROC_CATEGORY_ND},
    {0x1E5FF, 0x1E5FF, UTF8PROC_CATEGORY_PO}, {0x1F8B2, 0x1F8BB, UTF8PROC_CATEGORY_SO},
    {0x1F8C0, 0x1F8C1, UTF8PROC_CATEGORY_SO}, {0x1FA89, 0x1FA89, UTF8PROC_CATEGORY_SO},
    {0x1FA8F, 0x1FA8F, UTF8PROC_CATEGORY_SO}, {0x1FABE, 0x1FABE, UTF8PROC_CATEGORY_SO},
    {0x1FAC6, 0x1FAC6, UTF8PROC_CATEGORY_SO}, {0x1FADC, 0x1FADC, UTF8PROC_CATEGORY_SO},
    {0x1FADF, 0x1FADF, UTF8PROC_CATEGORY_SO}, {0x1FAE9, 0x1FAE9, UTF8PROC_CATEGORY_SO},
    {0x1FBCB, 0x1FBEF, UTF8PROC_CATEGORY_SO}, {0x2EBF0, 0x2EE5D, UTF8PROC_CATEGORY_LO},
};

// What extends a grapheme cluster since Unicode 16 and 17, which unicode-segmentation knows.
constexpr Range kNewExtenders[] = {{0x897, 0x897},     {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x10D69, 0x10D6D},
                                   {0x10EFA, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
                                   {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
                                   {0x11B60, 0x11B67}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF},
                                   {0x1E6E3, 0x1E6E3}, {0x1E6E6, 0x1E6E6}, {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}};

template <size_t N>
bool contains(const Range (&ranges)[N], char32_t cp) noexcept {
  const Range* it = std::upper_bound(ranges, ranges + N, cp, [](char32_t c, const Range& r) { return c < r.first; });
  return it != ranges && cp <= it[-1].last;
}

int category(char32_t cp) noexcept { return utf8proc_get_property(utf8proc_int32_t(cp))->category; }

constexpr bool is_ascii_punctuation(char32_t cp) noexcept {
  return (cp >= 33 && cp <= 47) || (cp >= 58 && cp <= 64) || (cp >= 91 && cp <= 96) || (cp >= 123 && cp <= 126);
}

// Length of the well-formed sequence at p, or 0; `bad` gets the length of the maximal ill-formed subpart.
size_t sequence_at(const unsigned char* p, const unsigned char* end, size_t& bad) noexcept {
  bad = 1;
  const unsigned char lead = p[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte rules out overlong forms, surrogates and values above U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (p + i == end) return 0;
    const bool ok = i == 1 ? p[1] >= low && p[1] <= high : (p[i] & 0xC0) == 0x80;
    if (!ok) return 0;
    bad = i + 1;
  }
  return length;
}

const unsigned char* bytes(const char* p) noexcept { return reinterpret_cast<const unsigned char*>(p); }

// First byte at or after p that is not ASCII, or end.
const char* skip_ascii(const char* p, const char* end) noexcept {
  for (; end - p >= 8; p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    if ((word &= 0x8080808080808080u) != 0) return p + std::countr_zero(word) / 8;
  }
  while (p != end && static_cast<unsigned char>(*p) < 0x80) ++p;
  return p;
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while ((p = skip_ascii(p, end)) != end) {
    if ((bytes(p)[0] & 0xE0) == 0xC0 && bytes(p)[0] >= 0xC2 && end - p > 1 && (bytes(p)[1] & 0xC0) == 0x80) {
      p += 2;  // most of a byte-level vocabulary
      continue;
    }
    size_t bad;
    const size_t length = sequence_at(bytes(p), bytes(end), bad);
    if (length == 0) return false;
    p += length;
  }
  return true;
}

char32_t decode_any(const char*& p, const char* end) noexcept {
  size_t bad;
  if (sequence_at(bytes(p), bytes(end), bad) != 0) return decode(p);
  p += bad;
  return 0xFFFD;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  replace_invalid_utf8(text, result);
  return result;
}

void replace_invalid_utf8(std::string_view text, std::string& result) {
  result.clear();
  result.reserve(text.size() + 16);
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p != end) {
    size_t bad;
    const size_t length = sequence_at(bytes(p), bytes(end), bad);
    if (length != 0) {
      result.append(p, length);
      p += length;
    } else {
      result.append("\xEF\xBF\xBD");
      p += bad;
    }
  }
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

size_t encode(char32_t cp, char* out) noexcept {
  const auto put = [out](int i, char32_t byte) { out[i] = static_cast<char>(byte); };
  if (cp < 0x80) return put(0, cp), 1;
  if (cp < 0x800) return put(0, 0xC0 | cp >> 6), put(1, 0x80 | (cp & 0x3F)), 2;
  if (cp < 0x10000) return put(0, 0xE0 | cp >> 12), put(1, 0x80 | (cp >> 6 & 0x3F)), put(2, 0x80 | (cp & 0x3F)), 3;
  put(0, 0xF0 | cp >> 18), put(1, 0x80 | (cp >> 12 & 0x3F)), put(2, 0x80 | (cp >> 6 & 0x3F));
  return put(3, 0x80 | (cp & 0x3F)), 4;
}

bool is_whitespace(char32_t cp) noexcept {
  if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13);
  return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
         cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool is_removed_by_clean_text(char32_t cp) noexcept {
  if (cp < 0x80) return (cp < 0x20 && cp != '\t' && cp != '\n' && cp != '\r') || cp == 0x7F;
  if (cp == 0xFFFD) return true;
  const int c = category(cp);
  if (c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CO) return true;
  return c == UTF8PROC_CATEGORY_CF && !contains(kNotFormat, cp);
}

bool is_punctuation(char32_t cp) noexcept {
  if (cp < 0x80) return is_ascii_punctuation(cp);
  const int c = category(cp);
  if (c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO) return !contains(kNotPunctuation, cp);
  return cp == 0x166D || cp == 0x111C9;
}

bool is_chinese(char32_t cp) noexcept {
  return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) || (cp >= 0x20000 && cp <= 0x2A6DF) ||
         (cp >= 0x2A700 && cp <= 0x2B73F) || (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) ||
         (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

bool is_nonspacing_mark(char32_t cp) noexcept {
  if (cp < 0x300) return false;
  if (category(cp) == UTF8PROC_CATEGORY_MN) return !contains(kNotNonspacing, cp);
  return cp == 0x1734;
}

int general_category(char32_t cp) noexcept {
  const int c = category(cp);
  if (c != UTF8PROC_CATEGORY_CN && cp != 0x1171E) return c;
  const auto* it = std::upper_bound(std::begin(kUnicode16), std::end(kUnicode16), cp,
                                    [](char32_t x, const CategoryRange& r) { return x < r.first; });
  return it != std::begin(kUnicode16) && cp <= it[-1].last ? it[-1].category : c;
}

bool is_letter(char32_t cp) noexcept {
  if (cp < 0x80) return (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z');
  const int c = general_category(cp);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t cp) noexcept {
  if (cp < 0x80) return cp >= '0' && cp <= '9';
  const int c = general_category(cp);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool is_numeric(char32_t cp) noexcept {  // Unicode 17
  return is_number(cp) || (cp >= 0x11DE0 && cp <= 0x11DE9) || (cp >= 0x16FF4 && cp <= 0x16FF6);
}

bool is_combining_mark(char32_t cp) noexcept {
  if (cp < 0x300) return false;
  const int c = category(cp);
  if (c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME) return !contains(kNotCombining, cp);
  return cp == 0x1CF2 || cp == 0x1CF3;
}

bool is_word(char32_t cp) noexcept {
  if (cp < 0x80) return (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') || cp == '_';
  switch (general_category(cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
  }
  // Join_Control, and the circled or squared letters that are Other_Alphabetic.
  return cp == 0x200C || cp == 0x200D || (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
         (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
}

const char* next_grapheme(const char* p, const char* end) noexcept {
  auto before = utf8proc_int32_t(decode(p));
  for (utf8proc_int32_t state = 0; p != end;) {
    const char* next = p;
    auto cp = utf8proc_int32_t(decode(next));
    if (cp >= 0x897 && contains(kNewExtenders, char32_t(cp))) cp = 0x301;
    if (utf8proc_grapheme_break_stateful(before, cp, &state)) break;
    before = cp;
    p = next;
  }
  return p;
}

int combining_class(char32_t cp) noexcept {
  if (cp < 0x300) return 0;
  const int ccc = utf8proc_get_property(utf8proc_int32_t(cp))->combining_class;
  return ccc != 0 && contains(kStarters, cp) ? 0 : ccc;
}

Mapped to_lower(char32_t cp) noexcept {
  Mapped out;
  const auto one = [&out](char32_t c) { out.code_points[0] = c, out.size = 1; };
  one(cp < 0x80 ? (cp >= 'A' && cp <= 'Z' ? cp + 32 : cp) : char32_t(utf8proc_tolower(utf8proc_int32_t(cp))));
  if (cp == 0x130) {
    out.code_points[1] = 0x307, out.size = 2;
  } else if (cp >= 0x1C89 && out.code_points[0] == cp && category(cp) == UTF8PROC_CATEGORY_CN) {
    // Upper-case letters that came after Unicode 15.0.
    if (cp == 0x1C89 || cp == 0xA7CC || cp == 0xA7CE || cp == 0xA7D2 || cp == 0xA7D4 || cp == 0xA7DA) one(cp + 1);
    if (cp == 0xA7CB) one(0x264);
    if (cp == 0xA7DC) one(0x19B);
    if (cp >= 0x10D50 && cp <= 0x10D65) one(cp + 0x20);
    if (cp >= 0x16EA0 && cp <= 0x16EB8) one(cp + 0x1B);
  }
  return out;
}

namespace {

Mapped decompose_with(char32_t cp, int options) noexcept {
  Mapped out;
  utf8proc_int32_t buffer[18];
  int boundary_class = 0;
  const auto n = utf8proc_decompose_char(utf8proc_int32_t(cp), buffer, 18, static_cast<utf8proc_option_t>(options),
                                         &boundary_class);
  if (n < 1 || n > 18) {
    out.code_points[0] = cp, out.size = 1;
    return out;
  }
  out.size = size_t(n);
  for (size_t i = 0; i < out.size; ++i) out.code_points[i] = char32_t(buffer[i]);
  return out;
}

Mapped itself(char32_t cp) noexcept {
  Mapped out;
  out.code_points[0] = cp, out.size = 1;
  return out;
}

}  // namespace

Mapped to_upper(char32_t cp) noexcept {
  Mapped out = itself(cp == 0xDF ? U'S' : char32_t(utf8proc_toupper(utf8proc_int32_t(cp))));
  if (cp == 0xDF) out.code_points[out.size++] = U'S';
  return out;
}

Mapped decompose(char32_t cp) noexcept {
  return cp < 0xC0 || cp == 0x11938 ? itself(cp) : decompose_with(cp, UTF8PROC_DECOMPOSE);
}

Mapped decompose_compatible(char32_t cp) noexcept {
  if (cp < 0xA0 || cp == 0x11938 || contains(kNotCompatible, cp)) return itself(cp);
  return decompose_with(cp, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
}

char32_t compose(char32_t first, char32_t second) noexcept {
  if (second < 0x300 || (first == 0x11935 && second == 0x11930)) return 0;
  utf8proc_int32_t buffer[2] = {utf8proc_int32_t(first), utf8proc_int32_t(second)};
  const auto n =
      utf8proc_normalize_utf32(buffer, 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  return n == 1 ? char32_t(buffer[0]) : 0;
}

std::string to_lower(std::string_view text) {
  std::string out;
  char bytes[4];
  for (const char* p = text.data(); p != text.data() + text.size();) {
    const Mapped mapped = to_lower(decode(p));
    for (size_t i = 0; i < mapped.size; ++i) out.append(bytes, encode(mapped.code_points[i], bytes));
  }
  return out;
}

}  // namespace caracal::tokenizers::unicode
