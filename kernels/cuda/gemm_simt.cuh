// A product without tensor cores: in float32, and of what mma.sync cannot take.
#pragma once

#include <caracal/kernels/cuda/gemm.cuh>

namespace caracal::kernels::cuda {

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

  float(&result)[kRs][kCs] = either<Tile::kTotals>(totals, sums);
  if (!whole_sums<kRs * kCs>(p, reinterpret_cast<float*>(result))) return;

  // As in mma_kernel, 4 rows of a warp at a time.
  float* out = shared + warp * 4 * Tile::kPitch;
#pragma unroll 1
  for (int turn = 0; turn < kRs; turn++) {
#pragma unroll
    for (int r = 0; r < kRs; r++) {
      if (r == turn) {
#pragma unroll
        for (int c = 0; c < kCs; c += 4) {
          const float* from = &result[r][c];
          *reinterpret_cast<float4*>(out + lane / 8 * Tile::kPitch + c * 8 + lane_col) = {from[0], from[1], from[2],
                                                                                          from[3]};
        }
      }
    }
    __syncwarp();
    if (lane < Tile::kWarpCols / 2) {
      const int row = lane / (Tile::kWarpCols / 8), col = lane % (Tile::kWarpCols / 8) * 8;
      const int in_c = row0 + warp_row + turn / kRun * 4 * kRun + row * kRun + turn % kRun;
      if (in_c < count) finish(p.epilogue, out + row * Tile::kPitch + col, in_c, col0 + warp_col + col, group);
    }
    __syncwarp();
  }
  norm_if_whole<Tile::kRows>(p);
}

}  // namespace caracal::kernels::cuda
