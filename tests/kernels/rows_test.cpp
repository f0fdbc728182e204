#include <functional>

#include "testing.h"

namespace caracal::kernels {
namespace {

// Every length below two vectors and a few model sizes, and three misalignments: edges by construction.
std::vector<int64_t> lengths() {
  std::vector<int64_t> result;
  for (int64_t i = 1; i <= 33; i++) result.push_back(i);
  for (int64_t i : {48, 63, 64, 65, 127, 128, 312, 384, 768, 1000, 1024, 3072, 8192}) result.push_back(i);
  return result;
}

// Runs `kernel(kernels, out, x, rows, cols)` on the tier under test: against `reference` (double, same arguments), in
// place, against its twin bit by bit, and with guards.
using RowKernel = std::function<void(const Kernels&, float*, const float*, int64_t, int64_t)>;
using RowReference = std::function<void(double*, const float*, int64_t)>;
void check_rows(const RowKernel& kernel, const RowReference& reference, double tolerance, float offset = 0) {
  for (int64_t cols : lengths()) {
    int64_t rows = cols > 1000 ? 2 : 3;
    std::vector<float> x = random_floats(rows * cols, 3, uint32_t(cols));
    for (float& v : x) v += offset;
    for (int64_t misalign : {0, 1, 5}) {
      SCOPED_TRACE(testing::Message() << "cols " << cols << " misaligned by " << misalign);
      Guarded in(x, misalign), out(rows * cols, misalign), other(rows * cols), spec(rows * cols);
      kernel(tier(), out.data(), in.data(), rows, cols);
      ASSERT_TRUE(out.guards_intact());
      std::vector<double> expected(static_cast<size_t>(cols));
      kernel(twin(), other.data(), x.data(), rows, cols);
      ASSERT_TRUE(same_bits(out.data(), other.data(), rows * cols));
      kernel(scalar_tier(), spec.data(), x.data(), rows, cols);
      for (int64_t r = 0; r < rows; r++) {
        reference(expected.data(), x.data() + r * cols, cols);
        for (int64_t c = 0; c < cols; c++) {
          double scale = std::max(1.0, std::abs(expected[size_t(c)]));
          ASSERT_NEAR(out[r * cols + c], expected[size_t(c)], tolerance * scale) << r << ' ' << c;
          ASSERT_NEAR(spec[r * cols + c], expected[size_t(c)], tolerance * scale) << r << ' ' << c;
        }
      }
      kernel(tier(), in.data(), in.data(), rows, cols);
      ASSERT_TRUE(same_bits(in.data(), out.data(), rows * cols)) << "in place";
      ASSERT_TRUE(in.guards_intact());
    }
  }
  Guarded nothing(0);
  kernel(tier(), nothing.data(), nothing.data(), 0, 16);
  EXPECT_TRUE(nothing.guards_intact());
}

void layer_norm_check(bool weight, bool bias, float offset, double tolerance) {
  std::vector<float> w = random_floats(8192, 1, 50), b = random_floats(8192, 1, 51);
  check_rows(
      [&](const Kernels& k, float* out, const float* x, int64_t rows, int64_t cols) {
        k.layer_norm_f32(out, x, weight ? w.data() : nullptr, bias ? b.data() : nullptr, rows, cols, 1e-5f);
      },
      [&](double* out, const float* x, int64_t cols) {
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < cols; c++) mean += x[c] / double(cols);
        for (int64_t c = 0; c < cols; c++) variance += (x[c] - mean) * (x[c] - mean) / double(cols);
        for (int64_t c = 0; c < cols; c++) {
          out[c] = (x[c] - mean) / std::sqrt(variance + double(1e-5f)) * (weight ? w[size_t(c)] : 1.0f) +
                   (bias ? b[size_t(c)] : 0.0f);
        }
      },
      tolerance, offset);
}
TEST(LayerNorm, MatchesDoubleReference) {
  layer_norm_check(true, true, 0, 2e-6);
  layer_norm_check(false, false, 0, 2e-6);
}
// Half an ulp of 100 is 4e-6 of the deviation: a one-pass variance would be off by 1e-3 here.
TEST(LayerNorm, LargeMean) { layer_norm_check(true, true, 100, 1e-5); }

TEST(LayerNorm, ConstantAndSpecialRows) {
  std::vector<float> one(20, 1.0f), zero(20, 0.0f), x(60, 3.0f);
  x[25] = NAN, x[45] = INFINITY;
  Guarded out(60);
  tier().layer_norm_f32(out.data(), x.data(), one.data(), zero.data(), 3, 20, 1e-12f);
  for (int64_t c = 0; c < 20; c++) {
    EXPECT_EQ(out[c], 0.0f);
    EXPECT_TRUE(std::isnan(out[20 + c]) && std::isnan(out[40 + c]));
  }
}

TEST(Softmax, MatchesDoubleReference) {
  auto kernel = [](const Kernels& k, float* out, const float* x, int64_t rows, int64_t cols) {
    k.softmax_f32(out, x, rows, cols);
  };
  auto reference = [](double* out, const float* x, int64_t cols) {
    double top = *std::max_element(x, x + cols), sum = 0;
    for (int64_t c = 0; c < cols; c++) sum += out[c] = std::exp(x[c] - top);
    for (int64_t c = 0; c < cols; c++) out[c] /= sum;
  };
  check_rows(kernel, reference, 3e-7);
  check_rows(kernel, reference, 3e-7, 1000);
}

TEST(Softmax, SpecialRows) {
  for (int64_t cols : {3, 16, 40}) {
    std::vector<float> x(size_t(4 * cols), -INFINITY);
    x[1] = 5.0f;                                                     // all mass on one
    for (int64_t c = 0; c < cols; c++) x[size_t(2 * cols + c)] = 1;  // with a NaN
    x[size_t(2 * cols)] = NAN;
    for (int64_t c = 0; c < cols; c++) x[size_t(3 * cols + c)] = c ? -200.0f : 1e-42f;
    Guarded out(4 * cols);
    tier().softmax_f32(out.data(), x.data(), 4, cols);
    for (int64_t c = 0; c < cols; c++) {
      EXPECT_EQ(out[c], c == 1 ? 1.0f : 0.0f);
      EXPECT_TRUE(std::isnan(out[cols + c])) << "nothing but -inf";
      EXPECT_TRUE(std::isnan(out[2 * cols + c]));
      EXPECT_EQ(out[3 * cols + c], c ? 0.0f : 1.0f);
    }
  }
}

TEST(L2Normalize, MatchesDoubleReference) {
  check_rows([](const Kernels& k, float* out, const float* x, int64_t rows,
                int64_t cols) { k.l2_normalize_f32(out, x, rows, cols, 1e-12f); },
             [](double* out, const float* x, int64_t cols) {
               double norm = 0;
               for (int64_t c = 0; c < cols; c++) norm += double(x[c]) * x[c];
               for (int64_t c = 0; c < cols; c++) out[c] = x[c] / std::max(1e-12, std::sqrt(norm));
             },
             5e-7);
  std::vector<float> x(18, 0.0f);
  Guarded out(18);
  tier().l2_normalize_f32(out.data(), x.data(), 1, 18, 1e-12f);
  for (int64_t c = 0; c < 18; c++) EXPECT_EQ(out[c], 0.0f);
  x[3] = NAN;
  tier().l2_normalize_f32(out.data(), x.data(), 1, 18, 1e-12f);
  EXPECT_TRUE(std::isnan(out[0]));
}

TEST(Pooling, MeanAndMaxOfRows) {
  for (int64_t cols : lengths()) {
    for (int64_t rows : {1, 2, 7}) {
      std::vector<float> x = random_floats(rows * cols);
      Guarded mean(cols, 1), top(cols, 1), twin_mean(cols);
      tier().mean_rows_f32(mean.data(), x.data(), rows, cols);
      twin().mean_rows_f32(twin_mean.data(), x.data(), rows, cols);
      tier().max_rows_f32(top.data(), x.data(), rows, cols);
      ASSERT_TRUE(mean.guards_intact() && top.guards_intact());
      ASSERT_TRUE(same_bits(mean.data(), twin_mean.data(), cols));
      for (int64_t c = 0; c < cols; c++) {
        double sum = 0;
        float largest = -INFINITY;
        for (int64_t r = 0; r < rows; r++)
          sum += x[size_t(r * cols + c)], largest = std::max(largest, x[size_t(r * cols + c)]);
        ASSERT_NEAR(mean[c], sum / double(rows), 5e-7);
        ASSERT_EQ(top[c], largest);
      }
    }
  }
  std::vector<float> x = {1, NAN, -INFINITY, 5, 2, -INFINITY};
  Guarded top(3), mean(3);
  tier().max_rows_f32(top.data(), x.data(), 2, 3);
  tier().mean_rows_f32(mean.data(), x.data(), 2, 3);
  EXPECT_EQ(top[0], 5.0f);
  EXPECT_TRUE(std::isnan(top[1]) && std::isnan(mean[1]));
  EXPECT_EQ(top[2], -INFINITY);
}

TEST(Embedding, GathersAndAccumulates) {
  for (int64_t cols : lengths()) {
    std::vector<float> table = random_floats(10 * cols);
    std::vector<int64_t> ids = {9, 0, 3, 3};
    Guarded out(4 * cols, 1);
    tier().embedding_f32(out.data(), table.data(), ids.data(), 4, cols, false);
    for (int64_t r = 0; r < 4; r++)
      ASSERT_TRUE(same_bits(out.data() + r * cols, table.data() + ids[size_t(r)] * cols, cols));
    tier().embedding_f32(out.data(), table.data(), ids.data(), 4, cols, true);
    for (int64_t i = 0; i < 4 * cols; i++)
      ASSERT_EQ(out[i], 2 * table[size_t(ids[size_t(i / cols)] * cols + i % cols)]);
    ASSERT_TRUE(out.guards_intact());
  }
}

}  // namespace
}  // namespace caracal::kernels
