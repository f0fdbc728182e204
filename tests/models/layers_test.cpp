// Layers that are not what the checkpoint stores.
#include <caracal/models/modeling_layers.h>

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

}  // namespace
}  // namespace caracal
