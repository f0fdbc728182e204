// What the kernel tests share: the tier under test, random data, and buffers that notice a write outside.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <caracal/kernels/kernels.h>

namespace caracal::kernels {

/// The tier named by CARACAL_ISA, else the best one, with the backend named by CARACAL_BACKEND, else native. A tier the
/// machine lacks never gets here (tests/main.cpp).
inline const Kernels& tier() {
  Isa isa = best_isa();
  Backend backend = Backend::native;
  const char *name = std::getenv("CARACAL_ISA"), *by = std::getenv("CARACAL_BACKEND");
  EXPECT_TRUE(name == nullptr || isa_from_name(name, isa)) << name;
  EXPECT_TRUE(by == nullptr || backend_from_name(by, backend)) << by;
  return *backend_kernels(backend, isa);
}
inline const Kernels& scalar_tier() { return cpu_kernels(Isa::scalar); }

/// The tier whose bits must equal those of the tier under test: avx2 for avx512, itself otherwise and where a library
/// sums as it likes.
inline const Kernels& twin() {
  const bool vectors = base_isa(tier().isa) == Isa::avx512 && tier().backend == Backend::native;
  return vectors ? cpu_kernels(Isa::avx2) : tier();
}

inline std::vector<float> random_floats(int64_t n, float scale = 1.0f, uint32_t seed = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = uniform(engine);
  return values;
}

/// n floats at a chosen distance from alignment, between guards.
class Guarded {
 public:
  explicit Guarded(int64_t n, int64_t misalign = 0, float fill = -77.0f)
      : n_(n), begin_(kGuard + misalign), memory_(static_cast<size_t>(begin_ + n + kGuard), kMark) {
    for (int64_t i = 0; i < n; i++) data()[i] = fill;
  }
  explicit Guarded(const std::vector<float>& values, int64_t misalign = 0) : Guarded(int64_t(values.size()), misalign) {
    std::copy(values.begin(), values.end(), data());
  }
  float* data() { return memory_.data() + begin_; }
  float& operator[](int64_t i) { return data()[i]; }
  int64_t size() const { return n_; }
  std::vector<float> values() { return {data(), data() + n_}; }
  bool guards_intact() const {
    for (int64_t i = 0; i < int64_t(memory_.size()); i++) {
      if ((i < begin_ || i >= begin_ + n_) && memory_[size_t(i)] != kMark) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kGuard = 32;
  static constexpr float kMark = 12345.5f;
  int64_t n_, begin_;
  std::vector<float> memory_;
};

inline bool same_bits(const float* a, const float* b, int64_t n) {
  return n == 0 || std::memcmp(a, b, size_t(n) * sizeof(float)) == 0;
}

inline double reference_activation(double x, Activation activation) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : std::isnan(x) ? x : 0.0;
    case Activation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh: return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu: return x / (1.0 + std::exp(-1.702 * x));
    case Activation::silu: return x / (1.0 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1.0 / (1.0 + std::exp(-x));
    case Activation::gelu_10: return std::clamp(0.5 * x * std::erfc(-x / std::sqrt(2.0)), -10.0, 10.0);
    case Activation::hardswish: return x * std::clamp(x + 3, 0.0, 6.0) / 6;
    case Activation::laplace: return 0.5 * std::erfc(-(x - 0.707107) / (0.282095 * std::sqrt(2.0)));
    case Activation::leaky_relu: return x > 0 ? x : 0.01 * x;
    case Activation::mish: return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::relu2: return x > 0 ? x * x : std::isnan(x) ? x : 0.0;
    case Activation::relu6: return std::clamp(x, 0.0, 6.0);
    case Activation::sqrtsoftplus: return std::sqrt(x > 20 ? x : std::log1p(std::exp(x)));
  }
  return NAN;
}

inline constexpr Activation kActivations[] = {
    Activation::none,       Activation::relu,      Activation::gelu,    Activation::gelu_tanh,
    Activation::quick_gelu, Activation::silu,      Activation::tanh,    Activation::sigmoid,
    Activation::gelu_10,    Activation::hardswish, Activation::laplace, Activation::leaky_relu,
    Activation::mish,       Activation::relu2,     Activation::relu6,   Activation::sqrtsoftplus};

}  // namespace caracal::kernels
