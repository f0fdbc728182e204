// Any text as LayoutLMv2ImageProcessor's tesseract_config and ocr_lang (apart by the first newline): an Error or a
// setup of Tesseract, never more. Then the setup goes where Tesseract would take it: a page with an engine of the
// test's own.
#include <caracal/loaders/ocr_tesseract_config.h>
#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>

#include "fuzzing.h"

namespace {

class ParsingEngine final : public caracal::OcrEngine {
 public:
  std::vector<caracal::OcrWord> recognize(const caracal::Tensor&, const caracal::OcrOptions& options) override {
    const caracal::TesseractSetup setup = caracal::parse_tesseract_setup({}, options);
    if (setup.names.size() != setup.values.size() || setup.oem < 0 || setup.page_segmentation < 0) __builtin_trap();
    return {{setup.lang, 1, 2, 3, 4, 50}};
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t newline = std::min(text.find('\n'), text.size());
  const std::string config = text.substr(0, newline), lang = text.substr(std::min(newline + 1, text.size()));
  static const Tensor page = Tensor::zeros({5, 9, 3}, DType::U8);
  try_to([&] {
    LayoutLMv2ImageProcessor processor({{"tesseract_config", config}, {"ocr_lang", lang}});
    processor.set_ocr_engine(std::make_shared<ParsingEngine>());
    processor(page);
  });
  // The whole configuration from JSON.
  const Json json = json_of(data, size);
  try_to([&] {
    LayoutLMv2ImageProcessor processor(json);
    processor.set_ocr_engine(std::make_shared<ParsingEngine>());
    processor(page, {{"do_resize", false}});
  });
  return 0;
}
