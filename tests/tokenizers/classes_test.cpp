// The tokenizer classes of the architectures against stored results of transformers (tools/make_pipeline_goldens.py).
#include <caracal/models/bert/tokenization_bert_legacy.h>
#include <caracal/models/clip/tokenization_clip.h>
#include <caracal/models/distilbert/tokenization_distilbert.h>
#include <caracal/models/gpt2/tokenization_gpt2.h>
#include <caracal/models/layoutlmv2/tokenization_layoutlmv2.h>
#include <caracal/models/roberta/tokenization_roberta.h>
#include <caracal/models/tokenization_auto.h>
#include <caracal/models/wav2vec2/tokenization_wav2vec2.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

void expect_case(const PreTrainedTokenizerBase& tokenizer, const Json& test) {
  SCOPED_TRACE(test.at("class").as_string());
  EXPECT_EQ(tokenizer.class_name(), test.at("class").as_string());
  EXPECT_EQ(tokenizer.size(), test.at("size").as_int());
  EXPECT_EQ(tokenizer.all_special_ids(), numbers<int32_t>(test.at("special_ids")));
  EXPECT_EQ(tokenizer("a").keys(), strings(test.at("keys")));
  const auto texts = strings(test.at("texts"));
  for (size_t i = 0; i < texts.size(); ++i) {
    const Json::Array& row = test.at("rows").as_array()[i].as_array();
    const auto encoding = tokenizer(texts[i]);
    const auto ids = encoding.input_ids(0);
    EXPECT_EQ(ids, numbers<int32_t>(row[0])) << texts[i];
    EXPECT_EQ(flat_offsets(encoding, 0), numbers<uint32_t>(row[1])) << texts[i];
    EXPECT_EQ(tokenizer.decode(ids), row[2].as_string());
    EXPECT_EQ(tokenizer.decode(ids, true), row[3].as_string());
  }
  EXPECT_EQ(tokenizer(texts[0], texts[2]).input_ids(0), numbers<int32_t>(test.at("pair")));
  if (test.at("padded").is_null()) return;
  const auto padded = tokenizer({texts[0], texts[1], texts[2]}, {.padding = true});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(padded.input_ids(i), numbers<int32_t>(test.at("padded").as_array()[i]));
  }
}

TEST(Classes, FromVocabularyFiles) {
  size_t count = 0;
  for (const Json& test : read_lines("classes/calls.jsonl")) {
    const std::string folder = data_path(test.at("folder").as_string());
    if (test.at("class").as_string() == "DistilBertTokenizer") {
      expect_case(DistilBertTokenizer(
                      Json{{"vocab_file", folder + "/vocab.txt"}, {"do_lower_case", false}, {"padding_side", "left"}}),
                  test);
    } else {
      const auto tokenizer = AutoTokenizer::from_pretrained(folder);
      expect_case(tokenizer, test);
      const Folder saved;
      tokenizer.save_pretrained(saved.path() + "/new");
      expect_case(AutoTokenizer::from_pretrained(saved.path() + "/new"), test);
    }
    ++count;
  }
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(RobertaTokenizer(Json{{"vocab_file", data_path("classes/roberta/vocab.json")},
                                  {"merges_file", data_path("classes/roberta/merges.txt")}})
                .cls_token_id(),
            0);
  expect_error([] { GPT2Tokenizer(Json{{"add_prefix_space", true}}); }, ErrorCode::invalid_argument, "vocab_file");
  expect_error([] { CLIPTokenizer::from_pretrained(data_path("nothing")); }, ErrorCode::not_found, "vocab.json");
}

TEST(Classes, Wav2Vec2Ctc) {
  const std::string file = data_path("classes/wav2vec2/vocab.json");
  const Wav2Vec2CTCTokenizer tokenizers[] = {Wav2Vec2CTCTokenizer(Json{{"vocab_file", file}}),
                                             Wav2Vec2CTCTokenizer(Json{{"vocab_file", file}, {"do_lower_case", true}})};
  EXPECT_FALSE(tokenizers[0].is_fast());
  for (const Json& test : read_lines("classes/ctc.jsonl")) {
    SCOPED_TRACE(test.dump());
    const Wav2Vec2CTCTokenizer& tokenizer = tokenizers[test.at("lower").as_bool()];
    if (test.contains("text")) {
      EXPECT_EQ(tokenizer(test.at("text").as_string()).input_ids(0), numbers<int32_t>(test.at("ids")));
      continue;
    }
    const Json& options = test.at("options");
    const auto out =
        tokenizer.decode(numbers<int32_t>(test.at("decode")),
                         {.skip_special_tokens = options.at("skip_special_tokens").as_bool(),
                          .group_tokens = options.at("group_tokens").as_bool(),
                          .spaces_between_special_tokens = options.at("spaces_between_special_tokens").as_bool(),
                          .output_char_offsets = true,
                          .output_word_offsets = true,
                          .skip_before_grouping = true});
    EXPECT_EQ(out.text, test.at("decoded").as_string());
    const std::vector<CtcOffset>* parts[] = {&out.char_offsets, &out.word_offsets};
    for (size_t i = 0; i < 2; ++i) {
      Json::Array got;
      for (const CtcOffset& o : *parts[i]) got.push_back(Json::Array{o.text, o.start_offset, o.end_offset});
      EXPECT_EQ(Json(got).dump(), test.at("offsets").as_array()[i].dump());
    }
  }
}

TEST(Classes, EachReadsItsOwnVocabularyFile) {
  const Folder folder;
  folder.write("vocab.json", R"({"<pad>":0,"<s>":1,"</s>":2,"<unk>":3,"|":4,"A":5})");
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n|\na\n");
  EXPECT_EQ(Wav2Vec2CTCTokenizer::from_pretrained(folder.path())("A A").input_ids(0), (std::vector<int32_t>{5, 4, 5}));
  EXPECT_EQ(BertTokenizer::from_pretrained(folder.path())("a").input_ids(0), (std::vector<int32_t>{2, 6, 3}));
}

TEST(Classes, PaddingKeepsRepeatsApartByDefault) {
  const auto tokenizer = Wav2Vec2CTCTokenizer::from_pretrained(data_path("classes/wav2vec2"));
  const std::vector<int32_t> ids = {11, 11, 5, 0, 15, 0, 15, 8, 8, 0, 4};  // HH E _ L _ L OO _ |
  EXPECT_EQ(tokenizer.decode(ids), "HELLO");
  EXPECT_EQ(tokenizer.decode(ids, true), "HELLO");
  EXPECT_EQ(tokenizer.decode(ids, {.skip_special_tokens = true}).text, "HELLO");
  EXPECT_EQ(tokenizer.decode(ids, {.skip_special_tokens = true, .skip_before_grouping = true}).text, "HELO");
  EXPECT_EQ(AutoTokenizer::from_pretrained(data_path("classes/wav2vec2")).decode(ids, true), "HELLO");
  EXPECT_EQ(tokenizer.batch_decode({ids, {}}, Wav2Vec2DecodeOptions{})[0].text, "HELLO");
  const Folder saved;
  tokenizer.save_pretrained(saved.path());
  EXPECT_EQ(AutoTokenizer::from_pretrained(saved.path()).decode(ids), "HELLO");
  const Folder nested;
  nested.write("vocab.json", R"({"deu":{"a":0,"<unk>":1,"|":2},"eng":{"b":0,"<unk>":1,"|":2}})");
  const std::string vocab = nested.path() + "/vocab.json";
  EXPECT_EQ(Wav2Vec2CTCTokenizer(Json{{"vocab_file", vocab}, {"target_lang", "eng"}})("b a").input_ids(0),
            (std::vector<int32_t>{0, 2, 1}));
  expect_error(
      [&] {
        Wav2Vec2CTCTokenizer(Json{{"vocab_file", vocab}, {"target_lang", "fra"}});
      },
      ErrorCode::bad_file, "fra");
}

TokenizeOptions options_from(const Json& json) {
  TokenizeOptions options;
  for (const auto& [key, value] : json.as_object()) {
    if (key == "padding")
      options.padding = value.is_bool() ? Padding(value.as_bool()) : Padding(value.as_string().c_str());
    if (key == "truncation") {
      options.truncation = value.is_bool() ? Truncate(value.as_bool()) : Truncate(value.as_string().c_str());
    }
    if (key == "max_length") options.max_length = value.as_int();
    if (key == "stride") options.stride = value.as_int();
    if (key == "padding_side") options.padding_side = value.as_string();
    if (key == "return_overflowing_tokens") options.return_overflowing_tokens = value.as_bool();
  }
  return options;
}

TEST(Classes, LayoutLMv2) {
  for (const Json& test : read_lines("classes/layoutlmv2.jsonl")) {
    SCOPED_TRACE(test.dump().substr(0, 1000));
    const auto tokenizer = LayoutLMv2Tokenizer::from_pretrained(
        data_path("uncased"), {{"only_label_first_subword", test.at("only_first").as_bool()}});
    std::vector<LayoutLMv2Tokenizer::Words> words;
    std::vector<LayoutLMv2Tokenizer::Boxes> boxes;
    LayoutLMv2TokenizeOptions options{.tokenize = options_from(test.at("options"))};
    for (const Json& page : test.at("words").as_array()) words.push_back(strings(page));
    for (const Json& page : test.at("boxes").as_array()) {
      boxes.emplace_back();
      for (const Json& box : page.as_array()) {
        const auto n = numbers<int64_t>(box);
        boxes.back().push_back({n[0], n[1], n[2], n[3]});
      }
    }
    if (!test.at("labels").is_null()) {
      for (const Json& page : test.at("labels").as_array()) options.word_labels.push_back(numbers<int64_t>(page));
    }
    const auto call = [&] {
      return test.at("questions").is_null() ? tokenizer(words, boxes, options)
                                            : tokenizer(strings(test.at("questions")), words, boxes, options);
    };
    if (test.at("rows").is_null()) {
      EXPECT_THROW(call(), Error);
      continue;
    }
    const BatchEncoding encoding = call();
    const Json& rows = test.at("rows");
    ASSERT_EQ(encoding.size(), rows.at("input_ids").as_array().size());
    for (size_t i = 0; i < encoding.size(); ++i) {
      EXPECT_EQ(encoding.input_ids(i), numbers<int32_t>(rows.at("input_ids").as_array()[i]));
      EXPECT_EQ(encoding.token_type_ids(i), numbers<int32_t>(rows.at("token_type_ids").as_array()[i]));
      EXPECT_EQ(encoding.attention_mask(i), numbers<int32_t>(rows.at("attention_mask").as_array()[i]));
      std::vector<int64_t> bbox;
      for (const Json& box : rows.at("bbox").as_array()[i].as_array()) {
        for (const int64_t n : numbers<int64_t>(box)) bbox.push_back(n);
      }
      EXPECT_TRUE(std::ranges::equal(encoding.extra("bbox", i), bbox));
      if (rows.contains("labels")) {
        EXPECT_TRUE(std::ranges::equal(encoding.extra("labels", i), numbers<int64_t>(rows.at("labels").as_array()[i])));
      }
    }
    EXPECT_EQ(encoding.padded("bbox").shape().str().substr(0, 1), "(");
  }
  const auto tokenizer = LayoutLMv2Tokenizer::from_pretrained(data_path("uncased"));
  expect_error(
      [&] {
        tokenizer({"a", "b"}, LayoutLMv2Tokenizer::Boxes{{0, 0, 1, 1}});
      },
      ErrorCode::invalid_argument, "as many words");
  const auto one = tokenizer({"unaffable"}, LayoutLMv2Tokenizer::Boxes{{1, 2, 3, 4}});
  EXPECT_EQ(one["bbox"].shape(), (Shape{1, int64_t(one.row(0).size()), 4}));
}

void expect_same_rows(const BatchEncoding& a, const BatchEncoding& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(a.overflow_to_sample_mapping(), b.overflow_to_sample_mapping());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a.tokens(i), b.tokens(i));
    ASSERT_EQ(a.input_ids(i), b.input_ids(i));
    ASSERT_EQ(a.token_type_ids(i), b.token_type_ids(i));
    ASSERT_EQ(a.attention_mask(i), b.attention_mask(i));
    ASSERT_EQ(a.special_tokens_mask(i), b.special_tokens_mask(i));
    ASSERT_EQ(a.offsets(i), b.offsets(i));
    ASSERT_EQ(a.word_ids(i), b.word_ids(i));
    ASSERT_EQ(a.sequence_ids(i), b.sequence_ids(i));
  }
}

// The plain algorithm and the fast pipeline give the same, on everything that is stored here: texts and pairs, whole,
// cut and cut into chunks.
TEST(Bert, SlowAndFastAgree) {
  std::vector<std::string> texts;
  for (const Json& line : read_lines("corpus.jsonl")) texts.push_back(line.as_string());
  for (const Json& line : read_lines("pipelines/random.jsonl")) {
    if (line.is_array()) texts.push_back(line.as_array()[0].as_string());
  }
  std::vector<std::string> some, others;  // for the calls that take longer
  for (size_t i = 0; i < texts.size(); i += 24) some.push_back(texts[i]);
  others.assign(some.rbegin(), some.rend());
  using Cut = TokenizeOptions;
  const Cut chunks{
      .padding = true, .truncation = true, .max_length = 9, .stride = 2, .return_overflowing_tokens = true};
  const Cut calls[] = {{},
                       chunks,
                       {.padding = "max_length", .truncation = "only_first", .max_length = 300},
                       {.add_special_tokens = false, .max_length = 5},
                       {.padding = true, .truncation = "longest_first", .max_length = 24, .pad_to_multiple_of = 8}};
  for (const char* name : {"uncased", "cased", "chinese", "multilingual-cased"}) {
    for (const Json& overrides :
         {Json(Json::Object{}), Json{{"strip_accents", false}, {"tokenize_chinese_chars", false}},
          Json{{"strip_accents", true}, {"do_lower_case", false}}}) {
      const auto fast = BertTokenizer::from_pretrained(data_path(name), overrides);
      const auto slow = BertTokenizerLegacy::from_pretrained(data_path(name), overrides);
      EXPECT_TRUE(fast.is_fast());
      EXPECT_FALSE(slow.is_fast());
      for (const TokenizeOptions& options : calls) {
        expect_same_rows(fast(some, options), slow(some, options));
        expect_same_rows(fast(some, others, options), slow(some, others, options));
      }
      const auto whole = fast(texts);
      expect_same_rows(whole, slow(texts));
      for (size_t i = 0; i < texts.size(); ++i) {
        ASSERT_EQ(fast.decode(whole.input_ids(i), true), slow.decode(whole.input_ids(i), true));
      }
    }
  }
  EXPECT_FALSE(AutoTokenizer::from_pretrained(data_path("uncased"), {{"use_fast", false}}).is_fast());
}

// As in transformers 5, where the names with and without Fast are one class.
static_assert(std::is_same_v<BertTokenizerFast, BertTokenizer> &&
              std::is_same_v<DistilBertTokenizerFast, DistilBertTokenizer> &&
              std::is_same_v<LayoutLMv2TokenizerFast, LayoutLMv2Tokenizer>);

TEST(Bert, NeverSplit) {
  const Json arguments{{"vocab_file", data_path("uncased/vocab.txt")}, {"never_split", Json::Array{"C++"}}};
  EXPECT_EQ(BertTokenizerLegacy(arguments).tokenize("c++ C++"), (std::vector<std::string>{"c", "+", "+", "[UNK]"}));
  EXPECT_EQ(BertTokenizer(arguments).tokenize("C++"), (std::vector<std::string>{"c", "+", "+"}));
}

TEST(Offsets, InBytesAndUtf16) {
  const auto tokenizer = AutoTokenizer::from_pretrained(data_path("uncased"));
  const std::string text = "é 😀 a", pair = "中b";
  const auto encoding = tokenizer(text, pair);
  using Spans = std::vector<BatchEncoding::Span>;
  EXPECT_EQ(encoding.offsets(0), (Spans{{0, 0}, {0, 1}, {2, 3}, {4, 5}, {0, 0}, {0, 1}, {1, 2}, {0, 0}}));
  EXPECT_EQ(encoding.offsets(0, BatchEncoding::Unit::bytes, text, pair),
            (Spans{{0, 0}, {0, 2}, {3, 7}, {8, 9}, {0, 0}, {0, 3}, {3, 4}, {0, 0}}));
  EXPECT_EQ(encoding.offsets(0, BatchEncoding::Unit::utf16, text, pair),
            (Spans{{0, 0}, {0, 1}, {2, 4}, {5, 6}, {0, 0}, {0, 1}, {1, 2}, {0, 0}}));
  EXPECT_EQ(encoding.offsets(0, BatchEncoding::Unit::code_points, text, pair), encoding.offsets(0));
  expect_error([&] { encoding.offsets(0, BatchEncoding::Unit::bytes, ""); }, ErrorCode::invalid_argument, "texts");
  // Bytes are those of the text as it was given, bad ones too.
  const std::string bad = "a\xff\xe2\x82 b\xf0\x9f";
  EXPECT_EQ(tokenizer(bad).offsets(0), (Spans{{0, 0}, {0, 1}, {4, 5}, {0, 0}}));
  EXPECT_EQ(tokenizer(bad).offsets(0, BatchEncoding::Unit::bytes, bad), (Spans{{0, 0}, {0, 1}, {5, 6}, {0, 0}}));
  const std::vector<std::string> words = {"é", "x😀b"}, others = {"中b"};
  const auto split = tokenizer(words, others, {.is_split_into_words = true});
  EXPECT_EQ(split.offsets(0, BatchEncoding::Unit::bytes, words, others),
            (Spans{{0, 0}, {0, 2}, {0, 6}, {0, 0}, {0, 3}, {3, 4}, {0, 0}}));
  EXPECT_EQ(split.offsets(0, BatchEncoding::Unit::utf16, words, others),
            (Spans{{0, 0}, {0, 1}, {0, 4}, {0, 0}, {0, 1}, {1, 2}, {0, 0}}));
  expect_error([&] { split.offsets(0, BatchEncoding::Unit::bytes, words); }, ErrorCode::invalid_argument, "texts");
}

}  // namespace
}  // namespace caracal::testing
