// CUDA's own header as far as kernels/cuda/*.cu need it, for g++: a block's threads are fibers of one thread of the
// host, blocks run one after another, in an order that changes from block to block, so that what lacks a barrier fails;
// or several at once, taking turns at barriers, fences and atomic operations (set_blocks_at_once). Memory is NaN until
// written: device memory, and shared memory of each block. Kernels of all host threads take turns.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#include <caracal/tests/cuda/shim/weak_memory.h>

// Words.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__  // libstdc++ writes __attribute__((__noinline__))
// Every static variable of a function in namespace caracal::kernels::cuda that is not constant, in a .cu file or
// inline, counts as shared memory, and is NaN at the start of each block (static_shared.cpp).
#define __shared__ static
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

// Vectors.
#define CARACAL_SHIM_VECTORS(type, name, align2, align4)                      \
  struct name##1 {                                                            \
    type x;                                                                   \
  };                                                                          \
  struct __align__(align2) name##2 {                                          \
    type x, y;                                                                \
  };                                                                          \
  struct name##3 {                                                            \
    type x, y, z;                                                             \
  };                                                                          \
  struct __align__(align4) name##4 {                                          \
    type x, y, z, w;                                                          \
  };                                                                          \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CARACAL_SHIM_VECTORS(char, char, 2, 4)
CARACAL_SHIM_VECTORS(unsigned char, uchar, 2, 4)
CARACAL_SHIM_VECTORS(short, short, 4, 8)
CARACAL_SHIM_VECTORS(unsigned short, ushort, 4, 8)
CARACAL_SHIM_VECTORS(int, int, 8, 16)
CARACAL_SHIM_VECTORS(unsigned, uint, 8, 16)
CARACAL_SHIM_VECTORS(long long, longlong, 16, 16)
CARACAL_SHIM_VECTORS(unsigned long long, ulonglong, 16, 16)
CARACAL_SHIM_VECTORS(float, float, 8, 16)
CARACAL_SHIM_VECTORS(double, double, 16, 16)
#undef CARACAL_SHIM_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// The driver.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorMisalignedAddress = 716,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorStreamCaptureImplicit = 906,
  cudaErrorStreamCaptureWrongThread = 908
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaDriverEntryPointQueryResult {
  cudaDriverEntryPointSuccess,
  cudaDriverEntryPointSymbolNotFound,
  cudaDriverEntryPointVersionNotSufficent
};
inline constexpr unsigned cudaEnableDefault = 0;
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaHostAllocDefault = 0;
using cudaStream_t = struct CUstream_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlockOptin;
  int major, minor, multiProcessorCount, maxThreadsPerBlock;
};

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version,
                                             unsigned long long flags, cudaDriverEntryPointQueryResult* found);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device);
using cudaHostFn_t = void (*)(void*);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t work, void* data);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
union cudaLaunchAttributeValue {
  char pad[64];
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

// Running kernels.
namespace caracal::shim {

/// Runs or captures it; the body is called once a thread.
cudaError_t launch(const void* kernel, const cudaLaunchConfig_t& config, std::function<void()> body);

void* dynamic_shared();
/// The pretended compute capability, times 10.
int arch();
/// Ends the kernel with an error; never returns.
[[noreturn]] void fail(cudaError_t error, const char* who, const char* what = "");

enum class Barrier { plain, count, all, any };
int block_barrier(Barrier kind, int value);

/// Waits for all lanes of the mask to call it with the same name and mask; the last one's `act` sees what each brought.
using Act = void (*)(void* const* operands, unsigned mask);
void warp_together(const char* name, unsigned mask, void* mine, Act act);
int lane();

/// Where another block may go on, if several run at once.
void pause();

/// wait_for_previous() was called by the running thread. One that ends without is an error.
void waited_for_previous();

void begin_copy(void* shared, const void* global, bool valid);
void commit_copies();
void finish_copies(int groups_left);
/// Fails unless all bytes are in the block's shared memory and the address is aligned.
void check_shared(const void* p, size_t bytes, const char* what);

struct Shuffle {
  uint64_t value, result;
  int source;
};
inline void shuffle(void* const* operands, unsigned mask) {
  for (int i = 0; i < 32; i++) {
    if ((mask >> i & 1) == 0) continue;
    Shuffle& mine = *static_cast<Shuffle*>(operands[i]);
    if ((mask >> mine.source & 1) == 0) fail(cudaErrorLaunchFailure, "shuffles from a lane outside its mask");
    mine.result = static_cast<Shuffle*>(operands[mine.source])->value;
  }
}
template <class T>
T shuffle_from(const char* name, unsigned mask, T value, int source) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  Shuffle mine = {0, 0, source};
  std::memcpy(&mine.value, &value, sizeof(T));
  warp_together(name, mask, &mine, shuffle);
  std::memcpy(&value, &mine.result, sizeof(T));
  return value;
}

struct Vote {
  bool value;
  unsigned ballot;
};
inline unsigned vote(const char* name, unsigned mask, bool value) {
  Vote mine = {value, 0};
  warp_together(name, mask, &mine, [](void* const* operands, unsigned lanes) {
    unsigned ballot = 0;
    for (int i = 0; i < 32; i++) {
      if ((lanes >> i & 1) != 0 && static_cast<Vote*>(operands[i])->value) ballot |= 1u << i;
    }
    for (int i = 0; i < 32; i++) {
      if ((lanes >> i & 1) != 0) static_cast<Vote*>(operands[i])->ballot = ballot;
    }
  });
  return mine.ballot;
}

}  // namespace caracal::shim

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  std::tuple<std::remove_const_t<P>...> copies(arguments...);
  return caracal::shim::launch(reinterpret_cast<const void*>(kernel), *config,
                               [kernel, copies] { std::apply(kernel, copies); });
}

// In kernels.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

inline void __syncthreads() { caracal::shim::block_barrier(caracal::shim::Barrier::plain, 0); }
inline int __syncthreads_count(int x) { return caracal::shim::block_barrier(caracal::shim::Barrier::count, x); }
inline int __syncthreads_and(int x) { return caracal::shim::block_barrier(caracal::shim::Barrier::all, x); }
inline int __syncthreads_or(int x) { return caracal::shim::block_barrier(caracal::shim::Barrier::any, x); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  caracal::shim::warp_together("__syncwarp", mask, nullptr, [](void* const*, unsigned) {});
}
inline void __threadfence() {
  caracal::shim::pause();
  caracal::shim::weak_memory::fence();
}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { caracal::shim::fail(cudaErrorLaunchFailure, "__trap"); }

template <class T>
T __shfl_sync(unsigned mask, T x, int source, int width = 32) {
  const int lane = caracal::shim::lane();
  return caracal::shim::shuffle_from("__shfl_sync", mask, x, (lane & -width) | (source & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int bits, int width = 32) {
  const int lane = caracal::shim::lane(), source = lane ^ bits;
  return caracal::shim::shuffle_from("__shfl_xor_sync", mask, x, source <= (lane | (width - 1)) ? source : lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned distance, int width = 32) {
  const int lane = caracal::shim::lane(), source = lane + int(distance);
  return caracal::shim::shuffle_from("__shfl_down_sync", mask, x, source <= (lane | (width - 1)) ? source : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned distance, int width = 32) {
  const int lane = caracal::shim::lane(), source = lane - int(distance);
  return caracal::shim::shuffle_from("__shfl_up_sync", mask, x, source >= (lane & -width) ? source : lane);
}
inline unsigned __ballot_sync(unsigned mask, int x) { return caracal::shim::vote("__ballot_sync", mask, x != 0); }
inline int __any_sync(unsigned mask, int x) { return caracal::shim::vote("__any_sync", mask, x != 0) != 0; }
inline int __all_sync(unsigned mask, int x) { return caracal::shim::vote("__all_sync", mask, x != 0) == mask; }

struct caracal_shim_atomic {
  void* p;
  size_t bytes;
  bool writes;
  caracal_shim_atomic(void* at, size_t size, bool changes = true) : p(at), bytes(size), writes(changes) {
    caracal::shim::pause();
    caracal::shim::weak_memory::begin_atomic(p, bytes);
  }
  ~caracal_shim_atomic() {
    caracal::shim::weak_memory::end_atomic(p, bytes, writes);
    caracal::shim::pause();
  }
};
// Blocks and threads take turns, so that plain reads and writes are atomic. None of floats: their order would show.
#define CARACAL_SHIM_ATOMICS(type)                        \
  inline type atomicAdd(type* p, type x) {                \
    caracal_shim_atomic guard(p, sizeof(type));           \
    type old = *p;                                        \
    *p = old + x;                                         \
    return old;                                           \
  }                                                       \
  inline type atomicMax(type* p, type x) {                \
    caracal_shim_atomic guard(p, sizeof(type));           \
    type old = *p;                                        \
    *p = x > old ? x : old;                               \
    return old;                                           \
  }                                                       \
  inline type atomicMin(type* p, type x) {                \
    caracal_shim_atomic guard(p, sizeof(type));           \
    type old = *p;                                        \
    *p = x < old ? x : old;                               \
    return old;                                           \
  }                                                       \
  inline type atomicOr(type* p, type x) {                 \
    caracal_shim_atomic guard(p, sizeof(type));           \
    type old = *p;                                        \
    *p = old | x;                                         \
    return old;                                           \
  }                                                       \
  inline type atomicExch(type* p, type x) {               \
    caracal_shim_atomic guard(p, sizeof(type));           \
    type old = *p;                                        \
    *p = x;                                               \
    return old;                                           \
  }                                                       \
  inline type atomicCAS(type* p, type expected, type x) { \
    caracal_shim_atomic guard(p, sizeof(type));           \
    type old = *p;                                        \
    if (old == expected) *p = x;                          \
    return old;                                           \
  }
CARACAL_SHIM_ATOMICS(int)
CARACAL_SHIM_ATOMICS(unsigned)
CARACAL_SHIM_ATOMICS(unsigned long long)
#undef CARACAL_SHIM_ATOMICS

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class To, class From>
To caracal_shim_bits(From x) {
  To bits;
  static_assert(sizeof(To) == sizeof(From));
  std::memcpy(&bits, &x, sizeof(To));
  return bits;
}
inline int __float_as_int(float x) { return caracal_shim_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return caracal_shim_bits<unsigned>(x); }
inline float __int_as_float(int x) { return caracal_shim_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return caracal_shim_bits<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline int __float2int_rn(float x) { return int(std::nearbyint(x)); }
inline int __float2int_rd(float x) { return int(std::floor(x)); }

#define CARACAL_SHIM_MIN_MAX(type)                          \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
CARACAL_SHIM_MIN_MAX(int)
CARACAL_SHIM_MIN_MAX(unsigned)
CARACAL_SHIM_MIN_MAX(long)
CARACAL_SHIM_MIN_MAX(unsigned long)
CARACAL_SHIM_MIN_MAX(long long)
CARACAL_SHIM_MIN_MAX(unsigned long long)
#undef CARACAL_SHIM_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
using std::isinf;
using std::isnan;
