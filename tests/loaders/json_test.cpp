#include <caracal/runtime/json.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::data_path;
using testing::expect_error;

TEST(Json, DumpsTheBytesOfPython) {
  std::istringstream lines(testing::read_file(data_path("json/dumps.jsonl")));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    Json expected = Json::parse(line, "dumps.jsonl");
    const std::string& text = expected.at("text").as_string();
    Json value = Json::parse(text, "case");
    EXPECT_EQ(value.dump(), expected.at("plain").as_string()) << text;
    EXPECT_EQ(value.dump(2), expected.at("indent").as_string()) << text;
    EXPECT_EQ(value.dump(2, true), expected.at("sorted").as_string()) << text;
    EXPECT_EQ(value.dump(-1, false, false), expected.at("utf8").as_string()) << text;
    EXPECT_EQ(Json::parse(value.dump(), "again"), value) << text;
  }
  EXPECT_GE(count, 60);
}

TEST(Json, FloatsThatAreNotFinite) {
  EXPECT_EQ(Json(std::nan("")).dump(), "NaN");
  EXPECT_EQ(Json(std::numeric_limits<double>::infinity()).dump(), "Infinity");
  EXPECT_EQ(Json(-std::numeric_limits<double>::infinity()).dump(), "-Infinity");
}

TEST(Json, IntegersAreExact) {
  EXPECT_EQ(Json::parse("9223372036854775807", "t").as_int(), INT64_MAX);
  EXPECT_EQ(Json::parse("-9223372036854775808", "t").as_int(), INT64_MIN);
  EXPECT_EQ(Json::parse("9007199254740993", "t").as_int(), 9007199254740993);
}

TEST(Json, IntegersBeyondInt64KeepTheirDigits) {
  Json big = Json::parse("1000000000000000019884624838656", "t");
  EXPECT_EQ(big.type(), Json::Type::number);
  EXPECT_FALSE(big.is_integer());
  EXPECT_STREQ(big.type_name(), "int");
  EXPECT_EQ(big.as_double(), 1e30);
  EXPECT_EQ(big.dump(), "1000000000000000019884624838656");
  EXPECT_EQ(Json::parse("9223372036854775808", "t").dump(), "9223372036854775808");
  EXPECT_NE(big, Json(1e30));
  expect_error(ErrorCode::bad_file, {"64 bits", "1000000000000000019884624838656"}, [&] { big.as_int(); });
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "[1,]",
                           "{\"a\":1,}",
                           "{a:1}",
                           "'a'",
                           "01",
                           "+1",
                           ".5",
                           "1.",
                           "1e",
                           "0x1",
                           "NaN",
                           "Infinity",
                           "-Infinity",
                           "nul",
                           "True",
                           "[1]x",
                           "{}{}",
                           "/**/1",
                           "\"\n\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "\"\xe2\x82\"",
                           "\xEF\xBB\xBF{}",
                           "1e999",
                           "\"",
                           "[",
                           "{\"a\"",
                           "{\"a\":",
                           "{1:2}"}) {
    expect_error(ErrorCode::bad_file, {"[file.json]", "byte"}, [&] { Json::parse(text, "file.json"); });
  }
  expect_error(ErrorCode::bad_file, {"NUL byte at byte 2"}, [] { Json::parse(std::string_view("{}\0", 3), "t"); });
  expect_error(ErrorCode::bad_file, {"byte 4"}, [] { Json::parse("[1, x]", "t"); });
}

TEST(Json, DepthIsLimited) {
  EXPECT_NO_THROW(Json::parse(std::string(128, '[') + std::string(128, ']'), "t"));
  expect_error(ErrorCode::bad_file, {"128 nested"}, [] { Json::parse(std::string(129, '['), "t"); });
  std::string dicts;
  for (int i = 0; i < 1'000'000; ++i) dicts += "{\"a\":";
  expect_error(ErrorCode::bad_file, {"128 nested"}, [&] { Json::parse(dicts, "t"); });
}

TEST(Json, DuplicateKeys) {
  const char* text = R"({"a":1,"b":2,"\u0061":3,"c":{"a":4}})";
  EXPECT_EQ(Json::parse(text, "t").dump(), R"({"a": 3, "b": 2, "c": {"a": 4}})");
  expect_error(ErrorCode::bad_file, {"[t]", "two \"a\""}, [&] { Json::parse(text, "t", Json::Duplicates::reject); });
  EXPECT_NO_THROW(Json::parse(R"({"a":{"a":{"a":1}}})", "t", Json::Duplicates::reject));
}

// Work that grows with the square of the members would take minutes; as it is, these take well under a second.
TEST(Json, LargeObjectsTakeReasonableTime) {
  constexpr int kMembers = 300'000;
  const auto start = std::chrono::steady_clock::now();
  std::string text = "{";
  for (int i = 0; i < kMembers; ++i) text += "\"token" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  text.back() = '}';
  Json vocabulary = Json::parse(text, "t", Json::Duplicates::reject);
  EXPECT_EQ(vocabulary.as_object().size(), size_t(kMembers));
  EXPECT_EQ(Json::parse(vocabulary.dump(-1, true), "t").as_object().size(), size_t(kMembers));
  EXPECT_EQ(Json::parse(vocabulary.dump(2), "t"), vocabulary);

  std::string repeated = "{";
  for (int i = 0; i < kMembers; ++i) repeated += "\"" + std::to_string(i % 3 ? 0 : i) + "\":" + std::to_string(i) + ",";
  repeated.back() = '}';
  Json once = Json::parse(repeated, "t");
  EXPECT_EQ(once.as_object().size(), size_t(kMembers / 3));
  EXPECT_EQ(once.at("0").as_int(), kMembers - 1);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(Json, ErrorsOfAFileNameIt) {
  const Json j = {{"s", "x"}};
  EXPECT_EQ(in_file("a.json", [&] { return j.at("s").as_string(); }), "x");
  expect_error(ErrorCode::bad_file, {"[a.json] expected key \"t\" but got a dict without it"},
               [&] { in_file("a.json", [&] { j.at("t"); }); });
  expect_error(ErrorCode::bad_file, {"[inner] expected int but got str"},
               [&] { in_file("outer", [&] { in_file("inner", [&] { j.at("s").as_int(); }); }); });
  expect_error(ErrorCode::io, {"[disk] expected it to work"},
               [&] { in_file("a.json", [] { throw Error(ErrorCode::io, "disk", "expected it to work"); }); });
}

TEST(Json, Access) {
  Json j = {{"i", 3}, {"d", 0.5}, {"s", "x"}, {"b", true}, {"n", nullptr}, {"l", Json::Array{1, 2}}};
  EXPECT_EQ(j.at("i").as_int(), 3);
  EXPECT_EQ(j.at("i").as_double(), 3.0);
  EXPECT_EQ(j.at("l").as_array().size(), 2u);
  EXPECT_TRUE(j.at("n").is_null());
  EXPECT_EQ(j.find("absent"), nullptr);
  EXPECT_EQ(Json(3).find("absent"), nullptr);
  expect_error(ErrorCode::bad_file, {"expected key \"absent\""}, [&] { j.at("absent"); });
  expect_error(ErrorCode::bad_file, {"expected dict but got int"}, [] { Json(3).at("absent"); });
  expect_error(ErrorCode::bad_file, {"expected int but got str"}, [&] { j.at("s").as_int(); });
  expect_error(ErrorCode::bad_file, {"expected int but got float"}, [&] { j.at("d").as_int(); });
  expect_error(ErrorCode::bad_file, {"expected float but got bool"}, [&] { j.at("b").as_double(); });
  expect_error(ErrorCode::bad_file, {"expected bool but got null"}, [&] { j.at("n").as_bool(); });
  expect_error(ErrorCode::bad_file, {"expected str but got list"}, [&] { j.at("l").as_string(); });
  expect_error(ErrorCode::bad_file, {"expected list but got dict"}, [&] { j.as_array(); });
  expect_error(ErrorCode::bad_file, {"expected dict but got list"}, [&] { j.at("l").as_object(); });
}

TEST(Json, Change) {
  Json j;
  j.set("a", 1);
  j.set("b", Json::Array{});
  j.set("a", "again");
  EXPECT_EQ(j.dump(), R"({"a": "again", "b": []})");
  j.erase("a");
  j.erase("absent");
  EXPECT_EQ(j.dump(), R"({"b": []})");
  Json list = Json::Array{};
  expect_error(ErrorCode::bad_file, {"expected dict but got list"}, [&] { list.set("a", 1); });
}

TEST(Json, DumpRefusesBadUtf8) {
  for (const char* text : {"a\xff", "a\xc0\x80", "a\xed\xa0\x80", "a\xf5\x80\x80\x80", "a\xe2\x82", "a\x80"}) {
    expect_error(ErrorCode::invalid_argument, {"Json::dump", "bad byte at 1"}, [&] { Json(text).dump(); });
    expect_error(ErrorCode::invalid_argument, {"Json::dump"}, [&] { Json(text).dump(-1, false, false); });
  }
}

TEST(Json, Files) {
  testing::TemporaryDirectory dir;
  testing::write_file(dir / "good.json", "{\"a\": [1, 2.5]}\n");
  testing::write_file(dir / "empty.json", "");
  EXPECT_EQ(Json::parse_file(dir / "good.json").dump(), "{\"a\": [1, 2.5]}");
  expect_error(ErrorCode::bad_file, {"empty.json"}, [&] { Json::parse_file(dir / "empty.json"); });
  expect_error(ErrorCode::not_found, {"absent.json"}, [&] { Json::parse_file(dir / "absent.json"); });
  expect_error(ErrorCode::io, {dir.path}, [&] { Json::parse_file(dir.path); });
}

}  // namespace
}  // namespace caracal
