// Sentence embeddings from small directories made here; minilm_test judges a real one.
#include <caracal/models/pipelines/feature_extraction.h>
#include <caracal/models/pipelines/pipeline.h>
#include <caracal/models/pipelines/sentence_transformer.h>

#include <fstream>
#include <limits>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

class SentenceTransformers : public testing::Test {
 protected:
  void SetUp() override {
    root = fs::temp_directory_path() / ("caracal_sentences_" + std::to_string(getpid()));
    fs::remove_all(root);
    fs::create_directories(root / "1_Pooling");
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy(data_path("models/bert/base") + "/" + file, root);
    write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\nsits\n");
    write(
        "modules.json",
        R"([{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}, {"path": "2_Normalize", "type": "x.Normalize"}])");
    write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false})");
  }
  void TearDown() override { fs::remove_all(root); }
  void write(const std::string& name, const std::string& text) { std::ofstream(root / name) << text; }
  std::string load_error() {
    try {
      SentenceTransformer::from_pretrained(root);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  const std::vector<std::string> texts{"a cat sits", "cat", "", "a \xff cat"};
  fs::path root;
};

// Pooling and normalisation by hand from the token embeddings of each text.
std::vector<double> pool(const Tensor& tokens, const std::string& mode, bool normalize) {
  const int64_t rows = tokens.size(0), hidden = tokens.size(1);
  std::vector<double> result;
  double squares = 0;
  for (int64_t h = 0; h < hidden; h++) {
    double sum = 0, largest = -1e30;
    for (int64_t t = 0; t < rows; t++) {
      sum += tokens.data<float>()[t * hidden + h];
      largest = std::max(largest, double(tokens.data<float>()[t * hidden + h]));
    }
    result.push_back(mode == "cls" ? double(tokens.data<float>()[h]) : mode == "max" ? largest : sum / double(rows));
    squares += result.back() * result.back();
  }
  for (double& value : result) value /= normalize ? std::sqrt(squares) : 1;
  return result;
}

TEST_F(SentenceTransformers, PoolsAndNormalises) {
  const auto features = FeatureExtractionPipeline::from_pretrained(root).features(texts);
  ASSERT_EQ(features[2].size(0), 2);  // [CLS] [SEP]
  for (const char* mode : {"mean", "max", "cls"}) {
    write("1_Pooling/config.json", std::string(R"({"pooling_mode_)") + mode +
                                       (mode == std::string("cls") ? "_token" : "_tokens") + R"(": true})");
    for (bool normalize : {true, false}) {
      if (!normalize)
        write("modules.json", R"([{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}])");
      const Tensor got = SentenceTransformer::from_pretrained(root).encode(texts, {.batch_size = 3});
      for (size_t i = 0; i < texts.size(); i++) {
        const std::vector<double> want = pool(features[i], mode, normalize);
        for (size_t h = 0; h < want.size(); h++)
          ASSERT_NEAR(got.data<float>()[i * want.size() + h], want[h], 1e-6) << mode;
      }
    }
    SetUp();
  }
}

TEST_F(SentenceTransformers, CutsLongTexts) {
  write("sentence_bert_config.json", R"({"max_seq_length": 3})");
  const auto model = SentenceTransformer::from_pretrained(root);
  EXPECT_EQ(model.max_seq_length(), 3);
  const Tensor e = model.encode({"a cat sits", "a"});
  EXPECT_TRUE(bytes_equal(e.rows(0, 1), e.rows(1, 2)));
  EXPECT_EQ(model.encode({}).shape(), (Shape{0, e.size(1)}));
}

// Which may be more than the tokenizer says, but not more than the model takes.
TEST_F(SentenceTransformers, TheModuleSaysHowLongTextsMayBe) {
  const int64_t most = Json::parse_file((root / "config.json").string()).at("max_position_embeddings").as_int();
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "model_max_length": 3})");
  EXPECT_EQ(SentenceTransformer::from_pretrained(root).max_seq_length(), 3);
  write("sentence_bert_config.json", R"({"max_seq_length": 5})");
  const auto model = SentenceTransformer::from_pretrained(root);
  EXPECT_EQ(model.max_seq_length(), 5);
  EXPECT_EQ(model.tokenizer().model_max_length(), 5);
  EXPECT_EQ(model.tokenize({"a cat sits sits"}, {}).row(0).size(), 5u);
  write("sentence_bert_config.json", R"({"max_seq_length": )" + std::to_string(most + 1) + "}");
  EXPECT_NE(load_error().find("from 1 to " + std::to_string(most)), std::string::npos) << load_error();
}

// Of a tokenizer that adds nothing: zeros for a text without tokens, in any company; and what is left without the
// prompt, which may be nothing.
TEST_F(SentenceTransformers, PoolsWhereNothingIsLeft) {
  write("tokenizer.json",
        R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "unk_token": "[UNK]",
            "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3, "sits": 4}}})");
  write("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"})");
  write("modules.json", R"([{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}])");
  const float least = -std::numeric_limits<float>::infinity();
  for (const char* mode : {"mean", "max", "cls"}) {
    SCOPED_TRACE(mode);
    write("1_Pooling/config.json", std::string(R"({"include_prompt": false, "pooling_mode": ")") + mode + R"("})");
    const auto model = SentenceTransformer::from_pretrained(root);
    const std::vector<std::string> some{"a cat", " ", "sits", ""};
    const Tensor all = model.encode(some);
    for (int64_t batch_size : {1, 2, 3})
      EXPECT_TRUE(bytes_equal(model.encode(some, {.batch_size = batch_size}), all)) << batch_size;
    for (int64_t row : {1, 3})
      for (float value : all.rows(row, row + 1).values<float>()) ASSERT_EQ(value, 0);

    const Tensor prompted = model.encode({"", "sits"}, {.prompt = "a cat "});
    const auto tokens = FeatureExtractionPipeline::from_pretrained(root).features({"a cat", "a cat sits"});
    for (int64_t h = 0; h < prompted.size(1); h++) {
      const float token = tokens[0].data<float>()[h], want = *mode == 'c' ? token : mode[1] == 'a' ? least : 0;
      EXPECT_EQ(prompted.data<float>()[h], want);
    }
    EXPECT_TRUE(bytes_equal(prompted.rows(1, 2), tokens[1].rows(2, 3)));
  }
}

// Which prompt stands before the texts: the one that is named, or given; else the method's own, or the default.
TEST_F(SentenceTransformers, Prompts) {
  const auto with = [&](const SentenceTransformer& model, const std::string& prompt) {
    return model.encode(texts, {.prompt = prompt});
  };
  const auto expect_same = [](const Tensor& a, const Tensor& b) { EXPECT_TRUE(bytes_equal(a, b)); };
  const auto plain = SentenceTransformer::from_pretrained(root);  // has no prompts
  const Tensor bare = plain.encode(texts);
  expect_same(plain.encode_query(texts), bare);
  expect_same(plain.encode_document(texts), bare);
  EXPECT_FALSE(bytes_equal(bare, with(plain, "a ")));
  const std::string prompts = R"({"prompts": {"query": "a ", "document": "cat ", "passage": "sits "})";
  write("config_sentence_transformers.json", prompts + "}");
  const auto model = SentenceTransformer::from_pretrained(root);
  expect_same(model.encode(texts), bare);
  expect_same(model.encode_query(texts), with(plain, "a "));
  expect_same(model.encode_document(texts), with(plain, "cat "));
  expect_same(model.encode_query(texts, {.prompt_name = "passage"}), with(plain, "sits "));
  expect_same(model.encode_document(texts, {.prompt_name = "query"}), with(plain, "a "));
  expect_same(model.encode_query(texts, {.prompt = "cat "}), with(plain, "cat "));
  expect_same(model.encode_document(texts, {.batch_size = 1, .prompt = ""}), bare);
  EXPECT_THROW(model.encode_query(texts, {.prompt_name = "answer"}), Error);
  write("config_sentence_transformers.json", prompts + R"(, "default_prompt_name": "passage"})");
  const auto other = SentenceTransformer::from_pretrained(root);
  expect_same(other.encode(texts), with(plain, "sits "));
  expect_same(other.encode_query(texts), with(plain, "a "));
  write("config_sentence_transformers.json", R"({"prompts": {"passage": "sits "}, "default_prompt_name": "passage"})");
  const auto neither = SentenceTransformer::from_pretrained(root);
  expect_same(neither.encode_query(texts), bare);  // not the default one
  expect_same(neither.encode_document(texts), bare);
  write("config_sentence_transformers.json", prompts + R"(, "default_prompt_name": "answer"})");
  EXPECT_NE(load_error().find("config_sentence_transformers.json] expected a prompt among document, passage, query but "
                              "got 'answer'"),
            std::string::npos)
      << load_error();
}

TEST_F(SentenceTransformers, RefusesWhatItCannotDo) {
  auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  write("1_Pooling/config.json", R"({"pooling_mode_lasttoken": true})");
  EXPECT_TRUE(has(load_error(), "'lasttoken'")) << load_error();
  write("sentence_bert_config.json", R"({"max_seq_length": -3})");
  write("1_Pooling/config.json", R"({"pooling_mode_cls_token": true})");
  EXPECT_TRUE(has(load_error(), "max_seq_length")) << load_error();
  for (const char* modules :
       {R"([{"path": "", "type": "x.Transformer"}])", R"([])", R"([{"path": "", "type": "x.Dense"}])",
        R"([{"path": "../..", "type": "x.Transformer"}])", R"({"a": 1})", R"([1])"}) {
    write("modules.json", modules);
    EXPECT_TRUE(has(load_error(), "modules.json")) << load_error();
  }
}

// Of the code that a tokenizer's auto_map names, by the log of the model beside it.
TEST_F(SentenceTransformers, AutoMapOfTheTokenizerIsIgnoredWithAWarning) {
  write("tokenizer_config.json", R"({"auto_map": {"AutoTokenizer": ["evil.py", null]}})");
  std::vector<std::string> logged;
  const auto log = [&](LogLevel level, const std::string& text) {
    if (level == LogLevel::warning) logged.push_back(text);
  };
  const LoadOptions load{.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .log = log})};
  const std::vector<std::string> expected{(root / "tokenizer_config.json").string() +
                                          ": auto_map names Python code to run in the place of this class: ignored"};
  SentenceTransformer::from_pretrained(root, load);
  EXPECT_EQ(logged, expected);
  logged.clear();
  pipeline("feature-extraction", root, {.load = load});
  EXPECT_EQ(logged, expected);
}

// The names of folders come from a file, and links count.
TEST_F(SentenceTransformers, ModulesStayInTheDirectory) {
  const Tensor expected = SentenceTransformer::from_pretrained(root).encode(texts);
  const fs::path elsewhere = root.string() + "_elsewhere";
  fs::remove_all(elsewhere);
  fs::rename(root / "1_Pooling", elsewhere);
  const auto modules = [&](const char* transformer) {
    write("modules.json", std::string(R"([{"path": ")") + transformer + R"(", "type": "x.Transformer"},
          {"path": "1_Pooling", "type": "x.Pooling"}, {"path": "2_Normalize", "type": "x.Normalize"}])");
  };
  const auto leaves = [&](const std::string& name) {
    return "[" + (root / "modules.json").string() + "] expected a folder inside this directory but got \"" + name +
           "\", a link that leaves it";
  };
  for (const fs::path& target : {elsewhere, fs::path("..") / elsewhere.filename()}) {
    fs::create_symlink(target, root / "1_Pooling");
    EXPECT_EQ(load_error(), leaves("1_Pooling"));
    fs::remove(root / "1_Pooling");
  }
  fs::rename(elsewhere, root / "1_Pooling");
  fs::create_directory(elsewhere);
  for (const char* file : {"config.json", "model.safetensors", "vocab.txt"}) fs::rename(root / file, elsewhere / file);
  fs::create_symlink(elsewhere, root / "0_Transformer");
  modules("0_Transformer");
  EXPECT_EQ(load_error(), leaves("0_Transformer"));
  fs::create_symlink("0_Transformer", root / "by_another");
  modules("by_another");
  EXPECT_EQ(load_error(), leaves("by_another"));

  // A link to a folder inside is as good as the folder, and files of a given name may be links, as those of a cache.
  fs::create_directory(root / "inside");
  for (const auto& file : fs::directory_iterator(elsewhere))
    fs::create_symlink(file.path(), root / "inside" / file.path().filename());
  fs::remove(root / "0_Transformer");
  fs::create_symlink("inside", root / "0_Transformer");
  EXPECT_TRUE(bytes_equal(SentenceTransformer::from_pretrained(root).encode(texts), expected));
  fs::remove_all(elsewhere);
}

TEST(CosineSimilarity, OfRows) {
  const Tensor a = Tensor::from(std::vector<float>{1, 0, 3, 4}, {2, 2}),
               b = Tensor::from(std::vector<float>{0, 2}, {1, 2});
  const Tensor scores = cosine_similarity(a, b);
  EXPECT_FLOAT_EQ(scores.data<float>()[0], 0);
  EXPECT_FLOAT_EQ(scores.data<float>()[1], 0.8f);
  EXPECT_THROW(cosine_similarity(a, Tensor::zeros({1, 3})), Error);
}

}  // namespace
}  // namespace caracal
