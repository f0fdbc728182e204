// Clears what sequences have behind their lengths: frames that a mask leaves out.
#include <caracal/kernels/cuda/pieces.cuh>
#include <caracal/kernels/cuda/sequences.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int kBlockRows = 16, kWarps = 8;

// A block of a grid of row blocks, a warp a row.
template <class T, int V>
__global__ void clear_rows_kernel(const __grid_constant__ ClearRowsArgs a) {
  start_next();
  wait_for_previous();
  const RowBlock block = find_block<kBlockRows>(a.offsets, a.batch, blockIdx.x);
  const float zeros[V] = {};
  for (int row = int(threadIdx.x) / 32; row < block.rows; row += kWarps) {
    if (block.first + row < a.lengths[block.sequence]) continue;
    T* x = static_cast<T*>(a.x) + (block.begin + block.first + row) * a.cols;
    for (int64_t c = threadIdx.x % 32 * V; c < a.cols; c += 32 * V) store_vector(x + c, zeros);
  }
}

}  // namespace

int clear_rows(Stream stream, const ClearRowsArgs& a) {
  if (a.batch <= 0 || a.tokens <= 0 || a.cols <= 0) return 0;
  return with_vectors(a.type, a.cols, {a.x}, [&]<class T, int V>() {
    const dim3 grid(unsigned(count_blocks<kBlockRows>(a.tokens, a.batch)));
    return launch(stream, clear_rows_kernel<T, V>, grid, dim3(32 * kWarps), 0, a);
  });
}

}  // namespace caracal::kernels::cuda
