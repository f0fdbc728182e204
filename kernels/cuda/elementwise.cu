// What is done to each number by itself: copies, sums of two, and the gated linear unit.
#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {
namespace {

template <class To, class T>
__global__ void copy(const __grid_constant__ MatrixArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  for_piece(args.rows, args.cols, [&](int64_t row, int64_t c, int64_t n) {
    float v[kPiece];
    load_piece(v, static_cast<const T*>(args.x) + row * args.ldx + c, n, aligned);
    store_piece(static_cast<To*>(args.out) + row * args.ldo + c, v, n, aligned);
  });
}

/// Of one row.
template <class T>
__global__ void add_scaled_row(const __grid_constant__ AddScaledArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  const float scale = float(args.scale);
  const int64_t threads = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * kPiece; i < args.count; i += threads * kPiece) {
    T* out = static_cast<T*>(args.out) + i;
    float x[kPiece], sum[kPiece];
    load_piece(x, static_cast<const T*>(args.x) + i, args.count - i, aligned);
    load_piece(sum, out, args.count - i, aligned);
#pragma unroll
    for (int j = 0; j < kPiece; j++) sum[j] = fmaf(x[j], scale, sum[j]);
    store_piece(out, sum, args.count - i, aligned);
  }
}

template <class T>
__global__ void prepend(const __grid_constant__ PrependTokenArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  for_piece(args.rows, args.cols, [&](int64_t row, int64_t c, int64_t n) {
    const int64_t sequence = row / args.length, p = row % args.length;
    const T* from = p == 0 ? static_cast<const T*>(args.token)
                           : static_cast<const T*>(args.x) + (sequence * (args.length - 1) + p - 1) * args.cols;
    float v[kPiece], position[kPiece];
    load_piece(v, from + c, n, aligned);
    load_piece(position, static_cast<const T*>(args.positions) + p * args.cols + c, n, aligned);
#pragma unroll
    for (int j = 0; j < kPiece; j++) v[j] += position[j];
    store_piece(static_cast<T*>(args.out) + row * args.cols + c, v, n, aligned);
  });
}

template <class T>
__global__ void gate(const __grid_constant__ NormalizeArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  for_piece(args.rows, args.cols, [&](int64_t row, int64_t c, int64_t n) {
    const T* left = static_cast<const T*>(args.x) + row * 2 * args.cols + c;
    float x[kPiece], by[kPiece];
    load_piece(x, left, n, aligned);
    load_piece(by, left + args.cols, n, aligned);
#pragma unroll
    for (int j = 0; j < kPiece; j++) x[j] = x[j] / (1.0f + expf(-by[j]));
    store_piece(static_cast<T*>(args.out) + row * args.cols + c, x, n, aligned);
  });
}

}  // namespace

int copy_matrix(Stream stream, const MatrixArgs& args) {
  return with_type(args.out_type, [&]<class To>() {
    return with_type(args.type, [&]<class T>() {
      const bool aligned = aligned_rows<T>(args.x, args.ldx) && aligned_rows<To>(args.out, args.ldo);
      return launch(stream, copy<To, T>, piece_grid(args.rows, args.cols), piece_block(), 0, args, aligned);
    });
  });
}

int add_scaled(Stream stream, const AddScaledArgs& args) {
  constexpr int64_t threads = 128, most = int64_t(1) << 30;
  const int64_t blocks = (args.count + threads * kPiece - 1) / (threads * kPiece);
  const dim3 grid(unsigned(blocks < most ? blocks : most));
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.x, 0) && aligned_rows<T>(args.out, 0);
    return launch(stream, add_scaled_row<T>, grid, dim3(threads), 0, args, aligned);
  });
}

int prepend_token(Stream stream, const PrependTokenArgs& args) {
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.x, args.cols) && aligned_rows<T>(args.token, args.cols) &&
                         aligned_rows<T>(args.positions, args.cols) && aligned_rows<T>(args.out, args.cols);
    return launch(stream, prepend<T>, piece_grid(args.rows, args.cols), piece_block(), 0, args, aligned);
  });
}

int glu(Stream stream, const NormalizeArgs& args) {
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.x, args.cols) && aligned_rows<T>(args.out, args.cols);
    return launch(stream, gate<T>, piece_grid(args.rows, args.cols), piece_block(), 0, args, aligned);
  });
}

}  // namespace caracal::kernels::cuda
