// The table, and the driver's functions in it, on the CUDA runtime.
#include <atomic>
#include <cstring>
#include <mutex>

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int kMostDevices = 64;
constexpr Device kNoDevice = {};
Device devices[kMostDevices];
Context contexts[kMostDevices];
std::atomic<bool> known[kMostDevices];
std::mutex asking;

/// The thread's current context, by the driver's own functions: unlike cudaSetDevice they can put back whatever was
/// there, be it no context at all (cudaSetDevice would make one on a device that nobody asked for) or a caller's own.
struct Driver {
  int (*get_current)(Context*);
  int (*set_current)(Context);
  int (*exchange_capture_mode)(int*);
  int (*get_context)(Stream, Context*);
  int (*get_device)(int*, int);
  int (*retain)(Context*, int);
} driver;  // found once, the last one last

int find_driver() {
  if (driver.retain != nullptr) return cudaSuccess;
  const struct {
    const char* name;
    void** function;
  } wanted[] = {{"cuCtxGetCurrent", reinterpret_cast<void**>(&driver.get_current)},
                {"cuCtxSetCurrent", reinterpret_cast<void**>(&driver.set_current)},
                {"cuThreadExchangeStreamCaptureMode", reinterpret_cast<void**>(&driver.exchange_capture_mode)},
                {"cuStreamGetCtx", reinterpret_cast<void**>(&driver.get_context)},
                {"cuDeviceGet", reinterpret_cast<void**>(&driver.get_device)},
                {"cuDevicePrimaryCtxRetain", reinterpret_cast<void**>(&driver.retain)}};
  for (const auto& [name, function] : wanted) {
    cudaDriverEntryPointQueryResult found;
    if (int error = checked(cudaGetDriverEntryPointByVersion(name, function, 12000, cudaEnableDefault, &found)))
      return error;
    if (found != cudaDriverEntryPointSuccess) return cudaErrorInsufficientDriver;
  }
  return cudaSuccess;
}

int ask(int index) {
  if (index < 0 || index >= kMostDevices) return cudaErrorInvalidDevice;
  if (known[index].load(std::memory_order_acquire)) return cudaSuccess;
  const std::lock_guard lock(asking);
  if (known[index]) return cudaSuccess;
  Device& device = devices[index];
  int shared = 0;
  const struct {
    cudaDeviceAttr attribute;
    int* value;
  } wanted[] = {{cudaDevAttrComputeCapabilityMajor, &device.major},
                {cudaDevAttrComputeCapabilityMinor, &device.minor},
                {cudaDevAttrMultiProcessorCount, &device.multiprocessors},
                {cudaDevAttrMaxSharedMemoryPerBlockOptin, &shared}};
  for (const auto& [attribute, value] : wanted) {
    if (int error = checked(cudaDeviceGetAttribute(value, attribute, index))) return error;
  }
  device.shared_bytes = size_t(shared);
  if (int error = find_driver()) return error;
  int handle = 0;
  if (int error = driver.get_device(&handle, index)) return error;
  int mode = kRelaxedCapture;  // it may make the context
  if (int error = driver.exchange_capture_mode(&mode)) return error;
  const int failed = driver.retain(&contexts[index], handle);
  driver.exchange_capture_mode(&mode);
  if (failed != 0) return failed;
  known[index].store(true, std::memory_order_release);
  return cudaSuccess;
}

const char* error_text(int error) { return cudaGetErrorString(cudaError_t(error)); }

int device_count(int* count) {
  const int error = checked(cudaGetDeviceCount(count));
  if (error == cudaSuccess) return cudaSuccess;
  *count = 0;
  int version = 0;  // 0: CUDA's runtime says of a driver that is not there, too, that it is too old
  const bool none =
      error == cudaErrorInsufficientDriver && checked(cudaDriverGetVersion(&version)) == 0 && version == 0;
  return error == cudaErrorNoDevice || none ? cudaSuccess : error;
}

int driver_versions(int* has, int* needs) {
  if (int error = checked(cudaDriverGetVersion(has))) return error;
  return checked(cudaRuntimeGetVersion(needs));
}

int use_device(int index, Context* before) {
  if (int error = ask(index)) return error;
  if (int error = driver.get_current(before)) return error;
  return *before == contexts[index] ? int(cudaSuccess) : driver.set_current(contexts[index]);
}

int restore(Context before) {
  Context now = nullptr;
  if (int error = driver.get_current(&now)) return error;
  return now == before ? int(cudaSuccess) : driver.set_current(before);
}

static_assert(kRelaxedCapture == cudaStreamCaptureModeRelaxed);
int exchange_capture_mode(int* mode) { return driver.exchange_capture_mode(mode); }

int current_device_index(int* index) { return checked(cudaGetDevice(index)); }

int device_name(int index, char* name, size_t size, int* major, int* minor, size_t* memory) {
  cudaDeviceProp properties;
  if (int error = checked(cudaGetDeviceProperties(&properties, index))) return error;
  if (size != 0) {
    std::strncpy(name, properties.name, size - 1);
    name[size - 1] = 0;
  }
  *major = properties.major, *minor = properties.minor, *memory = properties.totalGlobalMem;
  return cudaSuccess;
}

int allocate(void** memory, size_t bytes) { return checked(cudaMalloc(memory, bytes)); }
int release(void* memory) { return checked(cudaFree(memory)); }
int allocate_host(void** memory, size_t bytes) { return checked(cudaHostAlloc(memory, bytes, cudaHostAllocDefault)); }
int release_host(void* memory) { return checked(cudaFreeHost(memory)); }
int upload(Stream stream, void* device, const void* host, size_t bytes) {
  const int error = checked(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
  return error != 0 ? error : checked(cudaStreamSynchronize(stream));
}

int create_stream(Stream* stream) { return checked(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking)); }
int destroy_stream(Stream stream) { return checked(cudaStreamDestroy(stream)); }
int stream_state(Stream stream, StreamState* state) {
  *state = {};
  cudaStreamCaptureStatus status;
  if (int error = checked(cudaStreamIsCapturing(stream, &status))) return error;
  state->capturing = status != cudaStreamCaptureStatusNone;
  if (state->capturing) return cudaSuccess;
  Context context = nullptr, current = nullptr;
  if (int error = driver.get_context(stream, &context)) return error;
  if (int error = driver.get_current(&current)) return error;
  state->primary = context == current;
  return checked(cudaStreamGetDevice(stream, &state->device));
}
int copy(Stream stream, void* to, const void* from, size_t bytes) {
  return checked(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream));
}
int fill_zero(Stream stream, void* memory, size_t bytes) { return checked(cudaMemsetAsync(memory, 0, bytes, stream)); }
int synchronize(Stream stream) { return checked(cudaStreamSynchronize(stream)); }

// Of other threads' captures it forbids nothing, and theirs nothing of it.
int begin_capture(Stream stream) { return checked(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)); }

int end_capture(Stream stream, Graph* graph) {
  *graph = nullptr;
  cudaGraph_t captured = nullptr;
  if (int error = checked(cudaStreamEndCapture(stream, &captured))) return error;
  int failed = checked(cudaGraphInstantiate(graph, captured, 0));
  checked(cudaGraphDestroy(captured));
  if (failed != cudaSuccess) return failed;
  failed = checked(cudaGraphUpload(*graph, stream));  // so that its first launch is like all others
  if (failed != cudaSuccess) {
    checked(cudaGraphExecDestroy(*graph));
    *graph = nullptr;
  }
  return failed;
}

int launch_graph(Stream stream, Graph graph) { return checked(cudaGraphLaunch(graph, stream)); }
int destroy_graph(Graph graph) { return checked(cudaGraphExecDestroy(graph)); }

constexpr Cuda kTable = {
    .backend = "native",
#define KERNEL(name, Args) .name = name,
#include <caracal/kernels/cuda/kernels.def>
#undef KERNEL
    .gemm_scratch = gemm_scratch,
    .group_norm_scratch = group_norm_scratch,
    .normalized_conv1d_scratch = normalized_conv1d_scratch,
    .find_gemm = [](const GemmArgs&) { return int(cudaSuccess); },
    .error_text = error_text,
    .device_count = device_count,
    .driver_versions = driver_versions,
    .use_device = use_device,
    .restore = restore,
    .exchange_capture_mode = exchange_capture_mode,
    .current_device = current_device_index,
    .device_name = device_name,
    .allocate = allocate,
    .release = release,
    .allocate_host = allocate_host,
    .release_host = release_host,
    .upload = upload,
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
    .stream_state = stream_state,
    .copy = copy,
    .fill_zero = fill_zero,
    .synchronize = synchronize,
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .launch_graph = launch_graph,
    .destroy_graph = destroy_graph,
};

}  // namespace

const Device& current_device() {
  int index = 0;
  if (cudaGetDevice(&index) != cudaSuccess || ask(index) != cudaSuccess) return kNoDevice;
  return devices[index];
}

const Cuda* cuda_table() noexcept { return &kTable; }

extern const bool kCudaLinked;
/// Linking caracal::cuda asks for it by name (kernels/CMakeLists.txt), which brings in this file's cuda_table.
const bool kCudaLinked = true;

}  // namespace caracal::kernels::cuda
