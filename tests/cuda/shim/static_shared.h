// Where a program's __shared__ variables are.
#pragma once

#include <cstddef>
#include <vector>

namespace caracal::shim {

struct Range {
  char* begin;
  size_t bytes;
};

/// Every static variable of a function in namespace caracal::kernels::cuda that is not constant, in a .cu file or
/// inline, from the program's own symbol table.
const std::vector<Range>& static_shared();

}  // namespace caracal::shim
