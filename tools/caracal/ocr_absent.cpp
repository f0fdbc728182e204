#include "media.h"

namespace caracal::cli {

// The image processor says what it lacks, if it comes to that.
std::shared_ptr<OcrEngine> make_ocr_engine() { return nullptr; }

}  // namespace caracal::cli
