// What the kernels over images of one size share: the grid, an item of work a thread.
#pragma once

#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {

/// An item is what one thread writes; those of one image are counted in 32 bits, so that taking an index apart is
/// quick.
inline constexpr int64_t kImageThreads = 256, kMostItems = (int64_t(1) << 31) - 1;

__host__ __device__ inline int64_t blocks_of_image(int64_t items) {
  return (items + kImageThreads - 1) / kImageThreads;
}

/// Launches kernel over `items` items of each of `batch` images.
template <class Args>
int launch_images(Stream stream, void (*kernel)(Args), int64_t items, int64_t batch, const Args& args) {
  if (items <= 0 || batch <= 0) return 0;
  if (items > kMostItems || batch > kMostItems / blocks_of_image(items)) return cudaErrorInvalidValue;
  const dim3 grid(unsigned(blocks_of_image(items) * batch));
  return launch(stream, kernel, grid, dim3(unsigned(kImageThreads)), 0, args);
}

/// Calls f(image, item) for what this thread is to do.
template <class F>
__device__ void for_item(int64_t items, F f) {
  const unsigned blocks = unsigned(blocks_of_image(items));
  const unsigned item = blockIdx.x % blocks * unsigned(kImageThreads) + threadIdx.x;
  if (item < unsigned(items)) f(int64_t(blockIdx.x / blocks), item);
}

}  // namespace caracal::kernels::cuda
