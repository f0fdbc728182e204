#include <caracal/loaders/ocr_tesseract.h>

#include "media.h"

namespace caracal::cli {

std::shared_ptr<OcrEngine> make_ocr_engine() { return std::make_shared<TesseractEngine>(); }

}  // namespace caracal::cli
