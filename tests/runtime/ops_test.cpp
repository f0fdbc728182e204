#include <caracal/runtime/feature_maps.h>
#include <caracal/runtime/keys_values.h>
#include <caracal/tests/counting_executor.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace caracal {
namespace {

Tensor random(const Shape& shape, uint64_t seed, float scale = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  Tensor x = Tensor::empty(shape);
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = normal(engine);
  return x;
}

void expect_close(const Tensor& got, const std::vector<double>& want, double tolerance = 2e-5) {
  ASSERT_EQ(size_t(got.numel()), want.size());
  for (size_t i = 0; i < want.size(); i++)
    ASSERT_NEAR(got.data<float>()[i], want[i], tolerance * std::max(1.0, std::abs(want[i]))) << "element " << i;
}

class Ops : public testing::Test {
 protected:
  Runtime runtime{{.threads = 3}};
  Arena arena;
  Ctx ctx{runtime, arena};
  WeightStore store;
};

std::vector<double> linear_reference(const Tensor& x, const Tensor& w, const Tensor& b) {
  std::vector<double> y;
  for (int64_t t = 0; t < x.size(0); t++) {
    for (int64_t n = 0; n < w.size(0); n++) {
      double sum = b.defined() ? double(b.data<float>()[n]) : 0;
      for (int64_t k = 0; k < w.size(1); k++)
        sum += double(x.data<float>()[t * w.size(1) + k]) * double(w.data<float>()[n * w.size(1) + k]);
      y.push_back(sum);
    }
  }
  return y;
}

// Rows are shared out, and come out as on one thread.
TEST_F(Ops, WeightsAreQuantizedByAllThreads) {
  const Tensor weight = random({131, 300}, 1, 0.1f);
  const Runtime alone({.threads = 1});
  const QuantizedWeight want = quantize_weight(alone, weight);
  const Tensor back = dequantize_weight(alone, want);
  for (int threads : {2, 3, 5}) {
    const auto executor = std::make_shared<CountingExecutor>(threads);
    const Runtime shared({.executor = executor});
    const QuantizedWeight got = quantize_weight(shared, weight);
    EXPECT_EQ(executor->jobs, 1);
    EXPECT_TRUE(std::ranges::equal(got.values.values<int8_t>(), want.values.values<int8_t>())) << threads;
    EXPECT_TRUE(std::ranges::equal(got.scales.values<float>(), want.scales.values<float>())) << threads;
    EXPECT_TRUE(std::ranges::equal(dequantize_weight(shared, got).values<float>(), back.values<float>())) << threads;
    EXPECT_EQ(executor->jobs, 2);
  }
}

TEST_F(Ops, LinearWithEpilogue) {
  // Row counts below and above the block that few panels are cut into, and a stack of widths that fill no panel.
  for (int64_t rows : {0, 1, 5, 33, 130}) {
    const Tensor x = random({rows, 70}, 1), w = random({37, 70}, 2, 0.1f), b = random({37}, 3),
                 r = random({rows, 37}, 4);
    const Linear weights = pack_linear(runtime, store, {w}, {b});
    std::vector<double> want = linear_reference(x, w, b);
    expect_close(linear(ctx, x, weights), want);
    for (size_t i = 0; i < want.size(); i++) want[i] = std::max(want[i], 0.0) + double(r.data<float>()[i]);
    const Tensor got = linear(ctx, x, weights, {.activation = Activation::relu, .residual = &r});
    expect_close(got, want);
    Tensor onto = r.clone();
    linear(ctx, x, weights, {.activation = Activation::relu, .residual = &onto, .into = &onto});
    EXPECT_TRUE(std::ranges::equal(onto.values<float>(), got.values<float>())) << rows;
  }
}

TEST_F(Ops, StackedLinearEqualsItsParts) {
  const Tensor x = random({9, 20}, 1), a = random({13, 20}, 2), b = random({50, 20}, 3), bias = random({50}, 4);
  const Tensor stacked = linear(ctx, x, pack_linear(runtime, store, {a, b}, {Tensor(), bias}));
  const Tensor first = linear(ctx, x, pack_linear(runtime, store, {a}, {Tensor()})),
               second = linear(ctx, x, pack_linear(runtime, store, {b}, {bias}));
  for (int64_t t = 0; t < 9; t++) {
    for (int64_t n = 0; n < 63; n++)
      EXPECT_EQ(stacked.data<float>()[t * 63 + n],
                n < 13 ? first.data<float>()[t * 13 + n] : second.data<float>()[t * 50 + n - 13]);
  }
}

TEST_F(Ops, LinearRefusesWrongShapes) {
  const Linear weights = pack_linear(runtime, store, {random({4, 8}, 1)}, {Tensor()});
  const Tensor x = random({3, 7}, 2), good = random({3, 8}, 2), residual = random({2, 4}, 3);
  EXPECT_THROW(linear(ctx, x, weights), Error);
  Tensor narrow = random({3, 3}, 4);
  EXPECT_THROW(linear(ctx, good, weights, {.residual = &residual}), Error);
  EXPECT_THROW(linear(ctx, good, weights, {.into = &narrow}), Error);
  EXPECT_THROW(pack_linear(runtime, store, {random({4, 8}, 1), random({4, 9}, 1)}, {Tensor(), Tensor()}), Error);
  EXPECT_THROW(pack_linear(runtime, store, {random({4, 8}, 1)}, {random({5}, 1)}), Error);
  try {
    linear(ctx, x, weights);
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "[linear] expected x of shape (T, 8) F32 but got (3, 7) F32");
  }
}

// torch's attention in double precision: `queries` rows of width kHidden, keys and values of one sequence.
std::vector<double> attention_reference(const float* q, int64_t ldq, int64_t queries, const float* k, const float* v,
                                        int64_t ldk, int64_t keys, int64_t heads, int64_t head_dim, bool causal) {
  std::vector<double> out(size_t(queries * heads * head_dim));
  for (int64_t h = 0; h < heads; h++) {
    for (int64_t i = 0; i < queries; i++) {
      const int64_t seen = causal ? keys - queries + i + 1 : keys;
      std::vector<double> p;
      double sum = 0;
      for (int64_t j = 0; j < seen; j++) {
        double score = 0;
        for (int64_t d = 0; d < head_dim; d++)
          score += double(q[i * ldq + h * head_dim + d]) * double(k[j * ldk + h * head_dim + d]);
        p.push_back(std::exp(score / std::sqrt(double(head_dim))));
        sum += p.back();
      }
      for (int64_t j = 0; j < seen; j++)
        for (int64_t d = 0; d < head_dim; d++)
          out[size_t((i * heads + h) * head_dim + d)] += p[size_t(j)] / sum * double(v[j * ldk + h * head_dim + d]);
    }
  }
  return out;
}

// A decoder's two products: 4, 0 and 37 new rows after 6, 3 and 0 cached ones (causal), and all rows over 5, 2 and 9
// rows of another sequence.
TEST_F(Ops, AttentionOverOtherKeysAndCausal) {
  constexpr int64_t kHeads = 3, kDim = 6, kA = kHeads * kDim;
  const int64_t offsets[] = {0, 4, 4, 41}, keys[] = {4, 0, 37};
  const int64_t cached_offsets[] = {0, 10, 13, 50}, cached_keys[] = {10, 3, 37};
  const int64_t other_offsets[] = {0, 5, 7, 16}, other_keys[] = {5, 2, 9};
  const Ragged sequences{3, 41, 37, offsets, keys};
  const Tensor qkv = random({41, 3 * kA}, 1), q = random({41, kA}, 2);
  const KeysValues cached{random({50, 2 * kA}, 3), {3, 50, 37, cached_offsets, cached_keys}};
  const KeysValues other{random({16, 2 * kA}, 4), {3, 16, 9, other_offsets, other_keys}};
  const Tensor causal = attention(ctx, qkv, sequences, {.heads = kHeads, .causal = true}),
               causal_cached =
                   attention(ctx, qkv, sequences, {.heads = kHeads, .causal = true, .keys_values = &cached}),
               cross = attention(ctx, q, sequences, {.heads = kHeads, .keys_values = &other});
  for (int64_t b : {0, 2}) {
    const int64_t n = keys[b];
    const float *x = qkv.data<float>() + offsets[b] * 3 * kA, *y = q.data<float>() + offsets[b] * kA,
                *c = cached.rows.data<float>() + cached_offsets[b] * 2 * kA,
                *o = other.rows.data<float>() + other_offsets[b] * 2 * kA;
    expect_close(causal.rows(offsets[b], offsets[b] + n),
                 attention_reference(x, 3 * kA, n, x + kA, x + 2 * kA, 3 * kA, n, kHeads, kDim, true));
    expect_close(causal_cached.rows(offsets[b], offsets[b] + n),
                 attention_reference(x, 3 * kA, n, c, c + kA, 2 * kA, cached_keys[b], kHeads, kDim, true));
    expect_close(cross.rows(offsets[b], offsets[b] + n),
                 attention_reference(y, kA, n, o, o + kA, 2 * kA, other_keys[b], kHeads, kDim, false));
  }
  const KeysValues narrow{random({16, kA}, 4), other.sequences}, two{other.rows, {2, 16, 9, other_offsets, other_keys}};
  EXPECT_THROW(attention(ctx, q, sequences, {.heads = kHeads, .keys_values = &narrow}), Error);
  EXPECT_THROW(attention(ctx, q, sequences, {.heads = kHeads, .keys_values = &two}), Error);
  EXPECT_THROW(attention(ctx, random({41, 3 * kA + 1}, 2), sequences, {.heads = kHeads}), Error);
}

// Against PyTorch: torch.nn.functional.unfold, PixelShuffle and interpolate of the values 0, 1, 2, ….
TEST_F(Ops, ImagesAndGrids) {
  std::vector<float> values(2 * 2 * 5 * 6);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor images = Tensor::from(values, {2, 2, 5, 6});
  const Tensor patches = image_patches(ctx, images, 2, 3);  // the fifth row is cut off
  ASSERT_EQ(patches.shape(), (Shape{8, 12}));
  const float second[] = {3, 4, 5, 9, 10, 11, 33, 34, 35, 39, 40, 41},
              last[] = {75, 76, 77, 81, 82, 83, 105, 106, 107, 111, 112, 113};
  for (int i = 0; i < 12; i++) {
    EXPECT_EQ(patches.data<float>()[12 + i], second[i]);
    EXPECT_EQ(patches.data<float>()[7 * 12 + i], last[i]);
  }
  EXPECT_THROW(image_patches(ctx, images, 6, 1), Error);
  EXPECT_THROW(image_patches(ctx, patches, 1, 1), Error);

  // (1, 2 · 2², 1, 3) as rows of pixels: channel c of pixel p is 8p + c.
  const Tensor shuffled =
      pixel_shuffle(ctx, Tensor::from(std::vector<float>(values.begin(), values.begin() + 24), {3, 8}), 1, 1, 3, 2);
  ASSERT_EQ(shuffled.shape(), (Shape{1, 2, 2, 6}));
  const float want[] = {0, 1, 8, 9, 16, 17, 2, 3, 10, 11, 18, 19, 4, 5, 12, 13, 20, 21, 6, 7, 14, 15, 22, 23};
  for (int i = 0; i < 24; i++) EXPECT_EQ(shuffled.data<float>()[i], want[i]) << i;
  EXPECT_THROW(pixel_shuffle(ctx, patches, 1, 1, 8, 5), Error);
  EXPECT_THROW(interpolate_bicubic(ctx, patches, 2, 3, 4, 4), Error);
}

// Sequences of 5, 0 and 40 rows; in the last, the final row attends without being attended to.
TEST_F(Ops, AttentionOverRaggedSequences) {
  constexpr int64_t kHeads = 3, kDim = 7, kHidden = kHeads * kDim;
  const int64_t offsets[] = {0, 5, 5, 45}, keys[] = {5, 0, 39};
  const Ragged sequences{3, 45, 40, offsets, keys};
  const Tensor qkv = random({45, 3 * kHidden}, 1);
  Tensor probs = Tensor::empty({kHeads * (5 * 5 + 40 * 39)});
  const Tensor got = attention(ctx, qkv, sequences, {.heads = kHeads, .probs = &probs});
  std::vector<double> want(45 * kHidden), want_probs;
  const float* x = qkv.data<float>();
  for (int b : {0, 2}) {
    for (int64_t h = 0; h < kHeads; h++) {
      for (int64_t q = offsets[b]; q < offsets[b + 1]; q++) {
        std::vector<double> p;
        double sum = 0;
        for (int64_t k = offsets[b]; k < offsets[b] + keys[b]; k++) {
          double score = 0;
          for (int64_t d = 0; d < kDim; d++)
            score += double(x[q * 3 * kHidden + h * kDim + d]) * double(x[k * 3 * kHidden + kHidden + h * kDim + d]);
          p.push_back(std::exp(score / std::sqrt(double(kDim))));
          sum += p.back();
        }
        for (size_t k = 0; k < p.size(); k++) {
          want_probs.push_back(p[k] / sum);
          for (int64_t d = 0; d < kDim; d++)
            want[size_t(q * kHidden + h * kDim + d)] +=
                p[k] / sum * double(x[(offsets[b] + int64_t(k)) * 3 * kHidden + 2 * kHidden + h * kDim + d]);
        }
      }
    }
  }
  expect_close(got, want);
  expect_close(probs, want_probs);
}

// Fewer heads than threads: the rows of each sequence are cut into blocks. The same bits as on one thread.
TEST_F(Ops, AttentionOfFewHeads) {
  const int64_t offsets[] = {0, 70, 71, 200, 210}, keys[] = {70, 1, 100, 10};
  const Ragged sequences{4, 210, 129, offsets, keys};
  const Tensor qkv = random({210, 3 * 32}, 1);
  const Runtime alone({.threads = 1}), many({.threads = 8});
  Arena other, another;
  Ctx one(alone, other), eight(many, another);
  for (bool causal : {false, true}) {
    const Tensor want = attention(one, qkv, sequences, {.causal = causal});
    for (Ctx* c : {&ctx, &eight}) {
      const Tensor got = attention(*c, qkv, sequences, {.causal = causal});
      EXPECT_EQ(std::memcmp(got.raw(), want.raw(), want.nbytes()), 0);
    }
  }
}

// Rounded where the product before it was: near float32 but not it, and the same with rounded values given.
TEST_F(Ops, AttentionOfBfloat16Products) {
  constexpr int64_t kHeads = 3, kHidden = kHeads * 32;
  const int64_t offsets[] = {0, 5, 45}, keys[] = {5, 39};
  const Ragged sequences{2, 45, 40, offsets, keys};
  const Tensor qkv = random({45, 3 * kHidden}, 1), rounded = qkv.to(DType::BF16).to(DType::F32);
  const AttentionOptions bf16{.heads = kHeads, .kind = LinearKind::bf16_dot};
  const Tensor exact = attention(ctx, qkv, sequences, {.heads = kHeads}), got = attention(ctx, qkv, sequences, bf16),
               again = attention(ctx, rounded, sequences, bf16);
  EXPECT_EQ(std::memcmp(got.raw(), again.raw(), got.nbytes()), 0);
  EXPECT_NE(std::memcmp(got.raw(), exact.raw(), got.nbytes()), 0);
  for (int64_t i = 0; i < got.numel(); i++) ASSERT_NEAR(got.data<float>()[i], exact.data<float>()[i], 0.02) << i;
  const Tensor s8 = attention(ctx, qkv, sequences, {.heads = kHeads, .kind = LinearKind::s8});
  EXPECT_EQ(std::memcmp(s8.raw(), got.raw(), got.nbytes()), 0);
  for (LinearKind kind : {LinearKind::bf16, LinearKind::f16}) {
    const Tensor other = attention(ctx, qkv, sequences, {.heads = kHeads, .kind = kind});
    EXPECT_EQ(std::memcmp(other.raw(), exact.raw(), exact.nbytes()), 0);
  }
}

TEST_F(Ops, RowsInAndOut) {
  const Tensor table = random({10, 5}, 1);
  const Tensor ids = Tensor::from(std::vector<int64_t>{3, 0, 9, 3}, {4});
  Tensor x = embedding(ctx, ids, table);
  EXPECT_EQ(x.data<float>()[5], table.data<float>()[0]);
  embedding(ctx, ids, table, &x);
  EXPECT_EQ(x.data<float>()[2 * 5 + 1], 2 * table.data<float>()[9 * 5 + 1]);
  Tensor out = Tensor::zeros({10, 5});
  scatter_rows(ctx, gather_rows(ctx, table, Tensor::from(std::vector<int64_t>{7, 2}, {2})),
               Tensor::from(std::vector<int64_t>{0, 1}, {2}), out);
  EXPECT_EQ(out.data<float>()[0], table.data<float>()[35]);
  EXPECT_EQ(out.data<float>()[9], table.data<float>()[14]);
  EXPECT_EQ(out.data<float>()[10], 0);
  EXPECT_THROW(gather_rows(ctx, table, Tensor::from(std::vector<int64_t>{10}, {1})), Error);
  EXPECT_THROW(scatter_rows(ctx, x, Tensor::from(std::vector<int64_t>{0, 1, 2, -1}, {4}), out), Error);
}

TEST_F(Ops, ColumnsSideBySide) {
  const Tensor a = random({3, 2}, 1), b = random({3, 18}, 2);
  Tensor x = concat_columns(ctx, {&a, &b, &a});
  ASSERT_EQ(x.shape(), (Shape{3, 22}));
  for (int64_t t = 0; t < 3; t++)
    for (int64_t c = 0; c < 22; c++)
      EXPECT_EQ(x.data<float>()[t * 22 + c],
                c >= 2 && c < 20 ? b.data<float>()[t * 18 + c - 2] : a.data<float>()[t * 2 + c % 20]);
  const Tensor wrong = random({4, 2}, 3);
  EXPECT_THROW(concat_columns(ctx, {&a, &wrong}), Error);

  const Tensor table = random({10, 17}, 4), ids = Tensor::from(std::vector<int64_t>{9, 0, 9}, {3});
  const Tensor before = x.clone();
  add_embedding_columns(ctx, ids, table, 3, x);
  for (int64_t t = 0; t < 3; t++)
    for (int64_t c = 0; c < 22; c++) {
      const float added = c >= 3 && c < 20 ? table.data<float>()[(t == 1 ? 0 : 9) * 17 + c - 3] : 0.0f;
      EXPECT_EQ(x.data<float>()[t * 22 + c], before.data<float>()[t * 22 + c] + added);
    }
  EXPECT_THROW(add_embedding_columns(ctx, ids, table, 6, x), Error);
}

TEST_F(Ops, PoolsAndNorms) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 10, -5, -6, 7, 8}, {4, 2});
  const int64_t offsets[] = {0, 2, 4, 4}, keys[] = {2, 1, 0};
  const Ragged sequences{3, 4, 2, offsets, keys};
  expect_close(mean_pool(ctx, x, sequences), {2, 6, -5, -6, 0, 0});
  expect_close(max_pool(ctx, x, sequences), {3, 10, -5, -6, 0, 0});
  Tensor y = Tensor::from(std::vector<float>{3, 4, 0, 0}, {2, 2});
  l2_normalize(ctx, y);
  expect_close(y, {0.6, 0.8, 0, 0});
  const LayerNorm norm{Tensor::from(std::vector<float>{1, 2}, {2}), Tensor::from(std::vector<float>{0, 1}, {2}), 0.f};
  expect_close(layer_norm(ctx, Tensor::from(std::vector<float>{1, 3}, {1, 2}), norm), {-1, 3});
  EXPECT_THROW(layer_norm(ctx, random({2, 3}, 1), norm), Error);
  Tensor short_out = Tensor::zeros({1, 2});
  EXPECT_THROW(layer_norm(ctx, x, norm, &short_out), Error);
  const int64_t beyond[] = {0, 2, 3};
  EXPECT_THROW(mean_pool(ctx, x, Ragged{2, 4, 2, beyond, beyond + 1}), Error);
}

TEST_F(Ops, DeviationsSumsAndLargest) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 10, 8, 3, NAN, 7}, {4, 2});
  const int64_t offsets[] = {0, 3, 3, 3}, keys[] = {3, 0, 1};
  const Tensor stats = mean_and_deviation(ctx, x, {3, 4, 3, offsets, keys});
  expect_close(stats.rows(0, 1), {4, 5, std::sqrt(13.0), std::sqrt(19.0)});
  for (int64_t i = 4; i < 8; i++) EXPECT_TRUE(std::isnan(stats.data<float>()[i]));
  EXPECT_EQ(stats.data<float>()[9], 7);
  EXPECT_TRUE(std::isnan(stats.data<float>()[11]));
  Tensor sum = Tensor::from(std::vector<float>{1, 1}, {1, 2});
  add_scaled(ctx, x.rows(1, 2), 0.5f, sum);
  expect_close(sum, {2.5, 6});
  EXPECT_THROW(add_scaled(ctx, x, 1, sum), Error);
  const Tensor scores = Tensor::from(std::vector<float>{1, 5, 5, 9, NAN, NAN, -1, -2, -3, 0, 1, 2}, {2, 6});
  const Tensor best = argmax(ctx, scores, 2);
  const int64_t want[] = {1, 1, 0, 2};
  for (int i = 0; i < 4; i++) EXPECT_EQ(best.data<int64_t>()[i], want[i]) << i;
  EXPECT_THROW(argmax(ctx, scores, 4), Error);
}

TEST_F(Ops, PartsZerosAndRowsBehindKeys) {
  const Tensor table = Tensor::from(std::vector<float>{0, 1, 10, 11, 20, 21, 30, 31}, {4, 2});
  const Tensor codes = Tensor::from(std::vector<int64_t>{1, 0, 0, 1, 1, 1}, {6});
  expect_close(gather_parts(ctx, table, codes, 2), {10, 11, 20, 21, 0, 1, 30, 31, 10, 11, 30, 31});
  EXPECT_THROW(gather_parts(ctx, table, codes, 3), Error);
  EXPECT_THROW(gather_parts(ctx, table, codes.rows(0, 5), 2), Error);
  expect_close(zeros(ctx, {2, 2}), {0, 0, 0, 0});
  Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {6, 1});
  const int64_t offsets[] = {0, 3, 3, 5}, keys[] = {1, 0, 2};
  clear_behind_keys(ctx, {3, 6, 3, offsets, keys}, x);
  expect_close(x, {1, 0, 0, 4, 5, 6});
}

// Two sequences, 3 positions of earlier calls, 2 of this one; of the second the earlier position 1 and the last are
// masked.
TEST_F(Ops, KeysAndValuesOfEarlierCalls) {
  const int64_t heads = 2, head_dim = 3, width = 6, past = 3;
  const Tensor keys = random({2, heads, past, head_dim}, 1), values = random({2, heads, past, head_dim}, 2);
  const Tensor rows = random({3, 3 * width}, 3);
  const int64_t first[] = {0, 2}, offsets[] = {0, 5, 8}, counts[] = {5, 3};
  const Tensor places = Tensor::from(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 7, 8}, {8});
  PastAndFresh parts{2, heads, head_dim, keys, values, &rows, first, width, 2 * width};
  const Ragged sequences{2, 8, 5, offsets, counts};
  const KeysValues joined = join_keys_values(ctx, parts, sequences, places, 5);
  EXPECT_EQ(joined.sequences.offsets, offsets);
  ASSERT_EQ(joined.rows.shape(), (Shape{8, 2 * width}));
  int64_t fresh = 0;
  for (int64_t t = 0; t < 8; t++) {
    const int64_t b = t / 5, position = places.data<int64_t>()[t] % 5;
    for (int64_t i = 0; i < 2 * width; i++) {
      const Tensor& cache = i < width ? keys : values;
      const int64_t h = i % width / head_dim, at = ((b * heads + h) * past + position) * head_dim + i % head_dim;
      const float want = position < past ? cache.data<float>()[at] : rows.data<float>()[fresh * 3 * width + width + i];
      EXPECT_EQ(joined.rows.data<float>()[t * 2 * width + i], want) << t << " " << i;
    }
    fresh += position >= past;
  }
  parts.values = {};
  EXPECT_THROW(join_keys_values(ctx, parts, sequences, places, 5), Error);
  parts.values = random({2, heads, past + 1, head_dim}, 2);
  EXPECT_THROW(join_keys_values(ctx, parts, sequences, places, 5), Error);
  parts.values = values;
  EXPECT_THROW(join_keys_values(ctx, parts, sequences, places.rows(0, 7), 5), Error);
  for (int64_t column : {-3, 1, 15}) {
    parts.value_column = column;
    EXPECT_THROW(join_keys_values(ctx, parts, sequences, places, 5), Error);
  }
}

TEST_F(Ops, PlanningComputesNothing) {
  Ctx planning(runtime, arena, true);
  Tensor x = Tensor::zeros({2, 2});
  const LayerNorm norm{Tensor::from(std::vector<float>{1, 2}, {2}), Tensor::from(std::vector<float>{5, 5}, {2}), 1e-5f};
  layer_norm(planning, x, norm, &x);
  EXPECT_EQ(x.data<float>()[0], 0);
}

}  // namespace
}  // namespace caracal
