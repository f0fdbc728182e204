// The character classes against the reference's, over all of Unicode, and UTF-8 repair against Python's.
#include <caracal/tokenizers/unicode.h>

#include <map>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

namespace unicode = caracal::tokenizers::unicode;

template <class F>
void for_each_code_point(F f) {
  for (char32_t cp = 0; cp < 0x110000; ++cp) {
    if (cp < 0xD800 || cp >= 0xE000) f(cp);
  }
}

// Expects `predicate` to hold exactly on the ranges stored under `name`.
template <class Predicate>
void expect_set(const Json& classes, const char* name, Predicate predicate) {
  const auto ranges = numbers<char32_t>(classes.at(name));
  std::vector<bool> expected(0x110000, false);
  for (size_t i = 0; i < ranges.size(); i += 2) {
    for (char32_t cp = ranges[i]; cp <= ranges[i + 1]; ++cp) expected[cp] = true;
  }
  size_t wrong = 0;
  for_each_code_point([&](char32_t cp) {
    if (predicate(cp) != expected[cp] && ++wrong < 5) ADD_FAILURE() << name << " of " << std::hex << uint32_t(cp);
  });
  EXPECT_EQ(wrong, 0u) << name;
}

TEST(Unicode, ClassesOfAllCodePoints) {
  const Json classes = read_lines("unicode.jsonl")[0];
  expect_set(classes, "removed", unicode::is_removed_by_clean_text);
  expect_set(classes, "whitespace", unicode::is_whitespace);
  expect_set(classes, "punctuation", unicode::is_punctuation);
  expect_set(classes, "chinese", unicode::is_chinese);
  // Stored for code points that do not decompose, and without the two marks used to find them.
  const auto alone = [](char32_t cp) {
    return unicode::decompose(cp).size == 1 && unicode::decompose(cp).code_points[0] == cp;
  };
  expect_set(classes, "nonspacing_mark", [&](char32_t cp) { return alone(cp) && unicode::is_nonspacing_mark(cp); });
  expect_set(classes, "class_above_1",
             [&](char32_t cp) { return cp != 0x334 && alone(cp) && unicode::combining_class(cp) > 1; });
  expect_set(classes, "class_below_230", [&](char32_t cp) {
    const int ccc = unicode::combining_class(cp);
    return cp != 0x301 && alone(cp) && ccc > 0 && ccc < 230;
  });
}

TEST(Unicode, MappingsOfAllCodePoints) {
  const Json classes = read_lines("unicode.jsonl")[0];
  const auto expect_mapping = [](const Json& rows, unicode::Mapped (*map)(char32_t), const char* name) {
    std::map<char32_t, std::vector<char32_t>> expected;
    for (const Json& row : rows.as_array()) {
      auto values = numbers<char32_t>(row);
      const char32_t key = values[0];
      values.erase(values.begin());
      expected[key] = values;
    }
    for_each_code_point([&](char32_t cp) {
      if (cp >= 0xAC00 && cp < 0xD7A4) return;  // Hangul is arithmetic, and tested below
      const unicode::Mapped mapped = map(cp);
      const auto it = expected.find(cp);
      const std::vector<char32_t> want = it == expected.end() ? std::vector<char32_t>{cp} : it->second;
      const std::vector<char32_t> got(mapped.code_points.begin(),
                                      mapped.code_points.begin() + std::ptrdiff_t(mapped.size));
      EXPECT_EQ(got, want) << name << " of " << std::hex << uint32_t(cp);
    });
  };
  expect_mapping(classes.at("lower"), unicode::to_lower, "lower case");
  expect_mapping(classes.at("decompose"), unicode::decompose, "decomposition");
  const unicode::Mapped gag = unicode::decompose(0xAC01);
  ASSERT_EQ(gag.size, 3u);
  EXPECT_EQ(gag.code_points[0], 0x1100u);
  EXPECT_EQ(gag.code_points[1], 0x1161u);
  EXPECT_EQ(gag.code_points[2], 0x11A8u);
}

TEST(Unicode, EncodeAndDecodeAreInverse) {
  for_each_code_point([](char32_t cp) {
    char bytes[4];
    const size_t size = unicode::encode(cp, bytes);
    const char* p = bytes;
    ASSERT_EQ(unicode::decode(p), cp);
    ASSERT_EQ(size_t(p - bytes), size);
    ASSERT_EQ(unicode::sequence_length(bytes[0]), size);
    ASSERT_TRUE(unicode::is_valid_utf8({bytes, size}));
  });
}

TEST(Unicode, InvalidUtf8IsReplacedAsPythonDoes) {
  const std::string r = "\xEF\xBF\xBD";
  const std::pair<std::string, std::string> cases[] = {
      {"\xff", r},
      {"a\x80z", "a" + r + "z"},
      {"\xc0\xaf", r + r},          // overlong
      {"\xe0\x80\x80", r + r + r},  // overlong
      {"\xe2\x82", r},              // cut short
      {"\xe2\x82x", r + "x"},
      {"\xf0\x9f\x92", r},
      {"\xf0\x9f\x92\xf0\x9f\x92\xa9", r + "\xf0\x9f\x92\xa9"},
      {"\xed\xa0\x80", r + r + r},          // surrogate
      {"\xf4\x90\x80\x80", r + r + r + r},  // above U+10FFFF
      {"\xf5\x80\x80\x80", r + r + r + r},
      {"\xf0\x80\x80\x80", r + r + r + r},
      {"\xc3", r},
      {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
       "A",
       r + r + r + r + "A"},
      {"fine \xc3\xa9", "fine \xc3\xa9"},
  };
  for (const auto& [bytes, expected] : cases) {
    EXPECT_EQ(unicode::replace_invalid_utf8(bytes), expected);
    EXPECT_EQ(unicode::is_valid_utf8(bytes), bytes == expected);
    EXPECT_TRUE(unicode::is_valid_utf8(unicode::replace_invalid_utf8(bytes)));
  }
}

TEST(Unicode, WordCharacters) {
  for (const char32_t cp : {U'a', U'Z', U'5', U'_', U'é', U'中', U'\u0301', U'\u200d', U'\u2160', U'Ⓐ'})
    EXPECT_TRUE(unicode::is_word(cp));
  for (const char32_t cp : {U' ', U'-', U'.', U'€', U'\u2003', U'²', U'😀'}) EXPECT_FALSE(unicode::is_word(cp));
}

}  // namespace
}  // namespace caracal::testing
