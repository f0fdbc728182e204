// The decoders behind audio.h.
#pragma once

#include <caracal/loaders/audio.h>

namespace caracal::media {

struct AudioInput {
  std::span<const uint8_t> bytes;
  std::string where;
  double max_seconds;
};

[[noreturn]] void bad_audio(const AudioInput& input, const std::string& got);
/// Throws bad_file unless these describe sound within the limits of AudioOptions; `frames` are samples of one channel.
void check_audio(const AudioInput& input, int64_t channels, int64_t rate, int64_t frames);

Audio decode_wav(const AudioInput& input);
Audio decode_flac(const AudioInput& input);

}  // namespace caracal::media
