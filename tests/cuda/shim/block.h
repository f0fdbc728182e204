// Running a grid, for the driver (driver.cpp).
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include <caracal/tests/cuda/shim/static_shared.h>

namespace caracal::shim {

/// most_shared: how much a block may have together with what is static, which shows only as it is used.
cudaError_t run_grid(dim3 grid, dim3 block, size_t shared, size_t most_shared, const std::function<void()>& kernel);

/// All that is allocated of the device's memory (driver.cpp).
std::vector<Range> device_memory();

}  // namespace caracal::shim
