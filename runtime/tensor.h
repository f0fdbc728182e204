// Tensor: pointer, shape, dtype, device; always contiguous and row-major.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <caracal/runtime/device.h>
#include <caracal/runtime/dtype.h>
#include <caracal/runtime/error.h>

namespace caracal {

/// Sizes of a tensor's dimensions, held inline; rank at most 8. Throws on a negative size or a higher rank.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const noexcept { return rank_; }
  int64_t operator[](int i) const noexcept { return dims_[size_t(i)]; }
  const int64_t* begin() const noexcept { return dims_.data(); }
  const int64_t* end() const noexcept { return dims_.data() + rank_; }
  /// Product of the sizes; 1 for rank 0. Throws when it overflows.
  int64_t numel() const;
  /// "(2, 3)", as PyTorch prints a shape.
  std::string str() const;
  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// A contiguous array. Either owns its memory (shared between copies, as torch's tensors do) or views memory that
/// someone else keeps alive: a mapped weight file or a call's workspace. What callers pass and get is in the CPU's
/// memory; a device's memory is for ops alone.
class Tensor {
 public:
  /// An empty tensor: no data, defined() is false. What an output field holds when it was not asked for.
  Tensor() = default;

  /// Uninitialised memory of its own, 64-byte aligned.
  static Tensor empty(const Shape& shape, DType dtype = DType::F32);
  static Tensor zeros(const Shape& shape, DType dtype = DType::F32);
  /// A view: `data` must stay alive and hold shape.numel() elements. `keep_alive` is held by the tensor when given.
  static Tensor view(const void* data, const Shape& shape, DType dtype,
                     std::shared_ptr<const void> keep_alive = nullptr, Device device = {});
  /// Copies `values` into a new tensor of this shape; throws when the counts differ.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape);
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }

  bool defined() const noexcept { return defined_; }
  const Shape& shape() const noexcept { return shape_; }
  int rank() const noexcept { return shape_.rank(); }
  /// Size of dimension i; negative i counts from the end. Throws when out of range.
  int64_t size(int i) const;
  int64_t numel() const { return shape_.numel(); }
  size_t nbytes() const { return size_t(numel()) * size_of(dtype_); }
  DType dtype() const noexcept { return dtype_; }
  Device device() const noexcept { return device_; }
  bool on_cuda() const noexcept { return device_.type == DeviceType::cuda; }

  /// The memory, whoever may read it.
  const void* raw() const noexcept { return data_; }
  void* raw() noexcept { return data_; }
  /// Typed pointer; throws invalid_argument when T is not the tensor's dtype, or its memory is not the CPU's.
  template <class T>
  const T* data() const {
    require(dtype_of<T>());
    return static_cast<const T*>(data_);
  }
  template <class T>
  T* data() {
    require(dtype_of<T>());
    return static_cast<T*>(data_);
  }
  /// All elements as a span of T, for range-for and the standard algorithms.
  template <class T>
  std::span<const T> values() const {
    return {data<T>(), size_t(numel())};
  }

  /// The same elements under another shape of equal count; shares memory.
  Tensor reshape(const Shape& shape) const;
  /// Rows [begin, end) of the first dimension; shares memory.
  Tensor rows(int64_t begin, int64_t end) const;
  /// A copy converted to `dtype` (float and integer types alike, as torch's .to()). For the CPU's memory, like clone().
  Tensor to(DType dtype) const;
  /// A deep copy that owns its memory.
  Tensor clone() const;
  /// Makes this an owned tensor of the given shape, reusing its memory when it is large enough and not shared.
  void resize(const Shape& shape, DType dtype = DType::F32);

 private:
  void require(DType dtype) const;

  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::F32;
  bool defined_ = false;
  Device device_;
  size_t capacity_ = 0;                     // bytes owned; 0 for a view
  std::shared_ptr<const void> keep_alive_;  // owned memory, or what keeps a view valid
};

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
  Tensor result = empty(shape, dtype_of<T>());
  if (int64_t(values.size()) != shape.numel()) {
    throw Error(ErrorCode::invalid_argument, "Tensor::from",
                "expected " + std::to_string(shape.numel()) + " values for shape " + shape.str() + " but got " +
                    std::to_string(values.size()));
  }
  std::copy(values.begin(), values.end(), result.data<T>());
  return result;
}

}  // namespace caracal
