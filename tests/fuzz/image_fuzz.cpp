// Any bytes as an image file: an Error or pixels, never more. The input's first letter chooses the decoder by the format's
// own signature, so all of decode_image is under test.
#include <caracal/loaders/image.h>
#include <caracal/runtime/error.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    caracal::upright_rgb(caracal::decode_image({data, size}, "fuzz", {.max_pixels = 1 << 18}));
  } catch (const caracal::Error&) {
  }
  return 0;
}
