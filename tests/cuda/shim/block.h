// Running a grid, for the driver (driver.cpp).
#pragma once

#include <cuda_runtime.h>

namespace caracal::shim {

cudaError_t run_grid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& kernel);

}  // namespace caracal::shim
