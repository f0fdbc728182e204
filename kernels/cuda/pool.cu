// pool: the rows of each sequence to one. A block has 64 columns of a sequence: 8 threads with a piece each, 32 times
// over for every 32nd row; then 64 threads add up, or compare, the 32 in order. So a sum's order depends on the number
// of rows alone.
#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int kAcross = 8, kDown = 32, kColumns = kAcross * kPiece;

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Most {
  __device__ float operator()(float a, float b) const { return max_nan(a, b); }
};

/// What `combine` makes of v of all kDown rows of threads, for the 64 columns; all threads get that of their own.
template <class Combine>
__device__ void combine_down(float (&v)[kPiece]) {
  __shared__ float all[kDown][kColumns];
  __shared__ float result[kColumns];
  const int column = int(threadIdx.x) * kPiece, thread = int(threadIdx.y) * kAcross + int(threadIdx.x);
#pragma unroll
  for (int j = 0; j < kPiece; j++) all[threadIdx.y][column + j] = v[j];
  __syncthreads();
  if (thread < kColumns) {
    float sum = all[0][thread];
#pragma unroll
    for (int r = 1; r < kDown; r++) sum = Combine()(sum, all[r][thread]);
    result[thread] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < kPiece; j++) v[j] = result[column + j];
}

template <class T, PoolKind kind>
__global__ void pool_columns(const __grid_constant__ PoolArgs args, const bool in_aligned, const bool out_aligned) {
  wait_for_previous();
  start_next();
  const int64_t b = blockIdx.x, rows = args.lengths[b];
  const int64_t column = int64_t(blockIdx.y) * kColumns + int64_t(threadIdx.x) * kPiece, n = args.cols - column;
  const T* x = static_cast<const T*>(args.x) + args.offsets[b] * args.cols + column;
  T* out = static_cast<T*>(args.out) + b * args.cols * (kind == PoolKind::mean_and_deviation ? 2 : 1) + column;
  float v[kPiece], mean[kPiece];

  // f(row) over this thread's rows; those of threads right of the last column are 0.
  auto for_rows = [&](auto f) {
#pragma unroll 4
    for (int64_t r = threadIdx.y; r < rows; r += kDown) {
      float row[kPiece];
      load_piece(row, x + r * args.cols, n, in_aligned);
      f(row);
    }
  };
  const float none = kind == PoolKind::most ? -INFINITY : 0.0f;
#pragma unroll
  for (int j = 0; j < kPiece; j++) v[j] = none;
  if constexpr (kind == PoolKind::most) {
    for_rows([&](const float(&row)[kPiece]) {
#pragma unroll
      for (int j = 0; j < kPiece; j++) v[j] = Most()(v[j], row[j]);
    });
    combine_down<Most>(v);
#pragma unroll
    for (int j = 0; j < kPiece; j++) v[j] = rows > 0 ? v[j] : 0.0f;
  } else {
    for_rows([&](const float(&row)[kPiece]) {
#pragma unroll
      for (int j = 0; j < kPiece; j++) v[j] += row[j];
    });
    combine_down<Sum>(v);
    const bool empty_is_zero = kind == PoolKind::mean && rows == 0;
#pragma unroll
    for (int j = 0; j < kPiece; j++) v[j] = empty_is_zero ? 0.0f : v[j] / float(rows);
  }
  const bool writes = threadIdx.y == 0 && n > 0;
  if (writes) store_piece(out, v, n, out_aligned);
  if constexpr (kind == PoolKind::mean_and_deviation) {
#pragma unroll
    for (int j = 0; j < kPiece; j++) mean[j] = v[j], v[j] = 0.0f;
    for_rows([&](const float(&row)[kPiece]) {
#pragma unroll
      for (int j = 0; j < kPiece; j++) v[j] = fmaf(row[j] - mean[j], row[j] - mean[j], v[j]);
    });
    combine_down<Sum>(v);
#pragma unroll
    for (int j = 0; j < kPiece; j++) v[j] = rows < 2 ? NAN : sqrtf(v[j] / float(rows - 1));
    if (writes) store_piece(out + args.cols, v, n, out_aligned);
  }
}

}  // namespace

int pool(Stream stream, const PoolArgs& args) {
  const dim3 grid(unsigned(args.batch), unsigned((args.cols + kColumns - 1) / kColumns)), block(kAcross, kDown);
  return with_type(args.type, [&]<class T>() {
    const bool in = aligned_rows<T>(args.x, args.cols), out = aligned_rows<T>(args.out, args.cols);
    switch (args.kind) {
      case PoolKind::mean: return launch(stream, pool_columns<T, PoolKind::mean>, grid, block, 0, args, in, out);
      case PoolKind::most: return launch(stream, pool_columns<T, PoolKind::most>, grid, block, 0, args, in, out);
      default: return launch(stream, pool_columns<T, PoolKind::mean_and_deviation>, grid, block, 0, args, in, out);
    }
  });
}

}  // namespace caracal::kernels::cuda
