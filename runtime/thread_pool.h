// Who runs the parallel parts of a call: caracal's own pool, or the host's executor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace caracal {

/// What a host implements to run caracal's parallel work on threads of its own.
class Executor {
 public:
  virtual ~Executor() = default;
  /// How many tasks may run at once, at least 1; work is cut into a small multiple of it. Asked once, by Runtime.
  virtual int concurrency() const noexcept = 0;
  /// Calls task(context, i) once for every i in [0, tasks), on any threads, and returns when all have returned. `tasks`
  /// is below 2^20.
  /// Tasks do not throw and do not block on each other. Must accept calls from several threads at once.
  virtual void run(int tasks, void (*task)(void* context, int index), void* context) = 0;
  /// A model's forward begins, or ends, on the calling thread: tells how many of them share the threads.
  virtual void begin_call() noexcept {}
  virtual void end_call() noexcept {}
};

/// Threads that spin for a bounded time after each piece of work, then sleep. The calling thread takes part, so
/// threads = 1 starts none. A second caller that finds the pool busy does its work itself instead of waiting, and so do
/// all of them while as many calls as threads run: a processor for each is more than parts of several.
///
/// Neighbouring tasks go to the same thread, and to the same one each time, so that a thread streams one range of
/// weights; a thread that is done takes tasks of those that lag (or that the system has put to sleep).
///
/// A thread that was woken but has not come after 50 us is likely queued behind its caller (under a hypervisor Linux
/// takes sleeping processors for preempted ones, and wakes on the waker's): it is moved by its affinity, which it
/// resets. That takes sched_getaffinity, sched_setaffinity and getpid, so it is not done in a process that is under a
/// seccomp filter at its start.
///
/// A child of fork() has none of the threads: there the caller does everything. Fork while no call is running.
class ThreadPool final : public Executor {
 public:
  static constexpr int kMaxThreads = 1024;
  /// `threads` counts the caller; at least 1. `spin_us`: microseconds a thread without work spins before it sleeps.
  /// `move_late`: see above. Throws invalid_argument for more than kMaxThreads, io when the system refuses to start a
  /// thread.
  explicit ThreadPool(int threads, int spin_us = 200, bool move_late = true);
  ~ThreadPool() override;
  int concurrency() const noexcept override { return int(queues_.size()); }
  void run(int tasks, void (*task)(void* context, int index), void* context) override;
  void begin_call() noexcept override { calls_.fetch_add(1, std::memory_order_relaxed); }
  void end_call() noexcept override { calls_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  // The unclaimed tasks of this thread's range and the job they belong to, in one word so that a claim is one exchange:
  // 24 bits of job number, 20 bits of the next task, 20 bits of the range's end.
  struct alignas(64) Queue {
    std::atomic<uint64_t> range{0};
  };

  struct Sleeper;

  void worker(int self);
  void work(uint32_t epoch, int self);
  void sleep(Sleeper& sleeper, uint32_t seen);
  void fetch_late(uint32_t epoch);
  void stop();
  template <class Done>
  bool spin_until(Done done) const;

  std::vector<Queue> queues_;            // one per thread, [0] the caller's
  std::unique_ptr<Sleeper[]> sleepers_;  // one per worker
  std::vector<std::thread> threads_;
  int spin_us_;
  int process_;  // whose threads they are
  bool move_late_;
  alignas(64) std::atomic<uint32_t> epoch_{0};  // counts jobs; workers wait for it to change
  std::atomic<int> sleeping_{0};
  int64_t woken_at_ = 0;  // steady_clock's nanoseconds when those that are late were woken, 0: none; of who set busy_
  std::atomic<void (*)(void*, int)> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  alignas(64) std::atomic<int> unfinished_{0};
  std::atomic<bool> busy_{false}, stop_{false};
  std::atomic<int> calls_{0};
};

}  // namespace caracal
