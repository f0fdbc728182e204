// Image and audio operations against what Pillow and torchaudio gave (tools/make_media_goldens.py).
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include <caracal/loaders/safetensors.h>
#include <caracal/runtime/audio_ops.h>
#include <caracal/runtime/image_ops.h>
#include <caracal/runtime/json.h>

namespace caracal {
namespace {

std::string media_path(const std::string& name) { return std::string(CARACAL_TEST_DATA) + "/media/" + name; }

Tensor tensor(const SafetensorsFile& file, const std::string& name) { return file.tensor(*file.find(name)); }

void expect_same_bytes(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.shape(), want.shape()) << what;
  const auto a = got.values<uint8_t>(), b = want.values<uint8_t>();
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin());
  EXPECT_TRUE(x == a.end()) << what << ": byte " << x - a.begin() << " is " << int(*x) << ", expected " << int(*y);
}

// Every way that nearest pixels are moved: few and many bytes, close and far apart, up and down.
TEST(ResizeImage, NearestPixelsOfAllSizes) {
  const Runtime runtime({.threads = 1});
  for (int64_t channels : {1, 2, 3, 4}) {
    for (int64_t in_width : {1, 2, 4, 5, 6, 11, 16, 33, 64, 200}) {
      for (int64_t width : {1, 2, 3, 5, 6, 7, 11, 16, 17, 50, 100, 333}) {
        Tensor image = Tensor::empty({16, in_width, channels}, DType::U8);  // fills its memory where ASan looks
        for (int64_t i = 0; i < image.numel(); i++) image.data<uint8_t>()[i] = uint8_t(i * 7 + i / 256);
        const Tensor got = resize_image(runtime, image, 17, width, Resample::nearest);
        double y = 16.0 / 17 / 2;
        for (int64_t row = 0; row < 17; row++, y += 16.0 / 17) {
          double x = double(in_width) / double(width) / 2;
          for (int64_t column = 0; column < width; column++, x += double(in_width) / double(width)) {
            const int64_t from = int64_t(y) * in_width + std::min(int64_t(x), in_width - 1);
            for (int64_t c = 0; c < channels; c++)
              ASSERT_EQ(int(got.data<uint8_t>()[(row * width + column) * channels + c]),
                        int(image.data<uint8_t>()[from * channels + c]))
                  << in_width << " to " << width << " x " << channels;
          }
        }
      }
    }
  }
}

TEST(ResizeImage, EqualsPillowWhateverTheThreads) {
  const SafetensorsFile file = SafetensorsFile::open(media_path("resize.safetensors"));
  const Runtime one({.threads = 1}), three({.threads = 3});
  int compared = 0;
  for (const TensorInfo& info : file.tensors()) {
    if (!info.name.starts_with("out.")) continue;
    const size_t dot = info.name.rfind('.');
    const Tensor image = tensor(file, "in" + info.name.substr(3, dot - 3)), want = file.tensor(info);
    const auto filter = Resample(info.name.back() - '0');
    for (const Runtime* runtime : {&one, &three})
      expect_same_bytes(resize_image(*runtime, image, want.size(0), want.size(1), filter), want, info.name);
    compared++;
  }
  EXPECT_GT(compared, 200);
}

// Large enough that several tasks get a share.
TEST(ResizeImage, ThreadsShareTheRows) {
  Tensor image = Tensor::empty({403, 517, 3}, DType::U8);
  for (int64_t i = 0; i < image.numel(); i++) image.data<uint8_t>()[i] = uint8_t(i * 7919 >> 3);
  const Runtime one({.threads = 1}), four({.threads = 4});
  for (Resample filter : {Resample::bilinear, Resample::lanczos})
    expect_same_bytes(resize_image(four, image, 301, 640, filter), resize_image(one, image, 301, 640, filter),
                      "threads");
}

TEST(ResizeImage, KeepsConstantImagesAndCopiesEqualSizes) {
  const Runtime runtime({.threads = 1});
  Tensor image = Tensor::empty({50, 40, 3}, DType::U8);
  for (uint8_t value : {0, 1, 127, 255}) {
    std::fill_n(image.data<uint8_t>(), image.numel(), value);
    for (int filter = 0; filter < 6; filter++) {
      const Tensor out = resize_image(runtime, image, 13, 77, Resample(filter));
      for (uint8_t byte : out.values<uint8_t>()) ASSERT_EQ(byte, value) << filter;
    }
  }
  const Tensor same = resize_image(runtime, image, 50, 40, Resample::lanczos);
  EXPECT_NE(same.raw(), image.raw());
  expect_same_bytes(same, image, "copy");
}

TEST(ResizeImage, RefusesWhatDoesNotFit) {
  const Runtime runtime({.threads = 1});
  const Tensor image = Tensor::zeros({4, 5, 3}, DType::U8);
  auto refuses = [&](const Tensor& in, int64_t height, int64_t width, int filter) {
    try {
      resize_image(runtime, in, height, width, Resample(filter));
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    }
  };
  refuses(Tensor(), 2, 2, 2);
  refuses(Tensor::zeros({4, 5, 3}), 2, 2, 2);
  refuses(Tensor::zeros({4, 5}, DType::U8), 2, 2, 2);
  refuses(Tensor::zeros({4, 5, 5}, DType::U8), 2, 2, 2);
  refuses(Tensor::zeros({0, 5, 3}, DType::U8), 2, 2, 2);
  refuses(image, 0, 2, 2);
  refuses(image, 2, -1, 2);
  refuses(image, 2, (1 << 24) + 1, 2);
  refuses(image, 2, 2, 6);
  EXPECT_THROW(lookup_planes(runtime, image, Tensor::zeros({2, 256})), Error);
}

TEST(ResampleAudio, EqualsTorchaudio) {
  const SafetensorsFile file = SafetensorsFile::open(media_path("audio.safetensors"));
  const Json rates = Json::parse_file(media_path("audio.json"));
  const Runtime one({.threads = 1}), three({.threads = 3});
  int compared = 0;
  for (const auto& [name, verdict] : rates.as_object()) {
    const Tensor samples = tensor(file, name + ".samples"), want = tensor(file, name + ".mono");
    if (samples.size(0) != 1) continue;
    const Tensor mono = samples.reshape({samples.size(1)});
    const Tensor got = resample_audio(one, mono, verdict.at("rate").as_int(), 16000);
    const Tensor other = resample_audio(three, mono, verdict.at("rate").as_int(), 16000);
    ASSERT_EQ(got.shape(), want.shape()) << name;
    for (int64_t i = 0; i < got.numel(); i++) {
      ASSERT_NEAR(got.data<float>()[i], want.data<float>()[i], 2e-6) << name << " " << i;
      ASSERT_EQ(got.data<float>()[i], other.data<float>()[i]) << name << " " << i;
    }
    compared++;
  }
  EXPECT_GE(compared, 10);
}

TEST(ResampleAudio, KeepsTheLevelAndRefusesOddRates) {
  const Runtime runtime({.threads = 1});
  Tensor x = Tensor::empty({5000});
  std::fill_n(x.data<float>(), x.numel(), 0.5f);
  const Tensor y = resample_audio(runtime, x, 44100, 16000);
  ASSERT_EQ(y.numel(), (5000 * 16000 + 44099) / 44100);
  for (int64_t i = 100; i < y.numel() - 100; i++) ASSERT_NEAR(y.data<float>()[i], 0.5f, 2e-3);
  EXPECT_EQ(resample_audio(runtime, Tensor::empty({0}), 8000, 16000).numel(), 0);
  EXPECT_THROW(resample_audio(runtime, x, 0, 16000), Error);
  EXPECT_THROW(resample_audio(runtime, x, 16000, 20'000'000), Error);
  EXPECT_THROW(resample_audio(runtime, x, 9'999'991, 9'999'973), Error);
  EXPECT_THROW(resample_audio(runtime, Tensor::zeros({2, 2}), 8000, 16000), Error);
}

TEST(StandardizeOp, HasZeroMeanAndUnitVarianceOverTheRange) {
  const Runtime runtime({.threads = 2});
  Tensor x = Tensor::empty({40000});
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = float(i * 37 % 1001) / 100.0f + 3.0f;
  standardize(runtime, x, 1000, 30000, 1e-7);
  double sum = 0, squares = 0;
  for (int64_t i = 1000; i < 30000; i++) sum += x.data<float>()[i], squares += std::pow(double(x.data<float>()[i]), 2);
  EXPECT_NEAR(sum / 29000, 0, 1e-5);
  EXPECT_NEAR(squares / 29000, 1, 1e-5);
  EXPECT_THROW(standardize(runtime, x, 5, 5, 0), Error);
  EXPECT_THROW(standardize(runtime, x, 0, 40001, 0), Error);
}

}  // namespace
}  // namespace caracal
