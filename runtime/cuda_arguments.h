// What the sources of the ops on a device share: the arguments of kernels, made of tensors. Not for anyone else.
#pragma once

#include <string>
#include <utility>

#include <caracal/runtime/cuda_ops.h>
#include <caracal/runtime/cuda_workspace.h>
#include <caracal/runtime/ops_checks.h>

namespace caracal::cuda_ops {

inline kernels::cuda::Type type_of(const Ctx& ctx) { return cuda_ops::type_of(ctx.cuda()->numbers()); }

/// Activations and matrices: on the device, in the call's numbers.
inline const void* numbers(const Ctx& ctx, const char* op, const Tensor& x) {
  if (!x.on_cuda() || x.dtype() != ctx.cuda()->numbers())
    fail(op, "memory of the device with " + std::string(name_of(ctx.cuda()->numbers())),
         std::string(name_of(x.dtype())) + (x.on_cuda() ? "" : " of the CPU"));
  return x.raw();
}
inline void* numbers(const Ctx& ctx, const char* op, Tensor& x) {
  return const_cast<void*>(numbers(ctx, op, std::as_const(x)));
}

/// Vectors and tables that are float32 always; null for an undefined one.
inline const float* floats(const char* op, const Tensor& x) {
  if (!x.defined()) return nullptr;
  if (!x.on_cuda() || x.dtype() != DType::F32)
    fail(op, "memory of the device with F32", std::string(name_of(x.dtype())) + (x.on_cuda() ? "" : " of the CPU"));
  return static_cast<const float*>(x.raw());
}

struct Sequences {
  const int64_t *offsets, *lengths;  // (batch + 1), (batch)
};
inline Sequences on_device(Ctx& ctx, const Ragged& s) {
  return {ctx.cuda()->on_device(s.offsets, s.batch + 1), ctx.cuda()->on_device(s.keys, s.batch)};
}

}  // namespace caracal::cuda_ops
