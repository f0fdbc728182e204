// main() of every test program. When CARACAL_ISA forces a tier that this CPU lacks, the program exits with 77, which
// ctest reports as skipped (caracal_test in CMakeLists.txt), rather than passing without having run.
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

#include <caracal/kernels/kernels.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  caracal::kernels::Isa isa;
  const char* forced = std::getenv("CARACAL_ISA");
  if (forced != nullptr && caracal::kernels::isa_from_name(forced, isa) && !caracal::kernels::isa_supported(isa)) {
    std::printf("skipped: this CPU cannot run %s\n", forced);
    return 77;
  }
  return RUN_ALL_TESTS();
}
