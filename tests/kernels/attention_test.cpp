// attention_f32, and attention_bf16_dot against the same reference with its inputs rounded.
#include <bit>

#include "testing.h"

namespace caracal::kernels {
namespace {

enum class Kind { f32, bf16_dot };
constexpr Kind kKinds[] = {Kind::f32, Kind::bf16_dot};

// The nearest bfloat16, ties to even, of a finite x.
float to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

struct Case {
  int64_t queries, keys, head_dim, gap = 0;
  bool bias = false;
  int64_t hidden = 0;  // from the first query; one less from each after it
  Kind kind = Kind::f32;
};

struct Result {
  Guarded out, probs;
};

struct Data {
  std::vector<float> q, k, v, bias;
  int64_t ld;
  explicit Data(const Case& c)
      : q(random_floats(c.queries * (c.head_dim + c.gap), 2, 1)),
        k(random_floats(c.keys * (c.head_dim + c.gap), 2, 2)),
        v(random_floats(c.keys * (c.head_dim + c.gap), 1, 3)),
        bias(random_floats(c.queries * c.keys, 3, 4)),
        ld(c.head_dim + c.gap) {}
};

Result run(const Kernels& kernels, const Case& c, const Data& d, int64_t split = 1 << 20, bool with_probs = true) {
  Result r{Guarded(c.queries * d.ld, 1), Guarded(c.queries * (c.keys + 1), 3)};
  const bool f32 = c.kind == Kind::f32;
  const auto attention = f32 ? kernels.attention_f32 : kernels.attention_bf16_dot;
  const auto scratch_bytes = f32 ? kernels.attention_scratch_f32 : kernels.attention_scratch_bf16_dot;
  size_t floats = scratch_bytes(c.keys, c.head_dim) / sizeof(float);
  std::vector<float> scratch(floats + 48, NAN);
  float* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64 / sizeof(float);
  for (size_t i = floats; i < floats + 16; i++) aligned[i] = 9.0f;
  for (int64_t q = 0; q < c.queries; q += split) {
    int64_t n = std::min(split, c.queries - q);
    attention({.q = d.q.data() + q * d.ld,
               .k = d.k.data(),
               .v = d.v.data(),
               .ldq = d.ld,
               .ldk = d.ld,
               .ldv = d.ld,
               .queries = n,
               .keys = c.keys,
               .head_dim = c.head_dim,
               .hidden = std::max<int64_t>(0, c.hidden - q),
               .scale = 0.25f,
               .bias = c.bias ? d.bias.data() + q * c.keys : nullptr,
               .ldb = c.keys,
               .out = r.out.data() + q * d.ld,
               .ldo = d.ld,
               .probs = with_probs ? r.probs.data() + q * (c.keys + 1) : nullptr,
               .ldp = c.keys + 1,
               .scratch = aligned});
  }
  for (size_t i = floats; i < floats + 16; i++) EXPECT_EQ(aligned[i], 9.0f) << "wrote past the scratch";
  EXPECT_TRUE(r.out.guards_intact() && r.probs.guards_intact());
  return r;
}

void check(const Case& c) {
  SCOPED_TRACE(testing::Message() << "queries " << c.queries << " keys " << c.keys << " head_dim " << c.head_dim
                                  << " kind " << int(c.kind));
  Data d(c);
  Result r = run(tier(), c, d);
  if (c.kind == Kind::bf16_dot) {
    for (auto* x : {&d.q, &d.k, &d.v}) std::ranges::transform(*x, x->begin(), to_bf16);
  }
  for (int64_t i = 0; i < c.queries; i++) {
    std::vector<double> p(size_t(c.keys));
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < c.keys; j++) {
      double s = 0;
      for (int64_t e = 0; e < c.head_dim; e++) s += double(d.q[size_t(i * d.ld + e)]) * d.k[size_t(j * d.ld + e)];
      p[size_t(j)] = s * 0.25 + (c.bias ? d.bias[size_t(i * c.keys + j)] : 0.0f);
      if (j >= c.keys - std::max<int64_t>(0, c.hidden - i)) p[size_t(j)] = -INFINITY;
      top = std::max(top, p[size_t(j)]);
    }
    for (double& x : p) sum += x = top == -INFINITY ? 0.0 : std::exp(x - top);
    if (sum == 0) sum = 1;  // sees no key: probabilities and output are 0
    for (int64_t j = 0; j < c.keys; j++)
      ASSERT_NEAR(r.probs[i * (c.keys + 1) + j], p[size_t(j)] / sum, 4e-6) << i << ' ' << j;
    ASSERT_EQ(r.probs[i * (c.keys + 1) + c.keys], -77.0f);
    for (int64_t e = 0; e < c.head_dim; e++) {
      double expected = 0, slack = 5e-6;
      for (int64_t j = 0; j < c.keys; j++) {
        double low = p[size_t(j)], high = low;
        if (c.kind == Kind::bf16_dot) {  // two numbers where float32 may round to either
          low = to_bf16(float(low * (1 - 8e-6))), high = to_bf16(float(high * (1 + 8e-6)));
        }
        const double v = d.v[size_t(j * d.ld + e)] / sum;
        expected += (low + high) / 2 * v, slack += (high - low) / 2 * std::abs(v);
      }
      ASSERT_NEAR(r.out[i * d.ld + e], expected, slack) << i << ' ' << e;
    }
    for (int64_t e = c.head_dim; e < d.ld; e++) ASSERT_EQ(r.out[i * d.ld + e], -77.0f) << "gap after row " << i;
  }
}

TEST(Attention, MatchesDoubleReference) {
  for (Kind kind : kKinds) {
    for (int64_t keys = 1; keys <= 35; keys++) check({2, keys, 32, 0, true, 0, kind});
    for (int64_t keys : {1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 130}) {
      for (int64_t head_dim : {1, 2, 7, 8, 15, 16, 20, 33, 64, 80}) {
        check({5, keys, head_dim, 3, false, 0, kind});
        check({2, keys, head_dim, 0, true, 0, kind});
      }
    }
    for (int64_t queries : {0, 1, 6, 7, 12, 13, 24, 25, 50}) check({queries, 40, 32, 5, true, 0, kind});
    check({40, 512, 64, 128, false, 0, kind});
    check({130, 600, 64, 128, true, 0, kind});  // V is laid out anew
  }
}

TEST(Attention, CausalMatchesDoubleReference) {
  for (Kind kind : kKinds) {
    for (int64_t n : {1, 2, 15, 16, 17, 25, 33, 70}) {
      check({n, n, 16, 0, false, n - 1, kind});     // self-attention
      check({n, n + 9, 20, 3, true, n - 1, kind});  // with 9 keys of the past
      check({n, n, 16, 0, false, n + 2, kind});     // the first queries see nothing
      check({n, 40, 8, 0, false, 3, kind});         // later queries see everything
    }
    check({1, 30, 16, 0, false, 100, kind});
  }
}

// What a causal query gives does not depend on the keys that it does not see, nor on how the queries are split.
TEST(Attention, CausalBits) {
  for (Kind kind : kKinds) {
    const Case c{61, 77, 40, 2, true, 60, kind};
    Data d(c);
    const Result whole = run(tier(), c, d);
    Result other = whole;
    for (int64_t split : {1, 2, 7, 24, 25}) {
      Result parts = run(tier(), c, d, split);
      EXPECT_TRUE(same_bits(other.out.data(), parts.out.data(), other.out.size())) << split;
      EXPECT_TRUE(same_bits(other.probs.data(), parts.probs.data(), other.probs.size())) << split;
    }
    for (int64_t j = 20 * d.ld; j < 77 * d.ld; j++) d.k[size_t(j)] = d.v[size_t(j)] = 1e9f;  // seen from query 4 on
    Result changed = run(tier(), c, d);
    EXPECT_TRUE(same_bits(other.out.data(), changed.out.data(), 4 * d.ld));
    EXPECT_FALSE(same_bits(other.out.data(), changed.out.data(), 5 * d.ld));
  }
}

TEST(Attention, BitsDoNotDependOnHowQueriesAreSplit) {
  for (Kind kind : kKinds) {
    for (const Case& c : {Case{61, 77, 40, 2, true, 0, kind}, Case{200, 600, 64, 128, true, 0, kind}}) {
      Data d(c);
      Result whole = run(tier(), c, d), bare = run(tier(), c, d, 1 << 20, false);
      EXPECT_TRUE(same_bits(whole.out.data(), bare.out.data(), bare.out.size()));
      for (int64_t split : {1, 2, 3, 5, 6, 7, 10, 23, 24, 25, 48, 150}) {
        Result parts = run(tier(), c, d, split);
        EXPECT_TRUE(same_bits(whole.out.data(), parts.out.data(), whole.out.size())) << split;
        EXPECT_TRUE(same_bits(whole.probs.data(), parts.probs.data(), whole.probs.size())) << split;
      }
    }
  }
}

// Vector tiers give the same bits; the scalar one does not fuse, so a probability may round to the next bfloat16.
TEST(Attention, TiersAgree) {
  for (Kind kind : kKinds) {
    for (int64_t head_dim : {20, 33, 64}) {
      Case c{30, 101, head_dim, 0, true, 0, kind};
      Data d(c);
      Result mine = run(tier(), c, d), spec = run(scalar_tier(), c, d);
      for (Isa isa : kIsas) {
        if (!isa_supported(isa) || (isa == Isa::scalar) != (tier().isa == Isa::scalar)) continue;
        Result other = run(cpu_kernels(isa), c, d);
        EXPECT_TRUE(same_bits(mine.out.data(), other.out.data(), mine.out.size())) << isa_name(isa);
        EXPECT_TRUE(same_bits(mine.probs.data(), other.probs.data(), mine.probs.size())) << isa_name(isa);
      }
      for (int64_t i = 0; i < mine.out.size(); i++)
        ASSERT_NEAR(mine.out[i], spec.out[i], kind == Kind::f32 ? 5e-6f : 0x1p-9f);
    }
  }
}

// What vdpbf16ps alone does: a sum below 2^-126 counts as 0.
TEST(Attention, Bfloat16InstructionRunsOnItsTierOnly) {
  const Case c{1, 4, 1, 0, false, 0, Kind::bf16_dot};
  Data d(c);
  d.k = {1, 1, 1, 1};  // all scores are equal
  d.v = {-0x1p-126f, 0x1.8p-126f, 0, 0};
  EXPECT_EQ(run(tier(), c, d).out[0], tier().isa == Isa::avx512_bf16 ? 0.0f : 0x1p-129f);
}

TEST(Attention, NoKeysGiveZero) {
  for (Kind kind : kKinds) {
    Case c{3, 0, 10, 2, false, 0, kind};
    Result r = run(tier(), c, Data(c));
    for (int64_t i = 0; i < 3; i++) {
      for (int64_t e = 0; e < 10; e++) EXPECT_EQ(r.out[i * 12 + e], 0.0f);
      EXPECT_EQ(r.out[i * 12 + 10], -77.0f);
    }
  }
}

// NaN stays with the query, the key or the column of values that it is in.
TEST(Attention, NaN) {
  for (Kind kind : kKinds) {
    const Case c{9, 21, 33, 1, false, 4, kind};  // the last key is hidden from the first four queries
    const Data clean(c);
    Result want = run(tier(), c, clean);
    for (float nan : {NAN, -NAN}) {
      Data d = clean;
      d.q[size_t(2 * d.ld + 32)] = nan;
      Result r = run(tier(), c, d);
      for (int64_t i = 0; i < 9; i++)
        for (int64_t e = 0; e < 33; e++)
          EXPECT_TRUE(i == 2 ? std::isnan(r.out[i * d.ld + e]) : r.out[i * d.ld + e] == want.out[i * d.ld + e]);
      d = clean;
      d.k[size_t(20 * d.ld)] = nan;
      r = run(tier(), c, d);
      for (int64_t i = 0; i < 9; i++)
        for (int64_t e = 0; e < 33; e++)
          EXPECT_TRUE(i >= 4 ? std::isnan(r.out[i * d.ld + e]) : r.out[i * d.ld + e] == want.out[i * d.ld + e]);
      d = clean;
      d.v[size_t(3 * d.ld + 32)] = nan;
      r = run(tier(), c, d);
      for (int64_t i = 0; i < 9; i++)
        for (int64_t e = 0; e < 33; e++)
          EXPECT_TRUE(e == 32 ? std::isnan(r.out[i * d.ld + e]) : r.out[i * d.ld + e] == want.out[i * d.ld + e]);
    }
  }
}

// Masked keys (-inf) get probability 0 and their values are not seen unless NaN; a fully masked row is NaN, as in
// torch.
TEST(Attention, InfiniteBias) {
  for (Kind kind : kKinds) {
    Case c{3, 20, 16, 0, true, 0, kind};
    Data d(c);
    for (int64_t j = 0; j < 20; j++) d.bias[size_t(20 + j)] = j == 7 ? 0.0f : -INFINITY;
    for (int64_t j = 0; j < 20; j++) d.bias[size_t(40 + j)] = -INFINITY;
    Result r = run(tier(), c, d);
    for (int64_t e = 0; e < 16; e++) {
      const float v = d.v[size_t(7 * 16 + e)];
      EXPECT_TRUE(std::isfinite(r.out[e]));
      EXPECT_EQ(r.out[16 + e], kind == Kind::f32 ? v : to_bf16(v));
      EXPECT_TRUE(std::isnan(r.out[32 + e]));
    }
  }
}

}  // namespace
}  // namespace caracal::kernels
