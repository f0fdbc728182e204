// What the CUDA tests share: the table with a device made current, arrays on the device that notice writes outside, and
// numbers of each Type on the host. It includes no CUDA header: the same tests run on the shim and on a GPU.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/tests/sanitized.h>

namespace caracal::kernels::cuda {

/// Expects a function of the table to return no error.
#define EXPECT_CUDA(call)                                                                    \
  do {                                                                                       \
    const int caracal_error = (call);                                                        \
    EXPECT_EQ(caracal_error, 0) << #call << ": " << cuda_table()->error_text(caracal_error); \
  } while (false)

/// The table, with device 0 current. Where there is none the program exits with 77, which ctest reports as skipped.
inline const Cuda& table() {
  const Cuda* found = cuda_table();
  Context before;
  if (found != nullptr && found->use_device(0, &before) == 0) return *found;
  int count = 0;
  const int error = found == nullptr ? 0 : found->device_count(&count);
  const bool absent = error == 0 && count == 0;
  std::printf("%s\n", absent ? "skipped: no CUDA device" : "there is a CUDA device, but it cannot be used");
  std::exit(absent ? 77 : 1);
}

/// The compute capability times 10: 75, 80, …
inline int capability() {
  char name[256];
  int major = 0, minor = 0;
  size_t memory;
  EXPECT_CUDA(table().device_name(0, name, sizeof name, &major, &minor, &memory));
  return 10 * major + minor;
}

inline constexpr Type kTypes[] = {Type::f32, Type::f16, Type::bf16};
inline const char* name_of(Type type) { return type == Type::f32 ? "f32" : type == Type::f16 ? "f16" : "bf16"; }
inline size_t bytes_of(Type type) { return type == Type::f32 ? 4 : 2; }

/// `size` numbers of device memory, each byte 0xff (NaN, -1) until something is put there; between guards, but where
/// AddressSanitizer watches the very ends. Freed, and the guards looked at, at the end.
template <class T>
class DeviceArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// misalign: how many numbers from a 256-byte boundary it begins.
  explicit DeviceArray(size_t size, size_t misalign = 0) : size_(size), begin_(kGuard + misalign * sizeof(T)) {
    const std::vector<uint8_t> filled(bytes(), 0xff);
    EXPECT_CUDA(table().allocate(reinterpret_cast<void**>(&memory_), filled.size()));
    if (!filled.empty()) EXPECT_CUDA(table().upload(nullptr, memory_, filled.data(), filled.size()));
  }
  explicit DeviceArray(const std::vector<T>& values, size_t misalign = 0) : DeviceArray(values.size(), misalign) {
    upload(values);
  }
  DeviceArray(DeviceArray&& other) noexcept
      : size_(other.size_), begin_(other.begin_), memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&&) = delete;
  ~DeviceArray() {
    if (memory_ == nullptr) return;
    download();
    EXPECT_CUDA(table().release(memory_));
  }

  T* data() const { return reinterpret_cast<T*>(memory_ + begin_); }
  operator T*() const { return data(); }
  size_t size() const { return size_; }

  void upload(const std::vector<T>& values) const {
    ASSERT_EQ(values.size(), size_);
    if (size_ != 0) EXPECT_CUDA(table().upload(nullptr, data(), values.data(), size_ * sizeof(T)));
  }
  /// Waits for everything that the device has to do.
  std::vector<T> download() const {
    std::vector<T> values(size_);
    if (bytes() == 0) return values;
    Stream stream;
    void* host;
    EXPECT_CUDA(table().create_stream(&stream));
    EXPECT_CUDA(table().allocate_host(&host, bytes()));
    EXPECT_CUDA(table().copy(stream, host, memory_, bytes()));
    EXPECT_CUDA(table().synchronize(stream));
    const uint8_t* read = static_cast<uint8_t*>(host);
    if (size_ != 0) std::memcpy(values.data(), read + begin_, size_ * sizeof(T));
    for (size_t i = 0; i < bytes(); i++) {
      if (i >= begin_ && i < begin_ + size_ * sizeof(T)) continue;
      EXPECT_EQ(read[i], 0xff) << "written outside, " << int64_t(i) - int64_t(begin_) << " bytes from the begin of "
                               << size_ * sizeof(T);
      if (read[i] != 0xff) break;
    }
    EXPECT_CUDA(table().release_host(host));
    EXPECT_CUDA(table().destroy_stream(stream));
    return values;
  }

 private:
#if defined(CARACAL_SANITIZED)
  static constexpr size_t kGuard = 0;
#else
  static constexpr size_t kGuard = 256;
#endif
  size_t bytes() const { return begin_ + size_ * sizeof(T) + kGuard; }

  size_t size_, begin_;
  uint8_t* memory_ = nullptr;
};

/// A float as the nearest float16 or bfloat16, ties to even, and back.
inline uint16_t bits_of(Type type, float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000;
  if (std::isnan(x)) return 0x7fff;
  if (type == Type::bf16) return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  const double magnitude = std::fabs(double(x));
  if (magnitude >= 65520.0) return uint16_t(sign | 0x7c00);
  const int exponent = magnitude == 0 ? -24 : std::max(-24, std::ilogb(magnitude) - 10);  // of the last bit
  const auto steps = uint32_t(std::nearbyint(std::ldexp(magnitude, -exponent)));          // at most 2048
  return uint16_t(sign | (exponent == -24 && steps < 1024 ? steps : (uint32_t(exponent + 24) << 10) + steps));
}
inline float from_bits(Type type, uint16_t bits) {
  if (type == Type::bf16) return std::bit_cast<float>(uint32_t(bits) << 16);
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float magnitude = exponent == 31  ? (mantissa == 0 ? INFINITY : NAN)
                    : exponent == 0 ? std::ldexp(float(mantissa), -24)
                                    : std::ldexp(float(1024 + mantissa), exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}
/// What is left of x in that Type.
inline float rounded(Type type, float x) { return type == Type::f32 ? x : from_bits(type, bits_of(type, x)); }
inline std::vector<float> rounded(Type type, std::vector<float> values) {
  for (float& x : values) x = rounded(type, x);
  return values;
}

/// What TF32 leaves of a float: 10 bits of mantissa, to the nearest, ties away from 0.
inline float rounded_to_tf32(float x) {
  if (!std::isfinite(x) || x == 0) return x;
  const int exponent = std::max(-126, std::ilogb(x)) - 10;  // of the last bit
  return std::ldexp(std::round(std::ldexp(x, -exponent)), exponent);
}

/// What a product may be computed in: a Type, and whether float32 may be rounded to TF32.
struct Precision {
  Type type;
  bool tf32;
  constexpr Precision(Type type_, bool tf32_ = false) : type(type_), tf32(tf32_) {}
  constexpr operator Type() const { return type; }
};
inline constexpr Precision kPrecisions[] = {Type::f32, {Type::f32, true}, Type::f16, Type::bf16};
/// Tensor cores cut sums off in place of rounding them; operands that were not rounded, or not to the nearest, are ten
/// times as far off.
inline constexpr double kTf32Tolerance = 5e-5;
inline const char* name_of(Precision precision) { return precision.tf32 ? "tf32" : name_of(precision.type); }

/// An array of numbers of a Type known at run time, as floats on the host.
class Numbers {
 public:
  Numbers(Type type, size_t size, size_t misalign = 0)
      : type_(type), bytes_(size * bytes_of(type), misalign * bytes_of(type)) {}
  Numbers(Type type, const std::vector<float>& values, size_t misalign = 0) : Numbers(type, values.size(), misalign) {
    upload(values);
  }
  void* data() const { return bytes_.data(); }
  operator void*() const { return data(); }
  Type type() const { return type_; }
  size_t size() const { return bytes_.size() / bytes_of(type_); }

  void upload(const std::vector<float>& values) const {
    std::vector<uint8_t> bytes(bytes_.size());
    ASSERT_EQ(values.size(), size());
    for (size_t i = 0; i < values.size(); i++) {
      const uint16_t narrow = type_ == Type::f32 ? uint16_t(0) : bits_of(type_, values[i]);
      if (type_ == Type::f32)
        std::memcpy(&bytes[4 * i], &values[i], 4);
      else
        std::memcpy(&bytes[2 * i], &narrow, 2);
    }
    bytes_.upload(bytes);
  }
  /// The bytes themselves, to compare results bit by bit.
  std::vector<uint8_t> bytes() const { return bytes_.download(); }
  std::vector<float> download() const {
    const std::vector<uint8_t> bytes = bytes_.download();
    std::vector<float> values(size());
    for (size_t i = 0; i < values.size(); i++) {
      uint16_t narrow = 0;
      if (type_ == Type::f32)
        std::memcpy(&values[i], &bytes[4 * i], 4);
      else
        std::memcpy(&narrow, &bytes[2 * i], 2), values[i] = from_bits(type_, narrow);
    }
    return values;
  }

 private:
  Type type_;
  DeviceArray<uint8_t> bytes_;
};

inline std::vector<float> random_floats(size_t n, float scale = 1.0f, uint32_t seed = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(n);
  for (float& v : values) v = uniform(engine);
  return values;
}

/// Expects |values - reference| <= relative · max(1, |reference|), NaN where the reference is NaN, the same infinities.
/// `relative`: see tolerance().
inline void expect_near(const std::vector<float>& values, const std::vector<double>& reference, double relative) {
  ASSERT_EQ(values.size(), reference.size());
  size_t wrong = 0;
  for (size_t i = 0; i < values.size() && wrong < 4; i++) {
    const double x = double(values[i]), y = reference[i];
    const bool near = std::isnan(y)   ? std::isnan(x)
                      : std::isinf(y) ? x == y
                                      : std::fabs(x - y) <= relative * std::fmax(1.0, std::fabs(y));
    if (!near) wrong++;
    EXPECT_TRUE(near) << "at " << i << " of " << values.size() << ": " << x << ", expected " << y;
  }
}
/// Half a unit in the last place of a number below 2, and what float32 arithmetic before it may cost.
inline double tolerance(Type type) {
  return type == Type::f32 ? 2e-5 : type == Type::f16 ? 0x1p-11 + 2e-5 : 0x1p-8 + 2e-5;
}

}  // namespace caracal::kernels::cuda
