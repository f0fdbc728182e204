// Any bytes as a file of one sound format: an Error or samples, never more. Compiled once per decoder of
// loaders/audio_formats.h: -DDECODER=decode_wav, decode_flac.
#include <caracal/loaders/audio_formats.h>
#include <caracal/runtime/error.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  try {
    mix_down(media::DECODER({.bytes = {data, size}, .where = "fuzz", .max_seconds = 10}).samples);
  } catch (const Error&) {
  }
  return 0;
}
