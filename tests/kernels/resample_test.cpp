#include <algorithm>

#include "testing.h"

namespace caracal::kernels {
namespace {

std::vector<uint8_t> random_bytes(size_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = uint8_t(engine());
  return bytes;
}

// Bytes between guards that must stay as they are.
struct GuardedBytes {
  explicit GuardedBytes(size_t n) : memory(n + 2 * kGuard, kMark) {}
  uint8_t* data() { return memory.data() + kGuard; }
  bool guards_intact() const {
    return std::all_of(memory.begin(), memory.begin() + kGuard, [](uint8_t b) { return b == kMark; }) &&
           std::all_of(memory.end() - kGuard, memory.end(), [](uint8_t b) { return b == kMark; });
  }
  static constexpr int kGuard = 64;
  static constexpr uint8_t kMark = 0xa5;
  std::vector<uint8_t> memory;
};

// Random weights of either sign around a sum of one, as filters have them, and now and then extreme ones.
struct Weights {
  std::vector<int32_t> bounds, weights;  // weights: (outputs, taps)
  std::vector<int16_t> split;
  int64_t taps;

  Weights(int64_t in_size, int64_t out_size, int64_t max_count, std::mt19937& engine) : taps((max_count + 3) / 4 * 4) {
    weights.assign(size_t(out_size * taps), 0);
    split.assign(size_t(2 * out_size * taps), 0);
    for (int64_t i = 0; i < out_size; i++) {
      const int64_t count = 1 + int64_t(engine() % uint32_t(std::min(max_count, in_size)));
      bounds.push_back(int32_t(engine() % uint32_t(in_size - count + 1)));
      bounds.push_back(int32_t(count));
      for (int64_t t = 0; t < count; t++) {
        int32_t w = int32_t(engine() % (1u << 23)) / int32_t(count) - (1 << 21) / int32_t(count);
        if (engine() % 8 == 0) w = engine() % 2 ? 5'000'000 : -5'000'000;
        weights[size_t(i * taps + t)] = w;
        split[size_t(2 * i * taps + t)] = int16_t(w >> 12);
        split[size_t((2 * i + 1) * taps + t)] = int16_t(w & 4095);
      }
    }
  }
  // 64-bit sums, cut to 32 bits as the kernel's wrap.
  uint8_t apply(int64_t i, auto input) const {
    int64_t sum = 1 << 21;
    for (int64_t t = 0; t < bounds[size_t(2 * i + 1)]; t++)
      sum += int64_t(input(bounds[size_t(2 * i)] + t)) * weights[size_t(i * taps + t)];
    return uint8_t(std::clamp(int32_t(uint32_t(sum)) >> 22, 0, 255));
  }
};

TEST(Resample, GatheredBytesComeFromTheirPlaces) {
  std::mt19937 engine(11);
  for (int64_t windows : {1, 2, 3, 4}) {
    for (int64_t count : {1, 2, 5}) {
      for (int64_t last : {16 * count - 16, std::max<int64_t>(16 * count - 21, 0)}) {
        const auto in = random_bytes(300, engine());
        std::vector<int32_t> begin;
        std::vector<uint8_t> patterns(size_t(16 * windows * count), 0x80), want(size_t(last + 16));
        for (int64_t i = 0; i < count; i++) {
          begin.push_back(int32_t(engine() % uint32_t(in.size() - size_t(16 * windows) + 1)));
          for (int64_t j = 0; j < 16; j++) {
            const int64_t at = engine() % uint32_t(16 * windows);
            patterns[size_t(16 * (i * windows + at / 16) + j)] = uint8_t(at % 16);
            want[size_t((i + 1 < count ? 16 * i : last) + j)] = in[size_t(begin.back() + at)];
          }
        }
        GuardedBytes out(want.size());
        tier().gather_bytes_u8(out.data(), in.data(), begin.data(), patterns.data(), count, windows, last);
        EXPECT_TRUE(std::equal(want.begin(), want.end(), out.data())) << windows << " " << count << " " << last;
        EXPECT_TRUE(out.guards_intact());
      }
    }
  }
}

TEST(Resample, AlongXEqualsPlainSums) {
  std::mt19937 engine(7);
  for (int64_t channels : {1, 2, 3, 4}) {
    for (int64_t in_size : {1, 2, 3, 4, 5, 6, 7, 11, 40}) {
      for (int64_t max_count : {1, 2, 3, 4, 5, 9, 33}) {
        const int64_t out_size = 1 + int64_t(engine() % 9), rows = 1 + int64_t(engine() % 9);
        const Weights w(in_size, out_size, max_count, engine);
        // The input ends where its vector ends, so that AddressSanitizer sees a read beyond it.
        const auto in = random_bytes(size_t(rows * in_size * channels), engine());
        GuardedBytes out(size_t(rows * out_size * channels));
        ResampleArgs args{};
        args.out = out.data(), args.ldo = out_size * channels, args.in = in.data(), args.ldi = in_size * channels;
        args.in_size = in_size, args.out_size = out_size, args.channels = channels;
        args.bounds = w.bounds.data(), args.weights = w.split.data(), args.taps = w.taps;
        const int64_t begin = rows / 3;
        tier().resample_x_u8(args, 0, begin);
        tier().resample_x_u8(args, begin, rows);
        for (int64_t y = 0; y < rows; y++) {
          for (int64_t x = 0; x < out_size; x++) {
            for (int64_t c = 0; c < channels; c++) {
              const int want = w.apply(x, [&](int64_t i) { return in[size_t((y * in_size + i) * channels + c)]; });
              ASSERT_EQ(int(out.data()[(y * out_size + x) * channels + c]), want)
                  << channels << " " << in_size << " " << x;
            }
          }
        }
        ASSERT_TRUE(out.guards_intact());
      }
    }
  }
}

TEST(Resample, AlongYEqualsPlainSums) {
  std::mt19937 engine(8);
  for (int64_t row_bytes : {1, 7, 15, 16, 17, 31, 32, 33, 48, 100}) {
    for (int64_t in_size : {1, 2, 3, 8, 40}) {
      for (int64_t max_count : {1, 2, 3, 4, 5, 33}) {
        const int64_t out_size = 1 + int64_t(engine() % 6);
        const Weights w(in_size, out_size, max_count, engine);
        const auto in = random_bytes(size_t(in_size * row_bytes), engine());
        GuardedBytes out(size_t(out_size * row_bytes));
        ResampleArgs args{};
        args.out = out.data(), args.ldo = row_bytes, args.in = in.data(), args.ldi = row_bytes,
        args.row_bytes = row_bytes;
        args.bounds = w.bounds.data(), args.weights = w.split.data(), args.taps = w.taps;
        tier().resample_y_u8(args, 0, out_size);
        for (int64_t y = 0; y < out_size; y++) {
          for (int64_t i = 0; i < row_bytes; i++) {
            const int want = w.apply(y, [&](int64_t t) { return in[size_t(t * row_bytes + i)]; });
            ASSERT_EQ(int(out.data()[y * row_bytes + i]), want) << row_bytes << " " << in_size << " " << y << " " << i;
          }
        }
        ASSERT_TRUE(out.guards_intact());
      }
    }
  }
}

TEST(LookupPlanes, SeparatesChannels) {
  for (int64_t channels : {1, 2, 3, 4}) {
    const int64_t pixels = 19, ldo = 23;
    const auto in = random_bytes(size_t(pixels * channels), 3);
    const auto table = random_floats(256 * channels, 1, 4);
    Guarded out(ldo * channels);
    tier().lookup_planes_f32(out.data(), ldo, in.data(), pixels, channels, table.data());
    for (int64_t c = 0; c < channels; c++) {
      for (int64_t i = 0; i < ldo; i++)
        ASSERT_EQ(out[c * ldo + i], i < pixels ? table[size_t(256 * c + in[size_t(i * channels + c)])] : -77.0f);
    }
    ASSERT_TRUE(out.guards_intact());
  }
}

// numpy's sums, restated: blocks of up to 128 in eight strands, halves that are multiples of eight.
float numpy_sum(const float* x, int64_t n) {
  if (n < 8) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
  }
  if (n > 128) {
    const int64_t half = n / 2 - n / 2 % 8;
    return numpy_sum(x, half) + numpy_sum(x + half, n - half);
  }
  float strands[8];
  std::copy_n(x, 8, strands);
  int64_t i = 8;
  for (; i < n / 8 * 8; i++) strands[i % 8] += x[i];
  float sum =
      ((strands[0] + strands[1]) + (strands[2] + strands[3])) + ((strands[4] + strands[5]) + (strands[6] + strands[7]));
  for (; i < n; i++) sum += x[i];
  return sum;
}

TEST(PairwiseSum, HasNumpysBits) {
  for (int64_t n : {0, 1, 7, 8, 9, 15, 16, 17, 127, 128, 129, 136, 255, 256, 257, 1000, 4099}) {
    const auto x = random_floats(n, 3, uint32_t(n));
    ASSERT_EQ(tier().pairwise_sum_f32(x.data(), n), numpy_sum(x.data(), n)) << n;
    std::vector<float> squares(x);
    for (float& v : squares) v = (v - 0.25f) * (v - 0.25f);
    ASSERT_EQ(tier().pairwise_squares_f32(x.data(), 0.25f, n), numpy_sum(squares.data(), n)) << n;
  }
}

TEST(Standardize, IsExactAndInPlace) {
  for (int64_t n : {0, 1, 15, 16, 17, 33, 100}) {
    Guarded x(random_floats(n, 2, 5), 1), out(n, 3);
    tier().standardize_f32(out.data(), x.data(), n, 0.3f, 1.7f);
    for (int64_t i = 0; i < n; i++) ASSERT_EQ(out[i], (x[i] - 0.3f) / 1.7f);
    tier().standardize_f32(x.data(), x.data(), n, 0.3f, 1.7f);
    ASSERT_TRUE(same_bits(x.data(), out.data(), n));
    ASSERT_TRUE(out.guards_intact() && x.guards_intact());
  }
}

TEST(Fir, EqualsPlainSums) {
  for (int64_t taps : {1, 2, 15, 16, 17, 41}) {
    for (int64_t step : {1, 3}) {
      const int64_t count = 9, out_step = 2;
      const auto x = random_floats((count - 1) * step + taps, 1, 1), w = random_floats(taps, 1, 2);
      Guarded out(count * out_step), other(count * out_step);
      tier().fir_f32(out.data(), out_step, x.data(), step, count, w.data(), taps);
      twin().fir_f32(other.data(), out_step, x.data(), step, count, w.data(), taps);
      ASSERT_TRUE(same_bits(out.data(), other.data(), out.size()));
      for (int64_t i = 0; i < count; i++) {
        double want = 0;
        for (int64_t t = 0; t < taps; t++) want += double(x[size_t(i * step + t)]) * double(w[size_t(t)]);
        ASSERT_NEAR(out[i * out_step], want, 2e-6);
        ASSERT_EQ(out[i * out_step + 1], -77.0f);
      }
      ASSERT_TRUE(out.guards_intact());
    }
  }
}

}  // namespace
}  // namespace caracal::kernels
