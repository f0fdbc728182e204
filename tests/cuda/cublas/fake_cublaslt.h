// What a program and the library of fake_cublaslt.cpp that it loads know of each other.
#pragma once

#include <atomic>
#include <cstdint>

struct CUstream_st;

struct FakeCublasLt {
  std::atomic<int64_t> handles{0}, heuristics{0};
  std::atomic<int64_t> products{0}, biases{0}, residuals{0}, halves{0}, tf32{0};  // products, and those with a bias, …
  std::atomic<int64_t> descriptions{0};                                           // that are there
};

extern "C" {
/// The library's; to be found by dlsym().
FakeCublasLt* fake_cublaslt_counters();
/// The program's, if it has any: has the stream do work(data), now or whenever what it captures is launched; the
/// current device; whether the calling thread captures a stream.
__attribute__((weak, visibility("default"))) int fake_cublaslt_submit(CUstream_st* stream, void (*work)(void*),
                                                                      void* data);
__attribute__((weak, visibility("default"))) int fake_cublaslt_device();
__attribute__((weak, visibility("default"))) int fake_cublaslt_capturing();
}
