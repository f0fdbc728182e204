// BERT's rules one by one, on a small vocabulary, and the real one on the documents' example.
#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/tokenization_auto.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

namespace tk = caracal::tokenizers;
using Tokens = std::vector<std::string>;

std::string normalized(std::string_view text, tk::BertNormalizer::Options options) {
  tk::NormalizedText work;
  work.assign(text, 0);
  tk::BertNormalizer(options).normalize(work);
  EXPECT_EQ(work.text.size(), work.origin.size());
  return work.text;
}
constexpr tk::BertNormalizer::Options kNothing{
    .clean_text = false, .handle_chinese_chars = false, .strip_accents = false, .lowercase = false};

TEST(BertNormalizer, CleanText) {
  auto options = kNothing;
  options.clean_text = true;
  EXPECT_EQ(normalized(std::string_view("a\0b\x01\x7f", 5), options), "ab");
  EXPECT_EQ(normalized("a\tb\nc\rd\u00a0e\u3000f\u2028g", options), "a b c d e f g");
  EXPECT_EQ(normalized("a\u200bb\ufffdc\ufeffd\u00ade\uE000f", options), "abcdef");
  EXPECT_EQ(normalized("A\tÉ中\x01", kNothing), "A\tÉ中\x01");
}

TEST(BertNormalizer, ChineseCharacters) {
  auto options = kNothing;
  options.handle_chinese_chars = true;
  EXPECT_EQ(normalized("a中文b", options), "a 中  文 b");
  EXPECT_EQ(normalized("\U00020000\uF900", options), " \U00020000  \uF900 ");
  EXPECT_EQ(normalized("ひらカタ한", options), "ひらカタ한");
}

TEST(BertNormalizer, AccentsAndCase) {
  auto options = kNothing;
  options.strip_accents = true;
  EXPECT_EQ(normalized("Résumé Ǖ e\u0301", options), "Resume U e");
  EXPECT_EQ(normalized("각", options), "\u1100\u1161\u11a8");
  EXPECT_EQ(normalized("\u0301\u0302", options), "");
  options = kNothing;
  options.lowercase = true;
  EXPECT_EQ(normalized("ABC ÀÉ ΑΣ ẞ İ", options), "abc àé ασ ß i\u0307");
  EXPECT_EQ(normalized("THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG.", options),
            "the quick brown fox jumps over the lazy dog.");
}

TEST(BertNormalizer, OriginsFollowTheText) {
  tk::NormalizedText work;
  work.assign("x中É\x01z", 10);
  tk::BertNormalizer({}).normalize(work);
  EXPECT_EQ(work.text, "x 中 ez");
  EXPECT_EQ(work.origin, (std::vector<uint32_t>{10, 11, 11, 11, 11, 11, 12, 14}));
}

TEST(BertNormalizer, LongRunsOfMarksStayLinear) {
  std::string marks = "a";
  for (int i = 0; i < 200000; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  EXPECT_EQ(normalized(marks, {}), "a");
  auto options = kNothing;
  options.lowercase = true;
  EXPECT_EQ(normalized(marks, options), marks);
}

TEST(BertPreTokenizer, WhiteSpaceAndPunctuation) {
  tk::NormalizedText work;
  work.assign("Hey, you!  don't $5 ¿qué? 中。x ", 0);
  work.splits.push_back({0, uint32_t(work.text.size())});
  tk::BertPreTokenizer().pre_tokenize(work);
  Tokens words;
  for (const tk::Split& split : work.splits) words.push_back(work.text.substr(split.begin, split.end - split.begin));
  EXPECT_EQ(words, (Tokens{"Hey", ",", "you", "!", "don", "'", "t", "$", "5", "¿", "qué", "?", "中", "。", "x"}));
}

class SmallVocabulary : public ::testing::Test {
 protected:
  SmallVocabulary() {
    folder_.write("vocab.txt",
                  "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nunaff\na\n##a\nb\n中\n,\nhello\n");
  }
  PreTrainedTokenizerBase load(const Json& overrides = {}) {
    return BertTokenizer::from_pretrained(folder_.path(), overrides);
  }
  Folder folder_;
};

TEST_F(SmallVocabulary, LongestMatchFirst) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer.tokenize("unaffable"), (Tokens{"unaff", "##able"}));
  EXPECT_EQ(tokenizer.tokenize("unaffablex"), Tokens{"[UNK]"});
  EXPECT_EQ(tokenizer.tokenize("aaa b"), (Tokens{"a", "##a", "##a", "b"}));
  EXPECT_EQ(tokenizer.tokenize("##able"), (Tokens{"[UNK]", "[UNK]", "[UNK]"}));
  EXPECT_EQ(tokenizer.tokenize("é 中,Hello"), (Tokens{"[UNK]", "中", ",", "hello"}));
}

TEST_F(SmallVocabulary, LongWordsAreUnknown) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer.tokenize(std::string(100, 'a')).size(), 100u);
  EXPECT_EQ(tokenizer.tokenize(std::string(101, 'a')), Tokens{"[UNK]"});
  const auto encoding = tokenizer(std::string(101, 'a'));
  EXPECT_EQ(encoding.offsets(0)[1], std::pair(0u, 101u));
}

TEST_F(SmallVocabulary, MillionsOfBytesAreLinear) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer(std::string(2000000, 'a'), {.add_special_tokens = false}).row(0).size(), 1u);
  EXPECT_EQ(tokenizer(std::string(2000000, ' '), {.add_special_tokens = false}).row(0).size(), 0u);
  EXPECT_EQ(tokenizer(std::string(2000000, '['), {.add_special_tokens = false}).row(0).size(), 2000000u);
}

TEST_F(SmallVocabulary, InvalidUtf8CountsAsReplacementCharacters) {
  const auto tokenizer = load();
  const auto encoding = tokenizer("a\xff\xe2\x82 b");  // two ill-formed sequences, which cleaning removes
  EXPECT_EQ(encoding.tokens(0), (Tokens{"[CLS]", "a", "b", "[SEP]"}));
  EXPECT_EQ(encoding.offsets(0)[2], std::pair(4u, 5u));
  EXPECT_EQ(tokenizer(std::string_view("b\0a", 3)).tokens(0), (Tokens{"[CLS]", "b", "##a", "[SEP]"}));
}

TEST_F(SmallVocabulary, UnknownTokenMustExistWhenNeeded) {
  Folder folder;
  folder.write(
      "tokenizer.json",
      R"({"added_tokens":[],"model":{"type":"WordPiece","unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":5,"vocab":{"a":0}}})");
  const auto tokenizer = AutoTokenizer::from_pretrained(folder.path());
  EXPECT_EQ(tokenizer("a").input_ids(0), std::vector<int32_t>{0});
  expect_error([&] { tokenizer("b"); }, ErrorCode::invalid_argument, "'?'");
}

TEST_F(SmallVocabulary, SpecialTokensInTheText) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer.tokenize("a[MASK]b [SEP]"), (Tokens{"a", "[MASK]", "b", "[SEP]"}));
  EXPECT_EQ(tokenizer("[MASK]", {.split_special_tokens = true}).row(0).size(), 5u);
  EXPECT_EQ(tokenizer.tokenize("[mask]").size(), 3u);
}

TEST_F(SmallVocabulary, TokensAndIds) {
  auto tokenizer = load();
  EXPECT_EQ(tokenizer.vocab_size(), 15);
  EXPECT_EQ(tokenizer.size(), 15);
  EXPECT_EQ(tokenizer.pad_token(), "[PAD]");
  EXPECT_EQ(tokenizer.mask_token_id(), 4);
  EXPECT_EQ(tokenizer.bos_token(), std::nullopt);
  EXPECT_EQ(tokenizer.bos_token_id(), std::nullopt);
  EXPECT_EQ(tokenizer.convert_tokens_to_ids("un"), 5);
  EXPECT_EQ(tokenizer.convert_tokens_to_ids("nothing"), 1);
  EXPECT_EQ(tokenizer.convert_ids_to_tokens(6), "##aff");
  EXPECT_EQ(tokenizer.convert_ids_to_tokens(std::vector<int32_t>{2, 5, 3}, true), Tokens{"un"});
  expect_error([&] { tokenizer.convert_ids_to_tokens(15); }, ErrorCode::invalid_argument, "15");
  EXPECT_EQ(tokenizer.get_vocab().size(), 15u);
  EXPECT_EQ(tokenizer.num_special_tokens_to_add(), 2u);
  EXPECT_EQ(tokenizer.num_special_tokens_to_add(true), 3u);
  EXPECT_EQ(tokenizer.convert_tokens_to_string({"un", "##aff", "b"}), "unaff b");

  EXPECT_EQ(tokenizer.add_special_tokens({{"eos_token", "<eos>"}, {"extra_special_tokens", Json::Array{"<x>"}}}), 2u);
  EXPECT_EQ(tokenizer.eos_token_id(), 15);
  EXPECT_EQ(tokenizer.size(), 17);
  EXPECT_EQ(tokenizer.all_special_tokens(), (Tokens{"<eos>", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]", "<x>"}));
  EXPECT_EQ(tokenizer.tokenize("a<x>b"), (Tokens{"a", "<x>", "b"}));
  EXPECT_EQ(load().size(), 15);
  // All or nothing.
  const auto before = tokenizer.all_special_tokens();
  expect_error(
      [&] {
        tokenizer.add_special_tokens({{"pad_token", "<p>"}, {"frob", "x"}});
      },
      ErrorCode::invalid_argument, "frob");
  EXPECT_THROW(tokenizer.add_special_tokens({{"extra_special_tokens", Json::Array{"<y>", 7}}}), Error);
  EXPECT_THROW(tokenizer.add_special_tokens({{"pad_token", "<p>"}, {"eos_token", std::string(100'000, 'x')}}), Error);
  EXPECT_EQ(tokenizer.all_special_tokens(), before);
  EXPECT_EQ(tokenizer.backend_tokenizer().token_to_id("<p>"), -1);
}

TEST(Bert, TheDocumentsExample) {
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path("uncased"));
  const auto encoding = tokenizer("In a hole in the ground there lived a hobbit.");
  EXPECT_EQ(encoding.input_ids(0), (std::vector<int32_t>{101, 1999, 1037, 4920, 1999, 1996, 2598, 2045, 2973, 1037,
                                                         7570, 10322, 4183, 1012, 102}));
  EXPECT_EQ(encoding.token_type_ids(0), std::vector<int32_t>(15, 0));
  EXPECT_EQ(encoding.attention_mask(0), std::vector<int32_t>(15, 1));
  EXPECT_EQ(tokenizer.decode(encoding.input_ids(0)), "[CLS] in a hole in the ground there lived a hobbit. [SEP]");
}

}  // namespace
}  // namespace caracal::testing
