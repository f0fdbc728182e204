// Convolutions of images and of sequences, as products of windows: the kernels of gemm.cu over rows that are windows,
// which are never written down. One chain along k: there is no scratch, and no slices.
#include <algorithm>

#include <caracal/kernels/cuda/gemm_launch.cuh>

namespace caracal::kernels::cuda {

namespace {

/// Windows as rows of an operand (see MatrixRows). Number k of a window is channel k % tap of its tap k / tap; taps go
/// along x first. Where there is no padding beside x and nothing lies between its taps, a line of them is one tap.
template <class T>
struct WindowRows {
  static constexpr bool kTogether = false;
  const T* x;
  const int64_t *in_offsets, *in_lengths, *out_offsets;  // of sequences; null for images
  int batch, rows, height, width, out_width, out_pixels;
  int channels, group_channels, tap, taps_x;
  int stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;

  __device__ int count() const {
    if (!out_offsets) return rows;
    const int64_t real = out_offsets[batch];
    return real < rows ? int(real) : rows;
  }

  struct Tap {
    int y, x, channel;
  };

  template <int Count, int Step>
  struct Walk {
    const WindowRows& r;
    const T* from[Count];  // what the window's taps are counted from
    int y[Count], x[Count], width[Count];

    __device__ Walk(const WindowRows& rows, int row, int group) : r(rows) {
      const int count = rows.count();
#pragma unroll
      for (int i = 0; i < Count; i++) {
        const int at = row + i * Step;
        int64_t first = 0;
        y[i] = x[i] = width[i] = 0;  // nothing is within
        if (at < count) {
          if (rows.out_offsets) {
            const int b = sequence_of(at);
            first = rows.in_offsets[b], width[i] = int(rows.in_lengths[b]);
            x[i] = int(at - rows.out_offsets[b]);
          } else {
            const int pixel = at % rows.out_pixels;
            first = int64_t(at / rows.out_pixels) * rows.height * rows.width, width[i] = rows.width;
            y[i] = pixel / rows.out_width, x[i] = pixel % rows.out_width;
          }
        }
        y[i] = y[i] * rows.stride_y - rows.pad_y, x[i] = x[i] * rows.stride_x - rows.pad_x;
        from[i] =
            rows.x + (first + int64_t(y[i]) * rows.width + x[i]) * rows.channels + int64_t(group) * rows.group_channels;
      }
    }

    /// The sequence whose results hold a row: the last that begins at or before it.
    __device__ int sequence_of(int row) const {
      int low = 0, high = r.batch;
      while (high - low > 1) {
        const int middle = (low + high) / 2;
        (r.out_offsets[middle] <= row ? low : high) = middle;
      }
      return low;
    }

    __device__ Tap seek(int k) const {
      const unsigned tap = unsigned(k) / unsigned(r.tap), line = tap / unsigned(r.taps_x);
      return {int(line) * r.dilation_y, int(tap - line * r.taps_x) * r.dilation_x, int(k - tap * r.tap)};
    }
    __device__ bool at(int i, const Tap& tap, const T*& p) const {
      p = from[i] + (int64_t(tap.y) * r.width + tap.x) * r.channels + tap.channel;
      return unsigned(y[i] + tap.y) < unsigned(r.height) && unsigned(x[i] + tap.x) < unsigned(width[i]);
    }
  };
};

constexpr unsigned kMmaTileSet = 14;

template <class T>
int run(Stream stream, const ConvolutionArgs& args, const Plan& plan) {
  const int64_t group_channels = args.in_channels / args.groups;
  const bool lines = args.pad_x == 0 && args.dilation_x == 1 && args.groups == 1;
  Product<T, WindowRows<T>> p{};
  WindowRows<T>& r = p.rows;
  r.x = static_cast<const T*>(args.x);
  r.in_offsets = args.in_offsets, r.in_lengths = args.in_lengths, r.out_offsets = args.out_offsets;
  r.batch = int(args.batch), r.rows = int(args.rows);
  r.height = int(args.height), r.width = int(args.width);
  r.out_width = int(args.out_width), r.out_pixels = int(args.out_height * args.out_width);
  if (!args.out_offsets) {
    r.rows = int(std::min(args.rows, args.batch * r.out_pixels));
  } else {
    r.height = 1;
  }
  r.channels = int(args.in_channels), r.group_channels = int(group_channels);
  r.tap = int(lines ? args.kernel_x * args.in_channels : group_channels), r.taps_x = int(lines ? 1 : args.kernel_x);
  r.stride_y = int(args.stride_y), r.stride_x = int(args.stride_x);
  r.pad_y = int(args.pad_y), r.pad_x = int(args.pad_x);
  r.dilation_y = int(args.dilation_y), r.dilation_x = int(args.dilation_x);

  p.w = static_cast<const T*>(args.w);
  p.k = int(args.kernel_y * args.kernel_x * group_channels), p.slice = int(round_up(p.k, 64));
  constexpr int64_t kNumbers = 16 / sizeof(T);
  p.vector_a = aligned(args.x) && group_channels % kNumbers == 0;
  p.vector_w = aligned(args.w) && p.k % kNumbers == 0;
  Epilogue<T>& e = p.epilogue;
  e.c = static_cast<T*>(args.out), e.bias = args.bias, e.residual = static_cast<const T*>(args.residual);
  e.ldc = e.ldr = args.out_channels;
  e.rows = int(args.rows), e.cols = int(args.out_channels / args.groups);
  e.activation = args.activation, e.residual_first = args.residual_first != 0;
  e.vector = aligned(args.out) && aligned(args.bias) && aligned(args.residual) && args.out_channels % kNumbers == 0 &&
             (args.groups == 1 || e.cols % kNumbers == 0);
  return launch_plan<kMmaTileSet>(stream, plan, p, args.rows, args.groups);
}

}  // namespace

bool mma_takes(const ConvolutionArgs& args) {
  return mma_knows(args.type, args.tf32 != 0) && aligned(args.x) && aligned(args.w) &&
         args.in_channels / args.groups % piece_of(args.type) == 0;
}

int convolution_planned(Stream stream, const ConvolutionArgs& args, const Plan& plan) {
  if (args.rows <= 0 || args.out_channels <= 0 || args.batch <= 0) return 0;
  const int64_t k = args.kernel_y * args.kernel_x * args.in_channels;
  for (const int64_t size : {args.rows, args.out_channels, args.batch, k, args.height * args.width,
                             args.height * args.width * args.batch, args.out_height * args.out_width}) {
    if (size > INT32_MAX - 1024) return int(cudaErrorInvalidValue);
  }
  if (!plan.simt && !mma_takes(args)) return int(cudaErrorInvalidValue);
  return with_type(args.type, [&]<class T>() { return run<T>(stream, args, plan); });
}

int convolution(Stream stream, const ConvolutionArgs& args) {
  const int64_t n = args.out_channels / args.groups;
  const int64_t k = args.kernel_y * args.kernel_x * (args.in_channels / args.groups);
  PlanFor p{!mma_takes(args), kMmaTileSet, args.rows, n, k, args.groups};
  if (p.simt) p.tiles = args.type == Type::f32 ? kSimtTileSet<float> : kSimtTileSet<half>;
  p.tf32 = !p.simt && args.type == Type::f32;
  p.sliced = p.may_split = false;
  return convolution_planned(stream, args, plan_product(p, current_device().multiprocessors));
}

}  // namespace caracal::kernels::cuda
