// main() of every test program. When CARACAL_ISA forces a tier that this CPU lacks, or CARACAL_DEVICE a device that is
// not there, the program exits with 77, which ctest reports as skipped (caracal_test in CMakeLists.txt), rather than
// passing without having run.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <gtest/gtest.h>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/kernels/kernels.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  caracal::kernels::Isa isa;
  const char* forced = std::getenv("CARACAL_ISA");
  if (forced != nullptr && caracal::kernels::isa_from_name(forced, isa) && !caracal::kernels::isa_supported(isa)) {
    std::printf("skipped: this CPU cannot run %s\n", forced);
    return 77;
  }
  const char* device = std::getenv("CARACAL_DEVICE");
  if (device != nullptr && std::string_view(device).starts_with("cuda")) {
    const caracal::kernels::cuda::Cuda* cuda = caracal::kernels::cuda::cuda_table();
    int count = 0;
    if (cuda == nullptr || cuda->device_count(&count) != 0 || count == 0) {
      std::printf("skipped: no CUDA device\n");
      return 77;
    }
  }
  return RUN_ALL_TESTS();
}
