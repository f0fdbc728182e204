// The shim's streams and devices, for the library of fake_cublaslt.cpp.
#include <cuda_runtime.h>

#include <caracal/tests/cuda/shim/shim.h>

#include "fake_cublaslt.h"

int fake_cublaslt_submit(CUstream_st* stream, void (*work)(void*), void* data) {
  return cudaLaunchHostFunc(stream, work, data);
}

int fake_cublaslt_device() {
  int device = -1;
  cudaGetDevice(&device);
  return device;
}

int fake_cublaslt_capturing() { return caracal::shim::capturing(); }
