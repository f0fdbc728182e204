// A product on tensor cores: of 16-bit numbers, or of float32 rounded to TF32. Everything is counted in pieces of 16
// bytes, eight numbers or four: ldmatrix lays out two pieces a row as a step of mma.sync takes them, either way.
#pragma once

#include <caracal/kernels/cuda/gemm.cuh>

namespace caracal::kernels::cuda {

template <int Rows, int Cols, int WarpRows, int WarpCols, int Chunks, int Stages, int Blocks, bool Totals>
struct MmaTile {
  static constexpr int kRows = Rows, kCols = Cols, kWarpRows = WarpRows, kWarpCols = WarpCols;
  static constexpr int kChunks = Chunks, kStages = Stages;  // pieces of a row that are copied in one step
  static constexpr int kBlocks = Blocks;  // whose registers a multiprocessor has, if not their shared memory
  static constexpr bool kTotals = Totals;
  static constexpr int kThreads = 32 * (Rows / WarpRows) * (Cols / WarpCols);
  static constexpr int kStep = kThreads / kChunks;        // threads copy kStep rows at once
  static constexpr int kStage = (Rows + Cols) * kChunks;  // pieces
  static constexpr int kPitch = WarpCols + 8;             // of 16 rows of sums on their way out
  static constexpr size_t kCopies = Stages * kStage * 16, kSums = kThreads / 32 * 16 * kPitch * sizeof(float);
  static constexpr size_t kShared = kCopies > kSums ? kCopies : kSums;
  static_assert(Rows % kStep == 0 && Cols % kStep == 0 && kStep % 8 == 0);
};
using Mma128x128 = MmaTile<128, 128, 64, 64, 4, 3, 2, false>;
using Mma128x64 = MmaTile<128, 64, 64, 32, 4, 4, 2, true>;
using Mma64x64 = MmaTile<64, 64, 32, 32, 8, 4, 3, true>;
using Mma32x32 = MmaTile<32, 32, 16, 16, 8, 6, 4, true>;
using Mma16x32 = MmaTile<16, 32, 16, 16, 8, 8, 4, true>;

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <class T>
inline constexpr bool kHasMma = std::is_same_v<T, half>;
#else
template <class T>
inline constexpr bool kHasMma = true;
#endif

/// d += a · b over two pieces of k. float: the operands are as they were loaded, and rounded here; by each warp, since
/// on its way to shared memory a copy passes no register.
template <class T, int Ms, int Ns>
__device__ void multiply(float (&d)[Ms][Ns][4], uint32_t (&a)[Ms][4], uint32_t (&b)[Ns][2]) {
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int m = 0; m < Ms; m++) {
#pragma unroll
      for (int i = 0; i < 4; i++) a[m][i] = to_tf32(a[m][i]);
    }
#pragma unroll
    for (int n = 0; n < Ns; n++) {
#pragma unroll
      for (int i = 0; i < 2; i++) b[n][i] = to_tf32(b[n][i]);
    }
  }
#pragma unroll
  for (int m = 0; m < Ms; m++) {
#pragma unroll
    for (int n = 0; n < Ns; n++) {
      if constexpr (std::is_same_v<T, float>) {
        mma_16x8x8_tf32(d[m][n], a[m], b[n]);
      } else {
        mma_16x8x16<T>(d[m][n], a[m], b[n]);
      }
    }
  }
}

/// One tile of c on tensor cores. Rows of both operands are cut into steps of kDepth numbers; a step's copies are in
/// flight kStages - 1 steps ahead.
template <class T, class Tile, class Rows>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    mma_kernel(const __grid_constant__ Product<T, Rows> p) {
  if constexpr (kHasMma<T>) {
    constexpr int kNumbers = 16 / sizeof(T);  // of a piece
    constexpr int kChunks = Tile::kChunks, kDepth = kChunks * kNumbers, kStep = Tile::kStep, kSteps = kChunks / 2;
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
    T* const copied = shared + swizzled<kChunks>(copied_row, chunk) * kNumbers;
    auto copy = [&](int stage, int k) {
      T* to = copied + stage * Tile::kStage * kNumbers;
      const bool inside = k + chunk * kNumbers < end;
      const T* from;
      const auto tap = a.seek(k + chunk * kNumbers);
#pragma unroll
      for (int i = 0; i < Tile::kRows / kStep; i++) {
        const bool valid = a.at(i, tap, from) && inside;
        cp_async_16(to + i * kStep * kDepth, from, valid);
      }
      to += Tile::kRows * kDepth;
#pragma unroll
      for (int i = 0; i < Tile::kCols / kStep; i++) {
        const bool valid = b.at(i, k + chunk * kNumbers, from) && inside;
        cp_async_16(to + i * kStep * kDepth, from, valid);
      }
    };

    // Fragments of two pieces of k: A as ldmatrix lays out {rows 0-7, rows 8-15} x {first piece, second}; B two as
    // {first, second} x {columns 0-7, 8-15}. w is (n, k): already the column-major B that mma.sync takes.
    constexpr int kWarpsAcross = Tile::kCols / Tile::kWarpCols;
    const int warp_row = warp / kWarpsAcross * Tile::kWarpRows, warp_col = warp % kWarpsAcross * Tile::kWarpCols;
    const int a_row = warp_row + lane % 16, a_chunk = lane / 16;
    const int b_row = warp_col + lane / 16 * 8 + lane % 8, b_chunk = lane / 8 % 2;
    float sums[kMs][kNs][4] = {};
    float totals[Tile::kTotals ? kMs : 1][Tile::kTotals ? kNs : 1][4] = {};
    uint32_t fa[2][kMs][4], fb[2][kNs][2];
    auto fragments = [&](int stage, int step) {
      const T *at = shared + stage * Tile::kStage * kNumbers, *bt = at + Tile::kRows * kDepth;
#pragma unroll
      for (int m = 0; m < kMs; m++) {
        ldmatrix_x4(fa[step % 2][m], at + swizzled<kChunks>(a_row + m * 16, step * 2 + a_chunk) * kNumbers);
      }
#pragma unroll
      for (int n = 0; n < kNs; n += 2) {
        uint32_t two[4];
        ldmatrix_x4(two, bt + swizzled<kChunks>(b_row + n * 8, step * 2 + b_chunk) * kNumbers);
        fb[step % 2][n][0] = two[0], fb[step % 2][n][1] = two[1];
        fb[step % 2][n + 1][0] = two[2], fb[step % 2][n + 1][1] = two[3];
      }
    };

    const int copies = (end - begin + kDepth - 1) / kDepth;
#pragma unroll
    for (int i = 0; i < Tile::kStages - 1; i++) {
      if (i < copies) copy(i, begin + i * kDepth);
      cp_async_commit();
    }
    int stage = 0, free_stage = Tile::kStages - 1, slice_end = begin + p.slice;
#pragma unroll 1
    for (int i = 0, k = begin; i < copies; i++, k += kDepth) {
      cp_async_wait<Tile::kStages - 2>();
      __syncthreads();
      if (i + Tile::kStages - 1 < copies) copy(free_stage, k + (Tile::kStages - 1) * kDepth);
      cp_async_commit();
      fragments(stage, 0);
#pragma unroll
      for (int step = 0; step < kSteps; step++) {
        if (step + 1 < kSteps) fragments(stage, step + 1);
        multiply<T>(sums, fa[step % 2], fb[step % 2]);
      }
      if constexpr (Tile::kTotals) {
        if (k + kDepth == slice_end || i + 1 == copies) {
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

    float(&result)[kMs][kNs][4] = either<Tile::kTotals>(totals, sums);
    if (!whole_sums<kMs * kNs * 4>(p, reinterpret_cast<float*>(result))) return;

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
            const float* from = result[m][n];
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
        if (in_c < count) finish(p.epilogue, out + row * Tile::kPitch + col, in_c, col0 + warp_col + col, group);
      }
      __syncwarp();
    }
    norm_if_whole<Tile::kRows>(p);
  }
}

}  // namespace caracal::kernels::cuda
