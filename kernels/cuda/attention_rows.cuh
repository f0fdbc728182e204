// What both kinds of attention kernels share: which keys a row sees, and where its numbers are.
#pragma once

#include <caracal/kernels/cuda/sequences.cuh>

namespace caracal::kernels::cuda {

constexpr int kHeadSlice = 64;  // columns of a head that a tile holds
constexpr float kLog2e = 1.44269504f;

/// Never fused into an addition: all instances of a kernel must round alike.
__device__ inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

/// The first visible_keys of a sequence's keys are seen by its row `row`. causal_rows as q_lengths, or negative.
__host__ __device__ inline int visible_keys(int row, int keys, int causal_rows) {
  if (causal_rows < 0) return keys;
  const int seen = keys - causal_rows + row + 1;
  return row >= causal_rows || seen < 0 ? 0 : seen;
}

/// The most that one of the rows first to first + rows sees.
__host__ __device__ inline int most_visible_keys(int first, int rows, int keys, int causal_rows) {
  const int last = causal_rows < 0 || first + rows <= causal_rows ? first + rows - 1 : causal_rows - 1;
  return last < first ? 0 : visible_keys(last, keys, causal_rows);
}

/// One block of rows, one head.
template <class T>
struct AttentionRows {
  RowBlock at;
  int keys, causal_rows, seen;
  const T *q, *k, *v;  // first row of the block; first key
  int64_t scores;      // of the block's first row, in bias and probs

  /// Where the block's first row goes.
  __device__ T* out(const AttentionArgs& a) const {
    return static_cast<T*>(a.out) + (at.begin + at.first) * a.ldo + int64_t(blockIdx.y) * a.head_dim;
  }
  /// Keys that row `row` of the block sees.
  __device__ int visible(int row) const { return row < at.rows ? visible_keys(at.first + row, keys, causal_rows) : 0; }
};

template <class T, int kRows>
__device__ inline AttentionRows<T> find_rows(const AttentionArgs& a) {
  AttentionRows<T> r;
  r.at = find_block<kRows>(a.q_offsets, a.batch, blockIdx.x);
  const int64_t b = r.at.sequence, head = blockIdx.y, row = r.at.begin + r.at.first;
  const int64_t key = a.k_offsets[b];  // asked for together, and before it is known that they are needed
  r.keys = int(a.k_lengths[b]);
  if (r.at.rows == 0) return r;
  r.causal_rows = a.q_lengths != nullptr ? int(a.q_lengths[b]) : -1;
  r.seen = most_visible_keys(r.at.first, r.at.rows, r.keys, r.causal_rows);
  r.q = static_cast<const T*>(a.q) + row * a.ldq + head * a.head_dim;
  r.k = static_cast<const T*>(a.k) + key * a.ldk + head * a.head_dim;
  r.v = static_cast<const T*>(a.v) + key * a.ldk + head * a.head_dim;
  r.scores = 0;
  if (a.scores != nullptr) r.scores = a.scores[b] + (head * (r.at.end - r.at.begin) + r.at.first) * r.keys;
  return r;
}

}  // namespace caracal::kernels::cuda
