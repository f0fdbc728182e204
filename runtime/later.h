// A function to be called later, kept in memory that its owner has anyway: making one allocates nothing.
#pragma once

#include <new>
#include <utility>

#include <caracal/runtime/arena.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// Calls what it was made of, which it has moved into an arena's memory; that memory must outlive it.
class Later {
 public:
  template <class F>
  Later(Arena& arena, F f)
      : f_(new (arena.allocate(sizeof(F))) F(std::move(f))),
        call_([](const void* p, const Tensor& x) { (*static_cast<const F*>(p))(x); }),
        destroy_([](void* p) noexcept { static_cast<F*>(p)->~F(); }) {
    static_assert(alignof(F) <= 64);
  }
  Later(Later&& other) noexcept : f_(std::exchange(other.f_, nullptr)), call_(other.call_), destroy_(other.destroy_) {}
  Later& operator=(Later&&) = delete;
  ~Later() {
    if (f_ != nullptr) destroy_(f_);
  }
  void operator()(const Tensor& x) const { call_(f_, x); }

 private:
  void* f_;
  void (*call_)(const void*, const Tensor&);
  void (*destroy_)(void*) noexcept;
};

}  // namespace caracal
