// Which sequence a block of threads works on. Offsets are in device memory, so a grid is sized by capacity, and each
// block finds its place itself.
#pragma once

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

/// Rows `first` to first + rows of a sequence, whose own rows are begin to end of the batch. rows 0: nothing to do.
struct RowBlock {
  int64_t sequence, begin, end;
  int first, rows;
};

/// The blocks of kRows rows of sequence b are those from begin / kRows + b on; there are always enough.
template <int kRows>
__host__ __device__ constexpr int64_t first_block(int64_t begin, int64_t sequence) {
  return begin / kRows + sequence;
}
/// Blocks of a grid over `tokens` rows of `batch` sequences.
template <int kRows>
__host__ __device__ constexpr int64_t count_blocks(int64_t tokens, int64_t batch) {
  return batch == 0 ? 0 : first_block<kRows>(tokens, batch);
}

/// Called by whole warps. A search with 32 places at a time: one step for up to 32 sequences, two for up to 1024.
template <int kRows>
__device__ inline RowBlock find_block(const int64_t* offsets, int64_t batch, int64_t block) {
  const int64_t lane = threadIdx.x % 32;
  int64_t low = 0,
          count = batch;  // the last sequence that begins at or before `block` is one of these, or there is none
  while (count > 1) {
    const int64_t step = (count + 31) / 32;
    const bool before =
        lane * step < count && first_block<kRows>(offsets[low + lane * step], low + lane * step) <= block;
    const int64_t passed = __popc(__ballot_sync(0xffffffffu, before));
    if (passed == 0) return {};
    low += (passed - 1) * step;
    count = count - (passed - 1) * step < step ? count - (passed - 1) * step : step;
  }
  const int64_t begin = offsets[low], end = offsets[low + 1];
  const int64_t first = (block - first_block<kRows>(begin, low)) * kRows;
  if (first < 0 || begin + first >= end) return {};
  const int64_t rows = end - begin - first;
  return {low, begin, end, int(first), int(rows < kRows ? rows : kRows)};
}

}  // namespace caracal::kernels::cuda
