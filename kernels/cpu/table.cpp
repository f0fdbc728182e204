// The table of this tier. A kernel missing here or with another signature than in kernels.def does not link.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

#define CARACAL_STRING_(x) #x
#define CARACAL_STRING(x) CARACAL_STRING_(x)

extern const Kernels kTable;
constinit const Kernels kTable = {
    Isa::CARACAL_TIER,
    CARACAL_STRING(CARACAL_TIER),
#define KERNEL(ret, fn, params) fn,
#include <caracal/kernels/kernels.def>
#undef KERNEL
};

}  // namespace caracal::kernels::CARACAL_TIER
