// Attention by float32 arithmetic, for float32, and where tensor cores do not know a type; and the softmax itself, for
// any type, when it is asked for. A block of 128 threads has 32 rows of one head and goes through the keys 64 at a
// time; each thread has 4 rows and 4 keys of the scores, then 4 rows and 4 columns of the result.
#pragma once

#include <caracal/kernels/cuda/attention_rows.cuh>

namespace caracal::kernels::cuda {

constexpr int kSimtRows = 32, kSimtKeys = 64, kSimtThreads = 128;
constexpr int kPitch = kHeadSlice + 4;  // floats between rows of a tile: no two of 8 in the same banks
constexpr int kSimtSlot = (kSimtKeys + kSimtRows) * kPitch;  // K or V, and Q
constexpr size_t kSimtShared = sizeof(float) * size_t(2 * kSimtSlot + kSimtRows * kPitch);

using Four = Pack<float, 4>;

/// kTileRows rows of 64 numbers, of which `rows` and `cols` exist; the others are zeros.
template <int kTileRows, class T>
__device__ inline void load_floats(float* tile, const T* from, int64_t ld, int rows, int64_t cols, bool vectors) {
  for (int item = threadIdx.x; item < kTileRows * kHeadSlice / 4; item += kSimtThreads) {
    const int row = item / (kHeadSlice / 4), col = item % (kHeadSlice / 4) * 4;
    float* to = tile + row * kPitch + col;
    const T* x = from + row * ld + col;
    if (vectors && sizeof(T) == sizeof(float)) {
      const bool valid = row < rows && col < cols;
      cp_async_16(to, valid ? x : from, valid);
    } else {
      for (int j = 0; j < 4; j++) to[j] = row < rows && col + j < cols ? load(x + j) : 0.0f;
    }
  }
}

/// Four rows and four columns of a thread.
using Tile4 = float[4][4];

/// s[i][j] += Q[i] · K[16 j], chains in ascending order of the `cols` columns.
__device__ inline void add_scores(Tile4& s, const float* q, const float* k, int64_t cols) {
  for (int d = 0; d < kHeadSlice; d += 4) {
    if (d >= cols) break;
    Four a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = *reinterpret_cast<const Four*>(q + i * kPitch + d);
#pragma unroll
    for (int j = 0; j < 4; j++) b[j] = *reinterpret_cast<const Four*>(k + 16 * j * kPitch + d);
#pragma unroll
    for (int e = 0; e < 4; e++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = fmaf(a[i].x[e], b[j].x[e], s[i][j]);
      }
    }
  }
}

/// o[i][c] += P[i] · V[.][c], chains in ascending order of keys.
__device__ inline void add_values(Tile4& o, const float* p, const float* v) {
  for (int key = 0; key < kSimtKeys; key += 4) {
    Four a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = *reinterpret_cast<const Four*>(p + i * kPitch + key);
#pragma unroll
    for (int e = 0; e < 4; e++) b[e] = *reinterpret_cast<const Four*>(v + (key + e) * kPitch);
#pragma unroll
    for (int e = 0; e < 4; e++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int c = 0; c < 4; c++) o[i][c] = fmaf(a[i].x[e], b[e].x[c], o[i][c]);
      }
    }
  }
}

/// Over the 16 lanes that have the keys of a row.
__device__ inline float max_of_16(float x) {
  for (int lanes = 1; lanes < 16; lanes *= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
  return x;
}
__device__ inline float sum_of_16(float x) {
  for (int lanes = 1; lanes < 16; lanes *= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

/// kProbs: the softmax itself, to a.probs; the keys are gone through twice. Else its product with V, to a.out.
template <class T, bool kProbs>
__global__ void __launch_bounds__(kSimtThreads) attend_simt(const __grid_constant__ AttentionArgs a, bool vectors) {
  CARACAL_SHARED(float, ring);
  float* probs = ring + 2 * kSimtSlot;  // (rows, keys) of a step
  wait_for_previous();
  start_next();
  const AttentionRows<T> r = find_rows<T, kSimtRows>(a);
  if (r.at.rows == 0) return;

  const int column = threadIdx.x % 16, row = int(threadIdx.x) / 16 * 4;
  const int slices = int((a.head_dim + kHeadSlice - 1) / kHeadSlice), parts = slices + (kProbs ? 0 : 1);
  const int64_t slice = int64_t(blockIdx.z) * kHeadSlice, cols = a.head_dim - slice;
  const int steps = (r.seen + kSimtKeys - 1) / kSimtKeys, tiles = (kProbs ? 2 : 1) * steps * parts;

  const auto load = [&](int i) {  // tile i: K and Q, slice by slice, then V
    if (i < tiles) {
      float* slot = ring + i % 2 * kSimtSlot;
      const int key = i / parts % steps * kSimtKeys, part = i % parts, rows = r.keys - key;
      if (part < slices) {
        const int64_t from = int64_t(part) * kHeadSlice;
        load_floats<kSimtKeys>(slot, r.k + key * a.ldk + from, a.ldk, rows, a.head_dim - from, vectors);
        if (slices > 1 || i == 0)
          load_floats<kSimtRows>(slot + kSimtKeys * kPitch, r.q + from, a.ldq, r.at.rows, a.head_dim - from, vectors);
      } else {
        load_floats<kSimtKeys>(slot, r.v + key * a.ldk + slice, a.ldk, rows, cols, vectors);
      }
    }
    cp_async_commit();
  };
  int tile = 0;
  const auto next = [&] {
    cp_async_wait<0>();
    __syncthreads();
    load(tile + 1);
    return ring + tile++ % 2 * kSimtSlot;
  };

  int visible[4];
#pragma unroll
  for (int i = 0; i < 4; i++) visible[i] = r.visible(row + i);
  const float scale = float(a.scale);
  const auto score = [&](Tile4& s, int key) {  // scaled and biased; -inf where hidden
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) s[i][j] = 0;
    }
    for (int part = 0; part < slices; part++) {
      const float* slot = next();
      const float* q = (slices > 1 ? slot : ring) + (kSimtKeys + row) * kPitch;
      add_scores(s, q, slot + column * kPitch, a.head_dim - part * kHeadSlice);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int at = key + column + 16 * j;
        if (at >= visible[i])
          s[i][j] = -INFINITY;
        else if (a.bias != nullptr)
          s[i][j] = fmaf(s[i][j], scale, a.bias[r.scores + int64_t(row + i) * r.keys + at]);
        else
          s[i][j] = product(s[i][j], scale);
      }
    }
  };

  float highest[4], sum[4];
  Tile4 s, o;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    highest[i] = -INFINITY;
    sum[i] = 0;
#pragma unroll
    for (int c = 0; c < 4; c++) o[i][c] = 0;
  }
  load(0);
  for (int step = 0; step < steps; step++) {
    score(s, step * kSimtKeys);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float before = highest[i];
      float most = before;
#pragma unroll
      for (int j = 0; j < 4; j++) most = fmaxf(most, s[i][j]);
      highest[i] = max_of_16(most);
      // Where all are -inf yet, e^(score - top) must be 0.
      const float top = highest[i] == -INFINITY ? 0.0f : highest[i], shrink = expf(before - top);
      float part = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float e = expf(s[i][j] - top);
        part += e;
        if (!kProbs) probs[(row + i) * kPitch + column + 16 * j] = e;
      }
      sum[i] = fmaf(sum[i], shrink, part);
#pragma unroll
      for (int c = 0; c < 4; c++) o[i][c] = product(o[i][c], shrink);
    }
    if (!kProbs) {
      const float* v = next();
      add_values(o, probs + row * kPitch, v + 4 * column);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) sum[i] = sum_of_16(sum[i]);

  if constexpr (kProbs) {
    for (int key = 0; key < r.keys; key += kSimtKeys) {
      if (key < r.seen) score(s, key);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (row + i >= r.at.rows) continue;
        float* to = a.probs + r.scores + int64_t(row + i) * r.keys;
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int at = key + column + 16 * j;
          if (at < r.keys) to[at] = at < visible[i] ? expf(s[i][j] - highest[i]) / sum[i] : 0.0f;
        }
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (row + i >= r.at.rows) continue;
      T* out = r.out(a) + (row + i) * a.ldo + slice + 4 * column;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        if (4 * column + c < cols) store(out + c, visible[i] == 0 ? 0.0f : o[i][c] / sum[i]);
      }
    }
  }
}

}  // namespace caracal::kernels::cuda
