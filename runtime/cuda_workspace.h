// One call on a CUDA device. Model code runs as it does on the CPU, but its ops only note down the launches they want;
// then all of them go to the device at once: as a graph that was captured when the same launches were first asked for.
//
//   CudaWorkspacePool::Lease workspace(pool);  // makes the device current
//   workspace.begin(DType::F16);
//   Ctx ctx(runtime, workspace);
//   run(ctx, …);                        // allocates, checks, notes launches, computes what is integer on the host
//   while (!workspace.settle()) again;  // memory was too small: it has grown, and lies elsewhere
//   workspace.execute();                // one upload, one graph, one wait, then what fetch() was given
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <caracal/runtime/arena.h>
#include <caracal/runtime/cuda_device.h>
#include <caracal/runtime/later.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// The memory, stream and graphs of one call at a time. The device must be current (CudaDevice::Use).
class CudaWorkspace {
 public:
  explicit CudaWorkspace(std::shared_ptr<const CudaDevice> device);
  ~CudaWorkspace();
  CudaWorkspace(const CudaWorkspace&) = delete;
  CudaWorkspace& operator=(const CudaWorkspace&) = delete;

  const CudaDevice& device() const noexcept { return *device_; }
  /// Of activations: F32, F16 or BF16.
  DType numbers() const noexcept { return numbers_; }
  /// Device memory that a Ctx::Scope takes back, and memory of the CPU that lasts until the next begin().
  Arena& arena() noexcept { return arena_; }
  Arena& host() noexcept { return host_; }

  /// Forgets the last call and starts to note launches.
  void begin(DType numbers);
  /// Notes the launch of a kernel: launch<&Cuda::layer_norm>(args).
  template <auto Kernel, class Args>
  void launch(const Args& args);
  /// What was noted last, to be changed by who notes next; null if it was not a launch of this kernel.
  template <auto Kernel, class Args>
  Args* last_launch();
  /// GemmArgs::counters, for all products of the workspace.
  void* counters() const noexcept { return counters_.get(); }
  /// Notes memory of 0s, and a copy between any two places, of which the CPU's is pinned.
  void fill_zero(void* memory, size_t bytes);
  void copy(void* to, const void* from, size_t bytes);

  /// Where the device will find these integers, which must stay as they are: they are copied now and go up with the
  /// call's one upload. The same pointer and count again give the same place.
  const int64_t* on_device(const int64_t* values, int64_t count);
  /// The same for any memory, copied anew each time, with 0s behind it up to `room` bytes.
  void* on_device(const void* memory, size_t bytes, size_t room);
  /// Calls f, which may lie in host(), with columns [column, column + cols) of x, in the CPU's memory as F32 (integers
  /// as they are), when the device is done.
  void fetch(const Tensor& x, int64_t column, int64_t cols, Later f);

  /// False when the call did not fit the memory there was: nothing noted can be used, begin() makes room.
  bool settle() const;
  /// Makes sure that there is a graph of what was noted; settle() was true. False where there is none and no room for
  /// one more. Throws what failed when these launches were captured, now or before: it is not tried again.
  bool capture();
  /// False once the driver refused to begin a capture and there was no graph of an earlier one: capture() does nothing
  /// more, calls are launch by launch.
  bool captures() const noexcept { return captures_; }
  /// How many graphs there are, and how often all were forgotten, because memory grew.
  size_t graphs() const noexcept { return graphs_.size(); }
  int64_t forgotten() const noexcept { return forgotten_; }
  /// Does what was noted on this stream (cudaStream_t) of the device, by default one of its own, waits for the stream
  /// and calls the functions given to fetch(). What cannot be captured is launched without a graph, and throws what
  /// fails there. A new graph takes the place of one that was not used, or not for longest, where there is no room.
  void execute(void* stream = nullptr);

 private:
  struct CopyArgs {
    void* to;
    const void* from;
    size_t bytes;
  };
  // What can be noted, and how it is called and described when it fails.
  struct Work {
    const char* name;
    int (*start)(const kernels::cuda::Cuda& table, kernels::cuda::Stream stream, const void* args);
    std::string (*sizes)(const void* args);
    int (*find)(const kernels::cuda::Cuda& table, const void* args) = nullptr;  // what a capture needs, before it
  };
  template <auto Kernel, class Args>
  static const Work kWork;
  static const Work kFillZero, kCopy;
  // One noted launch, followed by `size` bytes of arguments.
  struct Launch {
    const Work* work;
    size_t size;
  };
  struct Place {
    const int64_t* values;
    int64_t count;
    const int64_t* at;
  };
  struct Fetched {
    Tensor x;
    Later f;
  };
  struct Captured {
    std::vector<std::byte> launches;
    kernels::cuda::Graph graph;  // or null, and
    std::exception_ptr failure;
  };
  using Graphs = std::list<Captured>;

  static constexpr size_t kMostGraphs = 1024;

  void note(const Launch& launch, const void* args);
  // Calls f(work, arguments) for what was noted, in order.
  template <class F>
  void for_each_launch(const F& f) const;
  void start_all(kernels::cuda::Stream stream) const;
  Graphs::iterator find(uint64_t* hash);
  Graphs::iterator add(uint64_t hash, Graphs::iterator place);
  kernels::cuda::Graph capture_launches();
  void forget(Graphs::iterator which) noexcept;
  void drop_graphs() noexcept;

  std::shared_ptr<const CudaDevice> device_;
  DType numbers_ = DType::F32;
  std::shared_ptr<CUstream_st> stream_;
  Arena arena_, host_, staging_, fetched_;
  std::shared_ptr<void> twin_;  // of staging_: what is uploaded
  size_t twin_size_ = 0;
  std::array<const void*, 4> bases() const { return {arena_.base(), staging_.base(), fetched_.base(), twin_.get()}; }
  std::array<const void*, 4> bases_{};  // of the memory that graphs were captured with

  std::shared_ptr<void> counters_;

  std::vector<std::byte> launches_, key_;
  size_t last_ = 0;  // where the last one of them begins
  std::vector<Place> places_;
  std::vector<Fetched> receivers_;
  bool captures_ = true;
  int64_t forgotten_ = 0;
  Graphs graphs_;  // last used first, then those never used
  std::unordered_multimap<uint64_t, Graphs::iterator> by_hash_;
};

/// "gemm" of &Cuda::gemm.
template <auto Kernel>
constexpr const char* kernel_name() {
  constexpr auto same = []<class T>(T other) {
    if constexpr (std::is_same_v<T, decltype(Kernel)>) return Kernel == other;
    return false;
  };
#define KERNEL(name, Args) \
  if (same(&kernels::cuda::Cuda::name)) return #name;
#include <caracal/kernels/cuda/kernels.def>
#undef KERNEL
  return "?";
}

/// "rows 3, n 4, k 8": those of a kernel's arguments that say how much there is.
template <class Args>
std::string sizes_of(const Args& args) {
  std::string text;
#define CARACAL_SIZE(name)                        \
  if constexpr (requires { int64_t{args.name}; }) \
    text += (text.empty() ? #name " " : ", " #name " ") + std::to_string(args.name);
  CARACAL_SIZE(batch)
  CARACAL_SIZE(tokens)
  CARACAL_SIZE(rows)
  CARACAL_SIZE(cols)
  CARACAL_SIZE(n)
  CARACAL_SIZE(k)
  CARACAL_SIZE(heads)
  CARACAL_SIZE(head_dim)
  CARACAL_SIZE(count)
  CARACAL_SIZE(channels)
  CARACAL_SIZE(in_channels)
  CARACAL_SIZE(out_channels)
  CARACAL_SIZE(height)
  CARACAL_SIZE(width)
#undef CARACAL_SIZE
  return text;
}

template <auto Kernel, class Args>
const CudaWorkspace::Work CudaWorkspace::kWork{
    kernel_name<Kernel>(),
    [](const kernels::cuda::Cuda& table, kernels::cuda::Stream stream, const void* args) {
      return (table.*Kernel)(stream, *static_cast<const Args*>(args));
    },
    [](const void* args) { return sizes_of(*static_cast<const Args*>(args)); },
    [](const kernels::cuda::Cuda& table, const void* args) {
      if constexpr (std::is_same_v<Args, kernels::cuda::GemmArgs>)
        return table.find_gemm(*static_cast<const Args*>(args));
      else
        return 0;
    }};

template <auto Kernel, class Args>
void CudaWorkspace::launch(const Args& args) {
  static_assert(std::is_trivially_copyable_v<Args> && sizeof(Args) % 8 == 0);
  note({&kWork<Kernel, Args>, sizeof args}, &args);
}

template <auto Kernel, class Args>
Args* CudaWorkspace::last_launch() {
  if (launches_.empty()) return nullptr;
  const auto* launch = reinterpret_cast<const Launch*>(launches_.data() + last_);
  return launch->work == &kWork<Kernel, Args> ? reinterpret_cast<Args*>(launches_.data() + last_ + sizeof *launch)
                                              : nullptr;
}

/// The idle workspaces of a model on a device.
class CudaWorkspacePool {
 public:
  explicit CudaWorkspacePool(std::shared_ptr<const CudaDevice> device) : device_(std::move(device)) {}

  /// Owns one workspace for the length of a call, and makes the device the thread's current one for as long.
  class Lease {
   public:
    explicit Lease(CudaWorkspacePool& pool) : use_(*pool.device_), pool_(pool), workspace_(pool.take()) {}
    ~Lease() { pool_.give(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    CudaWorkspace& operator*() const noexcept { return *workspace_; }

   private:
    CudaDevice::Use use_;
    CudaWorkspacePool& pool_;
    std::unique_ptr<CudaWorkspace> workspace_;
  };

 private:
  std::unique_ptr<CudaWorkspace> take();
  void give(std::unique_ptr<CudaWorkspace> workspace) noexcept;

  std::shared_ptr<const CudaDevice> device_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<CudaWorkspace>> idle_;
};

}  // namespace caracal
