// A convolution of one channel whose outputs are normalised over time, channel by channel. Mean and variance of a
// channel follow from the sums of each tap over all windows and of the products of each two, so that the outputs are
// written once, finished: sums of blocks of windows; mean and covariance of the taps, and from these each channel's
// scale; the products of windows, less the taps' means, and weights, scaled.
#include <algorithm>

#include <caracal/kernels/cuda/pieces.cuh>
#include <caracal/kernels/cuda/sequences.cuh>
#include <caracal/kernels/cuda/window_sums.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int kSumRows = 256;  // windows whose sums are one block
constexpr int kOutRows = 32;   // windows that one block multiplies
constexpr int kSumThreads = 96, kScaleThreads = 256, kThreads = 128;

// The variance of a few outputs may be next to nothing beside the outputs: float's digits would not do.
constexpr int64_t kFewOutputs = 64;

struct Scratch {
  double* sums;          // (window_sums(kernel), row blocks)
  float* scales;         // (batch, channels)
  float *means, *rests;  // (batch, kernel): mean of a tap is the sum of both
};
// Even, so that what follows the sums can be read in vectors.
__host__ __device__ int64_t sums_capacity(int64_t batch, int64_t tokens, int64_t kernel) {
  return (window_sums(kernel) * count_blocks<kSumRows>(tokens, batch) + 1) / 2 * 2;
}
__device__ Scratch scratch_of(const NormalizedConv1dArgs& a) {
  double* sums = static_cast<double*>(a.scratch);
  float* scales = reinterpret_cast<float*>(sums + sums_capacity(a.batch, a.tokens, a.kernel));
  float* means = scales + a.batch * a.channels;
  return {sums, scales, means, means + a.batch * a.kernel};
}

__global__ void __launch_bounds__(kSumThreads) window_sums_kernel(const __grid_constant__ NormalizedConv1dArgs a) {
  start_next();
  wait_for_previous();
  const RowBlock block = find_block<kSumRows>(a.out_offsets, a.batch, blockIdx.x);
  if (block.rows == 0) return;
  const float* x = a.x + a.in_offsets[block.sequence] + block.first * a.stride;
  double* out = scratch_of(a).sums + blockIdx.x;
  for (int64_t i = threadIdx.x; i < window_sums(a.kernel); i += kSumThreads)
    out[i * gridDim.x] = sum_of_windows(x, block.rows, a.stride, taps_of_sum(i, a.kernel));
}

__host__ __device__ int64_t scale_tiles(int64_t channels) { return (channels + kScaleThreads - 1) / kScaleThreads; }

__device__ double sum_warp(double sum) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  return sum;
}

// A block of a grid of the tiles of channels of each sequence; shared: the sums, which become means and covariances.
template <class T>
__global__ void __launch_bounds__(kScaleThreads) channel_scales_kernel(const __grid_constant__ NormalizedConv1dArgs a) {
  CARACAL_SHARED(double, shared);
  start_next();
  wait_for_previous();
  const Scratch scratch = scratch_of(a);
  const int64_t taps = a.kernel, sums = window_sums(taps), row_of_sums = count_blocks<kSumRows>(a.tokens, a.batch);
  const int64_t tile = blockIdx.x % scale_tiles(a.channels), b = blockIdx.x / scale_tiles(a.channels);
  double *mean = shared, *covariance = shared + taps;
  const int64_t first = a.out_offsets[b], rows = a.out_offsets[b + 1] - first;
  if (rows <= 0) return;
  const int64_t blocks = (rows + kSumRows - 1) / kSumRows;
  const double* partial = scratch.sums + first_block<kSumRows>(first, b);
  for (int64_t i = threadIdx.x / 32; i < sums; i += kScaleThreads / 32) {
    double sum = 0;
    for (int64_t block = threadIdx.x % 32; block < blocks; block += 32) sum += partial[i * row_of_sums + block];
    sum = sum_warp(sum);
    if (threadIdx.x % 32 == 0) shared[i] = sum / double(rows);
  }
  __syncthreads();
  for (int64_t i = taps + threadIdx.x; i < sums; i += kScaleThreads) {
    const TapPair p = taps_of_sum(i, taps);
    shared[i] -= mean[p.first] * mean[p.second];
  }
  if (tile == 0) {
    for (int64_t i = threadIdx.x; i < taps; i += kScaleThreads) {
      const float most = float(mean[i]);
      scratch.means[b * taps + i] = most;
      scratch.rests[b * taps + i] = float(mean[i] - double(most));
    }
  }
  __syncthreads();
  const int64_t c = tile * kScaleThreads + threadIdx.x;
  if (c >= a.channels) return;
  const float* w = a.w + c * taps;
  const double variance = variance_of(w, covariance, taps);
  const double scale = double(a.weight[c]) / sqrt(variance + a.eps);
  scratch.scales[b * a.channels + c] = float(scale);
  if (rows > kFewOutputs) return;
  for (int64_t t = 0; t < rows; t++) {
    const float* x = a.x + a.in_offsets[b] + t * a.stride;
    double y = 0;
    for (int64_t i = 0; i < taps; i++) y += double(w[i]) * (double(x[i]) - mean[i]);
    store(static_cast<T*>(a.out) + (first + t) * a.channels + c,
          activate(float(y * scale + double(a.bias[c])), a.activation));
  }
}

// What a block of a grid (row blocks, tiles of channels) writes: of sequences of many outputs.
__device__ RowBlock rows_of_block(const NormalizedConv1dArgs& a) {
  const RowBlock block = find_block<kOutRows>(a.out_offsets, a.batch, blockIdx.x);
  return block.end - block.begin > kFewOutputs ? block : RowBlock{};
}

/// Tap i of the window at x, less its mean.
__device__ float centered(const float* x, const float* means, const float* rests, int64_t i) {
  return x[i] - means[i] - rests[i];
}

// Of kernel `taps`; a thread has 8 channels, whose weights it keeps, and some of the block's rows.
template <class T, int taps>
__global__ void __launch_bounds__(kThreads) normalized_conv1d_kernel(const __grid_constant__ NormalizedConv1dArgs a) {
  constexpr int kPadded = (taps + 3) / 4 * 4;
  __shared__ __align__(16) float windows[kOutRows][kPadded];
  start_next();
  wait_for_previous();
  const RowBlock at = rows_of_block(a);
  if (at.rows == 0) return;
  const Scratch scratch = scratch_of(a);
  const float* x = a.x + a.in_offsets[at.sequence] + at.first * a.stride;
  for (int i = int(threadIdx.x); i < at.rows * taps; i += kThreads)
    windows[i / taps][i % taps] = centered(x + i / taps * a.stride, scratch.means + at.sequence * taps,
                                           scratch.rests + at.sequence * taps, i % taps);
  __syncthreads();
  const int across = a.channels / 8 < kThreads ? int(a.channels / 8) : kThreads, lanes = kThreads / across;
  const int lane = int(threadIdx.x) / across;
  const int64_t c = (int64_t(blockIdx.y) * across + int(threadIdx.x) % across) * 8;
  if (lane >= lanes || c >= a.channels) return;
  float w[8][taps], scale[8], bias[8];
  load_vector(scale, scratch.scales + at.sequence * a.channels + c);
  load_vector(bias, a.bias + c);
#pragma unroll
  for (int k = 0; k < 8; k++) {
#pragma unroll
    for (int i = 0; i < taps; i++) w[k][i] = a.w[(c + k) * taps + i] * scale[k];
  }
  T* out = static_cast<T*>(a.out) + (at.begin + at.first) * a.channels + c;
  for (int row = lane; row < at.rows; row += lanes) {
    float window[kPadded], y[8] = {};
#pragma unroll
    for (int i = 0; i < kPadded; i += 4) {
      const Pack<float, 4> four = *reinterpret_cast<const Pack<float, 4>*>(windows[row] + i);
#pragma unroll
      for (int j = 0; j < 4; j++) window[i + j] = four.x[j];
    }
#pragma unroll
    for (int i = 0; i < taps; i++) {
#pragma unroll
      for (int k = 0; k < 8; k++) y[k] = fmaf(w[k][i], window[i], y[k]);
    }
#pragma unroll
    for (int k = 0; k < 8; k++) y[k] += bias[k];
    activate_all(y, a.activation);
    store_vector(out + row * a.channels, y);
  }
}

// Of any kernel and number of channels, in the same order: a thread has a channel.
template <class T>
__global__ void __launch_bounds__(kThreads)
    any_normalized_conv1d_kernel(const __grid_constant__ NormalizedConv1dArgs a) {
  start_next();
  wait_for_previous();
  const RowBlock at = rows_of_block(a);
  const int64_t c = int64_t(blockIdx.y) * kThreads + threadIdx.x;
  if (at.rows == 0 || c >= a.channels) return;
  const Scratch scratch = scratch_of(a);
  const float *means = scratch.means + at.sequence * a.kernel, *rests = scratch.rests + at.sequence * a.kernel;
  const float scale = scratch.scales[at.sequence * a.channels + c], bias = a.bias[c];
  const float *w = a.w + c * a.kernel, *x = a.x + a.in_offsets[at.sequence] + at.first * a.stride;
  T* out = static_cast<T*>(a.out) + (at.begin + at.first) * a.channels + c;
  for (int64_t row = 0; row < at.rows; row++, x += a.stride, out += a.channels) {
    float y = 0;
    for (int64_t i = 0; i < a.kernel; i++) y = fmaf(w[i] * scale, centered(x, means, rests, i), y);
    store(out, activate(y + bias, a.activation));
  }
}

template <class T>
int normalized_conv1d_of(Stream stream, const NormalizedConv1dArgs& a) {
  const unsigned rows = unsigned(count_blocks<kOutRows>(a.tokens, a.batch));
  auto tiles = [&](int64_t channels) { return unsigned((a.channels + channels - 1) / channels); };
  if (a.kernel == 10 && a.channels % 8 == 0 && aligned_rows<T>(a.out, 8) && aligned_rows<float>(a.scratch, 8) &&
      aligned_rows<float>(a.bias, 8)) {
    const dim3 grid(rows, tiles(std::min<int64_t>(8 * kThreads, a.channels)));
    return launch(stream, normalized_conv1d_kernel<T, 10>, grid, dim3(kThreads), 0, a);
  }
  return launch(stream, any_normalized_conv1d_kernel<T>, dim3(rows, tiles(kThreads)), dim3(kThreads), 0, a);
}

}  // namespace

size_t normalized_conv1d_scratch(int64_t batch, int64_t tokens, int64_t channels, int64_t kernel) {
  return size_t(sums_capacity(batch, tokens, kernel)) * sizeof(double) +
         size_t(batch * (channels + 2 * kernel)) * sizeof(float);
}

int normalized_conv1d(Stream stream, const NormalizedConv1dArgs& a) {
  if (a.batch <= 0 || a.tokens <= 0 || a.channels <= 0) return 0;
  const dim3 blocks(unsigned(count_blocks<kSumRows>(a.tokens, a.batch)));
  const dim3 scales(unsigned(scale_tiles(a.channels) * a.batch));
  if (int error = launch(stream, window_sums_kernel, blocks, dim3(kSumThreads), 0, a)) return error;
  return with_type(a.type, [&]<class T>() {
    const size_t shared = size_t(window_sums(a.kernel)) * sizeof(double);
    if (int error = launch(stream, channel_scales_kernel<T>, scales, dim3(kScaleThreads), shared, a)) return error;
    return normalized_conv1d_of<T>(stream, a);
  });
}

}  // namespace caracal::kernels::cuda
