// Any bytes as a sound file: an Error or samples, never more.
#include <caracal/loaders/audio.h>
#include <caracal/runtime/error.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    caracal::mix_down(caracal::decode_audio({data, size}, "fuzz", {.max_seconds = 10}).samples);
  } catch (const caracal::Error&) {
  }
  return 0;
}
