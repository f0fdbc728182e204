// Which files make which tokenizer, and what is refused.
#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/bert/tokenization_bert_legacy.h>
#include <caracal/models/tokenization_auto.h>

#include "tokenizers_testing.h"

namespace caracal::testing {
namespace {

TEST(Loading, DirectoriesGiveTheReferencesTokenizers) {
  for (const Json& test : read_lines("loads.jsonl")) {
    SCOPED_TRACE(test.at("files").dump().substr(0, 2000));
    const Folder folder;
    for (const auto& [name, content] : test.at("files").as_object()) folder.write(name, content.as_string());
    const bool is_bert = test.at("class").as_string() == "BertTokenizer";
    const PreTrainedTokenizerBase tokenizer =
        is_bert ? PreTrainedTokenizerBase(BertTokenizer::from_pretrained(folder.path()))
                : PreTrainedTokenizerBase(AutoTokenizer::from_pretrained(folder.path()));
    EXPECT_EQ(tokenizer.class_name(), test.at("class").as_string());
    EXPECT_EQ(tokenizer.size(), test.at("size").as_int());
    EXPECT_EQ(tokenizer.vocab_size(), test.at("vocab_size").as_int());
    for (const auto& [name, token] : test.at("special_tokens").as_object()) {
      EXPECT_EQ(tokenizer.special_token(name), token.as_string());
    }
    EXPECT_EQ(tokenizer.all_special_ids(), numbers<int32_t>(test.at("all_special_ids")));
    Json::Object added;
    for (const auto& [id, token] : tokenizer.added_tokens_decoder()) {
      added.emplace_back(std::to_string(id), Json::Array{token.content, token.single_word, token.lstrip, token.rstrip,
                                                         token.normalized, token.special});
    }
    EXPECT_EQ(Json(added).dump(), test.at("added").dump());
    EXPECT_EQ(tokenizer.padding_side(), test.at("padding_side").as_string());
    EXPECT_EQ(tokenizer.truncation_side(), test.at("truncation_side").as_string());
    const Json& length = test.at("model_max_length");
    EXPECT_EQ(tokenizer.model_max_length(),
              length.is_null() ? PreTrainedTokenizerBase::kVeryLargeInteger : length.as_int());
    EXPECT_EQ(tokenizer("a").keys(), strings(test.at("keys")));
    const auto texts = strings(test.at("texts"));
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tokenizer(texts[i]).input_ids(0);
      EXPECT_EQ(ids, numbers<int32_t>(test.at("ids").as_array()[i])) << texts[i];
      EXPECT_EQ(tokenizer.decode(ids), test.at("decoded").as_array()[i].as_string());
    }
    EXPECT_EQ(tokenizer(texts[0], texts[2]).input_ids(0), numbers<int32_t>(test.at("pair_ids")));
  }
}

constexpr const char* kTokenizerJson =
    R"({"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":null,"decoder":null,)"
    R"("model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":5,)"
    R"("vocab":{"[UNK]":0,"ab":1,"##c":2}}})";

TEST(TokenizerJson, MinimalPipeline) {
  const auto tokenizer = tokenizers::Tokenizer::from_json(Json::parse(kTokenizerJson, "test"));
  tokenizers::Tokenizer::Workspace workspace;
  const auto encoding = tokenizer.encode({.text = "abc  abcccc AB"}, nullptr, true, {}, false, workspace);
  ASSERT_EQ(encoding.size(), 4u);
  EXPECT_EQ(encoding.tokens[0].id, 1);
  EXPECT_EQ(encoding.tokens[1].id, 2);
  EXPECT_EQ(encoding.tokens[2].id, 0);
  EXPECT_EQ(encoding.tokens[2].begin, 5u);
  EXPECT_EQ(encoding.tokens[2].end, 11u);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{1, 2}, false), "ab ##c");
}

TEST(TokenizerJson, RefusesWhatIsNotBuiltIn) {
  const auto with = [](const char* key, const char* value) {
    Json json = Json::parse(kTokenizerJson, "test");
    json.set(key, Json::parse(value, "test"));
    return [json] { tokenizers::Tokenizer::from_json(json); };
  };
  expect_error(with("normalizer", R"({"type":"Frobnicate"})"), ErrorCode::unsupported,
               "normalizer of type 'Frobnicate'");
  expect_error(with("pre_tokenizer", R"({"type":"Frobnicate"})"), ErrorCode::unsupported,
               "pre_tokenizer of type 'Frobnicate'");
  expect_error(with("model", R"({"type":"Frobnicate","vocab":{}})"), ErrorCode::unsupported,
               "model of type 'Frobnicate'");
  expect_error(with("post_processor", R"({"type":"Frobnicate"})"), ErrorCode::unsupported,
               "post_processor of type 'Frobnicate'");
  expect_error(with("decoder", R"({"type":"Frobnicate"})"), ErrorCode::unsupported, "decoder of type 'Frobnicate'");
}

TEST(TokenizerJson, RefusesDamage) {
  const auto with = [](const char* key, const char* value) {
    Json json = Json::parse(kTokenizerJson, "test");
    json.set(key, Json::parse(value, "test"));
    return [json] { tokenizers::Tokenizer::from_json(json); };
  };
  const std::string model =
      R"({"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":)";
  expect_error(with("model", (model + R"(-1,"vocab":{}})").c_str()), ErrorCode::bad_file, "max_input_chars_per_word");
  expect_error(with("model", (model + R"(9,"vocab":{"a":-1}})").c_str()), ErrorCode::bad_file, "id");
  expect_error(with("model", (model + R"(9,"vocab":{"a":2000000000}})").c_str()), ErrorCode::bad_file,
               "near the number");
  expect_error(with("model", (model + R"(9,"vocab":{"a":"1"}})").c_str()), ErrorCode::bad_file, "int");
  expect_error(with("model", (model + R"(9,"vocab":["a"]})").c_str()), ErrorCode::bad_file, "dict");
  expect_error(with("normalizer", "7"), ErrorCode::bad_file, "type");
  expect_error(with("added_tokens",
                    R"([{"id":1,"content":"x","lstrip":false,"rstrip":false,"normalized":false,"special":true}])"),
               ErrorCode::bad_file, "single_word");
  expect_error(
      with(
          "post_processor",
          R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X","type_id":0}}],"pair":[],"special_tokens":{}})"),
      ErrorCode::bad_file, "'X'");
  expect_error(with("post_processor", R"({"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{}})"),
               ErrorCode::bad_file, "pair template");
  expect_error([] { tokenizers::Tokenizer::from_json(Json(3)); }, ErrorCode::bad_file, "dict");
  expect_error([] { tokenizers::Tokenizer::from_json(Json(Json::Object{})); }, ErrorCode::bad_file, "model");
}

TEST(TokenizerJson, ComponentsWriteWhatTheyRead) {
  const Json normalizer = Json::parse(
      R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":false,"strip_accents":true,"lowercase":false})",
      "test");
  EXPECT_EQ(tokenizers::normalizer_from_json(normalizer)->to_json(), normalizer);
  const Json decoder = Json::parse(R"({"type":"WordPiece","prefix":"##","cleanup":false})", "test");
  EXPECT_EQ(tokenizers::decoder_from_json(decoder)->to_json(), decoder);
  const Json model = Json::parse(kTokenizerJson, "test").at("model");
  EXPECT_EQ(tokenizers::model_from_json(model)->to_json(), model);
  const Json post = tokenizers::bert_template("[CLS]", 1, "[SEP]", 2).to_json();
  EXPECT_EQ(tokenizers::post_processor_from_json(post)->to_json(), post);
  EXPECT_EQ(
      tokenizers::pre_tokenizer_from_json(Json::parse(R"({"type":"BertPreTokenizer"})", "test"))->to_json().dump(),
      R"({"type": "BertPreTokenizer"})");
}

// By which token-classification knows that a token goes on with a word.
TEST(TokenizerJson, ContinuingSubwordPrefix) {
  const auto prefix_of = [](const std::string& model) {
    return std::string(tokenizers::model_from_json(Json::parse(model, "test"))->continuing_subword_prefix());
  };
  const std::string word_piece = R"({"type":"WordPiece","unk_token":"a","max_input_chars_per_word":5,"vocab":{"a":0},)";
  EXPECT_EQ(prefix_of(word_piece + R"("continuing_subword_prefix":"##"})"), "##");
  EXPECT_EQ(prefix_of(word_piece + R"("continuing_subword_prefix":""})"), "");
  const std::string bpe = R"({"type":"BPE","vocab":{"a":0},"merges":[])";
  EXPECT_EQ(prefix_of(bpe + R"(,"continuing_subword_prefix":"@@"})"), "@@");
  EXPECT_EQ(prefix_of(bpe + "}"), "");
  EXPECT_EQ(prefix_of(R"({"type":"WordLevel","vocab":{"a":0},"unk_token":"a"})"), "");
}

TEST(Loading, MissingAndDamagedFiles) {
  const Folder folder;
  expect_error([&] { AutoTokenizer::from_pretrained(folder.path() + "/none"); }, ErrorCode::not_found, "none");
  expect_error([&] { BertTokenizer::from_pretrained(folder.path()); }, ErrorCode::not_found, "vocab.txt");
  folder.write("config.json", R"({"model_type":"frobnicate"})");
  folder.write("vocab.txt", "a\n");
  expect_error([&] { AutoTokenizer::from_pretrained(folder.path()); }, ErrorCode::unsupported, "frobnicate");
  folder.write("vocab.txt", "a\n\xff\n");
  expect_error([&] { BertTokenizer::from_pretrained(folder.path()); }, ErrorCode::bad_file, "UTF-8 in line 2");
  folder.write("tokenizer.json", "{\"model\"");
  expect_error([&] { BertTokenizer::from_pretrained(folder.path()); }, ErrorCode::bad_file, "tokenizer.json");
  folder.write("tokenizer.json", "[]");
  EXPECT_THROW(BertTokenizer::from_pretrained(folder.path()), Error);
}

TEST(Loading, ErrorsNameTheFile) {
  const Folder folder;
  folder.write("tokenizer.json", R"({"added_tokens":[]})");
  const auto load = [&] { AutoTokenizer::from_pretrained(folder.path()); };
  const auto expect_where = [&](const std::string& text) {
    expect_error(load, ErrorCode::bad_file, "[" + folder.path() + "/" + text);
  };
  const std::string no_model = "tokenizer.json] expected key \"model\"";
  expect_where(no_model);
  expect_error([&] { tokenizers::Tokenizer::from_file(folder.path() + "/tokenizer.json"); }, ErrorCode::bad_file,
               "[" + folder.path() + "/" + no_model);
  folder.write("tokenizer.json", R"({"added_tokens":[{"content":"a"}]})");
  expect_where("tokenizer.json] expected key \"id\"");
  folder.write("tokenizer.json", kTokenizerJson);
  EXPECT_NO_THROW(load());
  folder.write("added_tokens.json", R"({"x":"1"})");
  expect_where("added_tokens.json] expected int but got str");
  folder.write("added_tokens.json", "{}");
  folder.write("tokenizer_config.json", R"({"split_special_tokens":1})");
  expect_where("tokenizer_config.json] expected bool but got int");
  folder.write("tokenizer_config.json", R"({"added_tokens_decoder":{"0":{}}})");
  expect_where("tokenizer_config.json] expected key \"content\"");
  folder.write("tokenizer_config.json", "{}");
  folder.write("special_tokens_map.json", R"({"cls_token":{}})");
  expect_where("tokenizer_config.json or " + folder.path() + "/special_tokens_map.json] expected key \"content\"");
  folder.write("special_tokens_map.json", "{}");
  expect_error(
      [&] {
        AutoTokenizer::from_pretrained(folder.path(), {{"padding_side", 1}});
      },
      ErrorCode::bad_file, "tokenizer_config.json or the arguments");
}

TEST(Loading, PathsThatCannotBeLookedAt) {
  const std::string longer(300, 'x');  // than a name may be
  expect_error([&] { AutoTokenizer::from_pretrained(longer); }, ErrorCode::io, longer);
  expect_error([&] { AutoTokenizer::from_pretrained(longer + "/tokenizer.json"); }, ErrorCode::io, longer);
  expect_error([&] { BertTokenizer::from_pretrained(longer); }, ErrorCode::io, longer);
  const Folder folder;
  folder.write("vocab.txt", "a\n");
  for (const char* name : {"tokenizer_config.json", "config.json"}) {
    const auto link = std::filesystem::path(folder.path()) / name;
    std::filesystem::create_symlink(name, link);  // to itself
    expect_error([&] { AutoTokenizer::from_pretrained(folder.path()); }, ErrorCode::not_found, name);
    std::filesystem::remove(link);
  }
}

TEST(Loading, ModelTypeAndOverrides) {
  const Folder folder;
  folder.write("vocab.txt", "[UNK]\nA\na\n");
  folder.write("config.json", R"({"model_type":"bert"})");
  EXPECT_EQ(AutoTokenizer::from_pretrained(folder.path()).tokenize("A"), std::vector<std::string>{"a"});
  EXPECT_EQ(AutoTokenizer::from_pretrained(folder.path(), {{"do_lower_case", false}}).tokenize("A"),
            std::vector<std::string>{"A"});
  EXPECT_EQ(BertTokenizer::from_pretrained(folder.path() + "/vocab.txt").tokenize("A"), std::vector<std::string>{"a"});
  folder.write("tokenizer_config.json", R"({"padding_side":"up"})");
  expect_error([&] { AutoTokenizer::from_pretrained(folder.path()); }, ErrorCode::invalid_argument, "'up'");
}

// A class that builds its own pipeline keeps what the file says of truncation and padding, too.
TEST(Loading, SavingKeepsTruncationAndPadding) {
  const Folder folder, saved;
  Json json = Json::parse(kTokenizerJson, "test");
  const Json truncation{{"direction", "Left"}, {"max_length", 9}, {"strategy", "LongestFirst"}, {"stride", 1}};
  json.set("truncation", truncation);
  folder.write("tokenizer.json", json.dump());
  const auto tokenizer = BertTokenizer::from_pretrained(folder.path());
  EXPECT_EQ(tokenizer.truncation_side(), "left");
  EXPECT_EQ(tokenizer("ab ab ab ab ab ab ab ab ab ab ab ab").row(0).size(), 14u);
  tokenizer.save_pretrained(saved.path());
  const Json again = Json::parse_file(saved.path() + "/tokenizer.json");
  EXPECT_EQ(again.at("truncation"), truncation);
  EXPECT_TRUE(again.at("padding").is_null());
}

// As in transformers, where a call that needs a negative length fails and others work.
TEST(Loading, NegativeLengthsAreOfNoUse) {
  for (const char* length : {"-1", "-1e300"}) {
    const Folder folder;
    folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
    folder.write("tokenizer_config.json",
                 std::string(R"({"tokenizer_class": "BertTokenizer", "model_max_length": )") + length + "}");
    auto tokenizer = AutoTokenizer::from_pretrained(folder.path());
    for (const bool set : {false, true}) {
      if (set) tokenizer.set_model_max_length(-7);
      EXPECT_EQ(tokenizer("a", {.padding = true}).row(0).size(), 3u);
      EXPECT_EQ(tokenizer("a", {.truncation = true, .max_length = 2}).row(0).size(), 2u);
      const auto refused = [&](const TokenizeOptions& options) {
        expect_error([&] { tokenizer("a", options); }, ErrorCode::invalid_argument, "model_max_length");
      };
      refused({.truncation = true});
      refused({.padding = "max_length"});
      refused({.padding = "max_length", .truncation = true, .return_overflowing_tokens = true});
    }
  }
}

// What another tokenizer left in the directory is not loaded in place of what was saved, or beside it.
TEST(Loading, SavingOverAnotherTokenizer) {
  const Folder slow_files, fast_files, saved;
  slow_files.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
  fast_files.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nold\nolder\n");
  auto slow = BertTokenizerLegacy::from_pretrained(slow_files.path());
  const auto fast = BertTokenizer::from_pretrained(fast_files.path());
  const auto leave = [&](const char* name) { saved.write(name, R"({"<left>": 77})"); };
  fast.save_pretrained(saved.path());
  saved.write("special_tokens_map.json", R"({"pad_token": "<left>"})");
  leave("added_tokens.json");
  slow.save_pretrained(saved.path());
  const auto is_whole = [&](const PreTrainedTokenizerBase& want) {
    const auto got = AutoTokenizer::from_pretrained(saved.path());
    EXPECT_EQ(got.class_name(), want.class_name());
    EXPECT_EQ(got.get_vocab(), want.get_vocab());
    EXPECT_EQ(got.all_special_tokens(), want.all_special_tokens());
  };
  is_whole(slow);
  slow.add_tokens(std::vector<std::string>{"new"});
  slow.save_pretrained(saved.path());
  is_whole(slow);
  leave("special_tokens_map.json");
  fast.save_pretrained(saved.path());
  is_whole(fast);
}

// transformers' named classes read scores as they are, its plain one as Hugging Face's tokenizers does: a unit in the
// last place off, which decides between ways to cut a word that are as good as each other.
TEST(Loading, ScoresOfNamedClassesAreExact) {
  const Folder folder;
  folder.write("tokenizer.json", R"({"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],)"
                                 R"(["-",-5.129043102264404],["---",-12.130167007446289]]}})");
  const std::vector<int32_t> short_last = {2, 2, 1}, short_first = {1, 2, 2};
  EXPECT_EQ(AutoTokenizer::from_pretrained(folder.path())("-------").input_ids(0), short_last);
  EXPECT_EQ(tokenizers::Tokenizer::from_file(folder.path() + "/tokenizer.json").size(), 3u);
  folder.write("tokenizer_config.json", R"({"tokenizer_class":"T5TokenizerFast"})");
  const auto named = AutoTokenizer::from_pretrained(folder.path());
  EXPECT_EQ(named("-------").input_ids(0), short_first);
  EXPECT_EQ(PreTrainedTokenizerFast::from_pretrained(folder.path())("-------").input_ids(0), short_last);
  const Folder saved;
  named.save_pretrained(saved.path());
  EXPECT_EQ(AutoTokenizer::from_pretrained(saved.path()).class_name(), "T5Tokenizer");
  EXPECT_EQ(AutoTokenizer::from_pretrained(saved.path())("-------").input_ids(0), short_first);
}

// As in transformers, cleaning up is not for BPE.
TEST(Loading, CleaningUpLeavesBpeAlone) {
  const Folder folder;
  folder.write("tokenizer.json", R"({"model":{"type":"BPE","vocab":{"a":0,".":1},"merges":[]},"added_tokens":[]})");
  folder.write("tokenizer_config.json", R"({"clean_up_tokenization_spaces":true})");
  const std::vector<int32_t> ids = {0, 1};
  EXPECT_EQ(AutoTokenizer::from_pretrained(folder.path()).decode(ids), "a .");
  EXPECT_EQ(AutoTokenizer::from_pretrained(folder.path()).decode(ids, false, true), "a .");
  const Json too{{"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", true}};
  EXPECT_EQ(AutoTokenizer::from_pretrained(folder.path(), too).decode(ids), "a.");
}

TEST(Vocabulary, LookupsByParts) {
  const tokenizers::Vocabulary vocabulary({{"", 5}, {"ab", 0}, {"##ab", 1}, {"ab", 7}});
  using V = tokenizers::Vocabulary;
  EXPECT_EQ(vocabulary.size(), 3u);
  EXPECT_EQ(vocabulary.id_end(), 8);
  EXPECT_EQ(vocabulary.find("ab"), 7);
  EXPECT_EQ(vocabulary.find(""), 5);
  EXPECT_EQ(vocabulary.find("a"), -1);
  EXPECT_EQ(vocabulary.find(V::hash(V::hash(V::kSeed, "##"), "ab"), "##", "ab"), 1);
  EXPECT_EQ(vocabulary.token(1), "##ab");
  EXPECT_NE(vocabulary.token(5).data(), nullptr);
  EXPECT_EQ(vocabulary.token(0).data(), nullptr);
  EXPECT_EQ(vocabulary.token(-1).data(), nullptr);
  EXPECT_EQ(vocabulary.token(8).data(), nullptr);
  EXPECT_EQ(tokenizers::Vocabulary({}).find("a"), -1);
}

}  // namespace
}  // namespace caracal::testing
