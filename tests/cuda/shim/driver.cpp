// The CUDA runtime's functions. Streams do at once what they are told; a captured one remembers it.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <caracal/tests/cuda/shim/block.h>
#include <caracal/tests/cuda/shim/shim.h>

using caracal::shim::run_grid;

struct CUgraph_st {
  std::vector<std::function<cudaError_t()>> nodes;
};
struct CUgraphExec_st : CUgraph_st {
  int device;
};
struct CUctx_st {
  int device;
};
struct CUstream_st {
  int device;
  bool blocking = false;  // in order with the legacy stream
  const CUctx_st* context = nullptr;
  std::unique_ptr<CUgraph_st> capture = nullptr;  // being captured
  cudaStreamCaptureMode mode = {};
  std::thread::id by = {};
  bool invalid = false;  // the capture
};

namespace {

struct Memory {
  size_t bytes;
  bool host;
};
std::mutex lock;  // of what follows
std::map<char*, Memory> memories;
std::map<const void*, int> shared_limits;

std::atomic<int64_t> launches, graph_launches, captures, copies, synchronizations, allocations, allocated;
thread_local int chosen_device = 0;                      // by cudaSetDevice
thread_local const CUctx_st* current_context = nullptr;  // if any, it says which device is current
thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
std::vector<cudaStream_t> captured;  // of all threads

CUctx_st primary_contexts[] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}, another_context = {0};

int current_device() { return current_context != nullptr ? current_context->device : chosen_device; }

int from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

size_t shared_limit() {
  switch (caracal::shim::arch()) {
    case 75: return 64 << 10;
    case 80: return 163 << 10;
    case 90: return 227 << 10;
  }
  return 99 << 10;
}

/// What captures forbid, of the thread or, if global, of any, unless the thread's mode says otherwise: ends them.
bool forbidden() {
  const std::lock_guard guard(lock);
  bool any = false;
  for (cudaStream_t stream : captured) {
    const bool own = stream->by == std::this_thread::get_id() && stream->mode != cudaStreamCaptureModeRelaxed;
    const bool others = stream->mode == cudaStreamCaptureModeGlobal && capture_mode == cudaStreamCaptureModeGlobal;
    if (capture_mode == cudaStreamCaptureModeRelaxed || (!own && !others)) continue;
    any = stream->invalid = true;
  }
  return any;
}

/// What is done on the legacy stream would have to wait for blocking streams, which nobody can while one is captured.
bool waits_for_capture(cudaStream_t stream) {
  const std::lock_guard guard(lock);
  bool any = false;
  for (cudaStream_t other : captured)
    if (stream == nullptr && other->blocking) any = other->invalid = true;
  return any;
}

cudaError_t submit(cudaStream_t stream, std::function<cudaError_t()> work) {
  if (waits_for_capture(stream)) return cudaErrorStreamCaptureImplicit;
  if (stream == nullptr) return work();
  if (stream->context != nullptr && stream->context != &primary_contexts[stream->device])
    return cudaErrorInvalidResourceHandle;
  if (stream->device != current_device()) return cudaErrorInvalidResourceHandle;
  if (stream->capture == nullptr) return work();
  if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
  stream->capture->nodes.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t allocate(void** memory, size_t bytes, bool host) {
  *memory = nullptr;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (bytes == 0) return cudaSuccess;
  if (posix_memalign(memory, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  const std::lock_guard guard(lock);
  memories[static_cast<char*>(*memory)] = {bytes, host};
  allocations++, allocated += int64_t(bytes);
  return cudaSuccess;
}

cudaError_t release(void* memory, bool host) {
  if (memory == nullptr) return cudaSuccess;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  {
    const std::lock_guard guard(lock);
    auto found = memories.find(static_cast<char*>(memory));
    if (found == memories.end() || found->second.host != host) return cudaErrorInvalidValue;
    allocated -= int64_t(found->second.bytes);
    memories.erase(found);
  }
  std::free(memory);
  return cudaSuccess;
}

/// Whether all of it is one allocation's, of the device or pinned.
bool known(const void* memory, size_t bytes) {
  const std::lock_guard guard(lock);
  char* begin = static_cast<char*>(const_cast<void*>(memory));
  auto after = memories.upper_bound(begin);
  if (after == memories.begin()) return false;
  --after;
  return begin + bytes <= after->first + after->second.bytes;
}

}  // namespace

namespace caracal::shim {

int arch() {
  static const int value = from_environment("CARACAL_SHIM_SM", 90);
  return value;
}

bool capturing() {
  const std::lock_guard guard(lock);
  return std::any_of(captured.begin(), captured.end(),
                     [](cudaStream_t stream) { return stream->by == std::this_thread::get_id(); });
}

cudaStream_t stream_of_another_context() { return new CUstream_st{current_device(), true, &another_context}; }

Counters counters() { return {launches, graph_launches, captures, copies, synchronizations, allocations, allocated}; }

std::vector<Range> device_memory() {
  const std::lock_guard guard(lock);
  std::vector<Range> found;
  for (const auto& [begin, memory] : memories)
    if (!memory.host) found.push_back({begin, memory.bytes});
  return found;
}

cudaError_t launch(const void* kernel, const cudaLaunchConfig_t& config, std::function<void()> body) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const size_t shared = config.dynamicSmemBytes;
  size_t limit = 48 << 10, most = limit;  // of what is dynamic, and of all
  {
    const std::lock_guard guard(lock);
    auto raised = shared_limits.find(kernel);
    if (raised != shared_limits.end() && size_t(raised->second) > limit) {
      limit = size_t(raised->second), most = shared_limit();
    }
  }
  const size_t threads = size_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  if (shared > limit) return cudaErrorInvalidValue;
  if (config.numAttrs > 0 && arch() < 90) return cudaErrorNotSupported;
  launches++;
  return submit(config.stream, [grid, block, shared, most, body = std::move(body)] {
    const cudaError_t error = run_grid(grid, block, shared, most, body);
    if (error != cudaSuccess) std::fprintf(stderr, "cuda shim: %s\n", last_failure().c_str());
    return error;
  });
}

}  // namespace caracal::shim

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchTimeout: return "the launch timed out and was terminated";
    case cudaErrorMisalignedAddress: return "misaligned address";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnmatched: return "attempt to end a capture that was not begun";
    case cudaErrorStreamCaptureImplicit: return "operation would make the legacy stream depend on a capturing stream";
    case cudaErrorStreamCaptureWrongThread: return "attempt to terminate a thread-local capture from another thread";
  }
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaDriverGetVersion(int* version) {
  const int devices = from_environment("CARACAL_SHIM_DEVICES", 1);
  *version = devices == -1 ? 0 : devices == -2 ? 12040 : 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = from_environment("CARACAL_SHIM_DEVICES", 1);
  if (*count > 0) return cudaSuccess;
  const bool driver = *count == 0;
  *count = 0;
  return driver ? cudaErrorNoDevice : cudaErrorInsufficientDriver;
}
cudaError_t cudaSetDevice(int device) {
  int count;
  if (cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) return error;
  if (device < 0 || device >= count) return cudaErrorInvalidDevice;
  chosen_device = device;
  current_context = &primary_contexts[device];
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return cudaSuccess;
}

// The driver's functions, which CUDA's runtime hands out by name.
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  using Context = CUctx_st*;
  using Get = int (*)(Context*);
  using Set = int (*)(Context);
  using Number = int (*)(int*, int);
  using Retain = int (*)(Context*, int);
  using Of = int (*)(cudaStream_t, Context*);
  using Exchange = int (*)(cudaStreamCaptureMode*);
  const std::string name = symbol;
  void* it = nullptr;
  if (name == "cuCtxGetCurrent")
    it = reinterpret_cast<void*>(
        Get([](Context* context) { return *context = const_cast<Context>(current_context), 0; }));
  else if (name == "cuCtxSetCurrent")
    it = reinterpret_cast<void*>(Set([](Context context) { return current_context = context, 0; }));
  else if (name == "cuStreamGetCtx")
    it = reinterpret_cast<void*>(Of([](cudaStream_t stream, Context* context) {
      *context = const_cast<Context>(stream == nullptr            ? current_context
                                     : stream->context != nullptr ? stream->context
                                                                  : &primary_contexts[stream->device]);
      return 0;
    }));
  else if (name == "cuThreadExchangeStreamCaptureMode")
    it = reinterpret_cast<void*>(
        Exchange([](cudaStreamCaptureMode* mode) { return int(cudaThreadExchangeStreamCaptureMode(mode)); }));
  else if (name == "cuDeviceGet")
    it = reinterpret_cast<void*>(Number([](int* handle, int device) { return *handle = device, 0; }));
  else if (name == "cuDevicePrimaryCtxRetain")
    it = reinterpret_cast<void*>(Retain([](Context* context, int device) {
      return *context = &primary_contexts[device], forbidden() ? int(cudaErrorStreamCaptureUnsupported) : 0;
    }));
  *found = it != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  *function = it;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  int count;
  if (cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) return error;
  if (device < 0 || device >= count) return cudaErrorInvalidDevice;
  const int sm = caracal::shim::arch();
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "shim sm_%d", sm);
  properties->totalGlobalMem = size_t(80) << 30;
  properties->sharedMemPerBlockOptin = shared_limit();
  properties->major = sm / 10, properties->minor = sm % 10;
  properties->multiProcessorCount = sm == 90 ? 132 : sm == 80 ? 108 : 40;
  properties->maxThreadsPerBlock = 1024;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(properties.sharedMemPerBlockOptin); break;
    default: return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return forbidden() ? cudaErrorStreamCaptureUnsupported : cudaSuccess; }

cudaError_t cudaMalloc(void** memory, size_t bytes) { return allocate(memory, bytes, false); }
cudaError_t cudaFree(void* memory) { return release(memory, false); }
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) { return allocate(memory, bytes, true); }
cudaError_t cudaFreeHost(void* memory) { return release(memory, true); }

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (waits_for_capture(nullptr)) return cudaErrorStreamCaptureImplicit;
  if (bytes != 0 && !known(to, bytes) && !known(from, bytes)) return cudaErrorInvalidValue;
  std::memcpy(to, from, bytes);
  copies++;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  // Memory that is not pinned is copied too, but not without a stop, and in no capture: caracal does that to upload.
  const bool pageable = bytes != 0 && kind == cudaMemcpyHostToDevice && !known(from, bytes);
  if (bytes != 0 && (!known(to, bytes) || (!pageable && !known(from, bytes)))) return cudaErrorInvalidValue;
  if (pageable && forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (pageable && stream != nullptr && stream->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  copies++;
  return submit(stream, [=] {
    if (bytes != 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  if (bytes != 0 && !known(memory, bytes)) return cudaErrorInvalidValue;
  return submit(stream, [=] {
    if (bytes != 0) std::memset(memory, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t work, void* data) {
  return submit(stream, [=] { return work(data), cudaSuccess; });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  *stream = new CUstream_st{current_device(), flags == cudaStreamDefault};
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const std::lock_guard guard(lock);
  std::erase(captured, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  *device = stream == nullptr ? current_device() : stream->device;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  synchronizations++;
  if (waits_for_capture(stream)) return cudaErrorStreamCaptureImplicit;
  if (stream == nullptr || stream->capture == nullptr) return cudaSuccess;
  stream->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture != nullptr) return cudaErrorInvalidValue;
  if (stream->device != current_device()) return cudaErrorInvalidResourceHandle;
  stream->capture = std::make_unique<CUgraph_st>();
  stream->by = std::this_thread::get_id();
  stream->invalid = false;
  stream->mode = mode;
  const std::lock_guard guard(lock);
  captured.push_back(stream);
  captures++;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || stream->capture == nullptr) return cudaErrorStreamCaptureUnmatched;
  if (stream->by != std::this_thread::get_id()) return cudaErrorStreamCaptureWrongThread;
  std::unique_ptr<CUgraph_st> made = std::move(stream->capture);
  const std::lock_guard guard(lock);
  std::erase(captured, stream);
  if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
  *graph = made.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream == nullptr || stream->capture == nullptr ? cudaStreamCaptureStatusNone
            : stream->invalid                               ? cudaStreamCaptureStatusInvalidated
                                                            : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = nullptr;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *exec = new CUgraphExec_st{{graph->nodes}, current_device()};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (exec == nullptr) return cudaErrorInvalidResourceHandle;
  if (exec->device != current_device()) return cudaErrorInvalidResourceHandle;
  graph_launches++;
  return submit(stream, [exec] {
    for (const auto& node : exec->nodes) {
      if (cudaError_t error = node(); error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || size_t(value) > shared_limit()) return cudaErrorInvalidValue;
  const std::lock_guard guard(lock);
  shared_limits[kernel] = value;
  return cudaSuccess;
}
