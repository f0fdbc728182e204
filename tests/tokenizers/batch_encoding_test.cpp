// The call's overloads and what BatchEncoding gives.
#include <caracal/models/bert/tokenization_bert.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

class Batch : public ::testing::Test {
 protected:
  Batch() : tokenizer_(make()) {}
  static BertTokenizer make() {
    const Folder folder;
    folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\nc\n");
    return BertTokenizer::from_pretrained(folder.path());
  }
  BertTokenizer tokenizer_;
};

using Ids = std::vector<int32_t>;

TEST_F(Batch, Overloads) {
  const std::string text = "a b";
  EXPECT_EQ(tokenizer_(text).input_ids(0), (Ids{2, 5, 6, 3}));
  EXPECT_EQ(tokenizer_("a b").input_ids(0), (Ids{2, 5, 6, 3}));
  EXPECT_EQ(tokenizer_("a", "b").input_ids(0), (Ids{2, 5, 3, 6, 3}));
  EXPECT_EQ(tokenizer_("a", "b", {.add_special_tokens = false}).input_ids(0), (Ids{5, 6}));
  EXPECT_EQ(tokenizer_({"a"}, {.padding = true, .truncation = true}).size(), 1u);
  EXPECT_EQ(tokenizer_({"a", "b"}).size(), 2u);
  EXPECT_EQ(tokenizer_({"a", "b", "c"}, {.padding = "longest"}).size(), 3u);
  EXPECT_EQ(tokenizer_({{"a", "b"}, {"b", "c"}}).token_type_ids(1), (Ids{0, 0, 0, 1, 1}));
  const std::vector<std::string> batch = {"a", "b"};
  EXPECT_EQ(tokenizer_(batch).size(), 2u);
  EXPECT_EQ(tokenizer_(batch, {.add_special_tokens = false}).input_ids(1), (Ids{6}));
  EXPECT_EQ(tokenizer_(batch, batch, {.add_special_tokens = false}).input_ids(1), (Ids{6, 6}));
  EXPECT_EQ(tokenizer_({"a", "b"}, {"c", "a"}).input_ids(1), (Ids{2, 6, 3, 5, 3}));
  EXPECT_EQ(tokenizer_({"a"}, {"b"}, {.add_special_tokens = false}).input_ids(0), (Ids{5, 6}));
  // Texts in braces are pairs, not options.
  EXPECT_EQ(tokenizer_(batch, {"c", "a"}).input_ids(1), (Ids{2, 6, 3, 5, 3}));
  EXPECT_EQ(tokenizer_(batch, {"c", "a"}, {.add_special_tokens = false}).input_ids(1), (Ids{6, 5}));
  EXPECT_EQ(tokenizer_({"a", "b"}, batch).input_ids(1), (Ids{2, 6, 3, 6, 3}));
  expect_error([&] { tokenizer_(batch, {"c"}); }, ErrorCode::invalid_argument, "batch length");
  expect_error([&] { tokenizer_({"a", "b"}, {"c"}); }, ErrorCode::invalid_argument, "batch length");
  EXPECT_EQ(tokenizer_(std::vector<std::string>{"a", "b"}, std::vector<std::string>{"c", ""}).input_ids(1),
            (Ids{2, 6, 3, 3}));
  EXPECT_EQ(tokenizer_("b", "").input_ids(0), (Ids{2, 6, 3}));
  EXPECT_EQ(tokenizer_({"a", "bb"}, {.is_split_into_words = true}).word_ids(0), (Ids{-1, 0, 1, 1, -1}));
  const std::vector<std::vector<std::string>> words = {{"a", "bb"}, {"c"}};
  EXPECT_EQ(tokenizer_(words).size(), 2u);
  EXPECT_EQ(tokenizer_(words, {.add_special_tokens = false}).input_ids(1), (Ids{8}));
  EXPECT_EQ(tokenizer_(words, words).sequence_ids(1), (Ids{-1, 0, -1, 1, -1}));
  EXPECT_EQ(tokenizer_(words, {{"c"}, {"a", "b"}}).input_ids(1), (Ids{2, 8, 3, 5, 6, 3}));
}

TEST_F(Batch, Tensors) {
  const auto inputs = tokenizer_({"a b", "c"}, {.padding = true});
  const Tensor ids = inputs["input_ids"];
  EXPECT_EQ(ids.shape(), (Shape{2, 4}));
  EXPECT_EQ(ids.dtype(), DType::I64);
  EXPECT_TRUE(std::ranges::equal(ids.values<int64_t>(), std::vector<int64_t>{2, 5, 6, 3, 2, 8, 3, 0}));
  EXPECT_TRUE(
      std::ranges::equal(inputs["attention_mask"].values<int64_t>(), std::vector<int64_t>{1, 1, 1, 1, 1, 1, 1, 0}));
  EXPECT_TRUE(std::ranges::equal(inputs["special_tokens_mask"].values<int64_t>(),
                                 std::vector<int64_t>{1, 0, 0, 1, 1, 0, 1, 1}));
  EXPECT_EQ(inputs["offset_mapping"].shape(), (Shape{2, 4, 2}));
  EXPECT_TRUE(std::ranges::equal(inputs["length"].values<int64_t>(), std::vector<int64_t>{4, 4}));
  EXPECT_EQ(inputs.keys(), (std::vector<std::string>{"input_ids", "token_type_ids", "attention_mask"}));
  EXPECT_TRUE(inputs.contains("token_type_ids"));
  EXPECT_FALSE(inputs.contains("labels"));
  expect_error([&] { inputs["labels"]; }, ErrorCode::not_found, "labels");
}

TEST_F(Batch, RaggedRows) {
  const auto inputs = tokenizer_({"a b", "c"});
  expect_error([&] { inputs["input_ids"]; }, ErrorCode::invalid_argument,
               "Unable to create tensor, you should probably activate truncation and/or padding");
  EXPECT_TRUE(
      std::ranges::equal(inputs.padded("input_ids").values<int64_t>(), std::vector<int64_t>{2, 5, 6, 3, 2, 8, 3, 0}));
  EXPECT_TRUE(std::ranges::equal(inputs.padded("attention_mask").values<int64_t>(),
                                 std::vector<int64_t>{1, 1, 1, 1, 1, 1, 1, 0}));
  EXPECT_TRUE(std::ranges::equal(inputs["length"].values<int64_t>(), std::vector<int64_t>{4, 3}));
}

TEST_F(Batch, Overflow) {
  const auto inputs =
      tokenizer_({"a b c", "c"}, {.truncation = true, .max_length = 4, .stride = 1, .return_overflowing_tokens = true});
  EXPECT_EQ(inputs.size(), 3u);
  EXPECT_EQ(inputs.input_ids(1), (Ids{2, 6, 8, 3}));
  EXPECT_EQ(inputs.overflow_to_sample_mapping(), (std::vector<int64_t>{0, 0, 1}));
  EXPECT_TRUE(
      std::ranges::equal(inputs["overflow_to_sample_mapping"].values<int64_t>(), std::vector<int64_t>{0, 0, 1}));
}

// A BatchEncoding that is filled again holds what a new one would.
TEST_F(Batch, FilledAgain) {
  const std::vector<std::string> texts = {"a b c b a b b", "", "c", "\xff a", "bbb a"};
  const std::vector<TextInput> singles(texts.begin(), texts.end());
  const std::vector<TextInput> pairs = {{"a b c", "c c b"}, {"", "a"}, {"b", ""}};
  const TokenizeOptions calls[] = {
      {},
      {.padding = true, .truncation = true, .max_length = 4},
      {.truncation = true, .max_length = 8, .stride = 1, .return_overflowing_tokens = true},
      {.add_special_tokens = false, .padding = "max_length", .truncation = "only_first", .max_length = 6}};
  BatchEncoding out;
  tokenizer_.encode("a b", {}, out);
  out.add({.key = "bbox", .rows = {{1, 2, 3, 4}}});
  for (int round = 0; round < 2; ++round) {
    for (const TokenizeOptions& options : calls) {
      for (const std::vector<TextInput>* batch : {&singles, &pairs}) {
        tokenizer_.encode(*batch, options, out);
        const BatchEncoding fresh = tokenizer_(*batch, options);
        ASSERT_EQ(out.size(), fresh.size());
        EXPECT_EQ(out.keys(), fresh.keys());
        EXPECT_EQ(out.overflow_to_sample_mapping(), fresh.overflow_to_sample_mapping());
        for (size_t i = 0; i < out.size(); ++i) {
          EXPECT_EQ(out.tokens(i), fresh.tokens(i));
          EXPECT_EQ(out.token_type_ids(i), fresh.token_type_ids(i));
          EXPECT_EQ(out.attention_mask(i), fresh.attention_mask(i));
          EXPECT_EQ(out.offsets(i), fresh.offsets(i));
        }
        expect_error([&] { out.extra("bbox", 0); }, ErrorCode::not_found, "bbox");
      }
    }
  }
  const BatchEncoding copy = out;
  tokenizer_.encode("c", {}, out);
  EXPECT_EQ(copy.size(), 3u);
  EXPECT_EQ(out.input_ids(0), (Ids{2, 8, 3}));
  expect_error([&] { tokenizer_.encode("a", {.is_split_into_words = true}, out); }, ErrorCode::invalid_argument,
               "is_split_into_words");
}

// Of texts of the left side the end is kept, with and without the chunks that are cut off.
TEST_F(Batch, TruncationOnTheLeft) {
  tokenizer_.set_truncation_side("left");
  EXPECT_EQ(tokenizer_("a b c", {.truncation = true, .max_length = 4}).input_ids(0), (Ids{2, 6, 8, 3}));
  const auto chunks =
      tokenizer_("a b c", {.truncation = true, .max_length = 4, .stride = 1, .return_overflowing_tokens = true});
  EXPECT_EQ(chunks.input_ids(0), (Ids{2, 6, 8, 3}));
  EXPECT_EQ(chunks.input_ids(1), (Ids{2, 5, 6, 3}));
}

TEST_F(Batch, CharactersWordsAndTokens) {
  const auto inputs = tokenizer_("a bb", "c");
  EXPECT_EQ(inputs.tokens(0), (std::vector<std::string>{"[CLS]", "a", "b", "##b", "[SEP]", "c", "[SEP]"}));
  EXPECT_EQ(inputs.char_to_token(0, 3), 3u);
  EXPECT_EQ(inputs.char_to_token(0, 1), std::nullopt);
  EXPECT_EQ(inputs.char_to_token(0, 0, 1), 5u);
  EXPECT_EQ(inputs.token_to_chars(0, 3), std::pair(3u, 4u));
  EXPECT_EQ(inputs.token_to_chars(0, 0), std::nullopt);
  EXPECT_EQ(inputs.word_to_tokens(0, 1), (std::pair<size_t, size_t>(2, 4)));
  EXPECT_EQ(inputs.word_to_tokens(0, 0, 1), (std::pair<size_t, size_t>(5, 6)));
  EXPECT_EQ(inputs.word_to_tokens(0, 7), std::nullopt);
  expect_error([&] { inputs.token_to_chars(0, 7); }, ErrorCode::invalid_argument, "7");
  expect_error([&] { inputs.row(1); }, ErrorCode::invalid_argument, "row");
}

TEST_F(Batch, BadArguments) {
  const std::vector<std::string> none, one = {"a"}, two = {"a", "b"};
  expect_error([&] { tokenizer_(none); }, ErrorCode::invalid_argument, "empty batch");
  expect_error([&] { tokenizer_(one, two); }, ErrorCode::invalid_argument, "batch length of `text`: 1");
  expect_error([&] { tokenizer_("a", {.padding = "most"}); }, ErrorCode::invalid_argument, "most");
  expect_error([&] { tokenizer_("a", {.truncation = "some"}); }, ErrorCode::invalid_argument, "some");
  expect_error([&] { tokenizer_("a", {.max_length = -1}); }, ErrorCode::invalid_argument, "-1");
  expect_error([&] { tokenizer_("a", {.max_length = 1}); }, ErrorCode::invalid_argument, "2 special tokens");
  expect_error([&] { tokenizer_("a", {.stride = -1}); }, ErrorCode::invalid_argument, "stride");
  expect_error([&] { tokenizer_("a", {.padding = true, .padding_side = "up"}); }, ErrorCode::invalid_argument, "up");
  expect_error([&] { tokenizer_("a b c", {.max_length = 4, .stride = 2}); }, ErrorCode::invalid_argument, "stride");
  expect_error([&] { tokenizer_({TextInput("a", "b")}, {.is_split_into_words = true}); }, ErrorCode::invalid_argument,
               "pair");
  expect_error([&] { tokenizer_("a", "b", {.truncation = "only_first", .max_length = 4}); },
               ErrorCode::invalid_argument, "Truncation error");
}

}  // namespace
}  // namespace caracal::testing
