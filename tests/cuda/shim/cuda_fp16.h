// half and half2: storage, and conversions that round to the nearest, ties to even. No arithmetic: kernels do theirs in
// float.
#pragma once

#include <cuda_runtime.h>

struct __half_raw {
  unsigned short x;
};

struct __align__(2) __half {
  unsigned short bits;
  __half() = default;
  __half(__half_raw raw) : bits(raw.x) {}
  inline __half(float x);
  inline operator float() const;
};
using half = __half;

inline float __half2float(half h) {
  // The exponent is moved to float's place; what is left of its bias, 112, is multiplied in, which also handles
  // denormals. Infinity and NaN get float's highest exponent.
  const uint32_t magnitude = uint32_t(h.bits & 0x7fff) << 13;
  uint32_t bits = caracal_shim_bits<uint32_t>(caracal_shim_bits<float>(magnitude) * 0x1p112f);
  if (magnitude >= 0x7c00u << 13) bits = magnitude | 0x7f800000u;
  return caracal_shim_bits<float>(bits | uint32_t(h.bits & 0x8000) << 16);
}
inline half __float2half_rn(float x) {
  const uint32_t bits = caracal_shim_bits<uint32_t>(x), sign = bits >> 16 & 0x8000;
  uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    return __half_raw{0x7fff};
  } else if (magnitude >= 0x477ff000u) {  // from 65520 up
    result = 0x7c00;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves a multiple of 2^-24 in the low bits, rounded
    result = caracal_shim_bits<uint32_t>(caracal_shim_bits<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    magnitude += 0xfff + (magnitude >> 13 & 1);
    result = (magnitude - (112u << 23)) >> 13;
  }
  return __half_raw{static_cast<unsigned short>(sign | result)};
}
inline half __float2half(float x) { return __float2half_rn(x); }
inline __half::__half(float x) : bits(__float2half_rn(x).bits) {}
inline __half::operator float() const { return __half2float(*this); }
inline half __ushort_as_half(unsigned short x) { return __half_raw{x}; }
inline unsigned short __half_as_ushort(half x) { return x.bits; }

struct __align__(4) __half2 {
  half x, y;
};
using half2 = __half2;
inline half2 make_half2(half x, half y) { return {x, y}; }
inline half2 __halves2half2(half x, half y) { return {x, y}; }
inline half __low2half(half2 h) { return h.x; }
inline half __high2half(half2 h) { return h.y; }
inline half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline half2 __float22half2_rn(float2 x) { return __floats2half2_rn(x.x, x.y); }
inline float2 __half22float2(half2 h) { return {__half2float(h.x), __half2float(h.y)}; }
inline float __low2float(half2 h) { return __half2float(h.x); }
inline float __high2float(half2 h) { return __half2float(h.y); }
