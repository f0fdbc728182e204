// The table of this tier. A kernel missing here or with another signature than in kernels.def does not link.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

extern const Kernels kTable;
constinit const Kernels kTable = {
    Isa::CARACAL_TIER,
    CARACAL_STRING(CARACAL_TIER),
    Backend::native,
#define KERNEL(ret, fn, params) fn,
#include <caracal/kernels/kernels.def>
#undef KERNEL
};

}  // namespace caracal::kernels::CARACAL_TIER
