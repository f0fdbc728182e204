#include <caracal/runtime/image_ops.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

constexpr int64_t kMaxSize = 1 << 24;          // pixels along one side
constexpr int64_t kBytesPerTask = 64 * 1024;   // of output
constexpr int kPrecision = 22, kLowBits = 12;  // of ResampleArgs::weights

[[noreturn]] void fail(const char* op, const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, op, "expected " + expected + " but got " + got);
}

void expect_image(const char* op, const Tensor& image) {
  if (image.defined() && image.rank() == 3 && image.dtype() == DType::U8 && image.size(2) >= 1 && image.size(2) <= 4 &&
      image.size(0) >= 1 && image.size(1) >= 1 && image.size(0) <= kMaxSize && image.size(1) <= kMaxSize)
    return;
  fail(op, "an image of shape (H, W, 1 to 4) U8",
       image.defined() ? image.shape().str() + " " + std::string(name_of(image.dtype())) : "an undefined tensor");
}

// The filters of Pillow's Resample.c, to the operation, because weights are rounded afterwards.
double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }
double bilinear(double x) { return std::max(1.0 - std::fabs(x), 0.0); }
double hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x = x * M_PI;
  return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));
}
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}
double sinc(double x) {
  if (x == 0.0) return 1.0;
  x = x * M_PI;
  return std::sin(x) / x;
}
double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct Filter {
  double (*value)(double);
  double support;
};
Filter filter_of(Resample filter) {
  switch (filter) {
    case Resample::box: return {box, 0.5};
    case Resample::hamming: return {hamming, 1.0};
    case Resample::bicubic: return {bicubic, 2.0};
    case Resample::lanczos: return {lanczos, 3.0};
    default: return {bilinear, 1.0};
  }
}

// Which inputs each output of one pass reads, and their weights: the arrays of ResampleArgs.
struct Coefficients {
  std::vector<int32_t> bounds;
  std::vector<int16_t> weights;
  int64_t taps = 0;
};

Coefficients coefficients(int64_t in_size, int64_t out_size, const Filter& filter) {
  const double scale = double(in_size) / double(out_size), filter_scale = std::max(scale, 1.0);
  const double support = filter.support * filter_scale;
  Coefficients result;
  result.taps = std::min(int64_t(std::ceil(support)) * 2 + 1, in_size);
  result.taps = (result.taps + 3) / 4 * 4;
  result.bounds.resize(size_t(2 * out_size));
  result.weights.assign(size_t(checked_mul(2 * out_size, result.taps, "resize_image")), 0);
  std::vector<double> w(size_t(result.taps));
  for (int64_t i = 0; i < out_size; i++) {
    const double center = (double(i) + 0.5) * scale, step = 1.0 / filter_scale;
    const int64_t first = std::max(int64_t(center - support + 0.5), int64_t(0));
    const int64_t count = std::min(int64_t(center + support + 0.5), in_size) - first;
    double sum = 0.0;
    for (int64_t t = 0; t < count; t++) {
      w[size_t(t)] = filter.value((double(t + first) - center + 0.5) * step);
      sum += w[size_t(t)];
    }
    result.bounds[size_t(2 * i)] = int32_t(first);
    result.bounds[size_t(2 * i + 1)] = int32_t(count);
    int16_t* high = result.weights.data() + 2 * i * result.taps;
    for (int64_t t = 0; t < count; t++) {
      const double normalised = sum != 0.0 ? w[size_t(t)] / sum : w[size_t(t)];
      const int32_t fixed = int32_t((normalised < 0 ? -0.5 : 0.5) + normalised * (1 << kPrecision));
      high[t] = int16_t(fixed >> kLowBits);
      high[result.taps + t] = int16_t(fixed & ((1 << kLowBits) - 1));
    }
  }
  return result;
}

Tensor resize_x(const Runtime& runtime, const Tensor& in, int64_t width, const Filter& filter) {
  const int64_t rows = in.size(0), channels = in.size(2);
  const Coefficients c = coefficients(in.size(1), width, filter);
  Tensor out = Tensor::empty({rows, width, channels}, DType::U8);
  const kernels::ResampleArgs args{.out = out.data<uint8_t>(),
                                   .ldo = width * channels,
                                   .in = in.data<uint8_t>(),
                                   .ldi = in.size(1) * channels,
                                   .in_size = in.size(1),
                                   .out_size = width,
                                   .channels = channels,
                                   .row_bytes = 0,
                                   .bounds = c.bounds.data(),
                                   .weights = c.weights.data(),
                                   .taps = c.taps};
  const int64_t groups = (rows + 3) / 4;  // the kernel takes four rows at a time
  runtime.parallel(groups, kBytesPerTask / (4 * width * channels), [&](int64_t begin, int64_t end, int) {
    runtime.cpu().resample_x_u8(args, 4 * begin, std::min(4 * end, rows));
  });
  return out;
}

Tensor resize_y(const Runtime& runtime, const Tensor& in, int64_t height, const Filter& filter) {
  const int64_t row_bytes = in.size(1) * in.size(2);
  const Coefficients c = coefficients(in.size(0), height, filter);
  Tensor out = Tensor::empty({height, in.size(1), in.size(2)}, DType::U8);
  const kernels::ResampleArgs args{.out = out.data<uint8_t>(),
                                   .ldo = row_bytes,
                                   .in = in.data<uint8_t>(),
                                   .ldi = row_bytes,
                                   .in_size = in.size(0),
                                   .out_size = height,
                                   .channels = in.size(2),
                                   .row_bytes = row_bytes,
                                   .bounds = c.bounds.data(),
                                   .weights = c.weights.data(),
                                   .taps = c.taps};
  runtime.parallel(height, kBytesPerTask / row_bytes,
                   [&](int64_t begin, int64_t end, int) { runtime.cpu().resample_y_u8(args, begin, end); });
  return out;
}

// Pillow steps along by adding up the scale, which rounds differently from multiplying by it.
std::vector<int64_t> nearest_positions(int64_t in_size, int64_t out_size) {
  const double scale = double(in_size) / double(out_size);
  std::vector<int64_t> positions(static_cast<size_t>(out_size));
  double at = scale * 0.5;
  for (int64_t& position : positions) position = std::min(int64_t(at), in_size - 1), at += scale;
  return positions;
}

// Where the bytes of a row come from, for gather_bytes_u8. No windows where it cannot: few bytes, or ones far apart.
struct GatherPlan {
  std::vector<int32_t> begin;
  std::vector<uint8_t> patterns;
  int64_t windows = 0, last = 0;

  GatherPlan(const std::vector<int64_t>& positions, int64_t channels, int64_t row_bytes) {
    constexpr int64_t kBytes = 16, kMaxWindows = 4;
    const int64_t bytes = int64_t(positions.size()) * channels, count = (bytes + kBytes - 1) / kBytes;
    last = bytes - kBytes;
    if (last < 0) return;
    auto pixel = [&](int64_t byte) { return positions[size_t(byte / channels)] * channels; };
    auto first = [&](int64_t i) { return i + 1 < count ? kBytes * i : last; };
    int64_t most = 0;  // bytes of the pixels that 16 bytes of output come from
    for (int64_t i = 0; i < count; i++)
      most = std::max(most, pixel(first(i) + kBytes - 1) + channels - pixel(first(i)));
    const int64_t needed = (most + kBytes - 1) / kBytes;
    if (needed > kMaxWindows || needed * kBytes > row_bytes) return;
    windows = needed;
    patterns.assign(size_t(count * windows * kBytes), 0x80);
    for (int64_t i = 0; i < count; i++) {
      begin.push_back(int32_t(std::min(pixel(first(i)), row_bytes - windows * kBytes)));
      for (int64_t j = 0; j < kBytes; j++) {
        const int64_t byte = first(i) + j, at = pixel(byte) + byte % channels - begin.back();
        patterns[size_t(((i * windows) + at / kBytes) * kBytes + j)] = uint8_t(at % kBytes);
      }
    }
  }
};

constexpr size_t kRowsAtOnce = 4;

// Pixels from far apart: each is a cache line to wait for, so several rows are fetched at once. Four bytes are moved
// for three where no row ends there.
template <int64_t kChannels>
void copy_pixels(std::array<uint8_t*, kRowsAtOnce> outs, std::array<const uint8_t*, kRowsAtOnce> rows, int64_t in_size,
                 const std::vector<int64_t>& positions) {
  const auto copy = [&]<size_t kBytes>(size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      for (size_t k = 0; k < kRowsAtOnce; k++)
        std::memcpy(outs[k] + i * kChannels, rows[k] + positions[i] * kChannels, kBytes);
    }
  };
  const size_t inner =
      size_t(std::lower_bound(positions.begin(), positions.end() - 1, in_size - 1) - positions.begin());
  copy.template operator()<kChannels == 3 ? 4 : kChannels>(0, inner);
  copy.template operator()<kChannels>(inner, positions.size());
}

Tensor resize_nearest(const Runtime& runtime, const Tensor& in, int64_t height, int64_t width) {
  const int64_t channels = in.size(2), in_bytes = in.size(1) * channels, out_bytes = width * channels;
  const std::vector<int64_t> xs = nearest_positions(in.size(1), width), ys = nearest_positions(in.size(0), height);
  const GatherPlan plan(xs, channels, in_bytes);
  Tensor result = Tensor::empty({height, width, channels}, DType::U8);
  runtime.parallel(height, kBytesPerTask / out_bytes, [&](int64_t begin, int64_t end, int) {
    const auto out = [&](int64_t y) { return result.data<uint8_t>() + y * out_bytes; };
    const auto row = [&](int64_t y) { return in.data<uint8_t>() + ys[size_t(y)] * in_bytes; };
    for (int64_t y = begin; plan.windows > 0 && y < end; y++) {
      if (y > begin && row(y) == row(y - 1))
        std::memcpy(out(y), out(y - 1), size_t(out_bytes));
      else
        runtime.cpu().gather_bytes_u8(out(y), row(y), plan.begin.data(), plan.patterns.data(),
                                      int64_t(plan.begin.size()), plan.windows, plan.last);
    }
    constexpr auto copy = [](int64_t n) {
      return n == 1 ? copy_pixels<1> : n == 2 ? copy_pixels<2> : n == 3 ? copy_pixels<3> : copy_pixels<4>;
    };
    for (int64_t y = begin; plan.windows == 0 && y < end; y += int64_t(kRowsAtOnce)) {
      std::array<uint8_t*, kRowsAtOnce> outs;
      std::array<const uint8_t*, kRowsAtOnce> rows;
      for (size_t k = 0; k < kRowsAtOnce; k++) {  // the last row again where there are no four
        outs[k] = out(std::min(y + int64_t(k), end - 1));
        rows[k] = row(std::min(y + int64_t(k), end - 1));
      }
      copy(channels)(outs, rows, in.size(1), xs);
    }
  });
  return result;
}

// Pillow's conversions RGBA <-> RGBa and LA <-> La: colours times alpha and back.
Tensor premultiplied(const Tensor& image) {
  Tensor result = Tensor::empty(image.shape(), DType::U8);
  const int64_t channels = image.size(2), n = image.numel();
  const uint8_t* in = image.data<uint8_t>();
  uint8_t* out = result.data<uint8_t>();
  for (int64_t i = 0; i < n; i += channels) {
    const uint32_t alpha = in[i + channels - 1];
    for (int64_t c = 0; c < channels - 1; c++) {
      const uint32_t product = in[i + c] * alpha + 128;
      out[i + c] = uint8_t((product + (product >> 8)) >> 8);
    }
    out[i + channels - 1] = uint8_t(alpha);
  }
  return result;
}
void unpremultiply(Tensor& image) {
  const int64_t channels = image.size(2), n = image.numel();
  uint8_t* data = image.data<uint8_t>();
  for (int64_t i = 0; i < n; i += channels) {
    const uint32_t alpha = data[i + channels - 1];
    if (alpha == 0 || alpha == 255) continue;
    for (int64_t c = 0; c < channels - 1; c++) data[i + c] = uint8_t(std::min(255u * data[i + c] / alpha, 255u));
  }
}

}  // namespace

Tensor resize_image(const Runtime& runtime, const Tensor& image, int64_t height, int64_t width, Resample filter) {
  expect_image("resize_image", image);
  if (height < 1 || width < 1 || height > kMaxSize || width > kMaxSize)
    fail("resize_image", "a height and width from 1 to " + std::to_string(kMaxSize),
         "(" + std::to_string(height) + ", " + std::to_string(width) + ")");
  if (int(filter) < 0 || int(filter) > 5) fail("resize_image", "a filter from 0 to 5", std::to_string(int(filter)));
  if (image.size(0) == height && image.size(1) == width) return image.clone();
  if (filter == Resample::nearest) return resize_nearest(runtime, image, height, width);
  const bool alpha = image.size(2) % 2 == 0;
  Tensor result = alpha ? premultiplied(image) : image;
  // Bytes are rounded between the passes, so their order shows. This is the order of Pillow 13.
  const int64_t fewer_rows = image.size(0) - height, fewer_columns = image.size(1) - width;
  const bool y_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
  if (y_first) result = resize_y(runtime, result, height, filter_of(filter));
  if (fewer_columns != 0) result = resize_x(runtime, result, width, filter_of(filter));
  if (!y_first && fewer_rows != 0) result = resize_y(runtime, result, height, filter_of(filter));
  if (alpha) unpremultiply(result);
  return result;
}

Tensor lookup_planes(const Runtime& runtime, const Tensor& image, const Tensor& tables) {
  expect_image("lookup_planes", image);
  const int64_t channels = image.size(2), pixels = image.size(0) * image.size(1);
  if (!tables.defined() || tables.shape() != Shape{channels, 256} || tables.dtype() != DType::F32)
    fail("lookup_planes", "tables of shape (" + std::to_string(channels) + ", 256) F32",
         tables.defined() ? tables.shape().str() + " " + std::string(name_of(tables.dtype())) : "an undefined tensor");
  Tensor out = Tensor::empty({channels, image.size(0), image.size(1)});
  runtime.parallel(pixels, kBytesPerTask, [&](int64_t begin, int64_t end, int) {
    runtime.cpu().lookup_planes_f32(out.data<float>() + begin, pixels, image.data<uint8_t>() + begin * channels,
                                    end - begin, channels, tables.data<float>());
  });
  return out;
}

}  // namespace caracal
