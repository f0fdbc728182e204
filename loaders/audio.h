// Sound files: WAV and FLAC. Part of caracal::media.
//
//   Tensor samples = load_audio("speech.flac", 16000);   // (N) F32, mono, at 16 kHz
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <caracal/runtime/runtime.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

struct AudioOptions {
  /// A file that claims to play longer is refused before it is decoded. So is one with more samples, of all channels
  /// together, than 96,000 for each of these seconds and at least 2^22, or than 2^22 and 2048 for each of its bytes: of
  /// what FLAC makes of silence, only an attack holds more.
  double max_seconds = 30 * 60;
};

/// A decoded file: samples from -1 to 1, the channels apart.
struct Audio {
  Tensor samples;  // (channels, N) F32
  int64_t sampling_rate = 0;
};

/// Decodes a file's bytes; `where` names it in messages. WAV: 8, 16, 24 and 32 bit integers, 32 and 64 bit floats,
/// µ-law and A-law, plain, extensible and RF64; a data chunk that is cut short gives what is there. FLAC: all of it.
/// Values are soundfile's. Throws bad_file, or unsupported for other codecs (MP3, Ogg, …).
Audio decode_audio(std::span<const uint8_t> bytes, std::string_view where, const AudioOptions& options = {});
/// The same from a file. Throws not_found and io, too.
Audio read_audio(const std::string& path, const AudioOptions& options = {});

/// The mean of the channels. (channels, N) F32 -> (N), a view where there is one channel. Throws invalid_argument for
/// another shape or dtype, or no channel.
Tensor mix_down(const Tensor& samples);

/// transformers.audio_utils.load_audio(path, sampling_rate, backend="torchaudio") of a local file: mixed down, then
/// resampled (resample_audio) to `sampling_rate` Hz. -> (N) F32. Throws as read_audio does (not_found, io, bad_file,
/// unsupported), and invalid_argument for a rate that cannot be resampled to.
Tensor load_audio(const std::string& path, int64_t sampling_rate, const AudioOptions& options = {});
/// The same with the runtime on whose threads it resamples.
Tensor load_audio(const Runtime& runtime, const std::string& path, int64_t sampling_rate,
                  const AudioOptions& options = {});

}  // namespace caracal
