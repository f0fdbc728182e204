#include <caracal/runtime/thread_pool.h>

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <fstream>
#include <span>
#include <string>

#include <caracal/runtime/error.h>

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

constexpr int kTaskBits = 20;
constexpr uint64_t kTaskMask = (uint64_t(1) << kTaskBits) - 1;
constexpr uint32_t kJobMask = (uint32_t(1) << (64 - 2 * kTaskBits)) - 1;

// The tasks of thread `self`: an even split of [0, tasks) into contiguous ranges.
uint64_t pack_range(uint32_t job, int tasks, int self, int threads) {
  const uint64_t begin = uint64_t(tasks) * uint64_t(self) / uint64_t(threads);
  const uint64_t end = uint64_t(tasks) * uint64_t(self + 1) / uint64_t(threads);
  return uint64_t(job & kJobMask) << (2 * kTaskBits) | begin << kTaskBits | end;
}

constexpr int64_t kLateNs = 50'000;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// True when a filter decides on this process's system calls: many a one kills for sched_setaffinity.
bool under_seccomp() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("Seccomp:")) return line.find_first_of("12") != line.npos;
  return true;
}

}  // namespace

// What a worker says of its sleep.
struct alignas(64) ThreadPool::Sleeper {
  std::atomic<int> thread{0};      // as the system knows it; 0: awake. Asleep, or woken and not yet come
  std::atomic<uint32_t> since{0};  // the last job it saw
  std::atomic<bool> moved{false};  // may use one processor less than `allowed`
  cpu_set_t allowed;
};

ThreadPool::ThreadPool(int threads, int spin_us, bool move_late)
    : queues_(size_t(std::clamp(threads, 1, kMaxThreads))),
      sleepers_(new Sleeper[queues_.size() - 1]),
      spin_us_(spin_us),
      process_(::getpid()),
      move_late_(move_late && !under_seccomp()) {
  if (threads < 1 || threads > kMaxThreads)
    throw Error(ErrorCode::invalid_argument, "ThreadPool",
                "expected 1 to " + std::to_string(kMaxThreads) + " threads but got " + std::to_string(threads));
  threads_.reserve(queues_.size() - 1);
  try {
    for (int i = 1; i < concurrency(); i++) threads_.emplace_back([this, i] { worker(i); });
  } catch (const std::exception& e) {
    stop();
    throw Error(ErrorCode::io, "ThreadPool",
                "expected to start " + std::to_string(threads - 1) + " threads but got: " + e.what());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  if (::getpid() != process_) {  // after fork(): nobody to join, and a std::thread must not be destroyed unjoined
    new std::vector<std::thread>(std::move(threads_));
    return;
  }
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(int tasks, void (*task)(void*, int), void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || threads_.empty() || uint64_t(tasks) > kTaskMask ||
      calls_.load(std::memory_order_relaxed) >= concurrency() || busy_.exchange(true, std::memory_order_acquire)) {
    for (int i = 0; i < tasks; i++) task(context, i);
    return;
  }
  // A worker may still look at the previous job's queues: all of them are empty, and stay so until the words below
  // replace them, job number, next task and end at once. Nothing else that it reads decides what it claims.
  const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
  fetch_late(epoch - 1);
  task_.store(task, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  unfinished_.store(tasks, std::memory_order_relaxed);
  for (int i = 0; i < concurrency(); i++)
    queues_[size_t(i)].range.store(pack_range(epoch, tasks, i, concurrency()), std::memory_order_release);
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
      sleep(sleepers_[size_t(self - 1)], seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    work(seen, self);
  }
}

void ThreadPool::sleep(Sleeper& sleeper, uint32_t seen) {
  static thread_local const int thread = int(::syscall(SYS_gettid));
  sleeper.since.store(seen, std::memory_order_relaxed);
  sleeper.thread.store(thread, std::memory_order_release);
  sleeping_.fetch_add(1, std::memory_order_relaxed);
  epoch_.wait(seen, std::memory_order_acquire);
  sleeping_.fetch_sub(1, std::memory_order_relaxed);
  sleeper.thread.store(0);
  if (sleeper.moved.load()) {
    const cpu_set_t allowed = sleeper.allowed;
    sleeper.moved.store(false);
    ::sched_setaffinity(0, sizeof allowed, &allowed);
  }
}

// Before job epoch + 1: forbids the caller's processor to those that were woken for an earlier job and have not come.
// Where another processor already wakes for them nothing moves.
void ThreadPool::fetch_late(uint32_t epoch) {
  if (!move_late_ || sleeping_.load(std::memory_order_relaxed) == 0) {
    woken_at_ = 0;
    return;
  }
  const int64_t now = now_ns();
  const bool due = woken_at_ != 0 && now - woken_at_ > kLateNs;
  bool any_late = false;
  for (Sleeper& sleeper : std::span(sleepers_.get(), threads_.size())) {
    const int thread = sleeper.thread.load(std::memory_order_acquire);
    if (thread == 0 || sleeper.since.load(std::memory_order_relaxed) == epoch) continue;
    any_late = true;
    if (!due || sleeper.moved.load(std::memory_order_acquire)) continue;
    if (::getpid() != process_) return;  // after fork()
    if (::sched_getaffinity(thread, sizeof sleeper.allowed, &sleeper.allowed) != 0) continue;
    cpu_set_t others = sleeper.allowed;
    CPU_CLR(size_t(std::max(0, ::sched_getcpu())), &others);
    if (CPU_COUNT(&others) == 0) continue;
    sleeper.moved.store(true);
    ::sched_setaffinity(thread, sizeof others, &others);
    if (sleeper.thread.load() != thread || !sleeper.moved.load()) {  // it came meanwhile, and may have looked before
      ::sched_setaffinity(thread, sizeof sleeper.allowed, &sleeper.allowed);
      sleeper.moved.store(false);
    }
  }
  if (!any_late || woken_at_ == 0) woken_at_ = now;  // the job to come wakes those that sleep
}

// Claims and runs tasks of job `epoch`: first of the thread's own range, then of the others'.
void ThreadPool::work(uint32_t epoch, int self) {
  for (int step = 0; step < concurrency(); step++) {
    std::atomic<uint64_t>& range = queues_[size_t((self + step) % concurrency())].range;
    uint64_t seen = range.load(std::memory_order_acquire);
    while (true) {
      const uint64_t next = seen >> kTaskBits & kTaskMask, end = seen & kTaskMask;
      if (uint32_t(seen >> (2 * kTaskBits)) != (epoch & kJobMask) || next == end) break;
      if (!range.compare_exchange_weak(seen, seen + (uint64_t(1) << kTaskBits), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
        continue;
      // The claimed task keeps its job from ending, so these are the job's.
      task_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), int(next));
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
      seen = range.load(std::memory_order_acquire);
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
