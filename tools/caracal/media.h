// Files for `caracal preprocess`: by caracal::media and caracal::ocr where they were built (media.cpp, ocr.cpp), else
// errors (media_absent.cpp, ocr_absent.cpp).
#pragma once

#include <memory>
#include <string>

#include <caracal/loaders/ocr.h>
#include <caracal/runtime/runtime.h>

namespace caracal::cli {

/// transformers' load_image: upright (H, W, 3) U8.
Tensor open_image(const std::string& path);
/// transformers' load_audio: mono (N) F32 at this rate.
Tensor open_audio(const Runtime& runtime, const std::string& path, int64_t sampling_rate);
std::shared_ptr<OcrEngine> make_ocr_engine();

}  // namespace caracal::cli
