// Rows in pieces of 8 columns, one piece a thread: 16-byte accesses where every row starts at a multiple of 16 bytes,
// one number at a time elsewhere and at the end of a row. And for kernels that are compiled for either: vectors of V
// numbers, 8 or 1.
#pragma once

#include <initializer_list>

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

inline constexpr int kPiece = 8, kWarp = 32;
inline constexpr int64_t kColumnsOfWarp = kWarp * kPiece;  // in one step

/// The next 8 of n numbers that are left of a row; 0 beyond.
template <class T>
__device__ void load_piece(float (&v)[kPiece], const T* x, int64_t n, bool aligned) {
  if (aligned && n >= kPiece) {
    load_vector(v, x);
  } else {
#pragma unroll
    for (int j = 0; j < kPiece; j++) v[j] = j < n ? load(x + j) : 0.0f;
  }
}
template <class T>
__device__ void store_piece(T* out, const float (&v)[kPiece], int64_t n, bool aligned) {
  if (aligned && n >= kPiece) {
    store_vector(out, v);
  } else {
#pragma unroll
    for (int j = 0; j < kPiece; j++)
      if (j < n) store(out + j, v[j]);
  }
}

/// A grid of a thread for each piece of each row, and what such a thread calls: f(row, column, columns left).
inline constexpr int kRowsPerBlock = 4;
inline dim3 piece_grid(int64_t rows, int64_t cols) {
  const int64_t across = (cols + kColumnsOfWarp - 1) / kColumnsOfWarp, most = 65535;
  return dim3(unsigned((rows + kRowsPerBlock - 1) / kRowsPerBlock), unsigned(across < most ? across : most));
}
inline dim3 piece_block() { return dim3(kWarp, kRowsPerBlock); }
template <class F>
__device__ void for_piece(int64_t rows, int64_t cols, F f) {
  const int64_t row = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.y;
  if (row >= rows) return;
  for (int64_t c = (int64_t(blockIdx.y) * kWarp + threadIdx.x) * kPiece; c < cols; c += gridDim.y * kColumnsOfWarp)
    f(row, c, cols - c);
}

/// The threads of a block that has one row: what a sum's order depends on, so a function of cols alone.
inline unsigned threads_of_row(int64_t cols) { return cols <= 4 * kColumnsOfWarp ? kWarp : 8 * kWarp; }
/// Each of the block's threads takes every blockDim.x-th piece of the row: f(column, columns left).
template <class F>
__device__ void for_pieces_of_row(int64_t cols, F f) {
  for (int64_t c = int64_t(threadIdx.x) * kPiece; c < cols; c += int64_t(blockDim.x) * kPiece) f(c, cols - c);
}

__device__ inline float sum_piece(const float (&v)[kPiece]) {
  return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}
/// Σ (v - center)² over the first n
__device__ inline float sum_squares_piece(const float (&v)[kPiece], float center, int64_t n) {
  float even = 0.0f, odd = 0.0f;
#pragma unroll
  for (int j = 0; j < kPiece; j += 2) {
    const float a = j < n ? v[j] - center : 0.0f, b = j + 1 < n ? v[j + 1] - center : 0.0f;
    even = fmaf(a, a, even), odd = fmaf(b, b, odd);
  }
  return even + odd;
}

/// gelu, which everybody asks for, is chosen once for all of them; the others take turns in v[0], since only registers
/// that are named at compile time are registers.
template <int V>
__device__ inline void activate_all(float (&v)[V], Act activation) {
  constexpr Act kGelu = Act(int64_t(Activation::gelu)), kNone = Act(int64_t(Activation::none));
  if (activation == kGelu) {
#pragma unroll
    for (int k = 0; k < V; k++) v[k] = activate(v[k], kGelu);
  } else if (activation != kNone) {
#pragma unroll 1
    for (int k = 0; k < V; k++) {
      const float y = activate(v[0], activation);
#pragma unroll
      for (int i = 1; i < V; i++) v[i - 1] = v[i];
      v[V - 1] = y;
    }
  }
}

/// Calls f.operator()<T, 8>() where rows of `cols` numbers at all `pointers` can be read 8 at a time, else
/// with 1.
template <class F>
int with_vectors(Type type, int64_t cols, std::initializer_list<const void*> pointers, F f) {
  bool vectors = cols % 8 == 0;
  for (const void* p : pointers) vectors = vectors && aligned_rows<char>(p, 0);
  return with_type(type,
                   [&]<class T>() { return vectors ? f.template operator()<T, 8>() : f.template operator()<T, 1>(); });
}

}  // namespace caracal::kernels::cuda
