// Runtime: the explicit context that models run in. Holds the thread pool and the chosen kernels; there are no globals.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <caracal/kernels/kernels.h>
#include <caracal/runtime/arena.h>
#include <caracal/runtime/tensor.h>
#include <caracal/runtime/thread_pool.h>

namespace caracal {

enum class LogLevel { info, warning };
/// Receives what the library has to say beside results and errors: it never prints. Called by the thread whose call has
/// something to say.
using LogCallback = std::function<void(LogLevel level, const std::string& text)>;

struct RuntimeOptions {
  /// Threads that work on one call, the caller included; 0: as many as the process may use (affinity and cgroup quota).
  int threads = 0;
  /// Instruction-set tier "scalar", "avx2", "avx2_vnni", "avx512", "avx512_vnni" or "avx512_bf16"; empty: the
  /// environment variable CARACAL_ISA, else the best one. A backend other than native takes avx2 and avx512 for those
  /// that add to them.
  std::string isa = {};
  /// Who computes matrix products and convolutions: "native", "onednn" or "eigen"; empty: the environment variable
  /// CARACAL_BACKEND, else native, and eigen where the architecture has no tier of its own (Arm). Results are equal to
  /// 2e-5. Bits that depend on nothing but the input are promised of native and eigen; onednn allocates in forward.
  std::string backend = {};
  /// Runs the parallel work instead of an own pool; `threads`, `spin_us` and `move_late` are then unused.
  std::shared_ptr<Executor> executor = {};
  /// Microseconds an idle pool thread spins before it sleeps.
  int spin_us = 200;
  /// Calls sched_setaffinity for a pool thread that wakes behind its caller (see ThreadPool). Set to false in a process
  /// that later takes the right to do so from itself.
  bool move_late = true;
  LogCallback log = {};
};

/// Shared by as many models and calling threads as you like.
class Runtime {
 public:
  /// Throws invalid_argument for an unknown or unsupported tier (the message lists the tiers this machine has) or an
  /// unknown backend, not_built for a backend that was not linked.
  explicit Runtime(const RuntimeOptions& options = {});

  const kernels::Kernels& cpu() const noexcept { return *cpu_; }
  /// Name of the instruction-set tier in use.
  const char* isa() const noexcept { return cpu_->name; }
  /// Name of the backend in use.
  const char* backend() const noexcept { return kernels::backend_name(cpu_->backend); }
  int threads() const noexcept { return threads_; }
  Executor& executor() const noexcept { return *executor_; }
  void log(LogLevel level, const std::string& text) const {
    if (log_) log_(level, text);
  }

  /// The same kernels on the calling thread alone. For work within tasks, which may not wait for tasks of their own: an
  /// executor of few threads would have none left.
  Runtime alone() const;

  /// Runs f(begin, end, task) over disjoint ranges that cover [0, n), of about `grain` items or more. `task` numbers
  /// the ranges from 0 to at most max_tasks() - 1: for memory that ranges running at the same time must not share. f
  /// must not throw.
  template <class F>
  void parallel(int64_t n, int64_t grain, const F& f) const;
  /// Four tasks a thread: enough for fast threads to help slow ones, few enough to cost nothing.
  int max_tasks() const noexcept { return threads() == 1 ? 1 : 4 * threads(); }

 private:
  const kernels::Kernels* cpu_;
  std::shared_ptr<Executor> executor_;
  int threads_;
  LogCallback log_;
};

/// How many CPUs this process may use: its affinity mask, capped by the cgroup's CPU quota; at least 1.
int available_cpus();

/// What an op of one call needs: the runtime and the call's workspace. Passed by reference from op to op.
class Ctx {
 public:
  /// With `planning`, ops allocate but compute nothing: how prepare() finds out the size of the workspace.
  Ctx(const Runtime& runtime, Arena& arena, bool planning = false)
      : runtime_(runtime), arena_(arena), planning_(planning) {}

  const Runtime& runtime() const noexcept { return runtime_; }
  const kernels::Kernels& cpu() const noexcept { return runtime_.cpu(); }
  bool planning() const noexcept { return planning_; }

  /// An uninitialised tensor in the workspace: valid until the enclosing Scope ends.
  Tensor empty(const Shape& shape, DType dtype = DType::F32);
  /// Raw workspace memory, 64-byte aligned.
  void* scratch(size_t bytes) { return arena_.allocate(bytes); }

  /// Runtime::parallel, skipped while planning. All computing of an op happens in here.
  template <class F>
  void parallel(int64_t n, int64_t grain, const F& f) const {
    if (!planning_) runtime_.parallel(n, grain, f);
  }

  /// Gives back at its end what was allocated since its beginning.
  class Scope {
   public:
    explicit Scope(Ctx& ctx) : arena_(ctx.arena_), mark_(arena_.mark()) {}
    ~Scope() { arena_.rewind(mark_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    Arena::Mark mark_;
  };

 private:
  const Runtime& runtime_;
  Arena& arena_;
  bool planning_;
};

template <class F>
void Runtime::parallel(int64_t n, int64_t grain, const F& f) const {
  if (n <= 0) return;
  const int64_t tasks = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, max_tasks());
  if (tasks == 1) return f(int64_t(0), n, 0);
  struct Job {
    const F& f;
    int64_t n, tasks;
  } job{f, n, tasks};
  executor_->run(
      int(tasks),
      [](void* context, int i) {
        const Job& self = *static_cast<const Job*>(context);
        self.f(self.n * i / self.tasks, self.n * (i + 1) / self.tasks, i);
      },
      &job);
}

}  // namespace caracal
