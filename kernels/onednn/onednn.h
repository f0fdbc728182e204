// oneDNN's tables, from the archive caracal::onednn; without it, the core's absent.cpp.
#pragma once

#include <caracal/kernels/kernels.h>

namespace caracal::kernels {

/// The table of a tier with oneDNN's matrix product; null where oneDNN was not linked.
const Kernels* onednn_kernels(Isa isa) noexcept;

/// Defined in the archive alone. Linking caracal::onednn asks for it by name (kernels/CMakeLists.txt), which brings in
/// the archive's onednn_kernels wherever the archive stands on the command line.
extern const bool kOnednnLinked;

}  // namespace caracal::kernels
