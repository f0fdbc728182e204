// Convolutions, norms, pools and sums against PyTorch's results (tests/data/ops, made by tools/make_op_goldens.py), and
// the promise that neither threads nor batch mates change a bit.
#include <caracal/runtime/feature_maps.h>

#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include <caracal/loaders/safetensors.h>
#include <caracal/models/activations.h>
#include <caracal/runtime/json.h>

namespace caracal {
namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  Tensor x = Tensor::empty(shape);
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = normal(engine);
  return x;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

class ConvolutionOps : public testing::Test {
 protected:
  Runtime runtime{{.threads = 3}};
  Arena arena;
  Ctx ctx{runtime, arena};
  WeightStore store;
};

int64_t number(const Json& list, size_t i) { return list.as_array()[i].as_int(); }

// Two sequences, or images taken as sequences, of `rows` rows each.
struct TwoSequences {
  explicit TwoSequences(int64_t rows) : offsets{0, rows, 2 * rows}, keys{rows, rows} {}
  int64_t offsets[3], keys[2];
  Ragged ragged() const { return {2, offsets[2], keys[0], offsets, keys}; }
};

Tensor run_case(Ctx& ctx, WeightStore& store, const Json& c, std::map<std::string, Tensor>& t) {
  const std::string op = c.at("op").as_string();
  const Tensor& x = t["x"];
  Images out;
  if (op == "conv1d" || op == "conv2d") {
    const size_t dims = op == "conv1d" ? 1 : 2;
    ConvolutionShape shape{.groups = c.at("groups").as_int()};
    for (size_t i = 0; i < dims; i++) {
      Window& window = dims == 2 && i == 0 ? shape.y : shape.x;
      window.stride = number(c.at("stride"), i);
      window.padding = number(c.at("padding"), i);
      window.dilation = number(c.at("dilation"), i);
    }
    const Convolution conv = pack_convolution(ctx.runtime(), store, t["weight"], t["bias"], shape);
    const ConvolutionOptions options{.activation = activation_from_name(c.at("activation").as_string()),
                                     .residual = t["residual"].defined() ? &t["residual"] : nullptr,
                                     .residual_first = c.at("residual_first").as_bool()};
    if (dims == 2) return conv2d(ctx, x, {2, number(c.at("size"), 1), number(c.at("size"), 2)}, conv, &out, options);
    const TwoSequences sequences(number(c.at("size"), 1));
    Ragged result;
    return conv1d(ctx, x, sequences.ragged(), conv, &result, options);
  }
  if (op == "group_norm") {
    Tensor y = x.clone();
    const TwoSequences sequences(number(c.at("size"), 1));
    group_norm(ctx, y, sequences.ragged(), {t["weight"], t["bias"], c.at("groups").as_int(), 1e-5f},
               activation_from_name(c.at("activation").as_string()));
    return y;
  }
  if (op == "max_pool_2d" || op == "average_pool_2d") {
    auto window = [&](size_t i) {
      return Window{number(c.at("kernel"), i), number(c.at("stride"), i), number(c.at("padding"), i)};
    };
    const Images images{2, number(c.at("size"), 1), number(c.at("size"), 2)};
    return (op == "max_pool_2d" ? max_pool_2d : average_pool_2d)(ctx, x, images, window(0), window(1), &out);
  }
  const auto images = [&] { return Images{2, number(c.at("size"), 1), number(c.at("size"), 2)}; };
  if (op == "adaptive_average_pool_2d")
    return adaptive_average_pool_2d(ctx, x, images(), number(c.at("out"), 0), number(c.at("out"), 1));
  if (op == "add_upsampled") {
    Tensor sum = t["onto"].clone();
    add_upsampled(ctx, x, images(), sum);
    return sum;
  }
  if (op == "glu") return glu(ctx, x);
  if (op == "cumulative_sum") return cumulative_sum(ctx, x);
  EXPECT_EQ(op, "relative_position_bucket");
  Tensor buckets = Tensor::empty(t["out"].shape(), DType::U8);
  for (int64_t i = 0; i < buckets.numel(); i++)
    buckets.data<uint8_t>()[i] = uint8_t(
        relative_position_bucket(c.at("first").as_int() + i, c.at("buckets").as_int(), c.at("max_distance").as_int()));
  return buckets;
}

TEST_F(ConvolutionOps, GiveWhatTorchGives) {
  const SafetensorsFile file = SafetensorsFile::open(std::string(CARACAL_TEST_DATA) + "/ops/convolution.safetensors");
  const Json cases = Json::parse(file.metadata().at("cases"), "cases");
  ASSERT_GE(cases.as_array().size(), 50u);
  for (size_t i = 0; i < cases.as_array().size(); i++) {
    const Json& c = cases.as_array()[i];
    SCOPED_TRACE(std::to_string(i) + ": " + c.dump());
    std::map<std::string, Tensor> tensors;
    const std::string prefix = std::to_string(i) + ".";
    for (const TensorInfo& info : file.tensors())
      if (info.name.starts_with(prefix)) tensors[info.name.substr(prefix.size())] = file.tensor(info);
    const Tensor want = tensors["out"], got = run_case(ctx, store, c, tensors);
    ASSERT_EQ(got.shape(), want.shape());
    if (want.dtype() != DType::F32 || c.at("op").as_string() == "cumulative_sum") {
      ASSERT_EQ(got.dtype(), want.dtype());
      EXPECT_EQ(std::memcmp(got.raw(), want.raw(), want.nbytes()), 0);
      continue;
    }
    for (int64_t e = 0; e < want.numel(); e++) {
      const double w = double(want.data<float>()[e]);
      ASSERT_NEAR(double(got.data<float>()[e]), w, 1e-5 * std::max(1.0, std::abs(w))) << e;
    }
  }
}

// Sizes that are cut into blocks of rows, of panels, and both, on one and on three threads; and a sequence of a batch
// against the same one alone.
TEST_F(ConvolutionOps, BitsDoNotDependOnThreadsOrBatchMates) {
  Runtime alone({.threads = 1});
  Ctx one(alone, arena);
  struct {
    int64_t in, out, kernel;
    ConvolutionShape shape;
  } cases[] = {{3, 200, 5, {.x = {.stride = 2}}},
               {1, 64, 10, {.x = {.stride = 5}}},
               {64, 64, 16, {.groups = 4, .x = {.padding = 8, .cut = 1}}},
               {24, 30, 3, {.x = {.padding = 2, .dilation = 2}}}};
  const int64_t offsets[] = {0, 3000, 3007, 3900}, keys[] = {3000, 5, 800};
  const Ragged batch{3, 3900, 3000, offsets, keys};
  for (const auto& c : cases) {
    const Tensor x = random({3900, c.in}, 1), w = random({c.out, c.in / c.shape.groups, c.kernel}, 2),
                 bias = random({c.out}, 3);
    const Convolution conv = pack_convolution(runtime, store, w, bias, c.shape);
    Ragged out, again;
    const Tensor whole = conv1d(ctx, x, batch, conv, &out), single = conv1d(one, x, batch, conv, &again);
    EXPECT_TRUE(same_bits(whole, single));
    Tensor normal = whole.clone(), normal_single = whole.clone();
    const GroupNorm norm{bias, bias, c.out / 2, 1e-5f};
    group_norm(ctx, normal, out, norm, Activation::gelu);
    group_norm(one, normal_single, out, norm, Activation::gelu);
    EXPECT_TRUE(same_bits(normal, normal_single));
    for (int64_t b = 0; b < 3; b++) {
      const int64_t start[] = {0, keys[b]};
      Ragged result;
      Tensor mine =
          conv1d(ctx, x.rows(offsets[b], offsets[b] + keys[b]), {1, keys[b], keys[b], start, keys + b}, conv, &result);
      EXPECT_TRUE(same_bits(mine, whole.rows(out.offsets[b], out.offsets[b] + out.keys[b])));
      group_norm(ctx, mine, result, norm, Activation::gelu);
      EXPECT_TRUE(same_bits(mine, normal.rows(out.offsets[b], out.offsets[b] + out.keys[b])));
    }
  }
  const Tensor image = random({2 * 40 * 30, 64}, 4), w = random({64, 8, 3, 3}, 5);
  const Convolution conv =
      pack_convolution(runtime, store, w, Tensor(), {.groups = 8, .y = {.padding = 1}, .x = {.padding = 1}});
  Images out;
  const Tensor whole = conv2d(ctx, image, {2, 40, 30}, conv, &out),
               single = conv2d(one, image, {2, 40, 30}, conv, &out);
  EXPECT_TRUE(same_bits(whole, single));
  EXPECT_TRUE(same_bits(whole.rows(1200, 2400), conv2d(ctx, image.rows(1200, 2400), {1, 40, 30}, conv, &out)));
}

// The norm folded into the weights against the norm behind the convolution, also with constants that it must take out.
TEST_F(ConvolutionOps, NormalizedConv1dIsConvolutionAndNorm) {
  const int64_t offsets[] = {0, 9000, 9080, 9500}, keys[] = {8000, 70, 300};
  const Ragged batch{3, 9500, 8000, offsets, keys};
  Runtime alone({.threads = 1});
  Ctx one(alone, arena);
  for (auto [kernel, stride, constant] : {std::array<int64_t, 3>{10, 5, 0}, {1, 3, 0}, {4, 7, 100}, {12, 1, 0}}) {
    const int64_t channels = 50;
    Tensor x = random({9500, 1}, 1);
    for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] += float(constant);
    const Tensor w = random({channels, 1, kernel}, 2), bias = random({channels}, 3), gamma = random({channels}, 4),
                 beta = random({channels}, 5);
    const GroupNorm norm{gamma, beta, channels, 1e-5f};
    const NormalizedConv1d folded{w.reshape({channels, kernel}), {.kernel = kernel, .stride = stride}, norm};
    Ragged out, again;
    const Tensor got = normalized_conv1d(ctx, x, batch, folded, Activation::gelu, &out);
    EXPECT_TRUE(same_bits(got, normalized_conv1d(one, x, batch, folded, Activation::gelu, &again)));
    Tensor want = conv1d(ctx, x, batch, pack_convolution(runtime, store, w, bias, {.x = {.stride = stride}}), &out);
    group_norm(ctx, want, out, norm, Activation::gelu);
    const double tolerance = constant == 0 ? 1e-5 : 1e-3;
    for (int64_t i = 0; i < want.numel(); i++)
      ASSERT_NEAR(got.data<float>()[i], want.data<float>()[i],
                  tolerance * std::max(1.0f, std::abs(want.data<float>()[i])))
          << kernel << ' ' << i;
    for (int64_t b = 0; b < 3; b++) {
      const int64_t start[] = {0, keys[b]};
      EXPECT_TRUE(
          same_bits(got.rows(out.offsets[b], out.offsets[b] + out.keys[b]),
                    normalized_conv1d(ctx, x.rows(offsets[b], offsets[b] + keys[b]),
                                      {1, keys[b], keys[b], start, keys + b}, folded, Activation::gelu, &again)));
    }
  }
  // A single output is its own mean.
  const Tensor gamma = random({2}, 4), beta = random({2}, 5), x = random({9500, 1}, 1);
  const int64_t start[] = {0, 3};
  Ragged single;
  EXPECT_TRUE(same_bits(
      normalized_conv1d(ctx, x, {1, 3, 3, start, start + 1},
                        {random({2, 3}, 1), {.kernel = 3}, {gamma, beta, 2, 1e-5f}}, Activation::none, &single),
      beta.reshape({1, 2})));
  const NormalizedConv1d wrong{random({4, 3}, 1), {.kernel = 3}, {random({5}, 1), random({5}, 1), 5, 1e-5f}};
  Ragged out;
  EXPECT_THROW(normalized_conv1d(ctx, random({9500, 1}, 1), batch, wrong, Activation::none, &out), Error);
}

// A long sum does not lose digits: a column of 200 000 values around 1000.
TEST_F(ConvolutionOps, GroupNormOfLongSequences) {
  Tensor x = random({200'000, 3}, 1);
  double sum = 0, square = 0;
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] += 1000;
  for (int64_t t = 0; t < x.size(0); t++) sum += double(x.data<float>()[3 * t]);
  const double mean = sum / double(x.size(0));
  for (int64_t t = 0; t < x.size(0); t++) square += std::pow(double(x.data<float>()[3 * t]) - mean, 2);
  const double first = (double(x.data<float>()[0]) - mean) / std::sqrt(square / double(x.size(0)) + 1e-5);
  const int64_t offsets[] = {0, x.size(0)};
  const Tensor ones = Tensor::from(std::vector<float>{1, 1, 1}, {3}), zeros = Tensor::zeros({3});
  group_norm(ctx, x, {1, x.size(0), x.size(0), offsets, offsets + 1}, {ones, zeros, 3, 1e-5f});
  EXPECT_NEAR(x.data<float>()[0], first, 2e-4);  // of which 1000 · 2^-24 is the input's own
}

TEST_F(ConvolutionOps, RefuseWhatDoesNotFit) {
  const Tensor w = random({6, 2, 3}, 1), x = random({10, 4}, 2);
  EXPECT_THROW(pack_convolution(runtime, store, w, Tensor(), {.groups = 4}), Error);
  EXPECT_THROW(pack_convolution(runtime, store, w, random({5}, 1), {.groups = 2}), Error);
  EXPECT_THROW(pack_convolution(runtime, store, w, Tensor(), {.x = {.stride = 0}}), Error);
  EXPECT_THROW(pack_convolution(runtime, store, x, Tensor()), Error);
  const Convolution conv = pack_convolution(runtime, store, w, Tensor(), {.groups = 2});
  const TwoSequences five(5), six(6);
  Ragged out;
  EXPECT_EQ(conv1d(ctx, x, five.ragged(), conv, &out).shape(), (Shape{6, 6}));
  EXPECT_THROW(conv1d(ctx, x, six.ragged(), conv, &out), Error);
  EXPECT_THROW(conv1d(ctx, random({10, 5}, 1), five.ragged(), conv, &out), Error);
  EXPECT_THROW(conv1d(ctx, x, five.ragged(), conv, &out, {.residual = &x}), Error);
  const TwoSequences two(2);
  EXPECT_EQ(conv1d(ctx, x, two.ragged(), conv, &out).shape(), (Shape{0, 6}));  // shorter than the kernel: nothing
  Images images;
  EXPECT_THROW(conv2d(ctx, x, {1, 3, 3}, conv, &images), Error);
  EXPECT_THROW(max_pool_2d(ctx, x, {1, 2, 5}, {.kernel = 2, .stride = 0}, {}, &images), Error);
  EXPECT_EQ(max_pool_2d(ctx, x, {1, 2, 5}, {}, {.kernel = 6}, &images).shape(), (Shape{0, 4}));  // too wide: nothing
  EXPECT_THROW(adaptive_average_pool_2d(ctx, x, {1, 2, 5}, 0, 1), Error);
  Tensor onto = random({10, 4}, 1);
  EXPECT_THROW(add_upsampled(ctx, x, {1, 2, 5}, onto), Error);
  EXPECT_THROW(group_norm(ctx, onto, five.ragged(), {random({4}, 1), random({4}, 1), 3, 1e-5f}), Error);
  EXPECT_THROW(glu(ctx, random({2, 3}, 1)), Error);
}

// A pool of a convolution is the convolution of the means of its windows; pixels as rows; a result over its residual.
TEST_F(ConvolutionOps, MeansImagesAndResultsInPlace) {
  constexpr int64_t kIn = 5, kOut = 18, kHeight = 11, kWidth = 8;
  const Tensor x = random({2 * kHeight * kWidth, kIn}, 1), weight = random({kOut, kIn, 3, 3}, 2),
               bias = random({kOut}, 3);
  const Window window{.padding = 1};
  const Convolution conv = pack_convolution(runtime, store, weight, bias, {1, window, window});
  Images images{2, kHeight, kWidth};
  const Tensor want = adaptive_average_pool_2d(ctx, conv2d(ctx, x, images, conv, &images), images, 3, 4);
  Tensor rows = Tensor::empty({kOut, 9 * kIn});  // the kernel, channels last
  for (int64_t i = 0; i < weight.numel(); i++)
    rows.data<float>()[(i / 9 / kIn * 9 + i % 9) * kIn + i / 9 % kIn] = weight.data<float>()[i];
  const Linear flat = pack_linear(runtime, store, {rows}, {bias});
  const Tensor got = linear(ctx, window_means(ctx, x, images, 3, 3, 4), flat);
  ASSERT_EQ(got.shape(), want.shape());
  for (int64_t i = 0; i < got.numel(); i++) EXPECT_NEAR(got.data<float>()[i], want.data<float>()[i], 2e-6);
  EXPECT_THROW(window_means(ctx, x, images, 2, 3, 4), Error);

  Tensor sum = random({2 * kHeight * kWidth, kOut}, 4);
  const Tensor before = sum.clone();
  const ConvolutionOptions options{.activation = Activation::relu, .residual = &before, .residual_first = true};
  const Tensor apart = conv2d(ctx, x, images, conv, &images, options);
  conv2d(ctx, x, images, conv, &images,
         {.activation = Activation::relu, .residual = &sum, .residual_first = true, .into = &sum});
  EXPECT_TRUE(same_bits(sum, apart));
  Tensor small = random({3, kOut}, 5);
  EXPECT_THROW(conv2d(ctx, x, images, conv, &images, {.into = &small}), Error);

  const Tensor mean = random({3}, 6), deviation = Tensor::from(std::vector<float>{2, 3, 57.12f}, {3});
  Tensor bytes = Tensor::empty({2, 3, 4, 5}, DType::U8);
  for (int64_t i = 0; i < bytes.numel(); i++) bytes.data<uint8_t>()[i] = uint8_t(37 * i);
  const Tensor pixels = image_rows(ctx, bytes, mean, deviation);
  ASSERT_EQ(pixels.shape(), (Shape{40, 3}));
  for (int64_t i = 0; i < bytes.numel(); i++) {
    const int64_t c = i / 20 % 3, row = i / 60 * 20 + i % 20;
    EXPECT_EQ(pixels.data<float>()[row * 3 + c],
              (float(bytes.data<uint8_t>()[i]) - mean.data<float>()[c]) / deviation.data<float>()[c]);
  }
  EXPECT_TRUE(same_bits(image_rows(ctx, bytes.to(DType::F32), mean, deviation), pixels));
  EXPECT_THROW(image_rows(ctx, bytes, random({4}, 6), deviation), Error);
}

// Sequences of 3 and 4 rows, the last of which only attends: scores with a bias by distance, and by a second position.
TEST_F(ConvolutionOps, RelativeBiasInAttention) {
  constexpr int64_t kHeads = 2, kDim = 5, kA = kHeads * kDim;
  const int64_t offsets[] = {0, 3, 7}, keys[] = {3, 3};
  const Ragged sequences{2, 7, 4, offsets, keys};
  const Tensor first = Tensor::from(std::vector<int64_t>{0, 1, 2, 0, 1, 2, 3}, {7}),
               second = Tensor::from(std::vector<int64_t>{900, 0, 30, 5, 5, 6, 0}, {7});
  const std::vector<RelativePositions> terms = {{first, random({kHeads, 32}, 1), 128},
                                                {second, random({kHeads, 64}, 2), 256}};
  const Tensor bias = relative_bias(ctx, sequences, terms), qkv = random({7, 3 * kA}, 3);
  ASSERT_EQ(bias.numel(), kHeads * (9 + 12));
  Tensor probs = Tensor::empty({bias.numel()});
  attention(ctx, qkv, sequences, {.heads = kHeads, .bias = &bias, .probs = &probs});
  int64_t at = 0;
  for (int64_t b = 0; b < 2; b++)
    for (int64_t h = 0; h < kHeads; h++)
      for (int64_t q = offsets[b]; q < offsets[b + 1]; q++) {
        double sum = 0;
        std::vector<double> p;
        for (int64_t k = offsets[b]; k < offsets[b] + keys[b]; k++) {
          double score = 0, term = 0;
          for (int64_t d = 0; d < kDim; d++)
            score += double(qkv.data<float>()[q * 3 * kA + h * kDim + d]) *
                     double(qkv.data<float>()[k * 3 * kA + kA + h * kDim + d]);
          for (const RelativePositions& r : terms)
            term += double(
                r.table.data<float>()[h * r.table.size(1) + relative_position_bucket(r.positions.data<int64_t>()[k] -
                                                                                         r.positions.data<int64_t>()[q],
                                                                                     r.table.size(1), r.max_distance)]);
          ASSERT_NEAR(bias.data<float>()[at + int64_t(p.size())], term, 1e-6);
          p.push_back(std::exp(score / std::sqrt(double(kDim)) + term));
          sum += p.back();
        }
        for (double each : p) ASSERT_NEAR(probs.data<float>()[at++], each / sum, 1e-5);
      }
  const Tensor wrong = random({5}, 1);
  EXPECT_THROW(attention(ctx, qkv, sequences, {.heads = kHeads, .bias = &wrong}), Error);
  const RelativePositions near[] = {{first, random({kHeads, 32}, 1), 8}};
  EXPECT_THROW(relative_bias(ctx, sequences, near), Error);
}

// Whatever the lengths of the sequences, and exact where a convolution keeps them.
TEST(Window, MostOutputsAreEnough) {
  for (int64_t kernel : {1, 2, 3, 10, 128})
    for (int64_t stride : {1, 2, 5})
      for (int64_t padding : {int64_t(0), int64_t(1), kernel / 2})
        for (int64_t dilation : {1, 3})
          for (int64_t cut : {0, 1}) {
            const Window window{kernel, stride, padding, dilation, cut};
            for (int64_t a = 0; a < 12; a++)
              for (int64_t b : {0, 1, 7, 300})
                EXPECT_GE(window.most_outputs(a + b, 2), window.outputs(a) + window.outputs(b));
          }
  EXPECT_EQ((Window{.kernel = 128, .padding = 64, .cut = 1}.most_outputs(1000, 7)), 1000);
  EXPECT_EQ((Window{.kernel = 3, .padding = 1}.most_outputs(1000, 7)), 1000);
}

}  // namespace
}  // namespace caracal
