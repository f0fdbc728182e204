// WAV: chunks of RIFF, of which "fmt " and "data" matter.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include <caracal/loaders/audio_formats.h>

namespace caracal::media {
namespace {

enum Codec : uint32_t { kPcm = 1, kFloat = 3, kALaw = 6, kMuLaw = 7, kExtensible = 0xfffe };

struct Format {
  uint32_t codec = 0, channels = 0, rate = 0, align = 0, bits = 0;
};

uint64_t little(const uint8_t* p, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; i--) value = value << 8 | p[i];
  return value;
}

Format parse_format(const AudioInput& input, std::span<const uint8_t> chunk) {
  if (chunk.size() < 16) bad_audio(input, "a format chunk of " + std::to_string(chunk.size()) + " bytes");
  Format f{.codec = uint32_t(little(&chunk[0], 2)),
           .channels = uint32_t(little(&chunk[2], 2)),
           .rate = uint32_t(little(&chunk[4], 4)),
           .align = uint32_t(little(&chunk[12], 2)),
           .bits = uint32_t(little(&chunk[14], 2))};
  if (f.codec == kExtensible) {
    if (chunk.size() < 40) bad_audio(input, "an extensible format chunk cut short");
    f.codec = uint32_t(little(&chunk[24], 2));  // the GUID begins with the codec
  }
  return f;
}

// ITU G.711, as 16-bit samples.
int mu_law(uint8_t byte) {
  byte = uint8_t(~byte);
  const int magnitude = (((byte & 0x0f) << 3) + 0x84) << (byte >> 4 & 7);
  return byte & 0x80 ? 0x84 - magnitude : magnitude - 0x84;
}
int a_law(uint8_t byte) {
  byte ^= 0x55;
  const int exponent = byte >> 4 & 7;
  int magnitude = ((byte & 0x0f) << 4) + 8;
  if (exponent > 0) magnitude = (magnitude + 0x100) << (exponent - 1);
  return byte & 0x80 ? magnitude : -magnitude;
}

// `stride` bytes from one sample of a channel to its next.
template <int kBytes, class F>
void convert(float* out, const uint8_t* in, int64_t frames, int64_t stride, F value) {
  if (stride == kBytes) {  // mono: a stride that the compiler knows
    for (int64_t i = 0; i < frames; i++) out[i] = value(in + i * kBytes);
    return;
  }
  for (int64_t i = 0; i < frames; i++, in += stride) out[i] = value(in);
}

using Converter = void (*)(float* out, const uint8_t* in, int64_t frames, int64_t stride);

Converter converter_of(const Format& f) {
  if (f.bits > 64) return nullptr;  // would run into the codec
  switch (f.codec << 8 | f.bits) {
    case kPcm << 8 | 8:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<1>(out, in, n, s, [](const uint8_t* p) { return float(int(p[0]) - 128) / 128.0f; });
      };
    case kPcm << 8 | 16:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<2>(out, in, n, s, [](const uint8_t* p) {
          int16_t v;
          std::memcpy(&v, p, 2);
          return float(v) / 32768.0f;
        });
      };
    case kPcm << 8 | 24:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<3>(out, in, n, s,
                   [](const uint8_t* p) { return float(int32_t(uint32_t(little(p, 3)) << 8) >> 8) / 8388608.0f; });
      };
    case kPcm << 8 | 32:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<4>(out, in, n, s, [](const uint8_t* p) { return float(int32_t(little(p, 4))) / 2147483648.0f; });
      };
    case kFloat << 8 | 32:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<4>(out, in, n, s, [](const uint8_t* p) { return std::bit_cast<float>(uint32_t(little(p, 4))); });
      };
    case kFloat << 8 | 64:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<8>(out, in, n, s, [](const uint8_t* p) { return float(std::bit_cast<double>(little(p, 8))); });
      };
    case kALaw << 8 | 8:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<1>(out, in, n, s, [](const uint8_t* p) { return float(a_law(p[0])) / 32768.0f; });
      };
    case kMuLaw << 8 | 8:
      return [](float* out, const uint8_t* in, int64_t n, int64_t s) {
        convert<1>(out, in, n, s, [](const uint8_t* p) { return float(mu_law(p[0])) / 32768.0f; });
      };
    default: return nullptr;
  }
}

}  // namespace

Audio decode_wav(const AudioInput& input) {
  constexpr size_t kHeadBytes = 12;  // RIFF or RF64, a size, WAVE
  if (input.bytes.size() < kHeadBytes) bad_audio(input, std::to_string(input.bytes.size()) + " bytes");
  const bool rf64 = input.bytes[1] == 'F';
  uint64_t long_data = 0;
  Format format;
  bool has_format = false;
  std::span<const uint8_t> rest = input.bytes.subspan(kHeadBytes), data;
  bool has_data = false;
  while (rest.size() >= 8 && !has_data) {
    const std::string_view id(reinterpret_cast<const char*>(rest.data()), 4);
    uint64_t size = little(&rest[4], 4);
    rest = rest.subspan(8);
    if (id == "data" && rf64 && size == 0xffffffff) size = long_data;
    const std::span<const uint8_t> chunk = rest.first(size_t(std::min<uint64_t>(size, rest.size())));
    if (id == "ds64" && chunk.size() >= 16) long_data = little(&chunk[8], 8);
    if (id == "fmt ") format = parse_format(input, chunk), has_format = true;
    if (id == "data") data = chunk, has_data = true;
    rest =
        rest.subspan(std::min(chunk.size() + (size & 1), rest.size()));  // the chunk's own size: `size` may be 2^64 - 1
  }
  if (!has_format) bad_audio(input, "no format chunk");
  if (!has_data) bad_audio(input, "no data chunk");
  const Converter converter = converter_of(format);
  if (converter == nullptr)
    throw Error(ErrorCode::unsupported, input.where,
                "expected PCM, float, A-law or mu-law samples but got codec " + std::to_string(format.codec) +
                    " with " + std::to_string(format.bits) + " bits");
  const int64_t bytes = format.bits / 8, channels = format.channels;
  if (channels == 0 || format.align != bytes * channels)
    bad_audio(input, std::to_string(format.align) + " bytes for " + std::to_string(channels) + " samples of " +
                         std::to_string(bytes));
  const int64_t frames = int64_t(data.size()) / format.align;
  check_audio(input, channels, format.rate, frames);
  Audio audio{.samples = Tensor::empty({channels, frames}), .sampling_rate = format.rate};
  for (int64_t c = 0; c < channels && frames > 0; c++)
    converter(audio.samples.data<float>() + c * frames, data.data() + c * bytes, frames, format.align);
  return audio;
}

}  // namespace caracal::media
