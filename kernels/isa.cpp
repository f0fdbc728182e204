// Chooses among the tiers and backends. Compiled for the baseline: nothing here may run an instruction the machine
// could lack.
#include <caracal/kernels/kernels.h>
#include <caracal/kernels/onednn/onednn.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace caracal::kernels {
namespace {

bool same_text(const char* a, const char* b) noexcept {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

}  // namespace

namespace scalar {
extern const Kernels kTable;
namespace eigen {
extern const Kernels kTable;
}
}  // namespace scalar
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kTable;
namespace eigen {
extern const Kernels kTable;
}
}  // namespace avx2
namespace avx512 {
extern const Kernels kTable;
namespace eigen {
extern const Kernels kTable;
}
}  // namespace avx512
namespace avx2_vnni {
extern const Kernels kTable;
}
namespace avx512_vnni {
extern const Kernels kTable;
}
namespace avx512_bf16 {
extern const Kernels kTable;
}
#endif

const char* isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::avx2: return "avx2";
    case Isa::avx2_vnni: return "avx2_vnni";
    case Isa::avx512: return "avx512";
    case Isa::avx512_vnni: return "avx512_vnni";
    case Isa::avx512_bf16: return "avx512_bf16";
  }
  return "unknown";
}

bool isa_from_name(const char* name, Isa& isa) noexcept {
  for (Isa candidate : kIsas) {
    if (!same_text(isa_name(candidate), name)) continue;
    isa = candidate;
    return true;
  }
  return false;
}

Isa base_isa(Isa isa) noexcept {
  if (isa == Isa::avx2_vnni) return Isa::avx2;
  return isa == Isa::avx512_vnni || isa == Isa::avx512_bf16 ? Isa::avx512 : isa;
}

bool isa_supported(Isa isa) noexcept {
  if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks the operating system (XCR0) whether the wide registers are saved. It does not know
  // f16c in clang 16, hence the bit by hand: CPUID leaf 1, ECX bit 29.
  __builtin_cpu_init();
  unsigned eax, ebx, ecx = 0, edx;
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
  if (isa == Isa::avx2) return avx2;
  // Leaf 7, subleaf 1, EAX: bit 4 AVX-VNNI, bit 5 AVX512-BF16; newer than the compilers that we build with.
  if (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) eax = 0;
  if (isa == Isa::avx2_vnni) return avx2 && (eax >> 4 & 1);
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == Isa::avx512) return avx512;
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  return isa == Isa::avx512_vnni ? vnni : vnni && (eax >> 5 & 1);
#else
  return false;
#endif
}

Isa best_isa() noexcept {
  static const Isa found = [] {  // asked once: in a virtual machine CPUID takes microseconds
    Isa best = Isa::scalar;
    for (Isa isa : kIsas) {
      if (isa_supported(isa)) best = isa;
    }
    return best;
  }();
  return found;
}

const Kernels& cpu_kernels(Isa isa) noexcept {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::scalar: break;
    case Isa::avx2: return avx2::kTable;
    case Isa::avx2_vnni: return avx2_vnni::kTable;
    case Isa::avx512: return avx512::kTable;
    case Isa::avx512_vnni: return avx512_vnni::kTable;
    case Isa::avx512_bf16: return avx512_bf16::kTable;
  }
#endif
  (void)isa;
  return scalar::kTable;
}

const char* backend_name(Backend backend) noexcept {
  switch (backend) {
    case Backend::native: return "native";
    case Backend::onednn: return "onednn";
    case Backend::eigen: return "eigen";
  }
  return "unknown";
}

bool backend_from_name(const char* name, Backend& backend) noexcept {
  for (Backend candidate : kBackends) {
    if (!same_text(backend_name(candidate), name)) continue;
    backend = candidate;
    return true;
  }
  return false;
}

Backend best_backend() noexcept {
#if defined(__x86_64__)
  return Backend::native;
#else
  return Backend::eigen;
#endif
}

const Kernels* backend_kernels(Backend backend, Isa isa) noexcept {
  if (backend == Backend::native) return &cpu_kernels(isa);
  if (backend == Backend::onednn) return onednn_kernels(isa);
#if defined(__x86_64__)
  if (base_isa(isa) == Isa::avx512) return &avx512::eigen::kTable;
  if (base_isa(isa) == Isa::avx2) return &avx2::eigen::kTable;
#endif
  return &scalar::eigen::kTable;
}

}  // namespace caracal::kernels
