// OCR by Tesseract. Part of caracal::ocr.
#pragma once

#include <memory>

#include <caracal/loaders/ocr.h>

namespace caracal {

/// Of all calls of one TesseractEngine.
struct TesseractOptions {
  std::string data_dir = {};  // folder of the *.traineddata; empty: TESSDATA_PREFIX, else the installed one
  /// Engines kept for later calls. Each concurrent call takes one, and makes one where none is idle.
  int max_idle = 8;
};

/// Words equal those of pytesseract.image_to_data(image, lang, config), which runs the `tesseract` command: RGB pages
/// at 70 dpi, Tesseract's own thresholding, page segmentation 3. Of the command's arguments `config` may hold --psm N,
/// --oem N, --dpi N, -c KEY=VALUE, -l LANG and --tessdata-dir DIR; others throw invalid_argument, and so do variables
/// that name files or open windows. An unknown language throws not_found.
class TesseractEngine final : public OcrEngine {
 public:
  /// Loads nothing yet: a call makes its engine, and later calls of the same language and config reuse it. Stops what
  /// Leptonica prints, for the whole process.
  explicit TesseractEngine(TesseractOptions options = {});
  /// No call may be running.
  ~TesseractEngine() override;
  /// The words of an image (H, W, 1 or 3) U8 with sides of 1 to 32,767 pixels, boxes in pixels from its upper left
  /// corner. `lang` is "eng" where it is empty. Throws invalid_argument, not_found (see above), or internal where
  /// Tesseract gives up.
  std::vector<OcrWord> recognize(const Tensor& image, const OcrOptions& options = {}) override;

 private:
  class Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace caracal
