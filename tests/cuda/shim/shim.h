// What tests may ask of the shim (cuda_runtime.h beside it): why the last kernel failed, what was asked of the driver.
//
// Environment: CARACAL_SHIM_SM (75, 80, 86, 89, 90): the compute capability of its devices; CARACAL_SHIM_DEVICES: how
// many there are, 1 if not given, -1: no driver, -2: one for CUDA 12.4; CARACAL_SHIM_SEED: another order of blocks,
// warps and lanes; CARACAL_SHIM_WEAK_MEMORY: see set_weak_memory(); CARACAL_SHIM_BLOCKS: see set_blocks_at_once().
#pragma once

#include <cstdint>
#include <string>

struct CUstream_st;

namespace caracal::shim {

/// Which thread of which block did what; empty if no kernel has failed.
std::string last_failure();
/// The order of blocks, warps and lanes of the kernels from here on.
void seed(uint64_t value);

/// Whether blocks see of each other's writes only what fences and atomics promise (weak_memory.h); takes time in
/// proportion to all memory, for each block.
void set_weak_memory(bool on);

/// How many blocks of a grid run at once, 1 if not given: another one may go on, by chance, at each atomic operation,
/// fence and barrier. So a block may meet others halfway, and may wait for them.
void set_blocks_at_once(int count);

/// Whether the calling thread captures a stream.
bool capturing();
/// A stream of a context that is not the primary one of the current device, as cuCtxCreate makes them.
CUstream_st* stream_of_another_context();

struct Counters {
  int64_t launches, graph_launches, captures, copies, synchronizations;
  int64_t allocations, allocated;  // calls; device and pinned memory not yet released
};
Counters counters();

}  // namespace caracal::shim
