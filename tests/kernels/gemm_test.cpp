#include "testing.h"

namespace caracal::kernels {
namespace {

struct Case {
  int64_t rows, n, k, lda, ldc, ldr, misalign = 0;
  Activation activation = Activation::none;
  bool bias = false, residual = false, residual_first = false;
};

struct Data {
  std::vector<float> a, w, bias, residual;
};

Data data_of(const Case& c) {
  return {random_floats(c.rows * c.lda + c.misalign, 1, 1), random_floats(c.n * c.k, 1, 2), random_floats(c.n, 1, 3),
          random_floats(c.rows * c.ldr + c.misalign, 1, 4)};
}

struct Packed {
  std::vector<float> memory;
  float* data;
  Packed(const Kernels& kernels, const Data& d, int64_t n, int64_t k) {
    size_t floats = kernels.packed_bytes_f32(n, k) / sizeof(float);
    memory.assign(floats + 16 + 32, 9.0f);
    data = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) / sizeof(float);
    int64_t width = kernels.panel_width_f32(n);
    kernels.pack_gemm_f32(data, d.w.data(), k, n, k, 0, (n + width - 1) / width);
    for (size_t i = floats; i < floats + 32; i++) EXPECT_EQ(data[i], 9.0f) << "packing wrote past its end";
  }
};

void run(const Kernels& kernels, const Case& c, const Data& d, const Packed& packed, Guarded& out, int64_t row = 0,
         int64_t rows = -1, int64_t panel_begin = 0, int64_t panel_end = -1) {
  int64_t width = kernels.panel_width_f32(c.n);
  if (rows < 0) rows = c.rows;
  if (panel_end < 0) panel_end = (c.n + width - 1) / width;
  kernels.gemm_f32({.a = d.a.data() + c.misalign + row * c.lda,
                    .lda = c.lda,
                    .packed = packed.data,
                    .c = out.data() + row * c.ldc,
                    .ldc = c.ldc,
                    .rows = rows,
                    .n = c.n,
                    .k = c.k,
                    .bias = c.bias ? d.bias.data() : nullptr,
                    .activation = c.activation,
                    .residual = c.residual ? d.residual.data() + c.misalign + row * c.ldr : nullptr,
                    .ldr = c.ldr,
                    .residual_first = c.residual_first,
                    .panel_begin = panel_begin,
                    .panel_end = panel_end,
                    .next = packed.data,
                    .next_bytes = packed.memory.size()});
}

// Against a double-precision product; the gaps between rows of C and all around C must stay as they were.
void check(const Case& c) {
  SCOPED_TRACE(testing::Message() << "rows " << c.rows << " n " << c.n << " k " << c.k << " activation "
                                  << int(c.activation) << " bias " << c.bias << " residual " << c.residual);
  Data d = data_of(c);
  Packed packed(tier(), d, c.n, c.k);
  Guarded out(c.rows * c.ldc, c.misalign);
  run(tier(), c, d, packed, out);
  ASSERT_TRUE(out.guards_intact());
  for (int64_t r = 0; r < c.rows; r++) {
    for (int64_t j = 0; j < c.n; j++) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < c.k; i++) {
        double product = double(d.a[size_t(c.misalign + r * c.lda + i)]) * d.w[size_t(j * c.k + i)];
        sum += product;
        magnitude += std::abs(product);
      }
      if (c.bias) sum += d.bias[size_t(j)];
      const double residual = c.residual ? d.residual[size_t(c.misalign + r * c.ldr + j)] : 0.0;
      double expected = reference_activation(c.residual_first ? sum + residual : sum, c.activation);
      if (!c.residual_first) expected += residual;
      double tolerance = 1e-6 + (4 + std::sqrt(double(c.k))) * magnitude * 0x1p-24 + 4e-7 * std::abs(expected);
      ASSERT_NEAR(out[r * c.ldc + j], expected, tolerance) << r << ' ' << j;
    }
    for (int64_t j = c.n; j < c.ldc; j++) ASSERT_EQ(out[r * c.ldc + j], -77.0f) << "gap after row " << r;
  }
}

TEST(Gemm, MatchesDoubleReference) {
  for (int64_t rows : {0, 1, 2, 3, 5, 6, 7, 8, 9, 13, 17}) {
    for (int64_t n : {1, 7, 15, 16, 17, 32, 33, 47, 48, 49, 64, 65, 97}) {
      for (int64_t k : {0, 1, 2, 3, 4, 5, 19, 64}) check({rows, n, k, k + 1, n + 3, n + 2, 1});
    }
  }
}

TEST(Gemm, LongSumsAndManyRows) {
  for (int64_t k : {767, 768, 769, 1540}) check({9, 50, k, k, 50, 50});
  for (int64_t rows : {31, 128, 129, 200, 300}) check({rows, 33, 40, 40, 33, 33});
  check({130, 49, 1600, 1600, 49, 49, 0, Activation::gelu, true, true});
}

TEST(Gemm, Epilogues) {
  for (Activation activation : kActivations) {
    for (bool bias : {false, true}) {
      for (bool residual : {false, true}) {
        check({5, 39, 12, 12, 40, 41, 2, activation, bias, residual});
        check({11, 96, 8, 8, 96, 96, 0, activation, bias, residual});
        check({5, 39, 12, 12, 40, 41, 2, activation, bias, residual, true});
      }
    }
  }
}

// A stride without a residual is no reason to count from a null pointer, which UBSan would report.
TEST(Gemm, StrideOfAnAbsentResidual) {
  for (int64_t ldr : {int64_t(0), int64_t(39), int64_t(1) << 62}) {
    Case c{5, 39, 12, 12, 40, 39};
    Data d = data_of(c);
    Packed packed(tier(), d, c.n, c.k);
    Guarded expected(c.rows * c.ldc), out(c.rows * c.ldc);
    run(tier(), c, d, packed, expected);
    c.ldr = ldr;
    run(tier(), c, d, packed, out);
    EXPECT_TRUE(same_bits(expected.data(), out.data(), out.size())) << ldr;
  }
}

// Adding to C itself: the residual stream of an encoder layer.
TEST(Gemm, ResidualMayBeC) {
  for (int64_t k : {20, 1600}) {
    Case c{10, 50, k, k, 50, 50, 0, Activation::none, true, true};
    Data d = data_of(c);
    Packed packed(tier(), d, c.n, c.k);
    Guarded separate(c.rows * c.ldc), in_place(d.residual);
    run(tier(), c, d, packed, separate);
    tier().gemm_f32({.a = d.a.data(),
                     .lda = k,
                     .packed = packed.data,
                     .c = in_place.data(),
                     .ldc = 50,
                     .rows = 10,
                     .n = 50,
                     .k = k,
                     .bias = d.bias.data(),
                     .activation = Activation::none,
                     .residual = in_place.data(),
                     .ldr = 50,
                     .panel_begin = 0,
                     .panel_end = (50 + tier().panel_width_f32(50) - 1) / tier().panel_width_f32(50),
                     .next = nullptr,
                     .next_bytes = 0});
    EXPECT_TRUE(same_bits(separate.data(), in_place.data(), separate.size()));
  }
}

// The promise that batch mates and threads cannot change a result.
TEST(Gemm, BitsDoNotDependOnRowsOrPanels) {
  for (int64_t n : {16, 32, 64, 80, 130, 200}) {  // of panels of 48 the last has 32, 48 and 16
    Case c{37, n, 900, 900, n, n, 0, Activation::gelu, true, true};
    Data d = data_of(c);
    Packed packed(tier(), d, c.n, c.k);
    Guarded whole(c.rows * c.ldc);
    run(tier(), c, d, packed, whole);
    int64_t panels = (n + tier().panel_width_f32(c.n) - 1) / tier().panel_width_f32(c.n);
    for (int64_t part : {1, 2, 3, 5, 7, 8, 11, 20}) {
      Guarded out(c.rows * c.ldc);
      for (int64_t row = 0; row < c.rows; row += part) {
        int64_t rows = std::min(part, c.rows - row);
        for (int64_t p = 0; p < panels; p += part)
          run(tier(), c, d, packed, out, row, rows, p, std::min(p + part, panels));
      }
      EXPECT_TRUE(same_bits(whole.data(), out.data(), whole.size())) << "parts of " << part;
    }
  }
}

TEST(Gemm, TiersAgree) {
  for (Activation activation : kActivations) {
    Case c{19, 77, 800, 800, 77, 77, 0, activation, true, true};
    Data d = data_of(c);
    Guarded mine(c.rows * c.ldc), other(c.rows * c.ldc), spec(c.rows * c.ldc);
    run(tier(), c, d, Packed(tier(), d, c.n, c.k), mine);
    run(twin(), c, d, Packed(twin(), d, c.n, c.k), other);
    run(scalar_tier(), c, d, Packed(scalar_tier(), d, c.n, c.k), spec);
    EXPECT_TRUE(same_bits(mine.data(), other.data(), mine.size()))
        << "avx2 and avx512 differ, activation " << int(activation);
    for (int64_t i = 0; i < mine.size(); i++)
      ASSERT_NEAR(mine[i], spec[i], 2e-5 * std::max(1.0f, std::abs(spec[i]))) << int(activation);
  }
}

// A row with NaN or inf spoils only itself, also where weights are padded with zeros.
TEST(Gemm, SpecialValuesStayInTheirRow) {
  Case c{6, 20, 40, 40, 20, 20};
  Data d = data_of(c);
  d.a[1 * 40 + 3] = NAN;
  d.a[4 * 40 + 39] = INFINITY;
  d.a[5 * 40] = 1e-42f;
  Packed packed(tier(), d, c.n, c.k);
  Guarded out(c.rows * c.ldc);
  run(tier(), c, d, packed, out);
  for (int64_t j = 0; j < 20; j++) {
    EXPECT_TRUE(std::isnan(out[20 + j]));
    EXPECT_TRUE(std::isinf(out[80 + j]));
    for (int64_t r : {0, 2, 3, 5}) EXPECT_TRUE(std::isfinite(out[r * 20 + j]));
  }
}

TEST(Gemm, ActivationsKeepNaN) {
  for (Activation activation : kActivations) {
    Case c{3, 20, 40, 40, 20, 20, 0, activation, true, true};
    Data d = data_of(c);
    d.a[40 + 3] = NAN;
    Packed packed(tier(), d, c.n, c.k);
    Guarded out(c.rows * c.ldc);
    run(tier(), c, d, packed, out);
    for (int64_t j = 0; j < 20; j++) {
      EXPECT_TRUE(std::isnan(out[20 + j])) << int(activation);
      EXPECT_TRUE(std::isfinite(out[j]) && std::isfinite(out[40 + j])) << int(activation);
    }
  }
}

}  // namespace
}  // namespace caracal::kernels
