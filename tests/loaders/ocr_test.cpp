// Tesseract against pytesseract as LayoutLMv2ImageProcessor uses it (tools/make_media_goldens.py).
#include <thread>

#include <caracal/loaders/image.h>
#include <caracal/loaders/ocr_tesseract.h>
#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::data_path;

Tensor page(const std::string& name) { return load_image(data_path("media/pages/" + name + ".png")); }

std::vector<std::string> words_of(const std::vector<OcrWord>& found) {
  std::vector<std::string> words;
  for (const OcrWord& word : found) words.push_back(word.text);
  return words;
}

TEST(Ocr, WordsAndBoxesEqualPytesseracts) {
  LayoutLMv2ImageProcessor processor;
  processor.set_ocr_engine(std::make_shared<TesseractEngine>());
  const Json expected = Json::parse_file(data_path("media/pages.json"));
  ASSERT_EQ(expected.as_object().size(), 4u);
  for (const auto& [name, want] : expected.as_object()) {
    const size_t space = std::min(name.find(' '), name.size());
    const std::string config = space < name.size() ? name.substr(space + 1) : "";
    const BatchFeature got = processor(page(name.substr(0, space)), {{"tesseract_config", config}});
    Json::Array words(got.words[0].begin(), got.words[0].end()), boxes;
    for (const BatchFeature::Box& box : got.boxes[0]) boxes.emplace_back(Json::Array(box.begin(), box.end()));
    EXPECT_EQ(Json(words).dump(), want.at("words").dump()) << name;
    EXPECT_EQ(Json(boxes).dump(), want.at("boxes").dump()) << name;
  }
}

TEST(Ocr, ThreadsShareAPool) {
  TesseractEngine engine({.data_dir = {}, .max_idle = 1});
  const Tensor letter = page("letter"), note = page("note");
  const auto want_letter = words_of(engine.recognize(letter)), want_note = words_of(engine.recognize(note));
  EXPECT_GT(want_letter.size(), 5u);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) {
    threads.emplace_back([&] {
      EXPECT_EQ(words_of(engine.recognize(letter)), want_letter);
      EXPECT_EQ(words_of(engine.recognize(note)), want_note);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Ocr, ReportsConfidenceAndFindsNothingOnAnEmptyPage) {
  TesseractEngine engine;
  for (const OcrWord& word : engine.recognize(page("note"))) {
    EXPECT_GT(word.confidence, 50) << word.text;
    EXPECT_LE(word.confidence, 100) << word.text;
  }
  Tensor white = Tensor::empty({100, 120, 1}, DType::U8);
  std::fill_n(white.data<uint8_t>(), white.numel(), uint8_t(255));
  EXPECT_TRUE(engine.recognize(white).empty());
}

TEST(Ocr, ArgumentsAreChecked) {
  TesseractEngine engine;
  const Tensor image = page("note");
  auto code_of = [&](const Tensor& in, const OcrOptions& options) {
    try {
      engine.recognize(in, options);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code_of(Tensor::zeros({5, 5, 4}, DType::U8), {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(Tensor::zeros({5, 5, 3}), {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(Tensor::zeros({40000, 1, 1}, DType::U8), {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(image, {.lang = "klingon", .config = {}}), ErrorCode::not_found);
  EXPECT_EQ(code_of(image, {.lang = "../eng", .config = {}}), ErrorCode::invalid_argument);
  for (const char* config :
       {"--psm", "--psm x", "--psm 99", "--fast", "-c novalue", "-c no_such_variable=1", "'open",
        "-c tessedit_write_params_to_file=params", "-c debug_file=log", "-c user_words_file=/etc/passwd"})
    EXPECT_EQ(code_of(image, {.lang = {}, .config = config}), ErrorCode::invalid_argument) << config;
  // Only digits may be found.
  for (const OcrWord& word :
       engine.recognize(page("letter"), {.lang = "eng", .config = "-c tessedit_char_whitelist=0123456789"}))
    EXPECT_EQ(word.text.find_first_not_of("0123456789 "), std::string::npos) << word.text;
}

}  // namespace
}  // namespace caracal
