# The sources of caracal::cuda, which nvcc compiles, and the tests' g++ (tests/cuda/shim).
set(cuda_sources device gemm gemm_epilogue convolution attention relative_bias layer_norm embedding elementwise reduce pool clear_rows image
  window group_norm normalized_conv1d)
list(TRANSFORM cuda_sources REPLACE "(.+)" "${CMAKE_CURRENT_LIST_DIR}/\\1.cu")
