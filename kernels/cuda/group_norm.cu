// Group norm over the rows of sequences, in place: statistics of the columns of blocks of rows, which are added up for
// each group, then a scale and a shift for each column.
#include <caracal/kernels/cuda/pieces.cuh>
#include <caracal/kernels/cuda/sequences.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int kBlockRows = 64, kWarps = 8, kThreads = 32 * kWarps, kRowsAThread = kBlockRows / kWarps;
constexpr int64_t kMostItems = int64_t(1) << 31;  // of a group: counted in 32 bits

/// Of the values of a column in a block of rows: the mean and Σ (x - mean)².
struct Moments {
  double mean, squares;
};

struct Scratch {
  Moments* moments;     // (row blocks, cols)
  float* coefficients;  // (batch, 3, cols): center, scale and shift: (x - center) · scale + shift
};
__host__ __device__ Scratch scratch_of(void* memory, int64_t batch, int64_t tokens, int64_t cols) {
  Moments* moments = static_cast<Moments*>(memory);
  return {moments, reinterpret_cast<float*>(moments + count_blocks<kBlockRows>(tokens, batch) * cols)};
}

// A block of a grid (row blocks, tiles of columns). Warp w has the rows w, w + kWarps, …, a lane V columns.
struct Place {
  int64_t sequence, row, rows;  // rows of x
  int64_t column;               // of this thread
};
template <int V>
__device__ Place place_of(const GroupNormArgs& a) {
  const RowBlock block = find_block<kBlockRows>(a.offsets, a.batch, blockIdx.x);
  const int64_t left = block.rows == 0 ? 0 : a.lengths[block.sequence] - block.first;
  return {block.sequence, block.begin + block.first, left < kBlockRows ? left : kBlockRows,
          (int64_t(blockIdx.y) * 32 + threadIdx.x % 32) * V};
}

/// Adds up what the warps have for each column; every thread gets the sums of its columns.
template <int V>
__device__ void sum_over_warps(float (&sum)[V], float (&shared)[kWarps][32 * V]) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  __syncthreads();
  for (int k = 0; k < V; k++) shared[warp][k * 32 + lane] = sum[k];
  __syncthreads();
  for (int k = 0; k < V; k++) {
    sum[k] = 0;
    for (int w = 0; w < kWarps; w++) sum[k] += shared[w][k * 32 + lane];
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) column_moments_kernel(const __grid_constant__ GroupNormArgs a) {
  __shared__ float shared[kWarps][32 * V];
  start_next();
  wait_for_previous();
  const Place at = place_of<V>(a);
  if (at.rows <= 0) return;
  const int warp = int(threadIdx.x) / 32;
  const bool here = at.column < a.cols;
  const T* x = static_cast<const T*>(a.x) + at.row * a.cols + at.column;
  float v[kRowsAThread][V], mean[V] = {}, rest[V] = {}, squares[V] = {};
#pragma unroll
  for (int i = 0; i < kRowsAThread; i++) {
    const int64_t row = i * kWarps + warp;
    if (here && row < at.rows) {
      load_vector(v[i], x + row * a.cols);
      for (int k = 0; k < V; k++) mean[k] += v[i][k];
    }
  }
  sum_over_warps(mean, shared);
  for (int k = 0; k < V; k++) mean[k] /= float(at.rows);
#pragma unroll
  for (int i = 0; i < kRowsAThread; i++) {
    if (here && i * kWarps + warp < at.rows) {
      for (int k = 0; k < V; k++) {
        const float d = v[i][k] - mean[k];
        rest[k] += d;
        squares[k] = fmaf(d, d, squares[k]);
      }
    }
  }
  sum_over_warps(rest, shared);
  sum_over_warps(squares, shared);
  if (!here || warp != 0) return;
  Moments* out = scratch_of(a.scratch, a.batch, a.tokens, a.cols).moments + int64_t(blockIdx.x) * a.cols + at.column;
  for (int k = 0; k < V; k++) {  // what rounding left of the mean is put right
    const double error = double(rest[k]) / double(at.rows);
    out[k] = {double(mean[k]) + error, double(squares[k]) - error * double(rest[k])};
  }
}

/// The sum of all threads' values, to each of them, by one tree.
__device__ double sum_block(double sum, double (&shared)[kWarps]) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int w = 0; w < kWarps; w++) sum += shared[w];
  return sum;
}

// A block of a grid of the groups of each sequence.
__global__ void __launch_bounds__(kThreads) group_moments_kernel(const __grid_constant__ GroupNormArgs a) {
  __shared__ double shared[kWarps];
  start_next();
  wait_for_previous();
  const unsigned width = unsigned(a.cols / a.groups);
  const int64_t group = blockIdx.x % a.groups, b = blockIdx.x / a.groups;
  const Scratch scratch = scratch_of(a.scratch, a.batch, a.tokens, a.cols);
  const int64_t rows = a.lengths[b];
  const unsigned items = unsigned((rows + kBlockRows - 1) / kBlockRows) * width;
  if (rows <= 0) return;
  const Moments* moments = scratch.moments + first_block<kBlockRows>(a.offsets[b], b) * a.cols + group * width;
  const double count = double(rows) * double(width);
  auto sum = [&](auto value) {
    double s = 0;
    for (unsigned i = threadIdx.x; i < items; i += kThreads) {
      const int64_t block = i / width, left = rows - block * kBlockRows;
      s += value(moments[block * a.cols + i % width], double(left < kBlockRows ? left : kBlockRows));
    }
    return sum_block(s, shared);
  };
  const double mean = sum([](const Moments& m, double n) { return n * m.mean; }) / count;
  const double variance =
      sum([&](const Moments& m, double n) { return m.squares + n * (m.mean - mean) * (m.mean - mean); }) / count;
  const float center = float(mean);
  float* coefficients = scratch.coefficients + b * 3 * a.cols;
  for (int64_t c = group * width + threadIdx.x; c < (group + 1) * width; c += kThreads) {
    const double scale = double(a.weight[c]) / sqrt(variance + a.eps);
    coefficients[c] = center;
    coefficients[a.cols + c] = float(scale);
    coefficients[2 * a.cols + c] = float(double(a.bias[c]) + (double(center) - mean) * scale);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) group_norm_kernel(const __grid_constant__ GroupNormArgs a) {
  start_next();
  wait_for_previous();
  const Place at = place_of<V>(a);
  if (at.rows <= 0 || at.column >= a.cols) return;
  const float* coefficients =
      scratch_of(a.scratch, a.batch, a.tokens, a.cols).coefficients + at.sequence * 3 * a.cols + at.column;
  float center[V], scale[V], shift[V];
  load_vector(center, coefficients);
  load_vector(scale, coefficients + a.cols);
  load_vector(shift, coefficients + 2 * a.cols);
  T* x = static_cast<T*>(a.x) + at.row * a.cols + at.column;
  for (int64_t row = threadIdx.x / 32; row < at.rows; row += kWarps) {
    float v[V];
    load_vector(v, static_cast<const T*>(x + row * a.cols));
    for (int k = 0; k < V; k++) v[k] = fmaf(v[k] - center[k], scale[k], shift[k]);
    activate_all(v, a.activation);
    store_vector(x + row * a.cols, v);
  }
}

}  // namespace

size_t group_norm_scratch(int64_t batch, int64_t tokens, int64_t cols) {
  return size_t(count_blocks<kBlockRows>(tokens, batch) * cols) * sizeof(Moments) +
         size_t(batch * 3 * cols) * sizeof(float);
}

int group_norm(Stream stream, const GroupNormArgs& a) {
  if (a.batch <= 0 || a.tokens <= 0 || a.cols <= 0) return 0;
  if (a.tokens / kBlockRows * (a.cols / a.groups) > kMostItems) return cudaErrorInvalidValue;
  return with_vectors(a.type, a.cols, {a.x, a.scratch}, [&]<class T, int V>() {
    const dim3 grid(unsigned(count_blocks<kBlockRows>(a.tokens, a.batch)), unsigned((a.cols + 32 * V - 1) / (32 * V)));
    if (int error = launch(stream, column_moments_kernel<T, V>, grid, dim3(kThreads), 0, a)) return error;
    if (int error = launch(stream, group_moments_kernel, dim3(unsigned(a.groups * a.batch)), dim3(kThreads), 0, a))
      return error;
    return launch(stream, group_norm_kernel<T, V>, grid, dim3(kThreads), 0, a);
  });
}

}  // namespace caracal::kernels::cuda
