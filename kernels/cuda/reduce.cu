// Over each row: its length (l2_normalize), its largest number (argmax), its sums so far (cumulative_sum).
#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {
namespace {

/// As torch.nn.functional.normalize. A block a row.
template <class T>
__global__ void normalize_row(const __grid_constant__ NormalizeArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  const T* from = static_cast<const T*>(args.x) + int64_t(blockIdx.x) * args.cols;
  T* out = static_cast<T*>(args.out) + int64_t(blockIdx.x) * args.cols;
  float x[kPiece], squares = 0.0f;
  for_pieces_of_row(args.cols, [&](int64_t c, int64_t n) {
    load_piece(x, from + c, n, aligned);
    squares += sum_squares_piece(x, 0.0f, n);
  });
  const float norm = sqrtf(block_sum(squares)), eps = float(args.eps), divisor = norm < eps ? eps : norm;
  for_pieces_of_row(args.cols, [&](int64_t c, int64_t n) {
    load_piece(x, from + c, n, aligned);
#pragma unroll
    for (int j = 0; j < kPiece; j++) x[j] /= divisor;
    store_piece(out + c, x, n, aligned);
  });
}

struct Best {
  float value;
  int64_t column;
  /// NaN before all, then larger ones, then those further left: an order in which no two columns are equal, so that it
  /// does not matter who compares first.
  __device__ bool before(const Best& other) const {
    const bool nan = isnan(value), other_nan = isnan(other.value);
    if (nan || other_nan) return nan && (!other_nan || column < other.column);
    return value > other.value || (value == other.value && column < other.column);
  }
};

/// A block for each part of each row.
template <class T>
__global__ void argmax_part(const __grid_constant__ ArgmaxArgs args) {
  __shared__ Best of_warp[kWarp];
  wait_for_previous();
  start_next();
  const int64_t width = args.cols / args.groups;
  const T* x = static_cast<const T*>(args.x) + int64_t(blockIdx.x) * width;
  Best best{-INFINITY, width};
#pragma unroll 4
  for (int64_t c = threadIdx.x; c < width; c += blockDim.x)
    if (const Best next{load(x + c), c}; next.before(best)) best = next;
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Best other{__shfl_xor_sync(~0u, best.value, distance),
                     int64_t(__shfl_xor_sync(~0u, static_cast<long long>(best.column), distance))};
    if (other.before(best)) best = other;
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned w = 1; w < blockDim.x / kWarp; w++)
    if (of_warp[w].before(best)) best = of_warp[w];
  args.out[blockIdx.x] = best.column;
}

/// A warp a row, 32 columns at a time.
template <class T>
__global__ void sum_so_far(const __grid_constant__ NormalizeArgs args) {
  wait_for_previous();
  start_next();
  const T* x = static_cast<const T*>(args.x) + int64_t(blockIdx.x) * args.cols;
  T* out = static_cast<T*>(args.out) + int64_t(blockIdx.x) * args.cols;
  const int lane = int(threadIdx.x);
  double before = 0.0;
  for (int64_t begin = 0; begin < args.cols; begin += kWarp) {
    const int64_t c = begin + lane;
    double sum = c < args.cols ? double(load(x + c)) : 0.0;
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const double left = __shfl_up_sync(~0u, sum, unsigned(distance));
      if (lane >= distance) sum += left;
    }
    sum += before;
    if (c < args.cols) store(out + c, float(sum));
    before = __shfl_sync(~0u, sum, kWarp - 1);
  }
}

}  // namespace

int l2_normalize(Stream stream, const NormalizeArgs& args) {
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.x, args.cols) && aligned_rows<T>(args.out, args.cols);
    return launch(stream, normalize_row<T>, dim3(unsigned(args.rows)), dim3(threads_of_row(args.cols)), 0, args,
                  aligned);
  });
}

int argmax(Stream stream, const ArgmaxArgs& args) {
  const dim3 block(threads_of_row(args.cols / args.groups));
  return with_type(args.type, [&]<class T>() {
    return launch(stream, argmax_part<T>, dim3(unsigned(args.rows * args.groups)), block, 0, args);
  });
}

int cumulative_sum(Stream stream, const NormalizeArgs& args) {
  return with_type(args.type, [&]<class T>() {
    return launch(stream, sum_so_far<T>, dim3(unsigned(args.rows)), dim3(kWarp), 0, args);
  });
}

}  // namespace caracal::kernels::cuda
