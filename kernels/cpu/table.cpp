// The table of this tier. A kernel missing here or with another signature than in kernels.def does not link.
#include <caracal/kernels/cpu/tier.h>

#if !defined(CARACAL_BASE)
#define CARACAL_BASE CARACAL_TIER  // else the tier that this one takes its other kernels from
#endif

namespace caracal::kernels::CARACAL_BASE {
#define KERNEL(ret, fn, params) ret fn params;
#include <caracal/kernels/kernels.def>
#undef KERNEL
}  // namespace caracal::kernels::CARACAL_BASE

namespace caracal::kernels::CARACAL_TIER {

extern const Kernels kTable;
constinit const Kernels kTable = {
    Isa::CARACAL_TIER,
    CARACAL_STRING(CARACAL_TIER),
    Backend::native,
#define KERNEL(ret, fn, params) CARACAL_BASE::fn,
#define KERNEL_DOT(ret, fn, params) CARACAL_TIER::fn,
#include <caracal/kernels/kernels.def>
#undef KERNEL
};

}  // namespace caracal::kernels::CARACAL_TIER
