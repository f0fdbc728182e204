// What image kernels compute with, on every tier: i32x16, sixteen 32-bit sums (a zmm, two ymm, or an array), and bytes
// widened to pairs of 16 bits, which one instruction multiplies by a pair of weights and adds. Integers: all tiers give
// the same bits. Beside vec.h the only file that asks which instructions there are.
#pragma once

#include <caracal/kernels/cpu/vec.h>

namespace caracal::kernels::CARACAL_TIER {

#if defined(__AVX512F__)

struct i32x16 {
  __m512i v;
};
struct pairs16 {  // 16 lanes of two 16-bit numbers
  __m512i v;
};
struct bytes4x16 {  // 16 bytes of each of four rows
  __m512i v;
};

CARACAL_INLINE i32x16 set1_i32(int32_t x) { return {_mm512_set1_epi32(x)}; }
CARACAL_INLINE i32x16 load_u8(const uint8_t* p) { return {_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p))}; }
CARACAL_INLINE i32x16 operator+(i32x16 a, i32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
CARACAL_INLINE i32x16 operator*(i32x16 a, int32_t b) { return {_mm512_mullo_epi32(a.v, _mm512_set1_epi32(b))}; }
template <int kBits>
CARACAL_INLINE i32x16 shift_left(i32x16 a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>
CARACAL_INLINE i32x16 shift_right(i32x16 a) {
  return {_mm512_srai_epi32(a.v, kBits)};
}

/// Lane i: (a[i], b[i]).
CARACAL_INLINE pairs16 interleave(const uint8_t* a, const uint8_t* b) {
  __m128i x = _mm_loadu_si128((const __m128i*)a), y = _mm_loadu_si128((const __m128i*)b);
  __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi8(x, y)), _mm_unpackhi_epi8(x, y), 1);
  return {_mm512_cvtepu8_epi16(both)};
}
/// sum + first · (low half of k) + second · (high half of k), the halves signed.
CARACAL_INLINE i32x16 multiply_add(i32x16 sum, pairs16 x, int32_t k) {
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(x.v, _mm512_set1_epi32(k)))};
}

CARACAL_INLINE bytes4x16 load_rows(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i*)a));
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)b), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)c), 2);
  return {_mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)d), 3)};
}
/// In each row, byte i of the result is byte pattern[i] of the row, or 0 where that is 0x80.
CARACAL_INLINE pairs16 shuffle(bytes4x16 x, const uint8_t* pattern) {
  return {_mm512_shuffle_epi8(x.v, _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)pattern)))};
}

CARACAL_INLINE __m128i bytes_of(i32x16 x) {
  return _mm512_cvtusepi32_epi8(_mm512_max_epi32(x.v, _mm512_setzero_si512()));
}

#elif defined(__AVX2__)

struct i32x16 {
  __m256i lo, hi;
};
struct pairs16 {
  __m256i lo, hi;
};
struct bytes4x16 {
  __m256i lo, hi;
};

CARACAL_INLINE i32x16 set1_i32(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
CARACAL_INLINE i32x16 load_u8(const uint8_t* p) {
  __m128i x = _mm_loadu_si128((const __m128i*)p);
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(x, x))};
}
CARACAL_INLINE i32x16 operator+(i32x16 a, i32x16 b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
CARACAL_INLINE i32x16 operator*(i32x16 a, int32_t b) {
  __m256i k = _mm256_set1_epi32(b);
  return {_mm256_mullo_epi32(a.lo, k), _mm256_mullo_epi32(a.hi, k)};
}
template <int kBits>
CARACAL_INLINE i32x16 shift_left(i32x16 a) {
  return {_mm256_slli_epi32(a.lo, kBits), _mm256_slli_epi32(a.hi, kBits)};
}
template <int kBits>
CARACAL_INLINE i32x16 shift_right(i32x16 a) {
  return {_mm256_srai_epi32(a.lo, kBits), _mm256_srai_epi32(a.hi, kBits)};
}

CARACAL_INLINE pairs16 interleave(const uint8_t* a, const uint8_t* b) {
  __m128i x = _mm_loadu_si128((const __m128i*)a), y = _mm_loadu_si128((const __m128i*)b);
  return {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, y)), _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(x, y))};
}
CARACAL_INLINE i32x16 multiply_add(i32x16 sum, pairs16 x, int32_t k) {
  __m256i weights = _mm256_set1_epi32(k);
  return {_mm256_add_epi32(sum.lo, _mm256_madd_epi16(x.lo, weights)),
          _mm256_add_epi32(sum.hi, _mm256_madd_epi16(x.hi, weights))};
}

CARACAL_INLINE __m256i load_two_rows(const uint8_t* a, const uint8_t* b) {
  __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i*)a));
  return _mm256_inserti128_si256(low, _mm_loadu_si128((const __m128i*)b), 1);
}
CARACAL_INLINE bytes4x16 load_rows(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
  return {load_two_rows(a, b), load_two_rows(c, d)};
}
CARACAL_INLINE pairs16 shuffle(bytes4x16 x, const uint8_t* pattern) {
  __m256i p = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)pattern));
  return {_mm256_shuffle_epi8(x.lo, p), _mm256_shuffle_epi8(x.hi, p)};
}

CARACAL_INLINE __m128i bytes_of(i32x16 x) {
  // packs works within 128-bit halves: the quarters come out in the order 0, 2, 1, 3.
  __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8);
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

#else

struct i32x16 {
  int32_t v[16];
};
struct pairs16 {
  int16_t v[16][2];
};
struct bytes4x16 {
  uint8_t v[4][16];
};

CARACAL_INLINE i32x16 set1_i32(int32_t x) { CARACAL_LANES(i32x16, x); }
CARACAL_INLINE i32x16 load_u8(const uint8_t* p) { CARACAL_LANES(i32x16, p[i]); }
CARACAL_INLINE i32x16 operator+(i32x16 a, i32x16 b) {
  CARACAL_LANES(i32x16, int32_t(uint32_t(a.v[i]) + uint32_t(b.v[i])));  // wraps, as instructions do
}
CARACAL_INLINE i32x16 operator*(i32x16 a, int32_t b) { CARACAL_LANES(i32x16, int32_t(uint32_t(a.v[i]) * uint32_t(b))); }
template <int kBits>
CARACAL_INLINE i32x16 shift_left(i32x16 a) {
  CARACAL_LANES(i32x16, int32_t(uint32_t(a.v[i]) << kBits));
}
template <int kBits>
CARACAL_INLINE i32x16 shift_right(i32x16 a) {
  CARACAL_LANES(i32x16, a.v[i] >> kBits);
}

CARACAL_INLINE pairs16 interleave(const uint8_t* a, const uint8_t* b) {
  pairs16 r;
  for (int i = 0; i < 16; i++) r.v[i][0] = a[i], r.v[i][1] = b[i];
  return r;
}
CARACAL_INLINE i32x16 multiply_add(i32x16 sum, pairs16 x, int32_t k) {
  const int32_t first = int16_t(k & 0xffff), second = k >> 16;
  for (int i = 0; i < 16; i++)
    sum.v[i] = int32_t(uint32_t(sum.v[i]) + uint32_t(x.v[i][0] * first + x.v[i][1] * second));
  return sum;
}

CARACAL_INLINE bytes4x16 load_rows(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
  bytes4x16 r;
  for (int i = 0; i < 16; i++) r.v[0][i] = a[i], r.v[1][i] = b[i], r.v[2][i] = c[i], r.v[3][i] = d[i];
  return r;
}
CARACAL_INLINE pairs16 shuffle(bytes4x16 x, const uint8_t* pattern) {
  pairs16 r;
  for (int i = 0; i < 16; i++) {
    for (int half = 0; half < 2; half++) {  // the second byte of each 16-bit number is 0 in every pattern
      const uint8_t from = pattern[i % 4 * 4 + 2 * half];
      r.v[i][half] = from & 0x80 ? int16_t(0) : int16_t(x.v[i / 4][from]);
    }
  }
  return r;
}

CARACAL_INLINE void store_u8(uint8_t* p, i32x16 x) {
  for (int i = 0; i < 16; i++) p[i] = uint8_t(x.v[i] < 0 ? 0 : x.v[i] > 255 ? 255 : x.v[i]);
}
struct bytes16 {
  uint8_t v[16];
};
CARACAL_INLINE bytes16 zero_bytes() { return {}; }
CARACAL_INLINE bytes16 gather_bytes(bytes16 rest, const uint8_t* in, const uint8_t* pattern) {
  for (int i = 0; i < 16; i++) {
    if (pattern[i] < 16) rest.v[i] = in[pattern[i]];
  }
  return rest;
}
CARACAL_INLINE void store_bytes(uint8_t* p, bytes16 x) { __builtin_memcpy(p, x.v, 16); }
CARACAL_INLINE void store_pairs_u8(uint8_t* p, i32x16 a, i32x16 b) {
  uint8_t x[16], y[16];
  store_u8(x, a), store_u8(y, b);
  for (int i = 0; i < 16; i++) p[2 * i] = x[i], p[2 * i + 1] = y[i];
}
CARACAL_INLINE void store_rgb_u8(uint8_t* p, i32x16 r, i32x16 g, i32x16 b) {
  uint8_t planes[3][16];
  store_u8(planes[0], r), store_u8(planes[1], g), store_u8(planes[2], b);
  for (int i = 0; i < 48; i++) p[i] = planes[i % 3][i / 3];
}

#endif

#if defined(__AVX2__)

struct bytes16 {
  __m128i v;
};
CARACAL_INLINE bytes16 zero_bytes() { return {_mm_setzero_si128()}; }
/// Byte i is in[pattern[i]], or that of `rest` where the pattern is 0x80.
CARACAL_INLINE bytes16 gather_bytes(bytes16 rest, const uint8_t* in, const uint8_t* pattern) {
  __m128i x = _mm_loadu_si128((const __m128i*)in), order = _mm_loadu_si128((const __m128i*)pattern);
  return {_mm_or_si128(rest.v, _mm_shuffle_epi8(x, order))};
}
CARACAL_INLINE void store_bytes(uint8_t* p, bytes16 x) { _mm_storeu_si128((__m128i*)p, x.v); }

/// The lanes as bytes, clamped to 0 … 255.
CARACAL_INLINE void store_u8(uint8_t* p, i32x16 x) { _mm_storeu_si128((__m128i*)p, bytes_of(x)); }
/// a[0], b[0], a[1], b[1] … as bytes: 32 of them.
CARACAL_INLINE void store_pairs_u8(uint8_t* p, i32x16 a, i32x16 b) {
  __m128i x = bytes_of(a), y = bytes_of(b);
  _mm_storeu_si128((__m128i*)p, _mm_unpacklo_epi8(x, y));
  _mm_storeu_si128((__m128i*)(p + 16), _mm_unpackhi_epi8(x, y));
}
// Where the bytes of three stores come from: of store t and channel c, byte i is pixel (16 t + i) / 3, or of another
// one.
struct RgbPatterns {
  uint8_t at[3][3][16];
  constexpr RgbPatterns() : at{} {
    for (int t = 0; t < 3; t++) {
      for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 16; i++) at[t][c][i] = (16 * t + i) % 3 == c ? uint8_t((16 * t + i) / 3) : uint8_t(0x80);
      }
    }
  }
};
static constexpr RgbPatterns kRgbPatterns;
/// r[0], g[0], b[0], r[1] … as bytes: 48 of them.
CARACAL_INLINE void store_rgb_u8(uint8_t* p, i32x16 r, i32x16 g, i32x16 b) {
  const __m128i planes[3] = {bytes_of(r), bytes_of(g), bytes_of(b)};
  for (int t = 0; t < 3; t++) {
    __m128i bytes = _mm_setzero_si128();
    for (int c = 0; c < 3; c++) {
      __m128i pattern = _mm_loadu_si128((const __m128i*)kRgbPatterns.at[t][c]);
      bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(planes[c], pattern));
    }
    _mm_storeu_si128((__m128i*)(p + 16 * t), bytes);
  }
}

#endif

}  // namespace caracal::kernels::CARACAL_TIER
