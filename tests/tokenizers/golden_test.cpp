// Stored results of transformers 5.23 (tools/make_tokenizer_goldens.py): corpus, calls with options, added tokens,
// decoding.
#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/tokenization_auto.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

class Corpus : public ::testing::TestWithParam<const char*> {};

TEST_P(Corpus, IdsAndOffsetsEqualTheReference) {
  const std::string name = GetParam();
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path(name));
  const std::vector<Json> lines = read_lines("corpus.jsonl");
  const std::vector<Json> expected = read_lines(name + ".jsonl");
  ASSERT_EQ(lines.size(), expected.size());
  ASSERT_GT(lines.size(), 400u);
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto encoding = tokenizer(lines[i].as_string());
    const Json::Array& row = expected[i].as_array();
    EXPECT_EQ(encoding.input_ids(0), numbers<int32_t>(row[0])) << lines[i].dump();
    EXPECT_EQ(flat_offsets(encoding, 0), numbers<uint32_t>(row[1])) << lines[i].dump();
    if (row.size() > 2) {
      EXPECT_EQ(encoding.word_ids(0), numbers<int32_t>(row[2])) << lines[i].dump();
    }
  }
}

TEST_P(Corpus, BatchEqualsSingles) {
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path(GetParam()));
  std::vector<std::string> lines;
  for (const Json& line : read_lines("corpus.jsonl")) lines.push_back(line.as_string());
  const auto batch = tokenizer(lines);
  ASSERT_EQ(batch.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(batch.input_ids(i), tokenizer(lines[i]).input_ids(0));
    EXPECT_EQ(batch.offsets(i), tokenizer(lines[i]).offsets(0));
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Corpus, ::testing::Values("uncased", "cased", "chinese", "multilingual-cased"),
                         [](const auto& test) {
                           const std::string name = test.param;
                           return name.substr(0, name.find('-'));
                         });

TokenizeOptions options_from(const Json& json) {
  TokenizeOptions options;
  const auto name = [](const Json& value) { return value.as_string().c_str(); };
  for (const auto& [key, value] : json.as_object()) {
    if (key == "padding") options.padding = value.is_bool() ? Padding(value.as_bool()) : Padding(name(value));
    if (key == "truncation") options.truncation = value.is_bool() ? Truncate(value.as_bool()) : Truncate(name(value));
    if (key == "max_length") options.max_length = value.as_int();
    if (key == "stride") options.stride = value.as_int();
    if (key == "pad_to_multiple_of") options.pad_to_multiple_of = value.as_int();
    if (key == "padding_side") options.padding_side = value.as_string();
    if (key == "add_special_tokens") options.add_special_tokens = value.as_bool();
    if (key == "is_split_into_words") options.is_split_into_words = value.as_bool();
    if (key == "return_overflowing_tokens") options.return_overflowing_tokens = value.as_bool();
    if (key == "split_special_tokens") options.split_special_tokens = value.as_bool();
  }
  return options;
}

BatchEncoding call(PreTrainedTokenizerBase tokenizer, const Json& test) {
  const Json& text = test.at("text");
  const Json& pair = test.at("pair");
  const TokenizeOptions options = options_from(test.at("options"));
  if (const Json* side = test.at("options").find("truncation_side")) tokenizer.set_truncation_side(side->as_string());
  if (text.is_string()) {
    return pair.is_null() ? tokenizer(text.as_string(), options)
                          : tokenizer(text.as_string(), pair.as_string(), options);
  }
  if (text.as_array()[0].is_string()) {
    return pair.is_null() ? tokenizer(strings(text), options) : tokenizer(strings(text), strings(pair), options);
  }
  const auto lists = [](const Json& json) {
    std::vector<std::vector<std::string>> result;
    for (const Json& words : json.as_array()) result.push_back(strings(words));
    return result;
  };
  return pair.is_null() ? tokenizer(lists(text), options) : tokenizer(lists(text), lists(pair), options);
}

TEST(Calls, EveryOptionGivesTheReferencesRows) {
  const auto tokenizer = BertTokenizer::from_pretrained(data_path("uncased"));
  for (const Json& test : read_lines("calls.jsonl")) {
    SCOPED_TRACE(test.at("text").dump() + " " + test.at("pair").dump() + " " + test.at("options").dump());
    const Json& rows = test.at("rows");
    if (rows.is_null()) {
      EXPECT_THROW(call(tokenizer, test), Error);
      continue;
    }
    const BatchEncoding encoding = call(tokenizer, test);
    ASSERT_EQ(encoding.size(), rows.as_array().size());
    for (size_t i = 0; i < encoding.size(); ++i) {
      const Json& row = rows.as_array()[i];
      EXPECT_EQ(encoding.input_ids(i), numbers<int32_t>(row.at("input_ids")));
      EXPECT_EQ(encoding.token_type_ids(i), numbers<int32_t>(row.at("token_type_ids")));
      EXPECT_EQ(encoding.attention_mask(i), numbers<int32_t>(row.at("attention_mask")));
      EXPECT_EQ(encoding.special_tokens_mask(i), numbers<int32_t>(row.at("special_tokens_mask")));
      EXPECT_EQ(flat_offsets(encoding, i), numbers<uint32_t>(row.at("offset_mapping")));
      EXPECT_EQ(encoding.word_ids(i), numbers<int32_t>(row.at("word_ids")));
      EXPECT_EQ(encoding.sequence_ids(i), numbers<int32_t>(row.at("sequence_ids")));
    }
  }
}

TEST(AddedTokens, AllCombinationsOfFlags) {
  const auto original = BertTokenizer::from_pretrained(data_path("uncased"));
  for (const Json& test : read_lines("added.jsonl")) {
    std::vector<AddedToken> tokens;
    for (const Json& token : test.at("tokens").as_array()) {
      tokens.push_back({.content = token.at("content").as_string(),
                        .single_word = token.at("single_word").as_bool(),
                        .lstrip = token.at("lstrip").as_bool(),
                        .rstrip = token.at("rstrip").as_bool(),
                        .normalized = token.at("normalized").as_bool(),
                        .special = token.at("special").as_bool()});
    }
    SCOPED_TRACE(test.at("tokens").as_array()[0].dump());
    auto tokenizer = original;
    EXPECT_EQ(int64_t(tokenizer.add_tokens(tokens)), test.at("count").as_int());
    EXPECT_EQ(tokenizer.size(), test.at("size").as_int());
    EXPECT_EQ(tokenizer.vocab_size(), test.at("vocab_size").as_int());
    const auto texts = strings(test.at("texts"));
    for (size_t i = 0; i < texts.size(); ++i) {
      const Json::Array& row = test.at("rows").as_array()[i].as_array();
      const auto encoding = tokenizer(texts[i]);
      EXPECT_EQ(encoding.input_ids(0), numbers<int32_t>(row[0])) << texts[i];
      EXPECT_EQ(flat_offsets(encoding, 0), numbers<uint32_t>(row[1])) << texts[i];
      EXPECT_EQ(tokenizer.decode(encoding.input_ids(0), true), row[2].as_string()) << texts[i];
    }
  }
}

TEST(Decode, EqualsTheReference) {
  const auto tokenizer = BertTokenizer::from_pretrained(data_path("uncased"));
  for (const Json& test : read_lines("decode.jsonl")) {
    const auto ids = numbers<int32_t>(test.at("ids"));
    const Json& clean = test.at("clean");
    EXPECT_EQ(tokenizer.decode(ids, test.at("skip").as_bool(),
                               clean.is_null() ? std::nullopt : std::optional(clean.as_bool())),
              test.at("text").as_string());
  }
}

}  // namespace
}  // namespace caracal::testing
