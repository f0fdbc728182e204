// What a program without caracal::cuda gets. Weak: with it, the archive's definition wins.
#include <caracal/kernels/cuda/kernels.h>

namespace caracal::kernels::cuda {

__attribute__((weak)) const Cuda* cuda_table() noexcept { return nullptr; }

}  // namespace caracal::kernels::cuda
