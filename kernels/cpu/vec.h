// f32x16: sixteen floats, the one vector type of every tier: a zmm, two ymm, or an array. Because the lanes and the
// reduction trees are the same everywhere and every operation is correctly rounded, the avx2 and avx512 tiers give the
// same bits; the scalar tier differs only in that fma() rounds twice.
// This is the only file that asks which instructions there are, but for those of integers and dot products (vec_….h).
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define CARACAL_INLINE static inline __attribute__((always_inline))
#define CARACAL_MEMBER inline __attribute__((always_inline))

namespace caracal::kernels::CARACAL_TIER {

static constexpr int64_t kLanes = 16;

#if defined(__AVX512F__)

// 32 registers: an 8 x 48 tile is 24 accumulators, 3 of B, 1 of A; 6 x 64 is 24 + 4 + 1.
static constexpr int kTileRows = 8, kTileVecs = 3, kWideRows = 6, kWideVecs = 4;

struct f32x16 {
  __m512 v;
};
struct mask16 {
  __mmask16 v;
};

CARACAL_INLINE mask16 first_lanes(int64_t n) { return {__mmask16((1u << n) - 1)}; }

CARACAL_INLINE f32x16 zero() { return {_mm512_setzero_ps()}; }
CARACAL_INLINE f32x16 set1(float x) { return {_mm512_set1_ps(x)}; }
CARACAL_INLINE f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
CARACAL_INLINE f32x16 load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n).v, p)}; }
CARACAL_INLINE f32x16 load_halves(const float* low, const float* high) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(low)), _mm256_loadu_ps(high), 1)};
}
CARACAL_INLINE void store(float* p, f32x16 x) { _mm512_storeu_ps(p, x.v); }
CARACAL_INLINE void store_n(float* p, f32x16 x, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n).v, x.v); }

CARACAL_INLINE f32x16 operator+(f32x16 a, f32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
CARACAL_INLINE f32x16 operator-(f32x16 a, f32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
CARACAL_INLINE f32x16 operator*(f32x16 a, f32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
CARACAL_INLINE f32x16 operator/(f32x16 a, f32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
CARACAL_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
CARACAL_INLINE f32x16 max(f32x16 a, f32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
CARACAL_INLINE f32x16 min(f32x16 a, f32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
CARACAL_INLINE f32x16 abs(f32x16 a) { return {_mm512_abs_ps(a.v)}; }
CARACAL_INLINE f32x16 sqrt(f32x16 a) { return {_mm512_sqrt_ps(a.v)}; }

CARACAL_INLINE mask16 greater(f32x16 a, f32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
CARACAL_INLINE mask16 is_nan(f32x16 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
CARACAL_INLINE f32x16 select(mask16 m, f32x16 yes, f32x16 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }

CARACAL_INLINE f32x16 scale_by_pow2(f32x16 x, f32x16 n) { return {_mm512_scalef_ps(x.v, n.v)}; }

CARACAL_INLINE f32x16 load_f16(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))}; }
CARACAL_INLINE f32x16 load_bf16(const uint16_t* p) {
  __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}

// Lane i receives lane i ^ distance, where that is 1, 2, 4 or 8.
template <int distance>
CARACAL_INLINE f32x16 exchange_lanes(f32x16 x) {
  if constexpr (distance == 1) return {_mm512_permute_ps(x.v, 0xb1)};
  if constexpr (distance == 2) return {_mm512_permute_ps(x.v, 0x4e)};
  if constexpr (distance == 4) return {_mm512_shuffle_f32x4(x.v, x.v, 0xb1)};
  if constexpr (distance == 8) return {_mm512_shuffle_f32x4(x.v, x.v, 0x4e)};
}

// The halves meet first (lane i with i + 8), then 4, 2, 1 apart: the tree of every tier.
CARACAL_INLINE __m256 low_half(f32x16 x) { return _mm512_castps512_ps256(x.v); }
CARACAL_INLINE __m256 high_half(f32x16 x) { return _mm512_extractf32x8_ps(x.v, 1); }

#elif defined(__AVX2__)

// 16 registers: a 6 x 16 tile is 12 accumulators, 2 of B, 1 of A.
static constexpr int kTileRows = 6, kTileVecs = 1, kWideRows = 6, kWideVecs = 1;

struct f32x16 {
  __m256 lo, hi;
};
struct mask16 {
  __m256 lo, hi;
};

CARACAL_INLINE mask16 first_lanes(int64_t n) {
  __m256i count = _mm256_set1_epi32(int(n));
  __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(count, lane)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8))))};
}

CARACAL_INLINE f32x16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
CARACAL_INLINE f32x16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
CARACAL_INLINE f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
CARACAL_INLINE f32x16 load_n(const float* p, int64_t n) {
  mask16 m = first_lanes(n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)), _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
}
CARACAL_INLINE f32x16 load_halves(const float* low, const float* high) {
  return {_mm256_loadu_ps(low), _mm256_loadu_ps(high)};
}
CARACAL_INLINE void store(float* p, f32x16 x) { _mm256_storeu_ps(p, x.lo), _mm256_storeu_ps(p + 8, x.hi); }
CARACAL_INLINE void store_n(float* p, f32x16 x, int64_t n) {
  mask16 m = first_lanes(n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.lo), x.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.hi), x.hi);
}

CARACAL_INLINE f32x16 operator+(f32x16 a, f32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
CARACAL_INLINE f32x16 operator-(f32x16 a, f32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
CARACAL_INLINE f32x16 operator*(f32x16 a, f32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
CARACAL_INLINE f32x16 operator/(f32x16 a, f32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
CARACAL_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
CARACAL_INLINE f32x16 max(f32x16 a, f32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
CARACAL_INLINE f32x16 min(f32x16 a, f32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
CARACAL_INLINE f32x16 abs(f32x16 a) {
  __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
CARACAL_INLINE f32x16 sqrt(f32x16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }

CARACAL_INLINE mask16 greater(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)};
}
CARACAL_INLINE mask16 is_nan(f32x16 a) {
  return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)};
}
CARACAL_INLINE f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}

// 2^n in two factors, each a normal float, so that only the last multiplication rounds (as vscalefps does).
CARACAL_INLINE __m256 scale_half(__m256 x, __m256 n) {
  __m256i i = _mm256_cvtps_epi32(n), first = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
  __m256i second = _mm256_sub_epi32(i, first);
  x = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, bias), 23)));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, bias), 23)));
}
CARACAL_INLINE f32x16 scale_by_pow2(f32x16 x, f32x16 n) { return {scale_half(x.lo, n.lo), scale_half(x.hi, n.hi)}; }

CARACAL_INLINE f32x16 load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
CARACAL_INLINE __m256 widen_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
CARACAL_INLINE f32x16 load_bf16(const uint16_t* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }

template <int distance>
CARACAL_INLINE f32x16 exchange_lanes(f32x16 x) {
  if constexpr (distance == 1) return {_mm256_permute_ps(x.lo, 0xb1), _mm256_permute_ps(x.hi, 0xb1)};
  if constexpr (distance == 2) return {_mm256_permute_ps(x.lo, 0x4e), _mm256_permute_ps(x.hi, 0x4e)};
  if constexpr (distance == 4) return {_mm256_permute2f128_ps(x.lo, x.lo, 1), _mm256_permute2f128_ps(x.hi, x.hi, 1)};
  if constexpr (distance == 8) return {x.hi, x.lo};
}

CARACAL_INLINE __m256 low_half(f32x16 x) { return x.lo; }
CARACAL_INLINE __m256 high_half(f32x16 x) { return x.hi; }

#else

static constexpr int kTileRows = 2, kTileVecs = 1, kWideRows = 2, kWideVecs = 1;

struct f32x16 {
  float v[16];
};
struct mask16 {
  bool v[16];
};

#define CARACAL_LANES(type, expression)             \
  type r;                                           \
  for (int i = 0; i < 16; i++) r.v[i] = expression; \
  return r

CARACAL_INLINE mask16 first_lanes(int64_t n) { CARACAL_LANES(mask16, i < n); }

CARACAL_INLINE f32x16 zero() { CARACAL_LANES(f32x16, 0.0f); }
CARACAL_INLINE f32x16 set1(float x) { CARACAL_LANES(f32x16, x); }
CARACAL_INLINE f32x16 load(const float* p) { CARACAL_LANES(f32x16, p[i]); }
CARACAL_INLINE f32x16 load_n(const float* p, int64_t n) { CARACAL_LANES(f32x16, i < n ? p[i] : 0.0f); }
CARACAL_INLINE f32x16 load_halves(const float* low, const float* high) {
  CARACAL_LANES(f32x16, i < 8 ? low[i] : high[i - 8]);
}
CARACAL_INLINE void store(float* p, f32x16 x) {
  for (int i = 0; i < 16; i++) p[i] = x.v[i];
}
CARACAL_INLINE void store_n(float* p, f32x16 x, int64_t n) {
  for (int i = 0; i < n; i++) p[i] = x.v[i];
}

CARACAL_INLINE f32x16 operator+(f32x16 a, f32x16 b) { CARACAL_LANES(f32x16, a.v[i] + b.v[i]); }
CARACAL_INLINE f32x16 operator-(f32x16 a, f32x16 b) { CARACAL_LANES(f32x16, a.v[i] - b.v[i]); }
CARACAL_INLINE f32x16 operator*(f32x16 a, f32x16 b) { CARACAL_LANES(f32x16, a.v[i] * b.v[i]); }
CARACAL_INLINE f32x16 operator/(f32x16 a, f32x16 b) { CARACAL_LANES(f32x16, a.v[i] / b.v[i]); }
CARACAL_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { CARACAL_LANES(f32x16, a.v[i] * b.v[i] + c.v[i]); }
// Like the instructions: the second operand when either is NaN.
CARACAL_INLINE f32x16 max(f32x16 a, f32x16 b) { CARACAL_LANES(f32x16, a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
CARACAL_INLINE f32x16 min(f32x16 a, f32x16 b) { CARACAL_LANES(f32x16, a.v[i] < b.v[i] ? a.v[i] : b.v[i]); }
CARACAL_INLINE f32x16 abs(f32x16 a) { CARACAL_LANES(f32x16, fabsf(a.v[i])); }
CARACAL_INLINE f32x16 sqrt(f32x16 a) { CARACAL_LANES(f32x16, sqrtf(a.v[i])); }

CARACAL_INLINE mask16 greater(f32x16 a, f32x16 b) { CARACAL_LANES(mask16, a.v[i] > b.v[i]); }
CARACAL_INLINE mask16 is_nan(f32x16 a) { CARACAL_LANES(mask16, a.v[i] != a.v[i]); }
CARACAL_INLINE f32x16 select(mask16 m, f32x16 yes, f32x16 no) { CARACAL_LANES(f32x16, m.v[i] ? yes.v[i] : no.v[i]); }

CARACAL_INLINE float float_from_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }

// 2^n in two factors, each a normal float, so that only the last multiplication rounds. NaN comes from x, not from n.
CARACAL_INLINE float scale_lane(float x, float n) {
  int e = n == n ? int(n) : 0, first = e >> 1;
  return x * float_from_bits(uint32_t(first + 127) << 23) * float_from_bits(uint32_t(e - first + 127) << 23);
}
CARACAL_INLINE f32x16 scale_by_pow2(f32x16 x, f32x16 n) { CARACAL_LANES(f32x16, scale_lane(x.v[i], n.v[i])); }

CARACAL_INLINE float f16_lane(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31) return float_from_bits(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
  if (exponent == 0) return float_from_bits(sign | 0x3f800000) * (float(mantissa) * 0x1p-24f);
  return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}
CARACAL_INLINE f32x16 load_f16(const uint16_t* p) { CARACAL_LANES(f32x16, f16_lane(p[i])); }
CARACAL_INLINE f32x16 load_bf16(const uint16_t* p) { CARACAL_LANES(f32x16, float_from_bits(uint32_t(p[i]) << 16)); }

template <int distance>
CARACAL_INLINE f32x16 exchange_lanes(f32x16 x) {
  CARACAL_LANES(f32x16, x.v[i ^ distance]);
}

CARACAL_INLINE float hsum(f32x16 x) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) x.v[i] += x.v[i + half];
  }
  return x.v[0];
}
CARACAL_INLINE float hmax(f32x16 x) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) x.v[i] = x.v[i] > x.v[i + half] ? x.v[i] : x.v[i + half];
  }
  return x.v[0];
}
CARACAL_INLINE void prefetch_l1(const char*) {}
CARACAL_INLINE void prefetch_l2(const char*) {}

/// out[j][i] = in[i][j] for a block of 8 x 8.
CARACAL_INLINE void transpose_8x8(float* out, int64_t ldo, const float* in, int64_t ldi) {
  for (int i = 0; i < 8; i++) {
    for (int j = 0; j < 8; j++) out[j * ldo + i] = in[i * ldi + j];
  }
}

#endif

#if defined(__AVX2__)

CARACAL_INLINE float hsum(f32x16 x) {
  __m256 eight = _mm256_add_ps(low_half(x), high_half(x));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
CARACAL_INLINE float hmax(f32x16 x) {
  __m256 eight = _mm256_max_ps(low_half(x), high_half(x));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
CARACAL_INLINE void prefetch_l1(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }
CARACAL_INLINE void prefetch_l2(const char* p) { _mm_prefetch(p, _MM_HINT_T1); }

/// out[j][i] = in[i][j] for a block of 8 x 8.
CARACAL_INLINE void transpose_8x8(float* out, int64_t ldo, const float* in, int64_t ldi) {
  // Rows i and i + 4 share a register, so that all shuffles stay within 128-bit halves.
  __m256 r[8], t[4];
  for (int i = 0; i < 4; i++) {
    const float *low = in + i * ldi, *high = in + (i + 4) * ldi;
    r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
    r[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low + 4)), _mm_loadu_ps(high + 4), 1);
  }
  for (int half = 0; half < 8; half += 4) {
    t[0] = _mm256_unpacklo_ps(r[half], r[half + 1]), t[1] = _mm256_unpackhi_ps(r[half], r[half + 1]);
    t[2] = _mm256_unpacklo_ps(r[half + 2], r[half + 3]), t[3] = _mm256_unpackhi_ps(r[half + 2], r[half + 3]);
    float* to = out + half * ldo;
    _mm256_storeu_ps(to, _mm256_shuffle_ps(t[0], t[2], 0x44));
    _mm256_storeu_ps(to + ldo, _mm256_shuffle_ps(t[0], t[2], 0xee));
    _mm256_storeu_ps(to + 2 * ldo, _mm256_shuffle_ps(t[1], t[3], 0x44));
    _mm256_storeu_ps(to + 3 * ldo, _mm256_shuffle_ps(t[1], t[3], 0xee));
  }
}

#endif

}  // namespace caracal::kernels::CARACAL_TIER
