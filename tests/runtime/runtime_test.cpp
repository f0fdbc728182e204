#include <caracal/runtime/runtime.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace caracal {
namespace {

TEST(Runtime, ForcedTierIsTheOneThatRuns) {
  for (kernels::Isa isa : kernels::kIsas) {
    if (!kernels::isa_supported(isa)) continue;
    const Runtime runtime({.threads = 1, .isa = kernels::isa_name(isa)});
    EXPECT_STREQ(runtime.isa(), kernels::isa_name(isa));
    EXPECT_EQ(runtime.cpu().isa, isa);
    EXPECT_EQ(runtime.cpu().layer_norm_f32, kernels::cpu_kernels(isa).layer_norm_f32);
  }
}

TEST(Runtime, EnvironmentForcesTheTier) {
  const char* before = std::getenv("CARACAL_ISA");
  const std::string saved = before != nullptr ? before : "";
  setenv("CARACAL_ISA", "scalar", 1);
  EXPECT_STREQ(Runtime({.threads = 1}).isa(), "scalar");
  setenv("CARACAL_ISA", "sse9", 1);
  EXPECT_THROW(Runtime(RuntimeOptions{}), Error);
  unsetenv("CARACAL_ISA");
  EXPECT_STREQ(Runtime({.threads = 1}).isa(), kernels::isa_name(kernels::best_isa()));
  if (before != nullptr) setenv("CARACAL_ISA", saved.c_str(), 1);
}

TEST(Runtime, ForcedBackendIsTheOneThatRuns) {
  for (kernels::Backend backend : kernels::kBackends) {
    const RuntimeOptions options{.threads = 1, .backend = kernels::backend_name(backend)};
    if (kernels::backend_kernels(backend, kernels::best_isa()) == nullptr) {
      try {
        Runtime runtime(options);
        FAIL() << "no error";
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::not_built);
        EXPECT_NE(std::string(e.what()).find("[backend]"), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("not built; configure with -DCARACAL_ONEDNN=ON"), std::string::npos);
      }
      continue;
    }
    const Runtime runtime(options);
    EXPECT_STREQ(runtime.backend(), kernels::backend_name(backend));
    EXPECT_EQ(runtime.cpu().gemm_f32, kernels::backend_kernels(backend, kernels::best_isa())->gemm_f32);
  }
  EXPECT_THROW(Runtime({.threads = 1, .backend = "mkl"}), Error);
  EXPECT_THROW(Runtime({.threads = 1, .backend = "cublas"}), Error);
}

TEST(Runtime, EnvironmentForcesTheBackend) {
  const char* before = std::getenv("CARACAL_BACKEND");
  const std::string saved = before != nullptr ? before : "";
  setenv("CARACAL_BACKEND", "eigen", 1);
  EXPECT_STREQ(Runtime({.threads = 1}).backend(), "eigen");
  EXPECT_STREQ(Runtime({.threads = 1, .backend = "native"}).backend(), "native");
  unsetenv("CARACAL_BACKEND");
  EXPECT_STREQ(Runtime({.threads = 1}).backend(), kernels::backend_name(kernels::best_backend()));
  if (before != nullptr) setenv("CARACAL_BACKEND", saved.c_str(), 1);
}

TEST(Runtime, UnknownTierListsTheSupportedOnes) {
  try {
    Runtime runtime({.threads = 1, .isa = "avx1024"});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(e.what()).find("scalar"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("'avx1024'"), std::string::npos) << e.what();
  }
}

TEST(Runtime, ParallelCoversTheRangeOnce) {
  for (int threads : {1, 2, 5}) {
    const Runtime runtime({.threads = threads});
    for (int64_t n : {0, 1, 2, 19, 20, 21, 1000}) {
      for (int64_t grain : {0, 1, 7, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        std::mutex mutex;
        std::set<int> tasks;
        runtime.parallel(n, grain, [&](int64_t begin, int64_t end, int task) {
          EXPECT_LT(task, runtime.max_tasks());
          for (int64_t i = begin; i < end; i++) seen[size_t(i)]++;
          std::lock_guard lock(mutex);
          EXPECT_TRUE(tasks.insert(task).second);
        });
        for (auto& each : seen) EXPECT_EQ(each, 1);
      }
    }
  }
}

// Runs every task on a fresh thread.
class ThreadPerTask final : public Executor {
 public:
  int concurrency() const noexcept override { return 3; }
  void run(int tasks, void (*task)(void*, int), void* context) override {
    jobs++;
    std::vector<std::thread> threads;
    for (int i = 0; i < tasks; i++) threads.emplace_back([=] { task(context, i); });
    for (std::thread& thread : threads) thread.join();
  }
  std::atomic<int> jobs{0};
};

TEST(Runtime, UsesTheCallersExecutor) {
  auto executor = std::make_shared<ThreadPerTask>();
  const Runtime runtime({.executor = executor});
  EXPECT_EQ(runtime.threads(), 3);
  std::atomic<int64_t> sum{0};
  runtime.parallel(100, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) sum += i;
  });
  EXPECT_EQ(sum, 4950);
  EXPECT_EQ(executor->jobs, 1);
}

struct NoThreads final : Executor {
  int concurrency() const noexcept override { return 0; }
  void run(int, void (*)(void*, int), void*) override {}
};

TEST(Runtime, RefusesAnExecutorThatRunsNothing) {
  EXPECT_THROW(Runtime({.executor = std::make_shared<NoThreads>()}), Error);
}

TEST(Runtime, CountsCpus) {
  EXPECT_GE(available_cpus(), 1);
  EXPECT_EQ(Runtime().threads(), available_cpus());
  EXPECT_THROW(Runtime({.threads = -1}), Error);
}

}  // namespace
}  // namespace caracal
