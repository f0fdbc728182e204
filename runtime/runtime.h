// Runtime: the explicit context that models run in. Holds the thread pool and the chosen kernels; there are no globals.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <caracal/kernels/kernels.h>
#include <caracal/runtime/arena.h>
#include <caracal/runtime/later.h>
#include <caracal/runtime/tensor.h>
#include <caracal/runtime/thread_pool.h>

namespace caracal {

class CudaDevice;
class CudaWorkspace;

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
  /// 2e-5. Bits that depend on nothing but the input are promised of native and eigen; onednn allocates in forward. On
  /// a device: "native", or "cublas" for products (not convolutions) by NVIDIA's cuBLASLt, found at run time, where a
  /// row's last bits may depend on the batch's size.
  std::string backend = {};
  /// Runs the parallel work instead of an own pool; `threads`, `spin_us` and `move_late` are then unused.
  std::shared_ptr<Executor> executor = {};
  /// Microseconds an idle pool thread spins before it sleeps.
  int spin_us = 200;
  /// Calls sched_setaffinity for a pool thread that wakes behind its caller (see ThreadPool). Set to false in a process
  /// that later takes the right to do so from itself.
  bool move_late = true;
  LogCallback log = {};
  /// Where models run: "cpu", "cuda" or "cuda:1"; empty: the environment variable CARACAL_DEVICE, else cpu. Images,
  /// audio and text are prepared on the CPU always. A thread's current device is after a call what it was before.
  std::string device = {};
  /// The stream (a cudaStream_t of that device) of calls that name none themselves, such as a pipeline's; null: calls
  /// use streams of the library. What is promised of it: see ForwardOptions::cuda_stream.
  void* cuda_stream = nullptr;
  /// Whether float32 products on a CUDA device may run on its tensor cores, as PyTorch's
  /// torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32 have it: the operands of linear layers
  /// and of convolutions are rounded to TF32, the 8 bits of exponent of a float32 and 10 of its 23 of mantissa; their
  /// products are added in float32, and stay so. Attention, norms and all else are float32 as without it, and models in
  /// 16 bits are what they were. Outputs of the tests' checkpoints are then off by up to 0.003 of the largest
  /// number of float32's, after Wav2Vec2's convolutions by 0.01; with native a row's bits still depend on nothing but the
  /// input. Devices below compute capability 8.0 know no TF32, and operands whose rows are no multiple of 16 bytes do
  /// not fit it: they are multiplied exactly.
  bool tf32 = false;
};

/// Shared by as many models and calling threads as you like.
class Runtime {
 public:
  /// Throws invalid_argument for an unknown or unsupported tier (the message lists the tiers this machine has), an
  /// unknown backend or device, a backend of the other kind of device, a stream that is not of the device, or tf32 on
  /// the CPU; not_built for a backend or device that was not linked; unsupported for a CUDA device, or a cuBLASLt, that
  /// is not there.
  explicit Runtime(const RuntimeOptions& options = {});

  const kernels::Kernels& cpu() const noexcept { return *cpu_; }
  /// Name of the instruction-set tier in use.
  const char* isa() const noexcept { return cpu_->name; }
  /// Name of the backend in use where models run.
  const char* backend() const noexcept;
  /// The CUDA device that models run on; null: the CPU.
  const std::shared_ptr<const CudaDevice>& cuda() const noexcept { return cuda_; }
  /// RuntimeOptions::cuda_stream.
  void* cuda_stream() const noexcept { return cuda_stream_; }
  /// RuntimeOptions::tf32.
  bool tf32() const noexcept { return tf32_; }
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
  std::shared_ptr<const CudaDevice> cuda_;
  void* cuda_stream_;
  bool tf32_;
};

/// How many CPUs this process may use: its affinity mask, capped by the cgroup's CPU quota; at least 1.
int available_cpus();

/// What an op of one call needs: the runtime and the call's workspace. Passed by reference from op to op.
class Ctx {
 public:
  /// With `planning`, ops allocate but compute nothing: how prepare() finds out the size of the workspace.
  Ctx(const Runtime& runtime, Arena& arena, bool planning = false)
      : runtime_(runtime), arena_(arena), planning_(planning) {}

  /// A call on a device, see CudaWorkspace.
  Ctx(const Runtime& runtime, CudaWorkspace& workspace, bool planning = false);

  const Runtime& runtime() const noexcept { return runtime_; }
  const kernels::Kernels& cpu() const noexcept { return runtime_.cpu(); }
  bool planning() const noexcept { return planning_; }

  /// The workspace of a call on a device; null on the CPU.
  CudaWorkspace* cuda() const noexcept { return cuda_; }

  /// An uninitialised activation in the workspace, valid until the enclosing Scope ends: F32 on the CPU, on a device
  /// the model's numbers.
  Tensor empty(const Shape& shape);
  /// The same for other things. Integers are the CPU's memory always, and valid until the call ends on a device: ops
  /// send them there.
  Tensor empty(const Shape& shape, DType dtype);
  /// Raw workspace memory, 64-byte aligned.
  void* scratch(size_t bytes) { return arena_.allocate(bytes); }

  /// How many rows, or sequences, a batch of n is to have, those of no sequence (or empty) last: n on the CPU. A device
  /// replays the launches of an earlier call, if they are the same: few sizes serve all.
  int64_t bucket_rows(int64_t n) const noexcept { return cuda_ == nullptr ? n : next_bucket(n); }
  int64_t bucket_batch(int64_t n) const noexcept { return cuda_ == nullptr ? n : next_power(n); }
  int64_t bucket_images(int64_t n) const noexcept { return cuda_ == nullptr ? n : next_half_power(n); }
  /// The same for what is left of at most `all` rows: half, three quarters or all of them.
  int64_t bucket_part(int64_t n, int64_t all) const noexcept { return cuda_ == nullptr ? n : next_part(n, all); }
  /// 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, then four to a doubling; 0 for 0. A power of two, or 0. 1, 2, 3,
  /// 4, 6, 8, 12, then two to a doubling; 0 for 0.
  static int64_t next_bucket(int64_t n) noexcept;
  static int64_t next_power(int64_t n) noexcept;
  static int64_t next_half_power(int64_t n) noexcept;
  static int64_t next_part(int64_t n, int64_t all) noexcept;

  /// Calls f(t, c) with columns [column, column + cols) of x in the CPU's memory, as columns from c on of t: on the CPU
  /// now, on a device when the call is done. Not while planning. What f refers to must live until then.
  template <class F>
  void fetch_columns(const Tensor& x, int64_t column, int64_t cols, F f) {
    if (cuda_ != nullptr)
      fetch_later(x, column, cols, Later(later_memory(), [f = std::move(f)](const Tensor& t) { f(t, int64_t(0)); }));
    else if (!planning_)
      f(x, column);
  }
  /// The same for all of x: f(t).
  template <class F>
  void fetch(const Tensor& x, F f) {
    fetch_columns(x, 0, x.rank() > 0 ? x.size(-1) : 1, [f = std::move(f)](const Tensor& t, int64_t) { f(t); });
  }

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
  Arena& later_memory() const noexcept;
  void fetch_later(const Tensor& x, int64_t column, int64_t cols, Later f);

  const Runtime& runtime_;
  Arena& arena_;  // of the device, if there is one
  bool planning_;
  CudaWorkspace* cuda_ = nullptr;
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
