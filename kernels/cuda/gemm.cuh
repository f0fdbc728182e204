// c = epilogue(rows · wᵀ), where rows are those of a matrix (gemm.cu) or windows (convolution.cu): the two kernels, on
// tensor cores and without.
#pragma once

#include <caracal/kernels/cuda/gemm_plan.h>
#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

/// The rows of a matrix, as an operand. An operand hands each thread a Walk over `Count` rows, `Step` apart. seek(k)
/// does once what all rows share; at() then says where number k of row i is, or false: it is to be read as 0.
template <class T>
struct MatrixRows {
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

/// What becomes of the sums. With `partial` they are only left there: slice by slice, rows of ldp.
template <class T>
struct Epilogue {
  T* c;
  const float* bias;
  const T* residual;
  float* partial;
  int64_t ldc, ldr, ldp;
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
};

inline int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }
/// Rows of the sums of slices in scratch.
inline int64_t partial_pitch(int64_t n) { return round_up(n, 8); }

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
__device__ void finish(const Epilogue<T>& e, float* sums, int row, int col, int group, int slice) {
  if (col >= e.cols) return;
  float v[8];
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = sums[i];
  if (e.partial) {
    float* to = e.partial + (int64_t(slice) * e.rows + row) * e.ldp + col;  // rows end in a multiple of 8
    store8(to, v);
    return;
  }
  const int count = e.cols - col < 8 ? e.cols - col : 8;
  const int64_t at = int64_t(group) * e.cols + col;
  const bool whole = e.vector && count == 8;
  if (e.bias) {
    float b[8] = {};
    if (whole) {
      load8(e.bias + at, b);
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
      load8(from, r);
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
    store8(to, v);
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

template <int Rows, int Cols, int WarpRows, int WarpCols, int Depth, int Stages, int Blocks, bool Totals>
struct MmaTile {
  static constexpr int kRows = Rows, kCols = Cols, kWarpRows = WarpRows, kWarpCols = WarpCols;
  static constexpr int kDepth = Depth, kStages = Stages, kBlocks = Blocks;  // kBlocks: a multiprocessor at least
  static constexpr bool kTotals = Totals;
  static constexpr int kThreads = 32 * (Rows / WarpRows) * (Cols / WarpCols);
  static constexpr int kChunks = Depth / 8, kStep = kThreads / kChunks;  // threads copy kStep rows at once
  static constexpr int kStage = (Rows + Cols) * Depth;                   // numbers
  static constexpr int kPitch = WarpCols + 8;                            // of 16 rows of sums on their way out
  static constexpr size_t kCopies = Stages * kStage * 2, kSums = kThreads / 32 * 16 * kPitch * sizeof(float);
  static constexpr size_t kShared = kCopies > kSums ? kCopies : kSums;
  static_assert(Rows % kStep == 0 && Cols % kStep == 0 && kStep % 8 == 0);
};
using Mma128x128 = MmaTile<128, 128, 64, 64, 32, 3, 2, false>;
using Mma128x64 = MmaTile<128, 64, 64, 32, 32, 4, 2, true>;
using Mma64x64 = MmaTile<64, 64, 32, 32, 64, 4, 3, true>;
using Mma32x32 = MmaTile<32, 32, 16, 16, 64, 6, 4, true>;
using Mma16x32 = MmaTile<16, 32, 16, 16, 64, 8, 4, true>;

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <class T>
inline constexpr bool kHasMma = std::is_same_v<T, half>;
#else
template <class T>
inline constexpr bool kHasMma = true;
#endif

/// One tile of c on tensor cores. Rows of both operands are cut into steps of kDepth numbers; a step's copies are in
/// flight kStages - 1 steps ahead.
template <class T, class Tile, class Rows>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    mma_kernel(const __grid_constant__ Product<T, Rows> p) {
  if constexpr (kHasMma<T>) {
    constexpr int kChunks = Tile::kChunks, kStep = Tile::kStep, kSteps = Tile::kDepth / 16;
    constexpr int kMs = Tile::kWarpRows / 16, kNs = Tile::kWarpCols / 8;
    CARACAL_SHARED(T, shared);
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const int row0 = int(blockIdx.x) * Tile::kRows, col0 = int(blockIdx.y) * Tile::kCols;
    const int group = p.split ? 0 : int(blockIdx.z), slice = p.split ? int(blockIdx.z) : 0;
    const int begin = slice * p.slice, end = p.split && p.k - begin > p.slice ? begin + p.slice : p.k;
    const T* w = p.w + int64_t(group) * p.epilogue.cols * p.k;

    start_next();
    if (blockIdx.x == 0) prefetch_w(p, w, col0, Tile::kCols, begin, end);
    wait_for_previous();
    const int count = p.rows.count();
    if (row0 >= count) return;

    const int copied_row = thread / kChunks, chunk = thread % kChunks;
    const typename Rows::template Walk<Tile::kRows / kStep, kStep> a(p.rows, row0 + copied_row, group);
    const typename MatrixRows<T>::template Walk<Tile::kCols / kStep, kStep> b({w, p.k, p.epilogue.cols},
                                                                              col0 + copied_row, 0);
    T* const copied = shared + swizzled<kChunks>(copied_row, chunk) * 8;
    auto copy = [&](int stage, int k) {
      T* to = copied + stage * Tile::kStage;
      const bool inside = k + chunk * 8 < end;
      const T* from;
      const auto tap = a.seek(k + chunk * 8);
#pragma unroll
      for (int i = 0; i < Tile::kRows / kStep; i++) {
        const bool valid = a.at(i, tap, from) && inside;
        cp_async_16(to + i * kStep * kChunks * 8, from, valid);
      }
      to += Tile::kRows * Tile::kDepth;
#pragma unroll
      for (int i = 0; i < Tile::kCols / kStep; i++) {
        const bool valid = b.at(i, k + chunk * 8, from) && inside;
        cp_async_16(to + i * kStep * kChunks * 8, from, valid);
      }
    };

    // Fragments: A 16x16 as ldmatrix lays out {rows 0-7, rows 8-15} x {k 0-7, k 8-15}; B two 8x16 as {k 0-7, k 8-15} x
    // {columns 0-7, 8-15}. w is (n, k): already the column-major B that mma.sync takes.
    constexpr int kWarpsAcross = Tile::kCols / Tile::kWarpCols;
    const int warp_row = warp / kWarpsAcross * Tile::kWarpRows, warp_col = warp % kWarpsAcross * Tile::kWarpCols;
    const int a_row = warp_row + lane % 16, a_chunk = lane / 16;
    const int b_row = warp_col + lane / 16 * 8 + lane % 8, b_chunk = lane / 8 % 2;
    float sums[kMs][kNs][4] = {};
    float totals[Tile::kTotals ? kMs : 1][Tile::kTotals ? kNs : 1][4] = {};
    uint32_t fa[2][kMs][4], fb[2][kNs][2];
    auto fragments = [&](int stage, int step) {
      const T *at = shared + stage * Tile::kStage, *bt = at + Tile::kRows * Tile::kDepth;
#pragma unroll
      for (int m = 0; m < kMs; m++) {
        ldmatrix_x4(fa[step % 2][m], at + swizzled<kChunks>(a_row + m * 16, step * 2 + a_chunk) * 8);
      }
#pragma unroll
      for (int n = 0; n < kNs; n += 2) {
        uint32_t two[4];
        ldmatrix_x4(two, bt + swizzled<kChunks>(b_row + n * 8, step * 2 + b_chunk) * 8);
        fb[step % 2][n][0] = two[0], fb[step % 2][n][1] = two[1];
        fb[step % 2][n + 1][0] = two[2], fb[step % 2][n + 1][1] = two[3];
      }
    };

    const int copies = (end - begin + Tile::kDepth - 1) / Tile::kDepth;
#pragma unroll
    for (int i = 0; i < Tile::kStages - 1; i++) {
      if (i < copies) copy(i, begin + i * Tile::kDepth);
      cp_async_commit();
    }
    int stage = 0, free_stage = Tile::kStages - 1, slice_end = begin + p.slice;
#pragma unroll 1
    for (int i = 0, k = begin; i < copies; i++, k += Tile::kDepth) {
      cp_async_wait<Tile::kStages - 2>();
      __syncthreads();
      if (i + Tile::kStages - 1 < copies) copy(free_stage, k + (Tile::kStages - 1) * Tile::kDepth);
      cp_async_commit();
      fragments(stage, 0);
#pragma unroll
      for (int step = 0; step < kSteps; step++) {
        if (step + 1 < kSteps) fragments(stage, step + 1);
#pragma unroll
        for (int m = 0; m < kMs; m++) {
#pragma unroll
          for (int n = 0; n < kNs; n++) {
            mma_16x8x16<T>(sums[m][n], fa[step % 2][m], fb[step % 2][n]);
          }
        }
      }
      if constexpr (Tile::kTotals) {
        if (k + Tile::kDepth == slice_end || i + 1 == copies) {
          slice_end += p.slice;
#pragma unroll
          for (int m = 0; m < kMs; m++) {
#pragma unroll
            for (int n = 0; n < kNs; n++) {
#pragma unroll
              for (int j = 0; j < 4; j++) totals[m][n][j] += sums[m][n][j], sums[m][n][j] = 0;
            }
          }
        }
      }
      stage = stage + 1 == Tile::kStages ? 0 : stage + 1;
      free_stage = free_stage + 1 == Tile::kStages ? 0 : free_stage + 1;
    }
    cp_async_wait<0>();
    __syncthreads();

    // Each warp's sums go through shared memory, 16 rows at a time, so that a lane has 8 neighbours of one row, and the
    // epilogue is in the program once.
    float* out = reinterpret_cast<float*>(shared) + warp * 16 * Tile::kPitch;
#pragma unroll 1
    for (int turn = 0; turn < kMs; turn++) {
#pragma unroll
      for (int m = 0; m < kMs; m++) {
        if (m == turn) {
#pragma unroll
          for (int n = 0; n < kNs; n++) {
            const float* from = Tile::kTotals ? totals[Tile::kTotals ? m : 0][Tile::kTotals ? n : 0] : sums[m][n];
            float* to = out + lane / 4 * Tile::kPitch + n * 8 + lane % 4 * 2;
            *reinterpret_cast<float2*>(to) = {from[0], from[1]};
            *reinterpret_cast<float2*>(to + 8 * Tile::kPitch) = {from[2], from[3]};
          }
        }
      }
      __syncwarp();
#pragma unroll 1
      for (int i = lane; i < 16 * Tile::kWarpCols / 8; i += 32) {
        const int row = i / (Tile::kWarpCols / 8), col = i % (Tile::kWarpCols / 8) * 8;
        const int in_c = row0 + warp_row + turn * 16 + row;
        if (in_c < count) finish(p.epilogue, out + row * Tile::kPitch + col, in_c, col0 + warp_col + col, group, slice);
      }
      __syncwarp();
    }
  }
}

template <int Rows, int Cols, int ThreadRows, int ThreadCols, int Blocks, bool Totals>
struct SimtTile {
  static constexpr int kRows = Rows, kCols = Cols, kThreadRows = ThreadRows, kThreadCols = ThreadCols;
  static constexpr int kBlocks = Blocks;
  static constexpr bool kTotals = Totals;
  static constexpr int kDepth = 16, kThreads = Rows / ThreadRows * (Cols / ThreadCols);
  static constexpr int kWarpRows = 4 * ThreadRows, kWarpCols = 8 * ThreadCols;  // lanes are 4 x 8
  static constexpr int kStep = kThreads / 4;  // rows that are copied at once, four numbers a thread
  static constexpr int kCopiesA = (Rows + kStep - 1) / kStep, kCopiesB = (Cols + kStep - 1) / kStep;
  static constexpr int kPitch = kWarpCols + 8;
  static constexpr size_t kCopies = 2 * (Rows + Cols) * kDepth * sizeof(float);
  static constexpr size_t kSums = kThreads / 32 * 4 * kPitch * sizeof(float);
  static constexpr size_t kShared = kCopies > kSums ? kCopies : kSums;
  static_assert(Rows % kStep == 0 && Cols % kStep == 0);
};
using Simt128x128 = SimtTile<128, 128, 8, 8, 1, false>;
using Simt64x64 = SimtTile<64, 64, 4, 4, 2, true>;
using Simt32x32 = SimtTile<32, 32, 2, 4, 4, true>;

/// Numbers [k, k + 4) of a thread's rows, as float32; 0 from `end` on. vector: all four or none are there, side by
/// side.
template <class T, int Count, class Walk>
__device__ void fetch_rows(float (&to)[Count][4], const Walk& walk, int k, int end, bool vector) {
  const T* from;
  if constexpr (std::is_same_v<T, float>) {
    if (vector) {
      const auto tap = walk.seek(k);
#pragma unroll
      for (int i = 0; i < Count; i++) {
        float4 v = {0, 0, 0, 0};
        if (walk.at(i, tap, from) && k < end) v = *reinterpret_cast<const float4*>(from);
        to[i][0] = v.x, to[i][1] = v.y, to[i][2] = v.z, to[i][3] = v.w;
      }
      return;
    }
  }
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const auto tap = walk.seek(k + j);
#pragma unroll
    for (int i = 0; i < Count; i++) to[i][j] = walk.at(i, tap, from) && k + j < end ? load(from) : 0.0f;
  }
}

/// Count (2 or 4) floats that lie side by side in shared memory, aligned as a vector.
template <int Count>
__device__ void load_run(float* to, const float* from) {
  if constexpr (Count == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    static_assert(Count == 2);
    const float2 v = *reinterpret_cast<const float2*>(from);
    to[0] = v.x, to[1] = v.y;
  }
}

/// One tile of c with float32 fused multiply-adds: each sum of a slice one chain in ascending k.
template <class T, class Tile, class Rows>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    simt_kernel(const __grid_constant__ Product<T, Rows> p) {
  constexpr int kRs = Tile::kThreadRows, kCs = Tile::kThreadCols, kDepth = Tile::kDepth;
  CARACAL_SHARED(float, shared);
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int row0 = int(blockIdx.x) * Tile::kRows, col0 = int(blockIdx.y) * Tile::kCols;
  const int group = p.split ? 0 : int(blockIdx.z), slice = p.split ? int(blockIdx.z) : 0;
  const int begin = slice * p.slice, end = p.split && p.k - begin > p.slice ? begin + p.slice : p.k;
  const T* w = p.w + int64_t(group) * p.epilogue.cols * p.k;

  start_next();
  if (blockIdx.x == 0 && p.vector_w) prefetch_w(p, w, col0, Tile::kCols, begin, end);
  wait_for_previous();
  const int count = p.rows.count();
  if (row0 >= count) return;

  const int copied_row = thread / 4, copied_k = thread % 4 * 4;
  const typename Rows::template Walk<Tile::kCopiesA, Tile::kStep> a(p.rows, row0 + copied_row, group);
  const typename MatrixRows<T>::template Walk<Tile::kCopiesB, Tile::kStep> b({w, p.k, p.epilogue.cols},
                                                                             col0 + copied_row, 0);
  float next_a[Tile::kCopiesA][4], next_b[Tile::kCopiesB][4];
  auto fetch = [&](int k) {
    fetch_rows<T>(next_a, a, k + copied_k, end, p.vector_a);
    fetch_rows<T>(next_b, b, k + copied_k, end, p.vector_w);
  };
  auto keep = [&](int stage) {
    float *at = shared + stage * (Tile::kRows + Tile::kCols) * kDepth, *bt = at + Tile::kRows * kDepth;
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
      for (int i = 0; i < Tile::kCopiesA; i++) {
        at[transposed<Tile::kRows>(copied_row + i * Tile::kStep, copied_k + j)] = next_a[i][j];
      }
#pragma unroll
      for (int i = 0; i < Tile::kCopiesB; i++) {
        bt[transposed<Tile::kCols>(copied_row + i * Tile::kStep, copied_k + j)] = next_b[i][j];
      }
    }
  };

  // A lane's rows are in runs of up to 4, as are its columns; the runs of the 4 (8) lanes side by side.
  constexpr int kRun = kRs < 4 ? kRs : 4;
  constexpr int kWarpsAcross = Tile::kCols / Tile::kWarpCols;
  const int warp_row = warp / kWarpsAcross * Tile::kWarpRows, warp_col = warp % kWarpsAcross * Tile::kWarpCols;
  const int lane_row = lane / 8 * kRun, lane_col = lane % 8 * 4;
  float sums[kRs][kCs] = {};
  float totals[Tile::kTotals ? kRs : 1][Tile::kTotals ? kCs : 1] = {};

  const int copies = (end - begin + kDepth - 1) / kDepth;
  if (copies > 0) {
    fetch(begin);
    keep(0);
  }
  __syncthreads();
  int slice_end = begin + p.slice;
#pragma unroll 1
  for (int i = 0, k = begin; i < copies; i++, k += kDepth) {
    if (i + 1 < copies) fetch(k + kDepth);
    const float *at = shared + i % 2 * (Tile::kRows + Tile::kCols) * kDepth, *bt = at + Tile::kRows * kDepth;
#pragma unroll
    for (int j = 0; j < kDepth; j++) {
      float x[kRs], y[kCs];
#pragma unroll
      for (int r = 0; r < kRs; r += kRun) {
        load_run<kRun>(x + r, at + transposed<Tile::kRows>(warp_row + r * 4 + lane_row, j));
      }
#pragma unroll
      for (int c = 0; c < kCs; c += 4) {
        load_run<4>(y + c, bt + transposed<Tile::kCols>(warp_col + c * 8 + lane_col, j));
      }
#pragma unroll
      for (int r = 0; r < kRs; r++) {
#pragma unroll
        for (int c = 0; c < kCs; c++) sums[r][c] = fmaf(x[r], y[c], sums[r][c]);
      }
    }
    if constexpr (Tile::kTotals) {
      if (k + kDepth == slice_end || i + 1 == copies) {
        slice_end += p.slice;
#pragma unroll
        for (int r = 0; r < kRs; r++) {
#pragma unroll
          for (int c = 0; c < kCs; c++) totals[r][c] += sums[r][c], sums[r][c] = 0;
        }
      }
    }
    if (i + 1 < copies) keep((i + 1) % 2);
    __syncthreads();
  }

  // As in mma_kernel, 4 rows of a warp at a time.
  float* out = shared + warp * 4 * Tile::kPitch;
#pragma unroll 1
  for (int turn = 0; turn < kRs; turn++) {
#pragma unroll
    for (int r = 0; r < kRs; r++) {
      if (r == turn) {
#pragma unroll
        for (int c = 0; c < kCs; c += 4) {
          const float* from = Tile::kTotals ? &totals[Tile::kTotals ? r : 0][Tile::kTotals ? c : 0] : &sums[r][c];
          *reinterpret_cast<float4*>(out + lane / 8 * Tile::kPitch + c * 8 + lane_col) = {from[0], from[1], from[2],
                                                                                          from[3]};
        }
      }
    }
    __syncwarp();
    if (lane < Tile::kWarpCols / 2) {
      const int row = lane / (Tile::kWarpCols / 8), col = lane % (Tile::kWarpCols / 8) * 8;
      const int in_c = row0 + warp_row + turn / kRun * 4 * kRun + row * kRun + turn % kRun;
      if (in_c < count) finish(p.epilogue, out + row * Tile::kPitch + col, in_c, col0 + warp_col + col, group, slice);
    }
    __syncwarp();
  }
}

template <class T, class Tile, class Rows>
int launch_tile(Stream stream, const Product<T, Rows>& p, int64_t capacity, int64_t depth) {
  const dim3 grid(unsigned((capacity + Tile::kRows - 1) / Tile::kRows),
                  unsigned((p.epilogue.cols + Tile::kCols - 1) / Tile::kCols), unsigned(depth));
  if constexpr (requires { Tile::kStages; }) {
    return launch(stream, mma_kernel<T, Tile, Rows>, grid, dim3(Tile::kThreads), Tile::kShared, p);
  } else {
    return launch(stream, simt_kernel<T, Tile, Rows>, grid, dim3(Tile::kThreads), Tile::kShared, p);
  }
}

/// Launches the tile of a plan, one of the set `Tiles` (as in plan_product), the only ones that are compiled. capacity:
/// rows of c; depth: groups, or slices of a split product.
template <unsigned Tiles, class T, class Rows>
int launch_mma(Stream stream, int64_t tile, const Product<T, Rows>& p, int64_t capacity, int64_t depth) {
  if constexpr (Tiles & 1) {
    if (tile == 0) return launch_tile<T, Mma128x128>(stream, p, capacity, depth);
  }
  if constexpr (Tiles & 2) {
    if (tile == 1) return launch_tile<T, Mma128x64>(stream, p, capacity, depth);
  }
  if constexpr (Tiles & 4) {
    if (tile == 2) return launch_tile<T, Mma64x64>(stream, p, capacity, depth);
  }
  if constexpr (Tiles & 8) {
    if (tile == 3) return launch_tile<T, Mma32x32>(stream, p, capacity, depth);
  }
  if constexpr (Tiles & 16) {
    if (tile == 4) return launch_tile<T, Mma16x32>(stream, p, capacity, depth);
  }
  return int(cudaErrorInvalidValue);
}
template <unsigned Tiles, class T, class Rows>
int launch_simt(Stream stream, int64_t tile, const Product<T, Rows>& p, int64_t capacity, int64_t depth) {
  if constexpr (Tiles & 1) {
    if (tile == 0) return launch_tile<T, Simt128x128>(stream, p, capacity, depth);
  }
  if constexpr (Tiles & 2) {
    if (tile == 1) return launch_tile<T, Simt64x64>(stream, p, capacity, depth);
  }
  if constexpr (Tiles & 4) {
    if (tile == 2) return launch_tile<T, Simt32x32>(stream, p, capacity, depth);
  }
  return int(cudaErrorInvalidValue);
}

/// The tiles that plans may name.
template <class T>
inline constexpr unsigned kSimtTileSet = std::is_same_v<T, float> ? 7 : 2;

inline bool aligned(const void* p) { return uintptr_t(p) % 16 == 0; }

/// Whether the device's tensor cores multiply a type and add in float32: sm_75 knows no bfloat16.
inline bool mma_knows(Type type) { return type == Type::f16 || (type == Type::bf16 && current_device().major >= 8); }

}  // namespace caracal::kernels::cuda
