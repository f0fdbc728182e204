// How a tokenizer.json is read: through a window on the file, into lists of texts.
#include <caracal/tokenizers/text_list.h>
#include <caracal/tokenizers/tokenizer.h>
#include <caracal/tokenizers/tokenizer_json.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

namespace tk = caracal::tokenizers;

constexpr size_t kWindow = 1 << 16;

void expect_same(const tk::TokenizerJson& a, const tk::TokenizerJson& b) {
  EXPECT_EQ(a.content, b.content);
  EXPECT_EQ(a.data->vocabulary.texts.all(), b.data->vocabulary.texts.all());
  EXPECT_EQ(a.data->vocabulary.ids, b.data->vocabulary.ids);
  EXPECT_EQ(a.data->merges.texts.all(), b.data->merges.texts.all());
  EXPECT_EQ(a.data->merges.middles, b.data->merges.middles);
  ASSERT_EQ(a.data->scores.size(), b.data->scores.size());
  for (size_t i = 0; i < a.data->scores.size(); ++i) EXPECT_EQ(a.data->scores[i].exact, b.data->scores[i].exact);
}

tk::Tokenizer only_bpe(const tk::TokenList& tokens, const tk::MergeList& merges) {
  return tk::Tokenizer({.normalizer = nullptr,
                        .pre_tokenizer = nullptr,
                        .model = std::make_shared<tk::BPE>(tokens, merges, tk::BPE::Options{}),
                        .post_processor = nullptr,
                        .decoder = nullptr});
}

// Every byte of the text comes to stand at the window's end.
TEST(Reading, TextsAcrossTheWindow) {
  for (const std::string text :
       {R"({"model":{"type":"BPE","vocab":{"a":0,"é中😀\u00e9\ud83d\ude00\n":1234567,"longer than eight":2},)"
        R"( "merges" : ["a b","éé 😀", ["a a" , "\"b"]]},"added_tokens":[{"id":-1.5e-3,"special":true,"x":null}]})",
        R"({"model":{"vocab":[["<unk>",0.0],["é",-12.130167007446289],["\\",-1e2]],"unk_id":0}})"}) {
    const auto expected = tk::parse_tokenizer_json(text, "test");
    for (size_t i = 0; i <= text.size(); ++i) {
      SCOPED_TRACE(text.substr(0, i));
      expect_same(tk::parse_tokenizer_json(std::string(kWindow - i, ' ') + text, "test"), expected);
    }
    const Folder folder;
    folder.write("tokenizer.json", std::string(3 * kWindow - text.size() / 2, '\n') + text);
    expect_same(tk::read_tokenizer_json(folder.path() + "/tokenizer.json"), expected);
  }
}

TEST(Reading, TextsLongerThanTheWindow) {
  std::string written, token;
  while (token.size() < 3 * kWindow) {
    written += "0123456789é\\u4e2d\\n";
    token += "0123456789é中\n";
  }
  const auto json =
      tk::parse_tokenizer_json(R"({")" + written + R"(":1,"model":{"vocab":{")" + written + R"(":7},"merges":[["a",")" +
                                   written + R"("],")" + written + R"( b"]}})",
                               "test");
  EXPECT_EQ(json.content.as_object()[0].first, token);
  EXPECT_EQ(json.data->vocabulary.texts[0], token);
  EXPECT_EQ(json.data->merges.left(0), "a");
  EXPECT_EQ(json.data->merges.right(0), token);
  EXPECT_EQ(json.data->merges.left(1), token);
  EXPECT_EQ(json.data->merges.right(1), "b");
}

// What is wrong is named with its place in the file, also behind the first window.
TEST(Reading, ErrorsAcrossTheWindow) {
  const auto refused = [](const std::string& text, const std::string& error) {
    expect_error([&] { tk::parse_tokenizer_json(text, "test"); }, ErrorCode::bad_file, error);
  };
  for (size_t i = 0; i < 8; ++i) {
    const std::string spaces(kWindow - i, ' ');
    refused(spaces + "{\"a\":\"\xF0\x9F\x98\"}", "UTF-8");
    refused(spaces + "{\"\xF0\x9F", "UTF-8");
    refused(spaces + "{\"ab",
            "a string without control characters but got the end at byte " + std::to_string(spaces.size() + 4));
    refused(spaces + R"({"\u12)", "four hexadecimal digits");
    refused(spaces + "{} x", "the end but got \"x\" at byte " + std::to_string(spaces.size() + 3));
    refused(spaces + "[]", "'{' but got \"[]\" at byte " + std::to_string(spaces.size()));
  }
  for (size_t i = 0; i < 600; i += 7) {  // of a number too long for the window no part is taken
    const std::string spaces(kWindow - i, ' ');
    refused(spaces + R"({"model":{"vocab":[["a",)" + std::string(600, '1') + "]]}}", "byte");
    refused(spaces + R"({"model":{"vocab":{"a":1)" + std::string(600, '0') + "}}}", "byte");
  }
}

TEST(Reading, Lists) {
  tk::TextList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.all(), "");
  std::string all;
  for (size_t i = 0; i < 1000; ++i) {
    const std::string text(i % 40, char('a' + i % 26));
    list.push_back(text);
    all += text;
  }
  ASSERT_EQ(list.size(), 1000u);
  EXPECT_EQ(list.all(), all);
  for (size_t i = 0; i < 1000; ++i) EXPECT_EQ(list[i], std::string(i % 40, char('a' + i % 26)));
  list.pop_back();
  EXPECT_EQ(list.size(), 999u);
  *list.open(0, 1) = 'x';
  *list.open(1, 1) = 'y';
  list.close(2);
  EXPECT_EQ(list[999], "xy");
}

TEST(Reading, Merges) {
  tk::MergeList merges;
  const auto is_refused = [&](const std::string& text) {
    merges.texts.push_back(text);
    expect_error([&] { merges.split_last("test"); }, ErrorCode::bad_file, "[test] expected a merge of two tokens");
    merges.texts.pop_back();
  };
  for (size_t size = 1; size < 20; ++size) {
    merges.texts.push_back(std::string(40, ' '));  // what stands behind the next text does not count
    merges.texts.pop_back();
    is_refused(std::string(size, '!'));  // a bit from a space
    for (size_t i = 0; i < size; ++i) {
      std::string text(size, '!');
      text[i] = ' ';
      merges.texts.push_back(text);
      merges.split_last("test");
      EXPECT_EQ(merges.left(merges.size() - 1), text.substr(0, i));
      EXPECT_EQ(merges.right(merges.size() - 1), text.substr(i + 1));
      for (size_t j = 0; j < size; ++j) {
        std::string two = text;
        two[j] = ' ';
        if (i != j) is_refused(two);
      }
    }
  }
  is_refused("");
  merges.add("a b", "");
  EXPECT_EQ(merges.left(merges.size() - 1), "a b");
  EXPECT_EQ(merges.right(merges.size() - 1), "");
}

// The first line of a merges.txt may stand among the merges.
TEST(Reading, VersionAmongMerges) {
  const std::string text =
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"#":3},"merges":["#version: 0.2","a b"]}})";
  EXPECT_EQ(tk::parse_tokenizer_json(text, "test").data->merges.texts.all(), "a b");
  const auto model = tk::model_from_json(Json::parse(text, "test").at("model"));
  EXPECT_EQ(model->to_json().at("merges").as_array().size(), 1u);
  const Folder folder;
  folder.write("merges.txt", "#version: 0.2\na b\n");
  tk::ModelData data;
  tk::read_merges_txt(folder.path() + "/merges.txt", data);
  EXPECT_EQ(data.merges.texts.all(), "a b");
}

// Of a token that comes twice the last id counts, also for the merge that makes it.
TEST(Reading, MergesOfRepeatedTokens) {
  tk::MergeList merges;
  merges.add("a", "b");
  const tk::TokenList tokens = {{"ab", 0}, {"a", 1}, {"b", 2}, {"ab", 3}};
  const tk::Tokenizer tokenizer = only_bpe(tokens, merges);
  tk::Tokenizer::Workspace workspace;
  const auto encoding = tokenizer.encode({.text = "ab"}, nullptr, true, {}, false, workspace);
  ASSERT_EQ(encoding.size(), 1u);
  EXPECT_EQ(encoding.tokens[0].id, 3);
}

// What a Unigram model saves has the pieces that a later one repeats.
TEST(Reading, RepeatedPieces) {
  const Json json = Json::parse(
      R"({"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["a",-1.0],["b",-2.0],["a",-3.0]],"byte_fallback":false})",
      "test");
  EXPECT_EQ(tk::model_from_json(json)->to_json(), json);
}

// Trimming leaves one space alone where the text begins, as add_prefix_space put it there: also in a later token that
// begins with the first character. The reference's offsets.
TEST(Reading, TrimmedOffsetsAtTheBeginning) {
  const auto tokenizer = tk::Tokenizer::from_json(Json::parse(
      R"({"normalizer":{"type":"Replace","pattern":{"String":"x"},"content":"c o"},)"
      R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},)"
      R"("post_processor":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},)"
      R"("model":{"type":"BPE","vocab":{"c":0,"o":1,"\u0120":2},"merges":[]}})",
      "test"));
  tk::Tokenizer::Workspace workspace;
  const auto encoding = tokenizer.encode({.text = "x o"}, nullptr, true, {}, false, workspace);
  std::vector<std::pair<uint32_t, uint32_t>> offsets;
  for (const tk::Token& token : encoding.tokens) offsets.emplace_back(token.begin, token.end);
  EXPECT_EQ(offsets, (std::vector<std::pair<uint32_t, uint32_t>>{{0, 0}, {0, 1}, {0, 0}, {0, 1}, {2, 2}, {2, 3}}));
}

// Merges find what they make whether the vocabulary lists it in their order, in another, or changes between the two.
TEST(Reading, MergesInAnyOrderOfTheVocabulary) {
  std::vector<std::string> made;
  for (int i = 0; i < 200; ++i) made.push_back(std::string(1, char('a' + i / 14)) + char('a' + i % 14));
  for (const size_t run : {1, 2, 3, 7, 8, 9, 20, 200}) {
    tk::TokenList tokens;
    tk::MergeList merges;
    for (char c = 'a'; c <= 'o'; ++c) tokens.add({&c, 1}, int32_t(tokens.size()));
    for (size_t begin = 0; begin < made.size(); begin += 2 * run) {  // runs in order, and runs reversed
      const size_t middle = std::min(begin + run, made.size()), end = std::min(begin + 2 * run, made.size());
      for (size_t i = begin; i < middle; ++i) tokens.add(made[i], int32_t(tokens.size()));
      for (size_t i = end; i-- > middle;) tokens.add(made[i], int32_t(tokens.size()));
    }
    for (const std::string& token : made) merges.add(token.substr(0, 1), token.substr(1));
    const Json::Array written = tk::BPE(tokens, merges, {}).to_json().at("merges").as_array();
    const tk::Tokenizer tokenizer = only_bpe(tokens, merges);
    tk::Tokenizer::Workspace workspace;
    for (size_t i = 0; i < made.size(); ++i) {
      SCOPED_TRACE(made[i]);
      EXPECT_EQ(written[i], Json(Json::Array{made[i].substr(0, 1), made[i].substr(1)}));
      const auto encoding = tokenizer.encode({.text = made[i]}, nullptr, true, {}, false, workspace);
      ASSERT_EQ(encoding.size(), 1u);
      EXPECT_EQ(tokenizer.id_to_token(encoding.tokens[0].id), made[i]);
    }
  }
}

}  // namespace
}  // namespace caracal::testing
