// c = epilogue(rows · wᵀ), where rows are those of a matrix (gemm.cu) or windows (convolution.cu): what the two
// kernels, on tensor cores (gemm_mma.cuh) and without (gemm_simt.cuh), have in common.
#pragma once

#include <caracal/kernels/cuda/gemm_plan.h>
#include <caracal/kernels/cuda/gemm_together.cuh>

namespace caracal::kernels::cuda {

/// The rows of a matrix, as an operand. An operand hands each thread a Walk over `Count` rows, `Step` apart. seek(k)
/// does once what all rows share; at() then says where number k of row i is, or false: it is to be read as 0.
template <class T>
struct MatrixRows {
  static constexpr bool kTogether = true;  // blocks finish what others began (gemm_together.cuh)
  const T* a;
  int64_t lda;
  int rows;

  __device__ int count() const { return rows; }

  template <int Count, int Step>
  struct Walk {
    const T* first;
    int64_t lda;
    int left;
    __device__ Walk(const MatrixRows& m, int row, int /*group*/)
        : first(m.a + int64_t(row) * m.lda), lda(m.lda), left(m.rows - row) {}
    __device__ int64_t seek(int k) const { return k; }
    __device__ bool at(int i, int64_t k, const T*& p) const {
      p = first + int64_t(i) * Step * lda + k;
      return i * Step < left;
    }
  };
};

/// What becomes of the sums.
template <class T>
struct Epilogue {
  T* c;
  const float* bias;
  const T* residual;
  int64_t ldc, ldr;
  int rows, cols;  // cols: of one group; those of group g come after those of g - 1
  Act activation;
  bool residual_first;
  bool vector;  // everything that 8 columns from a multiple of 8 on touch is 16-byte aligned
};

template <class T, class Rows>
struct Product {
  Rows rows;
  const T* w;               // (groups, cols, k)
  int k, slice;             // slice: length of the slices that k is cut into
  bool split;               // blockIdx.z is a slice, else a group
  bool vector_a, vector_w;  // of whole, aligned 16-byte pieces
  Epilogue<T> epilogue;
  float* scratch;      // of a split product
  unsigned* counters;  // three for each block of rows, if they are normalised; then one for each tile, if it is split
  Norm<T> norm;
};

inline int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

/// Activates 8 numbers. The usual functions are written out; of the others there is one copy, which goes through
/// memory, so that kernels stay small.
template <Activation kActivation>
__device__ inline void activate_as(float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = activate(v[i], Act(int64_t(kActivation)));
}
__device__ inline void activate_all(float (&v)[8], float* memory, Act activation) {
  switch (Activation(int(int64_t(activation)))) {
    case Activation::none: break;
    case Activation::relu: activate_as<Activation::relu>(v); break;
    case Activation::gelu: activate_as<Activation::gelu>(v); break;
    case Activation::gelu_tanh: activate_as<Activation::gelu_tanh>(v); break;
    default:
#pragma unroll
      for (int i = 0; i < 8; i++) memory[i] = v[i];
#pragma unroll 1
      for (int i = 0; i < 8; i++) memory[i] = activate(memory[i], activation);
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = memory[i];
  }
}

/// Epilogue of 8 neighbouring sums in shared memory, from (row, col) on; those beyond the last column are dropped.
template <class T>
__device__ void finish(const Epilogue<T>& e, float* sums, int row, int col, int group) {
  if (col >= e.cols) return;
  float v[8];
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = sums[i];
  const int count = e.cols - col < 8 ? e.cols - col : 8;
  const int64_t at = int64_t(group) * e.cols + col;
  const bool whole = e.vector && count == 8;
  if (e.bias) {
    float b[8] = {};
    if (whole) {
      load_vector(b, e.bias + at);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (i < count) b[i] = e.bias[at + i];
      }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += b[i];
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += 0.0f;  // never -0, which depends on how many zeros a tile added
  }
  float r[8] = {};
  if (e.residual) {
    const T* from = e.residual + row * e.ldr + at;
    if (whole) {
      load_vector(r, from);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (i < count) r[i] = load(from + i);
      }
    }
  }
  if (e.residual && e.residual_first) {
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += r[i];
  }
  activate_all(v, sums, e.activation);
  if (e.residual && !e.residual_first) {
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += r[i];
  }
  T* to = e.c + row * e.ldc + at;
  if (whole) {
    store_vector(to, v);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i < count) store(to + i, v[i]);
    }
  }
}

/// Asks for rows [first, first + count) of w, numbers [begin, end) of each, to be brought into L2. They never change,
/// so there is no need to wait for anybody.
template <class T, class Rows>
__device__ void prefetch_w(const Product<T, Rows>& p, const T* w, int first, int count, int begin, int end) {
  for (int i = threadIdx.x; i < count && first + i < p.epilogue.cols && begin < end; i += blockDim.x) {
    prefetch_l2(w + int64_t(first + i) * p.k + begin, (end - begin) * sizeof(T));
  }
}

/// The first, or the second, of two arrays.
template <bool kFirst, class A, class B>
__device__ auto& either(A& first, B& second) {
  if constexpr (kFirst) {
    return first;
  } else {
    return second;
  }
}

/// The tile's sums of a split product become those of all slices; false: another block will finish it.
template <int Count, class T, class Rows>
__device__ bool whole_sums(const Product<T, Rows>& p, float* sums) {
  if constexpr (Rows::kTogether) {
    if (p.split) return add_slices<Count>(p.scratch, p.counters + 3 * gridDim.x, sums);
  }
  return true;
}

/// After the tile was written.
template <int TileRows, class T, class Rows>
__device__ void norm_if_whole(const Product<T, Rows>& p) {
  if constexpr (Rows::kTogether) {
    const int row0 = int(blockIdx.x) * TileRows, left = p.epilogue.rows - row0;
    if (p.norm.to) {
      norm_whole_rows(p.norm, p.epilogue.c, p.epilogue.cols, row0, left < TileRows ? left : TileRows, p.counters);
    }
  }
}

}  // namespace caracal::kernels::cuda
