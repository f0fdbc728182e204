// cuBLASLt, as far as gemm.cpp calls it. The names and numbers are those of NVIDIA's cublasLt.h, which is not needed to
// build: tests/cuda/cublas/header_check.cpp compares them where it is at hand. LT(return type, name, parameters) for
// each function.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <caracal/kernels/cuda/kernels.h>

namespace caracal::kernels::cuda::lt {

using Handle = struct HandleContext*;
using Operation = struct OperationDescription*;    // cublasLtMatmulDesc_t
using Layout = struct LayoutDescription*;          // cublasLtMatrixLayout_t
using Preference = struct PreferenceDescription*;  // cublasLtMatmulPreference_t

enum Status : uint32_t { kSuccess = 0, kNotSupported = 15 };
enum DataType : uint32_t { kR32F = 0, kR16F = 2, kR16BF = 14 };
enum ComputeType : uint32_t { kCompute32F = 68, kCompute32FFastTf32 = 77 };
enum Transpose : int32_t { kTransposed = 1 };                   // CUBLAS_OP_T
enum Epilogue : uint32_t { kEpilogueBias = 4 };                 // CUBLASLT_EPILOGUE_BIAS
enum ReductionScheme : uint32_t { kReductionComputeType = 2 };  // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
enum OperationAttribute : uint32_t {                            // CUBLASLT_MATMUL_DESC_…
  kTransposeA = 3,
  kEpilogue = 7,
  kBiasPointer = 8,
  kBiasDataType = 26
};
enum PreferenceAttribute : uint32_t {  // CUBLASLT_MATMUL_PREF_…
  kMaxWorkspaceBytes = 1,
  kReductionSchemeMask = 3,
  kMinAlignmentA = 5,
  kMinAlignmentB = 6,
  kMinAlignmentC = 7,
  kMinAlignmentD = 8
};

struct Algorithm {  // cublasLtMatmulAlgo_t
  uint64_t data[8];
};
struct HeuristicResult {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

#define CARACAL_CUBLASLT_FUNCTIONS(LT)                                                                      \
  LT(size_t, cublasLtGetVersion, ())                                                                        \
  LT(const char*, cublasLtGetStatusString, (Status))                                                        \
  LT(Status, cublasLtCreate, (Handle*))                                                                     \
  LT(Status, cublasLtMatmulDescCreate, (Operation*, ComputeType, DataType scale))                           \
  LT(Status, cublasLtMatmulDescDestroy, (Operation))                                                        \
  LT(Status, cublasLtMatmulDescSetAttribute, (Operation, OperationAttribute, const void*, size_t))          \
  LT(Status, cublasLtMatrixLayoutCreate, (Layout*, DataType, uint64_t rows, uint64_t cols, int64_t ld))     \
  LT(Status, cublasLtMatrixLayoutDestroy, (Layout))                                                         \
  LT(Status, cublasLtMatmulPreferenceCreate, (Preference*))                                                 \
  LT(Status, cublasLtMatmulPreferenceDestroy, (Preference))                                                 \
  LT(Status, cublasLtMatmulPreferenceSetAttribute, (Preference, PreferenceAttribute, const void*, size_t))  \
  LT(Status, cublasLtMatmulAlgoGetHeuristic,                                                                \
     (Handle, Operation, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, HeuristicResult*,  \
      int* found))                                                                                          \
  LT(Status, cublasLtMatmul,                                                                                \
     (Handle, Operation, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta, \
      const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, size_t workspace_bytes, Stream))

}  // namespace caracal::kernels::cuda::lt
