// The arguments of the `tesseract` command, as OcrOptions::config has them. Behind ocr_tesseract.h.
#pragma once

#include <string>
#include <vector>

#include <caracal/loaders/ocr_tesseract.h>

namespace caracal {

/// What makes an engine. `oem` and `page_segmentation` are Tesseract's numbers.
struct TesseractSetup {
  std::string data_dir, lang;
  int oem = 3;                             // OEM_DEFAULT
  int page_segmentation = 3;               // PSM_AUTO
  std::vector<std::string> names, values;  // variables

  friend bool operator==(const TesseractSetup&, const TesseractSetup&) = default;
};

/// A call's language and config; see TesseractEngine for what they may hold. Throws invalid_argument.
TesseractSetup parse_tesseract_setup(const TesseractOptions& options, const OcrOptions& call);

}  // namespace caracal
