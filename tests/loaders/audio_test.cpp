// Sound files against soundfile and torchaudio (tools/make_media_goldens.py), and files that are damaged or lie.
#include <random>

#include <caracal/loaders/audio.h>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::data_path;
using testing::read_file;

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(Audio, SamplesEqualSoundfiles) {
  const SafetensorsFile file = SafetensorsFile::open(data_path("media/audio.safetensors"));
  const Json verdicts = Json::parse_file(data_path("media/audio.json"));
  ASSERT_GT(verdicts.as_object().size(), 15u);
  for (const auto& [name, verdict] : verdicts.as_object()) {
    const std::string path = data_path("media/audio/" + name);
    const Audio audio = read_audio(path);
    const Tensor want = file.tensor(*file.find(name + ".samples")), mono = file.tensor(*file.find(name + ".mono"));
    EXPECT_EQ(audio.sampling_rate, verdict.at("rate").as_int()) << name;
    ASSERT_EQ(audio.samples.shape(), want.shape()) << name;
    for (int64_t i = 0; i < want.numel(); i++)
      ASSERT_EQ(audio.samples.data<float>()[i], want.data<float>()[i]) << name << " " << i;
    const Tensor got = load_audio(path, 16000);
    ASSERT_EQ(got.shape(), mono.shape()) << name;
    for (int64_t i = 0; i < mono.numel(); i++)
      ASSERT_NEAR(got.data<float>()[i], mono.data<float>()[i], 2e-6) << name << " " << i;
  }
}

TEST(Audio, RefusesWhatItCannotRead) {
  auto code_of = [](const std::string& content) {
    try {
      decode_audio(bytes_of(content), "file");
    } catch (const Error& error) {
      return error.code();
    }
    ADD_FAILURE() << "accepted";
    return ErrorCode::internal;
  };
  std::string wav = read_file(data_path("media/audio/s16.wav"));
  EXPECT_EQ(code_of(""), ErrorCode::bad_file);
  EXPECT_EQ(code_of("what is this?"), ErrorCode::bad_file);
  EXPECT_EQ(code_of("ID3\4....."), ErrorCode::unsupported);
  EXPECT_EQ(code_of("OggS....."), ErrorCode::unsupported);
  EXPECT_EQ(code_of(wav.substr(0, 12)), ErrorCode::bad_file);  // no chunks
  EXPECT_EQ(code_of(wav.substr(0, 36)), ErrorCode::bad_file);  // no data
  auto changed = [&](size_t at, std::string bytes) {
    std::string copy = wav;
    return copy.replace(at, bytes.size(), bytes);
  };
  EXPECT_EQ(code_of(changed(20, std::string("\x11\0", 2))), ErrorCode::unsupported);  // ADPCM
  EXPECT_EQ(code_of(changed(22, std::string("\0\0", 2))), ErrorCode::bad_file);       // no channels
  EXPECT_EQ(code_of(changed(24, std::string("\0\0\0\0", 4))), ErrorCode::bad_file);   // no rate
  EXPECT_EQ(code_of(changed(32, std::string("\7\0", 2))), ErrorCode::bad_file);       // odd alignment
  EXPECT_EQ(code_of(changed(34, std::string("\x0c\0", 2))), ErrorCode::unsupported);  // 12 bits
}

TEST(Audio, LengthIsLimited) {
  for (const char* name : {"s16.wav", "s16.flac"}) {
    const std::string path = data_path("media/audio/") + name;
    const double seconds = 1200.0 / double(read_audio(path).sampling_rate);
    EXPECT_NO_THROW(read_audio(path, {.max_seconds = seconds}));
    try {
      read_audio(path, {.max_seconds = seconds * 0.99});
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_file);
      EXPECT_NE(std::string(error.what()).find("seconds"), std::string::npos) << error.what();
    }
  }
}

TEST(Audio, SamplesAreLimitedWhateverTheirRate) {
  std::string wav = read_file(data_path("media/audio/s16.wav")).substr(0, 44);
  auto put = [&](size_t at, uint32_t value, size_t bytes) {
    wav.replace(at, bytes, reinterpret_cast<char*>(&value), bytes);
  };
  constexpr uint32_t kMost = 1 << 22, kFrames = kMost / 2 + 1;
  put(22, 2, 2), put(24, 10'000'000, 4), put(32, 2, 2), put(34, 8, 2), put(40, 2 * kFrames, 4);
  wav.resize(44 + 2 * kFrames);
  try {
    decode_audio(bytes_of(wav), "file", {.max_seconds = 1});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_file);
    EXPECT_NE(std::string(error.what()).find("expected up to 4194304 samples"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(decode_audio(bytes_of(wav), "file", {.max_seconds = 44}));
  put(40, kMost, 4);
  EXPECT_EQ(decode_audio(bytes_of(wav), "file", {.max_seconds = 1}).samples.numel(), int64_t(kMost));
}

TEST(Audio, TruncationAtEveryByte) {
  for (const std::string name : {"s24.wav", "rf64.wav", "extensible.wav", "s24_stereo.flac"}) {
    const std::string whole = read_file(data_path("media/audio/" + name));
    const Audio want = decode_audio(bytes_of(whole), name);
    for (size_t length = 0; length < whole.size(); length += name.ends_with("flac") ? 7 : 1) {
      const std::vector<uint8_t> part(whole.begin(), whole.begin() + int64_t(length));
      try {
        const Audio got = decode_audio(part, name);
        ASSERT_FALSE(name.ends_with("flac"));
        ASSERT_EQ(got.samples.size(0), want.samples.size(0));
        ASSERT_LE(got.samples.size(1), want.samples.size(1));
        for (int64_t c = 0; c < got.samples.size(0); c++) {
          for (int64_t i = 0; i < got.samples.size(1); i++) {
            ASSERT_EQ(got.samples.data<float>()[c * got.samples.size(1) + i],
                      want.samples.data<float>()[c * want.samples.size(1) + i]);
          }
        }
      } catch (const Error&) {
      }
    }
  }
}

TEST(Audio, RandomDamageNeverCrashes) {
  std::mt19937 engine(1);
  for (const auto& entry : std::filesystem::directory_iterator(data_path("media/audio"))) {
    const std::string whole = read_file(entry.path());
    for (int round = 0; round < 100; round++) {
      std::vector<uint8_t> damaged(whole.begin(), whole.end());
      for (int i = 0; i < 1 + round % 8; i++)
        damaged[engine() % std::min<size_t>(damaged.size(), 200)] = uint8_t(engine());
      try {
        mix_down(decode_audio(damaged, "file").samples);
      } catch (const Error&) {
      }
    }
  }
}

TEST(Audio, MixDownIsTheMean) {
  const Tensor stereo = Tensor::from(std::vector<float>{1, 2, 3, 5, 7, -4}, {2, 3});
  const Tensor mono = mix_down(stereo);
  EXPECT_EQ(std::vector<float>(mono.values<float>().begin(), mono.values<float>().end()),
            (std::vector<float>{3, 4.5, -0.5}));
  EXPECT_THROW(mix_down(Tensor::zeros({3})), Error);
}

}  // namespace
}  // namespace caracal
