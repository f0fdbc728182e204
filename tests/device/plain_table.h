// What tests ask of, and do to, the device that plain_table.cpp makes of loops.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include <caracal/kernels/cuda/kernels.h>

// What the driver's opaque handle points to here, with what was done on the stream.
struct CUstream_st {
  int device = 0;
  bool capturing = false;
  std::vector<std::function<int()>> captured;
  int64_t graphs = 0, copies = 0, synchronized = 0;
};

namespace caracal::kernels::cuda {

struct PlainCounters {
  std::atomic<int> devices{1};
  std::atomic<bool> fail_allocations{false}, fail_launches{false};
  std::atomic<bool> fail_kernels{false};  // launches of kernels only: nothing can be captured
  std::atomic<bool> fail_waiting{false};
  std::atomic<bool> skip_kernels{false};      // launches do nothing
  std::atomic<int64_t> blocks{0}, graphs{0};  // that are there
  std::atomic<int64_t> switches{0};           // of a thread's current device
  std::atomic<int64_t> products{0}, convolutions{0}, tf32_products{0}, tf32_convolutions{0};  // that were done
};
extern PlainCounters plain_counters;

/// Has the stream do it: now, or whenever the graph is launched that it is captured for.
int plain_submit(Stream stream, std::function<int()> call);

}  // namespace caracal::kernels::cuda
