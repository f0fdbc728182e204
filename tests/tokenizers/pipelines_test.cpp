// Every component against stored results of Hugging Face tokenizers (tools/make_pipeline_goldens.py), and what is
// saved.
#include <caracal/models/tokenization_auto.h>
#include <caracal/runtime/runtime.h>

#include <atomic>
#include <thread>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

namespace tk = caracal::tokenizers;

struct Case {
  Json content;            // a tokenizer.json
  std::vector<Json> rows;  // [text, ids, offsets, word ids, decoded, decoded without special tokens]
};

std::vector<Case> read_cases(const std::string& name) {
  std::vector<Case> cases;
  for (Json& line : read_lines("pipelines/" + name + ".jsonl")) {
    if (line.is_object()) {
      cases.push_back({std::move(line), {}});
    } else {
      cases.back().rows.push_back(std::move(line));
    }
  }
  return cases;
}

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
  for (const Case& test : read_cases(GetParam())) {
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
  for (const Case& test : read_cases(GetParam())) {
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

TEST(Threads, BatchesEqualSingleTexts) {
  const Folder folder;
  const std::vector<Case> cases = read_cases("t5-small");
  folder.write("tokenizer.json", cases[0].content.dump());
  const auto tokenizer = AutoTokenizer::from_pretrained(folder.path());
  std::vector<std::string> texts;
  for (const Json& row : cases[0].rows) texts.push_back(row.as_array()[0].as_string());
  Runtime runtime({.threads = 2});
  const auto batch = tokenizer(texts, {.runtime = &runtime});
  ASSERT_EQ(batch.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto single = tokenizer(texts[i]);
    EXPECT_EQ(batch.input_ids(i), single.input_ids(0));
    EXPECT_EQ(batch.tokens(i), single.tokens(0)) << texts[i];  // with the texts of unknown tokens
  }
  const auto cut = tokenizer(texts, {.padding = false, .truncation = true, .max_length = 6, .runtime = &runtime});
  EXPECT_LE(cut.row(3).size(), 6u);
  folder.write("tokenizer.json", R"({"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"?"}})");
  const auto broken = AutoTokenizer::from_pretrained(folder.path());
  expect_error([&] { broken(texts, {.runtime = &runtime}); }, ErrorCode::invalid_argument, "unknown token");
}

// One tokenizer, many threads, each with its own BatchEncoding, and batches on a pool at the same time.
TEST(Threads, ManyFillTheirOwn) {
  const Folder folder;
  const std::vector<Case> cases = read_cases("albert-base-v2");
  folder.write("tokenizer.json", cases[0].content.dump());
  const auto tokenizer = AutoTokenizer::from_pretrained(folder.path());
  std::vector<std::string> texts;
  for (const Json& row : cases[0].rows) texts.push_back(row.as_array()[0].as_string());
  const std::vector<TextInput> batch(texts.begin(), texts.end());
  const auto another = AutoTokenizer::from_pretrained(folder.path());
  std::vector<std::vector<int32_t>> expected;
  for (const std::string& text : texts) expected.push_back(another(text).input_ids(0));
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      BatchEncoding out;
      for (int round = 0; round < 5; ++round) {
        tokenizer.encode(batch, {.runtime = t == 0 ? nullptr : runtime.get()}, out);
        for (size_t i = 0; i < batch.size(); ++i) wrong += out.input_ids(i) != expected[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
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
