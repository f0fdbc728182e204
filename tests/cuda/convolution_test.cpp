// Convolutions of images and of ragged sequences against plain loops over the numbers as their Type rounds them.
#include <optional>

#include <caracal/kernels/cuda/gemm_plan.h>
#include <caracal/tests/kernels/testing.h>

#include "device_memory.h"

namespace caracal::kernels::cuda {
namespace {

/// Sequence lengths, or none: images. Sequences lie `gap` rows apart.
struct Problem {
  Precision type;
  int64_t batch, channels, out_channels, groups = 1;
  int64_t height = 1, width = 1;
  int64_t kernel_y = 1, kernel_x = 1, stride_y = 1, stride_x = 1, pad_y = 0, pad_x = 0, dilation_y = 1, dilation_x = 1;
  std::vector<int64_t> lengths = {};
  int64_t gap = 0, spare = 0;  // spare: rows of out that belong to no sequence
  size_t misalign = 0;
  bool bias = true, residual = false, residual_first = false, in_place = false;
  Activation activation = Activation::none;

  static int64_t outputs(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    const int64_t span = dilation * (kernel - 1) + 1;
    return size + 2 * pad < span ? 0 : (size + 2 * pad - span) / stride + 1;
  }
  int64_t out_height() const { return outputs(height, kernel_y, stride_y, pad_y, dilation_y); }
  int64_t out_width(int64_t of) const { return outputs(of, kernel_x, stride_x, pad_x, dilation_x); }
  int64_t k() const { return kernel_y * kernel_x * (channels / groups); }
  bool images() const { return lengths.empty(); }

  /// Rows of x and of out where image or sequence b begins; one more for the end.
  std::vector<int64_t> starts(bool out) const {
    std::vector<int64_t> at = {out ? 0 : gap};
    for (int64_t b = 0; b < batch; b++) {
      const int64_t length = images() ? 0 : lengths[size_t(b)];
      const int64_t rows = out ? (images() ? out_height() * out_width(width) : out_width(length))
                               : (images() ? height * width : length + gap);
      at.push_back(at.back() + rows);
    }
    return at;
  }
  int64_t rows() const { return starts(true).back(); }

  std::vector<float> x() const {
    return rounded(type, random_floats(size_t(starts(false).back() * channels), 1.0f, 1));
  }
  std::vector<float> w() const {
    return rounded(type, random_floats(size_t(out_channels * k()), 1.7f / std::sqrt(float(k())), 2));
  }
  std::vector<float> b() const { return random_floats(size_t(out_channels), 1.0f, 3); }
  std::vector<float> r() const {
    return rounded(type, random_floats(size_t((rows() + spare) * out_channels), 1.0f, 4));
  }

  std::vector<uint8_t> bytes(std::optional<Plan> plan = {}) const {
    const Numbers on_x(type, x(), misalign), on_w(type, w(), misalign), on_r(type, r(), misalign);
    const DeviceArray<float> on_b(b(), misalign);
    const Numbers out(type, size_t((rows() + spare) * out_channels), misalign);
    if (in_place) out.upload(r());
    std::vector<int64_t> in = starts(false);
    in.pop_back();
    const DeviceArray<int64_t> in_offsets(in), in_lengths(lengths), out_offsets(starts(true));
    ConvolutionArgs args{};
    args.type = type, args.out = out, args.x = on_x, args.w = on_w;
    args.bias = bias ? on_b.data() : nullptr;
    args.residual = in_place ? out.data() : residual ? on_r.data() : nullptr;
    if (!images()) args.in_offsets = in_offsets, args.in_lengths = in_lengths, args.out_offsets = out_offsets;
    args.batch = batch, args.rows = rows() + spare, args.in_channels = channels, args.out_channels = out_channels;
    args.groups = groups, args.height = args.width = args.out_height = args.out_width = 1;
    if (images()) {
      args.height = height, args.width = width;
      args.out_height = out_height(), args.out_width = out_width(width);
    }
    args.kernel_y = kernel_y, args.kernel_x = kernel_x, args.stride_y = stride_y, args.stride_x = stride_x;
    args.pad_y = pad_y, args.pad_x = pad_x, args.dilation_y = dilation_y, args.dilation_x = dilation_x;
    args.activation = act(activation), args.residual_first = residual_first, args.tf32 = type.tf32;
    EXPECT_CUDA(plan ? convolution_planned(nullptr, args, *plan) : table().convolution(nullptr, args));
    EXPECT_CUDA(table().synchronize(nullptr));
    return out.bytes();
  }

  /// Whether the operands are rounded to TF32: where that is allowed, and tensor cores take them.
  bool is_rounded(std::optional<Plan> plan) const {
    if (!type.tf32 || capability() < 80) return false;
    return plan ? !plan->simt : channels / groups % 4 == 0 && misalign % 4 == 0;
  }

  std::vector<double> expected(bool rounds) const {
    std::vector<float> on_x = x(), on_w = w(), on_b = b(), on_r = r();
    for (std::vector<float>* operand : {&on_x, &on_w}) {
      for (float& each : *operand) each = rounds ? rounded_to_tf32(each) : each;
    }
    const std::vector<int64_t> in = starts(false), out = starts(true);
    const int64_t of_group = channels / groups, outs = out_channels / groups;
    std::vector<double> values;
    for (int64_t item = 0; item < batch; item++) {
      const int64_t wide = images() ? width : lengths[size_t(item)], across = out_width(wide);
      for (int64_t pixel = 0; pixel < out[size_t(item) + 1] - out[size_t(item)]; pixel++) {
        for (int64_t c = 0; c < out_channels; c++) {
          double sum = bias ? double(on_b[size_t(c)]) : 0;
          for (int64_t i = 0; i < kernel_y; i++) {
            for (int64_t j = 0; j < kernel_x; j++) {
              const int64_t at_y = pixel / across * stride_y - pad_y + i * dilation_y;
              const int64_t at_x = pixel % across * stride_x - pad_x + j * dilation_x;
              if (at_y < 0 || at_y >= height || at_x < 0 || at_x >= wide) continue;
              const int64_t row = in[size_t(item)] + at_y * wide + at_x;
              for (int64_t l = 0; l < of_group; l++) {
                sum += double(on_x[size_t(row * channels + c / outs * of_group + l)]) *
                       double(on_w[size_t(((c * kernel_y + i) * kernel_x + j) * of_group + l)]);
              }
            }
          }
          const double other =
              residual || in_place ? double(on_r[size_t((out[size_t(item)] + pixel) * out_channels + c)]) : 0;
          sum = reference_activation(residual_first ? sum + other : sum, activation);
          values.push_back(residual_first ? sum : sum + other);
        }
      }
    }
    return values;
  }

  void check(std::optional<Plan> plan = {}) const {
    SCOPED_TRACE(testing::Message() << name_of(type) << " batch " << batch << " channels " << channels << " -> "
                                    << out_channels << " in " << groups << ", kernel " << kernel_y << "x" << kernel_x
                                    << (images() ? " images " : " sequences ") << height << "x" << width
                                    << (plan ? plan->simt ? " simt " : " mma " : " own ") << (plan ? plan->tile : 0));
    const std::vector<uint8_t> raw = bytes(plan);
    const std::vector<double> reference = expected(is_rounded(plan));
    ASSERT_EQ(raw.size(), (reference.size() + size_t(spare * out_channels)) * bytes_of(type));
    std::vector<float> values;
    for (size_t i = 0; i < reference.size(); i++) {
      uint16_t narrow;
      float wide = 0;
      std::memcpy(&narrow, &raw[i * bytes_of(type)], 2), std::memcpy(&wide, &raw[i * bytes_of(type)], bytes_of(type));
      values.push_back(type == Type::f32 ? wide : from_bits(type, narrow));
    }
    expect_near(values, reference, 1.25 * (is_rounded(plan) ? kTf32Tolerance : tolerance(type)));
    if (in_place) return;
    for (size_t i = reference.size() * bytes_of(type); i < raw.size(); i++) ASSERT_EQ(raw[i], 0xff) << "a spare row";
  }
};

std::vector<Plan> plans(Precision type, bool whole_pieces) {
  std::vector<Plan> all;
  const bool mma = whole_pieces && (type == Type::f16 || ((type == Type::bf16 || type.tf32) && capability() >= 80));
  for (int64_t tile = 1; mma && tile <= 3; tile++) all.push_back({false, tile, false});
  for (int64_t tile = 0; tile < 3; tile++) {
    if (type == Type::f32 || tile == 1) all.push_back({true, tile, false});
  }
  return all;
}

void by_every_plan(const Problem& p) {
  const int64_t piece = p.type == Type::f32 ? 4 : 8;
  for (const Plan& plan : plans(p.type, p.channels / p.groups % piece == 0)) p.check(plan);
  p.check();
}

TEST(Convolution, Images) {
  for (const Precision type : kPrecisions) {
    for (const int64_t channels : {1, 3, 4, 8, 24}) {
      Problem p{type, 2, channels, 9};
      p.height = 5, p.width = 7, p.kernel_y = p.kernel_x = 3, p.pad_y = p.pad_x = 1;
      by_every_plan(p);
      p.height = 7, p.width = 6, p.kernel_x = 2, p.stride_y = 2, p.stride_x = 3, p.pad_x = 0;  // stride > kernel
      by_every_plan(p);
      p = Problem{type, 1, channels, 16};
      p.height = 6, p.kernel_y = 2;  // one column
      p.check();
      p.height = 9, p.width = 8, p.kernel_y = p.kernel_x = 3, p.stride_x = 2, p.pad_y = 4, p.pad_x = 3;
      p.dilation_y = 2, p.dilation_x = 3;  // padding beyond the first tap
      p.check();
      p.pad_y = p.pad_x = 0, p.dilation_y = 1, p.dilation_x = 2;
      p.check();
      p = Problem{type, 3, channels, 8};
      p.height = p.width = 2, p.kernel_y = p.kernel_x = 5, p.pad_y = p.pad_x = 2;
      p.check();
      p.height = 4, p.width = 5, p.kernel_y = p.kernel_x = 1, p.pad_y = p.pad_x = 0, p.stride_y = p.stride_x = 2;
      p.check();
    }
  }
}

TEST(Convolution, Groups) {
  for (const Precision type : kPrecisions) {
    for (const int64_t of_group : {1, 4, 8, 16}) {
      Problem p{type, 2, 4 * of_group, 4 * of_group, 4};  // as ResNeXt's
      p.height = 5, p.width = 4, p.kernel_y = p.kernel_x = 3, p.stride_y = p.stride_x = 2, p.pad_y = p.pad_x = 1;
      by_every_plan(p);
    }
    Problem p{type, 3, 32, 24, 2};  // as wav2vec2's positional convolution
    p.lengths = {9, 1, 20}, p.kernel_x = 8, p.pad_x = 4, p.activation = Activation::gelu;
    by_every_plan(p);
    p.groups = 8, p.kernel_x = 3, p.pad_x = 1;  // channels 4 -> 3
    by_every_plan(p);
  }
}

TEST(Convolution, Sequences) {
  for (const Precision type : kPrecisions) {
    for (const int64_t channels : {1, 2, 8, 40}) {
      Problem p{type, 5, channels, 17};
      p.lengths = {40, 0, 3, 2, 71}, p.kernel_x = 3, p.stride_x = 2, p.gap = 3, p.spare = 7;  // two give no row
      by_every_plan(p);
      p.kernel_x = 10, p.stride_x = 5, p.gap = 0, p.spare = 200;  // whole blocks of spare rows
      by_every_plan(p);
      p.pad_x = 3, p.dilation_x = 2, p.kernel_x = 4, p.stride_x = 1, p.gap = 1;
      by_every_plan(p);
      p.lengths = {0, 0, 0, 0, 0}, p.pad_x = 0, p.dilation_x = 1;
      p.check();
    }
    Problem one{type, 1, 16, 24};
    one.lengths = {64}, one.kernel_x = 3;
    by_every_plan(one);
    Problem none{type, 0, 16, 24};
    EXPECT_EQ(none.bytes().size(), 0u);
  }
}

TEST(Convolution, EveryEpilogue) {
  for (const Precision type : kPrecisions) {
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu, Activation::silu}) {
      for (const int residual : {0, 1, 2}) {
        for (const bool bias : {false, true}) {
          for (const int64_t outs : {8, 13, 24}) {
            Problem p{type, 2, 8, outs};
            p.height = p.width = 3, p.kernel_y = p.kernel_x = 3, p.pad_y = p.pad_x = 1;
            p.activation = activation, p.bias = bias, p.residual = residual > 0, p.residual_first = residual == 2;
            p.check();
          }
        }
      }
    }
    Problem p{type, 1, 8, 16, 2};
    p.lengths = {70}, p.kernel_x = 3, p.spare = 2, p.in_place = true, p.activation = Activation::relu;
    p.check();
    p.in_place = false, p.residual = true, p.channels = 16;
    for (const size_t misalign : {1, 2, 3}) {
      p.misalign = misalign;
      p.check();
    }
  }
}

// What a sequence becomes depends on no other, nor on where it lies, nor on the tile.
TEST(Convolution, OneSequenceIsThatOfABatch) {
  for (const Precision type : kPrecisions) {
    for (const int64_t groups : {1, 4}) {
      Problem p{type, 3, 32, 40, groups};
      p.lengths = {150, 5, 33}, p.kernel_x = 5, p.pad_x = 2, p.activation = Activation::gelu;
      const std::vector<uint8_t> all = p.bytes();
      Problem first = p;
      first.batch = 1, first.lengths = {150};
      const std::vector<uint8_t> alone = first.bytes();
      ASSERT_TRUE(std::equal(alone.begin(), alone.end(), all.begin()));
      first.batch = 2, first.lengths = {150, 5};
      const std::vector<uint8_t> two = first.bytes();
      ASSERT_TRUE(std::equal(two.begin(), two.end(), all.begin()));
      for (const bool simt : {false, true}) {
        std::vector<uint8_t> bits;
        for (const Plan& plan : plans(type, true)) {
          if (plan.simt != simt) continue;
          if (bits.empty()) bits = p.bytes(plan);
          ASSERT_EQ(p.bytes(plan), bits) << name_of(type) << " " << simt << " " << plan.tile;
        }
      }
    }
  }
}

TEST(Convolution, Tf32IsTakenOnlyWhereItIsAllowed) {
  for (const int64_t channels : {3, 4, 8}) {
    Problem p{Type::f32, 2, channels, 24};
    p.height = p.width = 5, p.kernel_y = p.kernel_x = 3;
    const std::vector<uint8_t> exact = p.bytes();
    for (const Plan& plan : plans(p.type, true)) {
      EXPECT_TRUE(plan.simt);
      EXPECT_EQ(p.bytes(plan), exact) << channels;
    }
    p.type.tf32 = true;
    EXPECT_EQ(p.bytes() == exact, !p.is_rounded({})) << channels;
    p.misalign = 1;
    EXPECT_EQ(p.bytes(), exact) << channels;
  }
}

}  // namespace
}  // namespace caracal::kernels::cuda
