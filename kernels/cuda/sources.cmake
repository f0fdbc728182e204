# The sources of caracal::cuda, which nvcc compiles, and the tests' g++ (tests/cuda/shim).
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
list(FILTER cuda_sources EXCLUDE REGEX "/missing\\.cu$")
list(APPEND cuda_sources ${CMAKE_CURRENT_LIST_DIR}/missing.cu)  # last: its weak definitions yield to those before
