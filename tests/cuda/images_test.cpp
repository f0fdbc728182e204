// The kernels over images and sound against loops in double precision over the numbers as the device has them, so that
// all a 16-bit result may lack is its last rounding; and against what torch gave (tests/data/ops). Sizes around every
// vector and block, memory that does not begin at multiples of 16 bytes, guards around all that is written.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include <caracal/loaders/safetensors.h>
#include <caracal/models/activations.h>
#include <caracal/runtime/json.h>
#include <caracal/tests/cuda/device_memory.h>
#include <caracal/tests/kernels/testing.h>

namespace caracal::kernels::cuda {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

/// How far a result may be from the exact one: the last rounding, and `f32` for what float32 arithmetic did before.
double tolerance(Type type, double exact, double f32) {
  const double rounding = type == Type::f32   ? 0
                          : type == Type::f16 ? std::abs(exact) / 2048 + 3e-8
                                              : std::abs(exact) / 256;
  return 1.01 * rounding + f32 * std::max(1.0, std::abs(exact));
}

void expect_near(const Floats& got, const Doubles& exact, Type type, double f32) {
  ASSERT_EQ(got.size(), exact.size());
  for (size_t i = 0; i < exact.size(); i++) {
    const double v = double(got[i]);
    if (std::isnan(exact[i]))
      ASSERT_TRUE(std::isnan(v)) << i << ": " << v;
    else if (std::isinf(exact[i]))
      ASSERT_EQ(v, exact[i]) << i;
    else
      ASSERT_NEAR(v, exact[i], tolerance(type, exact[i], f32)) << i;
  }
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && kernels::same_bits(a.data(), b.data(), int64_t(a.size()));
}

/// Does it, and waits.
void run(const std::function<int(const Cuda&, Stream)>& start) {
  Stream stream;
  EXPECT_CUDA(table().create_stream(&stream));
  EXPECT_CUDA(start(table(), stream));
  EXPECT_CUDA(table().synchronize(stream));
  EXPECT_CUDA(table().destroy_stream(stream));
}

Floats random(int64_t n, float scale, uint32_t seed) { return random_floats(size_t(n), scale, seed); }
Doubles doubles(const Floats& x) { return {x.begin(), x.end()}; }

/// What a kernel makes of `in`, of `size` numbers; both begin `misalign` numbers behind a multiple of 16 bytes.
Floats made(Type from, const Floats& in, Type to, int64_t size, int64_t misalign,
            const std::function<int(const Cuda&, Stream, const void*, void*)>& start) {
  Numbers x(from, in, size_t(misalign)), out(to, size_t(size), size_t(misalign));
  run([&](const Cuda& cuda, Stream stream) { return start(cuda, stream, x.data(), out.data()); });
  EXPECT_TRUE(same_bits(x.download(), in));
  return out.download();
}

Floats part(const Floats& x, int64_t first, int64_t last) { return {x.begin() + first, x.begin() + last}; }

// Patches and their reverse.

TEST(Patches, AreThePixelsInOrder) {
  struct Case {
    int64_t channels, height, width, patch_height, patch_width;
  };
  for (const Case& c : {Case{3, 32, 32, 16, 16}, Case{1, 9, 17, 3, 8}, Case{2, 9, 24, 4, 8}, Case{3, 7, 11, 2, 3},
                        Case{1, 5, 4, 5, 4}, Case{2, 3, 3, 1, 1}, Case{3, 20, 40, 2, 32}}) {
    const int64_t down = c.height / c.patch_height, across = c.width / c.patch_width, batch = 2;
    const int64_t cols = c.channels * c.patch_height * c.patch_width;
    const Floats images = random(batch * c.channels * c.height * c.width, 2, 1);
    Floats want;
    for (int64_t b = 0; b < batch; b++)
      for (int64_t p = 0; p < down * across; p++)
        for (int64_t i = 0; i < cols; i++) {
          const int64_t x = p % across * c.patch_width + i % c.patch_width;
          const int64_t y = p / across * c.patch_height + i / c.patch_width % c.patch_height;
          const int64_t channel = i / c.patch_width / c.patch_height;
          want.push_back(images[size_t(((b * c.channels + channel) * c.height + y) * c.width + x)]);
        }
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << c.width << " in " << c.patch_width << ' '
                                        << misalign);
        const Floats got =
            made(Type::f32, images, type, int64_t(want.size()), misalign,
                 [&](const Cuda& cuda, Stream stream, const void* x, void* out) {
                   return cuda.patches(stream, {type, out, static_cast<const float*>(x), batch, c.channels, c.height,
                                                c.width, c.patch_height, c.patch_width});
                 });
        EXPECT_TRUE(same_bits(got, rounded(type, want)));
      }
  }
}

TEST(PixelShuffle, MovesChannelsIntoPixels) {
  struct Case {
    int64_t channels, height, width, factor;
  };
  for (const Case& c : {Case{3, 2, 3, 16}, Case{1, 3, 2, 8}, Case{2, 4, 3, 3}, Case{3, 5, 7, 1}, Case{1, 1, 1, 4}}) {
    const int64_t batch = 2, cols = c.channels * c.factor * c.factor, width = c.width * c.factor;
    const Floats values = random(batch * c.height * c.width * cols, 2, 2);
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << " factor " << c.factor << ' ' << misalign);
        const Floats x = rounded(type, values);
        Floats want;
        for (int64_t b = 0; b < batch; b++)
          for (int64_t channel = 0; channel < c.channels; channel++)
            for (int64_t oy = 0; oy < c.height * c.factor; oy++)
              for (int64_t ox = 0; ox < width; ox++) {
                const int64_t row = (b * c.height + oy / c.factor) * c.width + ox / c.factor;
                const int64_t inner = oy % c.factor * c.factor + ox % c.factor;
                want.push_back(x[size_t(row * cols + channel * c.factor * c.factor + inner)]);
              }
        EXPECT_TRUE(same_bits(made(type, x, Type::f32, int64_t(want.size()), misalign,
                                   [&](const Cuda& cuda, Stream stream, const void* in, void* out) {
                                     return cuda.pixel_shuffle(stream, {type, static_cast<float*>(out), in, batch,
                                                                        c.channels, c.height, c.width, c.factor});
                                   }),
                              want));
      }
  }
}

// Other sizes.

double cubic(double d) {  // torch's, a = -0.75
  const double a = -0.75;
  d = std::abs(d);
  return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

struct Resize {
  int64_t batch, cols, height, width, out_height, out_width;
};

Floats bicubic(Type type, const Floats& x, const Resize& r, int64_t misalign) {
  return made(type, x, type, r.batch * r.out_height * r.out_width * r.cols, misalign,
              [&](const Cuda& cuda, Stream stream, const void* in, void* out) {
                return cuda.interpolate_bicubic(
                    stream, {type, out, in, r.batch, r.cols, r.height, r.width, r.out_height, r.out_width});
              });
}

TEST(InterpolateBicubic, MatchesDoubleReference) {
  for (const Resize& r : {Resize{1, 24, 7, 7, 10, 13}, Resize{2, 8, 14, 14, 5, 9}, Resize{1, 19, 3, 4, 7, 4},
                          Resize{1, 1, 1, 1, 3, 2}, Resize{2, 40, 2, 3, 2, 3}})
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << r.cols << ' ' << misalign);
        const Floats x = rounded(type, random(r.batch * r.height * r.width * r.cols, 2, 3));
        Doubles want;
        for (int64_t row = 0; row < r.batch * r.out_height * r.out_width; row++)
          for (int64_t c = 0; c < r.cols; c++) {
            const int64_t b = row / r.out_width / r.out_height;
            const double y =
                (double(row / r.out_width % r.out_height) + 0.5) * double(r.height) / double(r.out_height) - 0.5;
            const double z = (double(row % r.out_width) + 0.5) * double(r.width) / double(r.out_width) - 0.5;
            double sum = 0;
            for (int64_t i = int64_t(std::floor(y)) - 1; i <= int64_t(std::floor(y)) + 2; i++)
              for (int64_t j = int64_t(std::floor(z)) - 1; j <= int64_t(std::floor(z)) + 2; j++) {
                const int64_t iy = std::clamp<int64_t>(i, 0, r.height - 1), ix = std::clamp<int64_t>(j, 0, r.width - 1);
                sum += cubic(y - double(i)) * cubic(z - double(j)) *
                       double(x[size_t(((b * r.height + iy) * r.width + ix) * r.cols + c)]);
              }
            want.push_back(sum);
          }
        expect_near(bicubic(type, x, r, misalign), want, type, 5e-6);
      }
}

// torch.nn.functional.interpolate(torch.arange(6.).reshape(1, 1, 2, 3) ** 2, size=(3, 4), mode="bicubic")
TEST(InterpolateBicubic, GivesWhatTorchGives) {
  const Doubles want = {-0.8156433105468733, -0.7471211751302058, 0.6439310709635458, 2.3550313313802134,
                        4.212890625,         6.3994140625,        11.1015625,         14.9306640625,
                        9.241424560546877,   13.545949300130214,  21.55919392903646,  27.506296793619796};
  expect_near(bicubic(Type::f32, {0, 1, 4, 9, 16, 25}, {1, 1, 2, 3, 3, 4}, 0), want, Type::f32, 1e-6);
}

// Windows.

struct Windows {
  int64_t height, width, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
  int64_t out_height() const { return (height + 2 * pad_y - dilation_y * (kernel_y - 1) - 1) / stride_y + 1; }
  int64_t out_width() const { return (width + 2 * pad_x - dilation_x * (kernel_x - 1) - 1) / stride_x + 1; }
};
constexpr Windows kWindows[] = {{1, 9, 1, 3, 1, 2, 0, 0, 1, 1},  // a sequence
                                {1, 5, 1, 8, 1, 1, 0, 4, 1, 1},  // kernel larger than the input
                                {5, 7, 3, 3, 1, 1, 1, 1, 1, 1}, {16, 16, 3, 3, 2, 2, 1, 1, 1, 1},
                                {7, 6, 3, 2, 2, 3, 1, 0, 1, 1},  // stride > kernel
                                {6, 1, 2, 1, 1, 1, 0, 0, 1, 1},  // one column
                                {9, 8, 3, 3, 1, 2, 4, 3, 2, 3},  // dilated, padding beyond the first tap
                                {2, 2, 5, 5, 1, 1, 2, 2, 1, 1}};

Floats pool(bool largest, Type type, const Floats& x, int64_t batch, int64_t channels, const Windows& w,
            int64_t misalign) {
  return made(type, x, type, batch * w.out_height() * w.out_width() * channels, misalign,
              [&](const Cuda& cuda, Stream stream, const void* in, void* out) {
                return (largest ? cuda.max_pool_2d : cuda.average_pool_2d)(
                    stream,
                    {type, out, in, batch, channels, w.height, w.width, w.out_height(), w.out_width(), w.kernel_y,
                     w.kernel_x, w.stride_y, w.stride_x, w.pad_y, w.pad_x, w.dilation_y, w.dilation_x});
              });
}

Doubles pool_reference(bool largest, const Floats& x, int64_t batch, int64_t channels, const Windows& w) {
  Doubles out;
  for (int64_t b = 0; b < batch; b++)
    for (int64_t oy = 0; oy < w.out_height(); oy++)
      for (int64_t ox = 0; ox < w.out_width(); ox++)
        for (int64_t c = 0; c < channels; c++) {
          double r = largest ? -INFINITY : 0;
          for (int64_t i = 0; i < w.kernel_y; i++)
            for (int64_t j = 0; j < w.kernel_x; j++) {
              const int64_t y = oy * w.stride_y - w.pad_y + i * w.dilation_y;
              const int64_t z = ox * w.stride_x - w.pad_x + j * w.dilation_x;
              if (y < 0 || y >= w.height || z < 0 || z >= w.width) continue;
              const double v = double(x[size_t(((b * w.height + y) * w.width + z) * channels + c)]);
              if (!largest)
                r += v / double(w.kernel_y * w.kernel_x);
              else if (v > r || std::isnan(v))
                r = v;
            }
          out.push_back(r);
        }
  return out;
}

TEST(Pools, MatchDoubleReference) {
  for (const Windows& w : kWindows)
    for (int64_t channels : {1, 8, 19, 40})
      for (Type type : kTypes)
        for (int64_t misalign : {0, 1}) {
          SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << w.height << " x " << w.width << " x " << channels);
          const Floats x = rounded(type, random(2 * w.height * w.width * channels, 3, 4));
          expect_near(pool(true, type, x, 2, channels, w, misalign), pool_reference(true, x, 2, channels, w), type, 0);
          expect_near(pool(false, type, x, 2, channels, w, misalign), pool_reference(false, x, 2, channels, w), type,
                      1e-6);
        }
}

TEST(Pools, NotANumberAndInfinity) {
  for (Type type : kTypes)
    for (int64_t channels : {3, 8}) {
      const Windows& w = kWindows[2];
      Floats x = rounded(type, random(w.height * w.width * channels, 3, 5));
      x[size_t(10 * channels)] = rounded(type, kNaN), x[size_t(20 * channels + 1)] = kInf;
      x[size_t(22 * channels + 2)] = -kInf;
      expect_near(pool(true, type, x, 1, channels, w, 0), pool_reference(true, x, 1, channels, w), type, 0);
      expect_near(pool(false, type, x, 1, channels, w, 0), pool_reference(false, x, 1, channels, w), type, 1e-6);
      const Floats lowest(size_t(w.height * w.width * channels), -kInf);
      EXPECT_EQ(pool(true, type, lowest, 1, channels, w, 0), lowest);
    }
}

TEST(WindowMeans, MatchDoubleReference) {
  struct Case {
    int64_t height, width, kernel, out_height, out_width;
  };
  for (const Case& c : {Case{8, 8, 3, 2, 2}, Case{11, 8, 3, 3, 4}, Case{5, 7, 1, 2, 3}, Case{3, 2, 5, 1, 1},
                        Case{2, 3, 3, 5, 4}, Case{14, 14, 3, 7, 7}})
    for (int64_t cols : {1, 5, 8, 16})
      for (Type type : kTypes)
        for (int64_t misalign : {0, 1}) {
          SCOPED_TRACE(testing::Message()
                       << name_of(type) << ' ' << c.height << " kernel " << c.kernel << " x " << cols);
          const int64_t batch = 2, taps = c.kernel * c.kernel;
          const Floats x = rounded(type, random(batch * c.height * c.width * cols, 3, 6));
          Doubles want;
          for (int64_t row = 0; row < batch * c.out_height * c.out_width; row++)
            for (int64_t tap = 0; tap < taps; tap++)
              for (int64_t k = 0; k < cols; k++) {
                const int64_t b = row / c.out_width / c.out_height, cy = row / c.out_width % c.out_height;
                const int64_t cx = row % c.out_width;
                const int64_t top = cy * c.height / c.out_height, left = cx * c.width / c.out_width;
                const int64_t bottom = int64_t(std::ceil(double((cy + 1) * c.height) / double(c.out_height)));
                const int64_t right = int64_t(std::ceil(double((cx + 1) * c.width) / double(c.out_width)));
                double sum = 0;
                for (int64_t y = top; y < bottom; y++)
                  for (int64_t z = left; z < right; z++) {
                    const int64_t iy = y + tap / c.kernel - c.kernel / 2, ix = z + tap % c.kernel - c.kernel / 2;
                    if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) continue;
                    sum += double(x[size_t(((b * c.height + iy) * c.width + ix) * cols + k)]);
                  }
                want.push_back(sum / double((bottom - top) * (right - left)));
              }
          const auto means = [&](bool adaptive) {
            return made(type, x, type, int64_t(want.size()), misalign,
                        [&](const Cuda& cuda, Stream stream, const void* in, void* out) {
                          if (adaptive)
                            return cuda.adaptive_average_pool_2d(
                                stream, {type, out, in, batch, cols, c.height, c.width, c.out_height, c.out_width});
                          return cuda.window_means(stream, {type, out, in, batch, cols, c.height, c.width, c.kernel,
                                                            c.out_height, c.out_width});
                        });
          };
          expect_near(means(false), want, type, 1e-6);
          if (c.kernel == 1) expect_near(means(true), want, type, 1e-6);
        }
}

TEST(ImageRows, SubtractAndDivideAsFloats) {
  for (int64_t channels : {1, 3, 4})
    for (int64_t pixels : {1, 63, 64, 300, 2056})
      for (Type type : kTypes)
        for (int64_t misalign : {0, 1}) {
          SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << channels << " x " << pixels);
          const int64_t batch = 2;
          std::vector<uint8_t> bytes(size_t(batch * channels * pixels + misalign));
          Floats values, want, mean, deviation;
          for (size_t i = 0; i < bytes.size(); i++) {
            bytes[i] = uint8_t(37 * i + i / 256);
            if (int64_t(i) >= misalign) values.push_back(float(bytes[i]));
          }
          for (int64_t c = 0; c < channels; c++)
            mean.push_back(100.0f + float(c) / 3), deviation.push_back(57.375f - float(c));
          for (int64_t i = 0; i < batch * pixels; i++)
            for (int64_t c = 0; c < channels; c++)
              want.push_back(
                  (values[size_t(i / pixels * channels * pixels + c * pixels + i % pixels)] - mean[size_t(c)]) /
                  deviation[size_t(c)]);
          want = rounded(type, want);
          DeviceArray<float> m(mean), d(deviation);
          DeviceArray<uint8_t> from(bytes);
          Numbers out(type, want.size(), size_t(misalign));
          ImageRowsArgs args{type,  out.data(), static_cast<const uint8_t*>(from.data()) + misalign,
                             1,     m.data(),   d.data(),
                             batch, channels,   pixels};
          run([&](const Cuda& cuda, Stream stream) { return cuda.image_rows(stream, args); });
          EXPECT_TRUE(same_bits(out.download(), want));
          EXPECT_TRUE(same_bits(made(Type::f32, values, type, int64_t(want.size()), misalign,
                                     [&](const Cuda& cuda, Stream stream, const void* in, void* to) {
                                       args.images = in, args.bytes = 0, args.out = to;
                                       return cuda.image_rows(stream, args);
                                     }),
                                want));
        }
}

TEST(AddUpsampled, AddsEachPixelFourTimes) {
  for (int64_t cols : {1, 8, 19, 264})
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << cols << ' ' << misalign);
        const int64_t batch = 2, height = 3, width = 2;
        const Floats x = rounded(type, random(batch * height * width * cols, 3, 7));
        const Floats onto = rounded(type, random(4 * batch * height * width * cols, 3, 8));
        Floats want = onto;
        for (int64_t i = 0; i < int64_t(want.size()); i++) {
          const int64_t pixel = i / cols, b = pixel / (4 * height * width), oy = pixel / (2 * width) % (2 * height);
          want[size_t(i)] += x[size_t(((b * height + oy / 2) * width + pixel % (2 * width) / 2) * cols + i % cols)];
        }
        Numbers in(type, x, size_t(misalign)), out(type, onto, size_t(misalign));
        run([&](const Cuda& cuda, Stream stream) {
          return cuda.add_upsampled(stream,
                                    {type, out.data(), in.data(), batch, cols, height, width, 2 * height, 2 * width});
        });
        EXPECT_TRUE(same_bits(out.download(), rounded(type, want)));
      }
}

// Norms over time.

/// Sequences of rows, which may have more rows behind those that count.
struct Sequences {
  Ints offsets, lengths;
  int64_t batch() const { return int64_t(lengths.size()); }
};

// Rows 0, a part of a block, whole blocks and more; rows behind a sequence's end, which stay as they are.
const Sequences kSequences{{0, 5, 5, 69, 140, 205, 206}, {5, 0, 64, 70, 65, 1, 200}};
constexpr int64_t kRows = 410;

TEST(ClearRows, ClearsWhatIsBehindTheLengths) {
  Ints offsets = kSequences.offsets;
  offsets.push_back(kRows - 3);  // the last rows belong to no sequence
  for (int64_t cols : {1, 8, 19, 520})
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << cols << ' ' << misalign);
        const Floats before = rounded(type, random(kRows * cols, 3, 10));
        Floats want = before;
        for (size_t b = 0; b < kSequences.lengths.size(); b++)
          std::fill(want.begin() + (offsets[b] + kSequences.lengths[b]) * cols, want.begin() + offsets[b + 1] * cols,
                    0.0f);
        Numbers x(type, before, size_t(misalign));
        DeviceArray<int64_t> starts(offsets), lengths(kSequences.lengths);
        run([&](const Cuda& cuda, Stream stream) {
          return cuda.clear_rows(stream,
                                 {type, x.data(), starts.data(), lengths.data(), kSequences.batch(), kRows, cols});
        });
        EXPECT_TRUE(same_bits(x.download(), want));
      }
}

struct Norm {
  int64_t cols, groups;
  Floats weight, bias;
  Norm(int64_t c, int64_t g) : cols(c), groups(g), weight(random(c, 1, 11)), bias(random(c, 1, 12)) {}
};

Floats group_norm(Type type, const Floats& x, const Sequences& s, const Norm& norm,
                  Activation activation = Activation::none, int64_t misalign = 0) {
  const int64_t tokens = int64_t(x.size()) / norm.cols;
  Numbers data(type, x, size_t(misalign));
  DeviceArray<float> weight(norm.weight), bias(norm.bias);
  Ints starts = s.offsets;
  starts.push_back(tokens);
  DeviceArray<int64_t> offsets(starts), lengths(s.lengths);
  const size_t bytes = table().group_norm_scratch(s.batch(), tokens, norm.cols);
  DeviceArray<uint8_t> scratch(bytes);
  run([&](const Cuda& cuda, Stream stream) {
    return cuda.group_norm(stream, {type, data.data(), offsets.data(), lengths.data(), weight.data(), bias.data(),
                                    s.batch(), tokens, norm.cols, norm.groups, 1e-5, act(activation), scratch.data()});
  });
  return data.download();
}

Doubles group_norm_reference(const Floats& x, const Sequences& s, const Norm& n, Activation activation) {
  Doubles y = doubles(x);
  const int64_t width = n.cols / n.groups;
  for (int64_t b = 0; b < s.batch(); b++)
    for (int64_t g = 0; g < n.groups; g++) {
      const int64_t rows = s.lengths[size_t(b)], first = s.offsets[size_t(b)];
      auto at = [&](int64_t i) { return size_t((first + i / width) * n.cols + g * width + i % width); };
      double mean = 0, variance = 0;
      for (int64_t i = 0; i < rows * width; i++) mean += y[at(i)] / double(rows * width);
      for (int64_t i = 0; i < rows * width; i++) variance += std::pow(y[at(i)] - mean, 2) / double(rows * width);
      for (int64_t i = 0; i < rows * width; i++) {
        const size_t c = size_t(g * width + i % width);
        y[at(i)] = reference_activation(
            (y[at(i)] - mean) / std::sqrt(variance + 1e-5) * double(n.weight[c]) + double(n.bias[c]), activation);
      }
    }
  return y;
}

TEST(GroupNorm, MatchesDoubleReference) {
  for (auto [cols, groups] : {std::array<int64_t, 2>{24, 24}, {24, 3}, {24, 1}, {19, 19}, {6, 2}, {264, 33}, {1, 1}})
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1})
        for (Activation activation : {Activation::none, Activation::gelu, Activation::silu}) {
          SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << cols << " in " << groups << ' ' << misalign);
          if (misalign == 1 && activation != Activation::none) continue;
          const Norm norm(cols, groups);
          const Floats x = rounded(type, random(kRows * cols, 3, 13));
          expect_near(group_norm(type, x, kSequences, norm, activation, misalign),
                      group_norm_reference(x, kSequences, norm, activation), type, 4e-6);
        }
}

// Digits must not be lost to a mean that is large beside the deviation.
TEST(GroupNorm, LargeMean) {
  Floats x = random(1000 * 8, 1, 14);
  for (float& v : x) v += 10000;
  const Sequences one{{0}, {1000}};
  const Norm norm(8, 4);
  expect_near(group_norm(Type::f32, x, one, norm), group_norm_reference(x, one, norm, Activation::none), Type::f32,
              2e-5);
}

TEST(GroupNorm, NotANumberStaysInItsGroup) {
  const Norm norm(16, 2);
  const Sequences two{{0, 70}, {70, 70}};
  for (float bad : {kNaN, kInf}) {
    Floats x = random(140 * 16, 1, 15);
    const Floats want = group_norm(Type::f32, x, two, norm);
    x[size_t(65 * 16 + 3)] = bad;
    const Floats got = group_norm(Type::f32, x, two, norm);
    for (int64_t i = 0; i < int64_t(x.size()); i++) {
      if (i < 70 * 16 && i % 16 < 8)
        ASSERT_TRUE(std::isnan(got[size_t(i)])) << i;
      else
        ASSERT_EQ(got[size_t(i)], want[size_t(i)]) << i;
    }
  }
}

TEST(GroupNorm, ASequencesBitsAreItsOwn) {
  for (Type type : kTypes)
    for (int64_t cols : {24, 10}) {
      const Norm norm(cols, 2);
      const Floats x = rounded(type, random(kRows * cols, 3, 16)), all = group_norm(type, x, kSequences, norm);
      for (size_t b = 0; b < kSequences.lengths.size(); b++) {
        const int64_t first = kSequences.offsets[b] * cols, last = first + kSequences.lengths[b] * cols;
        EXPECT_TRUE(same_bits(group_norm(type, part(x, first, last), {{0}, {kSequences.lengths[b]}}, norm),
                              part(all, first, last)))
            << b;
      }
    }
}

struct Conv {
  int64_t channels, kernel, stride;
  Floats w;
  Norm norm;
  Conv(int64_t c, int64_t k, int64_t s) : channels(c), kernel(k), stride(s), w(random(c * k, 1, 21)), norm(c, c) {}
  int64_t outputs(int64_t samples) const { return samples < kernel ? 0 : (samples - kernel) / stride + 1; }
};

Floats normalized_conv1d(Type type, const Floats& x, const Sequences& s, const Conv& conv,
                         Activation activation = Activation::gelu, int64_t misalign = 0) {
  Ints out_offsets = {0};
  for (int64_t n : s.lengths) out_offsets.push_back(out_offsets.back() + conv.outputs(n));
  const int64_t tokens = out_offsets.back();
  Numbers out(type, size_t(tokens * conv.channels), size_t(misalign));
  DeviceArray<float> in(x, size_t(misalign)), w(conv.w), weight(conv.norm.weight), bias(conv.norm.bias);
  DeviceArray<int64_t> in_offsets(s.offsets), in_lengths(s.lengths), offsets(out_offsets);
  const size_t bytes = table().normalized_conv1d_scratch(s.batch(), tokens, conv.channels, conv.kernel);
  DeviceArray<uint8_t> scratch(bytes);
  run([&](const Cuda& cuda, Stream stream) {
    return cuda.normalized_conv1d(
        stream, {type, out.data(), in.data(), w.data(), weight.data(), bias.data(), in_offsets.data(),
                 in_lengths.data(), offsets.data(), s.batch(), tokens, conv.channels, conv.kernel, conv.stride, 1e-5,
                 act(activation), scratch.data()});
  });
  return out.download();
}

Doubles normalized_conv1d_reference(const Floats& x, const Sequences& s, const Conv& conv, Activation activation) {
  Doubles out;
  for (int64_t b = 0; b < s.batch(); b++) {
    const int64_t rows = conv.outputs(s.lengths[size_t(b)]), first = int64_t(out.size());
    out.resize(size_t(first + rows * conv.channels));
    for (int64_t c = 0; c < conv.channels; c++) {
      auto at = [&](int64_t t) -> double& { return out[size_t(first + t * conv.channels + c)]; };
      double mean = 0, variance = 0;
      for (int64_t t = 0; t < rows; t++) {
        at(t) = 0;
        for (int64_t i = 0; i < conv.kernel; i++)
          at(t) += double(conv.w[size_t(c * conv.kernel + i)]) *
                   double(x[size_t(s.offsets[size_t(b)] + t * conv.stride + i)]);
        mean += at(t) / double(rows);
      }
      for (int64_t t = 0; t < rows; t++) variance += std::pow(at(t) - mean, 2) / double(rows);
      for (int64_t t = 0; t < rows; t++)
        at(t) = reference_activation((at(t) - mean) / std::sqrt(variance + 1e-5) * double(conv.norm.weight[size_t(c)]) +
                                         double(conv.norm.bias[size_t(c)]),
                                     activation);
    }
  }
  return out;
}

/// Sequences whose outputs are `rows`, with some samples between them.
Sequences sequences_of(const Ints& rows, const Conv& conv) {
  Sequences s;
  int64_t at = 3;
  for (int64_t n : rows) {
    s.offsets.push_back(at);
    s.lengths.push_back(n == 0 ? conv.kernel - 1 : (n - 1) * conv.stride + conv.kernel + (n % 2 ? conv.stride - 1 : 0));
    at += s.lengths.back() + 2;
  }
  return s;
}
int64_t samples_of(const Sequences& s) { return s.offsets.back() + s.lengths.back() + 1; }

// Around few and many outputs, the blocks of outputs and those of sums.
const Ints kOutputs{64, 0, 1, 65, 31, 256, 97, 2, 300};

TEST(NormalizedConv1d, MatchesDoubleReference) {
  for (auto [channels, kernel, stride] :
       {std::array<int64_t, 3>{24, 10, 5}, {8, 10, 3}, {5, 10, 5}, {16, 3, 2}, {7, 1, 3}, {9, 12, 1}})
    for (Type type : kTypes)
      for (int64_t misalign : {0, 1}) {
        SCOPED_TRACE(testing::Message() << name_of(type) << ' ' << channels << " kernel " << kernel << ' ' << misalign);
        const Conv conv(channels, kernel, stride);
        const Sequences s = sequences_of(kOutputs, conv);
        const Floats x = random(samples_of(s), 1, 22);
        for (Activation activation : {Activation::gelu, Activation::none})
          expect_near(normalized_conv1d(type, x, s, conv, activation, misalign),
                      normalized_conv1d_reference(x, s, conv, activation), type, 1e-5);
      }
}

// As many channels as a block has threads for, and more.
TEST(NormalizedConv1d, ManyChannels) {
  for (int64_t channels : {512, 1032, 520}) {
    const Conv conv(channels, 10, 5);
    const Sequences s = sequences_of({66, 3}, conv);
    const Floats x = random(samples_of(s), 1, 23);
    expect_near(normalized_conv1d(Type::f16, x, s, conv), normalized_conv1d_reference(x, s, conv, Activation::gelu),
                Type::f16, 1e-5);
  }
}

// Of many channels some have two outputs that are next to equal beside their terms.
TEST(NormalizedConv1d, SmallDifferencesOfFewOutputs) {
  const Conv conv(2000, 10, 5);
  const Sequences s = sequences_of({2}, conv);
  const Floats x = random(samples_of(s), 100, 27);
  expect_near(normalized_conv1d(Type::f32, x, s, conv, Activation::none),
              normalized_conv1d_reference(x, s, conv, Activation::none), Type::f32, 1e-6);
}

// A constant that the norm takes out again; the variance of two close outputs; and a single one, which is its own mean.
TEST(NormalizedConv1d, LosesNoDigitsToTheMean) {
  for (int64_t channels : {8, 3}) {
    const Conv conv(channels, 10, 5);
    const Sequences s = sequences_of({300, 2, 65}, conv);
    Floats x = random(samples_of(s), 1, 24);
    for (float& v : x) v = 100 + v / 64;
    expect_near(normalized_conv1d(Type::f32, x, s, conv, Activation::none),
                normalized_conv1d_reference(x, s, conv, Activation::none), Type::f32, 2e-5);
    const Floats single = normalized_conv1d(Type::f32, x, sequences_of({1}, conv), conv, Activation::none);
    EXPECT_TRUE(same_bits(single, conv.norm.bias));
  }
}

TEST(NormalizedConv1d, NotANumberStaysInItsSequence) {
  const Conv conv(8, 10, 5);
  for (const Ints& rows : {Ints{100, 70}, Ints{40, 70}}) {
    const Sequences s = sequences_of(rows, conv);
    Floats x = random(samples_of(s), 1, 25);
    const Floats want = normalized_conv1d(Type::f32, x, s, conv);
    x[10] = kNaN;
    const Floats got = normalized_conv1d(Type::f32, x, s, conv);
    for (int64_t i = 0; i < int64_t(got.size()); i++) {
      if (i < rows[0] * 8)
        ASSERT_TRUE(std::isnan(got[size_t(i)])) << i;
      else
        ASSERT_EQ(got[size_t(i)], want[size_t(i)]) << i;
    }
  }
}

TEST(NormalizedConv1d, ASequencesBitsAreItsOwn) {
  for (Type type : kTypes)
    for (int64_t channels : {16, 5}) {
      const Conv conv(channels, 10, 5);
      const Sequences s = sequences_of(kOutputs, conv);
      const Floats x = random(samples_of(s), 1, 26), all = normalized_conv1d(type, x, s, conv);
      int64_t first = 0;
      for (size_t b = 0; b < kOutputs.size(); b++) {
        const Floats samples = part(x, s.offsets[b], s.offsets[b] + s.lengths[b]);
        const Floats alone = normalized_conv1d(type, samples, {{0}, {s.lengths[b]}}, conv);
        const int64_t last = first + kOutputs[b] * channels;
        EXPECT_TRUE(same_bits(alone, part(all, first, last))) << b;
        first = last;
      }
    }
}

// The cases of runtime/convolution_test.cpp: two images, or sequences, each.
TEST(Images, GiveWhatTorchGives) {
  const SafetensorsFile file = SafetensorsFile::open(std::string(CARACAL_TEST_DATA) + "/ops/convolution.safetensors");
  const Json cases = Json::parse(file.metadata().at("cases"), "cases");
  std::map<std::string, int> compared;
  for (size_t i = 0; i < cases.as_array().size(); i++) {
    const Json& c = cases.as_array()[i];
    const std::string op = c.at("op").as_string(), prefix = std::to_string(i) + ".";
    SCOPED_TRACE(prefix + " " + c.dump());
    std::map<std::string, Floats> t;
    int64_t cols = 0;
    for (const TensorInfo& info : file.tensors()) {
      if (!info.name.starts_with(prefix) || info.dtype != DType::F32) continue;
      const Tensor tensor = file.tensor(info);
      const std::span<const float> values = tensor.values<float>();
      t[info.name.substr(prefix.size())] = {values.begin(), values.end()};
      if (info.name == prefix + "x") cols = tensor.size(-1);
    }
    auto number = [&](const char* field, size_t at) { return c.at(field).as_array()[at].as_int(); };
    const Floats &x = t["x"], &out = t["out"];
    Floats got;
    if (op == "group_norm") {
      const int64_t rows = number("size", 1);
      Norm norm(cols, c.at("groups").as_int());
      norm.weight = t["weight"], norm.bias = t["bias"];
      got = group_norm(Type::f32, x, {{0, rows}, {rows, rows}}, norm,
                       activation_from_name(c.at("activation").as_string()));
    } else if (op == "max_pool_2d" || op == "average_pool_2d") {
      const Windows w{number("size", 1),
                      number("size", 2),
                      number("kernel", 0),
                      number("kernel", 1),
                      number("stride", 0),
                      number("stride", 1),
                      number("padding", 0),
                      number("padding", 1),
                      1,
                      1};
      got = pool(op == "max_pool_2d", Type::f32, x, 2, cols, w, 0);
    } else if (op == "adaptive_average_pool_2d") {
      got =
          made(Type::f32, x, Type::f32, int64_t(out.size()), 0,
               [&](const Cuda& cuda, Stream stream, const void* in, void* to) {
                 return cuda.adaptive_average_pool_2d(stream, {Type::f32, to, in, 2, cols, number("size", 1),
                                                               number("size", 2), number("out", 0), number("out", 1)});
               });
    } else if (op == "add_upsampled") {
      const Numbers in(Type::f32, x), sum(Type::f32, t["onto"]);
      const int64_t height = number("size", 1), width = number("size", 2);
      run([&](const Cuda& cuda, Stream stream) {
        return cuda.add_upsampled(stream, {Type::f32, sum, in, 2, cols, height, width, 2 * height, 2 * width});
      });
      got = sum.download();
    } else {
      continue;
    }
    compared[op]++;
    expect_near(got, doubles(out), Type::f32, 1e-5);
  }
  EXPECT_EQ(compared.size(), 5u);
}

// No images, no sequences, no rows: nothing is done.
TEST(Images, EmptyWorks) {
  DeviceArray<float> x(Floats(64, 1.0f));
  DeviceArray<int64_t> offsets(Ints{0});
  DeviceArray<uint8_t> scratch(1024);
  void* p = x.data();
  float* f = x.data();
  const int64_t* i = offsets.data();
  run([&](const Cuda& cuda, Stream s) { return cuda.patches(s, {Type::f32, p, f, 0, 3, 8, 8, 4, 4}); });
  run([&](const Cuda& cuda, Stream s) { return cuda.pixel_shuffle(s, {Type::f32, f, p, 0, 3, 8, 8, 4}); });
  run([&](const Cuda& cuda, Stream s) { return cuda.interpolate_bicubic(s, {Type::f32, p, p, 0, 3, 8, 8, 4, 4}); });
  run([&](const Cuda& cuda, Stream s) {
    return cuda.max_pool_2d(s, {Type::f32, p, p, 2, 3, 2, 2, 0, 0, 3, 3, 1, 1, 0, 0, 1, 1});
  });
  run([&](const Cuda& cuda, Stream s) {
    return cuda.average_pool_2d(s, {Type::f32, p, p, 0, 3, 8, 8, 6, 6, 3, 3, 1, 1, 0, 0, 1, 1});
  });
  run([&](const Cuda& cuda, Stream s) {
    return cuda.adaptive_average_pool_2d(s, {Type::f32, p, p, 0, 3, 8, 8, 4, 4});
  });
  run([&](const Cuda& cuda, Stream s) { return cuda.window_means(s, {Type::f32, p, p, 0, 3, 8, 8, 3, 4, 4}); });
  run([&](const Cuda& cuda, Stream s) { return cuda.image_rows(s, {Type::f32, p, p, 0, f, f, 0, 3, 64}); });
  run([&](const Cuda& cuda, Stream s) { return cuda.add_upsampled(s, {Type::f32, p, p, 0, 3, 4, 4, 8, 8}); });
  for (int64_t batch : {0, 1}) {
    run([&](const Cuda& cuda, Stream s) {
      return cuda.group_norm(s, {Type::f32, p, i, i, f, f, batch, 0, 8, 1, 1e-5, Act{}, scratch.data()});
    });
    run([&](const Cuda& cuda, Stream s) {
      return cuda.normalized_conv1d(
          s, {Type::f32, p, f, f, f, f, i, i, i, batch, 0, 8, 10, 5, 1e-5, Act{}, scratch.data()});
    });
  }
  EXPECT_EQ(x.download(), Floats(64, 1.0f));
}

}  // namespace
}  // namespace caracal::kernels::cuda
