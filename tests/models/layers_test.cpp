// Layers that are not what the checkpoint stores, and how a batch is cut for them.
#include <caracal/models/modeling_layers.h>
#include <caracal/models/padding.h>

#include <algorithm>

#include "models_testing.h"

namespace caracal {
namespace {

Parameter parameter(const std::string& name, const Tensor& values) {
  return {name, "", values.shape(), DType::F32, [values] { return values; }};
}

Tensor ramp(const Shape& shape, float from, float step) {
  Tensor x = Tensor::empty(shape);
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = from + step * float(i % 7);
  return x;
}

// A convolution, then (y - mean) / sqrt(var + eps) · weight + bias for each channel.
TEST(NormalizedConvolution, FoldsTheFrozenBatchNorm) {
  const Tensor weight = ramp({3, 2, 3, 1}, -1, 0.3f), bias = ramp({3}, 0.5f, 1), gamma = ramp({3}, 0.5f, 0.7f),
               beta = ramp({3}, -1, 2), mean = ramp({3}, 3, -1.5f), variance = ramp({3}, 0.1f, 4);
  const Weights w({parameter("conv.weight", weight), parameter("conv.bias", bias), parameter("conv.norm.weight", gamma),
                   parameter("conv.norm.bias", beta), parameter("conv.norm.running_mean", mean),
                   parameter("conv.norm.running_var", variance)});
  const Runtime runtime({.threads = 1});
  WeightStore store;
  const Loader loader{runtime, store};
  Arena arena;
  Ctx ctx(runtime, arena);
  const Tensor x = ramp({5 * 4, 2}, -2, 0.9f);
  const ConvolutionShape shape{.y = {.padding = 1}};
  for (bool with_bias : {false, true}) {
    Images out;
    const Tensor plain =
        conv2d(ctx, x, {1, 5, 4}, load_convolution(loader, w / "conv", 2, 3, {3, 1}, shape, with_bias), &out);
    const Tensor folded = conv2d(
        ctx, x, {1, 5, 4},
        load_normalized_convolution(loader, w / "conv", w / "conv" / "norm", 2, 3, {3, 1}, shape, with_bias), &out);
    ASSERT_EQ(folded.shape(), (Shape{20, 3}));
    for (int64_t i = 0; i < 60; i++) {
      const int64_t c = i % 3;
      const double want = (double(plain.data<float>()[i]) - double(mean.data<float>()[c])) /
                              std::sqrt(double(variance.data<float>()[c]) + 1e-5) * double(gamma.data<float>()[c]) +
                          double(beta.data<float>()[c]);
      EXPECT_NEAR(folded.data<float>()[i], want, 2e-5 * std::max(1.0, std::abs(want)));
    }
  }
  EXPECT_THROW(load_convolution(loader, w / "conv", 2, 3, {3, 1}, {.groups = 2}), Error);
  EXPECT_THROW(load_convolution(loader, w / "conv", 2, 4, {3, 1}, shape), Error);
}

// How many sequences of these lengths go together.
std::vector<int64_t> cut(const std::vector<int64_t>& lengths, int threads, bool whole = false, bool planning = false) {
  const int64_t batch = int64_t(lengths.size());
  std::vector<int64_t> offsets = {0}, keys = lengths;
  for (int64_t length : lengths) offsets.push_back(offsets.back() + length);
  keys[0]--;  // as of a masked first token
  const Ragged all{batch, offsets.back(), *std::ranges::max_element(lengths), offsets.data(), keys.data()};
  const Runtime runtime({.threads = threads});
  Arena arena;
  Ctx ctx(runtime, arena, planning);
  const Tensor x = ctx.empty({offsets.back(), 2});
  std::vector<int64_t> counts;
  for (int64_t first = 0; first < batch; first += counts.back()) {
    const Part part = take_sequences(ctx, x, all, first, whole);
    const Ragged& some = part.sequences;
    EXPECT_EQ(part.rows.raw(), x.data<float>() + 2 * offsets[size_t(first)]);
    EXPECT_EQ(part.rows.shape(), (Shape{some.tokens, 2}));
    int64_t longest = 0;
    for (int64_t b = 0; b < some.batch; b++) {
      EXPECT_EQ(some.offsets[b + 1] - some.offsets[b], lengths[size_t(first + b)]);
      EXPECT_EQ(some.keys[b], keys[size_t(first + b)]);
      longest = std::max(longest, lengths[size_t(first + b)]);
    }
    EXPECT_EQ(some.longest, longest);
    EXPECT_EQ(some.offsets[0], 0);
    EXPECT_EQ(some.offsets[some.batch], some.tokens);
    counts.push_back(some.batch);
  }
  return counts;
}

TEST(TakeSequences, AboutTwoHundredRowsAThread) {
  using Counts = std::vector<int64_t>;
  const std::vector<int64_t> images(8, 197), lengths = {31, 18, 113, 128, 128, 75, 128, 52};
  EXPECT_EQ(cut(images, 1), Counts(8, 1));
  EXPECT_EQ(cut(images, 2), Counts(4, 2));
  EXPECT_EQ(cut(images, 2, true), Counts{8});
  EXPECT_EQ(cut(images, 2, false, true), Counts{8});
  EXPECT_EQ(cut(lengths, 1), (Counts{3, 1, 2, 2}));  // 162, 128, 203, 180 rows
  EXPECT_EQ(cut(lengths, 2), (Counts{4, 4}));        // 290, 383
  EXPECT_EQ(cut(lengths, 4), Counts{8});
  EXPECT_EQ(cut(std::vector<int64_t>(201, 1), 1), Counts{201});
  EXPECT_EQ(cut(std::vector<int64_t>(16, 101), 1), Counts(8, 2));
  EXPECT_EQ(cut({120, 80, 0, 1, 450, 30, 0}, 1), (Counts{4, 3}));
  EXPECT_EQ(cut({1, 450, 0, 0, 450, 1}, 1), (Counts{2, 4}));
}

}  // namespace
}  // namespace caracal
