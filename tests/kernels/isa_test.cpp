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

// But tiers that add instructions for dot products share all that is none with their base.
TEST(Isa, TiersShareNoKernel) {
  for (Isa a : kIsas) {
    for (Isa b : kIsas) {
      if (a == b || !isa_supported(a) || !isa_supported(b)) continue;
      const bool one_base = base_isa(a) == base_isa(b);
#define KERNEL(ret, fn, params) EXPECT_EQ(cpu_kernels(a).fn == cpu_kernels(b).fn, one_base) << #fn;
#define KERNEL_DOT(ret, fn, params) EXPECT_NE(cpu_kernels(a).fn, cpu_kernels(b).fn) << #fn;
#include <caracal/kernels/kernels.def>
#undef KERNEL
    }
  }
}

TEST(Isa, BackendNamesRoundTrip) {
  for (Backend backend : kBackends) {
    Backend back;
    ASSERT_TRUE(backend_from_name(backend_name(backend), back));
    EXPECT_EQ(back, backend);
  }
  Backend unused;
  for (const char* name : {"", "mkl", "onednn3", "Eigen"}) EXPECT_FALSE(backend_from_name(name, unused)) << name;
}

// A backend's table has its own matrix product, and all else from the tier.
TEST(Isa, BackendsReplaceTheProductOnly) {
  for (Isa isa : kIsas) {
    if (!isa_supported(isa)) continue;
    const Kernels& native = cpu_kernels(base_isa(isa));
    EXPECT_EQ(backend_kernels(Backend::native, isa), &cpu_kernels(isa));
    ASSERT_NE(backend_kernels(Backend::eigen, isa), nullptr);
    for (Backend backend : {Backend::onednn, Backend::eigen}) {
      const Kernels* table = backend_kernels(backend, isa);
      if (table == nullptr) continue;  // oneDNN, where it was not linked
      EXPECT_EQ(table->backend, backend);
      EXPECT_EQ(table->isa, base_isa(isa));
      EXPECT_STREQ(table->name, native.name);
      auto product = [](const char* fn) {
        return std::string(fn).find("gemm_f32") < 6 || std::string(fn) == "packed_bytes_f32";
      };
#define KERNEL(ret, fn, params)                       \
  if (product(#fn)) {                                 \
    EXPECT_NE(table->fn, native.fn) << #fn;           \
  } else if (std::string(#fn) != "panel_width_f32") { \
    EXPECT_EQ(table->fn, native.fn) << #fn;           \
  }
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
  const Isa best = kernels.backend == Backend::native ? best_isa() : base_isa(best_isa());
  EXPECT_STREQ(kernels.name, forced ? forced : isa_name(best));
  EXPECT_STREQ(kernels.name, isa_name(kernels.isa));
  if (kernels.backend != Backend::native) GTEST_SKIP() << "a library's arithmetic is its own";

  float x = 1.0f + 0x1p-12f, weights[2] = {-(1.0f + 0x1p-11f), x}, inputs[2] = {1.0f, x}, c = 0;  // x² - fl(x²) = 2^-24
  std::vector<float> packed(kernels.packed_bytes_f32(1, 2) / sizeof(float) + 16);
  float* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64 / sizeof(float);
  kernels.pack_gemm_f32(aligned, weights, 2, 1, 2, 0, 1);
  GemmArgs args{};
  args.a = inputs, args.lda = 2, args.packed = aligned, args.c = &c, args.ldc = 1;
  args.rows = 1, args.n = 1, args.k = 2, args.panel_end = 1;
  kernels.gemm_f32(args);
  EXPECT_EQ(c, kernels.isa == Isa::scalar ? 0.0f : 0x1p-24f);
  EXPECT_EQ(kernels.panel_width_f32(48) == 48, base_isa(kernels.isa) == Isa::avx512);
}

}  // namespace
}  // namespace caracal::kernels
