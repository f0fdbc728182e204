// Encoding into a BatchEncoding that was used before allocates nothing: malloc is counted.
#include <caracal/models/tokenization_auto.h>
#include <caracal/runtime/runtime.h>

#include <atomic>
#include <cstdlib>

#include "tokenizers_testing.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CARACAL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CARACAL_SANITIZED 1
#endif
#endif

#ifndef CARACAL_SANITIZED

static std::atomic<int64_t> allocations{0};

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);

void* malloc(size_t n) { return allocations++, __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return allocations++, __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return allocations++, __libc_realloc(p, n); }
}

namespace caracal::testing {
namespace {

TEST(Allocation, TheCounterCounts) {
  const int64_t before = allocations;
  ::operator delete(::operator new(3));  // a call, which compilers keep, unlike a new expression
  EXPECT_GE(allocations - before, 1);
}

class Allocation : public ::testing::TestWithParam<const char*> {
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

TEST_P(Allocation, NoneInSteadyState) {
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

INSTANTIATE_TEST_SUITE_P(All, Allocation,
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
