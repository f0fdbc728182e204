// oneDNN's tables, from the archive caracal::onednn. A program that does not link it gets the core's absent.cpp.
#pragma once

#include <caracal/kernels/kernels.h>

namespace caracal::kernels {

/// The table of a tier with oneDNN's matrix product; null where oneDNN was not linked. A link option spells this name
/// (kernels/CMakeLists.txt), so that the archive's definition is preferred.
const Kernels* onednn_kernels(Isa isa) noexcept;

}  // namespace caracal::kernels
