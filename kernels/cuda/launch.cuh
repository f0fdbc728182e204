// What every .cu file includes: the CUDA headers (in tests those of tests/cuda/shim), the kernels' declarations,
// launch(), shared memory and the order between kernels.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/kernels/cuda/numbers.cuh>
#include <caracal/kernels/cuda/ptx.cuh>

namespace caracal::kernels::cuda {

#define KERNEL(name, Args) int name(Stream stream, const Args& args);
#include <caracal/kernels/cuda/kernels.def>
#undef KERNEL
size_t gemm_scratch(int64_t rows, int64_t n, int64_t k);
size_t group_norm_scratch(int64_t batch, int64_t tokens, int64_t cols);
size_t normalized_conv1d_scratch(int64_t batch, int64_t tokens, int64_t channels, int64_t kernel);

/// The current device; asked once, then remembered (device.cu).
struct Device {
  int major, minor, multiprocessors;
  size_t shared_bytes;  // the most dynamic shared memory that a block may have
};
const Device& current_device();

/// Forgets the error that a failed call leaves behind for the next one to find.
inline int checked(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

/// Whether wait_for_previous() waits in all that a device of capability 9 or more may run: its PTX is the latest one's.
#ifdef __CUDA_ARCH_LIST__
inline constexpr int kArchs[] = {__CUDA_ARCH_LIST__};
inline constexpr bool kWaits = kArchs[sizeof kArchs / sizeof *kArchs - 1] >= 900;
#else
inline constexpr bool kWaits = true;
#endif

/// Starts kernel<<<grid, block, shared>>>(arguments…). From sm_90 on it may begin before the kernel ahead of it in the
/// stream is done (programmatic dependent launch): see wait_for_previous(). A grid without blocks is no work.
template <class... P>
int launch(Stream stream, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
           const std::type_identity_t<P>&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
  if (shared > 48 * 1024) {
    const int error = checked(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = kWaits && current_device().major >= 9;
  return checked(cudaLaunchKernelEx(&config, kernel, arguments...));
}

}  // namespace caracal::kernels::cuda

/// Declares `type* name`, the kernel's dynamic shared memory, 16-byte aligned: once in a kernel.
#ifdef __CUDACC__
#define CARACAL_SHARED(type, name)                                        \
  extern __shared__ __align__(16) unsigned char caracal_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(caracal_dynamic_shared)
#else
#define CARACAL_SHARED(type, name) type* name = static_cast<type*>(caracal::shim::dynamic_shared())
#endif
