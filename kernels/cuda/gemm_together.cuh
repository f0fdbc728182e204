// What the blocks of a product do together: the slices of a split product become its sums, and rows of c that are whole
// become their layer norm. Whoever comes last finishes, so that no second kernel has to.
//
// Why it sees what the others wrote: a block's threads write, then meet at a barrier; then one of them passes a fence
// of the device, which is cumulative, and counts the block. Whoever reads the last count passes a fence too, which also
// drops what its multiprocessor's L1 had, and meets its own threads at a barrier; what they load after that are the
// others' numbers. Ordinary loads do, but no ld.global.nc: nothing here may be __restrict__ or go through __ldg.
// Counters are set to 0 behind a fence too: without one, PTX would let a store that only a branch keeps back be seen
// early.
//
// No static shared memory: tiles ask for all that a block may have, 48 KB without being told or 64 KB of sm_75, and
// what is static counts.
//
// Counters are 0 at first, and 0 again when a kernel is done. The next kernel of the stream, even one that began early,
// does not touch them before this one's end (wait_for_previous). One that fails takes the whole context with it.
#pragma once

#include <caracal/kernels/cuda/norm.cuh>

namespace caracal::kernels::cuda {

/// In all threads of the last of `blocks` blocks to call it: true.
__device__ inline bool last_to_arrive(unsigned* counter, unsigned blocks) {
  bool last = false;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(counter, 1u) == blocks - 1;
    if (last) {
      __threadfence();
      *counter = 0;
    }
  }
  return __syncthreads_or(last) != 0;
}

/// `sums`: `Count` numbers of each thread, of slice blockIdx.z. In the block that comes last of a tile they become the
/// sums of all slices, added in ascending order; the others get false. Scratch has them by tile, slice and fours of a
/// thread's numbers.
template <int Count>
__device__ bool add_slices(float* scratch, unsigned* counters, float* sums) {
  constexpr int kFours = Count / 4;
  [[maybe_unused]] constexpr int kAtOnce = Count <= 16 ? 4 : 1;  // slices
  const int64_t tile = blockIdx.x + int64_t(gridDim.x) * blockIdx.y, each = int64_t(kFours) * blockDim.x;
  float4* const first = reinterpret_cast<float4*>(scratch) + tile * gridDim.z * each + threadIdx.x;
  float4* const own = first + blockIdx.z * each;
#pragma unroll
  for (int i = 0; i < kFours; i++) {
    own[i * blockDim.x] = {sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]};
  }
  if (!last_to_arrive(counters + tile, gridDim.z)) return false;
#pragma unroll
  for (int i = 0; i < Count; i++) sums[i] = 0;
#pragma unroll kAtOnce
  for (unsigned slice = 0; slice < gridDim.z; slice++) {
#pragma unroll
    for (int i = 0; i < kFours; i++) {
      const float4 v = first[slice * each + i * blockDim.x];
      sums[4 * i] += v.x, sums[4 * i + 1] += v.y, sums[4 * i + 2] += v.z, sums[4 * i + 3] += v.w;
    }
  }
  return true;
}

/// Where the norm of the rows of c goes, as dense as c; it may be c.
template <class T>
struct Norm {
  T* to;  // null: there is none
  const float *weight, *bias;
  double eps;
  int64_t patient_from;  // blocks from this number on, the last to be on the device, wait for each other a little
};

/// Rows that a warp normalises at once: as many as 64 registers hold.
template <class T>
inline constexpr int kNormRows = 8 / sizeof(T);

/// kNormRows rows of c, or as many as are left.
template <class T>
__device__ void norm_some_rows(const Norm<T>& norm, const T* c, int cols, int left) {
  const int first = int(threadIdx.x) % kWarp * kPiece;
  Piece<T> x[kNormRows<T>][kMostPieces];
#pragma unroll
  for (int r = 0; r < kNormRows<T>; r++) {
#pragma unroll
    for (int i = 0; i < kMostPieces; i++) {
      const int col = first + i * kWarp * kPiece;
      if (col < cols) x[r][i].load(c + int64_t(r < left ? r : 0) * cols + col);
    }
  }
  norm_rows(
      x, cols, norm.eps,
      [&](int i, float(&weight)[kPiece], float(&bias)[kPiece]) {
        load_vector(weight, norm.weight + first + i * kWarp * kPiece);
        load_vector(bias, norm.bias + first + i * kWarp * kPiece);
      },
      [&](int r, int i, float(&y)[kPiece]) {
        if (r < left) store_vector(norm.to + int64_t(r) * cols + first + i * kWarp * kPiece, y);
      });
}

/// For each block after its tile of rows [row0, row0 + rows) of c was written. When those of all columns (the blocks of
/// the grid's y, each once) are, warps take rows and normalise them: those of the last block, and of others that were
/// late enough to wait for it. Who does which row makes no difference to it.
template <class T>
__device__ void norm_whole_rows(const Norm<T>& norm, const T* c, int cols, int row0, int rows, unsigned* counters) {
  constexpr int kPatience = 4;  // reads of a counter, about what the launch of a kernel takes
  bool whole = false;
  unsigned *arrived = counters + 3 * blockIdx.x, *taken = arrived + 1, *gone = arrived + 2;
  const int64_t block = blockIdx.x + int64_t(gridDim.x) * (blockIdx.y + int64_t(gridDim.y) * blockIdx.z);
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    unsigned count = atomicAdd(arrived, 1u) + 1;
    for (int i = block < norm.patient_from ? kPatience : 0; i < kPatience && count < gridDim.y; i++) {
      count = load_counter(arrived);
    }
    whole = count == gridDim.y;
    if (whole) __threadfence();
  }
  if (__syncthreads_or(whole) != 0) {
    const bool asks = threadIdx.x % kWarp == 0;
    unsigned next = asks ? atomicAdd(taken, unsigned(kNormRows<T>)) : 0;
    for (;;) {
      const int row = int(__shfl_sync(~0u, next, 0));
      if (row >= rows) break;
      if (asks) next = atomicAdd(taken, unsigned(kNormRows<T>));  // on its way meanwhile
      const int64_t at = int64_t(row0 + row) * cols;
      Norm<T> here = norm;
      here.to += at;
      norm_some_rows(here, c + at, cols, rows - row);
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {  // the last to go: nobody looks at the counters any more
    __threadfence();
    if (atomicAdd(gone, 1u) == gridDim.y - 1) {
      __threadfence();
      *arrived = *taken = *gone = 0;
    }
  }
}

}  // namespace caracal::kernels::cuda
