// Linked when caracal::onednn is not: nothing else may live in this file.
#include <caracal/kernels/onednn/onednn.h>

namespace caracal::kernels {

const Kernels* onednn_kernels(Isa) noexcept { return nullptr; }

}  // namespace caracal::kernels
