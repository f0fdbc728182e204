// Measures what the machine can give, for the floor that compare.py prints beside every time:
//   probe THREADS  ->  {"fma_gflops": ..., "dram_gbps": ...}
// Build: g++ -O2 -std=c++20 -pthread with -mavx512f, or -mavx2 -mfma, or neither. Each number is the best of several
// short windows: a floor must be what the machine can do, not what it did while disturbed.
#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vec __attribute__((vector_size(kLanes * 4), aligned(kLanes * 4)));
typedef int64_t IntVec __attribute__((vector_size(kLanes * 4), aligned(kLanes * 4)));

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <typename T>
void keep(T& value) {
#if defined(__x86_64__)
  asm volatile("" : "+v"(value));
#else
  asm volatile("" : "+w"(value));
#endif
}

// 12 independent chains of a * b + c cover latency 4 at 2 a cycle. Returns floating point operations.
double fma_loop(int64_t rounds) {
  Vec acc[12];
  for (auto& a : acc) a = Vec{} + 1.0f;
  Vec b = Vec{} + 0.999f;
  Vec c = Vec{} + 0.001f;
  keep(b);
  keep(c);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (auto& a : acc) a = a * b + c;
  }
  for (auto& a : acc) keep(a);
  return static_cast<double>(rounds) * 12 * kLanes * 2;
}

// Reads every cache line of its share, 8 vectors at a time. Returns bytes.
double read_loop(const char* data, int64_t bytes) {
  IntVec sum[8] = {};
  constexpr int64_t kStep = 8 * static_cast<int64_t>(sizeof(IntVec));
  for (int64_t i = 0; i + kStep <= bytes; i += kStep) {
    const auto* v = reinterpret_cast<const IntVec*>(data + i);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) sum[k] ^= v[k];
  }
  for (auto& s : sum) keep(s);
  return static_cast<double>(bytes / kStep * kStep);
}

// Runs work(thread) on all threads at once, `windows` times; returns the best (sum of work) / (slowest thread's time).
double best_rate(int threads, int windows, const std::function<double(int)>& work) {
  std::vector<double> done(threads), start(threads), stop(threads);
  double best = 0;
  std::barrier barrier(threads, [] {});
  auto body = [&](int t) {
    for (int w = 0; w < windows; ++w) {
      barrier.arrive_and_wait();
      start[t] = now();
      done[t] = work(t);
      stop[t] = now();
      barrier.arrive_and_wait();
      if (t != 0) continue;
      double total = 0;
      for (double d : done) total += d;
      best = std::max(
          best, total / (*std::max_element(stop.begin(), stop.end()) - *std::min_element(start.begin(), start.end())));
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(body, t);
  body(0);
  for (auto& thread : pool) thread.join();
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1 || threads > 4096) {
    std::fprintf(stderr, "usage: probe THREADS\n");
    return 2;
  }
  const double fma = best_rate(threads, 8, [](int) { return fma_loop(int64_t{4} << 20); });

  // Far larger than any last-level cache, in huge pages where the system gives them.
  const int64_t share = ((int64_t{512} << 20) / threads) & ~int64_t{4095};
  const int64_t bytes = share * threads;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  std::memset(memory, 1, bytes);
  const char* data = static_cast<const char*>(memory);
  const double read = best_rate(threads, 8, [&](int t) { return read_loop(data + t * share, share); });
  std::printf("{\"fma_gflops\": %.1f, \"dram_gbps\": %.2f, \"lanes\": %d}\n", fma / 1e9, read / 1e9, kLanes);
  return 0;
}
