// What a program without caracal::onednn gets. Weak: with it, the archive's definition wins.
#include <caracal/kernels/onednn/onednn.h>

namespace caracal::kernels {

__attribute__((weak)) const Kernels* onednn_kernels(Isa) noexcept { return nullptr; }

}  // namespace caracal::kernels
