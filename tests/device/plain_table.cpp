// A table of "CUDA" kernels that are plain loops over the CPU's memory, for tests of everything above the kernels: what
// the runtime launches, when, and on which memory. The kernels themselves are tested by the shim's programs.
//
// Memory of the device is full of NaN at first, and its addresses are not the CPU's: whoever reads it without the table
// crashes. A graph is a list of calls.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <vector>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/tests/tf32.h>

#include "plain_table.h"

// A device's primary context.
struct CUctx_st {
  int device;
};

namespace caracal::kernels::cuda {

struct CUgraphExec_st {
  std::vector<std::function<int()>> calls;
};

PlainCounters plain_counters;

namespace {

constexpr uintptr_t kDevice = uintptr_t(1) << 57;  // set in the addresses of the device's memory

template <class T>
T* real(T* p) {
  return reinterpret_cast<T*>(uintptr_t(p) & ~kDevice);
}

float half_to_float(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
  if (exponent == 0) return std::ldexp(float(mantissa), -24) * (sign ? -1.0f : 1.0f);
  const uint32_t bits = sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | mantissa << 13;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

uint16_t float_to_half(float f) {
  _Float16 h = _Float16(f);
  uint16_t bits;
  std::memcpy(&bits, &h, 2);
  return bits;
}

uint16_t float_to_bfloat(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if (std::isnan(f)) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Numbers of any Type.
struct In {
  Type type;
  const void* p;
  bool tf32 = false;
  double operator()(int64_t i) const {
    if (type == Type::f32) {
      const float x = static_cast<const float*>(p)[i];
      return double(tf32 ? rounded_to_tf32(x) : x);
    }
    const uint16_t h = static_cast<const uint16_t*>(p)[i];
    if (type == Type::f16) return double(half_to_float(h));
    const uint32_t bits = uint32_t(h) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return double(f);
  }
};
struct Out {
  Type type;
  void* p;
  void operator()(int64_t i, double v) const {
    if (type == Type::f32)
      static_cast<float*>(p)[i] = float(v);
    else
      static_cast<uint16_t*>(p)[i] = type == Type::f16 ? float_to_half(float(v)) : float_to_bfloat(float(v));
  }
};
In in(Type type, const void* p, bool tf32 = false) { return {type, real(p), tf32}; }
Out out(Type type, void* p) { return {type, real(p)}; }

double activated(double x, Act act) {
  float from = float(x), to = from;
  if (Activation(int64_t(act)) != Activation::none)
    cpu_kernels(Isa::scalar).activation_f32(&to, &from, 1, Activation(int64_t(act)));
  return Activation(int64_t(act)) == Activation::none ? x : double(to);
}

double epilogue(double sum, double bias, Act act, const In* residual, int64_t at, bool first) {
  sum += bias;
  if (residual != nullptr && first) sum += (*residual)(at);
  sum = activated(sum, act);
  return residual != nullptr && !first ? sum + (*residual)(at) : sum;
}

void gemm_epilogue(const GemmArgs& g) {
  const In sums = in(g.type, g.c), residual = in(g.type, g.residual);
  const float* bias = real(g.bias);
  for (int64_t r = 0; r < g.rows; r++)
    for (int64_t c = 0; c < g.n; c++)
      out(g.type, g.c)(r * g.ldc + c, epilogue(sums(r * g.ldc + c), bias ? double(bias[c]) : 0, g.activation,
                                               g.residual ? &residual : nullptr, r * g.ldr + c, g.residual_first));
}

void convolution(const ConvolutionArgs& g) {
  const bool tf32 = g.tf32 != 0;
  const In x = in(g.type, g.x, tf32), w = in(g.type, g.w, tf32), residual = in(g.type, g.residual);
  plain_counters.convolutions++, plain_counters.tf32_convolutions += tf32;
  const float* bias = real(g.bias);
  const bool images = g.in_offsets == nullptr;
  const int64_t channels = g.in_channels / g.groups, n = g.out_channels / g.groups;
  for (int64_t b = 0; b < g.batch; b++) {
    const int64_t first = images ? b * g.out_height * g.out_width : real(g.out_offsets)[b];
    const int64_t count = images ? g.out_height * g.out_width : real(g.out_offsets)[b + 1] - first;
    const int64_t in_first = images ? b * g.height * g.width : real(g.in_offsets)[b];
    const int64_t height = images ? g.height : 1, width = images ? g.width : real(g.in_lengths)[b];
    const int64_t out_width = images ? g.out_width : std::max<int64_t>(count, 1);
    for (int64_t i = 0; i < count; i++)
      for (int64_t o = 0; o < g.out_channels; o++) {
        double sum = 0;
        for (int64_t ky = 0; ky < g.kernel_y; ky++)
          for (int64_t kx = 0; kx < g.kernel_x; kx++) {
            const int64_t y = i / out_width * g.stride_y - g.pad_y + ky * g.dilation_y;
            const int64_t xx = i % out_width * g.stride_x - g.pad_x + kx * g.dilation_x;
            if (y < 0 || y >= height || xx < 0 || xx >= width) continue;
            for (int64_t c = 0; c < channels; c++)
              sum += x((in_first + y * width + xx) * g.in_channels + o / n * channels + c) *
                     w((o * g.kernel_y * g.kernel_x + ky * g.kernel_x + kx) * channels + c);
          }
        const int64_t at = (first + i) * g.out_channels + o;
        out(g.type, g.out)(at, epilogue(sum, bias ? double(bias[o]) : 0, g.activation, g.residual ? &residual : nullptr,
                                        at, g.residual_first));
      }
  }
}

void attention(const AttentionArgs& a) {
  const In q = in(a.type, a.q), k = in(a.type, a.k), v = in(a.type, a.v);
  for (int64_t b = 0; b < a.batch; b++) {
    const int64_t begin = real(a.q_offsets)[b], rows = real(a.q_offsets)[b + 1] - begin;
    const int64_t first_key = real(a.k_offsets)[b], keys = real(a.k_lengths)[b];
    for (int64_t h = 0; h < a.heads; h++)
      for (int64_t r = 0; r < rows; r++) {
        int64_t seen = keys;
        if (a.q_lengths != nullptr) {
          const int64_t queries = real(a.q_lengths)[b];
          seen = r < queries ? keys - queries + r + 1 : 0;
        }
        const int64_t scores = (a.scores ? real(a.scores)[b] : 0) + (h * rows + r) * keys;
        std::vector<double> p(size_t(keys), 0.0);
        double most = -std::numeric_limits<double>::infinity(), sum = 0;
        for (int64_t i = 0; i < seen; i++) {
          double s = 0;
          for (int64_t d = 0; d < a.head_dim; d++)
            s += q((begin + r) * a.ldq + h * a.head_dim + d) * k((first_key + i) * a.ldk + h * a.head_dim + d);
          s = s * a.scale + (a.bias ? double(real(a.bias)[scores + i]) : 0);
          p[size_t(i)] = s;
          most = std::max(most, s);
        }
        for (int64_t i = 0; i < seen; i++) sum += p[size_t(i)] = std::exp(p[size_t(i)] - most);
        for (int64_t i = 0; i < seen; i++) p[size_t(i)] /= sum;
        for (int64_t i = 0; a.probs && i < keys; i++) real(a.probs)[scores + i] = float(p[size_t(i)]);
        for (int64_t d = 0; d < a.head_dim; d++) {
          double o = 0;
          for (int64_t i = 0; i < seen; i++) o += p[size_t(i)] * v((first_key + i) * a.ldk + h * a.head_dim + d);
          out(a.type, a.out)((begin + r) * a.ldo + h * a.head_dim + d, o);
        }
      }
  }
}

void layer_norm(const LayerNormArgs& a) {
  const In x = in(a.type, a.x);
  for (int64_t r = 0; r < a.rows; r++) {
    double mean = 0, square = 0;
    for (int64_t c = 0; c < a.cols; c++) mean += x(r * a.cols + c) / double(a.cols);
    for (int64_t c = 0; c < a.cols; c++) square += std::pow(x(r * a.cols + c) - mean, 2) / double(a.cols);
    for (int64_t c = 0; c < a.cols; c++) {
      const double y = (x(r * a.cols + c) - mean) / std::sqrt(square + a.eps) * double(real(a.weight)[c]);
      out(a.type, a.out)(r * a.cols + c, activated(y + double(real(a.bias)[c]), a.activation));
    }
  }
}

void gemm(const GemmArgs& g) {
  const bool tf32 = g.tf32 != 0;
  const In a = in(g.type, g.a, tf32), w = in(g.type, g.w, tf32), residual = in(g.type, g.residual);
  plain_counters.products++, plain_counters.tf32_products += tf32;
  const float* bias = real(g.bias);
  std::memset(real(static_cast<char*>(g.scratch)), 0xee, 64);  // it is there
  uint32_t* counters = real(static_cast<uint32_t*>(g.counters));
  const bool zero = std::all_of(counters, counters + kGemmCounters, [](uint32_t x) { return x == 0; });
  for (int64_t r = 0; r < g.rows; r++)
    for (int64_t c = 0; c < g.n; c++) {
      double sum = zero ? 0 : std::numeric_limits<double>::quiet_NaN();
      for (int64_t i = 0; i < g.k; i++) sum += a(r * g.lda + i) * w(c * g.k + i);
      out(g.type, g.c)(r * g.ldc + c, epilogue(sum, bias ? double(bias[c]) : 0, g.activation,
                                               g.residual ? &residual : nullptr, r * g.ldr + c, g.residual_first));
    }
  if (g.norm != nullptr)
    layer_norm({g.type, g.norm, g.c, g.norm_weight, g.norm_bias, g.rows, g.n, g.norm_eps, act(Activation::none)});
}

void embedding(const EmbeddingArgs& a) {
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++) {
      const double value = in(a.type, a.table)(real(a.ids)[r] * a.cols + c);
      out(a.type, a.out)(r * a.ldo + c, (a.accumulate ? in(a.type, a.out)(r * a.ldo + c) : 0) + value);
    }
}

void embedding_norm(const EmbeddingNormArgs& a) {
  std::vector<float> sums(size_t(a.rows * a.cols));
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++)
      for (int i = 0; i < kEmbeddings; i++)
        if (a.tables[i] != nullptr)
          sums[size_t(r * a.cols + c)] += float(in(a.type, a.tables[i])(real(a.ids[i])[r] * a.cols + c));
  std::vector<float> normed(sums.size());
  layer_norm({Type::f32, normed.data(), sums.data(), a.weight, a.bias, a.rows, a.cols, a.eps, act(Activation::none)});
  for (size_t i = 0; i < normed.size(); i++) out(a.type, a.out)(int64_t(i), double(normed[i]));
}

void scatter_rows(const RowsArgs& a) {
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++)
      out(a.type, a.out)(real(a.index)[r] * a.cols + c, in(a.type, a.x)(r * a.cols + c));
}

void clear_rows(const ClearRowsArgs& a) {
  for (int64_t b = 0; b < a.batch; b++)
    for (int64_t r = real(a.offsets)[b] + real(a.lengths)[b]; r < real(a.offsets)[b + 1]; r++)
      for (int64_t c = 0; c < a.cols; c++) out(a.type, a.x)(r * a.cols + c, 0);
}

void copy_matrix(const MatrixArgs& a) {
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++) out(a.out_type, a.out)(r * a.ldo + c, in(a.type, a.x)(r * a.ldx + c));
}

void add_scaled(const AddScaledArgs& a) {
  for (int64_t i = 0; i < a.count; i++) out(a.type, a.out)(i, in(a.type, a.out)(i) + a.scale * in(a.type, a.x)(i));
}

void prepend_token(const PrependTokenArgs& a) {
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++) {
      const int64_t b = r / a.length, p = r % a.length;
      const double value = p == 0 ? in(a.type, a.token)(c) : in(a.type, a.x)((b * (a.length - 1) + p - 1) * a.cols + c);
      out(a.type, a.out)(r * a.cols + c, value + in(a.type, a.positions)(p * a.cols + c));
    }
}

void pool(const PoolArgs& a) {
  for (int64_t b = 0; b < a.batch; b++)
    for (int64_t c = 0; c < a.cols; c++) {
      const int64_t first = real(a.offsets)[b], rows = real(a.lengths)[b];
      auto value = [&](int64_t r) { return in(a.type, a.x)((first + r) * a.cols + c); };
      double sum = 0, most = rows > 0 ? value(0) : 0, squares = 0;
      for (int64_t r = 0; r < rows; r++) {
        sum += value(r);
        if (value(r) > most || std::isnan(value(r))) most = value(r);
      }
      if (a.kind == PoolKind::mean) out(a.type, a.out)(b * a.cols + c, rows > 0 ? sum / double(rows) : 0);
      if (a.kind == PoolKind::most) out(a.type, a.out)(b * a.cols + c, most);
      if (a.kind != PoolKind::mean_and_deviation) continue;
      const double mean = sum / double(rows);
      for (int64_t r = 0; r < rows; r++) squares += std::pow(value(r) - mean, 2);
      out(a.type, a.out)(b * 2 * a.cols + c, mean);
      out(a.type, a.out)(b * 2 * a.cols + a.cols + c, rows < 2 ? NAN : std::sqrt(squares / double(rows - 1)));
    }
}

void l2_normalize(const NormalizeArgs& a) {
  for (int64_t r = 0; r < a.rows; r++) {
    double sum = 0;
    for (int64_t c = 0; c < a.cols; c++) sum += std::pow(in(a.type, a.x)(r * a.cols + c), 2);
    for (int64_t c = 0; c < a.cols; c++)
      out(a.type, a.out)(r * a.cols + c, in(a.type, a.x)(r * a.cols + c) / std::max(std::sqrt(sum), a.eps));
  }
}

void argmax(const ArgmaxArgs& a) {
  const int64_t width = a.cols / a.groups;
  for (int64_t i = 0; i < a.rows * a.groups; i++) {
    int64_t best = 0;
    auto value = [&](int64_t c) { return in(a.type, a.x)(i * width + c); };
    for (int64_t c = 1; c < width && !std::isnan(value(best)); c++)
      if (value(c) > value(best) || std::isnan(value(c))) best = c;
    real(a.out)[i] = best;
  }
}

void cumulative_sum(const NormalizeArgs& a) {
  for (int64_t r = 0; r < a.rows; r++) {
    double sum = 0;
    for (int64_t c = 0; c < a.cols; c++) out(a.type, a.out)(r * a.cols + c, sum += in(a.type, a.x)(r * a.cols + c));
  }
}

void glu(const NormalizeArgs& a) {
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++) {
      const double left = in(a.type, a.x)(r * 2 * a.cols + c), right = in(a.type, a.x)(r * 2 * a.cols + a.cols + c);
      out(a.type, a.out)(r * a.cols + c, left / (1 + std::exp(-right)));
    }
}

void relative_bias(const RelativeBiasArgs& a) {
  for (int64_t b = 0; b < a.batch; b++) {
    const int64_t first = real(a.offsets)[b], rows = real(a.offsets)[b + 1] - first, keys = real(a.lengths)[b];
    for (int64_t h = 0; h < a.heads; h++)
      for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < keys; k++) {
          const int64_t distance =
              std::clamp(real(a.positions)[first + k] - real(a.positions)[first + r], -a.most, a.most);
          float& to = real(a.out)[real(a.scores)[b] + (h * rows + r) * keys + k];
          to = (a.accumulate ? to : 0) + real(a.table)[h * a.buckets + real(a.bucket)[distance + a.most]];
        }
  }
}

// f over float32 copies of x and out.
template <class F>
void in_floats(Type type, const void* x, int64_t count, void* to, int64_t out_count, bool read_out, F f) {
  std::vector<float> from(size_t(count) + 1), result(size_t(out_count) + 1);
  for (int64_t i = 0; i < count; i++) from[size_t(i)] = float(in(type, x)(i));
  for (int64_t i = 0; read_out && i < out_count; i++) result[size_t(i)] = float(in(type, to)(i));
  f(result.data(), from.data());
  for (int64_t i = 0; i < out_count; i++) out(type, to)(i, double(result[size_t(i)]));
}

const Kernels& cpu() { return cpu_kernels(Isa::scalar); }

void patches(const PatchesArgs& a) {
  const int64_t each = (a.height / a.patch_height) * (a.width / a.patch_width);
  const int64_t cols = a.channels * a.patch_height * a.patch_width;
  in_floats(a.type, nullptr, 0, a.out, a.batch * each * cols, false, [&](float* to, const float*) {
    for (int64_t b = 0; b < a.batch; b++)
      cpu().patches_f32(to + b * each * cols, real(a.images) + b * a.channels * a.height * a.width, a.channels,
                        a.height, a.width, a.patch_height, a.patch_width, 0, each);
  });
}

void pixel_shuffle(const PixelShuffleArgs& a) {
  const int64_t each = a.channels * a.height * a.width * a.factor * a.factor;
  in_floats(a.type, a.x, a.batch * each, nullptr, 0, false, [&](float*, const float* x) {
    for (int64_t b = 0; b < a.batch; b++)
      cpu().pixel_shuffle_f32(real(a.out) + b * each, x + b * each, a.channels, a.height, a.width, a.factor);
  });
}

void interpolate_bicubic(const ResizeArgs& a) {
  const int64_t from = a.height * a.width * a.cols, each = a.out_height * a.out_width * a.cols;
  in_floats(a.type, a.x, a.batch * from, a.out, a.batch * each, false, [&](float* to, const float* x) {
    for (int64_t b = 0; b < a.batch; b++)
      cpu().interpolate_bicubic_f32(to + b * each, x + b * from, a.height, a.width, a.cols, a.out_height, a.out_width,
                                    0, a.out_height * a.out_width);
  });
}

void window_pool(const WindowPoolArgs& a, void (*kernel)(float*, const WindowArgs&, int64_t, int64_t)) {
  const int64_t from = a.height * a.width * a.channels, outputs = a.out_height * a.out_width;
  in_floats(a.type, a.x, a.batch * from, a.out, a.batch * outputs * a.channels, false, [&](float* to, const float* x) {
    for (int64_t b = 0; b < a.batch; b++) {
      const WindowArgs w{x + b * from, a.channels, a.height, a.width, a.channels,   a.kernel_y,   a.kernel_x,
                         a.stride_y,   a.stride_x, a.pad_y,  a.pad_x, a.dilation_y, a.dilation_x, a.out_width};
      kernel(to + b * outputs * a.channels, w, 0, outputs);
    }
  });
}
void max_pool_2d(const WindowPoolArgs& a) { window_pool(a, cpu().max_pool_2d_f32); }
void average_pool_2d(const WindowPoolArgs& a) { window_pool(a, cpu().average_pool_2d_f32); }

void window_means(const WindowMeansArgs& a) {
  const int64_t from = a.height * a.width * a.cols, cells = a.out_height * a.out_width;
  const int64_t each = cells * a.kernel * a.kernel * a.cols;
  in_floats(a.type, a.x, a.batch * from, a.out, a.batch * each, false, [&](float* to, const float* x) {
    for (int64_t b = 0; b < a.batch; b++)
      cpu().window_means_f32(to + b * each, x + b * from, a.height, a.width, a.cols, a.kernel, a.out_height,
                             a.out_width, 0, cells);
  });
}
void adaptive_average_pool_2d(const ResizeArgs& a) {
  window_means({a.type, a.out, a.x, a.batch, a.cols, a.height, a.width, 1, a.out_height, a.out_width});
}

void image_rows(const ImageRowsArgs& a) {
  for (int64_t i = 0; i < a.batch * a.pixels; i++)
    for (int64_t c = 0; c < a.channels; c++) {
      const int64_t at = (i / a.pixels * a.channels + c) * a.pixels + i % a.pixels;
      const float value = a.bytes ? float(static_cast<const uint8_t*>(real(a.images))[at])
                                  : static_cast<const float*>(real(a.images))[at];
      out(a.type, a.out)(i * a.channels + c, double((value - real(a.mean)[c]) / real(a.deviation)[c]));
    }
}

void add_upsampled(const ResizeArgs& a) {
  const int64_t from = a.height * a.width * a.cols;
  in_floats(a.type, a.x, a.batch * from, a.out, 4 * a.batch * from, true, [&](float* to, const float* x) {
    for (int64_t b = 0; b < a.batch; b++)
      cpu().add_upsampled_f32(to + 4 * b * from, x + b * from, a.width, a.cols, 0, 4 * a.height * a.width);
  });
}

void group_norm(const GroupNormArgs& a) {
  const int64_t width = a.cols / a.groups;
  for (int64_t b = 0; b < a.batch; b++)
    for (int64_t g = 0; g < a.groups; g++) {
      const int64_t first = real(a.offsets)[b], rows = real(a.lengths)[b];
      auto at = [&](int64_t i) { return (first + i / width) * a.cols + g * width + i % width; };
      double mean = 0, square = 0;
      const double count = double(rows * width);
      for (int64_t i = 0; i < rows * width; i++) mean += in(a.type, a.x)(at(i)) / count;
      for (int64_t i = 0; i < rows * width; i++) square += std::pow(in(a.type, a.x)(at(i)) - mean, 2) / count;
      for (int64_t i = 0; i < rows * width; i++) {
        const int64_t c = g * width + i % width;
        const double y = (in(a.type, a.x)(at(i)) - mean) / std::sqrt(square + a.eps);
        out(a.type, a.x)(at(i), activated(y * double(real(a.weight)[c]) + double(real(a.bias)[c]), a.activation));
      }
    }
}

void normalized_conv1d(const NormalizedConv1dArgs& a) {
  for (int64_t b = 0; b < a.batch; b++)
    for (int64_t c = 0; c < a.channels; c++) {
      const int64_t first = real(a.out_offsets)[b], rows = real(a.out_offsets)[b + 1] - first;
      const float *x = real(a.x) + real(a.in_offsets)[b], *w = real(a.w) + c * a.kernel;
      std::vector<double> y(size_t(rows), 0.0);
      double mean = 0, square = 0;
      for (int64_t t = 0; t < rows; t++) {
        for (int64_t i = 0; i < a.kernel; i++) y[size_t(t)] += double(x[t * a.stride + i]) * double(w[i]);
        mean += y[size_t(t)] / double(rows);
      }
      for (double each : y) square += std::pow(each - mean, 2) / double(rows);
      for (int64_t t = 0; t < rows; t++) {
        const double z = (y[size_t(t)] - mean) / std::sqrt(square + a.eps) * double(real(a.weight)[c]);
        out(a.type, a.out)((first + t) * a.channels + c, activated(z + double(real(a.bias)[c]), a.activation));
      }
    }
}

constexpr int kFailure = 2;         // "out of memory"
constexpr int kWrongContext = 201;  // as the driver has it

constexpr int kNotSupported = 801, kCaptureUnsupported = 900, kCaptureImplicit = 906;

CUctx_st contexts[] = {{0}, {1}, {2}, {3}}, another_context = {0};
thread_local Context current = nullptr;
thread_local int capture_mode = 0, captures = 0;  // cudaStreamCaptureModeGlobal; of the thread

// What captures of other threads forbid in their mode, and our own in its.
int unsafe() {
  const bool forbidden = capture_mode != kRelaxedCapture && (captures > 0 || plain_counters.global_capture);
  plain_counters.spoiled += forbidden;
  return forbidden ? kCaptureUnsupported : 0;
}
int on_stream(Stream stream) {  // the legacy one waits for streams of others, also such as are being captured
  const bool forbidden = stream == nullptr && plain_counters.global_capture;
  plain_counters.spoiled += forbidden;
  return forbidden ? kCaptureImplicit : 0;
}

bool is_current(Stream stream) {
  return current != nullptr && (stream == nullptr || stream->device == current->device);
}

int start(Stream stream, std::function<int()> call) {
  if (const int error = on_stream(stream)) return error;
  if (!is_current(stream)) return kWrongContext;
  if (stream == nullptr || !stream->capturing) return call();
  stream->captured.push_back(std::move(call));
  return 0;
}

template <auto Kernel, class Args>
int launch(Stream stream, const Args& args) {
  if (plain_counters.fail_launches || plain_counters.fail_kernels) return kFailure;
  return start(stream, [args] {
    if (!plain_counters.skip_kernels) Kernel(args);
    return 0;
  });
}

Cuda make_table() {
  Cuda t{};
  t.backend = "native";
#define KERNEL(name, Args) t.name = launch<&name, Args>;
#include <caracal/kernels/cuda/kernels.def>
#undef KERNEL
  t.gemm_scratch = [](int64_t, int64_t, int64_t) { return size_t(64); };
  t.group_norm_scratch = [](int64_t, int64_t, int64_t) { return size_t(64); };
  t.normalized_conv1d_scratch = [](int64_t, int64_t, int64_t, int64_t) { return size_t(64); };
  t.error_text = [](int error) {
    return error == kFailure        ? "out of memory"
           : error == kWrongContext ? "invalid device context"
           : error == kNotSupported ? "operation not supported"
           : error == 35            ? "CUDA driver version is insufficient for CUDA runtime version"
                                    : "unknown";
  };
  t.find_gemm = [](const GemmArgs&) { return 0; };
  t.device_count = [](int* count) {
    const bool old = plain_counters.driver < 13000;
    return *count = old ? 0 : plain_counters.devices.load(), old ? 35 : 0;
  };
  t.driver_versions = [](int* has, int* needs) { return *has = plain_counters.driver, *needs = 13000, 0; };
  t.exchange_capture_mode = [](int* mode) { return std::swap(*mode, capture_mode), 0; };
  t.use_device = [](int index, Context* before) {
    if (index < 0 || index >= plain_counters.devices) return 1;
    *before = current;
    plain_counters.switches += current != &contexts[index];
    return current = &contexts[index], 0;
  };
  t.restore = [](Context before) {
    plain_counters.switches += current != before;
    return current = before, 0;
  };
  t.current_device = [](int* index) { return *index = 0, 0; };
  t.device_name = [](int, char* name, size_t size, int* major, int* minor, size_t* memory) {
    std::strncpy(name, "plain loops", size);
    *major = 9, *minor = 0, *memory = size_t(1) << 40;
    return 0;
  };
  t.allocate = [](void** memory, size_t bytes) {
    if (plain_counters.fail_allocations) return kFailure;
    if (current == nullptr) return kWrongContext;
    if (const int error = unsafe()) return error;
    char* p = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    std::memset(p, 0xff, bytes);  // NaN
    plain_counters.blocks++;
    *memory = reinterpret_cast<void*>(uintptr_t(p) | kDevice);
    return 0;
  };
  t.release = [](void* memory) {
    if (const int error = unsafe()) return error;
    return plain_counters.blocks--, std::free(real(memory)), 0;
  };
  t.allocate_host = [](void** memory, size_t bytes) {
    if (current == nullptr) return kWrongContext;
    if (const int error = unsafe()) return error;
    plain_counters.blocks++;
    return *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256), 0;
  };
  t.release_host = [](void* memory) {
    if (const int error = unsafe()) return error;
    return plain_counters.blocks--, std::free(memory), 0;
  };
  t.upload = [](Stream stream, void* device, const void* host, size_t bytes) {
    if (!is_current(stream)) return kWrongContext;
    if (const int error = unsafe() + on_stream(stream)) return error;
    return std::memcpy(real(device), host, bytes), 0;
  };
  t.create_stream = [](Stream* stream) {
    if (current == nullptr) return kWrongContext;
    if (const int error = unsafe()) return error;
    *stream = new CUstream_st;
    (*stream)->context = plain_counters.foreign_context ? &another_context : current;
    return (*stream)->device = current->device, 0;
  };
  t.destroy_stream = [](Stream stream) { return delete stream, 0; };
  t.stream_state = [](Stream stream, StreamState* state) {
    *state = {.capturing = stream->capturing};
    if (!stream->capturing) state->device = stream->device, state->primary = stream->context == current;
    return 0;
  };
  t.copy = [](Stream stream, void* to, const void* from, size_t bytes) {
    if (stream != nullptr) stream->copies++;
    return start(stream, [=] { return std::memcpy(real(to), real(from), bytes), 0; });
  };
  t.fill_zero = [](Stream stream, void* memory, size_t bytes) {
    return start(stream, [=] { return std::memset(real(memory), 0, bytes), 0; });
  };
  t.synchronize = [](Stream stream) {
    if (!is_current(stream)) return kWrongContext;
    if (const int error = on_stream(stream)) return error;
    if (stream != nullptr) stream->synchronized++;
    return plain_counters.fail_waiting ? kFailure : 0;
  };
  t.begin_capture = [](Stream stream) {
    if (!is_current(stream)) return kWrongContext;
    plain_counters.begun_captures++;
    if (plain_counters.fail_begin_capture) return kNotSupported;
    return captures++, stream->capturing = true, stream->captured.clear(), 0;
  };
  t.end_capture = [](Stream stream, Graph* graph) {
    captures--, stream->capturing = false;
    *graph = nullptr;
    if (plain_counters.fail_end_capture) return kFailure;
    if (const int error = unsafe()) return error;  // it is instantiated
    plain_counters.graphs++;
    *graph = new CUgraphExec_st{std::move(stream->captured)};
    return 0;
  };
  t.launch_graph = [](Stream stream, Graph graph) {
    if (plain_counters.fail_launches) return kFailure;
    if (!is_current(stream)) return kWrongContext;
    stream->graphs++;
    for (const auto& call : graph->calls)
      if (const int error = call()) return error;
    return 0;
  };
  t.destroy_graph = [](Graph graph) {
    if (const int error = unsafe()) return error;
    return plain_counters.graphs--, delete graph, 0;
  };
  return t;
}

}  // namespace

int plain_capture_mode() { return capture_mode; }
bool plain_capturing() { return captures > 0; }

int plain_submit(Stream stream, std::function<int()> call) { return start(stream, std::move(call)); }

extern const bool kCudaLinked;
const bool kCudaLinked = true;  // device.cu

const Cuda* cuda_table() noexcept {
  static const Cuda table = make_table();
  return &table;
}

}  // namespace caracal::kernels::cuda
