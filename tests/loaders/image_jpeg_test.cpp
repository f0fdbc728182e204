// The fast way through baseline JPEG against libjpeg's own, on files of every shape that libjpeg can be made to write.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include <gtest/gtest.h>
#include <jpeglib.h>

#include <caracal/loaders/image.h>
#include <caracal/loaders/image_jpeg_baseline.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

struct Kind {
  int width, height, components, h, v, quality;
  bool optimised = false, progressive = false;
  unsigned restart = 0;
};

std::vector<uint8_t> encode(const Kind& kind, uint32_t seed) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = JDIMENSION(kind.width), info.image_height = JDIMENSION(kind.height);
  info.input_components = kind.components, info.in_color_space = kind.components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, kind.quality, TRUE);
  info.comp_info[0].h_samp_factor = kind.h, info.comp_info[0].v_samp_factor = kind.v;
  info.optimize_coding = kind.optimised;
  info.restart_interval = kind.restart;
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::mt19937 engine(seed);
  std::vector<uint8_t> row(size_t(kind.width * kind.components));
  while (info.next_scanline < info.image_height) {
    for (size_t i = 0; i < row.size(); i++) {
      // Flat, smooth and noisy parts, and hard edges.
      const uint32_t part = (uint32_t(i) / 40 + info.next_scanline / 16) % 4;
      row[i] = part == 0   ? uint8_t(90)
               : part == 1 ? uint8_t(i + info.next_scanline)
               : part == 2 ? uint8_t(engine())
                           : uint8_t(engine() % 2 * 255);
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  std::vector<uint8_t> bytes(data, data + size);
  std::free(data);
  jpeg_destroy_compress(&info);
  return bytes;
}

struct Decoded {
  std::vector<uint8_t> pixels, fast;
  bool took_fast;
};
// Both ways; the bytes must be whole.
Decoded decode(const std::vector<uint8_t>& bytes) {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&info, TRUE);
  const size_t row_bytes = size_t(info.image_width) * size_t(info.num_components);
  Decoded result{.pixels = std::vector<uint8_t>(row_bytes * info.image_height), .fast = {}, .took_fast = false};
  result.fast = result.pixels;
  result.took_fast =
      media::decode_baseline_jpeg(info, {info.src->next_input_byte, info.src->bytes_in_buffer}, result.fast.data());
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = result.pixels.data() + info.output_scanline * row_bytes;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return result;
}

TEST(BaselineJpeg, PixelsEqualLibjpegs) {
  uint32_t seed = 0;
  auto check = [&](const Kind& kind) {
    const Decoded got = decode(encode(kind, seed++));
    ASSERT_TRUE(got.took_fast) << kind.width << " x " << kind.height << " " << kind.components << kind.h << kind.v;
    ASSERT_EQ(got.fast, got.pixels) << kind.width << " x " << kind.height << " " << kind.components << kind.h << kind.v
                                    << " quality " << kind.quality;
  };
  for (const auto& [components, h, v] : {std::array{1, 1, 1}, {3, 1, 1}, {3, 2, 1}, {3, 2, 2}}) {
    for (int width : {5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 34, 35, 36, 37, 63, 65, 130}) {
      for (int height : {1, 2, 3, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 47, 50})
        check({width, height, components, h, v, 30 + int(seed * 7 % 70)});
    }
    for (int quality : {1, 5, 25, 50, 75, 90, 95, 98, 100}) {
      for (bool optimised : {false, true}) {
        for (unsigned restart : {0u, 1u, 3u, 100u})
          check({150, 90, components, h, v, quality, optimised, false, restart});
      }
    }
  }
}

TEST(BaselineJpeg, LeavesTheRestToLibjpeg) {
  EXPECT_FALSE(decode(encode({40, 40, 3, 2, 2, 80, false, true}, 1)).took_fast);  // progressive
  EXPECT_FALSE(decode(encode({40, 40, 3, 1, 2, 80}, 1)).took_fast);               // 4:4:0
  EXPECT_FALSE(decode(encode({40, 40, 3, 4, 1, 80}, 1)).took_fast);               // 4:1:1
  EXPECT_FALSE(decode(encode({3, 40, 3, 2, 2, 80}, 1)).took_fast);                // too narrow
}

// Damage: whatever the fast way accepts has libjpeg's pixels (libjpeg reads what it refuses, or refuses it, too).
TEST(BaselineJpeg, DamagedFilesEqualLibjpegs) {
#ifndef __x86_64__
  GTEST_SKIP() << "coefficients out of range overflow otherwise in libjpeg-turbo's transforms for other CPUs";
#endif
  std::mt19937 engine(3);
  int accepted = 0, refused = 0;
  for (const Kind& kind : {Kind{50, 40, 3, 2, 2, 90}, Kind{50, 40, 3, 1, 1, 60}, Kind{50, 40, 1, 1, 1, 97},
                           Kind{70, 33, 3, 2, 1, 90, true, false, 2}}) {
    const std::vector<uint8_t> whole = encode(kind, 9);
    for (int round = 0; round < 600; round++) {
      std::vector<uint8_t> bytes = whole;
      // In tables as well as in codes: not in the first bytes, which hold the size.
      for (int i = 0; i <= round % 3; i++) bytes[20 + engine() % (bytes.size() - 20)] = uint8_t(engine());
      Tensor pixels;
      try {
        pixels = decode_image(bytes, "damaged", {.max_pixels = 1 << 20}).pixels;
      } catch (const Error&) {
        refused++;
        continue;
      }
      // libjpeg alone: its source warns where ours gives up, so it reads all that ours reads.
      jpeg_decompress_struct info;
      jpeg_error_mgr errors;
      info.err = jpeg_std_error(&errors);
      errors.output_message = [](j_common_ptr) {};
      errors.error_exit = [](j_common_ptr e) {
        char text[JMSG_LENGTH_MAX];
        (*e->err->format_message)(e, text);
        ADD_FAILURE() << "libjpeg refuses: " << text;
        std::abort();
      };
      jpeg_create_decompress(&info);
      jpeg_mem_src(&info, bytes.data(), static_cast<unsigned long>(bytes.size()));
      jpeg_read_header(&info, TRUE);
      info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : info.num_components == 3 ? JCS_RGB : JCS_CMYK;
      jpeg_start_decompress(&info);
      std::vector<uint8_t> row(size_t(info.output_width) * size_t(info.num_components));
      for (int64_t y = 0; info.output_scanline < info.output_height; y++) {
        JSAMPROW pointer = row.data();
        jpeg_read_scanlines(&info, &pointer, 1);
        if (info.num_components == 4) continue;  // inverted
        ASSERT_EQ(std::memcmp(row.data(), pixels.data<uint8_t>() + y * int64_t(row.size()), row.size()), 0)
            << round << " " << y;
      }
      jpeg_destroy_decompress(&info);
      accepted++;
    }
  }
  EXPECT_GT(accepted, 200);
  EXPECT_GT(refused, 20);
}

}  // namespace
}  // namespace caracal
