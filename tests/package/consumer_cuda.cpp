// What a program gets by linking caracal::cuda: the table of its kernels, whether there is a GPU or not.
#include <caracal/caracal.h>

#include <cstdio>

namespace caracal::kernels::cuda {
const struct Cuda* cuda_table() noexcept;
}

int main() {
  const bool linked = caracal::kernels::cuda::cuda_table() != nullptr;
  std::puts(linked ? "CUDA kernels linked" : "no CUDA kernels");
  return linked ? 0 : 1;
}
