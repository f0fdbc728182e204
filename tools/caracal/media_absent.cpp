#include <caracal/runtime/error.h>

#include "media.h"

namespace caracal::cli {
namespace {

[[noreturn]] void not_built(const std::string& path) {
  throw Error(
      ErrorCode::not_built, path,
      "expected to decode this file but caracal was built without caracal::media (libjpeg, libpng, libwebp, FLAC)");
}

}  // namespace

Tensor open_image(const std::string& path) { not_built(path); }
Tensor open_audio(const Runtime&, const std::string& path, int64_t) { not_built(path); }

}  // namespace caracal::cli
