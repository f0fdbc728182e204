// What a program without caracal::cuda gets, and of cuBLASLt one without CARACAL_CUBLAS. Weak: with it, the archive's
// definition wins.
#include <caracal/kernels/cuda/kernels.h>

namespace caracal::kernels::cuda {

__attribute__((weak)) const Cuda* cuda_table() noexcept { return nullptr; }

__attribute__((weak)) const Cuda* cublas_table(const char** about) noexcept { return *about = nullptr, nullptr; }

}  // namespace caracal::kernels::cuda
