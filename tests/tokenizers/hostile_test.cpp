// Damaged and hostile tokenizer files, and texts that are long in unusual ways: an error or an answer, soon.
#include <caracal/models/tokenization_auto.h>

#include <chrono>
#include <functional>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

namespace tk = caracal::tokenizers;

Json bpe(const char* model) {
  return Json::parse(std::string(R"({"version":"1.0","added_tokens":[],"model":)") + model + "}", "test");
}

std::string ids_of(const tk::Tokenizer& tokenizer, const std::string& text) {
  tk::Tokenizer::Workspace workspace;
  std::string out;
  for (const tk::Token& token : tokenizer.encode({.text = text}, nullptr, true, {}, false, workspace).tokens) {
    out += std::to_string(token.id) + " ";
  }
  return out;
}

// Loads and uses a tokenizer: an Error or an answer.
void use(const Json& content) {
  try {
    const tk::Tokenizer tokenizer = tk::Tokenizer::from_json(content);
    ids_of(tokenizer, "Hello  wörld, it's 中文 \U0001F600 123\n x");
    tokenizer.decode(std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 1000}, true);
    tokenizer.to_json();
  } catch (const Error&) {
  }
}

TEST(Hostile, Models) {
  const auto load = [](const char* model) { return [model] { tk::Tokenizer::from_json(bpe(model)); }; };
  expect_error(load(R"({"type":"BPE","vocab":{"a":0,"b":0},"merges":[]})"), ErrorCode::bad_file, "id 0");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0}})"), ErrorCode::bad_file, "merges");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":"a b"})"), ErrorCode::bad_file, "list");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0},"merges":["a b"]})"), ErrorCode::bad_file, "'b'");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]})"), ErrorCode::bad_file, "'ab'");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0},"merges":["a"]})"), ErrorCode::bad_file, "space between");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0},"merges":[["a"]]})"), ErrorCode::bad_file, "two tokens");
  expect_error(load(R"({"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1})"), ErrorCode::unsupported, "dropout");
  expect_error(
      load(R"({"type":"BPE","vocab":{"a":0,"##b":1,"b":2},"merges":["a b"],"continuing_subword_prefix":"##"})"),
      ErrorCode::bad_file, "prefix");
  expect_error(load(R"({"type":"Unigram","vocab":[["a",0.0]],"unk_id":1})"), ErrorCode::bad_file, "unk_id");
  expect_error(load(R"({"type":"Unigram","vocab":[["a",0.0]],"unk_id":-1})"), ErrorCode::bad_file, "unk_id");
  expect_error(load(R"({"type":"Unigram","vocab":[["a"]],"unk_id":0})"), ErrorCode::bad_file, "score");
  const auto no_unk = tk::Tokenizer::from_json(bpe(R"({"type":"Unigram","vocab":[["a",0.0]],"unk_id":null})"));
  EXPECT_EQ(ids_of(no_unk, "aa"), "0 0 ");
  expect_error([&] { ids_of(no_unk, "ab"); }, ErrorCode::invalid_argument, "unk_id");
}

TEST(Hostile, PatternsThatAreRefusedAreShown) {
  const auto load = [](const char* pattern) {
    return [pattern] {
      tk::pre_tokenizer_from_json(
          {{"type", "Split"}, {"pattern", Json{{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
    };
  };
  for (const char* pattern : {"a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b", "(a)\\1", "(?<x>a)\\k<x>", "(?>a)", "a++b",
                              "[a&&b]", "(", "[a", "a{100000}", "\\", "x\\s+(?!\\S)"}) {
    expect_error(load(pattern), ErrorCode::unsupported, pattern);
  }
  load("(?<name>a)|b{1,3}?|(?i:C)|\\u0041|[^\\S\\n]|[[a]b]|x")();
}

TEST(Hostile, EveryValueReplacedByAnother) {
  const Json wrong[] = {nullptr,
                        true,
                        -1,
                        int64_t(1) << 62,
                        1e300,
                        "",
                        "Sequence",
                        Json::Array{},
                        Json::Object{},
                        Json::Array{Json::Array{}, "x"}};
  size_t tried = 0;
  const std::function<void(const Json&, Json&)> mutate = [&](const Json& root, Json& node) {
    const auto replace = [&](Json& child) {
      const Json kept = child;
      for (const Json& value : wrong) {
        child = value;
        use(root);
        ++tried;
      }
      child = kept;
      if (child.is_object() || child.is_array()) mutate(root, child);
    };
    size_t count = 0;
    if (node.is_object()) {
      for (auto& [key, child] : node.as_object()) {
        if (++count <= 12) replace(child);
      }
    } else {
      for (Json& child : node.as_array()) {
        if (++count <= 3) replace(child);
      }
    }
  };
  size_t cases = 0;
  for (Json& line : read_lines("pipelines/random.jsonl")) {
    if (!line.is_object() || ++cases % 4 != 0) continue;
    Json::Object& members = line.at("model").is_object() ? line.as_object() : line.as_object();
    for (auto& [key, value] : members) {  // small models, as each is built many times
      if (key != "model") continue;
      for (auto& [name, part] : value.as_object()) {
        if (name == "vocab" && part.is_object() && part.as_object().size() > 40) part.as_object().resize(40);
        if (name == "vocab" && part.is_array() && part.as_array().size() > 40) part.as_array().resize(40);
        if (name == "merges") part.as_array().resize(std::min<size_t>(part.as_array().size(), 2));
      }
    }
    mutate(line, line);
  }
  EXPECT_GT(tried, 3000u);
}

TEST(Hostile, Files) {
  const Folder folder;
  const auto load = [&] { tk::Tokenizer::from_file(folder.path() + "/tokenizer.json"); };
  std::string text = read_lines("pipelines/random.jsonl")[0].dump();
  for (size_t i = 1; i < 40; ++i) {
    folder.write("tokenizer.json", text.substr(0, text.size() * i / 40));
    expect_error(load, ErrorCode::bad_file, "tokenizer.json");
  }
  folder.write("tokenizer.json", std::string(1000000, '[') + std::string(1000000, ']'));
  expect_error(load, ErrorCode::bad_file, "tokenizer.json");
  folder.write("tokenizer.json", std::string(1000000, '{'));
  expect_error(load, ErrorCode::bad_file, "tokenizer.json");
  folder.write("tokenizer.json", "{}");
  std::filesystem::resize_file(folder.path() + "/tokenizer.json", size_t(200)
                                                                      << 20);  // a vocabulary of 10^7 is as large
  expect_error(load, ErrorCode::bad_file, "128 MiB");
  Json content = bpe(R"({"type":"BPE","vocab":{"a":0},"merges":[]})");
  content.set("added_tokens", Json::Array{Json{{"id", 1},
                                               {"content", std::string(10000000, 'x')},
                                               {"single_word", false},
                                               {"lstrip", false},
                                               {"rstrip", false},
                                               {"normalized", true},
                                               {"special", false}}});
  expect_error([&] { tk::Tokenizer::from_json(content); }, ErrorCode::invalid_argument, "64 KiB");
}

TEST(Hostile, PrecompiledMaps) {
  const auto load = [](const std::string& map) {
    return [map] { tk::normalizer_from_json({{"type", "Precompiled"}, {"precompiled_charsmap", map}}); };
  };
  expect_error(load("?"), ErrorCode::bad_file, "base64");
  expect_error(load("????"), ErrorCode::bad_file, "base64");
  expect_error(load(""), ErrorCode::bad_file, "size");
  expect_error(load("/////w=="), ErrorCode::bad_file, "trie");
  std::string map = "BAAAAA";
  for (const char c : std::string("AQgz/09")) {  // tries of one unit that point anywhere
    Json content = bpe(R"({"type":"WordLevel","vocab":{"a":0},"unk_token":"a"})");
    content.set("normalizer", Json{{"type", "Precompiled"}, {"precompiled_charsmap", map + c + c + c + c + "YQ=="}});
    use(content);
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSlow = 20;  // how much longer things may take
#else
constexpr int kSlow = 1;
#endif
constexpr double kMostRatio = 48;

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string with_model(const std::string& model, const std::string& added = "") {
  return R"({"version":"1.0","added_tokens":[)" + added + R"(],"model":)" + model + "}";
}

// A vocabulary of `count` tokens "t0", "t1", …; the ids begin at `first`.
std::string vocab(size_t count, size_t first = 0) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i) {
    text += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) + "\":" + std::to_string(first + i);
  }
  return text + "}";
}

// Large bad files, each refused within two seconds.
TEST(Hostile, LargeFilesAreRefusedSoon) {
  const std::string large = vocab(200000), open = large.substr(0, large.size() - 1);
  const auto bpe = [](const std::string& vocabulary, const std::string& merges) {
    return with_model(R"({"type":"BPE","vocab":)" + vocabulary + merges + "}");
  };
  std::string many = "{", pieces = "[", deep = "[", merges, many_merges = "[";
  for (size_t i = 0; i < 10000000; ++i) many += R"("a":0,)";
  many += R"("a":0})";
  for (size_t i = 0; i < 5000000; ++i) pieces += R"(["a",0],)";
  pieces += R"(["a",0]])";
  for (size_t i = 0; i < 5000000; ++i) many_merges += R"("a a",)";
  many_merges += R"("a a"])";
  for (size_t i = 0; i < 1000000; ++i) deep += R"({"a":[)";
  for (size_t i = 0; i + 1 < 100000; ++i) merges += R"("t1 t2",)";
  const std::string added = R"({"id":1,"content":")" + std::string(10000000, 'x') +
                            R"(","single_word":false,"lstrip":false,"rstrip":false,"normalized":true,"special":true})";
  // Of each node that byte whose edge lies nearest to the beginning of the trie's table.
  std::string colliding;
  for (uint64_t node = 0; node < 100000; ++node) {
    char best = 'a';
    uint64_t least = UINT64_MAX;
    for (char byte = '0'; byte <= 'z'; ++byte) {
      const uint64_t hash = (node << 8 | uint64_t(byte)) * 0x9E3779B97F4A7C15u;
      if (byte != '\\' && hash < least) best = byte, least = hash;
    }
    colliding += best;
  }
  const struct {
    const char* name;
    std::string text, error;
  } files[] = {
      {"a token made to collide", with_model(R"({"type":"Unigram","unk_id":0,"vocab":[[")" + colliding + R"(",0]]})"),
       "collide"},
      {"merges that are no list", bpe(large, R"(,"merges":"t1 t2")"), "list"},
      {"duplicate id", bpe(open + R"(,"u":199999})", R"(,"merges":[])"), "id 199999"},
      {"missing merges", bpe(large, ""), "merges"},
      {"unknown token in merges", bpe(large, R"(,"merges":["t1 u"])"), "'u'"},
      {"unknown token made by merges", bpe(large, R"(,"merges":[)" + merges + R"("t1 t2"])"), "'t1t2'"},
      {"10^7 tokens", bpe(many, R"(,"merges":[])"), "at most 4194304 tokens"},
      {"5*10^6 pieces", with_model(R"({"type":"Unigram","unk_id":0,"vocab":)" + pieces + "}"), "at most 4194304"},
      {"5*10^6 merges", bpe(R"({"a":0})", R"(,"merges":)" + many_merges), "at most 4194304 tokens or merges"},
      {"ids far apart", bpe(R"({"a":0,"b":2000000000})", R"(,"merges":[])"), "near the number of tokens"},
      {"depth of 10^6", with_model(deep), "at byte"},
      {"depth of 10^6 elsewhere", R"({"normalizer":)" + deep, "at byte"},
      {"depth of 10^6, closed", std::string(1000000, '[') + std::string(1000000, ']'), "at byte 0"},
      {"added token of 10 MB", with_model(R"({"type":"WordLevel","vocab":{"a":0},"unk_token":"a"})", added), "64 KiB"},
      {"a list as model", R"({"model":[]})", "expected"},
      {"a number as vocab", bpe("7", R"(,"merges":[])"), "vocab"},
      {"a string as id", bpe(open + R"(,"u":"7"})", ""), "a 31-bit id"},
      {"a fraction as id", bpe(open + R"(,"u":7.5})", ""), "a 31-bit id"},
      {"a large id", bpe(open + R"(,"u":2147483648})", ""), "a 31-bit id"},
      {"a number as token of a merge", bpe(large, R"(,"merges":[["t1",2]])"), "a string"},
      {"three tokens in a merge", bpe(large, R"(,"merges":["t1 t2 t3"])"), "two tokens"},
      {"infinity as score", with_model(R"({"type":"Unigram","unk_id":0,"vocab":[["a",-inf]]})"), "a number"},
      {"two vocabularies", bpe(large, R"(,"vocab":{},"merges":[])"), "one 'vocab'"},
      {"cut short", bpe(large, "").substr(0, 1000000), "the end"},
      {"bad UTF-8 at the end", bpe(open + ",\"\xff\":7}", R"(,"merges":[])"), "UTF-8"},
      {"no JSON", std::string(10000000, ' '), "the end"},
  };
  for (const auto& file : files) {
    SCOPED_TRACE(file.name);
    const double seconds = seconds_of([&] {
      expect_error([&] { tk::Tokenizer::from_json(tk::parse_tokenizer_json(file.text, "test")); },
                   file.error == "64 KiB" ? ErrorCode::invalid_argument : ErrorCode::bad_file, file.error);
    });
    EXPECT_LT(seconds, 2.0 * kSlow);
  }
}

// The reader of vocabularies and merges knows all of JSON.
TEST(TokenizerJson, StringsAndNumbers) {
  const std::string text = with_model(
      "{\"type\" : \"Unigram\", \"unk_id\": 0,\n\t\"vocab\":\r\n        [ [ \"<unk>\" , 0 ] ,[\"a\",-1.5e-2]          ,"
      R"(["\"\\\/\b\f\n\r\t",-2],["\u0041\u00e9\u4e2d\ud83d\ude00é😀",-3E+1],["",1.0],["longer than eight",-4],)"
      R"(["digits",-0.12345678901234567890123],["more",12.130167007446289]]})");
  const auto json = tk::parse_tokenizer_json(text, "test");
  const tk::TokenList& tokens = json.data->vocabulary;
  const std::pair<std::string, double> expected[] = {{"<unk>", 0},
                                                     {"a", -1.5e-2},
                                                     {"\"\\/\b\f\n\r\t", -2},
                                                     {"Aé中😀é😀", -30},
                                                     {"", 1},
                                                     {"longer than eight", -4},
                                                     {"digits", -0.12345678901234567890123},
                                                     {"more", 12.130167007446289}};
  ASSERT_EQ(tokens.size(), std::size(expected));
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens.texts[i], expected[i].first);
    EXPECT_EQ(tokens.ids[i], int32_t(i));
    EXPECT_EQ(json.data->scores[i].exact, expected[i].second);
  }
  EXPECT_EQ(json.content.at("model").at("vocab"), Json(Json::Array{}));
  for (size_t i = 0; i < text.size(); ++i) {
    expect_error([&] { tk::parse_tokenizer_json(text.substr(0, i), "test"); }, ErrorCode::bad_file, "[test]");
  }
  const auto refused = [](const std::string& entry) {
    expect_error([&] { tk::parse_tokenizer_json(with_model(R"({"vocab":)" + entry + "}"), "test"); },
                 ErrorCode::bad_file, "at byte");
  };
  for (const char* string : {R"("\x")", R"("\u12")", R"("\u12g4")", R"("\ud83d")", R"("\ud83d\u0041")", R"("\udc00")",
                             "\"\x01\"", "\"\n\"", R"("a)", "7", "null"}) {
    refused(std::string("{") + string + ":0}");
    refused(std::string("[[") + string + ",0]]");
  }
  for (const char* number : {"", "-", "01", "1.", "1.5.", "1e", "1e999", "-inf", "nan", "0x1", "+1", ".5", "true"}) {
    refused(std::string("[[\"a\",") + number + "]]");
    refused(std::string("{\"a\":") + number + "}");
  }
  for (const char* id : {"-1", "-0", "1.0", "1e2", "2147483648"}) refused(std::string("{\"a\":") + id + "}");
}

// Time for a text eight times as long over time for `size` bytes of `piece`: about 8, or 64 for a quadratic step.
double ratio_of_times(const tk::Tokenizer& tokenizer, const std::string& piece, size_t size) {
  std::string once, longer;
  while (once.size() < size) once += piece;
  for (int i = 0; i < 8; ++i) longer += once;
  tk::Tokenizer::Workspace workspace;
  tk::Encoding encoding;
  const auto time = [&](const std::string& text) {
    return seconds_of([&] { tokenizer.encode({.text = text}, nullptr, true, {}, false, workspace, encoding); });
  };
  time(longer);  // memory for the buffers
  double least[2] = {1e9, 1e9};
  for (int round = 0; round < 8; ++round) {
    least[0] = std::min(least[0], time(once));
    least[1] = std::min(least[1], time(longer));
    if (round >= 2 && least[1] <= kMostRatio * least[0]) break;
  }
  return least[1] / least[0];
}

// Long runs of one thing take time in proportion.
TEST(Hostile, LongRunsAreLinear) {
  for (const char* name :
       {"gpt2", "roberta-base", "clip-vit-base-patch32", "t5-small", "albert-base-v2", "phi-2", "falcon-7b"}) {
    const auto tokenizer = tk::Tokenizer::from_json(read_lines("pipelines/" + std::string(name) + ".jsonl")[0]);
    for (const char* piece : {"a", " ", "\U0001F600", "\u0301", "'", "\n"}) {
      EXPECT_LE(ratio_of_times(tokenizer, piece, 20000 / kSlow), kMostRatio) << name << " of '" << piece << "'";
    }
  }
  const auto bert = AutoTokenizer::from_pretrained(data_path("uncased"));
  for (const char* piece : {"a", " ", "\U0001F600", "\u0301", "["}) {
    EXPECT_LE(ratio_of_times(bert.backend_tokenizer(), piece, 50000 / kSlow), kMostRatio) << piece;
  }
  const auto seconds = [&](size_t count) {
    const std::vector<std::string> words(count, "a");
    double least = 1e9;
    for (int i = 0; i < 3; ++i) {
      least = std::min(least, seconds_of([&] {
                         EXPECT_EQ(bert(std::vector<std::vector<std::string>>{words}).row(0).size(), count + 2);
                       }));
    }
    return least;
  };
  EXPECT_LE(seconds(80000 / kSlow), kMostRatio * seconds(10000 / kSlow)) << "words";
  Json content = bpe(R"({"type":"WordLevel","vocab":{"a":0},"unk_token":"a"})");
  content.set("pre_tokenizer",
              {{"type", "Split"}, {"pattern", Json{{"Regex", "(a+)+b"}}}, {"behavior", "Isolated"}, {"invert", false}});
  EXPECT_LE(ratio_of_times(tk::Tokenizer::from_json(content), "a", 100000 / kSlow), kMostRatio);
}

}  // namespace
}  // namespace caracal::testing
