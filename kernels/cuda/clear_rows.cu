// Clears what sequences have behind their lengths: frames that a mask leaves out.
#include <caracal/kernels/cuda/row_blocks.cuh>
#include <caracal/kernels/cuda/vectors.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int64_t kBlockRows = 16;
constexpr int kWarps = 8;

// A block of a grid of row blocks, a warp a row.
template <class T, int V>
__global__ void clear_rows_kernel(const __grid_constant__ ClearRowsArgs a) {
  start_next();
  wait_for_previous();
  const RowBlock block = find_row_block<kBlockRows>(a.offsets, a.batch, blockIdx.x);
  if (block.first < 0) return;
  const int64_t first = a.offsets[block.sequence], rows = a.offsets[block.sequence + 1] - first;
  const int64_t last = block.first + kBlockRows < rows ? block.first + kBlockRows : rows;
  const float zeros[V] = {};
  for (int64_t row = block.first + threadIdx.x / 32; row < last; row += kWarps) {
    if (row < a.lengths[block.sequence]) continue;
    T* x = static_cast<T*>(a.x) + (first + row) * a.cols;
    for (int64_t c = threadIdx.x % 32 * V; c < a.cols; c += 32 * V) store_vector(x + c, zeros);
  }
}

}  // namespace

int clear_rows(Stream stream, const ClearRowsArgs& a) {
  if (a.batch <= 0 || a.tokens <= 0 || a.cols <= 0) return 0;
  return with_vectors(a.type, a.cols, {a.x}, [&]<class T, int V>() {
    const dim3 grid(unsigned(row_blocks<kBlockRows>(a.tokens, a.batch)));
    return launch(stream, clear_rows_kernel<T, V>, grid, dim3(32 * kWarps), 0, a);
  });
}

}  // namespace caracal::kernels::cuda
