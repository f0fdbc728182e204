// What tests ask of, and do to, the device that plain_table.cpp makes of loops.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include <caracal/kernels/cuda/kernels.h>

namespace caracal::kernels::cuda {

struct PlainCounters {
  std::atomic<int> devices{1};
  std::atomic<bool> fail_allocations{false}, fail_launches{false};
  std::atomic<bool> skip_kernels{false};      // launches do nothing
  std::atomic<int64_t> blocks{0}, graphs{0};  // that are there
};
extern PlainCounters plain_counters;

/// Has the stream do it: now, or whenever the graph is launched that it is captured for.
int plain_submit(Stream stream, std::function<int()> call);

}  // namespace caracal::kernels::cuda
