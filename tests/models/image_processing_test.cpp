// Image processors and the feature extractor against transformers (tools/make_media_goldens.py) and the documentation.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include <caracal/caracal.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::string media_path(const std::string& name) { return std::string(CARACAL_TEST_DATA) + "/media/" + name; }

std::vector<Json> read_lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line, path));
  return lines;
}

std::string slurp(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A folder of its own that goes away.
class Processors : public testing::Test {
 protected:
  Processors() {
    std::string name = fs::temp_directory_path() / "caracal_processors_XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~Processors() override { fs::remove_all(folder); }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder / name) << text; }
  std::string path() const { return folder.string(); }

  fs::path folder;
};

std::unique_ptr<BaseImageProcessor> make_processor(const Json& of) {
  if (of.at("class").as_string() == "ViTImageProcessor") return std::make_unique<ViTImageProcessor>(of.at("arguments"));
  return std::make_unique<LayoutLMv2ImageProcessor>(of.at("arguments"));
}

// Bytes exactly, floats within 1e-6 (they are in fact equal but for what a compiler may fuse).
void expect_equal(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(name_of(got.dtype()), name_of(want.dtype())) << what;
  for (int64_t i = 0; i < got.numel(); i++) {
    if (got.dtype() == DType::F32)
      ASSERT_NEAR(got.data<float>()[i], want.data<float>()[i], 1e-6) << what << " " << i;
    else if (got.dtype() == DType::I32)
      ASSERT_EQ(got.data<int32_t>()[i], want.data<int32_t>()[i]) << what << " " << i;
    else
      ASSERT_EQ(int(got.data<uint8_t>()[i]), int(want.data<uint8_t>()[i])) << what << " " << i;
  }
}

TEST_F(Processors, ImagesEqualTransformers) {
  const SafetensorsFile file = SafetensorsFile::open(media_path("processors.safetensors"));
  const std::vector<Json> cases = read_lines(media_path("processors.jsonl"));
  ASSERT_GT(cases.size(), 50u);
  for (size_t number = 0; number < cases.size(); number++) {
    const Json& c = cases[number];
    const std::string what = c.dump();
    std::vector<Tensor> images;
    for (const Json& name : c.at("images").as_array())
      images.push_back(file.tensor(*file.find("image." + name.as_string())));
    if (c.contains("error")) {
      try {
        (*make_processor(c))(images, c.at("call"));
        ADD_FAILURE() << "accepted " << what;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << what;
        EXPECT_TRUE(std::string(error.what()).starts_with("[ViTImageProcessor")) << error.what();
      }
      continue;
    }
    const auto processor = make_processor(c);
    EXPECT_EQ(processor->to_dict().dump(2, true) + "\n", c.at("saved").as_string());
    const BatchFeature features = (*processor)(images, c.at("call"));
    ASSERT_EQ(int64_t(features.list("pixel_values").size()), c.at("outputs").as_int()) << what;
    for (size_t i = 0; i < features.list("pixel_values").size(); i++) {
      const std::string name = "out." + std::to_string(number) + "." + std::to_string(i);
      expect_equal(features.list("pixel_values")[i], file.tensor(*file.find(name)), what);
    }
  }
}

TEST_F(Processors, ThreadsChangeNothing) {
  const SafetensorsFile file = SafetensorsFile::open(media_path("processors.safetensors"));
  const Tensor image = file.tensor(*file.find("image.a"));
  ViTImageProcessor processor({{"size", 300}});
  const Tensor one = processor(image)["pixel_values"];
  processor.set_runtime(std::make_shared<Runtime>(RuntimeOptions{.threads = 3}));
  expect_equal(processor(image)["pixel_values"], one, "threads");
}

// The listings of create_a_model.
TEST_F(Processors, PrintAsDocumented) {
  EXPECT_EQ(ViTImageProcessor().str(), R"(ViTImageProcessor {
  "do_normalize": true,
  "do_resize": true,
  "image_processor_type": "ViTImageProcessor",
  "image_mean": [
    0.5,
    0.5,
    0.5
  ],
  "image_std": [
    0.5,
    0.5,
    0.5
  ],
  "resample": 2,
  "size": 224
}
)");
  const ViTImageProcessor custom(
      {{"resample", "PIL.Image.BOX"}, {"do_normalize", false}, {"image_mean", Json::Array{0.3, 0.3, 0.3}}});
  EXPECT_EQ(custom.str(), R"(ViTImageProcessor {
  "do_normalize": false,
  "do_resize": true,
  "image_processor_type": "ViTImageProcessor",
  "image_mean": [
    0.3,
    0.3,
    0.3
  ],
  "image_std": [
    0.5,
    0.5,
    0.5
  ],
  "resample": "PIL.Image.BOX",
  "size": 224
}
)");
  EXPECT_EQ(Wav2Vec2FeatureExtractor().str(), R"(Wav2Vec2FeatureExtractor {
  "do_normalize": true,
  "feature_extractor_type": "Wav2Vec2FeatureExtractor",
  "feature_size": 1,
  "padding_side": "right",
  "padding_value": 0.0,
  "return_attention_mask": false,
  "sampling_rate": 16000
}
)");
  EXPECT_EQ(Wav2Vec2FeatureExtractor({{"sampling_rate", 8000}, {"do_normalize", false}}).str(),
            R"(Wav2Vec2FeatureExtractor {
  "do_normalize": false,
  "feature_extractor_type": "Wav2Vec2FeatureExtractor",
  "feature_size": 1,
  "padding_side": "right",
  "padding_value": 0.0,
  "return_attention_mask": false,
  "sampling_rate": 8000
}
)");
}

TEST_F(Processors, SaveAndLoadOldAndNewForms) {
  const ViTImageProcessor processor({{"size", 32}, {"resample", 3}, {"crop_pct", 0.9}});
  processor.save_pretrained(path());
  EXPECT_EQ(slurp(folder / "preprocessor_config.json"), processor.to_dict().dump(2, true) + "\n");
  EXPECT_EQ(ViTImageProcessor::from_pretrained(path()).to_dict(), processor.to_dict());
  EXPECT_EQ(ViTImageProcessor::from_pretrained(path(), {{"resample", 1}}).attribute("resample"), Json(1));
  EXPECT_EQ(processor.to_dict().at("crop_pct"), Json(0.9));
  // As old checkpoints have it.
  write("preprocessor_config.json",
        R"({"do_resize": true, "size": 384, "resample": 2, "feature_extractor_type": "ViTFeatureExtractor"})");
  const auto old = AutoImageProcessor::from_pretrained(path());
  EXPECT_STREQ(old->class_name(), "ViTImageProcessor");
  EXPECT_EQ(old->attribute("size"), (Json{{"height", 384}, {"width", 384}}));
  // Backends differ in nothing here.
  const auto pil = AutoImageProcessor::from_pretrained(path(), {{"backend", "pil"}, {"size", 8}});
  EXPECT_FALSE(pil->to_dict().contains("backend"));
  EXPECT_EQ(pil->attribute("size"), (Json{{"height", 8}, {"width", 8}}));
  EXPECT_EQ((*old)(Tensor::zeros({20, 20, 3}, DType::U8))["pixel_values"].shape(), (Shape{1, 3, 384, 384}));
}

TEST_F(Processors, AutoClassesFollowTransformersRules) {
  auto image_class = [&] { return std::string(AutoImageProcessor::from_pretrained(path())->class_name()); };
  EXPECT_THROW(image_class(), Error);  // no file
  write("preprocessor_config.json", R"({"size": 8})");
  EXPECT_THROW(image_class(), Error);  // nothing names a class
  write("config.json", R"({"model_type": "layoutlmv2"})");
  EXPECT_EQ(image_class(), "LayoutLMv2ImageProcessor");
  write("config.json", R"({"model_type": "layoutlmv2", "image_processor_type": "ViTImageProcessor"})");
  EXPECT_EQ(image_class(), "ViTImageProcessor");
  write("preprocessor_config.json", R"({"size": 8, "feature_extractor_type": "LayoutLMv2FeatureExtractor"})");
  EXPECT_EQ(image_class(), "LayoutLMv2ImageProcessor");
  write("preprocessor_config.json", R"({"size": 8, "image_processor_type": "ViTImageProcessorFast"})");
  EXPECT_EQ(image_class(), "ViTImageProcessor");
  EXPECT_EQ(AutoImageProcessor::from_pretrained((folder / "preprocessor_config.json").string())->attribute("size"),
            (Json{{"height", 8}, {"width", 8}}));
  write(
      "processor_config.json",
      R"({"image_processor": {"image_processor_type": "LayoutLMv2ImageProcessor", "size": 9}, "processor_class": "X"})");
  EXPECT_EQ(image_class(), "LayoutLMv2ImageProcessor");
  write("processor_config.json", R"({"image_processor": {"image_processor_type": "CLIPImageProcessor"}})");
  try {
    image_class();
    ADD_FAILURE() << "accepted CLIP";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("'CLIPImageProcessor'"), std::string::npos) << error.what();
  }

  auto rate = [&] { return AutoFeatureExtractor::from_pretrained(path()).sampling_rate(); };
  write("preprocessor_config.json", R"({"sampling_rate": 8000})");
  EXPECT_THROW(rate(), Error);
  write("config.json", R"({"model_type": "wav2vec2"})");
  EXPECT_EQ(rate(), 8000);
  write("preprocessor_config.json", R"({"sampling_rate": 8000, "feature_extractor_type": "WhisperFeatureExtractor"})");
  EXPECT_THROW(rate(), Error);
  write("processor_config.json",
        R"({"feature_extractor": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 4000}})");
  EXPECT_EQ(rate(), 4000);
}

TEST_F(Processors, FilesAreChecked) {
  auto refuses = [&](const std::string& text, const std::string& mentions) {
    write("preprocessor_config.json", text);
    try {
      ViTImageProcessor::from_pretrained(path());
      ADD_FAILURE() << "accepted " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(mentions), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(path()), std::string::npos) << error.what();
    }
  };
  refuses("[]", "object");
  refuses("{", "preprocessor_config.json");
  refuses(R"({"size": "big"})", "size");
  refuses(R"({"size": {"height": 1.5, "width": 2}})", "size");
  refuses(R"({"size": [1, 2, 3]})", "size");
  refuses(R"({"do_resize": 1})", "do_resize");
  refuses(R"({"resample": -1})", "resample");
  refuses(R"({"resample": "PIL.Image.SHARP"})", "resample");
  refuses(R"({"image_mean": ["a"]})", "image_mean");
  refuses(R"({"rescale_factor": {}})", "rescale_factor");
  // A size that would take all memory is refused when it is used.
  write("preprocessor_config.json", R"({"size": {"height": 9000000000000000000, "width": 9000000000000000000}})");
  EXPECT_THROW(ViTImageProcessor::from_pretrained(path())(Tensor::zeros({2, 2, 3}, DType::U8)), Error);
  write("preprocessor_config.json", R"({"size": {"shortest_edge": 100000}})");
  EXPECT_THROW(ViTImageProcessor::from_pretrained(path())(Tensor::zeros({1, 5000, 3}, DType::U8)), Error);
}

TEST_F(Processors, SoundEqualsTransformers) {
  const SafetensorsFile file = SafetensorsFile::open(media_path("extractor.safetensors"));
  const std::vector<Json> cases = read_lines(media_path("extractor.jsonl"));
  ASSERT_GT(cases.size(), 40u);
  for (size_t number = 0; number < cases.size(); number++) {
    const Json& c = cases[number];
    const std::string what = c.dump();
    std::vector<Tensor> sounds;
    for (const Json& name : c.at("sounds").as_array())
      sounds.push_back(file.tensor(*file.find("sound." + name.as_string())));
    FeatureExtractorOptions options;
    for (const auto& [key, value] : c.at("call").as_object()) {
      if (key == "padding") options.padding = value.as_string();
      if (key == "max_length") options.max_length = value.as_int();
      if (key == "truncation") options.truncation = value.as_bool();
      if (key == "pad_to_multiple_of") options.pad_to_multiple_of = value.as_int();
      if (key == "return_attention_mask") options.return_attention_mask = value;
      if (key == "sampling_rate") options.sampling_rate = value.as_int();
    }
    const Wav2Vec2FeatureExtractor extractor(c.at("arguments"));
    if (c.contains("error")) {
      EXPECT_THROW(extractor(sounds, options), Error) << what;
      continue;
    }
    EXPECT_EQ(extractor.to_dict().dump(2, true) + "\n", c.at("saved").as_string());
    const BatchFeature features = extractor(sounds, options);
    ASSERT_EQ(features.keys().size(), c.at("keys").as_array().size()) << what;
    for (const std::string& key : features.keys()) {
      for (size_t i = 0; i < sounds.size(); i++) {
        const std::string name = "out." + std::to_string(number) + "." + key + "." + std::to_string(i);
        expect_equal(features.list(key)[i], file.tensor(*file.find(name)), what + key);
      }
    }
  }
}

TEST_F(Processors, SoundIsChecked) {
  const Wav2Vec2FeatureExtractor extractor;
  EXPECT_THROW(extractor(Tensor::zeros({2, 3, 4})), Error);
  EXPECT_EQ(extractor(Tensor::zeros({2, 30}))["input_values"].shape(), (Shape{2, 30}));
  EXPECT_THROW(extractor(std::vector<Tensor>{Tensor::zeros({30}), Tensor::zeros({31})})["input_values"], Error);
  EXPECT_THROW(extractor(Tensor::zeros({3}), {.padding = "longest", .pad_to_multiple_of = -1}), Error);
  EXPECT_THROW(extractor(Tensor::zeros({3}), {.padding = "max_length", .max_length = INT64_MAX}), Error);
  EXPECT_THROW(Wav2Vec2FeatureExtractor({{"sampling_rate", 0}}), Error);
  EXPECT_THROW(Wav2Vec2FeatureExtractor({{"padding_side", "up"}}), Error);
  EXPECT_THROW(Wav2Vec2FeatureExtractor({{"do_normalize", 1}}), Error);
  Wav2Vec2FeatureExtractor({{"sampling_rate", 4000}}).save_pretrained(path());
  EXPECT_EQ(Wav2Vec2FeatureExtractor::from_pretrained(path()).sampling_rate(), 4000);
}

TEST_F(Processors, ModelsTakeWhatProcessorsGive) {
  ViTConfig config({{"image_size", 32}, {"hidden_size", 32}, {"num_hidden_layers", 1}, {"num_attention_heads", 2}});
  const auto model = AutoModel::from_config(config);
  const ViTImageProcessor processor({{"size", 32}});
  const Tensor image = Tensor::zeros({40, 50, 3}, DType::U8);
  EXPECT_EQ(model(processor({image, image})).last_hidden_state.shape(), (Shape{2, 5, 32}));
}

// A page reader of the caller's own.
class TwoWords final : public OcrEngine {
 public:
  std::vector<OcrWord> recognize(const Tensor& image, const OcrOptions& options) override {
    seen = image.shape().str() + " " + options.lang + " " + options.config;
    return {{"left", 10, 20, 30, 15, 90}, {" \xc2\xa0", 0, 0, 1, 1, 0}, {"right", 50, 20, 49, 15, 80}};
  }
  std::string seen;
};

TEST_F(Processors, LayoutTakesAnyOcrEngine) {
  LayoutLMv2ImageProcessor processor({{"ocr_lang", "deu"}, {"tesseract_config", "--psm 6"}});
  const Tensor page = Tensor::zeros({60, 99, 3}, DType::U8);
  try {
    processor(page);
    ADD_FAILURE() << "read without an engine";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_built);
  }
  const auto engine = std::make_shared<TwoWords>();
  processor.set_ocr_engine(engine);
  const BatchFeature features = processor({page, page});
  EXPECT_EQ(engine->seen, "(60, 99, 3) deu --psm 6");
  ASSERT_EQ(features.words.size(), 2u);
  EXPECT_EQ(features.words[1], (std::vector<std::string>{"left", "right"}));
  EXPECT_EQ(features.boxes[1], (std::vector<BatchFeature::Box>{{101, 333, 404, 583}, {505, 333, 1000, 583}}));
  EXPECT_EQ(features["pixel_values"].shape(), (Shape{2, 3, 224, 224}));
  EXPECT_TRUE(processor(page, {{"apply_ocr", false}}).words.empty());
}

}  // namespace
}  // namespace caracal
