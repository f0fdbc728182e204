// Blocks of rows of sequences whose lengths only the device knows.
#pragma once

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

/// The grid has a block for every `step` rows that there may be and one more for each sequence. Sequence b, whose rows
/// lie from offsets[b] on, has the blocks from first_row_block(offsets[b], b) on, some of which may have no rows: what
/// is in a block depends on its own sequence alone.
template <int64_t step>
__host__ __device__ inline int64_t first_row_block(int64_t offset, int64_t b) {
  return offset / step + b;
}
template <int64_t step>
__host__ __device__ inline int64_t row_blocks(int64_t tokens, int64_t batch) {
  return tokens / step + batch;
}

struct RowBlock {
  int64_t sequence, first;  // the block's first row, counted within the sequence; negative: no rows
};
template <int64_t step>
__host__ __device__ inline RowBlock find_row_block(const int64_t* offsets, int64_t batch, int64_t block) {
  int64_t low = 0, high = batch - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (first_row_block<step>(offsets[middle], middle) <= block)
      low = middle;
    else
      high = middle - 1;
  }
  return {low, (block - first_row_block<step>(offsets[low], low)) * step};
}

}  // namespace caracal::kernels::cuda
