// OCR as an interface: an engine reads the words of a page and where they stand. caracal::ocr has one
// (ocr_tesseract.h); a caller may bring another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <caracal/runtime/tensor.h>

namespace caracal {

/// A word and its box in pixels of the page.
struct OcrWord {
  std::string text;  // UTF-8
  int64_t left = 0, top = 0, width = 0, height = 0;
  float confidence = 0;  // 0 to 100
};

/// What a call may ask of an engine; transformers' ocr_lang and tesseract_config, which may come from a checkpoint's
/// file.
struct OcrOptions {
  std::string lang = {};    // "eng", "eng+deu"; empty: the engine's default
  std::string config = {};  // as on the engine's command line: "--psm 6"; empty: its defaults
};

/// Derive from it to bring another engine: LayoutLMv2ImageProcessor::set_ocr_engine, PipelineFiles::ocr.
class OcrEngine {
 public:
  virtual ~OcrEngine() = default;
  /// The words of an image, (H, W, 1) or (H, W, 3) U8, in reading order; words of white space only may be left in.
  /// Must accept calls from several threads at once. Throws Error: invalid_argument for another shape or dtype, or for
  /// options that it does not know.
  virtual std::vector<OcrWord> recognize(const Tensor& image, const OcrOptions& options = {}) = 0;
};

}  // namespace caracal
