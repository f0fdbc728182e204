// Encoding into a BatchEncoding that was used before allocates nothing: malloc is counted.
#include <caracal/models/tokenization_auto.h>
#include <caracal/runtime/runtime.h>
#include <caracal/tests/counting_malloc.h>

#include "tokenizers_testing.h"

#ifndef CARACAL_SANITIZED

namespace caracal::testing {
namespace {

TEST(Allocation, TheCounterCounts) {
  const int64_t before = allocations;
  ::operator delete(::operator new(3));  // a call, which compilers keep, unlike a new expression
  EXPECT_GE(allocations - before, 1);
}

class TokenizerAllocation : public ::testing::TestWithParam<const char*> {
 protected:
  static PreTrainedTokenizerBase load(const std::string& name) {
    if (name == "uncased") return AutoTokenizer::from_pretrained(data_path(name));
    const Folder folder;
    folder.write("tokenizer.json", read_lines("pipelines/" + name + ".jsonl")[0].dump());
    return AutoTokenizer::from_pretrained(folder.path());
  }
  // Texts that take every path: marks to sort, unknown characters, bad UTF-8, special tokens, long words.
  static std::vector<std::string> texts(const std::string& name) {
    std::vector<std::string> all = {"", " ", "a\xff\xe2\x82 b", "e\u0301\u0323\u0345 \u1e9b\u0323",
                                    std::string(3000, 'a')};
    const std::vector<Json> lines = read_lines(name == "uncased" ? "corpus.jsonl" : "pipelines/" + name + ".jsonl");
    for (const Json& line : lines) {
      if (line.is_string()) all.push_back(line.as_string());
      if (line.is_array()) all.push_back(line.as_array()[0].as_string());
    }
    return all;
  }
};

TEST_P(TokenizerAllocation, NoneInSteadyState) {
  const auto tokenizer = load(GetParam());
  const std::vector<std::string> all = texts(GetParam());
  const std::vector<TextInput> batch(all.begin(), all.end());
  std::vector<TextInput> pairs;
  for (size_t i = 0; i < all.size(); ++i) pairs.emplace_back(all[i], all[all.size() - 1 - i]);
  Runtime runtime({.threads = 2});
  const bool can_pad = tokenizer.pad_token_id().has_value();
  const TokenizeOptions plain, padded{.padding = can_pad, .truncation = true, .max_length = 12},
      threads{.padding = can_pad, .runtime = &runtime};
  BatchEncoding one, many, both;
  const auto round = [&] {
    for (const std::string& text : all) tokenizer.encode(text, plain, one);
    for (const TokenizeOptions* options : {&plain, &padded, &threads}) tokenizer.encode(batch, *options, many);
    tokenizer.encode(std::span(batch).first(3), plain, many);  // fewer rows, and then more again
    tokenizer.encode(pairs, padded, both);
    tokenizer.encode(pairs, plain, both);
  };
  for (int i = 0; i < 4; ++i) round();
  const int64_t before = allocations;
  for (int i = 0; i < 3; ++i) round();
  EXPECT_EQ(allocations - before, 0);
}

// Rows of overflow are new ones each time, and gone the next time.
TEST(Allocation, OverflowLeavesNothingBehind) {
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path("uncased"));
  const std::string text(3000, '.');
  BatchEncoding out;
  int64_t held = 0;
  for (int i = 0; i < 12; ++i) {
    tokenizer.encode(text, {.truncation = true, .max_length = 16, .return_overflowing_tokens = true}, out);
    EXPECT_GT(out.size(), 200u);
    if (i < 4) held = allocations - releases;
  }
  EXPECT_EQ(allocations - releases, held);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerAllocation,
                         ::testing::Values("uncased", "gpt2", "roberta-base", "clip-vit-base-patch32", "t5-small",
                                           "albert-base-v2", "phi-2", "falcon-7b"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace caracal::testing

#endif
