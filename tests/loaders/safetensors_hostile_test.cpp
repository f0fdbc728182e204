// Files made to break a reader: every refusal has its message, and damage of any kind ends in an Error.
#include <algorithm>
#include <map>
#include <random>
#include <sstream>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::data_path;
using testing::expect_error;
using testing::parse_bytes;
using testing::raw_file;
using testing::read_file;

// Reads every tensor too, so that a wrong bound is touched.
void use(const SafetensorsFile& file) {
  for (const TensorInfo& info : file.tensors()) {
    try {
      Tensor copy = file.tensor(info).clone();
    } catch (const Error& error) {
      EXPECT_EQ(int(error.code()), int(ErrorCode::unsupported)) << error.what();
    }
  }
}

bool accepted(const std::string& content) {
  try {
    use(parse_bytes(content));
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::bad_file || error.code() == ErrorCode::unsupported) << error.what();
    return false;
  }
}

std::string from_hex(const std::string& hex) {
  std::string result;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) result += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  return result;
}

// Accepted by the reference, refused here. The reader's header says so; everything else must agree.
const std::vector<std::string> kStricter = {"name_twice", "name_twice_escaped",  "name_twice_empty", "tensor_array",
                                            "rank_65",    "shape_zero_then_2_63"};

TEST(SafetensorsHostile, VerdictsOfTheReference) {
  std::istringstream lines(read_file(data_path("safetensors/cases.tsv")));
  std::string line;
  std::getline(lines, line);
  int count = 0;
  for (; std::getline(lines, line); ++count) {
    std::string name = line.substr(0, line.find('\t'));
    std::string verdict = line.substr(name.size() + 1, line.rfind('\t') - name.size() - 1);
    bool stricter = std::find(kStricter.begin(), kStricter.end(), name) != kStricter.end();
    if (stricter) {
      EXPECT_EQ(verdict, "accepted") << name;
    }
    EXPECT_EQ(accepted(from_hex(line.substr(line.rfind('\t') + 1))), verdict == "accepted" && !stricter) << name;
  }
  EXPECT_GE(count, 110);
}

TEST(SafetensorsHostile, VerdictsOnTheSyntheticFiles) {
  std::istringstream lines(read_file(data_path("safetensors/synthetic/EXPECTED.tsv")));
  std::string line;
  std::getline(lines, line);
  int count = 0;
  for (; std::getline(lines, line); ++count) {
    std::string name = line.substr(0, line.find('\t'));
    std::string path = data_path("safetensors/synthetic/" + name);
    bool expected = line.substr(name.size() + 1).starts_with("accepted");
    EXPECT_EQ(accepted(read_file(path)), expected) << name;
    for (Access access : {Access::map, Access::read}) {
      if (expected)
        use(SafetensorsFile::open(path, access));
      else
        expect_error(ErrorCode::bad_file, {path}, [&] { SafetensorsFile::open(path, access); });
    }
  }
  EXPECT_EQ(count, 30);
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

TEST(SafetensorsHostile, EveryRefusalSaysWhatAndWhere) {
  struct Case {
    std::string content;
    std::vector<std::string> parts;
  };
  auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return raw_file("{\"a\":" + entry(dtype, shape, offsets) + "}", std::string(16, 'x'));
  };
  auto two = [](const std::string& a, const std::string& b, size_t size) {
    return raw_file("{\"a\":" + entry("\"U8\"", "[8]", a) + ",\"b\":" + entry("\"U8\"", "[8]", b) + "}",
                    std::string(size, 'x'));
  };
  auto length = [](uint64_t n) {
    std::string head(8, '\0');
    std::memcpy(head.data(), &n, 8);
    return head + "{}";
  };
  std::vector<Case> cases = {
      {"", {"at least 8 bytes", "0"}},
      {"1234567", {"at least 8 bytes", "7"}},
      {length(0), {"byte 8", "JSON header"}},
      {length(100'000'001), {"at most 100000000", "bytes 0 to 7", "100000001"}},
      {length(UINT64_MAX), {"18446744073709551615"}},
      {length(1000), {"end at byte 1008", "10 bytes"}},
      {raw_file("{x"), {"bad text at byte 9"}},
      {raw_file("\xEF\xBB\xBF{}"), {"byte order mark at byte 8"}},
      {raw_file(std::string("{}\0", 3)), {"NUL byte at byte 10"}},
      {raw_file("[]"), {"expected a dict", "header"}},
      {raw_file("{\"a\":1}"), {"expected a dict", "\"a\""}},
      {raw_file("{\"a\":[]}"), {"expected a dict", "\"a\""}},
      {raw_file("{\"__metadata__\":{},\"__metadata__\":{}}"), {"one \"__metadata__\"", "two"}},
      {raw_file("{\"__metadata__\":{\"k\":1}}"), {"a string", "__metadata__ key \"k\""}},
      {one("\"F99\"", "[4]", "[0,16]"), {"safetensors dtype", "\"F99\"", "tensor \"a\""}},
      {one("1", "[4]", "[0,16]"), {"a string", "\"a\", dtype"}},
      {one("\"F32\"", "4", "[0,16]"), {"list of integers", "\"a\", shape"}},
      {one("\"F32\"", "[-4]", "[0,16]"), {"in digits only", "\"a\", shape"}},
      {one("\"F32\"", "[4.0]", "[0,16]"), {"in digits only", "\"a\", shape"}},
      {one("\"F32\"", "[4]", "[-0,16]"), {"in digits only", "\"a\", data_offsets"}},
      {one("\"F32\"", "[4]", "[0]"), {"two offsets", "\"a\", data_offsets"}},
      {one("\"F32\"", "[4]", "[0,8,16]"), {"two offsets", "\"a\", data_offsets"}},
      {one("\"F32\"", "[281474976710657]", "[0,16]"), {"at most 2^48", "281474976710657", "\"a\""}},
      {one("\"F32\"", "[281474976710656,281474976710656]", "[0,16]"),
       {"below 2^61 bytes", "[281474976710656, 281474976710656]"}},
      {one("\"F32\"", "[0,281474976710656,281474976710656]", "[0,0]"), {"below 2^61 bytes"}},
      {one("\"F4\"", "[3]", "[0,1]"), {"whole bytes", "12 bits", "\"a\""}},
      {one("\"F32\"", "[4]", "[16,0]"), {"ascending", "\"a\"", "[16, 0)"}},
      {one("\"F32\"", "[2,3]", "[0,16]"), {"expected 24 bytes", "[2, 3]", "F32", "\"a\" at data bytes [0, 16)"}},
      {raw_file("{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}"), {"data_offsets", "\"a\" lacks"}},
      {raw_file("{\"a\":{\"shape\":[1],\"shape\":[1]}}"), {"one field shape", "\"a\""}},
      {raw_file("{\"a\":{\"x\":" + std::string(200, '[')), {"127 nested"}},
      {two("[0,8]", "[4,12]", 12), {"do not overlap", "\"a\" at data bytes [0, 8)", "\"b\" at data bytes [4, 12)"}},
      {two("[0,8]", "[9,17]", 17), {"no hole", "\"a\" at data bytes [0, 8)", "\"b\" at data bytes [9, 17)"}},
      {two("[8,16]", "[1,9]", 16), {"no hole", "first tensor", "\"b\" at data bytes [1, 9)"}},
      {two("[0,8]", "[8,16]", 15), {"is truncated", "has 129 bytes", "end with its last tensor at byte 130"}},
      {two("[0,8]", "[8,16]", 17), {"end with its last tensor at byte 130", "has 131 bytes"}},
      {raw_file("{\"a\":" + entry("\"U8\"", "[0]", "[0,0]") + ",\"\\u0061\":" + entry("\"U8\"", "[1]", "[0,1]") + "}",
                "x"),
       {"unique tensor names", "\"a\" at data bytes [0, 0) and \"a\" at data bytes [0, 1)"}},
  };
  for (const Case& c : cases) {
    std::vector<std::string> parts = c.parts;
    parts.push_back("[hostile.safetensors] expected ");
    expect_error(ErrorCode::bad_file, parts, [&] { parse_bytes(c.content, "hostile.safetensors"); });
  }
}

TEST(SafetensorsHostile, NamesAreEscapedInMessages) {
  std::string text =
      expect_error(ErrorCode::bad_file, {"\\u001b[31m"}, [] { parse_bytes(raw_file("{\"\\u001b[31m\":1}")); });
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  std::string name;
  for (int i = 0; i < 1000; ++i) name += "é";
  text = expect_error(ErrorCode::bad_file, {"\\u00e9..."}, [&] { parse_bytes(raw_file("{\"x" + name + "\":1}")); });
  EXPECT_LT(text.size(), 1500u);
}

TEST(SafetensorsHostile, TruncationAtEveryByte) {
  std::string content = read_file(data_path("safetensors/torch.safetensors"));
  ASSERT_TRUE(accepted(content));
  for (size_t size = 0; size < content.size(); ++size) EXPECT_FALSE(accepted(content.substr(0, size))) << size;
}

TEST(SafetensorsHostile, RandomDamage) {
  std::mt19937 random(1);
  const std::vector<std::string> originals = {read_file(data_path("safetensors/torch.safetensors")),
                                              read_file(data_path("safetensors/synthetic/valid_dtypes.safetensors")),
                                              read_file(data_path("safetensors/synthetic/valid_zero_dim.safetensors"))};
  const std::string alphabet = "{}[]\",:0123456789-+.eE\\ \xff\x00";
  int refused = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string content = originals[size_t(round) % originals.size()];
    size_t header = 8 + size_t(uint8_t(content[0]) | uint8_t(content[1]) << 8);
    for (unsigned flips = random() % 4 + 1; flips > 0; --flips) {
      size_t at = random() % (round % 2 ? header : content.size());
      if (random() % 2)
        content[at] = alphabet[random() % alphabet.size()];
      else
        content[at] = char(content[at] ^ (1 << random() % 8));
    }
    refused += !accepted(content);
  }
  EXPECT_GT(refused, 3000);
}

TEST(SafetensorsHostile, LargeHeaders) {
  std::string names = "{", shape = "[";
  for (int i = 0; i < 200'000; ++i) {
    names += "\"" + std::to_string(i) + "\":" + entry("\"U8\"", "[0]", "[0,0]") + ",";
    shape += "1,";
  }
  names.back() = '}';
  shape.back() = ']';
  EXPECT_EQ(parse_bytes(raw_file(names)).tensors().size(), 200'000u);
  expect_error(ErrorCode::bad_file, {"at most 64 sizes", "\"a\""},
               [&] { parse_bytes(raw_file("{\"a\":" + entry("\"U8\"", shape, "[0,1]") + "}", "x")); });
}

}  // namespace
}  // namespace caracal
