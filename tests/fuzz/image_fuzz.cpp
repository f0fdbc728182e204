// Any bytes as a file of one image format: an Error or pixels, never more. Compiled once per decoder of
// loaders/image_formats.h: -DDECODER=decode_jpeg, decode_png, decode_webp.
#include <caracal/loaders/image_formats.h>
#include <caracal/runtime/error.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  try {
    upright_rgb(media::DECODER({.bytes = {data, size}, .where = "fuzz", .max_pixels = 1 << 18}));
  } catch (const Error&) {
  }
  return 0;
}
