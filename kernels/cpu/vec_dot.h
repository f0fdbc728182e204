// What products of 8-bit and bfloat16 numbers compute with, on every tier: a row of A comes in steps of 32 bits (a pair
// of floats where there are no bfloat16 instructions), and an instruction, or two, adds the dot product of a step with
// that of each of 16 columns of W to 16 sums. With vec.h, vec_u8.h and vec_i16.h the only file that asks which
// instructions there are.
//
// 8 bits: A unsigned, W signed, sums of 32 bits that wrap, so that all tiers have the same integers. vpdpbusd takes
// four products at a time. Without it, bytes are widened to 16 bits, of which vpmaddwd adds two products exactly;
// vpmaddubsw, which needs no widening, would saturate.
// bfloat16: a step is two products, the odd k first, each a fused multiply-add in float32: what vdpbf16ps does.
#pragma once

#include <caracal/kernels/cpu/tile.h>
#include <caracal/kernels/cpu/vec_u8.h>

namespace caracal::kernels::CARACAL_TIER {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define CARACAL_VNNI 1
typedef uint8_t input8;  // how a number of A is stored
#else
#define CARACAL_VNNI 0
typedef int16_t input8;
#endif
static constexpr int64_t kBytesPerStep = 4 / int64_t(sizeof(input8));

CARACAL_INLINE uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
CARACAL_INLINE float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

#if defined(__AVX512F__)

CARACAL_INLINE i32x16 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
CARACAL_INLINE void store(int32_t* p, i32x16 x) { _mm512_storeu_si512(p, x.v); }
CARACAL_INLINE i32x16 operator-(i32x16 a, i32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
CARACAL_INLINE f32x16 to_float(i32x16 x) { return {_mm512_cvtepi32_ps(x.v)}; }
CARACAL_INLINE i32x16 to_int(f32x16 x) { return {_mm512_cvttps_epi32(x.v)}; }

#if CARACAL_VNNI
CARACAL_INLINE void store_inputs(input8* p, i32x16 x) { store_u8(p, x); }
CARACAL_INLINE i32x16 load_weights(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
CARACAL_INLINE i32x16 dot(i32x16 a, i32x16 w, i32x16 sum) { return {_mm512_dpbusd_epi32(sum.v, a.v, w.v)}; }
#else
CARACAL_INLINE void store_inputs(input8* p, i32x16 x) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(x.v)); }
CARACAL_INLINE i32x16 load_weights(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)p))};
}
CARACAL_INLINE i32x16 dot(i32x16 a, i32x16 w, i32x16 sum) {
  sum.v = _mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, w.v));
  asm("" : "+v"(sum.v));  // GCC would add up the products of several steps first, which takes more registers than exist
  return sum;
}
#endif

CARACAL_INLINE f32x16 load_even_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
}
CARACAL_INLINE f32x16 load_odd_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(int(0xffff0000))))};
}

/// The nearest bfloat16, ties to even, as a float; 0 for a denormal and NaN for NaN, as vcvtneps2bf16 has it.
CARACAL_INLINE f32x16 round_to_bf16(f32x16 x) {
  const __m512i bits = _mm512_castps_si512(x.v),
                odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i y = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  y = _mm512_mask_or_epi32(y, is_nan(x).v, bits, _mm512_set1_epi32(0x400000));
  y = _mm512_and_si512(y, _mm512_set1_epi32(int(0xffff0000)));
  return select(greater(set1(0x1p-126f), abs(x)), x * zero(), {_mm512_castsi512_ps(y)});
}
/// Pairs of numbers that are bfloat16 already.
CARACAL_INLINE void store_pairs(uint16_t* p, f32x16 even, f32x16 odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even.v), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_castps_si512(odd.v)));
}

#elif defined(__AVX2__)

CARACAL_INLINE __m256i load_half(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
CARACAL_INLINE i32x16 load(const int32_t* p) { return {load_half(p), load_half(p + 8)}; }
CARACAL_INLINE void store(int32_t* p, i32x16 x) {
  _mm256_storeu_si256((__m256i*)p, x.lo), _mm256_storeu_si256((__m256i*)(p + 8), x.hi);
}
CARACAL_INLINE i32x16 operator-(i32x16 a, i32x16 b) {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
CARACAL_INLINE f32x16 to_float(i32x16 x) { return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)}; }
CARACAL_INLINE i32x16 to_int(f32x16 x) { return {_mm256_cvttps_epi32(x.lo), _mm256_cvttps_epi32(x.hi)}; }

#if CARACAL_VNNI
CARACAL_INLINE void store_inputs(input8* p, i32x16 x) { store_u8(p, x); }
CARACAL_INLINE i32x16 load_weights(const int8_t* p) { return {load_half(p), load_half(p + 32)}; }
CARACAL_INLINE i32x16 dot(i32x16 a, i32x16 w, i32x16 sum) {
  return {_mm256_dpbusd_avx_epi32(sum.lo, a.lo, w.lo), _mm256_dpbusd_avx_epi32(sum.hi, a.hi, w.hi)};
}
#else
CARACAL_INLINE void store_inputs(input8* p, i32x16 x) {
  // packs works within 128-bit halves: the quarters come out in the order 0, 2, 1, 3.
  _mm256_storeu_si256((__m256i*)p, _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8));
}
CARACAL_INLINE i32x16 load_weights(const int8_t* p) {
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(p + 16)))};
}
CARACAL_INLINE i32x16 dot(i32x16 a, i32x16 w, i32x16 sum) {
  sum.lo = _mm256_add_epi32(sum.lo, _mm256_madd_epi16(a.lo, w.lo));
  sum.hi = _mm256_add_epi32(sum.hi, _mm256_madd_epi16(a.hi, w.hi));
  asm("" : "+x"(sum.lo), "+x"(sum.hi));  // as above
  return sum;
}
#endif

CARACAL_INLINE f32x16 load_even_bf16(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(load_half(p), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(load_half(p + 16), 16))};
}
CARACAL_INLINE f32x16 load_odd_bf16(const uint16_t* p) {
  const __m256i odd = _mm256_set1_epi32(int(0xffff0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(load_half(p), odd)),
          _mm256_castsi256_ps(_mm256_and_si256(load_half(p + 16), odd))};
}

CARACAL_INLINE __m256 round_half(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x),
                odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i y = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 all =
      _mm256_blendv_ps(_mm256_castsi256_ps(y), _mm256_castsi256_ps(nan), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_and_ps(all, _mm256_castsi256_ps(_mm256_set1_epi32(int(0xffff0000))));
}
CARACAL_INLINE f32x16 round_to_bf16(f32x16 x) {
  return select(greater(set1(0x1p-126f), abs(x)), x * zero(), {round_half(x.lo), round_half(x.hi)});
}
CARACAL_INLINE __m256i pairs_of(__m256 even, __m256 odd) {
  return _mm256_or_si256(_mm256_srli_epi32(_mm256_castps_si256(even), 16), _mm256_castps_si256(odd));
}
CARACAL_INLINE void store_pairs(uint16_t* p, f32x16 even, f32x16 odd) {
  _mm256_storeu_si256((__m256i*)p, pairs_of(even.lo, odd.lo));
  _mm256_storeu_si256((__m256i*)(p + 16), pairs_of(even.hi, odd.hi));
}

#else

CARACAL_INLINE i32x16 load(const int32_t* p) { CARACAL_LANES(i32x16, p[i]); }
CARACAL_INLINE void store(int32_t* p, i32x16 x) {
  for (int i = 0; i < 16; i++) p[i] = x.v[i];
}
CARACAL_INLINE i32x16 operator-(i32x16 a, i32x16 b) {
  CARACAL_LANES(i32x16, int32_t(uint32_t(a.v[i]) - uint32_t(b.v[i])));
}
CARACAL_INLINE f32x16 to_float(i32x16 x) { CARACAL_LANES(f32x16, float(x.v[i])); }
CARACAL_INLINE i32x16 to_int(f32x16 x) { CARACAL_LANES(i32x16, int32_t(x.v[i])); }

CARACAL_INLINE void store_inputs(input8* p, i32x16 x) {
  for (int i = 0; i < 16; i++) p[i] = input8(x.v[i]);
}
struct weights16 {
  int8_t v[16][2];
};
CARACAL_INLINE weights16 load_weights(const int8_t* p) {
  weights16 r;
  __builtin_memcpy(r.v, p, sizeof r.v);
  return r;
}
CARACAL_INLINE i32x16 dot(i32x16 a, weights16 w, i32x16 sum) {
  for (int i = 0; i < 16; i++) {
    const int32_t first = int16_t(a.v[i] & 0xffff), second = a.v[i] >> 16;
    sum.v[i] = int32_t(uint32_t(sum.v[i]) + uint32_t(first * w.v[i][0] + second * w.v[i][1]));
  }
  return sum;
}

CARACAL_INLINE f32x16 load_even_bf16(const uint16_t* p) { CARACAL_LANES(f32x16, float_of(uint32_t(p[2 * i]) << 16)); }
CARACAL_INLINE f32x16 load_odd_bf16(const uint16_t* p) {
  CARACAL_LANES(f32x16, float_of(uint32_t(p[2 * i + 1]) << 16));
}

CARACAL_INLINE float round_lane(float x) {
  const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
  uint32_t result = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  result = magnitude > 0x7f800000 ? (bits | 0x400000) & 0xffff0000 : result;
  return float_of(magnitude < 0x800000 ? bits & 0x80000000 : result);
}
CARACAL_INLINE f32x16 round_to_bf16(f32x16 x) { CARACAL_LANES(f32x16, round_lane(x.v[i])); }
CARACAL_INLINE void store_pairs(uint16_t* p, f32x16 even, f32x16 odd) {
  for (int i = 0; i < 16; i++) {
    p[2 * i] = uint16_t(bits_of(even.v[i]) >> 16);
    p[2 * i + 1] = uint16_t(bits_of(odd.v[i]) >> 16);
  }
}

#endif

/// Numbers of TileOf: unsigned bytes times signed ones.
struct Bytes {
  using Input = uint32_t;
  using Weight = int8_t;
  using Sum = int32_t;
  using Columns = decltype(load_weights(nullptr));
  using Sums = i32x16;
  static constexpr int64_t kPerStep = kBytesPerStep;
  static constexpr int64_t kVectorWeights = kLanes * kPerStep;
  static constexpr int kParts = 1;
  template <int>
  CARACAL_INLINE Columns columns(const Weight* b) {
    return load_weights(b);
  }
  template <int>
  CARACAL_INLINE i32x16 input(const Input& x) {
    return set1_i32(int32_t(x));
  }
  CARACAL_INLINE Sums multiply_add(i32x16 x, Columns b, Sums sum) { return dot(x, b, sum); }
  CARACAL_INLINE Sums none() { return set1_i32(0); }
  CARACAL_INLINE Sums load_sums(const Sum* p) { return load(p); }
  CARACAL_INLINE void store_sums(Sum* p, Sums x) { store(p, x); }
};

/// Numbers of TileOf: pairs of bfloat16.
struct Bfloat16Pairs {
  using Weight = uint16_t;
  using Sum = float;
  using Sums = f32x16;
  static constexpr int64_t kPerStep = 2;
  static constexpr int64_t kVectorWeights = kLanes * kPerStep;
  CARACAL_INLINE Sums none() { return zero(); }
  CARACAL_INLINE Sums load_sums(const Sum* p) { return load(p); }
  CARACAL_INLINE void store_sums(Sum* p, Sums x) { store(p, x); }

#if defined(__AVX512BF16__)
  using Input = uint32_t;
  struct Columns {
    __m512i v;
  };
  static constexpr int kParts = 1;
  template <int>
  CARACAL_INLINE Columns columns(const Weight* b) {
    return {_mm512_loadu_si512(b)};
  }
  template <int>
  CARACAL_INLINE Columns input(const Input& x) {
    return {_mm512_set1_epi32(int32_t(x))};
  }
  CARACAL_INLINE Sums multiply_add(Columns x, Columns b, Sums sum) {
    return {_mm512_dpbf16_ps(sum.v, (__m512bh)x.v, (__m512bh)b.v)};
  }
  /// Steps of the 16 numbers x.
  CARACAL_INLINE void store_inputs(Input* p, f32x16 x) {
    _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(x.v));
  }
  /// A step of 16 columns, whose numbers are in `even` and in `odd`.
  CARACAL_INLINE void store_columns(Weight* p, f32x16 even, f32x16 odd) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even.v));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd.v));
    _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
#else
  struct Input {
    float even, odd;
  };
  using Columns = f32x16;
  static constexpr int kParts = 2;  // odd, even
  template <int part>
  CARACAL_INLINE Columns columns(const Weight* b) {
    return part == 0 ? load_odd_bf16(b) : load_even_bf16(b);
  }
  template <int part>
  CARACAL_INLINE f32x16 input(const Input& x) {
    return set1(part == 0 ? x.odd : x.even);
  }
  CARACAL_INLINE Sums multiply_add(f32x16 x, Columns b, Sums sum) { return fma(x, b, sum); }
  CARACAL_INLINE void store_inputs(Input* p, f32x16 x) { store(reinterpret_cast<float*>(p), round_to_bf16(x)); }
  CARACAL_INLINE void store_columns(Weight* p, f32x16 even, f32x16 odd) {
    store_pairs(p, round_to_bf16(even), round_to_bf16(odd));
  }
#endif
};

}  // namespace caracal::kernels::CARACAL_TIER
