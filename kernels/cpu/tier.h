// What every kernel file includes, and all it may include beside <stdint.h>, <stddef.h>, <math.h>: the vector type and
// the declarations of this tier's kernels. Helpers are `static inline`: an inline function with external linkage,
// compiled for AVX-512 here and for the baseline elsewhere, could be merged by the linker into the wrong copy.
#pragma once

#include <caracal/kernels/cpu/vec.h>
#include <caracal/kernels/kernels.h>

#define CARACAL_STRING_(x) #x
#define CARACAL_STRING(x) CARACAL_STRING_(x)

namespace caracal::kernels::CARACAL_TIER {

#define KERNEL(ret, fn, params) ret fn params;
#include <caracal/kernels/kernels.def>
#undef KERNEL

}  // namespace caracal::kernels::CARACAL_TIER
