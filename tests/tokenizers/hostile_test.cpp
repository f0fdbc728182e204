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

// Long runs of one thing take time in proportion.
TEST(Hostile, LongRunsAreLinear) {
  const auto start = std::chrono::steady_clock::now();
  for (const char* name :
       {"gpt2", "roberta-base", "clip-vit-base-patch32", "t5-small", "albert-base-v2", "phi-2", "falcon-7b"}) {
    const auto tokenizer = tk::Tokenizer::from_json(read_lines("pipelines/" + std::string(name) + ".jsonl")[0]);
    for (const char* piece : {"a", " ", "\U0001F600", "\u0301", "'", "\n"}) {
      std::string text;
      while (text.size() < 100000) text += piece;
      EXPECT_FALSE(ids_of(tokenizer, text).empty() && *piece != ' ' && *piece != '\n' && *piece != '\xCC') << name;
    }
  }
  const auto split = tk::pre_tokenizer_from_json(
      {{"type", "Split"}, {"pattern", Json{{"Regex", "(a+)+b"}}}, {"behavior", "Isolated"}, {"invert", false}});
  tk::NormalizedText text;
  text.assign(std::string(1000000, 'a'), 0);
  text.splits.push_back({0, 1000000});
  split->pre_tokenize(text);
  EXPECT_EQ(text.splits.size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));  // quadratic would be hours
}

}  // namespace
}  // namespace caracal::testing
