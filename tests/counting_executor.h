// An executor that tells what it was asked for.
#pragma once

#include <atomic>

#include <caracal/runtime/thread_pool.h>

namespace caracal {

class CountingExecutor final : public Executor {
 public:
  explicit CountingExecutor(int threads) : pool_(threads) {}
  int concurrency() const noexcept override { return pool_.concurrency(); }
  void run(int count, void (*task)(void*, int), void* context) override {
    jobs++;
    pool_.run(count, task, context);
  }

  std::atomic<int> jobs{0};  // calls of run()

 private:
  ThreadPool pool_;
};

}  // namespace caracal
