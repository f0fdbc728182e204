#include "media.h"

#include <caracal/loaders/audio.h>
#include <caracal/loaders/image.h>

namespace caracal::cli {

Tensor open_image(const std::string& path) { return load_image(path); }
Tensor open_audio(const Runtime& runtime, const std::string& path, int64_t sampling_rate) {
  return load_audio(runtime, path, sampling_rate);
}

}  // namespace caracal::cli
