// What the kernels over images of one size share: the grid, an item of work a thread.
#pragma once

#include <algorithm>

#include <caracal/kernels/cuda/vectors.cuh>

namespace caracal::kernels::cuda {

/// An item is what one thread writes; those of one image are counted in 32 bits, so that taking an index apart is
/// quick.
inline constexpr int64_t kImageThreads = 256, kMostItems = (int64_t(1) << 31) - 1, kMostImagesAtOnce = 65535;

/// Launches kernel over `items` items of each of `batch` images.
template <class Args>
int launch_images(Stream stream, void (*kernel)(Args), int64_t items, int64_t batch, const Args& args) {
  if (items <= 0 || batch <= 0) return 0;
  if (items > kMostItems) return cudaErrorInvalidValue;
  const dim3 grid(unsigned((items + kImageThreads - 1) / kImageThreads), unsigned(std::min(batch, kMostImagesAtOnce)));
  return launch(stream, kernel, grid, dim3(unsigned(kImageThreads)), 0, args);
}

/// Calls f(image, item) for what this thread is to do.
template <class F>
__device__ void for_each_item(int64_t items, int64_t batch, F f) {
  const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
  if (int64_t(item) >= items) return;
  for (int64_t image = blockIdx.y; image < batch; image += gridDim.y) f(image, item);
}

}  // namespace caracal::kernels::cuda
