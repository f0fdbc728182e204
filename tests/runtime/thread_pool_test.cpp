#include <caracal/runtime/thread_pool.h>

#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <caracal/runtime/error.h>
#include <caracal/tests/resources.h>

namespace caracal {
namespace {

int threads_of_process() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) count += !entry.path().empty();
  return count;
}

struct Counts {
  std::vector<std::atomic<int>> seen;
  explicit Counts(int tasks) : seen(size_t(tasks)) {}
  static void task(void* context, int index) { static_cast<Counts*>(context)->seen[size_t(index)]++; }
  void expect_each(int times) const {
    for (size_t i = 0; i < seen.size(); i++) EXPECT_EQ(seen[i], times) << "task " << i;
  }
};

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.concurrency(), threads);
    for (int tasks : {0, 1, 2, 3, 7, 64, 1000}) {
      Counts counts(tasks);
      pool.run(tasks, Counts::task, &counts);
      counts.expect_each(1);
    }
  }
}

TEST(ThreadPool, OneThreadStartsNone) {
  const int before = threads_of_process();
  ThreadPool pool(1);
  Counts counts(100);
  pool.run(100, Counts::task, &counts);
  EXPECT_EQ(threads_of_process(), before);
  ThreadPool three(3);
  EXPECT_EQ(threads_of_process(), before + 2);
}

TEST(ThreadPool, ManyJobsInARow) {
  ThreadPool pool(4);
  Counts counts(9);
  for (int i = 0; i < 20'000; i++) pool.run(9, Counts::task, &counts);
  counts.expect_each(20'000);
}

// Job after job of another size: a thread that still looks at the last job must not claim tasks of the next.
TEST(ThreadPool, JobsOfChangingSize) {
  for (int spin_us : {0, 200}) {
    for (int threads : {2, 4}) {
      ThreadPool pool(threads, spin_us);
      Counts counts(64);
      std::vector<int> expected(64);
      uint32_t random = 1;
      for (int job = 0; job < 40'000; job++) {
        random = random * 1664525 + 1013904223;
        const int tasks = 2 + int(random >> 16) % 63;
        pool.run(tasks, Counts::task, &counts);
        for (int i = 0; i < tasks; i++) expected[size_t(i)]++;
      }
      for (size_t i = 0; i < 64; i++) ASSERT_EQ(counts.seen[i], expected[i]) << "task " << i;
    }
  }
}

TEST(ThreadPool, RefusesAbsurdCounts) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(ThreadPool::kMaxThreads + 1), Error);
}

TEST(ThreadPool, WakesSleepersAfterTheSpin) {
  ThreadPool pool(3, /*spin_us=*/1);
  Counts counts(12);
  for (int i = 0; i < 50; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run(12, Counts::task, &counts);
  }
  counts.expect_each(50);
}

TEST(ThreadPool, SeveralCallersAtOnce) {
  ThreadPool pool(3);
  constexpr int kCallers = 5, kJobs = 2'000;
  std::vector<Counts> counts;
  for (int i = 0; i < kCallers; i++) counts.emplace_back(17);
  std::vector<std::thread> callers;
  for (Counts& mine : counts)
    callers.emplace_back([&] {
      for (int i = 0; i < kJobs; i++) pool.run(17, Counts::task, &mine);
    });
  for (std::thread& caller : callers) caller.join();
  for (const Counts& each : counts) each.expect_each(kJobs);
}

// While as many calls as threads run, each does its work itself; with one less they share again.
TEST(ThreadPool, AsManyCallsAsThreadsStayOnTheirs) {
  ThreadPool pool(3);
  std::atomic<int> elsewhere{0};
  const auto run = [&] {
    struct Job {
      std::thread::id caller;
      std::atomic<int>& elsewhere;
    } job{std::this_thread::get_id(), elsewhere};
    pool.run(
        12,
        [](void* context, int) {
          const Job& mine = *static_cast<const Job*>(context);
          mine.elsewhere += std::this_thread::get_id() != mine.caller;
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        },
        &job);
  };
  for (int i = 0; i < 3; i++) pool.begin_call();
  for (int i = 0; i < 10; i++) run();
  EXPECT_EQ(elsewhere, 0);
  pool.end_call();
  for (int i = 0; i < 100 && elsewhere == 0; i++) run();
  EXPECT_GT(elsewhere, 0);
}

// A caller that has stopped spinning is woken when the last task ends on another thread.
TEST(ThreadPool, WakesTheCaller) {
  ThreadPool pool(2, /*spin_us=*/1);
  for (int round = 0; round < 5; round++) {
    std::atomic<bool> started{false};
    pool.run(
        2,
        [](void* context, int index) {
          auto& flag = *static_cast<std::atomic<bool>*>(context);
          if (index == 0) {
            while (!flag) std::this_thread::yield();  // until the other thread has taken task 1
          } else {
            flag = true;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        },
        &started);
  }
}

// A thread that wakes behind its busy caller is moved to another processor, and may use all of them again afterwards;
// of itself it moves in one round of a hundred.
TEST(ThreadPool, MovesWhoWakesBehindItsCaller) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "one processor";
  if (process_status("Seccomp") != 0) GTEST_SKIP() << "a filter of system calls";
  struct Reset {  // what the test does to its own thread
    const cpu_set_t& all;
    ~Reset() { sched_setaffinity(0, sizeof all, &all); }
  } reset{all};
  struct Job {
    std::atomic<int> worker{0}, processor{-1};  // the worker's, if it has run
    static void task(void* context, int) {
      if (gettid() != getpid()) {
        static_cast<Job*>(context)->processor = sched_getcpu();
        static_cast<Job*>(context)->worker = gettid();
      }
      for (const auto end = Clock::now() + std::chrono::microseconds(30); Clock::now() < end;) {
      }
    }
    using Clock = std::chrono::steady_clock;
  };
  auto rounds_moved = [&](ThreadPool& pool, int rounds, int enough) {
    Job job;
    while (job.worker == 0) pool.run(8, Job::task, &job);
    const int worker = job.worker;
    const int processor = sched_getcpu();
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(size_t(processor), &here);
    EXPECT_EQ(sched_setaffinity(0, sizeof here, &here), 0);
    int moved = 0;
    for (int round = 0; round < rounds && moved < enough; round++) {
      // Asleep on this processor, so that it wakes here; then free to go, but nobody else fetches it so soon.
      EXPECT_EQ(sched_setaffinity(worker, sizeof here, &here), 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      job.worker = 0, job.processor = -1;
      pool.run(2, Job::task, &job);
      EXPECT_EQ(sched_setaffinity(worker, sizeof all, &all), 0);
      for (int i = 0; i < 5 && (job.processor == -1 || job.processor == processor); i++) pool.run(2, Job::task, &job);
      moved += job.processor != -1 && job.processor != processor;
      const auto deadline = Job::Clock::now() + std::chrono::seconds(5);
      cpu_set_t now;
      do {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        EXPECT_EQ(sched_getaffinity(worker, sizeof now, &now), 0);
      } while (!CPU_EQUAL(&now, &all) && Job::Clock::now() < deadline);
      EXPECT_TRUE(CPU_EQUAL(&now, &all)) << "round " << round;
    }
    return moved;
  };
  ThreadPool moving(2, /*spin_us=*/1);
  EXPECT_EQ(rounds_moved(moving, 300, 8), 8);
  ThreadPool still(2, /*spin_us=*/1, /*move_late=*/false);
  EXPECT_LE(rounds_moved(still, 20, 20), 4);
}

// Results written by the tasks are visible to the caller when run() returns.
TEST(ThreadPool, PublishesResults) {
  ThreadPool pool(4);
  std::vector<int> values(64);
  for (int round = 1; round < 3'000; round++) {
    struct Job {
      std::vector<int>& values;
      int round;
    } job{values, round};
    pool.run(
        64,
        [](void* context, int i) {
          Job& mine = *static_cast<Job*>(context);
          mine.values[size_t(i)] = mine.round + i;
        },
        &job);
    for (int i = 0; i < 64; i++) ASSERT_EQ(values[size_t(i)], round + i);
  }
}

}  // namespace
}  // namespace caracal
