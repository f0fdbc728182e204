// One tokenizer and many threads: its callers', and those of a Runtime's pool. Also run under TSan.
#include <caracal/models/tokenization_auto.h>
#include <caracal/runtime/runtime.h>

#include <atomic>
#include <thread>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

TEST(TokenizerThreads, BatchesEqualSingleTexts) {
  const Folder folder;
  const std::vector<PipelineCase> cases = read_pipelines("t5-small");
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
TEST(TokenizerThreads, ManyFillTheirOwn) {
  const Folder folder;
  const std::vector<PipelineCase> cases = read_pipelines("albert-base-v2");
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

TEST(TokenizerThreads, ManyShareOne) {
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path("uncased"));
  const std::string text = "Çok güzel! 中文 [MASK] unaffable e\u0301\u0323";
  const auto expected = tokenizer(text).input_ids(0);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) wrong += tokenizer(text).input_ids(0) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace caracal::testing
