// Vectors of V = 8 numbers, read and written 16 bytes at a time, or of 1 where rows do not allow it.
#pragma once

#include <initializer_list>

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

template <int V, class T>
__device__ inline void load_vector(float (&v)[V], const T* p) {
  static_assert(V == 8 || V == 1);
  if constexpr (V == 8)
    load8(p, v);
  else
    v[0] = load(p);
}
template <int V, class T>
__device__ inline void store_vector(T* p, const float (&v)[V]) {
  static_assert(V == 8 || V == 1);
  if constexpr (V == 8)
    store8(p, v);
  else
    store(p, v[0]);
}

/// gelu, which everybody asks for, is chosen once for all of them; the others take turns in v[0], since only registers
/// that are named at compile time are registers.
template <int V>
__device__ inline void activate_all(float (&v)[V], Act activation) {
  constexpr Act kGelu = Act(int64_t(Activation::gelu)), kNone = Act(int64_t(Activation::none));
  if (activation == kGelu) {
#pragma unroll
    for (int k = 0; k < V; k++) v[k] = activate(v[k], kGelu);
  } else if (activation != kNone) {
#pragma unroll 1
    for (int k = 0; k < V; k++) {
      const float y = activate(v[0], activation);
#pragma unroll
      for (int i = 1; i < V; i++) v[i - 1] = v[i];
      v[V - 1] = y;
    }
  }
}

/// Calls f.operator()<T, 8>() where rows of `cols` numbers at all `pointers` can be read in vectors, else with 1.
template <class F>
int with_vectors(Type type, int64_t cols, std::initializer_list<const void*> pointers, F f) {
  bool vectors = cols % 8 == 0;
  for (const void* p : pointers) vectors = vectors && packs_of_8(static_cast<const char*>(p), 16);
  return with_type(type,
                   [&]<class T>() { return vectors ? f.template operator()<T, 8>() : f.template operator()<T, 1>(); });
}

}  // namespace caracal::kernels::cuda
