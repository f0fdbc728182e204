// Stands in for kernels that are not written yet.
#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

#define KERNEL(name, Args) \
  __attribute__((weak)) int name(Stream, const Args&) { return cudaErrorNotSupported; }
#include <caracal/kernels/cuda/kernels.def>
#undef KERNEL
__attribute__((weak)) size_t gemm_scratch(int64_t, int64_t, int64_t) { return 0; }
__attribute__((weak)) size_t group_norm_scratch(int64_t, int64_t, int64_t) { return 0; }
__attribute__((weak)) size_t normalized_conv1d_scratch(int64_t, int64_t, int64_t, int64_t) { return 0; }

}  // namespace caracal::kernels::cuda
