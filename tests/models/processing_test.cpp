// Wav2Vec2Processor, LayoutLMv2Processor and AutoProcessor against transformers (tools/make_media_goldens.py).
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include <caracal/caracal.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::string combined(const std::string& name) { return std::string(CARACAL_TEST_DATA) + "/media/combined/" + name; }

std::string slurp(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A tensor's values as nested lists.
Json as_json(const Tensor& tensor, int dim = 0, int64_t at = 0) {
  if (dim == tensor.rank()) return tensor.data<int64_t>()[at];
  Json::Array values;
  for (int64_t i = 0; i < tensor.size(dim); i++) values.push_back(as_json(tensor, dim + 1, at * tensor.size(dim) + i));
  return values;
}
Json as_json(const std::vector<Tensor>& rows) {
  Json::Array values;
  for (const Tensor& row : rows) values.push_back(as_json(row));
  return values;
}

// The words and boxes that Tesseract found on the page note.png, so that the test needs no OCR.
class Recorded final : public OcrEngine {
 public:
  std::vector<OcrWord> recognize(const Tensor&, const OcrOptions&) override {
    const Json page = Json::parse_file(std::string(CARACAL_TEST_DATA) + "/media/pages.json").at("note");
    std::vector<OcrWord> words;
    for (size_t i = 0; i < page.at("words").as_array().size(); i++) {
      const Json::Array& box = page.at("boxes").as_array()[i].as_array();
      words.push_back({page.at("words").as_array()[i].as_string(), box[0].as_int(), box[1].as_int(),
                       box[2].as_int() - box[0].as_int(), box[3].as_int() - box[1].as_int(), 90});
    }
    return words;
  }
};

TEST(Wav2Vec2Processor, SoundAndTextEqualTransformers) {
  const Json want = Json::parse_file(combined("cases.json")).at("wav2vec2");
  const SafetensorsFile file = SafetensorsFile::open(combined("inputs.safetensors"));
  const std::vector<Tensor> sounds{file.tensor(*file.find("sound.0")), file.tensor(*file.find("sound.1"))};
  const Wav2Vec2Processor processor = Wav2Vec2Processor::from_pretrained(combined("wav2vec2"));
  EXPECT_TRUE(processor.feature_extractor().attribute("return_attention_mask").as_bool());
  const BatchFeature both = processor(sounds, {"HELLO WORLD", "A'B"});
  EXPECT_EQ(as_json(both.list("labels")), want.at("labels"));
  EXPECT_EQ(both.keys(), (std::vector<std::string>{"input_values", "attention_mask", "labels"}));
  EXPECT_EQ(both.list("input_values")[1].numel(), 33);
  EXPECT_FALSE(processor(sounds).contains("labels"));
  const BatchEncoding text = processor(std::vector<std::string>{"HELLO WORLD"});
  EXPECT_EQ(as_json(text["input_ids"]), want.at("text_only"));
  EXPECT_EQ(processor.decode(std::vector<int32_t>{5, 5, 0, 5, 4, 4, 6}).text, want.at("decoded").as_string());
}

TEST(LayoutLMv2Processor, EveryCombinationEqualsTransformers) {
  const Json cases = Json::parse_file(combined("cases.json"));
  const SafetensorsFile file = SafetensorsFile::open(combined("inputs.safetensors"));
  const std::vector<Tensor> images{file.tensor(*file.find("image.0")), file.tensor(*file.find("image.1"))};
  // OCR boxes are in thousandths of a page of a thousand by a thousand.
  const std::vector<Tensor> page{Tensor::zeros({1000, 1000, 3}, DType::U8)};
  int number = 0;
  for (const Json& c : cases.at("layoutlmv2").as_array()) {
    const bool ocr = c.at("ocr").as_bool();
    const std::string what = "case " + std::to_string(number++) + " " + c.at("call").dump();
    LayoutLMv2Processor processor = LayoutLMv2Processor::from_pretrained(combined("layoutlmv2"), {{"apply_ocr", ocr}});
    processor.image_processor().set_ocr_engine(std::make_shared<Recorded>());
    LayoutLMv2ProcessorInputs inputs;
    for (const Json& words : ocr ? Json::Array() : cases.at("words").as_array()) {
      for (inputs.words.emplace_back(); const Json& word : words.as_array())
        inputs.words.back().push_back(word.as_string());
    }
    for (const Json& boxes : ocr ? Json::Array() : cases.at("boxes").as_array()) {
      for (inputs.boxes.emplace_back(); const Json& box : boxes.as_array())
        inputs.boxes.back().push_back({box.as_array()[0].as_int(), box.as_array()[1].as_int(),
                                       box.as_array()[2].as_int(), box.as_array()[3].as_int()});
    }
    for (const auto& [key, value] : c.at("call").as_object()) {
      if (key == "questions") {
        for (const Json& question : value.as_array()) inputs.questions.push_back(question.as_string());
      } else if (key == "word_labels") {
        for (const Json& row : value.as_array()) {
          for (inputs.word_labels.emplace_back(); const Json& label : row.as_array())
            inputs.word_labels.back().push_back(label.as_int());
        }
      } else if (key == "padding") {
        inputs.tokenize.padding = value.as_bool();
      } else if (key == "truncation") {
        inputs.tokenize.truncation = value.as_bool();
      } else if (key == "max_length") {
        inputs.tokenize.max_length = value.as_int();
      } else if (key == "stride") {
        inputs.tokenize.stride = value.as_int();
      } else {
        ASSERT_EQ(key, "return_overflowing_tokens");
        inputs.tokenize.return_overflowing_tokens = value.as_bool();
      }
    }
    const LayoutLMv2Features got = processor(ocr ? page : images, inputs);
    for (const auto& [key, want] : c.at("result").as_object()) EXPECT_EQ(as_json(got.list(key)), want) << what << key;
    EXPECT_EQ(got.contains("labels"), c.at("result").contains("labels")) << what;
    ASSERT_EQ(got.list("image").size(), c.at("image_sums").as_array().size()) << what;
    for (size_t i = 0; i < got.list("image").size() && !ocr; i++) {
      int64_t sum = 0;
      for (uint8_t byte : got.list("image")[i].values<uint8_t>()) sum += byte;
      EXPECT_EQ(sum, c.at("image_sums").as_array()[i].as_int()) << what;
    }
  }
}

TEST(LayoutLMv2Processor, RefusesWhatContradicts) {
  const std::vector<Tensor> image{Tensor::zeros({20, 20, 3}, DType::U8)};
  const LayoutLMv2Processor plain = LayoutLMv2Processor::from_pretrained(combined("layoutlmv2"));
  const LayoutLMv2Processor ocr = LayoutLMv2Processor::from_pretrained(combined("layoutlmv2"), {{"apply_ocr", true}});
  const std::vector<LayoutLMv2Tokenizer::Words> words{{"hole"}};
  const std::vector<LayoutLMv2Tokenizer::Boxes> boxes{{{1, 2, 3, 4}}};
  auto code_of = [&](const LayoutLMv2Processor& processor, const LayoutLMv2ProcessorInputs& inputs) {
    try {
      processor(image, inputs);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code_of(ocr, {}), ErrorCode::not_built);  // no engine
  EXPECT_EQ(code_of(ocr, {.boxes = boxes}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(ocr, {.word_labels = {{1}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(ocr, {.words = words}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(plain, {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(plain, {.words = words}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(plain, {.questions = {"a", "b"}, .words = words, .boxes = boxes}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(plain, {.words = words, .boxes = {{}}}), ErrorCode::invalid_argument);
}

TEST(Processors, SaveWhatTransformersSaved) {
  const fs::path folder = fs::path(testing::TempDir()) / ("caracal_processing_" + std::to_string(getpid()));
  Wav2Vec2Processor::from_pretrained(combined("wav2vec2")).save_pretrained(folder / "a");
  LayoutLMv2Processor::from_pretrained(combined("layoutlmv2")).save_pretrained(folder / "b");
  EXPECT_EQ(slurp(folder / "a/processor_config.json"), slurp(combined("wav2vec2/processor_config.json")));
  EXPECT_EQ(slurp(folder / "b/processor_config.json"), slurp(combined("layoutlmv2/processor_config.json")));
  EXPECT_EQ(Wav2Vec2Processor::from_pretrained(folder / "a").tokenizer().size(), 32);
  EXPECT_TRUE(std::holds_alternative<LayoutLMv2Processor>(AutoProcessor::from_pretrained(folder / "b")));
  fs::remove_all(folder);
}

TEST(AutoProcessor, FollowsTransformersRules) {
  const fs::path folder = fs::path(testing::TempDir()) / ("caracal_auto_" + std::to_string(getpid()));
  fs::create_directories(folder);
  auto write = [&](const std::string& name, const std::string& text) { std::ofstream(folder / name) << text; };
  auto kind = [&] { return AutoProcessor::from_pretrained(folder.string()).index(); };
  EXPECT_THROW(kind(), Error);
  write("preprocessor_config.json", R"({"feature_extractor_type": "Wav2Vec2FeatureExtractor"})");
  EXPECT_EQ(kind(), 4u);
  write("preprocessor_config.json", R"({"image_processor_type": "ViTImageProcessor"})");
  EXPECT_EQ(kind(), 3u);
  write("config.json", R"({"model_type": "bert"})");
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
  EXPECT_EQ(kind(), 2u);
  write("config.json", R"({"model_type": "layoutlmv2"})");
  EXPECT_EQ(kind(), 1u);
  fs::remove(folder / "vocab.txt");
  write("vocab.json", R"({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4})");
  write("preprocessor_config.json", R"({"processor_class": "Wav2Vec2Processor"})");
  EXPECT_EQ(kind(), 0u);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace caracal
