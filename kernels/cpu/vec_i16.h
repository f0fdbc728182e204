// What the JPEG transform computes with, on every tier: `words`, a row of eight 16-bit numbers of each of kBlocks
// blocks (four in a zmm, two in a ymm, one in an array), and `sums`, four 32-bit numbers of each. Nothing crosses from
// block to block. Integers: all tiers give the same bits. With vec.h and vec_u8.h the only file that asks which
// instructions there are.
#pragma once

#include <caracal/kernels/cpu/vec.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int kBlockSize = 64;  // coefficients

#if defined(__AVX512F__) || defined(__AVX2__)

#if defined(__AVX512F__)
#define CARACAL_V(op) _mm512_##op
static constexpr int kBlocks = 4;
typedef __m512i vector;
#else
#define CARACAL_V(op) _mm256_##op
static constexpr int kBlocks = 2;
typedef __m256i vector;
#endif

struct words {
  vector v;
};
struct sums {
  vector v;
};

/// The eight numbers at p, and those at the same place of the blocks that follow.
CARACAL_INLINE words load_words(const int16_t* p) {
  auto at = [&](int block) { return _mm_loadu_si128((const __m128i*)(p + block * kBlockSize)); };
#if defined(__AVX512F__)
  vector v = _mm512_inserti32x4(_mm512_castsi128_si512(at(0)), at(1), 1);
  return {_mm512_inserti32x4(_mm512_inserti32x4(v, at(2), 2), at(3), 3)};
#else
  return {_mm256_inserti128_si256(_mm256_castsi128_si256(at(0)), at(1), 1)};
#endif
}
/// The eight numbers at p for every block.
CARACAL_INLINE words load_for_all(const int16_t* p) {
  __m128i x = _mm_loadu_si128((const __m128i*)p);
#if defined(__AVX512F__)
  return {_mm512_broadcast_i32x4(x)};
#else
  return {_mm256_broadcastsi128_si256(x)};
#endif
}
CARACAL_INLINE words zero_words() { return {CARACAL_V(set1_epi16)(0)}; }

CARACAL_INLINE words operator+(words a, words b) { return {CARACAL_V(add_epi16)(a.v, b.v)}; }
CARACAL_INLINE words operator-(words a, words b) { return {CARACAL_V(sub_epi16)(a.v, b.v)}; }
CARACAL_INLINE words operator*(words a, words b) { return {CARACAL_V(mullo_epi16)(a.v, b.v)}; }
/// The larger one of a and |b|, both unsigned.
CARACAL_INLINE words max_abs(words a, words b) { return {CARACAL_V(max_epu16)(a.v, CARACAL_V(abs_epi16)(b.v))}; }

/// Elements of kBytes bytes of the lower (upper) halves of a and b in turn.
template <int kBytes, bool kHigh>
CARACAL_INLINE words interleave(words a, words b) {
  if constexpr (kBytes == 1) return {kHigh ? CARACAL_V(unpackhi_epi8)(a.v, b.v) : CARACAL_V(unpacklo_epi8)(a.v, b.v)};
  if constexpr (kBytes == 2) return {kHigh ? CARACAL_V(unpackhi_epi16)(a.v, b.v) : CARACAL_V(unpacklo_epi16)(a.v, b.v)};
  if constexpr (kBytes == 4) return {kHigh ? CARACAL_V(unpackhi_epi32)(a.v, b.v) : CARACAL_V(unpacklo_epi32)(a.v, b.v)};
  if constexpr (kBytes == 8) return {kHigh ? CARACAL_V(unpackhi_epi64)(a.v, b.v) : CARACAL_V(unpacklo_epi64)(a.v, b.v)};
}

/// first · (low half of k) + second · (high half of k) of each pair in x.
CARACAL_INLINE sums multiply_pairs(words x, int32_t k) {
  return {CARACAL_V(madd_epi16)(x.v, CARACAL_V(set1_epi32)(k))};
}
CARACAL_INLINE sums operator+(sums a, sums b) { return {CARACAL_V(add_epi32)(a.v, b.v)}; }
CARACAL_INLINE sums operator-(sums a, sums b) { return {CARACAL_V(sub_epi32)(a.v, b.v)}; }
CARACAL_INLINE sums set1_sums(int32_t x) { return {CARACAL_V(set1_epi32)(x)}; }
/// Pairs as 32-bit numbers, divided by 2^kBits.
template <int kBits>
CARACAL_INLINE sums shift_right(words pairs) {
  return {CARACAL_V(srai_epi32)(pairs.v, kBits)};
}
template <int kBits>
CARACAL_INLINE sums shift_right(sums x) {
  return {CARACAL_V(srai_epi32)(x.v, kBits)};
}

/// The eight sums as 16-bit numbers, clamped.
CARACAL_INLINE words pack(sums low, sums high) { return {CARACAL_V(packs_epi32)(low.v, high.v)}; }
/// The sixteen numbers plus 128 as bytes, clamped to 0 … 255.
CARACAL_INLINE words pack_u8(words low, words high) {
  return {CARACAL_V(add_epi8)(CARACAL_V(packs_epi16)(low.v, high.v), CARACAL_V(set1_epi8)(char(-128)))};
}

/// The first eight bytes of each block to p, block by block; the other eight to `next` likewise.
CARACAL_INLINE void store_rows(uint8_t* p, uint8_t* next, words x) {
#if defined(__AVX512F__)
  vector v = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), x.v);
  _mm256_storeu_si256((__m256i*)p, _mm512_castsi512_si256(v));
  _mm256_storeu_si256((__m256i*)next, _mm512_extracti64x4_epi64(v, 1));
#else
  vector v = _mm256_permute4x64_epi64(x.v, 0xd8);
  _mm_storeu_si128((__m128i*)p, _mm256_castsi256_si128(v));
  _mm_storeu_si128((__m128i*)next, _mm256_extracti128_si256(v, 1));
#endif
}
/// The largest of all numbers, unsigned.
CARACAL_INLINE int32_t largest(words x) {
  uint16_t values[sizeof(vector) / 2], most = 0;
  __builtin_memcpy(values, &x.v, sizeof values);
  for (uint16_t value : values) most = value > most ? value : most;
  return most;
}

#undef CARACAL_V

#else

static constexpr int kBlocks = 1;

struct words {
  int16_t v[8];
};
struct sums {
  int32_t v[4];
};

CARACAL_INLINE words load_words(const int16_t* p) {
  words r;
  for (int i = 0; i < 8; i++) r.v[i] = p[i];
  return r;
}
CARACAL_INLINE words load_for_all(const int16_t* p) { return load_words(p); }
CARACAL_INLINE words zero_words() { return {}; }

CARACAL_INLINE words operator+(words a, words b) {
  for (int i = 0; i < 8; i++) a.v[i] = int16_t(a.v[i] + b.v[i]);
  return a;
}
CARACAL_INLINE words operator-(words a, words b) {
  for (int i = 0; i < 8; i++) a.v[i] = int16_t(a.v[i] - b.v[i]);
  return a;
}
CARACAL_INLINE words operator*(words a, words b) {
  for (int i = 0; i < 8; i++) a.v[i] = int16_t(a.v[i] * b.v[i]);
  return a;
}
CARACAL_INLINE words max_abs(words a, words b) {
  for (int i = 0; i < 8; i++) {
    const uint16_t x = uint16_t(a.v[i]), y = uint16_t(b.v[i] < 0 ? -b.v[i] : b.v[i]);
    a.v[i] = int16_t(x > y ? x : y);
  }
  return a;
}

template <int kBytes, bool kHigh>
CARACAL_INLINE words interleave(words a, words b) {
  constexpr int kSize = sizeof(words), kBegin = kHigh ? kSize / 2 : 0;
  uint8_t from[2][kSize], to[kSize];
  __builtin_memcpy(from[0], &a, kSize), __builtin_memcpy(from[1], &b, kSize);
  for (int i = 0; i < kSize; i++) to[i] = from[i / kBytes % 2][kBegin + i / (2 * kBytes) * kBytes + i % kBytes];
  __builtin_memcpy(&a, to, kSize);
  return a;
}

CARACAL_INLINE sums multiply_pairs(words x, int32_t k) {
  const int32_t first = int16_t(k & 0xffff), second = k >> 16;
  sums r;
  for (int i = 0; i < 4; i++) r.v[i] = int32_t(uint32_t(x.v[2 * i] * first) + uint32_t(x.v[2 * i + 1] * second));
  return r;
}
CARACAL_INLINE sums operator+(sums a, sums b) {
  for (int i = 0; i < 4; i++) a.v[i] = int32_t(uint32_t(a.v[i]) + uint32_t(b.v[i]));
  return a;
}
CARACAL_INLINE sums operator-(sums a, sums b) {
  for (int i = 0; i < 4; i++) a.v[i] = int32_t(uint32_t(a.v[i]) - uint32_t(b.v[i]));
  return a;
}
CARACAL_INLINE sums set1_sums(int32_t x) { return {{x, x, x, x}}; }
template <int kBits>
CARACAL_INLINE sums shift_right(sums x) {
  for (int32_t& value : x.v) value >>= kBits;
  return x;
}
template <int kBits>
CARACAL_INLINE sums shift_right(words pairs) {
  sums r;
  __builtin_memcpy(&r, &pairs, sizeof r);
  return shift_right<kBits>(r);
}

CARACAL_INLINE words pack(sums low, sums high) {
  words r;
  for (int i = 0; i < 8; i++) {
    const int32_t x = i < 4 ? low.v[i] : high.v[i - 4];
    r.v[i] = int16_t(x < -32768 ? -32768 : x > 32767 ? 32767 : x);
  }
  return r;
}
CARACAL_INLINE words pack_u8(words low, words high) {
  uint8_t bytes[16];
  for (int i = 0; i < 16; i++) {
    const int x = (i < 8 ? low.v[i] : high.v[i - 8]) + 128;
    bytes[i] = uint8_t(x < 0 ? 0 : x > 255 ? 255 : x);
  }
  __builtin_memcpy(&low, bytes, sizeof low);
  return low;
}

CARACAL_INLINE void store_rows(uint8_t* p, uint8_t* next, words x) {
  __builtin_memcpy(p, x.v, 8), __builtin_memcpy(next, x.v + 4, 8);
}
CARACAL_INLINE int32_t largest(words x) {
  uint16_t most = 0;
  for (int16_t value : x.v) most = uint16_t(value) > most ? uint16_t(value) : most;
  return most;
}

#endif

}  // namespace caracal::kernels::CARACAL_TIER
