// The layer norm of rows that a warp has in its registers: what layer_norm.cu and products whose rows are normalised
// (gemm_together.cuh) share, so that both give the same bits.
#pragma once

#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {

inline constexpr int kMostPieces = 4;  // of a lane

/// Whether norm_rows() can take rows of `cols` numbers.
inline bool fits_registers(int64_t cols) { return cols % kPiece == 0 && cols <= kMostPieces * kColumnsOfWarp; }

/// 8 numbers as they lie in memory.
template <class T>
struct Piece {
  static constexpr int kPack = 16 / sizeof(T);
  Pack<T, kPack> packs[kPiece / kPack];

  __device__ void load(const T* x) {
#pragma unroll
    for (int i = 0; i < kPiece / kPack; i++) packs[i] = reinterpret_cast<const Pack<T, kPack>*>(x)[i];
  }
  __device__ void get(float (&v)[kPiece]) const {
#pragma unroll
    for (int j = 0; j < kPiece; j++) {
      const T x = packs[j / kPack].x[j % kPack];
      if constexpr (std::is_same_v<T, __nv_bfloat16>) {  // with cvt, ptxas converts once and keeps what it cannot hold
        v[j] = __uint_as_float(unsigned(__bfloat16_as_ushort(x)) << 16);
      } else {
        v[j] = to_float(x);
      }
    }
  }
};

/// 1 / √(variance + eps), of the sum of (x - mean)².
__device__ inline float reciprocal_deviation(float squares, int64_t cols, double eps) {
  return 1.0f / sqrtf(squares / float(cols) + float(eps));
}

/// Of `rows` rows at once, so that their sums wait for each other's shuffles: lane l has the pieces l, l + 32, … of
/// each. weights(i, weight, bias) gives those of its piece i, put(r, i, y) receives the norm of row r.
template <int rows, int pieces, class X, class Weights, class Put>
__device__ __forceinline__ void norm_rows(const Piece<X> (&x)[rows][pieces], int cols, double eps, Weights weights,
                                          Put put) {
  const int first = int(threadIdx.x) % kWarp * kPiece;
  float v[kPiece], mean[rows], scale[rows];
#pragma unroll
  for (int r = 0; r < rows; r++) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < pieces; i++)
      if (first + i * kWarp * kPiece < cols) x[r][i].get(v), sum += sum_piece(v);
    mean[r] = sum;
  }
#pragma unroll
  for (int r = 0; r < rows; r++) mean[r] = warp_sum(mean[r]) / float(cols);
#pragma unroll
  for (int r = 0; r < rows; r++) {
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < pieces; i++)
      if (first + i * kWarp * kPiece < cols) x[r][i].get(v), squares += sum_squares_piece(v, mean[r], kPiece);
    scale[r] = squares;
  }
#pragma unroll
  for (int r = 0; r < rows; r++) scale[r] = reciprocal_deviation(warp_sum(scale[r]), cols, eps);
#pragma unroll
  for (int i = 0; i < pieces; i++) {
    if (first + i * kWarp * kPiece >= cols) continue;
    float weight[kPiece], bias[kPiece];
    weights(i, weight, bias);
#pragma unroll
    for (int r = 0; r < rows; r++) {
      x[r][i].get(v);
#pragma unroll
      for (int j = 0; j < kPiece; j++) v[j] = fmaf((v[j] - mean[r]) * scale[r], weight[j], bias[j]);
      put(r, i, v);
    }
  }
}

}  // namespace caracal::kernels::cuda
