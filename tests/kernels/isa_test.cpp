#include "testing.h"

namespace caracal::kernels {
namespace {

TEST(Isa, NamesRoundTrip) {
  for (Isa isa : kIsas) {
    Isa back;
    ASSERT_TRUE(isa_from_name(isa_name(isa), back));
    EXPECT_EQ(back, isa);
  }
  Isa unused;
  for (const char* name : {"", "avx", "avx2 ", "avx5122", "AVX2", "neon"})
    EXPECT_FALSE(isa_from_name(name, unused)) << name;
}

TEST(Isa, BestIsSupportedAndScalarAlwaysIs) {
  EXPECT_TRUE(isa_supported(Isa::scalar));
  EXPECT_TRUE(isa_supported(best_isa()));
}

TEST(Isa, TiersShareNoKernel) {
  for (Isa a : kIsas) {
    for (Isa b : kIsas) {
      if (a == b || !isa_supported(a) || !isa_supported(b)) continue;
#define KERNEL(ret, fn, params) EXPECT_NE(cpu_kernels(a).fn, cpu_kernels(b).fn);
#include <caracal/kernels/kernels.def>
#undef KERNEL
    }
  }
}

// The forced tier is the one that runs: its table says so, and so do its arithmetic (only vector tiers fuse
// multiply-adds) and its packed layout (only avx512 has registers for 48 columns).
TEST(Isa, ForcedTierRuns) {
  const Kernels& kernels = tier();
  const char* forced = std::getenv("CARACAL_ISA");
  EXPECT_STREQ(kernels.name, forced ? forced : isa_name(best_isa()));
  EXPECT_STREQ(kernels.name, isa_name(kernels.isa));

  float x = 1.0f + 0x1p-12f, weights[2] = {-(1.0f + 0x1p-11f), x}, inputs[2] = {1.0f, x}, c = 0;  // x² - fl(x²) = 2^-24
  std::vector<float> packed(kernels.packed_bytes_f32(1, 2) / sizeof(float) + 16);
  float* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64 / sizeof(float);
  kernels.pack_gemm_f32(aligned, weights, 2, 1, 2, 0, 1);
  GemmArgs args{};
  args.a = inputs, args.lda = 2, args.packed = aligned, args.c = &c, args.ldc = 1;
  args.rows = 1, args.n = 1, args.k = 2, args.panel_end = 1;
  kernels.gemm_f32(args);
  EXPECT_EQ(c, kernels.isa == Isa::scalar ? 0.0f : 0x1p-24f);
  EXPECT_EQ(kernels.panel_width_f32(48) == 48, kernels.isa == Isa::avx512);
}

}  // namespace
}  // namespace caracal::kernels
