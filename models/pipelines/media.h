// Files for pipelines, read by caracal::media: include this and link it. caracal::ocr adds `.ocr`.
//
//   auto classify = pipeline("image-classification", dir, {.files = media_files()});
//   Json labels = (*classify)("cat.jpg");
#pragma once

#include <caracal/loaders/audio.h>
#include <caracal/loaders/image.h>
#include <caracal/models/pipelines/base.h>

namespace caracal {

/// Readers as transformers' load_image and load_audio.
inline PipelineFiles media_files() {
  return {.image = [](const std::string& path) { return load_image(path); },
          .audio = [](const std::string& path, int64_t rate) { return load_audio(path, rate); },
          .ocr = nullptr};
}

}  // namespace caracal
