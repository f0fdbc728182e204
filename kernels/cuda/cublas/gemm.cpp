// Products by cuBLASLt in place of gemm.cu: a table that differs from cuda_table() in the product alone. The library is
// looked for when the table is first asked for, so that a program needs it neither to link nor to start.
//
// The library's matrices are column-major: it computes the transpose, cᵀ (n, rows) = w aᵀ + bias + residualᵀ, in which
// w is read transposed and a bias is one number a row. Bias and residual are added by it, before the one rounding; it
// wants a bias of c's type, which is made of the float32 one just before. An activation is a kernel of ours over what
// the product left in c, and then bias and residual are added there too: which gelu the library means is not said (ours
// is erf's), and outside float16 its epilogues of gelu and relu have been found slower than a second kernel
// (karpathy/llm.c, #338).
//
// The code that multiplies is the library's first choice for a shape, asked for once: float32 sums, and sums of slices
// of k only where they are kept in float32 and added in order. Equal calls give equal bits; but what is chosen depends
// on the number of rows, and so may a row's last bits.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>

#include <caracal/kernels/cuda/cublas/cublaslt.h>

namespace caracal::kernels::cuda {

extern const bool kCudaLinked;  // device.cu
extern const bool* const kCublasLinked;
/// Linking caracal::cuda asks for this by name (kernels/CMakeLists.txt), which brings in this file and device.cu.
const bool* const kCublasLinked = &kCudaLinked;

namespace {

using namespace lt;

constexpr const char* kLibrary = "libcublasLt.so.13";
constexpr size_t kOldest = 130000;               // 13.0.0
constexpr size_t kWorkspace = size_t(32) << 20;  // what NVIDIA advises for Hopper; it lies in the call's scratch
constexpr size_t kAlign = 256;                   // of the workspace
constexpr size_t kMostTold = 16;                 // of an operand's alignment: what the widest loads want
constexpr int kMostDevices = 64;                 // of device.cu
constexpr int kStatus = 1 << 20;                 // a Status among the driver's errors: kStatus + status
constexpr int kOutOfMemory = 2;                  // cudaErrorMemoryAllocation

struct Library {
#define LT(type, name, parameters) type(*name) parameters = nullptr;
  CARACAL_CUBLASLT_FUNCTIONS(LT)
#undef LT
  bool whole = false;
  std::string about;  // its version, or what is missing

  Library() {
    const std::string wanted =
        std::string("; install cuBLAS of CUDA 13 (NVIDIA's Debian package libcublas-13-0, or the ") +
        "Python package nvidia-cublas) and have its folder in LD_LIBRARY_PATH";
    void* handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      about = (why != nullptr ? why : kLibrary) + wanted;
      return;
    }
#define LT(type, name, parameters)                                   \
  name = reinterpret_cast<type(*) parameters>(dlsym(handle, #name)); \
  if (name == nullptr && about.empty()) about = kLibrary + std::string(" has no ") + #name + wanted;
    CARACAL_CUBLASLT_FUNCTIONS(LT)
#undef LT
    if (!about.empty()) return;
    const size_t version = cublasLtGetVersion();
    about = "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100);
    whole = version >= kOldest;
    if (!whole) about = kLibrary + std::string(" is ") + about + wanted;
  }
};
const Library& library() {
  static const Library& loaded = *new Library;  // never destroyed: threads may outlive main()
  return loaded;
}

int error_of(Status status) { return status == kSuccess ? 0 : kStatus + int(status); }

/// What the library made, given back at the end.
template <class T>
struct Owned {
  explicit Owned(Status (*destroy_)(T)) : destroy(destroy_) {}
  ~Owned() {
    if (it != nullptr) destroy(it);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  Status (*destroy)(T);
  T it = nullptr;
};

/// The first failure of several calls.
struct First {
  Status status = kSuccess;
  void operator()(Status next) {
    if (status == kSuccess) status = next;
  }
};

/// Up to kMostTold, so that where an operand lies that is aligned as all are chooses nothing; 0 for null.
uint32_t alignment(const void* p) {
  const uintptr_t at = uintptr_t(p);
  return p == nullptr ? 0 : uint32_t(std::min<uintptr_t>(at & (~at + 1), kMostTold));
}
size_t round_up(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

DataType data_type(Type type) { return type == Type::f32 ? kR32F : type == Type::f16 ? kR16F : kR16BF; }

/// c = a wᵀ + bias + residual, the last two or null; bias of c's type.
class Product {
 public:
  Product(const GemmArgs& args, const void* bias, const void* residual)
      : args_(args), bias_(bias), residual_(residual) {
    const DataType type = data_type(args.type);
    const auto n = uint64_t(args.n), rows = uint64_t(args.rows), k = uint64_t(args.k);
    first_(lt_.cublasLtMatmulDescCreate(&operation_.it, tf32() ? kCompute32FFastTf32 : kCompute32F, kR32F));
    set(kTransposeA, kTransposed);
    if (bias != nullptr) {
      set(kEpilogue, kEpilogueBias);
      set(kBiasPointer, bias);
      set(kBiasDataType, type);
    }
    first_(lt_.cublasLtMatrixLayoutCreate(&w_.it, type, k, n, args.k));
    first_(lt_.cublasLtMatrixLayoutCreate(&a_.it, type, k, rows, args.lda));
    first_(lt_.cublasLtMatrixLayoutCreate(&r_.it, type, n, rows, residual != nullptr ? args.ldr : args.ldc));
    first_(lt_.cublasLtMatrixLayoutCreate(&c_.it, type, n, rows, args.ldc));
  }

  /// *found: whether the library has code for it.
  Status find(Handle handle, int device, bool* found) {
    if (first_.status != kSuccess) return first_.status;
    // All that the choice may depend on.
    const std::array<int64_t, 14> key = {device,
                                         tf32(),
                                         int64_t(args_.type),
                                         args_.rows,
                                         args_.n,
                                         args_.k,
                                         args_.lda,
                                         args_.ldc,
                                         args_.ldr,
                                         alignment(args_.w),
                                         alignment(args_.a),
                                         alignment(args_.c),
                                         alignment(residual_),
                                         alignment(bias_)};
    static std::mutex& lock = *new std::mutex;
    static auto& known = *new std::map<std::array<int64_t, 14>, Choice>;
    const std::lock_guard guard(lock);
    auto it = known.find(key);
    if (it == known.end()) {
      Choice choice;
      if (const Status status = ask(handle, &choice); status != kSuccess) return status;
      it = known.emplace(key, choice).first;
    }
    choice_ = it->second;
    *found = choice_.found;
    return kSuccess;
  }

  Status start(Handle handle, void* workspace, Stream stream) const {
    const float alpha = 1.0f, beta = residual_ != nullptr ? 1.0f : 0.0f;
    return lt_.cublasLtMatmul(handle, operation_.it, &alpha, args_.w, w_.it, args_.a, a_.it, &beta, added(), r_.it,
                              args_.c, c_.it, &choice_.algorithm, workspace, choice_.workspace_bytes, stream);
  }

 private:
  struct Choice {
    bool found = false;
    Algorithm algorithm = {};
    size_t workspace_bytes = 0;
  };

  bool tf32() const { return args_.tf32 != 0 && args_.type == Type::f32; }
  const void* added() const { return residual_ != nullptr ? residual_ : args_.c; }
  template <class T>
  void set(OperationAttribute attribute, const T& value) {
    first_(lt_.cublasLtMatmulDescSetAttribute(operation_.it, attribute, &value, sizeof value));
  }

  Status ask(Handle handle, Choice* choice) {
    Owned<Preference> preference(lt_.cublasLtMatmulPreferenceDestroy);
    First first;
    first(lt_.cublasLtMatmulPreferenceCreate(&preference.it));
    auto set = [&](PreferenceAttribute attribute, const auto& value) {
      first(lt_.cublasLtMatmulPreferenceSetAttribute(preference.it, attribute, &value, sizeof value));
    };
    set(kMaxWorkspaceBytes, uint64_t(kWorkspace));
    set(kReductionSchemeMask, kReductionComputeType);
    set(kMinAlignmentA, alignment(args_.w));
    set(kMinAlignmentB, alignment(args_.a));
    set(kMinAlignmentC, alignment(added()));
    set(kMinAlignmentD, alignment(args_.c));
    if (first.status != kSuccess) return first.status;
    HeuristicResult result = {};
    int count = 0;
    const Status status = lt_.cublasLtMatmulAlgoGetHeuristic(handle, operation_.it, w_.it, a_.it, r_.it, c_.it,
                                                             preference.it, 1, &result, &count);
    if (status != kSuccess && status != kNotSupported) return status;
    *choice = {status == kSuccess && count > 0 && result.state == kSuccess, result.algorithm, result.workspace_bytes};
    return kSuccess;
  }

  const Library& lt_ = library();
  const GemmArgs& args_;
  const void *bias_, *residual_;
  First first_;
  Owned<Operation> operation_{lt_.cublasLtMatmulDescDestroy};
  Owned<Layout> w_{lt_.cublasLtMatrixLayoutDestroy}, a_{lt_.cublasLtMatrixLayoutDestroy},
      r_{lt_.cublasLtMatrixLayoutDestroy}, c_{lt_.cublasLtMatrixLayoutDestroy};
  Choice choice_;
};

// The table's functions.

std::atomic<Handle> handles[kMostDevices];

int make_handle(int index) {
  if (handles[index].load(std::memory_order_acquire) != nullptr) return 0;
  static std::mutex lock;
  const std::lock_guard guard(lock);
  if (handles[index] != nullptr) return 0;
  Handle made = nullptr;
  int mode = kRelaxedCapture;  // it allocates, whoever captures meanwhile
  if (const int error = cuda_table()->exchange_capture_mode(&mode); error != 0) return error;
  const Status status = library().cublasLtCreate(&made);  // of the current device
  cuda_table()->exchange_capture_mode(&mode);
  if (status == kSuccess) handles[index].store(made, std::memory_order_release);
  return error_of(status);
}

int use_device(int index, Context* before) {
  const Cuda& own = *cuda_table();
  if (const int error = own.use_device(index, before); error != 0) return error;
  const int error = make_handle(index);
  if (error != 0) own.restore(*before);
  return error;
}

const char* error_text(int error) {
  if (error < kStatus) return cuda_table()->error_text(error);
  thread_local char text[160];
  std::snprintf(text, sizeof text, "cuBLASLt: %s", library().cublasLtGetStatusString(Status(error - kStatus)));
  return text;
}

size_t gemm_scratch(int64_t rows, int64_t n, int64_t k) {
  const size_t bias = round_up(size_t(n) * sizeof(uint16_t));
  return std::max(kAlign + bias + kWorkspace, cuda_table()->gemm_scratch(rows, n, k));
}

/// With only_find, what is to be asked of the library before a capture (it may fail in one) and nothing else.
int multiply(Stream stream, const GemmArgs& args, bool only_find) {
  constexpr int64_t kMost = INT32_MAX;
  const Cuda& own = *cuda_table();
  const bool activates = args.activation != act(Activation::none);
  // Left to our own: nothing to do or nothing to sum, sizes that the library may not know, a residual that the product
  // would overwrite before the second kernel reads it, and what the library has no code for.
  if (std::min({args.rows, args.n, args.k}) <= 0 || std::max({args.rows, args.n, args.k}) > kMost ||
      (activates && args.residual == args.c))
    return only_find ? 0 : own.gemm(stream, args);
  char* scratch = reinterpret_cast<char*>(round_up(uintptr_t(args.scratch)));
  const bool narrow = !activates && args.bias != nullptr && args.type != Type::f32;
  const void* bias = activates ? nullptr : narrow ? static_cast<const void*>(scratch) : args.bias;
  Product product(args, bias, activates ? nullptr : args.residual);
  int device = 0;
  if (const int error = own.current_device(&device); error != 0) return error;
  const Handle handle = handles[device];
  bool found = false;
  if (const Status status = product.find(handle, device, &found); status != kSuccess) return error_of(status);
  if (only_find) return 0;
  if (!found) return own.gemm(stream, args);
  if (narrow) {
    const MatrixArgs converted = {args.type, Type::f32, scratch, args.bias, args.n, args.n, 1, args.n};
    if (const int error = own.copy_matrix(stream, converted); error != 0) return error;
  }
  char* workspace = scratch + round_up(size_t(args.n) * sizeof(uint16_t));
  if (const Status status = product.start(handle, workspace, stream); status != kSuccess) return error_of(status);
  if (const int error = activates ? own.gemm_epilogue(stream, args) : 0; error != 0 || args.norm == nullptr)
    return error;
  return own.layer_norm(stream, {args.type, args.norm, args.c, args.norm_weight, args.norm_bias, args.rows, args.n,
                                 args.norm_eps, act(Activation::none)});
}

int multiply_or_find(Stream stream, const GemmArgs& args, bool only_find) {
  try {
    return multiply(stream, args, only_find);
  } catch (...) {  // no memory for what is known of shapes
    return kOutOfMemory;
  }
}
int gemm(Stream stream, const GemmArgs& args) { return multiply_or_find(stream, args, false); }
int find_gemm(const GemmArgs& args) { return multiply_or_find(nullptr, args, true); }

}  // namespace

const Cuda* cublas_table(const char** about) noexcept {
  *about = library().about.c_str();
  if (!library().whole) return nullptr;
  static const Cuda table = [] {
    Cuda t = *cuda_table();
    t.backend = "cublas";
    t.gemm = gemm;
    t.find_gemm = find_gemm;
    t.gemm_scratch = gemm_scratch;
    t.error_text = error_text;
    t.use_device = use_device;
    return t;
  }();
  return &table;
}

}  // namespace caracal::kernels::cuda
