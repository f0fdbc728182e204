#include <caracal/runtime/thread_pool.h>

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace caracal {
namespace {

void pause_cpu() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// First task of thread `self` of `threads`: an even split of [0, tasks) into contiguous ranges.
uint64_t range_begin(int tasks, int self, int threads) { return uint64_t(tasks) * uint64_t(self) / uint64_t(threads); }

}  // namespace

ThreadPool::ThreadPool(int threads, int spin_us) : queues_(size_t(std::max(threads, 1))), spin_us_(spin_us) {
  threads_.reserve(queues_.size() - 1);
  for (int i = 1; i < concurrency(); i++) threads_.emplace_back([this, i] { worker(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(int tasks, void (*task)(void*, int), void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || threads_.empty() || busy_.exchange(true, std::memory_order_acquire)) {
    for (int i = 0; i < tasks; i++) task(context, i);
    return;
  }
  // No worker touches these: every task of the previous job was claimed, and a claim carries the job's epoch.
  const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
  task_.store(task, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  tasks_.store(tasks, std::memory_order_relaxed);
  unfinished_.store(tasks, std::memory_order_relaxed);
  for (int i = 0; i < concurrency(); i++)
    queues_[size_t(i)].next.store(uint64_t(epoch) << 32 | range_begin(tasks, i, concurrency()),
                                  std::memory_order_release);
  epoch_.store(epoch, std::memory_order_release);
  epoch_.notify_all();

  work(epoch, 0);
  if (!spin_until([&] { return unfinished_.load(std::memory_order_acquire) == 0; })) {
    for (int left; (left = unfinished_.load(std::memory_order_acquire)) != 0;)
      unfinished_.wait(left, std::memory_order_acquire);
  }
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::worker(int self) {
  uint32_t seen = 0;
  while (true) {
    if (!spin_until([&] { return epoch_.load(std::memory_order_acquire) != seen; }))
      epoch_.wait(seen, std::memory_order_acquire);
    seen = epoch_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    work(seen, self);
  }
}

// Claims and runs tasks of job `epoch`: first of the thread's own range, then of the others'.
void ThreadPool::work(uint32_t epoch, int self) {
  for (int step = 0; step < concurrency(); step++) {
    const int owner = (self + step) % concurrency();
    std::atomic<uint64_t>& next = queues_[size_t(owner)].next;
    uint64_t claimed = next.load(std::memory_order_acquire);
    while (uint32_t(claimed >> 32) == epoch) {
      // May belong to a later job by now; the exchange below then fails on the epoch.
      auto* task = task_.load(std::memory_order_relaxed);
      void* context = context_.load(std::memory_order_relaxed);
      const uint64_t end = range_begin(tasks_.load(std::memory_order_relaxed), owner + 1, concurrency());
      if (uint32_t(claimed) >= end) break;
      if (!next.compare_exchange_weak(claimed, claimed + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      task(context, int(uint32_t(claimed)));
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
      claimed = next.load(std::memory_order_acquire);
    }
  }
}

// Spins for at most spin_us_; false when `done` did not come true.
template <class Done>
bool ThreadPool::spin_until(Done done) const {
  for (int i = 0; i < 64; i++) {
    if (done()) return true;
    pause_cpu();
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_us_);
  do {
    for (int i = 0; i < 32; i++) {
      if (done()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace caracal
