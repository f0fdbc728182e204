// A libcublasLt.so.13 of loops over the CPU's memory. It takes no more than what caracal does, and refuses what the
// real one refuses: layouts that do not fit each other, attributes of a wrong size, types it has no code for, operands
// that lie worse than was promised, a workspace that is too small. Memory of the program's "device" is reached as its
// tables of kernels reach it, and work waits in the program's streams (fake_cublaslt.h).
//
// It has two codes. The first wants operands at multiples of 16 bytes and all the workspace it
// may have, and adds two halves of k,
// rounded as the reduction scheme says; the second wants nothing.
//   n = 17: no code, and it says so; n = 19: no code, and a list of none; n = 23: the product fails.
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <caracal/kernels/cuda/cublas/cublaslt.h>
#include <caracal/tests/tf32.h>

#include "fake_cublaslt.h"

namespace caracal::kernels::cuda::lt {

constexpr Status kNotInitialized = Status(1), kInvalid = Status(7), kArchMismatch = Status(8),
                 kExecutionFailed = Status(13), kInternalError = Status(14);

struct HandleContext {
  int device;
};
struct OperationDescription {
  ComputeType compute;
  int32_t transpose_a = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
  int32_t bias_type = -1;
};
struct LayoutDescription {
  DataType type;
  uint64_t rows, cols;
  int64_t ld;
};
struct PreferenceDescription {
  uint64_t workspace_bytes = 0;
  uint32_t reduction_schemes = 7;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace {

FakeCublasLt counters;
std::mutex lock;  // of handles
std::set<Handle> handles;

template <class T>
const T* real(const T* p) {  // tests/device/plain_table.cpp
  return reinterpret_cast<const T*>(uintptr_t(p) & ~(uintptr_t(1) << 57));
}

float read(DataType type, const void* p, uint64_t i) {
  if (type == kR32F) return static_cast<const float*>(p)[i];
  const uint16_t bits = static_cast<const uint16_t*>(p)[i];
  return type == kR16F ? float(std::bit_cast<_Float16>(bits)) : std::bit_cast<float>(uint32_t(bits) << 16);
}
uint16_t narrow(DataType type, float x) {
  if (type == kR16F) return std::bit_cast<uint16_t>(_Float16(x));
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::isnan(x) ? uint16_t(0x7fff) : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
void write(DataType type, void* p, uint64_t i, float x) {
  if (type == kR32F)
    static_cast<float*>(p)[i] = x;
  else
    static_cast<uint16_t*>(p)[i] = narrow(type, x);
}
float rounded(DataType type, float x) {
  const uint16_t bits = type == kR32F ? uint16_t(0) : narrow(type, x);
  return type == kR32F ? x : read(type, &bits, 0);
}

enum Code : uint64_t { kHalves = 1, kPlain = 2 };
constexpr size_t kLeastWorkspace = 4096;

struct Job {
  OperationDescription operation;
  LayoutDescription la, lb, lc, ld;
  float beta;
  const void *a, *b, *c;
  void* d;
  Algorithm algorithm;
  char* workspace;
  size_t workspace_bytes;
};

float part_of_sum(const Job& j, uint64_t row, uint64_t col, uint64_t begin, uint64_t end) {
  const bool tf32 = j.operation.compute == kCompute32FFastTf32;
  auto operand = [&](float x) { return double(tf32 ? rounded_to_tf32(x) : x); };
  double sum = 0;
  for (uint64_t i = begin; i < end; i++)
    sum += operand(read(j.la.type, real(j.a), row * uint64_t(j.la.ld) + i)) *
           operand(read(j.lb.type, real(j.b), col * uint64_t(j.lb.ld) + i));
  return float(sum);
}

void run(void* data) {
  const Job& j = *static_cast<const Job*>(data);
  const bool halves = j.algorithm.data[0] == kHalves;
  char* workspace = const_cast<char*>(real(j.workspace));
  if (halves) {  // all of it, as far as anybody can tell
    std::memset(workspace, 0xee, kLeastWorkspace);
    std::memset(workspace + j.workspace_bytes - kLeastWorkspace, 0xee, kLeastWorkspace);
  }
  const uint64_t k = j.la.rows, middle = halves ? k / 2 : 0;
  for (uint64_t col = 0; col < j.ld.cols; col++)
    for (uint64_t row = 0; row < j.ld.rows; row++) {
      float sum = part_of_sum(j, row, col, middle, k);
      if (halves) {
        const DataType type = j.algorithm.data[1] == kReductionComputeType ? kR32F : j.ld.type;
        float* slot = reinterpret_cast<float*>(workspace) + (row + col) % 64;
        *slot = rounded(type, part_of_sum(j, row, col, 0, middle));
        sum = *slot + rounded(type, sum);
      }
      if (j.operation.epilogue == kEpilogueBias) sum += read(j.ld.type, real(j.operation.bias), row);
      if (j.beta != 0) sum += j.beta * read(j.lc.type, real(j.c), col * uint64_t(j.lc.ld) + row);
      write(j.ld.type, const_cast<void*>(real(j.d)), col * uint64_t(j.ld.ld) + row, sum);
    }
}

/// Of everything that a code is chosen for: it is good for nothing else.
uint64_t mark_of(Handle handle, Operation operation, Layout a, Layout b, Layout c, Layout d) {
  uint64_t mark = (uint64_t(handle->device) * 31 + operation->epilogue) * 31 + operation->compute;
  for (Layout each : {a, b, c, d})
    for (uint64_t x : {uint64_t(each->type), each->rows, each->cols, uint64_t(each->ld)}) mark = mark * 1000003 + x;
  return mark;
}

bool aligned(const void* p, uint64_t to) { return uintptr_t(p) % to == 0; }

/// Of a problem, whoever asks.
Status check(Handle handle, Operation operation, Layout a, Layout b, Layout c, Layout d) {
  {
    const std::lock_guard guard(lock);
    if (!handles.contains(handle)) return kNotInitialized;
  }
  if (!operation || !a || !b || !c || !d) return kInvalid;
  if (fake_cublaslt_device != nullptr && handle->device != fake_cublaslt_device()) return kArchMismatch;
  for (Layout each : {a, b, c, d})
    if (each->rows == 0 || each->cols == 0 || each->ld < int64_t(each->rows)) return kInvalid;
  if (operation->transpose_a != kTransposed) return kNotSupported;  // by us
  if (a->rows != b->rows || d->rows != a->cols || d->cols != b->cols) return kInvalid;
  if (c->rows != d->rows || c->cols != d->cols) return kInvalid;
  if (operation->epilogue == kEpilogueBias) {
    if (operation->bias == nullptr) return kInvalid;
    if (operation->bias_type != -1 && operation->bias_type != int32_t(d->type)) return kNotSupported;
  } else if (operation->epilogue != 1) {
    return kNotSupported;
  }
  if (a->type != kR32F && (operation->compute != kCompute32F || (a->type != kR16F && a->type != kR16BF)))
    return kNotSupported;
  if (operation->compute != kCompute32F && operation->compute != kCompute32FFastTf32) return kNotSupported;
  return a->type == b->type && b->type == c->type && c->type == d->type ? kSuccess : kNotSupported;
}

template <class T>
Status take(T* to, const void* from, size_t bytes) {
  if (from == nullptr || bytes != sizeof(T)) return kInvalid;
  std::memcpy(to, from, bytes);
  return kSuccess;
}

}  // namespace

#define LT_API extern "C" __attribute__((visibility("default")))

LT_API FakeCublasLt* fake_cublaslt_counters() { return &counters; }

#ifndef FAKE_VERSION
#define FAKE_VERSION 130000
#endif
LT_API size_t cublasLtGetVersion() { return FAKE_VERSION; }

LT_API const char* cublasLtGetStatusString(Status status) {
  switch (int(status)) {
    case 0: return "success";
    case 1: return "the library was not initialized";
    case 7: return "an unsupported value or parameter was passed to the function";
    case 8: return "the function requires an architectural feature absent from the device";
    case 14: return "an internal operation failed";
    case 13: return "the function failed to launch on the GPU";
    case 15: return "the requested functionality is not supported";
  }
  return "unknown";
}

LT_API Status cublasLtCreate(Handle* handle) {
  if (std::getenv("FAKE_CUBLASLT_BROKEN") != nullptr) return kNotInitialized;
  *handle = new HandleContext{fake_cublaslt_device != nullptr ? fake_cublaslt_device() : 0};
  counters.handles++;
  const std::lock_guard guard(lock);
  handles.insert(*handle);
  return kSuccess;
}

LT_API Status cublasLtMatmulDescCreate(Operation* operation, ComputeType compute, DataType scale) {
  if (scale != kR32F) return kInvalid;
  *operation = new OperationDescription{compute};
  counters.descriptions++;
  return kSuccess;
}
LT_API Status cublasLtMatmulDescDestroy(Operation operation) {
  delete operation;
  counters.descriptions--;
  return kSuccess;
}
LT_API Status cublasLtMatmulDescSetAttribute(Operation operation, OperationAttribute attribute, const void* value,
                                             size_t bytes) {
  if (operation == nullptr) return kInvalid;
  switch (attribute) {
    case kTransposeA: return take(&operation->transpose_a, value, bytes);
    case kEpilogue: return take(&operation->epilogue, value, bytes);
    case kBiasPointer: return take(&operation->bias, value, bytes);
    case kBiasDataType: return take(&operation->bias_type, value, bytes);
  }
  return kInvalid;
}

LT_API Status cublasLtMatrixLayoutCreate(Layout* layout, DataType type, uint64_t rows, uint64_t cols, int64_t ld) {
  *layout = new LayoutDescription{type, rows, cols, ld};
  counters.descriptions++;
  return kSuccess;
}
LT_API Status cublasLtMatrixLayoutDestroy(Layout layout) {
  delete layout;
  counters.descriptions--;
  return kSuccess;
}

LT_API Status cublasLtMatmulPreferenceCreate(Preference* preference) {
  *preference = new PreferenceDescription;
  counters.descriptions++;
  return kSuccess;
}
LT_API Status cublasLtMatmulPreferenceDestroy(Preference preference) {
  delete preference;
  counters.descriptions--;
  return kSuccess;
}
LT_API Status cublasLtMatmulPreferenceSetAttribute(Preference preference, PreferenceAttribute attribute,
                                                   const void* value, size_t bytes) {
  if (preference == nullptr) return kInvalid;
  switch (attribute) {
    case kMaxWorkspaceBytes: return take(&preference->workspace_bytes, value, bytes);
    case kReductionSchemeMask: return take(&preference->reduction_schemes, value, bytes);
    case kMinAlignmentA:
    case kMinAlignmentB:
    case kMinAlignmentC:
    case kMinAlignmentD: return take(&preference->alignment[attribute - kMinAlignmentA], value, bytes);
  }
  return kInvalid;
}

LT_API Status cublasLtMatmulAlgoGetHeuristic(Handle handle, Operation operation, Layout a, Layout b, Layout c, Layout d,
                                             Preference preference, int wanted, HeuristicResult* results, int* found) {
  *found = 0;
  if (wanted <= 0 || preference == nullptr) return kInvalid;
  // That of CUDA 13.3 fails so (mudler/vllm.cpp, issue 1732).
  if (fake_cublaslt_capturing != nullptr && fake_cublaslt_capturing()) return kInternalError;
  if (const Status status = check(handle, operation, a, b, c, d); status != kSuccess) return status;
  counters.heuristics++;
  if (d->rows == 17) return kNotSupported;
  if (d->rows == 19) return kSuccess;
  bool halves = preference->workspace_bytes >= kLeastWorkspace && (preference->reduction_schemes & 7) != 0;
  for (uint32_t alignment : preference->alignment) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) return kInvalid;
    halves = halves && alignment >= 16;
  }
  const size_t bias_alignment = operation->epilogue == kEpilogueBias ? uintptr_t(operation->bias) % 16 : 0;
  halves = halves && bias_alignment == 0;
  *results = {};
  results->algorithm.data[0] = halves ? kHalves : kPlain;
  results->algorithm.data[1] =
      preference->reduction_schemes == kReductionComputeType ? uint64_t(kReductionComputeType) : 4;
  results->algorithm.data[2] = mark_of(handle, operation, a, b, c, d);
  results->workspace_bytes = halves ? preference->workspace_bytes : 0;
  *found = 1;
  return kSuccess;
}

#ifdef FAKE_WITHOUT_MATMUL  // under that name
#define cublasLtMatmul cublasLtMultiply
#endif
LT_API Status cublasLtMatmul(Handle handle, Operation operation, const void* alpha, const void* a, Layout la,
                             const void* b, Layout lb, const void* beta, const void* c, Layout lc, void* d, Layout ld,
                             const Algorithm* algorithm, void* workspace, size_t workspace_bytes, Stream stream) {
  if (const Status status = check(handle, operation, la, lb, lc, ld); status != kSuccess) return status;
  if (!alpha || !beta || !a || !b || !d || !algorithm) return kInvalid;
  const float add = *static_cast<const float*>(beta);
  if (*static_cast<const float*>(alpha) != 1 || (add != 0 && c == nullptr)) return kInvalid;
  if (c == d && lc->ld != ld->ld) return kInvalid;
  if (algorithm->data[2] != mark_of(handle, operation, la, lb, lc, ld)) return kInvalid;
  if (algorithm->data[0] == kHalves) {
    for (const void* p : {a, b, c, const_cast<const void*>(d)})
      if (!aligned(p, 16)) return kInvalid;
    if (operation->epilogue == kEpilogueBias && !aligned(operation->bias, 16)) return kInvalid;
    if (workspace == nullptr || !aligned(workspace, 256) || workspace_bytes < kLeastWorkspace) return kInvalid;
  } else if (algorithm->data[0] != kPlain) {
    return kInvalid;
  }
  if (ld->rows == 23) return kExecutionFailed;
  counters.products++;
  counters.biases += operation->epilogue == kEpilogueBias;
  counters.residuals += add != 0;
  counters.halves += algorithm->data[0] == kHalves;
  counters.tf32 += operation->compute == kCompute32FFastTf32;
  static std::mutex jobs_lock;
  static auto& jobs = *new std::vector<std::unique_ptr<Job>>;  // a captured one may come again and again
  Job* job;
  {
    const std::lock_guard guard(jobs_lock);
    job = jobs.emplace_back(new Job{*operation, *la, *lb, *lc, *ld, add, a, b, c, d, *algorithm,
                                    static_cast<char*>(workspace), workspace_bytes})
              .get();
  }
  if (fake_cublaslt_submit == nullptr) return run(job), kSuccess;
  return fake_cublaslt_submit(stream, run, job) == 0 ? kSuccess : kExecutionFailed;
}

}  // namespace caracal::kernels::cuda::lt
