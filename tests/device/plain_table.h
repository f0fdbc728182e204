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
  const struct CUctx_st* context = nullptr;
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
  std::atomic<bool> fail_begin_capture{false};  // a driver that captures nothing
  std::atomic<bool> fail_end_capture{false};
  std::atomic<int64_t> begun_captures{0};
  // Another thread captures in the global mode: what it forbids is refused, and spoils its capture.
  std::atomic<bool> global_capture{false};
  std::atomic<int64_t> spoiled{0};
  std::atomic<int> driver{13000};             // its CUDA version; ours is 13.0
  std::atomic<bool> foreign_context{false};   // streams are made in one that is not the device's primary one
  std::atomic<bool> skip_kernels{false};      // launches do nothing
  std::atomic<int64_t> blocks{0}, graphs{0};  // that are there
  std::atomic<int64_t> switches{0};           // of a thread's current device
  std::atomic<int64_t> products{0}, convolutions{0}, tf32_products{0}, tf32_convolutions{0};  // that were done
};
extern PlainCounters plain_counters;

/// A flag of plain_counters that is set for a scope, also one that an exception leaves.
struct Raised {
  explicit Raised(std::atomic<bool>& flag_) : flag(flag_) { flag = true; }
  ~Raised() { flag = false; }
  Raised(const Raised&) = delete;
  Raised& operator=(const Raised&) = delete;
  std::atomic<bool>& flag;
};

/// The thread's capture mode, and whether it captures.
int plain_capture_mode();
bool plain_capturing();

/// Has the stream do it: now, or whenever the graph is launched that it is captured for.
int plain_submit(Stream stream, std::function<int()> call);

}  // namespace caracal::kernels::cuda
