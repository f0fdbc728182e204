// Every component against stored results of Hugging Face tokenizers (tools/make_pipeline_goldens.py), and what is
// saved.
#include <caracal/models/tokenization_auto.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

namespace tk = caracal::tokenizers;

void expect_rows(const tk::Tokenizer& tokenizer, const std::vector<Json>& rows) {
  tk::Tokenizer::Workspace workspace;
  for (const Json& row : rows) {
    const Json::Array& expected = row.as_array();
    const std::string& text = expected[0].as_string();
    const tk::Encoding encoding = tokenizer.encode({.text = text}, nullptr, true, {}, false, workspace);
    std::vector<int32_t> ids, words;
    std::vector<uint32_t> offsets;
    for (const tk::Token& token : encoding.tokens) {
      ids.push_back(token.id);
      words.push_back(token.word);
      offsets.insert(offsets.end(), {token.begin, token.end});
    }
    EXPECT_EQ(ids, numbers<int32_t>(expected[1])) << expected[0].dump();
    EXPECT_EQ(offsets, numbers<uint32_t>(expected[2])) << expected[0].dump();
    EXPECT_EQ(words, numbers<int32_t>(expected[3])) << expected[0].dump();
    EXPECT_EQ(tokenizer.decode(ids, false), expected[4].as_string()) << expected[0].dump();
    EXPECT_EQ(tokenizer.decode(ids, true), expected[5].as_string()) << expected[0].dump();
  }
}

class Pipelines : public ::testing::TestWithParam<const char*> {};

TEST_P(Pipelines, EqualTheReference) {
  size_t rows = 0;
  for (const PipelineCase& test : read_pipelines(GetParam())) {
    Json parts = test.content;
    parts.erase("model");
    SCOPED_TRACE(parts.dump().substr(0, 3000));
    expect_rows(tk::Tokenizer::from_json(test.content), test.rows);
    rows += test.rows.size();
  }
  EXPECT_GE(rows, 240u);
}

// What was saved and loaded again is the same tokenizer, and reads as the file of the reference.
TEST_P(Pipelines, SaveAndLoad) {
  for (const PipelineCase& test : read_pipelines(GetParam())) {
    const tk::Tokenizer tokenizer = tk::Tokenizer::from_json(test.content);
    const Folder folder;
    tokenizer.save(folder.path() + "/tokenizer.json");
    const tk::Tokenizer again = tk::Tokenizer::from_file(folder.path() + "/tokenizer.json");
    expect_rows(again, {test.rows.begin(), test.rows.begin() + std::min<ptrdiff_t>(10, ptrdiff_t(test.rows.size()))});
    const Json saved = Json::parse_file(folder.path() + "/tokenizer.json");
    EXPECT_EQ(saved, again.to_json());
    if (std::string(GetParam()) != "random") continue;
    for (const auto& [key, value] : test.content.as_object()) {
      if (key == "post_processor" && !value.is_null() && value.at("type").as_string() == "BertProcessing") continue;
      if (key == "normalizer" && value.find("strip_accents") != nullptr && value.at("strip_accents").is_null())
        continue;
      EXPECT_EQ(saved.at(key), value) << key;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Pipelines,
                         ::testing::Values("random", "components", "gpt2", "roberta-base", "clip-vit-base-patch32",
                                           "t5-small", "albert-base-v2", "phi-2", "falcon-7b"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Lists of tokens that no text gives.
TEST(Decoders, EqualTheReference) {
  const std::vector<Json> rows = read_lines("pipelines/decoders.jsonl");
  ASSERT_GT(rows.size(), 500u);
  for (const Json& row : rows) {
    const Json::Array& columns = row.as_array();
    const auto decoder = tk::decoder_from_json(columns[0]);
    EXPECT_EQ(decoder->text(strings(columns[1]), [](std::string_view) { return false; }), columns[2].as_string())
        << row.dump();
  }
}

TEST(Squad, StoredIds) {
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path("uncased"));
  const std::vector<Json> rows = read_lines("squad.jsonl");
  ASSERT_GT(rows.size(), 1000u);
  for (const Json& row : rows) {
    EXPECT_EQ(tokenizer(row.as_array()[0].as_string(), {.add_special_tokens = false}).input_ids(0),
              numbers<int32_t>(row.as_array()[1]));
  }
}

}  // namespace
}  // namespace caracal::testing
