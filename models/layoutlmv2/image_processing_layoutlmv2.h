// LayoutLMv2ImageProcessor: words and boxes by OCR, the page resized and its colours in BGR order.
#pragma once

#include <memory>
#include <string>

#include <caracal/loaders/ocr.h>
#include <caracal/models/image_processing_utils.h>

namespace caracal {

/// transformers.LayoutLMv2ImageProcessor (with the results of LayoutLMv2ImageProcessorPil). Beside the arguments of all
/// image processors: apply_ocr, ocr_lang, tesseract_config. pixel_values are U8.
class LayoutLMv2ImageProcessor : public BaseImageProcessor {
 public:
  /// `where` opens error messages.
  explicit LayoutLMv2ImageProcessor(const Json& arguments = {}, const std::string& where = "LayoutLMv2ImageProcessor");
  /// From a checkpoint directory or a preprocessor_config.json, with `overrides` applied last. Throws bad_file for a
  /// tesseract_config in the file that names a folder (--tessdata-dir); an override or a call may.
  static LayoutLMv2ImageProcessor from_pretrained(const std::string& path, const Json& overrides = {});

  /// Who reads the words when apply_ocr is true; without an engine such a call throws not_built.
  void set_ocr_engine(std::shared_ptr<OcrEngine> engine) { engine_ = std::move(engine); }

 protected:
  BatchFeature process(const std::vector<Tensor>& images, const Json& arguments) const override;

 private:
  void read(const Tensor& image, const Json& arguments, BatchFeature& features) const;

  std::shared_ptr<OcrEngine> engine_;
};

/// transformers' names of the same class by backend.
using LayoutLMv2ImageProcessorPil = LayoutLMv2ImageProcessor;
using LayoutLMv2ImageProcessorFast = LayoutLMv2ImageProcessor;

/// The box (left, top, left + width, top + height) in thousandths of the page, rounded down: int(1000 * (x / width)).
BatchFeature::Box normalize_box(const OcrWord& word, int64_t page_width, int64_t page_height);

}  // namespace caracal
