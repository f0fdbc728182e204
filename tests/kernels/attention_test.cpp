#include "testing.h"

namespace caracal::kernels {
namespace {

struct Case {
  int64_t queries, keys, head_dim, gap = 0;
  bool bias = false;
  int64_t hidden = 0;  // from the first query; one less from each after it
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
  size_t floats = kernels.attention_scratch_f32(c.keys, c.head_dim) / sizeof(float);
  std::vector<float> scratch(floats + 48, NAN);
  float* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64 / sizeof(float);
  for (size_t i = floats; i < floats + 16; i++) aligned[i] = 9.0f;
  for (int64_t q = 0; q < c.queries; q += split) {
    int64_t n = std::min(split, c.queries - q);
    kernels.attention_f32({.q = d.q.data() + q * d.ld,
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
  SCOPED_TRACE(testing::Message() << "queries " << c.queries << " keys " << c.keys << " head_dim " << c.head_dim);
  Data d(c);
  Result r = run(tier(), c, d);
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
      double expected = 0;
      for (int64_t j = 0; j < c.keys; j++) expected += p[size_t(j)] / sum * d.v[size_t(j * d.ld + e)];
      ASSERT_NEAR(r.out[i * d.ld + e], expected, 5e-6) << i << ' ' << e;
    }
    for (int64_t e = c.head_dim; e < d.ld; e++) ASSERT_EQ(r.out[i * d.ld + e], -77.0f) << "gap after row " << i;
  }
}

TEST(Attention, MatchesDoubleReference) {
  for (int64_t keys : {1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 130}) {
    for (int64_t head_dim : {1, 8, 15, 16, 20, 33, 64, 80}) {
      check({5, keys, head_dim, 3, false});
      check({2, keys, head_dim, 0, true});
    }
  }
  for (int64_t queries : {0, 1, 6, 7, 12, 13, 24, 25, 50}) check({queries, 40, 32, 5, true});
  check({40, 512, 64, 128, false});
}

TEST(Attention, CausalMatchesDoubleReference) {
  for (int64_t n : {1, 2, 15, 16, 17, 25, 33, 70}) {
    check({n, n, 16, 0, false, n - 1});     // self-attention
    check({n, n + 9, 20, 3, true, n - 1});  // with 9 keys of the past
    check({n, n, 16, 0, false, n + 2});     // the first queries see nothing
    check({n, 40, 8, 0, false, 3});         // later queries see everything
  }
  check({1, 30, 16, 0, false, 100});
}

// What a causal query gives does not depend on the keys that it does not see, nor on how the queries are split.
TEST(Attention, CausalBits) {
  const Case c{61, 77, 40, 2, true, 60};
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

TEST(Attention, BitsDoNotDependOnHowQueriesAreSplit) {
  Case c{61, 77, 40, 2, true};
  Data d(c);
  Result whole = run(tier(), c, d), bare = run(tier(), c, d, 1 << 20, false);
  EXPECT_TRUE(same_bits(whole.out.data(), bare.out.data(), bare.out.size()));
  for (int64_t split : {1, 2, 3, 5, 6, 7, 10, 23, 24, 25, 48}) {
    Result parts = run(tier(), c, d, split);
    EXPECT_TRUE(same_bits(whole.out.data(), parts.out.data(), whole.out.size())) << split;
    EXPECT_TRUE(same_bits(whole.probs.data(), parts.probs.data(), whole.probs.size())) << split;
  }
}

TEST(Attention, TiersAgree) {
  for (int64_t head_dim : {20, 64}) {
    Case c{30, 100, head_dim, 0, true};
    Data d(c);
    Result mine = run(tier(), c, d), other = run(twin(), c, d), spec = run(scalar_tier(), c, d);
    EXPECT_TRUE(same_bits(mine.out.data(), other.out.data(), mine.out.size()));
    EXPECT_TRUE(same_bits(mine.probs.data(), other.probs.data(), mine.probs.size()));
    for (int64_t i = 0; i < mine.out.size(); i++) ASSERT_NEAR(mine.out[i], spec.out[i], 5e-6);
  }
}

TEST(Attention, NoKeysGiveZero) {
  Case c{3, 0, 10, 2, false};
  Result r = run(tier(), c, Data(c));
  for (int64_t i = 0; i < 3; i++) {
    for (int64_t e = 0; e < 10; e++) EXPECT_EQ(r.out[i * 12 + e], 0.0f);
    EXPECT_EQ(r.out[i * 12 + 10], -77.0f);
  }
}

// Masked keys (-inf) get probability 0 and their values are not seen unless NaN; a fully masked row is NaN, as in
// torch.
TEST(Attention, InfiniteBias) {
  Case c{3, 20, 16, 0, true};
  Data d(c);
  for (int64_t j = 0; j < 20; j++) d.bias[size_t(20 + j)] = j == 7 ? 0.0f : -INFINITY;
  for (int64_t j = 0; j < 20; j++) d.bias[size_t(40 + j)] = -INFINITY;
  Result r = run(tier(), c, d);
  for (int64_t e = 0; e < 16; e++) {
    EXPECT_TRUE(std::isfinite(r.out[e]));
    EXPECT_EQ(r.out[16 + e], d.v[size_t(7 * 16 + e)]);
    EXPECT_TRUE(std::isnan(r.out[32 + e]));
  }
}

}  // namespace
}  // namespace caracal::kernels
