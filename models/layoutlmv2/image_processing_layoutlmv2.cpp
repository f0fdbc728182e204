#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>

#include <caracal/loaders/hub_cache.h>

#include <algorithm>

namespace caracal {
namespace {

ImageProcessorClass description() {
  const Json square{{"height", 224}, {"width", 224}};
  const Json shown{
      {"apply_ocr", true}, {"do_resize", true}, {"resample", 2}, {"size", square}, {"tesseract_config", ""}};
  Json defaults = shown;
  defaults.set("ocr_lang", nullptr);
  return {.name = "LayoutLMv2ImageProcessor",
          .defaults = defaults,
          .listing = shown,
          .extra = {{"apply_ocr", true}, {"ocr_lang", ""}, {"tesseract_config", ""}}};
}

std::string text_of(const Json& value) { return value.is_string() ? value.as_string() : std::string(); }

// Whether arguments of the `tesseract` command have --tessdata-dir, however it is quoted.
bool names_a_folder(std::string arguments) {
  std::erase_if(arguments, [](char c) { return c == '"' || c == '\'' || c == '\\'; });
  return arguments.find("--tessdata-dir") != std::string::npos;
}

// Python's str.strip() leaves nothing: white space of ASCII, and the others that OCR may give.
bool is_blank(std::string_view text) {
  static constexpr std::string_view wide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe2\x80\xa8", "\xe2\x80\xa9",
                                              "\xe3\x80\x80", "\xe2\x80\xaf", "\xe1\x9a\x80", "\xe2\x81\x9f"};
  while (!text.empty()) {
    if (const auto c = uint8_t(text[0]); c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31)) {
      text.remove_prefix(1);
      continue;
    }
    const bool en_space = text.size() >= 3 && text.starts_with("\xe2\x80") && uint8_t(text[2]) >= 0x80 &&
                          uint8_t(text[2]) <= 0x8a;  // U+2000 … U+200A
    const auto* space = std::ranges::find_if(wide, [&](std::string_view s) { return text.starts_with(s); });
    if (!en_space && space == std::end(wide)) return false;
    text.remove_prefix(en_space ? 3 : space->size());
  }
  return true;
}

}  // namespace

LayoutLMv2ImageProcessor::LayoutLMv2ImageProcessor(const Json& arguments, const std::string& where)
    : BaseImageProcessor(description(), arguments, where) {}

LayoutLMv2ImageProcessor LayoutLMv2ImageProcessor::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::preprocessor, overrides);
  const Json file = load_preprocessor_config(at.path, "image_processor");
  const Json* config = file.find("tesseract_config");
  if (config != nullptr && at.overrides.find("tesseract_config") == nullptr && names_a_folder(text_of(*config)))
    throw Error(ErrorCode::bad_file, at.path,
                "expected a tesseract_config that names no folder but got --tessdata-dir: a file may not choose "
                "Tesseract's models; an override or a call may");
  return LayoutLMv2ImageProcessor(load_preprocessor_config(at.path, "image_processor", at.overrides), at.path);
}

BatchFeature::Box normalize_box(const OcrWord& word, int64_t page_width, int64_t page_height) {
  auto part = [](int64_t at, int64_t whole) { return int64_t(1000 * (double(at) / double(whole))); };
  return {part(word.left, page_width), part(word.top, page_height), part(word.left + word.width, page_width),
          part(word.top + word.height, page_height)};
}

void LayoutLMv2ImageProcessor::read(const Tensor& image, const Json& arguments, BatchFeature& features) const {
  if (image.dtype() != DType::U8)
    throw Error(ErrorCode::invalid_argument, "LayoutLMv2ImageProcessor: apply_ocr", "expected a U8 image but got F32");
  const OcrOptions options{.lang = text_of(arguments.at("ocr_lang")),
                           .config = text_of(arguments.at("tesseract_config"))};
  std::vector<std::string>& words = features.words.emplace_back();
  std::vector<BatchFeature::Box>& boxes = features.boxes.emplace_back();
  for (OcrWord& word : engine_->recognize(image, options)) {
    if (is_blank(word.text)) continue;
    boxes.push_back(normalize_box(word, image.size(1), image.size(0)));
    words.push_back(std::move(word.text));
  }
}

BatchFeature LayoutLMv2ImageProcessor::process(const std::vector<Tensor>& images, const Json& arguments) const {
  BatchFeature features;
  const Json& apply_ocr = arguments.at("apply_ocr");
  if (apply_ocr.is_bool() && apply_ocr.as_bool()) {
    if (engine_ == nullptr)
      throw Error(ErrorCode::not_built, "LayoutLMv2ImageProcessor",
                  "expected an OCR engine for apply_ocr but got none: call set_ocr_engine (caracal::ocr has "
                  "TesseractEngine), or pass apply_ocr false and words and boxes of your own");
    for (const Tensor& image : images) read(image, arguments, features);
  }
  std::vector<Tensor> results;
  for (const Tensor& input : images) {
    bool scaled = false;
    const Tensor image = resized(input, arguments, scaled);
    const int64_t channels = image.size(2), pixels = image.size(0) * image.size(1);
    Tensor planes = Tensor::empty({channels, image.size(0), image.size(1)}, scaled ? DType::F32 : image.dtype());
    auto flip = [&](const auto* in, auto* out, auto value) {  // RGB to BGR, as Detectron2 wants it
      for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < pixels; i++) out[c * pixels + i] = value(in[i * channels + channels - 1 - c]);
      }
    };
    auto same = [](auto value) { return value; };
    if (scaled)  // what was 0 … 1 stays so
      flip(image.data<uint8_t>(), planes.data<float>(), [](uint8_t v) { return float(double(v) * (1 / 255.0)); });
    else if (image.dtype() == DType::U8)
      flip(image.data<uint8_t>(), planes.data<uint8_t>(), same);
    else
      flip(image.data<float>(), planes.data<float>(), same);
    results.push_back(std::move(planes));
  }
  features.set("pixel_values", std::move(results));
  return features;
}

}  // namespace caracal
