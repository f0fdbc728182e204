#include <cfloat>

#include "testing.h"

namespace caracal::kernels {
namespace {

constexpr int64_t kLengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100};

// Every 997th float of both signs, denormals and infinities included: an even sample of all exponents.
std::vector<float> all_exponents() {
  std::vector<float> x;
  for (uint64_t bits = 0; bits <= 0x7f800000; bits += 997) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      uint32_t pattern = uint32_t(bits) | sign;
      float f;
      std::memcpy(&f, &pattern, sizeof f);
      x.push_back(f);
    }
  }
  return x;
}

// Absolute error up to |x| = 1, relative to |f(x)| beyond; measured maxima: 4.4e-7 for gelu on the scalar
// tier, where fma() rounds twice, 3.3e-7 for tanh, less for others.
TEST(Activation, MatchesDoubleReferenceOnAllExponents) {
  std::vector<float> x = all_exponents();
  int64_t n = int64_t(x.size());
  for (Activation activation : kActivations) {
    std::vector<float> out(x.size()), other(x.size());
    tier().activation_f32(out.data(), x.data(), n, activation);
    twin().activation_f32(other.data(), x.data(), n, activation);
    EXPECT_TRUE(same_bits(out.data(), other.data(), n)) << int(activation);
    double worst = 0;
    float where = 0;
    for (int64_t i = 0; i < n; i++) {
      double expected = reference_activation(x[size_t(i)], activation), got = out[size_t(i)];
      if (!std::isfinite(expected) || std::abs(expected) > 3.4e38) continue;
      double error = std::abs(got - expected) / std::max(1.0, std::abs(expected));
      if (!(error <= worst)) worst = error, where = x[size_t(i)];
    }
    EXPECT_LE(worst, 5e-7) << "activation " << int(activation) << " at " << where;
  }
}

// Where gelu's error is largest, and on to where Φ is exactly 0 or 1.
TEST(Activation, GeluInItsTail) {
  std::vector<float> x, out;
  for (float v = -5.65f; v < -4.2f; v = std::nextafter(v, 0.0f)) x.push_back(v);
  out.resize(x.size());
  tier().activation_f32(out.data(), x.data(), int64_t(x.size()), Activation::gelu);
  for (size_t i = 0; i < x.size(); i++)
    ASSERT_NEAR(out[i], reference_activation(x[i], Activation::gelu), 4.5e-7) << x[i];
  x = {5.6f, 5.7f, 6, 100, 1e30f, FLT_MAX};
  const size_t n = x.size();
  for (size_t i = 0; i < n; i++) x.push_back(-x[i]);
  tier().activation_f32(out.data(), x.data(), int64_t(2 * n), Activation::gelu);
  for (size_t i = 0; i < 2 * n; i++) EXPECT_EQ(out[i], i < n ? x[i] : 0) << x[i];
}

// Near zero the relative error counts: tanh(x) = x, gelu(x) = x / 2 there.
TEST(Activation, KeepsDigitsNearZero) {
  std::vector<float> x;
  for (float v = 1e-30f; v < 0.1f; v *= 1.7f) x.push_back(v), x.push_back(-v);
  for (Activation activation :
       {Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu, Activation::silu, Activation::tanh,
        Activation::gelu_10, Activation::hardswish, Activation::leaky_relu, Activation::mish}) {
    std::vector<float> out(x.size());
    tier().activation_f32(out.data(), x.data(), int64_t(x.size()), activation);
    for (size_t i = 0; i < x.size(); i++) {
      double expected = reference_activation(x[i], activation);
      EXPECT_NEAR(out[i], expected, 5e-7 * std::abs(expected)) << int(activation) << " at " << x[i];
    }
  }
}

TEST(Activation, TailsInPlaceAndGuards) {
  for (int64_t n : kLengths) {
    for (Activation activation : kActivations) {
      Guarded in(random_floats(n, 4), 3), out(n, 1), spec(n);
      tier().activation_f32(out.data(), in.data(), n, activation);
      scalar_tier().activation_f32(spec.data(), in.data(), n, activation);
      for (int64_t i = 0; i < n; i++) ASSERT_NEAR(out[i], spec[i], 1e-6 * std::max(1.0f, std::abs(spec[i])));
      tier().activation_f32(in.data(), in.data(), n, activation);
      ASSERT_TRUE(same_bits(in.data(), out.data(), n));
      ASSERT_TRUE(in.guards_intact() && out.guards_intact());
    }
  }
}

// What PyTorch gives for {NaN, inf, -inf, 0}.
TEST(Activation, SpecialValues) {
  std::vector<float> x = {NAN, INFINITY, -INFINITY, 0.0f};
  struct {
    Activation activation;
    float inf, minus_inf, zero;
  } expected[] = {{Activation::relu, INFINITY, 0, 0},        {Activation::gelu, INFINITY, NAN, 0},
                  {Activation::gelu_tanh, INFINITY, NAN, 0}, {Activation::quick_gelu, INFINITY, NAN, 0},
                  {Activation::silu, INFINITY, NAN, 0},      {Activation::tanh, 1, -1, 0},
                  {Activation::sigmoid, 1, 0, 0.5f},         {Activation::none, INFINITY, -INFINITY, 0},
                  {Activation::gelu_10, 10, NAN, 0},         {Activation::hardswish, INFINITY, NAN, 0},
                  {Activation::mish, INFINITY, NAN, 0},      {Activation::leaky_relu, INFINITY, -INFINITY, 0},
                  {Activation::relu2, INFINITY, 0, 0},       {Activation::relu6, 6, 0, 0}};
  auto same = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (auto& e : expected) {
    std::vector<float> out(4);
    tier().activation_f32(out.data(), x.data(), 4, e.activation);
    EXPECT_TRUE(std::isnan(out[0])) << int(e.activation);
    EXPECT_TRUE(same(out[1], e.inf) && same(out[2], e.minus_inf) && same(out[3], e.zero))
        << int(e.activation) << ": " << out[1] << ' ' << out[2] << ' ' << out[3];
  }
}

TEST(Add, IsExact) {
  for (int64_t n : kLengths) {
    Guarded x(random_floats(n, 1, 1), 1), y(random_floats(n, 1, 2), 2), out(n, 3);
    tier().add_f32(out.data(), x.data(), y.data(), n);
    for (int64_t i = 0; i < n; i++) ASSERT_EQ(out[i], x[i] + y[i]);
    tier().add_f32(x.data(), x.data(), y.data(), n);
    ASSERT_TRUE(same_bits(x.data(), out.data(), n));
    ASSERT_TRUE(out.guards_intact() && x.guards_intact());
  }
}

TEST(Add, ScaledAndLookedUp) {
  const std::vector<float> table = {0.5f, -2, 3};
  for (int64_t n : kLengths) {
    Guarded x(random_floats(n, 1, 1), 1), out(random_floats(n, 1, 2), 3), found(n, 2);
    const std::vector<float> before = out.values();
    tier().add_scaled_f32(out.data(), x.data(), 0.3f, n);
    std::vector<int32_t> index;
    for (int64_t i = 0; i < n; i++) index.push_back(int32_t(i * 7 % 3));
    tier().lookup_f32(found.data(), table.data(), index.data(), n, false);
    for (int64_t i = 0; i < n; i++) {
      ASSERT_NEAR(out[i], double(before[size_t(i)]) + double(0.3f) * double(x[i]), 2e-7);
      ASSERT_EQ(found[i], table[size_t(index[size_t(i)])]);
    }
    tier().lookup_f32(found.data(), table.data(), index.data(), n, true);
    for (int64_t i = 0; i < n; i++) ASSERT_EQ(found[i], 2 * table[size_t(index[size_t(i)])]);
    ASSERT_TRUE(out.guards_intact() && found.guards_intact());
  }
}

double half_value(uint16_t h) {
  double sign = h & 0x8000 ? -1 : 1;
  int exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31) return mantissa ? double(NAN) : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}

TEST(Convert, AllHalfAndBfloatValues) {
  std::vector<uint16_t> x(65536);
  for (size_t i = 0; i < x.size(); i++) x[i] = uint16_t(i);
  std::vector<float> out(x.size()), other(x.size());
  tier().f16_to_f32(out.data(), x.data(), 65536);
  scalar_tier().f16_to_f32(other.data(), x.data(), 65536);
  EXPECT_TRUE(same_bits(out.data(), other.data(), 65536));
  for (size_t i = 0; i < x.size(); i++) {
    double expected = half_value(x[i]);
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(out[i]) : out[i] == expected && std::signbit(out[i]) == (x[i] >> 15))
        << i;
  }
  tier().bf16_to_f32(out.data(), x.data(), 65536);
  for (size_t i = 0; i < x.size(); i++) {
    uint32_t bits;
    std::memcpy(&bits, &out[i], sizeof bits);
    ASSERT_EQ(bits, uint32_t(i) << 16);
  }
  for (int64_t n : kLengths) {
    Guarded f16(n, 1), bf16(n, 2);
    tier().f16_to_f32(f16.data(), x.data() + 0x3c00, n);
    tier().bf16_to_f32(bf16.data(), x.data() + 0x3f80, n);
    ASSERT_TRUE(f16.guards_intact() && bf16.guards_intact());
    if (n > 0) {
      ASSERT_EQ(f16[0], 1.0f);
      ASSERT_EQ(bf16[0], 1.0f);
      ASSERT_EQ(bf16[n - 1], 1.0f + float(n - 1) / 128);
    }
  }
}

}  // namespace
}  // namespace caracal::kernels
