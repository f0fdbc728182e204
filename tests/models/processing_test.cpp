// Wav2Vec2Processor, LayoutLMv2Processor and AutoProcessor against transformers (tools/make_media_goldens.py).
#include <unistd.h>

#include <algorithm>
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

std::vector<Tensor> rows_of(const Json& rows, DType dtype) {
  std::vector<Tensor> tensors;
  for (const Json& row : rows.as_array()) {
    std::vector<float> values;
    for (const Json& value : row.as_array()) values.push_back(float(value.as_double()));
    tensors.push_back(Tensor::from(values, {int64_t(values.size())}).to(dtype));
  }
  return tensors;
}

TEST(Wav2Vec2Processor, PadsAsTransformers) {
  const Wav2Vec2Processor processor = Wav2Vec2Processor::from_pretrained(combined("wav2vec2"));
  const Json cases = Json::parse_file(combined("pad.json"));
  ASSERT_GT(cases.as_array().size(), 20u);
  for (const Json& c : cases.as_array()) {
    FeatureExtractorOptions options{.padding = "longest"};
    for (const auto& [key, value] : c.at("call").as_object()) {
      if (key == "padding") options.padding = value.is_string() ? value.as_string() : "";
      if (key == "max_length") options.max_length = value.as_int();
      if (key == "truncation") options.truncation = value.as_bool();
      if (key == "pad_to_multiple_of") options.pad_to_multiple_of = value.as_int();
      if (key == "return_attention_mask") options.return_attention_mask = value;
    }
    BatchFeature features;
    std::vector<std::vector<int32_t>> labels;
    for (const auto& [key, rows] : c.at("features").is_null() ? Json::Object() : c.at("features").as_object())
      features.set(key, rows_of(rows, key == "input_values" ? DType::F32 : DType::I32));
    for (const Json& row : c.at("labels").is_null() ? Json::Array() : c.at("labels").as_array()) {
      for (labels.emplace_back(); const Json& id : row.as_array()) labels.back().push_back(int32_t(id.as_int()));
    }
    auto pad = [&] {
      if (labels.empty()) return processor.pad(features, options);
      return features.keys().empty() ? processor.pad(labels, options) : processor.pad(features, labels, options);
    };
    if (c.contains("error")) {
      EXPECT_THROW(pad(), Error) << c.dump();
      continue;
    }
    const BatchFeature got = pad();
    ASSERT_EQ(got.keys().size(), c.at("result").as_object().size()) << c.dump();
    for (const auto& [key, rows] : c.at("result").as_object()) {
      const std::vector<Tensor> want = rows_of(rows, DType::F32);
      ASSERT_EQ(got.list(key).size(), want.size()) << c.dump();
      for (size_t i = 0; i < want.size(); i++) {
        const Tensor row = got.list(key)[i].to(DType::F32);
        EXPECT_TRUE(std::ranges::equal(row.values<float>(), want[i].values<float>())) << key << " " << i << c.dump();
      }
    }
  }
}

TEST(Wav2Vec2Processor, PadIsChecked) {
  const Wav2Vec2Processor processor = Wav2Vec2Processor::from_pretrained(combined("wav2vec2"));
  BatchFeature features;
  EXPECT_THROW(processor.pad(features), Error);  // no input_values
  features.set("input_values", {Tensor::zeros({2, 3})});
  EXPECT_THROW(processor.pad(features), Error);
  features.set("input_values", {Tensor::zeros({3})});
  EXPECT_NO_THROW(processor.pad(features));
  features.set("attention_mask", {Tensor::zeros({2}, DType::I32)});
  EXPECT_THROW(processor.pad(features), Error);
  features.set("attention_mask", {});
  EXPECT_THROW(processor.pad(features), Error);
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

// "Create a custom architecture" and the AutoClass tutorial on processors; their image processors' and feature
// extractors' listings are in image_processing_test.
TEST(Processors, DocumentedExamples) {
  const Wav2Vec2FeatureExtractor feature_extractor({{"padding_value", 1.0}, {"do_normalize", true}});
  const Wav2Vec2CTCTokenizer tokenizer(Json{{"vocab_file", combined("wav2vec2/vocab.json")}});
  const Wav2Vec2Processor processor(feature_extractor, tokenizer);
  EXPECT_EQ(processor.feature_extractor().attribute("padding_value"), Json(1.0));
  // The padding value shows in what is not normalised: pad() of samples as they are.
  BatchFeature features;
  features.set("input_values", {Tensor::zeros({3}), Tensor::zeros({1})});
  EXPECT_EQ(processor.pad(features).list("input_values")[1].data<float>()[2], 1.0f);
  EXPECT_EQ(processor.model_input_names(), (std::vector<std::string>{"input_values", "attention_mask", "labels"}));

  const auto image_processor = AutoImageProcessor::from_pretrained(combined("layoutlmv2"));
  EXPECT_STREQ(image_processor->class_name(), "LayoutLMv2ImageProcessor");
  const AnyProcessor any = AutoProcessor::from_pretrained(combined("layoutlmv2"));
  const auto& layout = std::get<LayoutLMv2Processor>(any);
  EXPECT_EQ(
      layout.decode(
          layout.tokenizer()(LayoutLMv2Tokenizer::Words{"hole"}, LayoutLMv2Tokenizer::Boxes{{1, 2, 3, 4}}).input_ids(0),
          true),
      "hole");
  EXPECT_EQ(layout.model_input_names().size(), 5u);
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
