// activation: out = f(x) for n elements.
#include <caracal/kernels/cpu/activation.h>
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

template <Activation activation>
static void apply(float* out, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, activate<activation>(load(x + i)));
  if (i < n) store_n(out + i, activate<activation>(load_n(x + i, n - i)), n - i);
}

void activation_f32(float* out, const float* x, int64_t n, Activation activation) {
  CARACAL_SWITCH_ACTIVATION(activation, apply, out, x, n)
}

}  // namespace caracal::kernels::CARACAL_TIER
