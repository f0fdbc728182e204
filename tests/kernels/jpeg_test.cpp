// The JPEG kernels against the formulas of libjpeg's C code.
#include <algorithm>
#include <array>

#include "testing.h"

namespace caracal::kernels {
namespace {

using Block = std::array<int, 64>;

// jidctint.c, along one line of eight values `step` apart; between the passes values are clamped to 16 bits.
void transform(int* x, int step, int shift) {
  auto at = [&](int i) -> int& { return x[i * step]; };
  auto wrap = [](int value) { return int(int16_t(value)); };  // as the x86 code's 16-bit sums do
  int z2 = at(2), z3 = at(6), z1 = (z2 + z3) * 4433;
  int tmp2 = z1 - z3 * 15137, tmp3 = z1 + z2 * 6270;
  int tmp0 = wrap(at(0) + at(4)) * 8192, tmp1 = wrap(at(0) - at(4)) * 8192;
  const int even[4] = {tmp0 + tmp3, tmp1 + tmp2, tmp1 - tmp2, tmp0 - tmp3};
  tmp0 = at(7), tmp1 = at(5), tmp2 = at(3), tmp3 = at(1);
  z1 = tmp0 + tmp3, z2 = tmp1 + tmp2, z3 = wrap(tmp0 + tmp2);
  int z4 = wrap(tmp1 + tmp3);
  const int z5 = (z3 + z4) * 9633;
  tmp0 *= 2446, tmp1 *= 16819, tmp2 *= 25172, tmp3 *= 12299;
  z1 *= -7373, z2 *= -20995, z3 = z3 * -16069 + z5, z4 = z4 * -3196 + z5;
  const int odd[4] = {tmp3 + z1 + z4, tmp2 + z2 + z3, tmp1 + z2 + z4, tmp0 + z1 + z3};
  for (int i = 0; i < 4; i++) {
    auto clamped = [&](int64_t sum) {
      return int(std::clamp<int64_t>(int32_t(sum + (1 << (shift - 1))) >> shift, -32768, 32767));
    };
    at(i) = clamped(int64_t(even[i]) + odd[i]);
    at(7 - i) = clamped(int64_t(even[i]) - odd[i]);
  }
}

TEST(Jpeg, InverseTransformEqualsLibjpegs) {
  std::mt19937 engine(5);
  for (int64_t blocks : {1, 2, 3, 4, 5, 8, 11}) {
    for (int range : {1, 20, 200, 900}) {
      const int64_t room = (blocks + 3) / 4 * 4, ldo = 8 * room + 16;
      std::vector<int16_t> coefficients(size_t(room * 64)), quantization(64);
      for (int16_t& q : quantization) q = int16_t(1 + engine() % 3);
      for (int16_t& c : coefficients)
        c = engine() % 3 ? int16_t(0) : int16_t(int(engine() % uint32_t(2 * range + 1)) - range);
      std::vector<uint8_t> out(size_t(8 * ldo), 0xa5);
      const int32_t most = tier().jpeg_idct_u8(out.data(), ldo, coefficients.data(), quantization.data(), blocks);
      int want_most = 0;
      for (int64_t b = 0; b < blocks; b++) {
        Block block;
        for (size_t i = 0; i < 64; i++) block[i] = coefficients[size_t(b) * 64 + i] * quantization[i];
        for (int i = 0; i < 8; i++) want_most = std::max(want_most, std::abs(block[size_t(i)]));
        for (int i = 0; i < 8; i++) transform(&block[size_t(i)], 8, 11);
        for (int i = 0; i < 8; i++) transform(&block[size_t(8 * i)], 1, 18);
        for (int y = 0; y < 8; y++) {
          for (int x = 0; x < 8; x++)
            ASSERT_EQ(int(out[size_t(y * ldo + 8 * b + x)]), std::clamp(block[size_t(8 * y + x)] + 128, 0, 255))
                << blocks << " " << range << " " << b << " " << y << " " << x;
        }
      }
      EXPECT_GE(most, want_most);
      for (int y = 0; y < 8; y++) {
        for (int64_t x = 8 * room; x < ldo; x++) ASSERT_EQ(out[size_t(y * ldo + x)], 0xa5);
      }
    }
  }
}

// The largest value of first rows, which callers compare with what libjpeg's code can hold.
TEST(Jpeg, LargestOfFirstRows) {
  std::vector<int16_t> coefficients(4 * 64), quantization(64, 100);
  std::vector<uint8_t> out(8 * 32);
  coefficients[3] = -90, coefficients[9] = 300;
  EXPECT_EQ(tier().jpeg_idct_u8(out.data(), 32, coefficients.data(), quantization.data(), 1), 9000);
}

std::vector<uint8_t> random_bytes(int64_t n, std::mt19937& engine) {
  std::vector<uint8_t> bytes(static_cast<size_t>(n));
  for (uint8_t& b : bytes) b = engine() % 4 ? uint8_t(engine()) : uint8_t(engine() % 2 * 255);
  return bytes;
}

TEST(Jpeg, UpsamplingEqualsLibjpegs) {
  std::mt19937 engine(6);
  for (int64_t n = 1; n < 70; n++) {
    for (bool two_rows : {false, true}) {
      const auto near = random_bytes(n, engine), far = random_bytes(n, engine);
      std::vector<uint8_t> out(size_t(2 * n) + 8, 0xa5);
      tier().jpeg_upsample_u8(out.data(), near.data(), two_rows ? far.data() : nullptr, n);
      for (int64_t i = 0; i < 2 * n; i++) {
        const int64_t at = i / 2, next = at + (i % 2 == 0 ? -1 : 1);
        auto sample = [&](int64_t k) { return two_rows ? 3 * near[size_t(k)] + far[size_t(k)] : near[size_t(k)]; };
        const bool edge = next < 0 || next == n;
        const int left = two_rows ? 8 : 1, right = two_rows ? 7 : 2;
        int want = 3 * sample(at) + sample(edge ? at : next) + (i % 2 == 0 ? left : right);
        if (edge && !two_rows) want = 4 * sample(at);
        ASSERT_EQ(int(out[size_t(i)]), want >> (two_rows ? 4 : 2)) << n << " " << two_rows << " " << i;
      }
      for (int64_t i = 2 * n; i < 2 * n + 8; i++) ASSERT_EQ(out[size_t(i)], 0xa5);
    }
  }
}

TEST(Jpeg, ColoursEqualLibjpegs) {
  std::mt19937 engine(7);
  for (int64_t n : {1, 2, 15, 16, 17, 31, 32, 33, 100, 70000}) {
    const auto y = random_bytes(n, engine), cb = random_bytes(n, engine), cr = random_bytes(n, engine);
    std::vector<uint8_t> out(size_t(3 * n) + 8, 0xa5);
    tier().jpeg_rgb_u8(out.data(), y.data(), cb.data(), cr.data(), n);
    for (int64_t i = 0; i < n; i++) {
      const int luma = y[size_t(i)], blue = cb[size_t(i)] - 128, red = cr[size_t(i)] - 128;
      const int want[3] = {luma + ((91881 * red + 32768) >> 16), luma + ((-22554 * blue - 46802 * red + 32768) >> 16),
                           luma + ((116130 * blue + 32768) >> 16)};
      for (int c = 0; c < 3; c++) ASSERT_EQ(int(out[size_t(3 * i + c)]), std::clamp(want[c], 0, 255)) << n << " " << i;
    }
    for (int64_t i = 3 * n; i < 3 * n + 8; i++) ASSERT_EQ(out[size_t(i)], 0xa5);
  }
}

}  // namespace
}  // namespace caracal::kernels
