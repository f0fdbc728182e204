// Rounding to TF32 for what stands in for kernels; tests of the kernels themselves round by arithmetic
// (device_memory.h).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

/// To 10 bits of mantissa, ties away from 0, as cvt.rna.tf32 does.
inline float rounded_to_tf32(float x) {
  return std::isfinite(x) ? std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x1000) & ~0x1fffu) : x;
}
