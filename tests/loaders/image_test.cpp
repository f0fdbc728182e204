// Image files against Pillow (tools/make_media_goldens.py), and files that are damaged or lie.
#include <chrono>
#include <random>

#include <sys/resource.h>

#include <caracal/loaders/image.h>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::data_path;
using testing::read_file;

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::vector<std::string> image_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data_path("media/images")))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

ErrorCode code_of(const std::string& file) {
  try {
    decode_image(bytes_of(file), "file");
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("[file] expected")) << error.what();
    return error.code();
  }
  ADD_FAILURE() << "accepted";
  return ErrorCode::internal;
}

TEST(Image, PixelsEqualPillows) {
  const SafetensorsFile pixels = SafetensorsFile::open(data_path("media/decoded.safetensors"));
  const Json verdicts = Json::parse_file(data_path("media/decoded.json"));
  const std::vector<std::string> names = image_names();
  ASSERT_GT(names.size(), 40u);
  ASSERT_EQ(names.size(), verdicts.as_object().size());
  for (const std::string& name : names) {
    const std::string path = data_path("media/images/") + name;
    const Json& verdict = verdicts.at(name);
    if (verdict.contains("error")) {
      EXPECT_EQ(code_of(read_file(path)), ErrorCode::bad_file) << name;
      continue;
    }
    const Image image = read_image(path);
    EXPECT_EQ(image.format, verdict.at("format").as_string()) << name;
    EXPECT_EQ(image.orientation, verdict.at("orientation").as_int()) << name;
    const Tensor got = load_image(path), want = pixels.tensor(*pixels.find(name));
    ASSERT_EQ(got.shape(), want.shape()) << name;
    EXPECT_TRUE(std::equal(got.values<uint8_t>().begin(), got.values<uint8_t>().end(), want.values<uint8_t>().begin()))
        << name;
  }
}

TEST(Image, KeepsItsOwnChannels) {
  auto mode = [](const std::string& name) {
    const Image image = read_image(data_path("media/images/" + name));
    return image.mode + " " + std::to_string(image.pixels.size(2));
  };
  EXPECT_EQ(mode("gray.jpg"), "L 1");
  EXPECT_EQ(mode("cmyk.jpg"), "CMYK 4");
  EXPECT_EQ(mode("baseline_420.jpg"), "RGB 3");
  EXPECT_EQ(mode("gray_16bit.png"), "L 1");
  EXPECT_EQ(mode("la_16bit.png"), "LA 2");
  EXPECT_EQ(mode("rgba.png"), "RGBA 4");
  EXPECT_EQ(mode("palette.png"), "RGB 3");
  EXPECT_EQ(mode("palette_4bit_trns.png"), "RGBA 4");
  EXPECT_EQ(mode("alpha.webp"), "RGBA 4");
  EXPECT_EQ(mode("lossy.webp"), "RGB 3");
}

TEST(Image, OtherFormatsAreNamed) {
  using namespace std::string_literals;
  for (const auto& [content, name] : std::vector<std::pair<std::string, std::string>>{{"GIF89a......", "GIF"},
                                                                                      {"II*\0\x08\0\0\0"s, "TIFF"},
                                                                                      {"MM\0*\0\0\0\x08"s, "TIFF"},
                                                                                      {"BM......", "BMP"},
                                                                                      {"\0\0\0\x20"s
                                                                                       "ftypavif",
                                                                                       "AVIF"},
                                                                                      {"%PDF-1.7", "PDF"}}) {
    try {
      decode_image(bytes_of(content), "file");
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(code_of(""), ErrorCode::bad_file);
  EXPECT_EQ(code_of("x"), ErrorCode::bad_file);
  EXPECT_EQ(code_of(std::string(1000, '\0')), ErrorCode::bad_file);
  EXPECT_THROW(load_image(data_path("media/images/absent.png")), Error);
  EXPECT_THROW(load_image(data_path("media/images")), Error);
}

// A file cut short gives an error, or, where only what follows the pixels is missing, Pillow's pixels.
TEST(Image, TruncationAtEveryByte) {
  for (const std::string name : {"baseline_420.jpg", "progressive.jpg", "exif6.jpg", "palette.png", "rgba_16bit.png",
                                 "gray_1bit.png", "lossless.webp", "alpha.webp"}) {
    const std::string whole = read_file(data_path("media/images/" + name));
    const Image want = decode_image(bytes_of(whole), name);
    size_t refused = 0;
    for (size_t length = 0; length < whole.size(); length++) {
      // A copy of its own, so that AddressSanitizer sees a read beyond it.
      const std::vector<uint8_t> part(whole.begin(), whole.begin() + int64_t(length));
      try {
        const Image got = decode_image(part, name);
        ASSERT_EQ(got.pixels.shape(), want.pixels.shape());
        ASSERT_EQ(std::memcmp(got.pixels.raw(), want.pixels.raw(), want.pixels.nbytes()), 0) << name << " " << length;
      } catch (const Error&) {
        refused++;
      }
    }
    EXPECT_GE(refused + 40, whole.size()) << name;
  }
}

TEST(Image, RandomDamageNeverCrashes) {
  std::mt19937 engine(1);
  for (const std::string& name : image_names()) {
    const std::string whole = read_file(data_path("media/images/" + name));
    for (int round = 0; round < 60; round++) {
      std::vector<uint8_t> damaged(whole.begin(), whole.end());
      for (int i = 0; i < 1 + round % 8; i++) damaged[engine() % damaged.size()] = uint8_t(engine());
      try {
        upright_rgb(decode_image(damaged, name, {.max_pixels = 1 << 20}));
      } catch (const Error&) {
      }
    }
  }
}

std::string big_endian(uint32_t value) { return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)}; }

uint32_t crc32_of(const std::string& text) {
  uint32_t crc = ~0u;
  for (char c : text) {
    crc ^= uint8_t(c);
    for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

std::string png_of_size(uint32_t width, uint32_t height) {
  const std::string header = "IHDR" + big_endian(width) + big_endian(height) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + big_endian(13) + header + big_endian(crc32_of(header)) + std::string(900, '\0');
}

int64_t peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(Image, BombsAreRefusedBeforeTheyTakeMemory) {
  const std::string bomb = png_of_size(65535, 65535);
  code_of(png_of_size(20000, 20000));  // whatever is set up once
  const int64_t before = peak_kilobytes();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(bomb), ErrorCode::bad_file);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(peak_kilobytes() - before, 4096);
#ifdef NDEBUG
  EXPECT_LT(took.count(), 5);
#endif
  EXPECT_EQ(code_of(png_of_size(0x7fffffff, 0x7fffffff)), ErrorCode::bad_file);
  EXPECT_EQ(code_of(png_of_size(0, 5)), ErrorCode::bad_file);
  const std::string jpeg = read_file(data_path("media/images/baseline_420.jpg"));
  EXPECT_THROW(decode_image(bytes_of(jpeg), "file", {.max_pixels = 37 * 53 - 1}), Error);
  EXPECT_EQ(decode_image(bytes_of(jpeg), "file", {.max_pixels = 37 * 53}).pixels.size(0), 37);
  for (const char* name : {"rgb.png", "lossy.webp"})
    EXPECT_THROW(read_image(data_path("media/images/") + name, {.max_pixels = 1000}), Error);
}

}  // namespace
}  // namespace caracal
