// Products of narrow numbers: bfloat16 and float16 weights, bfloat16 throughout, 8 bits.
#include <bit>

#include "testing.h"

namespace caracal::kernels {
namespace {

uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }
float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }

// The nearest bfloat16, ties to even, of a finite x.
uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float from_bf16(uint16_t x) { return float_of(uint32_t(x) << 16); }

std::vector<const Kernels*> tiers() {
  std::vector<const Kernels*> result;
  for (Isa isa : kIsas)
    if (isa_supported(isa)) result.push_back(&cpu_kernels(isa));
  return result;
}

/// Memory for a packed matrix or converted rows, aligned, between guards.
class Bytes {
 public:
  explicit Bytes(size_t size) : size_(size), memory_(size + 64 + 2 * kGuard, char(0x5a)) {
    data_ = memory_.data() + kGuard;
    data_ += (64 - reinterpret_cast<uintptr_t>(data_) % 64) % 64;
  }
  char* data() { return data_; }
  bool guards_intact() const {
    auto kept = [](char c) { return c == 0x5a; };
    return std::all_of(memory_.data(), static_cast<const char*>(data_), kept) &&
           std::all_of(static_cast<const char*>(data_) + size_, memory_.data() + memory_.size(), kept);
  }

 private:
  static constexpr size_t kGuard = 256;
  size_t size_;
  std::vector<char> memory_;
  char* data_;
};

int64_t panels_of(const Kernels& k, int64_t n) { return (n + k.panel_width_low(n) - 1) / k.panel_width_low(n); }

struct Shape {
  int64_t rows, n, k;
  Activation activation = Activation::none;
  bool bias = false, residual = false;
};

struct Data {
  std::vector<float> a, w, bias, residual;
  explicit Data(const Shape& s)
      : a(random_floats(s.rows * (s.k + 3), 2, 1)),  // rows k + 3 apart
        w(random_floats(s.n * s.k, 0.3f, 2)),
        bias(random_floats(s.n, 1, 3)),
        residual(random_floats(s.rows * s.n, 1, 4)) {
    for (size_t i = 0; i < a.size(); i += 7) a[i] *= 3;  // no row is symmetric about 0
  }
};

GemmArgs arguments(const Shape& s, const Data& d, const char* packed, float* c) {
  GemmArgs g{};
  g.a = d.a.data(), g.lda = s.k + 3, g.packed = packed;
  g.c = c, g.ldc = s.n, g.rows = s.rows, g.n = s.n, g.k = s.k;
  g.bias = s.bias ? d.bias.data() : nullptr, g.activation = s.activation;
  g.residual = s.residual ? d.residual.data() : nullptr, g.ldr = s.n;
  return g;
}

/// Runs rows [row, row + rows) of panels [begin, end).
void run(const Kernels& k, void (*gemm)(const GemmArgs&), GemmArgs g, int64_t row, int64_t rows, int64_t begin,
         int64_t end) {
  g.a += row * g.lda * (g.rows_a == nullptr), g.c += row * g.ldc, g.rows = rows;
  if (g.rows_a != nullptr) g.rows_a = static_cast<const char*>(g.rows_a) + row * g.lda;
  if (g.residual != nullptr) g.residual += row * g.ldr;
  g.panel_begin = begin, g.panel_end = std::min(end, panels_of(k, g.n));
  gemm(g);
}

struct Quantized {
  std::vector<int8_t> w;
  std::vector<float> scales;
  Quantized(const Kernels& k, const std::vector<float>& from, int64_t n, int64_t depth)
      : w(size_t(n * depth)), scales(size_t(n)) {
    k.quantize_weights_s8(w.data(), scales.data(), from.data(), n, depth);
  }
};

enum class Kind { bf16, f16, bf16_dot, s8 };

std::vector<uint16_t> halves(const std::vector<float>& w, Kind kind) {
  std::vector<uint16_t> result;
  for (float x : w) {
    if (kind == Kind::f16) {  // of sign and exponent as they fit, 10 bits of mantissa cut off
      const uint32_t bits = bits_of(x), exponent = bits >> 23 & 255;
      result.push_back(
          uint16_t((bits >> 16 & 0x8000) | (exponent < 113 ? 0 : (exponent - 112) << 10 | (bits >> 13 & 1023))));
    } else {
      result.push_back(to_bf16(x));
    }
  }
  return result;
}

/// The product on one tier, in parts of so many rows and panels.
std::vector<float> product(const Kernels& k, Kind kind, const Shape& s, const Data& d, int64_t part = INT64_MAX / 2) {
  Guarded c(s.rows * s.n);
  const int64_t panels = panels_of(k, s.n);
  void (*gemm)(const GemmArgs&) = kind == Kind::bf16  ? k.gemm_bf16
                                  : kind == Kind::f16 ? k.gemm_f16
                                  : kind == Kind::s8  ? k.gemm_s8
                                                      : k.gemm_bf16_dot;
  Bytes packed(kind == Kind::s8         ? k.packed_bytes_s8(s.n, s.k)
               : kind == Kind::bf16_dot ? k.packed_bytes_bf16_dot(s.n, s.k)
                                        : k.packed_bytes_x16(s.n, s.k));
  const bool rows_first = kind == Kind::s8 || kind == Kind::bf16_dot;
  const size_t row_bytes = kind == Kind::s8 ? k.row_bytes_s8(s.k) : k.row_bytes_bf16_dot(s.k);
  Bytes rows(rows_first ? row_bytes * size_t(s.rows) : 0);
  const int64_t half = panels / 2;
  if (kind == Kind::s8) {
    const Quantized q(k, d.w, s.n, s.k);
    k.pack_gemm_s8(packed.data(), q.w.data(), q.scales.data(), s.n, s.k, half, panels);
    k.pack_gemm_s8(packed.data(), q.w.data(), q.scales.data(), s.n, s.k, 0, half);
    k.rows_s8(rows.data(), d.a.data(), s.k + 3, s.rows, s.k);
  } else {
    const auto w = halves(d.w, kind);
    auto pack = kind == Kind::bf16_dot ? k.pack_gemm_bf16_dot : k.pack_gemm_x16;
    pack(packed.data(), w.data(), s.n, s.k, half, panels);
    pack(packed.data(), w.data(), s.n, s.k, 0, half);
    if (rows_first) k.rows_bf16_dot(rows.data(), d.a.data(), s.k + 3, s.rows, s.k);
  }
  EXPECT_TRUE(packed.guards_intact() && rows.guards_intact());
  GemmArgs g = arguments(s, d, packed.data(), c.data());
  if (rows_first) g.a = nullptr, g.rows_a = rows.data(), g.lda = int64_t(row_bytes);
  for (int64_t row = 0; row < s.rows; row += part)
    for (int64_t p = 0; p < panels; p += part) run(k, gemm, g, row, std::min(part, s.rows - row), p, p + part);
  EXPECT_TRUE(c.guards_intact());
  return c.values();
}

template <class F>
void for_shapes(F check) {
  for (int64_t rows : {0, 1, 2, 5, 6, 7, 8, 9, 13, 16})
    for (int64_t n : {1, 15, 16, 17, 48, 49, 64, 80, 100})
      for (int64_t k : {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 70}) check(Shape{rows, n, k});
  for (int64_t k : {767, 1537, 3072, 3075, 6200}) check(Shape{9, 50, k});
  for (int64_t rows : {31, 129, 200}) check(Shape{rows, 33, 40});
  for (Activation activation : kActivations) check(Shape{11, 50, 24, activation, true, true});
  check(Shape{11, 50, 24, Activation::none, true, false});
}

std::string text(const Shape& s) {
  return std::to_string(s.rows) + " rows, n " + std::to_string(s.n) + ", k " + std::to_string(s.k) + ", activation " +
         std::to_string(int(s.activation));
}

// Weights of 16 bits with float32 arithmetic: the very bits of the float32 product with those weights.
TEST(NarrowProduct, StoredIn16BitsIsFloat32) {
  for (Kind kind : {Kind::bf16, Kind::f16}) {
    for_shapes([&](const Shape& s) {
      const Data d(s);
      Data rounded = d;
      const auto w = halves(d.w, kind);
      if (kind == Kind::bf16)
        std::ranges::transform(w, rounded.w.begin(), from_bf16);
      else
        tier().f16_to_f32(rounded.w.data(), w.data(), int64_t(w.size()));
      const Kernels& native = cpu_kernels(tier().isa);
      Bytes packed(native.packed_bytes_f32(s.n, s.k));
      const int64_t panels = (s.n + native.panel_width_f32(s.n) - 1) / native.panel_width_f32(s.n);
      native.pack_gemm_f32(packed.data() == nullptr ? nullptr : packed.data(), rounded.w.data(), s.k, s.n, s.k, 0,
                           panels);
      Guarded want(s.rows * s.n);
      GemmArgs g = arguments(s, rounded, packed.data(), want.data());
      g.panel_end = panels;
      native.gemm_f32(g);
      ASSERT_TRUE(same_bits(product(tier(), kind, s, d).data(), want.data(), s.rows * s.n)) << text(s);
    });
  }
}

/// act(y + bias) + residual
double finished(const Shape& s, const Data& d, double y, int64_t row, int64_t column) {
  if (s.bias) y += d.bias[size_t(column)];
  y = reference_activation(y, s.activation);
  return s.residual ? y + d.residual[size_t(row * s.n + column)] : y;
}

TEST(NarrowProduct, Bfloat16MatchesDouble) {
  for_shapes([&](const Shape& s) {
    const Data d(s);
    const std::vector<float> got = product(tier(), Kind::bf16_dot, s, d);
    for (int64_t r = 0; r < s.rows; r++)
      for (int64_t j = 0; j < s.n; j++) {
        double sum = 0, magnitude = 0;
        for (int64_t i = 0; i < s.k; i++) {
          const double term = double(from_bf16(to_bf16(d.a[size_t(r * (s.k + 3) + i)]))) *
                              double(from_bf16(to_bf16(d.w[size_t(j * s.k + i)])));
          sum += term, magnitude += std::abs(term);
        }
        const double want = finished(s, d, sum, r, j);
        ASSERT_NEAR(got[size_t(r * s.n + j)], want,
                    1e-6 + (4 + std::sqrt(double(s.k))) * magnitude * 0x1p-24 + 4e-7 * std::abs(want))
            << text(s) << " at " << r << ' ' << j;
      }
  });
}

// A row as it is before it is rounded to 8 bits: in blocks of 128, then 64, 32 and 16 numbers, a Hadamard transform.
std::vector<float> rotated(const float* x, size_t k) {
  std::vector<float> y(x, x + k);
  for (size_t begin = 0, block = 128; block >= 16;) {
    if (begin + block > k) {
      block /= 2;
      continue;
    }
    for (size_t i = begin; i < begin + block; i++) y[i] *= float(1 / std::sqrt(double(block)));
    for (size_t distance = 1; distance < block; distance *= 2)
      for (size_t i = begin; i < begin + block; i++)
        if (((i - begin) & distance) == 0) {
          const float low = y[i], high = y[i + distance];
          y[i] = low + high, y[i + distance] = low - high;
        }
    begin += block;
  }
  return y;
}

// What quantisation means, written once more in plain integers.
TEST(NarrowProduct, BytesMatchIntegers) {
  for_shapes([&](const Shape& s) {
    const Data d(s);
    const Quantized q(tier(), d.w, s.n, s.k);
    for (int64_t j = 0; j < s.n; j++) {
      const std::vector<float> w = rotated(d.w.data() + j * s.k, size_t(s.k));
      float largest = 0;
      for (float x : w) largest = std::max(largest, std::abs(x));
      ASSERT_EQ(q.scales[size_t(j)], largest / 127);
      for (int64_t i = 0; i < s.k; i++)
        ASSERT_LE(std::abs(float(q.w[size_t(j * s.k + i)]) * q.scales[size_t(j)] - w[size_t(i)]),
                  0.501f * q.scales[size_t(j)]);
    }
    const std::vector<float> got = product(tier(), Kind::s8, s, d);
    for (int64_t r = 0; r < s.rows; r++) {
      const std::vector<float> x = rotated(d.a.data() + r * (s.k + 3), size_t(s.k));
      float least = 0, most = 0;
      for (float v : x) least = std::min(least, v), most = std::max(most, v);
      const float scale = most * (1.0f / 255) - least * (1.0f / 255), inverse = 1 / scale;
      const int64_t zero = std::lrint(-least * inverse);
      for (int64_t j = 0; j < s.n; j++) {
        int64_t sum = 0;
        for (int64_t i = 0; i < s.k; i++)
          sum += (std::clamp<int64_t>(std::lrint(x[size_t(i)] * inverse) + zero, 0, 255) - zero) *
                 q.w[size_t(j * s.k + i)];
        const float want = float(sum) * (scale * q.scales[size_t(j)]);
        if (s.activation == Activation::none && !s.bias)
          ASSERT_EQ(got[size_t(r * s.n + j)], want) << text(s) << " at " << r << ' ' << j;
        else
          ASSERT_NEAR(got[size_t(r * s.n + j)], finished(s, d, double(want), r, j),
                      1e-5 * std::max(1.0f, std::abs(want)))
              << text(s);
      }
    }
  });
}

// On every tier this machine has: the same integers, so the same bytes; of bfloat16 the same chain of multiply-adds,
// but that the scalar tier does not fuse them.
TEST(NarrowProduct, TiersAgree) {
  for_shapes([&](const Shape& s) {
    const Data d(s);
    for (Kind kind : {Kind::bf16, Kind::f16, Kind::bf16_dot, Kind::s8}) {
      const std::vector<float> mine = product(tier(), kind, s, d);
      for (const Kernels* other : tiers()) {
        const bool scalar = other->isa == Isa::scalar || tier().isa == Isa::scalar;
        const bool exact = !scalar || (kind == Kind::s8 && s.activation == Activation::none);
        const std::vector<float> theirs = product(*other, kind, s, d);
        if (exact)
          ASSERT_TRUE(same_bits(mine.data(), theirs.data(), int64_t(mine.size())))
              << tier().name << " and " << other->name << ", kind " << int(kind) << ", " << text(s);
        else
          for (size_t i = 0; i < mine.size(); i++)
            ASSERT_NEAR(mine[i], theirs[i], 2e-5 * std::max(1.0f, std::abs(mine[i])) * (s.k > 1000 ? 10 : 1))
                << other->name << ", kind " << int(kind) << ", " << text(s);
      }
    }
  });
}

// Numbers at the ends of their ranges: 255 · 127 summed over the largest k would saturate 16 bits at once.
TEST(NarrowProduct, ExtremesDoNotSaturate) {
  const int64_t k = 65536;
  Data d(Shape{3, 17, k});
  for (int64_t i = 0; i < k; i++) {
    d.a[size_t(i)] = i == 0 ? -0.0f : 1.0f;               // bytes 255, zero point 0
    d.a[size_t(k + 3 + i)] = -1.0f;                       // bytes 0, zero point 255
    d.a[size_t(2 * (k + 3) + i)] = i % 2 ? 1.0f : -1.0f;  // both
    for (int64_t j = 0; j < 17; j++)
      d.w[size_t(j * k + i)] = j % 3 == 0 ? 1.0f : j % 3 == 1 ? -1.0f : i % 2 ? 1.0f : -1.0f;
  }
  const std::vector<float> got = product(tier(), Kind::s8, Shape{3, 17, k}, d);
  for (int64_t j = 0; j < 17; j++) {
    double sums[3] = {};
    for (int64_t r = 0; r < 3; r++)
      for (int64_t i = 0; i < k; i++) sums[r] += double(d.a[size_t(r * (k + 3) + i)]) * double(d.w[size_t(j * k + i)]);
    for (int64_t r = 0; r < 3; r++) EXPECT_NEAR(got[size_t(r * 17 + j)], sums[r], 0.005 * double(k)) << r << ' ' << j;
  }
}

// The weight that the bytes stand for, in its own columns again: the root of the mean squared error is that of
// rounding.
TEST(NarrowProduct, BytesGiveTheWeightBack) {
  for (int64_t k : {1, 15, 16, 50, 70, 128, 383, 4097}) {
    const int64_t n = 3;
    std::vector<float> w = random_floats(n * k, 0.3f, 2), back(w.size());
    w[size_t(k / 2)] = 20;  // far from the others
    const Quantized q(tier(), w, n, k);
    tier().dequantize_weights_s8(back.data(), q.w.data(), q.scales.data(), n, k);
    for (int64_t j = 0; j < n; j++) {
      double squares = 0;
      for (int64_t i = 0; i < k; i++) squares += std::pow(double(back[size_t(j * k + i)] - w[size_t(j * k + i)]), 2);
      EXPECT_LE(std::sqrt(squares / double(k)), 0.51 * double(q.scales[size_t(j)])) << k << ' ' << j;
    }
  }
}

// A column fifty times as large as the others, as transformers have them, costs no accuracy.
TEST(NarrowProduct, OutliersCostNothing) {
  const Shape s{16, 64, 768};
  Data d(s);
  auto error = [&] {
    const std::vector<float> got = product(tier(), Kind::s8, s, d);
    double difference = 0, size = 0;
    for (int64_t r = 0; r < s.rows; r++)
      for (int64_t j = 0; j < s.n; j++) {
        double want = 0;
        for (int64_t i = 0; i < s.k; i++)
          want += double(d.a[size_t(r * (s.k + 3) + i)]) * double(d.w[size_t(j * s.k + i)]);
        difference += std::pow(double(got[size_t(r * s.n + j)]) - want, 2), size += want * want;
      }
    return std::sqrt(difference / size);
  };
  EXPECT_LT(error(), 0.012);
  for (int64_t r = 0; r < s.rows; r++) d.a[size_t(r * (s.k + 3) + 77)] = r % 2 ? 100.0f : -100.0f;
  EXPECT_LT(error(), 0.012);  // without the rotation 0.03
}

TEST(NarrowProduct, SpecialValuesStayInTheirRow) {
  const Shape s{9, 20, 40};
  for (Kind kind : {Kind::bf16, Kind::f16, Kind::bf16_dot, Kind::s8}) {
    for (float special : {NAN, -NAN, INFINITY, -INFINITY}) {
      Data d(s);
      d.a[1 * 43 + 3] = special;
      d.a[4 * 43 + 39] = special;
      for (int64_t i = 0; i < 40; i++) d.a[size_t(5 * 43 + i)] = 0;
      for (int64_t i = 0; i < 40; i++) d.a[size_t(6 * 43 + i)] = 1e-42f;
      for (int64_t i = 0; i < 40; i++) d.a[size_t(7 * 43 + i)] = i % 2 ? 3e37f : -3e37f;
      const std::vector<float> got = product(tier(), kind, s, d);
      for (int64_t j = 0; j < 20; j++) {
        for (int64_t r : {1, 4}) {
          const float y = got[size_t(r * 20 + j)];
          EXPECT_TRUE(kind == Kind::s8 || std::isnan(special) ? std::isnan(y) : !std::isfinite(y)) << r;
        }
        for (int64_t r : {0, 2, 3, 5, 6, 8}) EXPECT_TRUE(std::isfinite(got[size_t(r * 20 + j)])) << r;
        for (int64_t r : {5, 6}) EXPECT_NEAR(got[size_t(r * 20 + j)], 0.0f, 1e-40f);
        EXPECT_TRUE(kind != Kind::s8 || std::isfinite(got[size_t(7 * 20 + j)]));
      }
    }
  }
}

TEST(NarrowProduct, WeightsWithoutAScale) {
  std::vector<float> w(3 * 20, 0.5f);
  std::fill_n(w.begin(), 20, 0.0f);
  w[25] = NAN;
  w[59] = -1e30f;
  const Quantized q(tier(), w, 3, 20);
  EXPECT_EQ(q.scales[0], 0.0f);
  EXPECT_TRUE(std::isnan(q.scales[1]));
  EXPECT_EQ(q.scales[2], 1e30f / 127);
  for (int64_t i = 0; i < 40; i++) EXPECT_EQ(q.w[size_t(i)], 0) << i;
  EXPECT_EQ(q.w[59], -127);
  EXPECT_EQ(q.w[58], 0);
}

TEST(NarrowProduct, BitsDoNotDependOnRowsOrPanels) {
  for (Kind kind : {Kind::bf16, Kind::f16, Kind::bf16_dot, Kind::s8}) {
    for (int64_t n : {16, 64, 80, 200}) {
      const Shape s{37, n, 1800, Activation::gelu, true, true};
      const Data d(s);
      const std::vector<float> whole = product(tier(), kind, s, d);
      for (int64_t part : {1, 2, 3, 5, 8, 11, 20})
        EXPECT_TRUE(same_bits(whole.data(), product(tier(), kind, s, d, part).data(), s.rows * s.n))
            << "parts of " << part << ", kind " << int(kind);
    }
  }
}

}  // namespace
}  // namespace caracal::kernels
