// The kernels over rows against loops in double precision over the numbers as the device has them, so that all a 16-bit
// result may lack is its last rounding. Sizes around every vector, warp and block; rows that do not start at multiples
// of 16 bytes; guards around all that is written.
#include <array>
#include <limits>
#include <type_traits>

#include <caracal/tests/cuda/device_memory.h>
#include <caracal/tests/kernels/testing.h>

namespace caracal::kernels::cuda {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

/// Runs one kernel of the table, to its end.
template <class Args>
void run(int (*Cuda::*kernel)(Stream, const Args&), const std::type_identity_t<Args>& args) {
  static const Stream stream = [] {
    Stream created;
    EXPECT_CUDA(table().create_stream(&created));
    return created;
  }();
  EXPECT_CUDA((table().*kernel)(stream, args));
  EXPECT_CUDA(table().synchronize(stream));
}

/// Random numbers that the type has.
std::vector<float> random_numbers(Type type, int64_t count, float scale, uint32_t seed) {
  return rounded(type, random_floats(size_t(count), scale, seed));
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
/// The same, but that one NaN is as good as another.
bool same_numbers(std::vector<float> a, std::vector<float> b) {
  for (std::vector<float>* values : {&a, &b})
    for (float& v : *values) v = std::isnan(v) ? kNaN : v;
  return same_bits(a, b);
}

/// Numbers from a multiple of 16 bytes: what is read, what is written, and the weights.
struct Misalign {
  int64_t in = 0, out = 0, weights = 0;
};
std::ostream& operator<<(std::ostream& to, Misalign m) {
  return to << " misaligned by " << m.in << ", " << m.out << ", " << m.weights;
}
constexpr Misalign kMisalign[] = {{}, {.in = 1}, {.out = 1}, {.weights = 1}, {.in = 3, .out = 5}};

/// How far a result may be from the exact one: the last rounding, and `f32` for what float32 arithmetic did before.
double tolerance(Type type, double exact, double f32) {
  const double rounding = type == Type::f32   ? 0
                          : type == Type::f16 ? std::abs(exact) / 2048 + 3e-8
                                              : std::abs(exact) / 256;
  return 1.01 * rounding + f32 * std::max(1.0, std::abs(exact));
}

void expect_near(const std::vector<float>& actual, const std::vector<double>& exact, Type type, double f32) {
  ASSERT_EQ(actual.size(), exact.size());
  for (size_t i = 0; i < exact.size(); i++) {
    if (std::isnan(exact[i])) {
      ASSERT_TRUE(std::isnan(actual[i])) << i << ": " << actual[i];
    } else if (std::isinf(exact[i])) {
      ASSERT_EQ(actual[i], exact[i]) << i;
    } else {
      ASSERT_NEAR(actual[i], exact[i], tolerance(type, exact[i], f32)) << i;
    }
  }
}

/// The columns that are tried: around a piece of 8, a warp's 256, the 1024 that fit its registers, and a block's 2048.
const std::vector<int64_t> kColumns{1,   2,   7,   8,   9,    31,   32,   33,   64,   248, 256,
                                    257, 264, 384, 768, 1000, 1024, 1025, 1032, 2049, 2064};

// --- layer_norm

std::vector<double> layer_norm_reference(const std::vector<float>& x, const std::vector<float>& weight,
                                         const std::vector<float>& bias, int64_t rows, int64_t cols, double eps) {
  std::vector<double> result;
  for (int64_t r = 0; r < rows; r++) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < cols; c++) mean += x[size_t(r * cols + c)] / double(cols);
    for (int64_t c = 0; c < cols; c++) variance += std::pow(x[size_t(r * cols + c)] - mean, 2) / double(cols);
    for (int64_t c = 0; c < cols; c++)
      result.push_back((x[size_t(r * cols + c)] - mean) / std::sqrt(variance + eps) * weight[size_t(c)] +
                       bias[size_t(c)]);
  }
  return result;
}

/// The norm of x (rows, cols).
std::vector<float> layer_norm(Type type, const std::vector<float>& x, const std::vector<float>& weight,
                              const std::vector<float>& bias, int64_t cols, Activation activation = Activation::none,
                              Misalign misalign = {}, bool in_place = false) {
  Numbers in(type, x, misalign.in), out(type, int64_t(x.size()), misalign.out);
  DeviceArray<float> w(weight, misalign.weights), b(bias, misalign.weights);
  LayerNormArgs args{
      type, in_place ? in.data() : out.data(), in.data(), w, b, int64_t(x.size()) / cols, cols, 1e-5, act(activation)};
  run(&Cuda::layer_norm, args);
  return in_place ? in.download() : out.download();
}

TEST(LayerNorm, MatchesDoubleReference) {
  for (Type type : kTypes) {
    for (int64_t cols : kColumns) {
      for (Misalign misalign : kMisalign) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << misalign);
        const std::vector<float> x = random_numbers(type, 3 * cols, 3, 7),
                                 weight = random_numbers(Type::f32, cols, 1, 8),
                                 bias = random_numbers(Type::f32, cols, 1, 9);
        const std::vector<float> y = layer_norm(type, x, weight, bias, cols, Activation::none, misalign);
        expect_near(y, layer_norm_reference(x, weight, bias, 3, cols, 1e-5), type, cols == 2 ? 2e-5 : 4e-6);
        EXPECT_TRUE(same_bits(layer_norm(type, x, weight, bias, cols, Activation::none, misalign, true), y))
            << "in place";
      }
    }
  }
}

TEST(LayerNorm, ThenTheActivation) {
  for (Type type : kTypes) {
    for (Activation activation : {Activation::gelu, Activation::tanh, Activation::relu}) {
      for (int64_t cols : {8, 20, 512, 1032}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << " activation " << int(activation));
        const std::vector<float> x = random_numbers(type, 2 * cols, 3, 7),
                                 weight = random_numbers(Type::f32, cols, 1, 8),
                                 bias = random_numbers(Type::f32, cols, 1, 9);
        std::vector<double> expected = layer_norm_reference(x, weight, bias, 2, cols, 1e-5);
        for (double& v : expected) v = reference_activation(v, activation);
        expect_near(layer_norm(type, x, weight, bias, cols, activation), expected, type, 4e-6);
      }
    }
  }
}

// Half an ulp of 100 is 4e-6 of the deviation: a one-pass variance would be off by 1e-3 here.
TEST(LayerNorm, LargeMean) {
  for (int64_t cols : {768, 1200}) {
    std::vector<float> x = random_numbers(Type::f32, 2 * cols, 1, 3), weight(size_t(cols), 1.0f),
                       bias(size_t(cols), 0.0f);
    for (float& v : x) v += 100;
    expect_near(layer_norm(Type::f32, x, weight, bias, cols), layer_norm_reference(x, weight, bias, 2, cols, 1e-5),
                Type::f32, 2e-5);
  }
}

TEST(LayerNorm, ConstantAndSpecialRows) {
  for (int64_t cols : {20, 24, 1040}) {
    std::vector<float> x(size_t(4 * cols), 3.0f), weight(size_t(cols), 2.0f), bias(size_t(cols), 0.5f);
    x[size_t(cols + 5)] = kNaN, x[size_t(2 * cols + 5)] = kInf;
    const std::vector<float> y = layer_norm(Type::f32, x, weight, bias, cols);
    for (int64_t i = 0; i < cols; i++) {
      EXPECT_EQ(y[size_t(i)], 0.5f);
      EXPECT_TRUE(std::isnan(y[size_t(cols + i)]));
      EXPECT_TRUE(std::isnan(y[size_t(2 * cols + i)]));
      EXPECT_EQ(y[size_t(3 * cols + i)], 0.5f);
    }
  }
}

// Whatever the number of rows (1, 2 or 4 a block), and in registers or not.
TEST(LayerNorm, ARowsBitsAreItsOwn) {
  for (Type type : kTypes) {
    for (int64_t cols : {24, 520, 1048}) {
      const std::vector<float> weight = random_numbers(Type::f32, cols, 1, 8),
                               bias = random_numbers(Type::f32, cols, 1, 9);
      const std::vector<float> x = random_numbers(type, 7 * cols, 3, 7);
      const std::vector<float> all = layer_norm(type, x, weight, bias, cols);
      EXPECT_TRUE(same_bits(layer_norm(type, x, weight, bias, cols, Activation::none, {1, 1}), all)) << "misaligned";
      for (int64_t r = 0; r < 7; r++) {
        const std::vector<float> one(x.begin() + r * cols, x.begin() + (r + 1) * cols);
        EXPECT_TRUE(same_bits(layer_norm(type, one, weight, bias, cols),
                              {all.begin() + r * cols, all.begin() + (r + 1) * cols}));
      }
    }
  }
  const std::vector<float> weight = random_numbers(Type::f32, 8, 1, 8), bias = random_numbers(Type::f32, 8, 1, 9),
                           row = random_numbers(Type::f32, 8, 3, 7);
  const std::vector<float> one = layer_norm(Type::f32, row, weight, bias, 8);
  for (int64_t rows : {255, 256, 257, 511, 515}) {
    std::vector<float> x, y;
    for (int64_t r = 0; r < rows; r++)
      x.insert(x.end(), row.begin(), row.end()), y.insert(y.end(), one.begin(), one.end());
    EXPECT_TRUE(same_bits(layer_norm(Type::f32, x, weight, bias, 8), y)) << rows;
  }
}

// --- embedding, scatter_rows

TEST(Embedding, CopiesOrAdds) {
  for (Type type : kTypes) {
    for (int64_t cols : {1, 7, 8, 9, 24, 255, 264, 520}) {
      // Columns of out beside, and how far the table is from alignment.
      for (auto [left, right, misalign] : {std::array<int64_t, 3>{0, 0, 0}, {8, 8, 0}, {8, 8, 1}, {3, 2, 0}}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << " left " << left);
        const int64_t rows = 9, entries = 5, ldo = left + cols + right;
        const std::vector<int64_t> ids{4, 0, 2, 2, -1, 1, 3, 0, 4};
        const std::vector<float> entries_of = random_numbers(type, entries * cols, 3, 1);
        const std::vector<float> before = random_numbers(type, rows * ldo, 3, 2);
        for (bool accumulate : {false, true}) {
          Numbers from(type, entries_of, misalign), out(type, before);
          DeviceArray<int64_t> index(ids);
          EmbeddingArgs args{type,        static_cast<char*>(out.data()) + size_t(left) * bytes_of(type),
                             from.data(), index.data(),
                             ldo,         rows,
                             cols,        accumulate};
          run(&Cuda::embedding, args);
          std::vector<float> expected = before;
          for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols && ids[size_t(r)] >= 0; c++) {
              float& to = expected[size_t(r * ldo + left + c)];
              to = (accumulate ? to : 0.0f) + entries_of[size_t(ids[size_t(r)] * cols + c)];
            }
          EXPECT_TRUE(same_bits(out.download(), rounded(type, expected)));
        }
      }
    }
  }
}

// In float32 the very bits of one kernel after the other, which in 16 bits round each sum.
TEST(EmbeddingNorm, IsTheNormOfTheSum) {
  for (Type type : kTypes) {
    for (int64_t cols : {1, 8, 20, 264, 520, 768, 1032}) {
      for (auto [tables, misaligned] : {std::array<int64_t, 2>{1, 0}, {2, 0}, {3, 0}, {2, 1}, {2, 2}, {2, 3}, {2, 4}}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << " tables " << tables << " misaligned "
                                        << misaligned);
        const int64_t rows = 5, entries = 4;
        const std::vector<int64_t> ids{3, -1, 2, 2, 1, 0, 1, 2, -9, 3, 1, 1, 0, 2, 0};
        const std::vector<float> entry = random_numbers(type, 3 * entries * cols, 2, 1);
        const std::vector<float> weight = random_numbers(Type::f32, cols, 1, 8),
                                 bias = random_numbers(Type::f32, cols, 1, 9);
        std::vector<float> sum(size_t(rows * cols));
        for (int64_t i = 0; i < tables; i++)
          for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
              sum[size_t(r * cols + c)] +=
                  entry[size_t((i * entries + std::max<int64_t>(0, ids[size_t(i * rows + r)])) * cols + c)];
        const Numbers from(type, entry, misaligned == 1), out(type, size_t(rows * cols), misaligned == 2);
        const DeviceArray<int64_t> index(ids);
        const DeviceArray<float> w(weight, misaligned == 3), b(bias, misaligned == 4);
        EmbeddingNormArgs args{type, out, {}, {}, w, b, rows, cols, 1e-5};
        for (int64_t i = 0; i < tables; i++) {
          args.tables[i] = static_cast<char*>(from.data()) + size_t(i * entries * cols) * bytes_of(type);
          args.ids[i] = index + i * rows;
        }
        run(&Cuda::embedding_norm, args);
        expect_near(out.download(), layer_norm_reference(sum, weight, bias, rows, cols, 1e-5), type, 4e-6);
        if (type == Type::f32) {
          EXPECT_TRUE(same_bits(out.download(), layer_norm(type, sum, weight, bias, cols)));
        }
      }
    }
  }
}

TEST(ScatterRows, WritesOnlyTheRowsNamed) {
  for (Type type : kTypes) {
    for (int64_t cols : {1, 7, 8, 24, 33, 264, 513}) {
      for (Misalign misalign : kMisalign) {
        const std::vector<int64_t> to{6, 0, -1, 3, 2};
        const std::vector<float> x = random_numbers(type, 5 * cols, 3, 1);
        std::vector<float> expected = random_numbers(type, 8 * cols, 3, 2);
        Numbers from(type, x, misalign.in), out(type, expected, misalign.out);
        DeviceArray<int64_t> index(to);
        RowsArgs args{type, out.data(), from.data(), index.data(), 5, cols};
        run(&Cuda::scatter_rows, args);
        for (int64_t r = 0; r < 5; r++)
          for (int64_t c = 0; c < cols && to[size_t(r)] >= 0; c++)
            expected[size_t(to[size_t(r)] * cols + c)] = x[size_t(r * cols + c)];
        EXPECT_TRUE(same_bits(out.download(), expected)) << name_of(type) << " cols " << cols;
      }
    }
  }
}

// --- elementwise

TEST(CopyMatrix, ConvertsBetweenAllTypes) {
  for (Type from : kTypes) {
    for (Type to : kTypes) {
      for (int64_t cols : {1, 8, 23, 264}) {
        for (auto [ldx, ldo] : {std::pair<int64_t, int64_t>{cols, cols}, {cols + 8, cols + 16}, {cols + 1, cols + 2}}) {
          SCOPED_TRACE(testing::Message()
                       << name_of(from) << " to " << name_of(to) << " cols " << cols << " ldx " << ldx);
          const int64_t rows = 6;
          std::vector<float> x = random_numbers(Type::f32, rows * ldx, 3, 1),
                             special{kNaN, kInf, -kInf, -0.0f, 1e-7f, 65519.0f, 65520.0f, 3e38f, 1e-40f};
          for (size_t i = 0; i < special.size() && i < x.size(); i++) x[i * x.size() / special.size()] = special[i];
          x = rounded(from, x);
          std::vector<float> expected = random_numbers(to, rows * ldo, 3, 2);
          Numbers in(from, x), out(to, expected);
          MatrixArgs args{to, from, out.data(), in.data(), ldo, ldx, rows, cols};
          run(&Cuda::copy_matrix, args);
          for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) expected[size_t(r * ldo + c)] = x[size_t(r * ldx + c)];
          EXPECT_TRUE(same_numbers(out.download(), rounded(to, expected)));
        }
      }
    }
  }
}

TEST(AddScaled, MatchesReference) {
  for (Type type : kTypes) {
    for (int64_t count : {1, 7, 8, 9, 1023, 1024, 1025, 2500}) {
      for (Misalign misalign : kMisalign) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " count " << count << misalign);
        const std::vector<float> x = random_numbers(type, count, 3, 1), onto = random_numbers(type, count, 3, 2);
        Numbers in(type, x, misalign.in), out(type, onto, misalign.out);
        AddScaledArgs args{type, out.data(), in.data(), count, -0.3};
        run(&Cuda::add_scaled, args);
        std::vector<double> expected;
        for (size_t i = 0; i < x.size(); i++) expected.push_back(double(-0.3f) * x[i] + onto[i]);
        expect_near(out.download(), expected, type, 2e-7);
      }
    }
  }
}

TEST(PrependToken, PutsATokenBeforeEachSequenceAndAddsPositions) {
  for (Type type : kTypes) {
    for (int64_t cols : {1, 8, 12, 264}) {
      for (auto [length, misaligned] : {std::array<int64_t, 2>{2, 0}, {3, 1}, {3, 2}, {3, 3}, {3, 4}, {6, 0}}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << " length " << length << " misaligned "
                                        << misaligned);
        const int64_t batch = 3, rest = length - 1;
        const std::vector<float> token = random_numbers(type, cols, 3, 1),
                                 x = random_numbers(type, batch * rest * cols, 3, 2),
                                 positions = random_numbers(type, length * cols, 3, 3);
        Numbers first(type, token, misaligned == 1), in(type, x, misaligned == 2),
            added(type, positions, misaligned == 3), out(type, batch * length * cols, misaligned == 4);
        PrependTokenArgs args{type, out.data(), first.data(), in.data(), added.data(), batch * length, length, cols};
        run(&Cuda::prepend_token, args);
        std::vector<float> expected;
        for (int64_t b = 0; b < batch; b++)
          for (int64_t p = 0; p < length; p++)
            for (int64_t c = 0; c < cols; c++)
              expected.push_back((p == 0 ? token[size_t(c)] : x[size_t((b * rest + p - 1) * cols + c)]) +
                                 positions[size_t(p * cols + c)]);
        EXPECT_TRUE(same_bits(out.download(), rounded(type, expected)));
      }
    }
  }
}

TEST(Glu, MatchesReference) {
  for (Type type : kTypes) {
    for (int64_t cols : {1, 4, 8, 12, 33, 264}) {
      for (Misalign misalign : kMisalign) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << misalign);
        std::vector<float> x = random_numbers(type, 5 * 2 * cols, 9, 1);
        x[0] = kInf, x[size_t(cols)] = -kInf, x[size_t(2 * cols)] = kNaN, x[size_t(5 * cols)] = -200;
        Numbers in(type, x, misalign.in), out(type, 5 * cols, misalign.out);
        NormalizeArgs args{type, out.data(), in.data(), 5, cols, 0};
        run(&Cuda::glu, args);
        std::vector<double> expected;
        for (int64_t r = 0; r < 5; r++)
          for (int64_t c = 0; c < cols; c++)
            expected.push_back(double(x[size_t(2 * r * cols + c)]) /
                               (1 + std::exp(-double(x[size_t((2 * r + 1) * cols + c)]))));
        expect_near(out.download(), expected, type, 1e-6);
      }
    }
  }
}

// --- pool

struct Sequences {
  std::vector<int64_t> offsets, lengths;
};
/// Rows between the sequences, and after their keys, belong to none of them.
const Sequences kSequences{{0, 5, 5, 6, 9, 40, 75, 112, 200}, {5, 0, 1, 2, 31, 32, 33, 80, 0}};
constexpr int64_t kRows = 290;

std::vector<float> pool(Type type, PoolKind kind, const std::vector<float>& x, const Sequences& sequences, int64_t cols,
                        Misalign misalign = {}) {
  const int64_t batch = int64_t(sequences.lengths.size());
  Numbers in(type, x, misalign.in),
      out(type, batch * cols * (kind == PoolKind::mean_and_deviation ? 2 : 1), misalign.out);
  DeviceArray<int64_t> offsets(sequences.offsets), lengths(sequences.lengths);
  PoolArgs args{type, out.data(), in.data(), offsets.data(), lengths.data(), batch, cols, kind};
  run(&Cuda::pool, args);
  return out.download();
}

std::vector<double> pool_reference(PoolKind kind, const std::vector<float>& x, const Sequences& sequences,
                                   int64_t cols) {
  std::vector<double> result;
  for (size_t b = 0; b < sequences.lengths.size(); b++) {
    const int64_t rows = sequences.lengths[b];
    std::vector<double> first, second;
    for (int64_t c = 0; c < cols; c++) {
      auto at = [&](int64_t r) { return double(x[size_t((sequences.offsets[b] + r) * cols + c)]); };
      double sum = 0, squares = 0, most = -kInf;
      for (int64_t r = 0; r < rows; r++) sum += at(r), most = std::isnan(most) || most >= at(r) ? most : at(r);
      const double mean = sum / double(rows);
      for (int64_t r = 0; r < rows; r++) squares += (at(r) - mean) * (at(r) - mean);
      const double value = kind == PoolKind::most ? most : mean;
      first.push_back(rows == 0 && kind != PoolKind::mean_and_deviation ? 0.0 : value);
      second.push_back(rows < 2 ? kNaN : std::sqrt(squares / double(rows - 1)));
    }
    result.insert(result.end(), first.begin(), first.end());
    if (kind == PoolKind::mean_and_deviation) result.insert(result.end(), second.begin(), second.end());
  }
  return result;
}

TEST(Pool, MatchesDoubleReference) {
  for (Type type : kTypes) {
    for (PoolKind kind : {PoolKind::mean, PoolKind::most, PoolKind::mean_and_deviation}) {
      for (int64_t cols : {1, 8, 20, 64, 72}) {
        for (Misalign misalign : kMisalign) {
          SCOPED_TRACE(testing::Message()
                       << name_of(type) << " kind " << int64_t(kind) << " cols " << cols << misalign);
          std::vector<float> x = random_numbers(Type::f32, kRows * cols, 3, 1);
          for (float& v : x) v -= 3.5f;  // all negative: 0 is not the largest
          x = rounded(type, x);
          expect_near(pool(type, kind, x, kSequences, cols, misalign), pool_reference(kind, x, kSequences, cols), type,
                      2e-6);
        }
      }
    }
  }
}

TEST(Pool, SpecialNumbers) {
  std::vector<float> x(12, 1.0f);  // (6, 2)
  x[2] = kNaN, x[4] = kInf, x[5] = -kInf, x[8] = x[10] = -kInf;
  const Sequences sequences{{0, 4}, {3, 2}};
  for (PoolKind kind : {PoolKind::mean, PoolKind::most, PoolKind::mean_and_deviation}) {
    SCOPED_TRACE(int64_t(kind));
    expect_near(pool(Type::f32, kind, x, sequences, 2), pool_reference(kind, x, sequences, 2), Type::f32, 1e-6);
  }
}

// The order of the sequences and what is beside them change no bit.
TEST(Pool, ASequencesBitsAreItsOwn) {
  const int64_t cols = 24;
  for (Type type : kTypes) {
    for (PoolKind kind : {PoolKind::mean, PoolKind::mean_and_deviation}) {
      const std::vector<float> x = random_numbers(type, kRows * cols, 3, 1);
      const std::vector<float> all = pool(type, kind, x, kSequences, cols);
      const int64_t width = int64_t(all.size() / kSequences.lengths.size());
      for (size_t b = 0; b < kSequences.lengths.size(); b++) {
        const auto begin = x.begin() + kSequences.offsets[b] * cols;
        const std::vector<float> own(begin, begin + kSequences.lengths[b] * cols);
        const std::vector<float> one = pool(type, kind, own, {{0}, {kSequences.lengths[b]}}, cols);
        const auto expected = all.begin() + int64_t(b) * width;
        EXPECT_TRUE(same_numbers(one, {expected, expected + width})) << b;
      }
    }
  }
}

// --- l2_normalize, argmax, cumulative_sum

TEST(L2Normalize, MatchesDoubleReference) {
  for (Type type : kTypes) {
    for (int64_t cols : kColumns) {
      for (Misalign misalign : kMisalign) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols << misalign);
        std::vector<float> x = random_numbers(Type::f32, 4 * cols, 3, 1);
        for (int64_t c = 0; c < cols; c++) x[size_t(cols + c)] = 0, x[size_t(2 * cols + c)] *= 1e-3f / float(cols);
        x = rounded(type, x);
        x[size_t(3 * cols)] = kNaN;
        const double eps = 1e-2;
        Numbers in(type, x, misalign.in), out(type, 4 * cols, misalign.out);
        NormalizeArgs args{type, out.data(), in.data(), 4, cols, eps};
        run(&Cuda::l2_normalize, args);
        std::vector<double> expected;
        for (int64_t r = 0; r < 4; r++) {
          double squares = 0;
          for (int64_t c = 0; c < cols; c++) squares += std::pow(double(x[size_t(r * cols + c)]), 2);
          const double norm = std::sqrt(squares);
          for (int64_t c = 0; c < cols; c++) expected.push_back(x[size_t(r * cols + c)] / (norm < eps ? eps : norm));
        }
        const std::vector<float> y = out.download();
        expect_near(y, expected, type, 1e-6);
        args.out = in.data();
        run(&Cuda::l2_normalize, args);
        EXPECT_TRUE(same_numbers(in.download(), y)) << "in place";
      }
    }
  }
}

TEST(Argmax, FirstOfTheLargestNaNBeforeAll) {
  for (Type type : kTypes) {
    for (int64_t width : {1, 2, 31, 32, 33, 64, 1000, 1024, 1025, 3000}) {
      for (int64_t groups : {1, 3}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " width " << width << " groups " << groups);
        const int64_t rows = 8, parts = rows * groups;
        std::vector<float> x = random_numbers(Type::f32, parts * width, 3, 1);
        std::mt19937 engine{unsigned(width)};
        auto column = [&](int64_t part) -> float& {
          return x[size_t(part * width + int64_t(engine() % unsigned(width)))];
        };
        for (int64_t part = 0; part < parts; part++) {
          const auto begin = x.begin() + part * width;
          switch (part % 8) {
            case 0: break;
            case 1: column(part) = 5, column(part) = 5; break;
            case 2: column(part) = kNaN, column(part) = kInf, column(part) = kNaN; break;
            case 3: std::fill(begin, begin + width, -kInf); break;
            case 4: std::fill(begin, begin + width, kNaN); break;
            case 5: std::fill(begin, begin + width, -1.0f), column(part) = 0.0f, column(part) = -0.0f; break;
            case 6: std::fill(begin, begin + width, -kInf), column(part) = -65000; break;
            case 7: std::fill(begin, begin + width, 1.0f); break;
          }
        }
        x = rounded(type, x);
        std::vector<int64_t> expected(size_t(parts), 0);
        for (int64_t part = 0; part < parts; part++) {
          const float* values = x.data() + part * width;
          int64_t& best = expected[size_t(part)];
          for (int64_t c = 1; c < width && !std::isnan(values[best]); c++)
            if (values[c] > values[best] || std::isnan(values[c])) best = c;
        }
        for (Misalign misalign : kMisalign) {
          Numbers in(type, x, misalign.in);
          DeviceArray<int64_t> out{size_t(parts)};
          ArgmaxArgs args{type, out.data(), in.data(), rows, groups * width, groups};
          run(&Cuda::argmax, args);
          EXPECT_EQ(out.download(), expected);
        }
      }
    }
  }
}

TEST(CumulativeSum, AlongEachRowInFloat64) {
  for (Type type : kTypes) {
    for (int64_t cols : {1, 2, 31, 32, 33, 64, 100, 500}) {
      SCOPED_TRACE(testing::Message() << name_of(type) << " cols " << cols);
      std::vector<float> x = random_numbers(Type::f32, 4 * cols, 3, 1);
      x[0] = -0.0f;
      x[size_t(cols)] = 16777216.0f;  // float32 would lose what is added to it
      x[size_t(2 * cols + cols / 2)] = kInf, x[size_t(3 * cols - 1)] = -kInf;
      x[size_t(3 * cols + cols / 3)] = kNaN;
      x = rounded(type, x);
      std::vector<float> expected;
      for (int64_t r = 0; r < 4; r++) {
        double sum = 0;
        for (int64_t c = 0; c < cols; c++) expected.push_back(float(sum += x[size_t(r * cols + c)]));
      }
      Numbers in(type, x), out(type, 4 * cols);
      NormalizeArgs args{type, out.data(), in.data(), 4, cols, 0};
      run(&Cuda::cumulative_sum, args);
      EXPECT_TRUE(same_numbers(out.download(), rounded(type, expected)));
      args.out = in.data();
      run(&Cuda::cumulative_sum, args);
      EXPECT_TRUE(same_numbers(in.download(), rounded(type, expected))) << "in place";
    }
  }
}

// --- nothing

TEST(Rows, NothingToDo) {
  for (Type type : kTypes) {
    Numbers x(type, 0);
    DeviceArray<float> f(0);
    DeviceArray<int64_t> none(0);
    void* p = x.data();
    for (int64_t cols : {0, 16}) {
      run(&Cuda::layer_norm, {type, p, p, f, f, 0, cols, 1e-5, act(Activation::none)});
      run(&Cuda::embedding, {type, p, p, none.data(), cols, 0, cols, 0});
      run(&Cuda::embedding_norm, {type, p, {p}, {none}, f, f, 0, cols, 1e-5});
      run(&Cuda::scatter_rows, {type, p, p, none.data(), 0, cols});
      run(&Cuda::copy_matrix, {type, type, p, p, cols, cols, 0, cols});
      run(&Cuda::add_scaled, {type, p, p, 0, 1});
      run(&Cuda::prepend_token, {type, p, p, p, p, 0, 2, cols});
      run(&Cuda::pool, {type, p, p, none.data(), none.data(), 0, cols, PoolKind::mean});
      run(&Cuda::l2_normalize, {type, p, p, 0, cols, 1e-12});
      run(&Cuda::argmax, {type, none.data(), p, 0, cols, 1});
      run(&Cuda::cumulative_sum, {type, p, p, 0, cols, 0});
      run(&Cuda::glu, {type, p, p, 0, cols, 0});
    }
  }
}

}  // namespace
}  // namespace caracal::kernels::cuda
