#include <caracal/loaders/audio.h>

#include <algorithm>

#include <caracal/loaders/audio_formats.h>
#include <caracal/loaders/file.h>
#include <caracal/runtime/audio_ops.h>
#include <caracal/runtime/checked.h>

namespace caracal {
namespace media {

void bad_audio(const AudioInput& input, const std::string& got) {
  throw Error(ErrorCode::bad_file, input.where, "expected whole sound data but got " + got);
}

void check_audio(const AudioInput& input, int64_t channels, int64_t rate, int64_t frames) {
  constexpr int64_t kMaxChannels = 255, kMaxRate = 10'000'000;
  if (channels < 1 || channels > kMaxChannels) bad_audio(input, std::to_string(channels) + " channels");
  if (rate < 1 || rate > kMaxRate) bad_audio(input, std::to_string(rate) + " samples a second");
  if (frames < 0 || double(frames) > input.max_seconds * double(rate))
    throw Error(ErrorCode::bad_file, input.where,
                "expected up to " + std::to_string(int64_t(input.max_seconds)) + " seconds of sound but got " +
                    std::to_string(frames / rate));
  constexpr int64_t kFree = 1 << 22, kPerByte = 2048, kPerSecond = 96'000;
  const int64_t by_size =
      checked_add(kFree, checked_mul(kPerByte, int64_t(input.bytes.size()), input.where), input.where);
  const double most = std::min(double(by_size), std::max(double(kFree), kPerSecond * input.max_seconds));
  if (double(channels) * double(frames) > most)
    throw Error(ErrorCode::bad_file, input.where,
                "expected up to " + std::to_string(int64_t(most)) + " samples from a file of " +
                    std::to_string(input.bytes.size()) + " bytes but got " + std::to_string(frames) + " of " +
                    std::to_string(channels) + " channels");
}

}  // namespace media

Audio decode_audio(std::span<const uint8_t> bytes, std::string_view where, const AudioOptions& options) {
  const media::AudioInput input{.bytes = bytes, .where = std::string(where), .max_seconds = options.max_seconds};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view form = text.size() >= 12 ? text.substr(8, 4) : std::string_view();
  if ((text.starts_with("RIFF") || text.starts_with("RF64")) && form == "WAVE") return media::decode_wav(input);
  if (text.starts_with("fLaC")) return media::decode_flac(input);
  if (bytes.empty()) media::bad_audio(input, "an empty file");
  const bool mp3 = text.starts_with("ID3") || (text.size() >= 2 && bytes[0] == 0xff && (bytes[1] & 0xe0) == 0xe0);
  if (mp3 || text.starts_with("OggS") || text.starts_with("FORM") || text.starts_with(".snd") ||
      text.starts_with("RIFX"))
    throw Error(ErrorCode::unsupported, where,
                std::string("expected WAV or FLAC but got ") +
                    (mp3 ? "MP3" : "the format '" + std::string(text.substr(0, 4)) + "'") +
                    ": convert it, or decode it yourself and pass the samples");
  media::bad_audio(input, "an unknown format");
}

Audio read_audio(const std::string& path, const AudioOptions& options) {
  const Bytes bytes = load_bytes(File::open(path), Access::read);
  return decode_audio(bytes.span, path, options);
}

Tensor mix_down(const Tensor& samples) {
  if (!samples.defined() || samples.rank() != 2 || samples.dtype() != DType::F32 || samples.size(0) < 1)
    throw Error(ErrorCode::invalid_argument, "mix_down",
                "expected samples of shape (channels, N) F32 but got " +
                    (samples.defined() ? samples.shape().str() : std::string("an undefined tensor")));
  const int64_t channels = samples.size(0), n = samples.size(1);
  if (channels == 1) return samples.reshape({n});
  Tensor mono = samples.rows(0, 1).reshape({n}).clone();
  float* out = mono.data<float>();
  for (int64_t c = 1; c < channels; c++) {
    const float* in = samples.data<float>() + c * n;
    for (int64_t i = 0; i < n; i++) out[i] += in[i];
  }
  for (int64_t i = 0; i < n; i++) out[i] /= float(channels);
  return mono;
}

Tensor load_audio(const Runtime& runtime, const std::string& path, int64_t sampling_rate, const AudioOptions& options) {
  const Audio audio = read_audio(path, options);
  const Tensor mono = mix_down(audio.samples);
  return audio.sampling_rate == sampling_rate ? mono
                                              : resample_audio(runtime, mono, audio.sampling_rate, sampling_rate);
}

Tensor load_audio(const std::string& path, int64_t sampling_rate, const AudioOptions& options) {
  return load_audio(Runtime({.threads = 1}), path, sampling_rate, options);
}

}  // namespace caracal
