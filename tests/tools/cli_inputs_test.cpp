// The commands that take texts, images and sound: tokenize, preprocess, pipeline.
#include "cli_testing.h"

#include <sstream>

#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>
#include <caracal/models/vit/image_processing_vit.h>
#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>
#include <caracal/tests/sanitized.h>

namespace caracal {
namespace {

TEST_F(Cli, HostileTextIsEscapedAndCut) {
  fs::copy(model, folder / "hostile");
  fs::permissions(folder / "hostile/config.json", fs::perms::owner_write, fs::perm_options::add);
  // ESC, DEL and the C1 control CSI, then é, in a value that the error message quotes.
  std::string config = slurp(model + "/config.json");
  config.replace(config.find("\"gelu\""), 6,
                 "\"\\u001b]0;x\\u0007\\u007f\\u009b31m\\u00e9" + std::string(5000, 'A') + "\"");
  write("hostile/config.json", config);
  const Result r = caracal("bench --model " + (folder / "hostile").string());
  expect_one_line_error(r,
                        "\\x1b]0;x\\x07\\x7f\\xc2\\x9b31m\xc3\xa9"
                        "AAA");
  EXPECT_LT(r.err.size(), 1100u);
  EXPECT_TRUE(r.err.ends_with("A…\n")) << r.err;
  const Result usage = caracal("version --dtype \"$(printf 'dan\\033ce')\"");
  EXPECT_EQ(usage.status, 2);
  EXPECT_NE(usage.err.find("dan\\x1bce"), std::string::npos) << usage.err;
  // Bytes that are no UTF-8, in a text that is echoed.
  fs::copy(model + "/config.json", folder / "hostile/config.json", fs::copy_options::overwrite_existing);
  write_vocab("hostile/vocab.txt");
  const Result echoed = caracal("pipeline feature-extraction --model " + (folder / "hostile").string() + " < " +
                                write("text", "a \x9b\xc0\x9b cat\n"));
  EXPECT_EQ(echoed.status, 0) << echoed.err;
  EXPECT_NE(echoed.out.find("a \\x9b\\xc0\\x9b cat\n"), std::string::npos) << echoed.out;
}

TEST_F(Cli, BenchOfATokenizer) {
  std::string text;
  for (int i = 0; i < 200; i++) text += "A cats sit.\n";
  const std::string command = " --seconds 0.02 --threads 3 --json --tokenize " + write("text", text);
  const Result r = caracal("bench --model " + write_vocab() + command);
  ASSERT_EQ(r.status, 0) << r.err;
  const Json report = Json::parse(r.out, "bench");
  for (const char* key : {"mb_per_s", "lines_per_s", "tokens_per_s", "load_ms"})
    EXPECT_GT(report.at(key).as_double(), 0) << key;
  EXPECT_EQ(report.at("threads"), Json(3));
  EXPECT_EQ(report.at("tokenizer"), Json("BertTokenizer"));
  // An error on a thread of the pool is an error like others.
  std::string broken = R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],)"
                       R"("normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,)"
                       R"("decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]",)"
                       R"("continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"a": 0}}})";
  expect_one_line_error(caracal("bench --model " + write("tokenizer.json", broken) + command), "[UNK]");
}

TEST_F(Cli, PipelineResultAndTheWarningOfMissingWeights) {
  fs::copy(data_path("models/bert/from_masked_lm"), folder / "model");
  write_vocab("model/vocab.txt");
  const std::string command = "pipeline feature-extraction --json --model " + (folder / "model").string();
  const Result r = caracal(command + " 'a cats' .");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 2);
  const Json result = Json::parse(r.out.substr(0, r.out.find('\n')), "pipeline");
  ModelInputs inputs = make_inputs({{2, 5, 6, 7, 3}});
  const Tensor want = AutoModel::from_pretrained(data_path("models/bert/from_masked_lm"))(inputs).last_hidden_state;
  const Json::Array& rows = result.as_array().at(0).as_array();
  ASSERT_EQ(rows.size(), 5u);
  for (size_t s = 0; s < rows.size(); s++)
    for (size_t i = 0; i < rows[s].as_array().size(); i++)
      EXPECT_NEAR(rows[s].as_array()[i].as_double(), want.data<float>()[int64_t(s) * want.size(2) + int64_t(i)], 2e-5);
  EXPECT_EQ(r.err, "");  // features need no pooler
  const Result run = caracal("run --model " + (folder / "model").string() + " --inputs " +
                             write_inputs(folder / "model") + " --outputs " + (folder / "out").string());
  EXPECT_EQ(run.status, 0);
  EXPECT_TRUE(run.err.starts_with("caracal: warning: BertModel LOAD REPORT from: ")) << run.err;
  EXPECT_NE(run.err.find("\npooler.dense.weight "), std::string::npos) << run.err;
}

TEST_F(Cli, PipelineReportsBadInputsAndDoesTheOthers) {
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy(data_path("models/bert/sequence_5/") + file, folder);
  write_vocab();
  const std::string command = "pipeline auto --json --batch 4 --model " + folder.string();
  const std::string good = write("good", "a cat\ncats sit.\n"),
                    lines = write("lines", "a cat\n\n" + std::string(90, '.') + "\ncats sit.\n");
  const Result all = caracal(command + " < " + good), r = caracal(command + " < " + lines);
  EXPECT_EQ(all.status, 0) << all.err;
  EXPECT_EQ(std::count(all.out.begin(), all.out.end(), '\n'), 2);
  EXPECT_EQ(r.status, 1);
  EXPECT_EQ(r.out, all.out);
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 2) << r.err;
  EXPECT_NE(r.err.find("caracal: error: [INPUT] expected a text or a file but got an empty one\n"), std::string::npos);
  EXPECT_NE(r.err.find("max_position_embeddings"), std::string::npos) << r.err;
  // Two inputs, and one error about both.
  expect_one_line_error(caracal(command + " --set top_n=2 < " + good), "got 'top_n'");
  expect_one_line_error(caracal("pipeline question-answering --model " + folder.string() + " a"),
                        "BertForSequenceClassification");
  expect_one_line_error(caracal("pipeline sentence-similarity --model " + folder.string() + " a ''"), "an empty one");
  const Result shown = caracal("pipeline sentiment-analysis --set top_k=2 --model " + folder.string() + " 'a cat'");
  EXPECT_TRUE(shown.out.starts_with("a cat\n  0.")) << shown.out;
  EXPECT_EQ(std::count(shown.out.begin(), shown.out.end(), '\n'), 3);
}

TEST_F(Cli, PipelineReportsBadFilesAndDoesTheOthers) {
#ifdef CARACAL_HAS_MEDIA
  const std::string trained = data_path("trained/"), missing = folder / "missing.png";
  const struct {
    std::string task, model, good, wrong, answer;
  } cases[] = {
      {"image-classification", "vit-digits", "7a.png", "vit-digits/config.json", "7"},
      {"auto", "wav2vec2-spoken-digits", "pi.wav", "vit-digits/7a.png", "three one four"},
  };
  for (const auto& c : cases) {
    const std::string good = trained + c.model + "/" + c.good, wrong = trained + c.wrong;
    const Result r = caracal("pipeline " + c.task + " --batch 2 --model " + trained + c.model + " " + missing + " " +
                             good + " " + wrong + " " + trained + " " + good);
    EXPECT_EQ(r.status, 1);
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 3) << r.err;
    EXPECT_NE(r.err.find("[" + missing + "] expected a readable file"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("[" + wrong + "] expected"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("but got a directory"), std::string::npos) << r.err;
    const size_t first = r.out.find(c.answer + "\n");
    EXPECT_NE(r.out.find(c.answer + "\n", first + 1), std::string::npos) << r.out;
  }
#else
  GTEST_SKIP() << "built without caracal::media";
#endif
}

// A bar for many files, on a terminal only (script makes one of both streams).
TEST_F(Cli, PipelineShowsItsProgress) {
#ifdef CARACAL_HAS_MEDIA
  const std::string checkpoint = data_path("trained/wav2vec2-spoken-digits");
  std::string command = "pipeline automatic-speech-recognition --threads 1 --model " + checkpoint;
#ifdef CARACAL_SANITIZED
  constexpr int kFiles = 30;
#else
  constexpr int kFiles = 300;
#endif
  for (int i = 0; i < kFiles; i++) command += " " + checkpoint + "/phone.flac";
  const std::string shown = folder / "shown";
  ASSERT_EQ(std::system(("script -qec '" CARACAL_CLI " " + command + "' /dev/null > " + shown).c_str()), 0);
  EXPECT_NE(slurp(shown).find("/" + std::to_string(kFiles) + " files, "), std::string::npos);
  EXPECT_EQ(caracal(command).err, "");
#else
  GTEST_SKIP() << "built without caracal::media";
#endif
}

TEST_F(Cli, WarnsOfTheCodeOfATokenizer) {
  std::filesystem::create_directories(folder / "model");
  write_vocab("model/vocab.txt");
  write("model/config.json", R"({"model_type": "bert"})");
  write("model/tokenizer_config.json", R"({"auto_map": {"AutoTokenizer": ["evil.py", null]}})");
  const std::string from = " --model " + (folder / "model").string() + " < ";
  for (const Result& r :
       {caracal("tokenize" + from + write("lines", "a\n")), caracal("detokenize" + from + write("ids", "[5]\n"))}) {
    EXPECT_EQ(r.status, 0);
    EXPECT_EQ(r.err, "caracal: warning: " + (folder / "model/tokenizer_config.json").string() +
                         ": auto_map names Python code to run in the place of this class: ignored\n");
  }
}

TEST_F(Cli, TokenizeAndBack) {
  const std::string tokenizer = write_vocab(), lines = write("lines", "A cats\nsit.\n"),
                    pairs = write("pairs", "a\tcat\n");
  Result r = caracal("tokenize --model " + tokenizer + " < " + lines);
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(
      r.out.substr(0, r.out.find('\n')),
      R"({"input_ids": [2, 5, 6, 7, 3], "token_type_ids": [0, 0, 0, 0, 0], "attention_mask": [1, 1, 1, 1, 1], "special_tokens_mask": [1, 0, 0, 0, 1], "tokens": ["[CLS]", "a", "cat", "##s", "[SEP]"], "offset_mapping": [[0, 0], [0, 1], [2, 5], [5, 6], [0, 0]]})");
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 2);
  EXPECT_NE(caracal("tokenize --pair --model " + tokenizer + " < " + pairs).out.find("\"input_ids\": [2, 5, 3, 6, 3]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --json --model " + tokenizer + " < " +
                    write("json", R"(["a", "cat"])"
                                  "\n"))
                .out.find("\"input_ids\": [2, 5, 3, 6, 3]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --no-special-tokens --max-length 1 --model " + tokenizer + " < " + lines)
                .out.find("\"input_ids\": [5]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --padding longest --model " + tokenizer + " < " + lines)
                .out.find("\"attention_mask\": [1, 1, 1, 1, 0]"),
            std::string::npos);
  EXPECT_NE(caracal("tokenize --padding max_length --max-length 7 --model " + tokenizer + " < " + lines)
                .out.find("\"attention_mask\": [1, 1, 1, 1, 1, 0, 0]"),
            std::string::npos);
  EXPECT_EQ(
      caracal("detokenize --skip-special-tokens --model " + tokenizer + " < " + write("ids", "[2, 5, 6, 7, 3]\n")).out,
      "a cats\n");
  expect_one_line_error(caracal("tokenize --pair --model " + tokenizer + " < " + lines), "tab");
  // A line for each chunk of an input, overlapping by one token.
  r = caracal("tokenize --no-special-tokens --max-length 3 --stride 1 --model " + tokenizer + " < " +
              write("long", "a cats sit.\n"));
  std::string ids;
  std::istringstream chunks(r.out);
  for (std::string line; std::getline(chunks, line);) ids += Json::parse(line, "tokenize").at("input_ids").dump();
  EXPECT_EQ(ids, "[5, 6, 7][7, 8, 9]");
  EXPECT_EQ(caracal("tokenize --slow --model " + tokenizer + " < " + lines).out,
            caracal("tokenize --model " + tokenizer + " < " + lines).out);
  // Bytes that are not UTF-8 and empty lines are texts like others.
  EXPECT_EQ(caracal("tokenize --model " + tokenizer + " < " + write("bytes", "\xff\xfe a\n\n")).status, 0);
}

TEST_F(Cli, Preprocess) {
  const std::string images = data_path("media/images/"), sounds = data_path("media/audio/"), out = folder / "out";
  ViTImageProcessor({{"size", 20}}).save_pretrained((folder / "vit").string());
  Wav2Vec2FeatureExtractor().save_pretrained((folder / "wav2vec2").string());
  const std::string vit = "preprocess --outputs " + out + " --model " + (folder / "vit").string(),
                    wav2vec2 = "preprocess --outputs " + out + " --model " + (folder / "wav2vec2").string();
  EXPECT_EQ(caracal(vit).status, 2);
  EXPECT_EQ(caracal(vit + " --image x --audio y").status, 2);
  expect_one_line_error(caracal(vit + " --image " + images + "absent.png"), "absent.png");
  const std::string files = " --image " + images + "rgb.png " + images + "borrowed_tiny_1x1_gray.jpg";
#ifdef CARACAL_HAS_MEDIA
  ASSERT_EQ(caracal(vit + files + " --set size=[9,8]").status, 0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("pixel_values")).shape(), (Shape{2, 3, 9, 8}));
  }
  ASSERT_EQ(caracal(vit + files + " --set do_resize=false").status, 0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("pixel_values.1")).shape(), (Shape{3, 1, 1}));
  }
  expect_one_line_error(caracal(vit + files + " --set sise=3"), "'sise'");
  expect_one_line_error(caracal(vit + " --image " + images + "borrowed_bad_truncated.jpg"), "bad_truncated");
  expect_one_line_error(caracal(vit + " --audio " + sounds + "s16.wav"), "Wav2Vec2FeatureExtractor");
  ASSERT_EQ(caracal(wav2vec2 + " --audio " + sounds + "s16.wav " + sounds + "s16.flac").status, 0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("input_values.0")).numel(), 2400);
  }
  ASSERT_EQ(
      caracal(wav2vec2 + " --set padding=longest --set return_attention_mask=true --set do_normalize=false --audio " +
              sounds + "s16.wav " + sounds + "s16.flac")
          .status,
      0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("input_values")).shape(), (Shape{2, 2400}));
    EXPECT_EQ(file.tensor(*file.find("attention_mask")).data<int32_t>()[3000], 1);
    EXPECT_EQ(file.tensor(*file.find("attention_mask")).data<int32_t>()[4799], 0);
  }
  fs::copy(data_path("media/combined/wav2vec2"), folder / "speech", fs::copy_options::recursive);
  ASSERT_EQ(caracal("preprocess --text HELLO --outputs " + out + " --model " + (folder / "speech").string() +
                    " --audio " + sounds + "s16.flac")
                .status,
            0);
  {
    const SafetensorsFile file = SafetensorsFile::open(out);
    EXPECT_EQ(file.tensor(*file.find("labels")).shape(), (Shape{1, 5}));
  }
  expect_one_line_error(caracal(vit + files + " --text why"), "--text");
  expect_one_line_error(caracal(wav2vec2 + " --set max_lenght=3 --audio " + sounds + "s16.wav"), "'max_lenght'");
#else
  expect_one_line_error(caracal(vit + files), "caracal::media");
#endif
}

TEST_F(Cli, PreprocessReadsPages) {
#ifdef CARACAL_HAS_OCR
  const std::string out = folder / "out";
  LayoutLMv2ImageProcessor().save_pretrained((folder / "layoutlmv2").string());
  ASSERT_EQ(caracal("preprocess --outputs " + out + " --model " + (folder / "layoutlmv2").string() + " --image " +
                    data_path("media/pages/note.png"))
                .status,
            0);
  const SafetensorsFile file = SafetensorsFile::open(out);
  EXPECT_EQ(file.tensor(*file.find("pixel_values")).dtype(), DType::U8);
  const Json expected = Json::parse_file(data_path("media/pages.json")).at("note");
  EXPECT_EQ(file.metadata().at("words"), Json(Json::Array{expected.at("words")}).dump());
  EXPECT_EQ(file.metadata().at("boxes"), Json(Json::Array{expected.at("boxes")}).dump());
  // With the tokenizer's files beside it, the whole processor.
  fs::copy(data_path("media/combined/layoutlmv2"), folder / "whole", fs::copy_options::recursive);
  ASSERT_EQ(
      caracal(
          "preprocess --set apply_ocr=true --set max_length=8 --set truncation=true --text 'what is it?' --outputs " +
          out + " --model " + (folder / "whole").string() + " --image " + data_path("media/pages/note.png"))
          .status,
      0);
  const SafetensorsFile whole = SafetensorsFile::open(out);
  EXPECT_EQ(whole.tensor(*whole.find("bbox")).shape(), (Shape{1, 8, 4}));
  EXPECT_EQ(whole.tensor(*whole.find("image")).shape(), (Shape{1, 3, 224, 224}));
#else
  GTEST_SKIP() << "built without caracal::ocr";
#endif
}

TEST_F(Cli, LinesComeOutAsTheyGoIn) {
  // The second line is sent only when the answer to the first one is there; after 10 s it never is.
  const std::string tokenizer = write_vocab(), out = folder / "out";
  auto answers = [&](const std::string& command, const std::string& line) {
    const std::string dialogue = "(echo '" + line + "'; i=0; while [ ! -s " + out +
                                 " ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; [ -s " + out + " ] && echo '" +
                                 line + "') | " CARACAL_CLI " " + command + " --model " + tokenizer + " | cat > " + out;
    EXPECT_EQ(std::system(dialogue.c_str()), 0);
    const std::string text = slurp(out);
    fs::remove(out);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(answers("tokenize", "a cat"), 2);
  EXPECT_EQ(answers("detokenize", "[5, 6]"), 2);
}

}  // namespace
}  // namespace caracal
