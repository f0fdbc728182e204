// Running a grid, for the driver (driver.cpp).
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include <caracal/tests/cuda/shim/static_shared.h>

namespace caracal::shim {

cudaError_t run_grid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& kernel);

/// All that is allocated of the device's memory (driver.cpp).
std::vector<Range> device_memory();

}  // namespace caracal::shim
