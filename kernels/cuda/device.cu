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
std::atomic<bool> known[kMostDevices];
std::mutex asking;

/// Forgets the error that a failed call leaves behind for the next one to find.
int checked(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
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
  known[index].store(true, std::memory_order_release);
  return cudaSuccess;
}

const char* error_text(int error) { return cudaGetErrorString(cudaError_t(error)); }

int device_count(int* count) {
  const int error = checked(cudaGetDeviceCount(count));
  if (error == cudaSuccess) return cudaSuccess;
  *count = 0;
  return error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver ? cudaSuccess : error;
}

int use_device(int index) {
  int current = -1;
  if (cudaGetDevice(&current) == cudaSuccess && current == index && index >= 0 && index < kMostDevices &&
      known[index].load(std::memory_order_acquire)) {
    return cudaSuccess;
  }
  if (int error = checked(cudaSetDevice(index))) return error;
  return ask(index);
}

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
int upload(void* device, const void* host, size_t bytes) {
  const int error = checked(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
  return error != 0 ? error : checked(cudaStreamSynchronize(nullptr));  // from pageable memory it may be still on its way
}

int create_stream(Stream* stream) { return checked(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking)); }
int destroy_stream(Stream stream) { return checked(cudaStreamDestroy(stream)); }
int copy(Stream stream, void* to, const void* from, size_t bytes) {
  return checked(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream));
}
int fill_zero(Stream stream, void* memory, size_t bytes) { return checked(cudaMemsetAsync(memory, 0, bytes, stream)); }
int synchronize(Stream stream) { return checked(cudaStreamSynchronize(stream)); }

int begin_capture(Stream stream) { return checked(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)); }

int end_capture(Stream stream, Graph* graph) {
  *graph = nullptr;
  cudaGraph_t captured = nullptr;
  const int error = checked(cudaStreamEndCapture(stream, &captured));
  if (error == cudaErrorStreamCaptureInvalidated) return cudaSuccess;
  if (error != cudaSuccess) return error;
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
    .error_text = error_text,
    .device_count = device_count,
    .use_device = use_device,
    .current_device = current_device_index,
    .device_name = device_name,
    .allocate = allocate,
    .release = release,
    .allocate_host = allocate_host,
    .release_host = release_host,
    .upload = upload,
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
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
