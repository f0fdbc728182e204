// The names, numbers and functions of kernels/cuda/cublas/cublaslt.h against NVIDIA's header. It is only compiled.
#include <cublasLt.h>

#include <type_traits>

#include <caracal/kernels/cuda/cublas/cublaslt.h>

namespace caracal::kernels::cuda::lt {
namespace {

static_assert(int(kSuccess) == CUBLAS_STATUS_SUCCESS && int(kNotSupported) == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(int(kR32F) == CUDA_R_32F && int(kR16F) == CUDA_R_16F && int(kR16BF) == CUDA_R_16BF);
static_assert(int(kCompute32F) == CUBLAS_COMPUTE_32F && int(kCompute32FFastTf32) == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(int(kTransposed) == CUBLAS_OP_T);
static_assert(int(kEpilogueBias) == CUBLASLT_EPILOGUE_BIAS);
static_assert(int(kReductionComputeType) == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
static_assert(int(kTransposeA) == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(int(kEpilogue) == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(int(kBiasPointer) == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(int(kBiasDataType) == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
static_assert(int(kMaxWorkspaceBytes) == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int(kReductionSchemeMask) == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(int(kMinAlignmentA) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(int(kMinAlignmentB) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(int(kMinAlignmentC) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(int(kMinAlignmentD) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);

static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(HeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(HeuristicResult, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(HeuristicResult, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(std::is_same_v<Stream, cudaStream_t>);

/// Both are passed alike: pointers, or numbers of one size.
template <class A, class B>
constexpr bool alike() {
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) return true;
  if constexpr (!std::is_pointer_v<A> && !std::is_pointer_v<B>)
    return sizeof(A) == sizeof(B) && std::is_floating_point_v<A> == std::is_floating_point_v<B>;
  return false;
}
template <class Own, class Theirs>
struct Same;
template <class R, class... P, class S, class... Q>
struct Same<R(P...), S(Q...)> {
  static constexpr bool value() {
    if constexpr (sizeof...(P) != sizeof...(Q))
      return false;
    else
      return alike<R, S>() && (alike<P, Q>() && ...);
  }
};
static_assert(!Same<void*(int), void*(size_t)>::value() && !Same<int(int), int(int, int)>::value());

#define LT(type, name, parameters) static_assert(Same<type parameters, decltype(::name)>::value(), #name);
CARACAL_CUBLASLT_FUNCTIONS(LT)
#undef LT

}  // namespace
}  // namespace caracal::kernels::cuda::lt
