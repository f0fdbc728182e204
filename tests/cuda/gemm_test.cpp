// Products against double loops over the numbers as their Type rounds them, by every plan; and bit by bit against
// products of other rows, by other plans.
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include <caracal/kernels/cuda/gemm_plan.h>
#include <caracal/tests/kernels/testing.h>

#include "device_memory.h"

namespace caracal::kernels::cuda {
namespace {

/// A product on the device; what the tests vary is public.
struct Problem {
  Precision type;
  int64_t rows, n, k;
  int64_t lda, ldc, ldr;
  size_t misalign = 0;
  bool bias = true, residual = false, residual_first = false, in_place = false, scratch = true, counters = true;
  Activation activation = Activation::none;
  std::vector<float> a, w, b, r;

  Problem(Precision type_, int64_t rows_, int64_t n_, int64_t k_, int64_t extra_a = 0, int64_t extra_c = 0,
          int64_t extra_r = 0)
      : type(type_), rows(rows_), n(n_), k(k_), lda(k_ + extra_a), ldc(n_ + extra_c), ldr(n_ + extra_r) {
    a = rounded(type, random_floats(size_t(rows * lda), 1.0f, 1));
    w = rounded(type, random_floats(size_t(n * k), k == 0 ? 1.0f : 1.7f / std::sqrt(float(k)), 2));
    b = random_floats(size_t(n), 1.0f, 3);
    r = rounded(type, random_floats(size_t(rows * ldr), 1.0f, 4));
  }

  /// Where the norm of the rows of c goes.
  enum class To { nowhere, apart, c, residual, a };
  struct Result {
    std::vector<uint8_t> c, norm;  // bytes, whole rows of ldc
  };
  /// By the table's own choice without a plan; `times` over, with the same counters.
  Result run(std::optional<Plan> plan, To to, int times = 1) const {
    const Numbers on_a(type, a, misalign), on_w(type, w, misalign);
    const DeviceArray<float> on_b(b, misalign), weight(random_floats(size_t(n), 1.0f, 5), misalign),
        shift(random_floats(size_t(n), 1.0f, 6), misalign);
    const Numbers on_r(type, r, misalign);
    const Numbers c(type, in_place ? r.size() : size_t(rows * ldc), misalign);
    const Numbers apart(type, size_t(rows * ldc), misalign);
    const size_t size = !scratch ? 0 : plan ? planned_scratch(*plan, rows, n, k) : table().gemm_scratch(rows, n, k);
    const DeviceArray<uint8_t> memory(size);
    const std::vector<uint32_t> zeros(counters ? size_t(kGemmCounters) : 0);
    const DeviceArray<uint32_t> counts(zeros);
    GemmArgs args{};
    args.type = type, args.c = c, args.a = on_a, args.w = on_w;
    args.bias = bias ? on_b.data() : nullptr;
    args.residual = in_place ? c.data() : residual ? on_r.data() : nullptr;
    args.ldc = ldc, args.lda = lda, args.ldr = ldr, args.rows = rows, args.n = n, args.k = k;
    args.activation = act(activation), args.residual_first = residual_first, args.tf32 = type.tf32;
    args.scratch = size ? memory.data() : nullptr;
    args.counters = counters ? counts.data() : nullptr;
    const Numbers& norm = to == To::c ? c : to == To::residual ? on_r : to == To::a ? on_a : apart;
    if (to != To::nowhere) args.norm = norm, args.norm_weight = weight, args.norm_bias = shift, args.norm_eps = 1e-5;
    for (int i = 0; i < times; i++) {
      if (in_place) c.upload(r);
      if (to == To::residual) on_r.upload(r);
      if (to == To::a) on_a.upload(a);
      EXPECT_CUDA(plan ? gemm_planned(nullptr, args, *plan) : table().gemm(nullptr, args));
      EXPECT_CUDA(table().synchronize(nullptr));
    }
    EXPECT_EQ(counts.download(), zeros);
    return {c.bytes(), norm.bytes()};
  }
  std::vector<uint8_t> bytes(std::optional<Plan> plan = {}) const { return run(plan, To::nowhere).c; }

  /// Whether the operands are rounded to TF32: where that is allowed, and tensor cores take them.
  bool is_rounded(std::optional<Plan> plan) const {
    if (!type.tf32 || capability() < 80) return false;
    return plan ? !plan->simt : k % 4 == 0 && lda % 4 == 0 && misalign % 4 == 0;
  }

  /// The same by a product that is not split, of the same instructions, and a layer norm of its own.
  Result one_after_another(std::optional<Plan> plan) const;

  void check(std::optional<Plan> plan = {}) const {
    SCOPED_TRACE(testing::Message() << name_of(type) << " " << rows << "x" << n << "x" << k << " lda " << lda << " ldc "
                                    << ldc << " misalign " << misalign << " activation " << int(activation)
                                    << (plan ? plan->simt ? " simt " : " mma " : " own ") << (plan ? plan->tile : 0)
                                    << (plan && plan->split ? " split" : ""));
    const std::vector<uint8_t> raw = bytes(plan);
    ASSERT_EQ(raw.size(), size_t(rows * ldc) * bytes_of(type));
    const bool rounds = is_rounded(plan);
    auto number = [&](float x) { return double(rounds ? rounded_to_tf32(x) : x); };
    std::vector<float> values;
    std::vector<double> expected;
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < ldc; j++) {
        const uint8_t* at = &raw[size_t(i * ldc + j) * bytes_of(type)];
        if (j >= n) {  // between rows
          for (size_t byte = 0; byte < bytes_of(type); byte++) ASSERT_EQ(at[byte], 0xff);
          continue;
        }
        uint16_t narrow;
        float wide;
        std::memcpy(&narrow, at, 2), std::memcpy(&wide, at, bytes_of(type) == 4 ? 4 : 2);
        values.push_back(type == Type::f32 ? wide : from_bits(type, narrow));
        double sum = bias ? double(b[size_t(j)]) : 0;
        for (int64_t l = 0; l < k; l++) sum += number(a[size_t(i * lda + l)]) * number(w[size_t(j * k + l)]);
        const double other = residual || in_place ? double(r[size_t(i * ldr + j)]) : 0;
        if (residual_first) sum += other;
        sum = reference_activation(sum, activation);
        expected.push_back(residual_first ? sum : sum + other);
      }
    }
    expect_near(values, expected, 1.25 * (rounds ? kTf32Tolerance : tolerance(type)));
  }
};

/// The plans that a product can be forced to: those compiled for its type, and those that its slices allow.
std::vector<Plan> plans(Precision type, int64_t k) {
  std::vector<Plan> all;
  const bool many = slices_of(k).count > 1;
  auto add = [&](bool simt, int64_t tile, bool slices) {
    if (!many || slices) all.push_back({simt, tile, false});
    if (many) all.push_back({simt, tile, true});
  };
  const bool mma = type == Type::f16 || ((type == Type::bf16 || type.tf32) && capability() >= 80);
  const int64_t piece = type == Type::f32 ? 4 : 8;
  for (int64_t tile = 0; mma && tile < int64_t(std::size(kMmaTiles)) && k % piece == 0; tile++) {
    add(false, tile, kMmaTiles[tile].slices);
  }
  for (int64_t tile = 0; tile < int64_t(std::size(kSimtTiles)); tile++) {
    if (type == Type::f32 || tile == 1) add(true, tile, kSimtTiles[tile].slices);
  }
  return all;
}

Problem::Result Problem::one_after_another(std::optional<Plan> plan) const {
  Problem alone = *this;
  alone.scratch = alone.counters = false;
  if (plan) {
    for (const Plan& other : plans(type, k)) {
      if (other.simt == plan->simt && !other.split) plan = other;
    }
  }
  Result result{alone.bytes(plan), {}};
  const DeviceArray<uint8_t> c(result.c), norm(result.c.size());
  const DeviceArray<float> weight(random_floats(size_t(n), 1.0f, 5)), shift(random_floats(size_t(n), 1.0f, 6));
  EXPECT_CUDA(table().layer_norm(nullptr, {type, norm, c, weight, shift, rows, n, 1e-5, act(Activation::none)}));
  EXPECT_CUDA(table().synchronize(nullptr));
  result.norm = norm.download();
  return result;
}

TEST(Gemm, EveryTileAndItsEdges) {
  for (const Precision type : kPrecisions) {
    for (const Plan& plan : plans(type, 8)) {
      const TileClocks& tile = plan.simt ? kSimtTiles[plan.tile] : kMmaTiles[plan.tile];
      Problem(type, 1, tile.cols - 1, 8).check(plan);
      Problem(type, tile.rows - 1, tile.cols + 1, 72).check(plan);
      Problem(type, tile.rows, tile.cols, 64).check(plan);
      Problem(type, tile.rows + 1, 8, 136, 8, 8).check(plan);
      Problem(type, 3, 2 * tile.cols + 7, 200, 16, 3).check(plan);  // more steps than are in flight
      if (!type.tf32) continue;
      for (const int64_t k : {4, 12, 76}) Problem(type, 5, 24, k, 4).check(plan);  // half a step of mma.sync is left
    }
  }
}

TEST(Gemm, SizesAroundEverything) {
  for (const Precision type : kPrecisions) {
    for (const int64_t k : {1, 7, 8, 24, 63, 64, 65, 768}) {
      Problem(type, 7, 9, k).check();
      Problem(type, 33, 31, k).check();
    }
    for (const int64_t n : {1, 2, 7, 8, 31, 33, 63, 65}) Problem(type, 17, n, 32).check();
    for (const int64_t rows : {1, 7, 8, 31, 33, 63, 64, 65}) Problem(type, rows, 16, 40).check();
  }
}

TEST(Gemm, EveryEpilogue) {
  for (const Precision type : kPrecisions) {
    for (const Activation activation : kActivations) {
      for (const int residual : {0, 1, 2}) {
        for (const bool bias : {false, true}) {
          Problem p(type, 5, 24, 16);
          p.activation = activation, p.bias = bias, p.residual = residual > 0, p.residual_first = residual == 2;
          // √softplus is steep at the left: what its argument's rounding costs grows there.
          if (activation == Activation::sqrtsoftplus && type != Type::f32) p.w = std::vector<float>(p.w.size(), 0.25f);
          p.check();
        }
      }
    }
    Problem odd(type, 5, 13, 16, 0, 2, 5);  // one by one
    odd.activation = Activation::gelu, odd.residual = true;
    odd.check();
    Problem in_place(type, 40, 40, 64);
    in_place.in_place = true, in_place.activation = Activation::gelu;
    in_place.check();
    for (const Plan& plan : plans(type, 1032)) {
      Problem p(type, 5, 13, 1032, 0, 1, 2);
      p.activation = Activation::silu, p.residual = p.residual_first = true;
      p.check(plan);
    }
  }
}

TEST(Gemm, Unaligned) {
  for (const Precision type : kPrecisions) {
    for (const size_t misalign : {0, 1, 3}) {
      for (const int64_t extra : {0, 1, 2, 4}) {
        Problem p(type, 9, 20, 24, extra, extra, extra);
        p.misalign = misalign, p.residual = true;
        p.check();
        Problem odd(type, 9, 21, 25, extra, extra, extra);
        odd.misalign = misalign, odd.residual = true;
        odd.check();
      }
    }
  }
}

TEST(Gemm, NothingToDo) {
  for (const Precision type : kPrecisions) {
    for (const auto& [rows, n] : {std::pair<int64_t, int64_t>{0, 8}, {8, 0}, {0, 0}}) {
      EXPECT_EQ(Problem(type, rows, n, 16).bytes().size(), 0u);
    }
    Problem none(type, 5, 9, 0);  // an empty sum is 0
    none.residual = true, none.activation = Activation::gelu;
    for (const Plan& plan : plans(type, 0)) none.check(plan);
    none.check();
  }
  EXPECT_EQ(table().gemm_scratch(0, 0, 0), 0u);
}

TEST(Gemm, NanAndInfinityStayInTheirRowsAndColumns) {
  for (const Precision type : kPrecisions) {
    for (const Plan& plan : plans(type, 64)) {
      Problem p(type, 37, 40, 64);
      p.residual = true;
      p.a[size_t(3 * p.lda + 5)] = NAN;
      p.a[size_t(4 * p.lda + 63)] = INFINITY;
      p.a[size_t(36 * p.lda)] = -INFINITY;
      p.w[size_t(2 * p.k + 7)] = INFINITY;
      p.w[size_t(39 * p.k + 63)] = NAN;
      p.r[size_t(8 * p.ldr + 9)] = -INFINITY;
      p.b[33] = NAN;
      p.check(plan);
    }
  }
}

// What a row becomes depends on no other row, nor on the plan that the number of rows leads to.
TEST(Gemm, PartsOfABatchAreTheBatch) {
  for (const Precision type : kPrecisions) {
    for (const int64_t k : {1, 8, 63, 64, 65, 768, 1025, 1032, 3072}) {
      SCOPED_TRACE(testing::Message() << name_of(type) << " k " << k);
      const int64_t most = k > 1000 ? 129 : 300;
      Problem p(type, most, 20, k);
      p.activation = Activation::gelu;
      const std::vector<uint8_t> all = p.bytes();
      for (const int64_t rows : {300, 129, 100, 64, 33, 16, 7, 1}) {
        if (rows >= most) continue;
        p.rows = rows, p.a.resize(size_t(rows * p.lda)), p.r.resize(size_t(rows * p.ldr));
        const std::vector<uint8_t> part = p.bytes();
        ASSERT_TRUE(std::equal(part.begin(), part.end(), all.begin())) << rows;
      }
    }
  }
}

TEST(Gemm, EveryPlanGivesTheSameBits) {
  for (const Precision type : kPrecisions) {
    for (const int64_t k : {24, 1032, 3072}) {
      Problem p(type, 35, 27, k);
      p.activation = Activation::gelu, p.residual = true;
      for (const bool simt : {false, true}) {
        std::vector<uint8_t> first;
        for (const Plan& plan : plans(type, k)) {
          if (plan.simt != simt) continue;
          const std::vector<uint8_t> bits = p.bytes(plan);
          if (first.empty()) first = bits;
          ASSERT_EQ(first, bits) << name_of(type) << " k " << k << " simt " << simt << " tile " << plan.tile
                                 << " split " << plan.split;
        }
      }
      const std::vector<uint8_t> own = p.bytes();
      p.scratch = false;
      ASSERT_EQ(p.bytes(), own);
    }
  }
  // Every product underflows to -0.
  Problem p(Type::f32, 3, 5, 16);
  p.bias = false, p.a.assign(p.a.size(), -1e-30f), p.w.assign(p.w.size(), 1e-30f);
  for (const Plan& plan : plans(Type::f32, 16)) ASSERT_EQ(p.bytes(plan), std::vector<uint8_t>(size_t(3 * 5 * 4)));
}

TEST(Gemm, Tf32IsTakenOnlyWhereItIsAllowed) {
  for (const int64_t k : {1, 6, 8, 12, 64, 1032}) {
    Problem exact(Type::f32, 35, 27, k), rounded({Type::f32, true}, 35, 27, k);
    exact.residual = rounded.residual = true;
    const std::vector<uint8_t> bits = exact.bytes();
    for (const Plan& plan : plans(Type::f32, k)) {
      EXPECT_TRUE(plan.simt);
      EXPECT_EQ(exact.bytes(plan), bits) << k;
    }
    EXPECT_EQ(rounded.bytes() == bits, !rounded.is_rounded({})) << k;
    rounded.misalign = 1;
    EXPECT_EQ(rounded.bytes(), bits) << k;
    for (const Type type : {Type::f16, Type::bf16}) {
      EXPECT_EQ(Problem({type, true}, 35, 27, k).bytes(), Problem(type, 35, 27, k).bytes()) << name_of(type) << k;
    }
  }
  GemmArgs args{};
  args.type = Type::f32, args.rows = args.n = args.ldc = 8, args.k = args.lda = 64;
  EXPECT_NE(gemm_planned(nullptr, args, {false, 2, false}), 0);
}

// Norms of whole rows by the product itself, in place of a kernel of their own: the same bits.
class GemmNorm : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(Types, GemmNorm, testing::ValuesIn(kPrecisions),
                         [](const auto& each) { return std::string(name_of(each.param)); });

void expect_norm(const Problem& p, std::optional<Plan> plan, Problem::To to = Problem::To::apart, int times = 1) {
  SCOPED_TRACE(testing::Message() << name_of(p.type) << " " << p.rows << "x" << p.n << "x" << p.k
                                  << (plan ? plan->simt ? " simt " : " mma " : " own ") << (plan ? plan->tile : 0)
                                  << (plan && plan->split ? " split" : "") << " to " << int(to));
  const Problem::Result got = p.run(plan, to, times), want = p.one_after_another(plan);
  if (to != Problem::To::c) {
    ASSERT_EQ(got.c, want.c);
  }
  ASSERT_EQ(got.norm, want.norm);
}

TEST_P(GemmNorm, EveryPlanAndTheRowsAroundItsTile) {
  for (const int64_t k : {40, 1032}) {
    for (Plan plan : plans(GetParam(), k)) {
      const TileClocks& tile = plan.simt ? kSimtTiles[plan.tile] : kMmaTiles[plan.tile];
      plan.norm = true;
      for (const int64_t rows : {int64_t(1), tile.rows - 1, tile.rows, tile.rows + 1, 2 * tile.rows + 3}) {
        if (k > 40 && rows != tile.rows + 1) continue;
        Problem p(GetParam(), rows, tile.cols + 8, k);
        p.residual = true;
        expect_norm(p, plan, Problem::To::apart, rows == tile.rows + 1 ? 2 : 1);
      }
    }
  }
}

TEST_P(GemmNorm, EveryWidth) {
  for (const int64_t n : {8, 64, 200, 248, 256, 264, 504, 520, 768, 1016, 1024}) {
    Problem p(GetParam(), 5, n, 24);
    expect_norm(p, {});
  }
  for (const int64_t n : {1, 7, 9, 20, 255, 1025, 1032}) expect_norm(Problem(GetParam(), 5, n, 24), {});  // apart
  Problem odd(GetParam(), 5, 64, 24);
  odd.misalign = 1;
  expect_norm(odd, {});
  odd.misalign = 0, odd.counters = false;
  expect_norm(odd, {});
  Problem none(GetParam(), 3, 16, 0);
  expect_norm(none, {});
}

TEST_P(GemmNorm, InPlaceAndOverTheResidual) {
  for (const int64_t k : {64, 2056}) {
    for (const Problem::To to : {Problem::To::c, Problem::To::residual}) {
      Problem p(GetParam(), 70, 72, k);
      p.residual = true, p.activation = Activation::gelu;
      expect_norm(p, {}, to, 3);
    }
  }
  Problem over_a(GetParam(), 70, 72, 64, 8);  // lda = n
  expect_norm(over_a, {}, Problem::To::a, 3);
}

// Many blocks to a row, of which those that come last share the rows: on the shim, where some run at once.
TEST_P(GemmNorm, BlocksThatShareTheRows) {
  for (const int64_t k : {24, 1032}) {
    for (Plan plan : plans(GetParam(), k)) {
      const TileClocks& tile = plan.simt ? kSimtTiles[plan.tile] : kMmaTiles[plan.tile];
      if (k > 24 && (!plan.split || tile.rows > 64)) continue;
      plan.norm = true;
      Problem p(GetParam(), tile.rows + 9, std::min<int64_t>(5 * tile.cols, 256), k);
      p.residual = true;
      if (k == 24) expect_norm(p, plan, Problem::To::c, 2);
      expect_norm(p, plan, Problem::To::residual);
    }
  }
}

TEST_P(GemmNorm, NanAndInfinityStayInTheirRows) {
  Problem p(GetParam(), 40, 64, 64);
  p.residual = true;
  p.r[3] = NAN, p.r[size_t(20 * p.ldr + 5)] = INFINITY, p.r[size_t(39 * p.ldr)] = -INFINITY;
  const Problem::Result got = p.run({}, Problem::To::apart);
  for (int64_t row = 0; row < p.rows; row++) {
    for (int64_t col = 0; col < p.n; col++) {
      const uint8_t* at = &got.norm[size_t(row * p.n + col) * bytes_of(p.type)];
      uint16_t narrow;
      float x;
      std::memcpy(&narrow, at, 2), std::memcpy(&x, at, bytes_of(p.type) == 4 ? 4 : 2);
      if (p.type != Type::f32) x = from_bits(p.type, narrow);
      ASSERT_EQ(std::isnan(x), row == 0 || row == 20 || row == 39) << row << " " << col;
    }
  }
}

TEST_P(GemmNorm, PartsOfABatchAreTheBatch) {
  for (const int64_t k : {64, 1032}) {
    Problem p(GetParam(), 129, 64, k);
    p.residual = true;
    const std::vector<uint8_t> all = p.run({}, Problem::To::apart).norm;
    for (const int64_t rows : {100, 33, 1}) {
      p.rows = rows, p.a.resize(size_t(rows * p.lda)), p.r.resize(size_t(rows * p.ldr));
      const std::vector<uint8_t> part = p.run({}, Problem::To::apart).norm;
      ASSERT_TRUE(std::equal(part.begin(), part.end(), all.begin())) << rows;
    }
  }
}

TEST(Gemm, CountersAreEnoughOrNotNeeded) {
  const Plan split{true, 1, true}, norm{true, 1, false, true}, both{true, 1, true, true};
  EXPECT_EQ(planned_counters({true, 1, false}, 1000, 1000), 0);
  EXPECT_EQ(planned_counters(split, 65, 129), 3 * 2 + 2 * 3);
  EXPECT_EQ(planned_counters(norm, 65, 129), 3 * 2);
  EXPECT_EQ(planned_counters(both, 65, 129), 3 * 2 + 2 * 3);
  // A million rows: nobody counts them.
  const Plan many = plan_product({false, 31, int64_t(1) << 20, 768, 3072}, 132);
  EXPECT_FALSE(many.split);
  PlanFor normed{false, 31, int64_t(1) << 20, 768, 768};
  normed.norm = true;
  const Plan plan = plan_product(normed, 132);
  EXPECT_TRUE(plan.tile == -1 || planned_counters(plan, normed.rows, normed.n) <= kGemmCounters);
  GemmArgs args{};
  args.type = Type::f32, args.rows = args.n = args.ldc = 64, args.k = 2048;
  EXPECT_NE(gemm_planned(nullptr, args, split), 0);  // no counters
  args.counters = &args;
  args.rows = int64_t(1) << 30;
  EXPECT_NE(gemm_planned(nullptr, args, both), 0);  // too few
  args.rows = 64, args.ldc = 65, args.norm = &args;
  EXPECT_NE(gemm_planned(nullptr, args, {true, 1, false}), 0);
}

TEST(Gemm, PlansThatTheArgumentsDoNotAllowAreRefused) {
  const DeviceArray<float> numbers(64 * 64), matrix(64 * 2048), vector(64), scratch(2 * 64 * 64);
  const std::vector<uint32_t> zeros(kGemmCounters);
  const DeviceArray<uint32_t> counters(zeros);
  GemmArgs args{};
  args.type = Type::f32, args.c = numbers, args.a = args.w = matrix;
  args.rows = args.n = args.ldc = 64, args.k = args.lda = 2048;
  args.norm = numbers, args.norm_weight = args.norm_bias = vector;
  args.scratch = scratch, args.counters = counters;
  const Plan split{true, 1, true}, norm{true, 1, false, true};
  EXPECT_CUDA(gemm_planned(nullptr, args, split));
  EXPECT_CUDA(gemm_planned(nullptr, args, norm));
  auto refused = [&](const Plan& plan, auto change) {
    GemmArgs other = args;
    change(other);
    return gemm_planned(nullptr, other, plan) != 0;
  };
  EXPECT_TRUE(refused(split, [](GemmArgs& a) { a.scratch = nullptr; }));
  EXPECT_TRUE(refused(split, [](GemmArgs& a) { a.scratch = static_cast<float*>(a.scratch) + 1; }));
  EXPECT_TRUE(refused(split, [](GemmArgs& a) { a.counters = nullptr; }));
  EXPECT_TRUE(refused(norm, [](GemmArgs& a) { a.norm_bias++; }));
  EXPECT_TRUE(refused(norm, [](GemmArgs& a) { a.n = a.ldc = 63; }));
  EXPECT_TRUE(refused(norm, [](GemmArgs& a) { a.n = a.ldc = 1032; }));
  EXPECT_TRUE(refused(norm, [](GemmArgs& a) { a.counters = nullptr; }));
  EXPECT_FALSE(refused(norm, [](GemmArgs& a) { a.norm = nullptr, a.norm_bias++; }));  // none is asked for
  EXPECT_EQ(counters.download(), zeros);
}

TEST(Gemm, ScratchIsEnoughForWhateverPlanIsTaken) {
  alignas(16) static char somewhere[32];
  int64_t split = 0;
  for (const Precision type : kPrecisions) {
    for (const bool aligned : {true, false}) {  // else without mma.sync
      for (const bool norm : {false, true}) {
        GemmArgs args{};
        args.type = type, args.tf32 = type.tf32, args.c = args.scratch = args.counters = somewhere;
        args.a = args.w = somewhere + (aligned ? 0 : 4);
        if (norm) args.norm = somewhere;
        for (const int64_t rows : {1, 16, 17, 100, 128, 500, 3000, 70000, 1 << 20}) {
          for (const int64_t n : {8, 20, 384, 768, 1024, 3072}) {
            for (const int64_t k : {1032, 1536, 3072, 4096, 5003}) {
              args.rows = rows, args.n = args.ldc = n, args.k = args.lda = k;
              for (int multiprocessors = 1; multiprocessors <= 200; multiprocessors += 1 + multiprocessors / 12) {
                const Plan plan = plan_gemm(args, multiprocessors);
                ASSERT_GE(plan.tile, 0);
                ASSERT_LE(planned_counters(plan, rows, n), kGemmCounters);
                ASSERT_GE(most_scratch(rows, n, k, multiprocessors), planned_scratch(plan, rows, n, k))
                    << name_of(type) << " aligned " << aligned << " norm " << norm << " " << rows << "x" << n << "x"
                    << k << " on " << multiprocessors;
                split += plan.split;
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(split, 1000);
}

TEST(Gemm, BlocksOnAMultiprocessor) {
  auto of = [](int64_t most, size_t shared, int capability) {
    const int64_t kilobytes = capability == 75 ? 64 : capability == 80 ? 163 : capability == 90 ? 227 : 99;
    return blocks_at_once(most, shared, size_t(kilobytes) << 10, capability / 10);
  };
  for (const auto& [capability, wide, usual] :
       {std::tuple(75, 1, 1), std::tuple(80, 2, 3), std::tuple(86, 1, 2), std::tuple(89, 1, 2), std::tuple(90, 3, 4)}) {
    EXPECT_EQ(of(4, 64 << 10, capability), wide) << capability;
    EXPECT_EQ(of(4, 48 << 10, capability), usual) << capability;
    EXPECT_EQ(of(2, 8 << 10, capability), 2) << capability;
  }
}

TEST(Gemm, SlicesFollowFromK) {
  for (int64_t k = 0; k < 20000; k += 1 + k / 97) {
    const Slices slices = slices_of(k);
    ASSERT_EQ(slices.length % 64, 0);
    ASSERT_GE(slices.count, 1);
    ASSERT_GE(slices.count * slices.length, k);
    ASSERT_TRUE(k == 0 || (slices.count - 1) * slices.length < k);
    ASSERT_LE(slices.length, 1024);
    ASSERT_EQ(slices.count == 1, k <= 1024);
  }
  EXPECT_EQ(slices_of(3072).count, 3);
}

TEST(Gemm, PlansAreThoseThatTheCommentSays) {
  auto plan = [](int64_t rows, int64_t n, int64_t k) { return plan_product({false, 31, rows, n, k}, 132); };
  EXPECT_EQ(plan(128, 2304, 768).tile, 2);
  EXPECT_EQ(plan(128, 768, 768).tile, 3);
  EXPECT_EQ(plan(128, 3072, 768).tile, 2);
  EXPECT_EQ(plan(128, 768, 3072).tile, 2);
  EXPECT_TRUE(plan(128, 768, 3072).split);
  EXPECT_EQ(plan(16, 768, 3072).tile, 4);
  EXPECT_TRUE(plan(16, 768, 3072).split);
  EXPECT_EQ(plan(32 * 512, 3072, 768).tile, 0);
  EXPECT_EQ(plan(32 * 512, 768, 3072).tile, 1);
  EXPECT_FALSE(plan(32 * 512, 768, 3072).split);
  // Scratch is there for those that are split, and whoever has none is not.
  EXPECT_EQ(table().gemm_scratch(128, 768, 1024), 0u);
  EXPECT_EQ(planned_scratch(plan(16, 20, 3072), 16, 20, 3072), size_t(3 * 16 * 32 * 4));
  PlanFor without{false, 31, 16, 768, 3072};
  without.may_split = false;
  EXPECT_FALSE(plan_product(without, 132).split);
}

// The tiles in shared memory: every place used once, and no bank asked twice in what is read or written at once.
template <int Chunks>
void check_swizzle() {
  std::set<int> places;
  for (int row = 0; row < 64; row++)
    for (int chunk = 0; chunk < Chunks; chunk++) places.insert(swizzled<Chunks>(row, chunk));
  EXPECT_EQ(places.size(), size_t(64 * Chunks));
  EXPECT_EQ(*places.rbegin(), 64 * Chunks - 1);
  for (int first = 0; first < 64; first += 8) {
    for (int chunk = 0; chunk < Chunks; chunk++) {
      std::set<int> banks;
      for (int row = first; row < first + 8; row++) banks.insert(swizzled<Chunks>(row, chunk) % 8);
      EXPECT_EQ(banks.size(), 8u);
    }
  }
}
template <int Rows>
void check_transposed() {
  std::set<int> places;
  for (int row = 0; row < Rows; row++)
    for (int k = 0; k < 16; k++) places.insert(transposed<Rows>(row, k));
  EXPECT_EQ(places.size(), size_t(16 * Rows));
  EXPECT_EQ(*places.rbegin(), 16 * Rows - 1);
  for (int first = 0; first < Rows; first += 8) {
    for (int j = 0; j < 4; j++) {
      std::set<int> banks;
      for (int lane = 0; lane < 32; lane++) {
        banks.insert(transposed<Rows>(first + lane / 4, lane % 4 * 4 + j) % 32);
      }
      EXPECT_EQ(banks.size(), 32u);
    }
  }
  for (int k = 0; k < 16; k++) {
    for (int row = 0; row < Rows; row++) {
      EXPECT_EQ(transposed<Rows>(row, k), transposed<Rows>(row / 4 * 4, k) + row % 4);
    }
  }
}
TEST(Gemm, TilesMeetNoBankTwice) {
  check_swizzle<4>();
  check_swizzle<8>();
  check_transposed<32>();
  check_transposed<64>();
  check_transposed<128>();
}

}  // namespace
}  // namespace caracal::kernels::cuda
