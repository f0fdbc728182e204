// Attention in 16 bits on tensor cores. A block of threads has kRows rows of one head and goes through the keys 128 at
// a time: of these, one half of its warps takes the first 64, the other half the last, each warp for 16 rows, with an
// online softmax of its own; at the end the halves are joined. So where a key is counted depends on its place in its
// sequence alone, and kRows changes no bit. Tiles of 128 keys, K and V in turn, come through a ring of three.
#pragma once

#include <caracal/kernels/cuda/attention_rows.cuh>

namespace caracal::kernels::cuda {

constexpr int kWarpKeys = 64, kStepKeys = 2 * kWarpKeys, kRing = 3;

/// Place of 8 numbers in a tile of rows of 64: no two of 8 rows are in the same banks.
__host__ __device__ constexpr int swizzled(int row, int eighth) {
  return row * kHeadSlice + ((eighth ^ (row & 7)) << 3);
}

/// Numbers of a tile of the ring. With kGeneral a tile's columns of Q come with those of K.
template <int kRows, bool kGeneral>
constexpr int kSlot = (kStepKeys + (kGeneral ? kRows : 0)) * kHeadSlice;
template <int kRows, bool kGeneral>
constexpr size_t kMmaShared = 2 * kRing* size_t(kSlot<kRows, kGeneral>);

/// kTileRows rows of 64 numbers, of which `rows` and `cols` exist; the others are zeros.
template <int kTileRows, int kThreads, class T>
__device__ inline void load_tile(T* tile, const T* from, int64_t ld, int rows, int64_t cols, bool vectors) {
  constexpr int kPassRows = kThreads / 8;
  static_assert(kPassRows % 8 == 0 && kTileRows % kPassRows == 0);
  int row = int(threadIdx.x) / 8;
  const int col = int(threadIdx.x) % 8 * 8, width = cols - col > 8 ? 8 : cols > col ? int(cols) - col : 0;
  T* to = tile + swizzled(row, col / 8);
  const T* x = from + row * ld + col;
#pragma unroll
  for (int i = 0; i < kTileRows / kPassRows; i++) {
    if (vectors) {
      const bool valid = width > 0 && row < rows;
      cp_async_16(to, valid ? x : from, valid);
    } else {
      for (int j = 0; j < 8; j++) {
        if (row < rows && j < width)
          to[j] = x[j];
        else
          store(to + j, 0.0f);
      }
    }
    row += kPassRows;
    to += kPassRows * kHeadSlice;
    x += kPassRows * ld;
  }
}

/// Scores of 16 rows and 64 keys, as the tensor cores leave them: [8 keys][row lane / 4, twice; then that + 8, twice],
/// of the keys 2 (lane % 4) and the next.
using Scores = float[kWarpKeys / 8][4];
/// 16 rows of Q: [16 columns][as mma wants them].
using Queries = uint32_t[kHeadSlice / 16][4];

template <class T>
__device__ inline void load_queries(Queries& q, const T* tile, int row, int lane) {
#pragma unroll
  for (int k = 0; k < kHeadSlice / 16; k++) ldmatrix_x4(q[k], tile + swizzled(row + lane % 16, 2 * k + lane / 16));
}

/// Two numbers in a register, x in the low half.
template <class T>
__device__ inline uint32_t pair(float x, float y) {
  const Pack<T, 2> two = {from_float<T>(x), from_float<T>(y)};
  uint32_t bits;
  memcpy(&bits, &two, sizeof bits);
  return bits;
}

/// s += Q Kᵀ
template <class T>
__device__ inline void add_scores(Scores& s, const Queries& q, const T* tile, int key, int lane, int64_t cols) {
#pragma unroll
  for (int k = 0; k < kHeadSlice / 16; k++) {
    if (k * 16 >= cols) break;
#pragma unroll
    for (int n = 0; n < kWarpKeys / 16; n++) {
      uint32_t b[4];
      ldmatrix_x4(b, tile + swizzled(key + n * 16 + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
      mma_16x8x16<T>(s[2 * n], q[k], {b[0], b[1]});
      mma_16x8x16<T>(s[2 * n + 1], q[k], {b[2], b[3]});
    }
  }
}

/// o += P V
template <class T>
__device__ inline void add_values(Scores& o, const uint32_t (&p)[kWarpKeys / 16][4], const T* tile, int key, int lane,
                                  int64_t cols) {
#pragma unroll
  for (int k = 0; k < kWarpKeys / 16; k++) {
#pragma unroll
    for (int n = 0; n < kHeadSlice / 16; n++) {
      if (n * 16 >= cols) break;
      uint32_t b[4];
      ldmatrix_x4_trans(b, tile + swizzled(key + k * 16 + lane % 16, 2 * n + lane / 16));
      mma_16x8x16<T>(o[2 * n], p[k], {b[0], b[1]});
      mma_16x8x16<T>(o[2 * n + 1], p[k], {b[2], b[3]});
    }
  }
}

/// Of the two rows that a lane has numbers of: the highest score yet, and the lane's part of Σ e^(score - highest).
struct Softmax {
  float highest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};
/// What to subtract from scores: where all are -inf yet, e^(score - it) must be 0.
__device__ inline float finite_highest(float highest) { return highest == -INFINITY ? 0.0f : highest; }

/// Scores become e^(score - highest); o, of the keys before, follows when a higher one is found.
template <bool kBias>
__device__ inline void online_softmax(Softmax& softmax, Scores& s, Scores& o, float scale,
                                      const float* const (&bias)[2], const int (&visible)[2], int key, int lane) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float highest = softmax.highest[half];
#pragma unroll
    for (int n = 0; n < kWarpKeys / 8; n++) {
#pragma unroll
      for (int c = 2 * half; c < 2 * half + 2; c++) {
        const int j = key + n * 8 + lane % 4 * 2 + c % 2;
        float x = -INFINITY;
        if (j < visible[half])
          x = kBias && bias[half] != nullptr ? fmaf(s[n][c], scale, bias[half][j]) : product(s[n][c], scale);
        s[n][c] = x;
        highest = fmaxf(highest, x);
      }
    }
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, 1));
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, 2));
    const float top = finite_highest(highest), shrink = fast_exp2(product(softmax.highest[half] - top, kLog2e));
    softmax.highest[half] = highest;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kWarpKeys / 8; n++) {
#pragma unroll
      for (int c = 2 * half; c < 2 * half + 2; c++) sum += s[n][c] = fast_exp2(product(s[n][c] - top, kLog2e));
    }
    softmax.sum[half] = fmaf(softmax.sum[half], shrink, sum);
#pragma unroll
    for (int n = 0; n < kHeadSlice / 8; n++) {
#pragma unroll
      for (int c = 2 * half; c < 2 * half + 2; c++) o[n][c] = product(o[n][c], shrink);
    }
  }
}

/// Joins what the two halves of the warps found: those of the second hand theirs over in shared memory.
template <int kRows>
__device__ inline void join(Softmax& softmax, Scores& o, float* shared, int half_of_warps) {
  constexpr int kThreads = kRows * 2;  // of a half
  float* mine = shared + threadIdx.x % kThreads;
  __syncthreads();
  if (half_of_warps == 1) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      mine[i * kThreads] = softmax.highest[i];
      mine[(2 + i) * kThreads] = softmax.sum[i];
    }
#pragma unroll
    for (int i = 0; i < 32; i++) mine[(4 + i) * kThreads] = o[i / 4][i % 4];
  }
  __syncthreads();
  if (half_of_warps == 1) return;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float other = mine[i * kThreads], top = finite_highest(fmaxf(softmax.highest[i], other));
    const float own_share = fast_exp2(product(softmax.highest[i] - top, kLog2e));
    const float other_share = fast_exp2(product(other - top, kLog2e));
    softmax.sum[i] = fmaf(mine[(2 + i) * kThreads], other_share, product(softmax.sum[i], own_share));
#pragma unroll
    for (int n = 0; n < kHeadSlice / 8; n++) {
#pragma unroll
      for (int c = 2 * i; c < 2 * i + 2; c++)
        o[n][c] = fmaf(mine[(4 + n * 4 + c) * kThreads], other_share, product(o[n][c], own_share));
    }
  }
}

/// kGeneral: heads of any width, rows that are not 16-byte aligned, biases; a block of threads makes 64 columns of the
/// result.
template <class T, int kRows, bool kGeneral>
__global__ void __launch_bounds__(kRows * 4, kGeneral ? (arch() < 80 ? 2 : 3) : 128 / kRows)
    attend_mma(const __grid_constant__ AttentionArgs a, bool aligned) {
  constexpr int kThreads = kRows * 4;
  CARACAL_SHARED(T, ring);
  wait_for_previous();
  start_next();
  const AttentionRows<T> r = find_rows<T, kRows>(a);
  if (r.at.rows == 0) return;

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, half = warp / (kRows / 16),
            row = warp % (kRows / 16) * 16;
  const bool vectors = !kGeneral || aligned;
  const int slices = kGeneral ? int((a.head_dim + kHeadSlice - 1) / kHeadSlice) : 1, parts = slices + 1;
  const int64_t slice = kGeneral ? int64_t(blockIdx.z) * kHeadSlice : 0, cols = a.head_dim - slice;
  const int steps = (r.seen + kStepKeys - 1) / kStepKeys;

  const auto load = [&](int i) {  // tile i: K, slice by slice, then V
    if (i < steps * parts) {
      T* slot = ring + i % kRing * kSlot<kRows, kGeneral>;
      const int key = i / parts * kStepKeys, part = i % parts, rows = r.keys - key;
      if (part < slices) {
        const int64_t from = int64_t(part) * kHeadSlice;
        load_tile<kStepKeys, kThreads>(slot, r.k + key * a.ldk + from, a.ldk, rows, a.head_dim - from, vectors);
        if (kGeneral)
          load_tile<kRows, kThreads>(slot + kStepKeys * kHeadSlice, r.q + from, a.ldq, r.at.rows, a.head_dim - from,
                                     vectors);
      } else {
        load_tile<kStepKeys, kThreads>(slot, r.v + key * a.ldk + slice, a.ldk, rows, cols, vectors);
      }
    }
    cp_async_commit();
  };
  int tile = 0;
  const auto next = [&] {  // waits for the tile, and fetches the one after the next
    cp_async_wait<1>();
    __syncthreads();
    if (!kGeneral && tile == 0) return;
    load(tile + 2);
  };

  const int rows[2] = {row + lane / 4, row + lane / 4 + 8};
  const int visible[2] = {r.visible(rows[0]), r.visible(rows[1])};
  const float* bias[2] = {};
  if (kGeneral && a.bias != nullptr) {
    for (int i = 0; i < 2; i++) bias[i] = a.bias + r.scores + int64_t(rows[i]) * r.keys;
  }
  const float scale = float(a.scale);
  Queries q;
  Scores o = {};
  Softmax softmax;

  if (!kGeneral && steps > 0)
    load_tile<kRows, kThreads>(ring + 2 * kSlot<kRows, kGeneral>, r.q, a.ldq, r.at.rows, cols, vectors);
  load(0);
  load(1);
  for (int step = 0; step < steps; step++) {
    const int key = step * kStepKeys + half * kWarpKeys;
    const bool any = key < r.seen;
    Scores s = {};
    uint32_t p[kWarpKeys / 16][4];
    for (int part = 0; part < slices; part++, tile++) {
      next();
      const T* slot = ring + tile % kRing * kSlot<kRows, kGeneral>;
      if (kGeneral) load_queries(q, slot + kStepKeys * kHeadSlice, row, lane);
      if (!kGeneral && tile == 0) {  // Q is where the third tile will be
        load_queries(q, ring + 2 * kSlot<kRows, kGeneral>, row, lane);
        __syncthreads();
        load(2);
      }
      if (any) add_scores(s, q, slot, half * kWarpKeys, lane, a.head_dim - part * kHeadSlice);
    }
    if (any) {
      online_softmax<kGeneral>(softmax, s, o, scale, bias, visible, key, lane);
#pragma unroll
      for (int k = 0; k < kWarpKeys / 16; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) p[k][i] = pair<T>(s[2 * k + i / 2][i % 2 * 2], s[2 * k + i / 2][i % 2 * 2 + 1]);
      }
    }
    next();
    if (any) add_values(o, p, ring + tile % kRing * kSlot<kRows, kGeneral>, half * kWarpKeys, lane, cols);
    tile++;
  }

#pragma unroll
  for (int i = 0; i < 2; i++) {
    softmax.sum[i] += __shfl_xor_sync(0xffffffffu, softmax.sum[i], 1);
    softmax.sum[i] += __shfl_xor_sync(0xffffffffu, softmax.sum[i], 2);
  }
  if (r.keys > kWarpKeys) join<kRows>(softmax, o, reinterpret_cast<float*>(ring), half);
  if (half == 1) return;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    if (rows[i] >= r.at.rows) continue;
    const float over_sum = 1.0f / softmax.sum[i];
    T* out = r.out(a) + rows[i] * a.ldo + slice;
#pragma unroll
    for (int n = 0; n < kHeadSlice / 8; n++) {
      const int d = n * 8 + lane % 4 * 2;
      const float x = visible[i] == 0 ? 0.0f : o[n][2 * i] * over_sum;
      const float y = visible[i] == 0 ? 0.0f : o[n][2 * i + 1] * over_sum;
      if (vectors) {
        if (d < cols) *reinterpret_cast<uint32_t*>(out + d) = pair<T>(x, y);
      } else {
        if (d < cols) store(out + d, x);
        if (d + 1 < cols) store(out + d + 1, y);
      }
    }
  }
}

}  // namespace caracal::kernels::cuda
