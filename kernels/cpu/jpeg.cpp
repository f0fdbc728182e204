// The last steps of JPEG decoding in the integers of libjpeg's defaults: its "islow" inverse transform as its x86 code
// computes it (16-bit sums that wrap, clamps between the passes), "fancy" upsampling, and YCbCr to RGB.
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/vec_i16.h>
#include <caracal/kernels/cpu/vec_u8.h>

namespace caracal::kernels::CARACAL_TIER {

// 2^13 times the constants of Loeffler, Ligtenberg and Moschytz's transform.
static constexpr int kConstBits = 13, kPass1Bits = 2;
static constexpr int32_t k0_298 = 2446, k0_390 = 3196, k0_541 = 4433, k0_765 = 6270, k0_899 = 7373, k1_175 = 9633,
                         k1_501 = 12299, k1_847 = 15137, k1_961 = 16069, k2_053 = 16819, k2_562 = 20995, k3_072 = 25172;

CARACAL_INLINE int32_t pair(int32_t first, int32_t second) {
  return int32_t(uint32_t(second) << 16 | (first & 0xffff));
}

// Four of the eight columns: x[k] holds frequency k of each; out[i] becomes sample i, divided by 2^kShift.
template <int kShift, bool kHigh>
CARACAL_INLINE void transform(const words (&x)[8], sums (&out)[8]) {
  auto scaled = [](words w) { return shift_right<16 - kConstBits>(interleave<2, kHigh>(zero_words(), w)); };
  const words x26 = interleave<2, kHigh>(x[2], x[6]);
  const sums e2 = multiply_pairs(x26, pair(k0_541, k0_541 - k1_847)),
             e3 = multiply_pairs(x26, pair(k0_541 + k0_765, k0_541));
  const sums rounding = set1_sums(1 << (kShift - 1));
  const sums e0 = scaled(x[0] + x[4]) + rounding, e1 = scaled(x[0] - x[4]) + rounding;
  const sums even[4] = {e0 + e3, e1 + e2, e1 - e2, e0 - e3};

  const words z34 = interleave<2, kHigh>(x[7] + x[3], x[5] + x[1]);
  const sums z3 = multiply_pairs(z34, pair(k1_175 - k1_961, k1_175)),
             z4 = multiply_pairs(z34, pair(k1_175, k1_175 - k0_390));
  const words x71 = interleave<2, kHigh>(x[7], x[1]), x53 = interleave<2, kHigh>(x[5], x[3]);
  const sums odd[4] = {multiply_pairs(x71, pair(-k0_899, k1_501 - k0_899)) + z4,
                       multiply_pairs(x53, pair(-k2_562, k3_072 - k2_562)) + z3,
                       multiply_pairs(x53, pair(k2_053 - k2_562, -k2_562)) + z4,
                       multiply_pairs(x71, pair(k0_298 - k0_899, -k0_899)) + z3};
  for (int i = 0; i < 4; i++) {
    out[i] = shift_right<kShift>(even[i] + odd[i]);
    out[7 - i] = shift_right<kShift>(even[i] - odd[i]);
  }
}

template <int kShift>
CARACAL_INLINE void pass(words (&x)[8]) {
  sums low[8], high[8];
  transform<kShift, false>(x, low);
  transform<kShift, true>(x, high);
  for (int i = 0; i < 8; i++) x[i] = pack(low[i], high[i]);
}

CARACAL_INLINE void transpose(words (&x)[8]) {
  words a[8], b[8];
  for (int i = 0; i < 4; i++)
    a[2 * i] = interleave<2, false>(x[i], x[i + 4]), a[2 * i + 1] = interleave<2, true>(x[i], x[i + 4]);
  for (int i = 0; i < 4; i++)
    b[2 * i] = interleave<2, false>(a[i], a[i + 4]), b[2 * i + 1] = interleave<2, true>(a[i], a[i + 4]);
  for (int i = 0; i < 4; i++)
    x[2 * i] = interleave<2, false>(b[i], b[i + 4]), x[2 * i + 1] = interleave<2, true>(b[i], b[i + 4]);
}

int32_t jpeg_idct_u8(uint8_t* out, int64_t ldo, const int16_t* coefficients, const int16_t* quantization,
                     int64_t blocks) {
  words most = zero_words();
  for (int64_t block = 0; block < blocks; block += kBlocks, coefficients += kBlocks * kBlockSize, out += 8 * kBlocks) {
    words x[8];
    for (int i = 0; i < 8; i++) x[i] = load_words(coefficients + 8 * i) * load_for_all(quantization + 8 * i);
    most = max_abs(most, x[0]);
    pass<kConstBits - kPass1Bits>(x);  // along the columns
    transpose(x);
    pass<kConstBits + kPass1Bits + 3>(x);  // along the rows: x[i] is column i
    // Transposed as bytes: the columns in pairs, fours and eights.
    words pairs[4], fours[4];
    for (int i = 0; i < 2; i++) {
      const words even = pack_u8(x[4 * i], x[4 * i + 2]), odd = pack_u8(x[4 * i + 1], x[4 * i + 3]);
      pairs[2 * i] = interleave<1, false>(even, odd), pairs[2 * i + 1] = interleave<1, true>(even, odd);
    }
    for (int i = 0; i < 2; i++) {
      fours[2 * i] = interleave<2, false>(pairs[2 * i], pairs[2 * i + 1]);
      fours[2 * i + 1] = interleave<2, true>(pairs[2 * i], pairs[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
      uint8_t* row = out + 4 * i * ldo;
      store_rows(row, row + ldo, interleave<4, false>(fours[i], fours[2 + i]));
      store_rows(row + 2 * ldo, row + 3 * ldo, interleave<4, true>(fours[i], fours[2 + i]));
    }
  }
  return largest(most);
}

// Column sums of two rows of samples, three parts of the nearer one and one of the other; or the samples of one row.
template <bool kTwoRows>
CARACAL_INLINE i32x16 samples(const uint8_t* near, const uint8_t* far, int64_t i) {
  if constexpr (kTwoRows) return load_u8(near + i) * 3 + load_u8(far + i);
  return load_u8(near + i);
}

template <bool kTwoRows>
static void upsample(uint8_t* out, const uint8_t* near, const uint8_t* far, int64_t n) {
  constexpr int kShift = kTwoRows ? 4 : 2, kLeft = kTwoRows ? 8 : 1, kRight = kTwoRows ? 7 : 2;
  auto sample = [&](int64_t i) { return kTwoRows ? 3 * near[i] + far[i] : near[i]; };
  auto scalar = [&](int64_t i) {
    const int32_t s = sample(i);
    out[2 * i] =
        uint8_t(i == 0 ? (kTwoRows ? (4 * s + kLeft) >> kShift : s) : (3 * s + sample(i - 1) + kLeft) >> kShift);
    out[2 * i + 1] =
        uint8_t(i == n - 1 ? (kTwoRows ? (4 * s + kRight) >> kShift : s) : (3 * s + sample(i + 1) + kRight) >> kShift);
  };
  auto sixteen = [&](int64_t i) {
    const i32x16 s = samples<kTwoRows>(near, far, i) * 3;
    const i32x16 left = s + samples<kTwoRows>(near, far, i - 1) + set1_i32(kLeft);
    const i32x16 right = s + samples<kTwoRows>(near, far, i + 1) + set1_i32(kRight);
    store_pairs_u8(out + 2 * i, shift_right<kShift>(left), shift_right<kShift>(right));
  };
  scalar(0);
  int64_t i = 1;
  for (; i + 17 <= n; i += 16) sixteen(i);
  if (n >= 18 && i < n - 1) sixteen(n - 17), i = n - 1;
  for (; i < n; i++) scalar(i);
}

void jpeg_upsample_u8(uint8_t* out, const uint8_t* near, const uint8_t* far, int64_t n) {
  if (far == nullptr)
    upsample<false>(out, near, far, n);
  else
    upsample<true>(out, near, far, n);
}

// 2^16 times the constants of JFIF; half of a unit makes the shifts round.
static constexpr int32_t kRedOfCr = 91881, kBlueOfCb = 116130, kGreenOfCb = -22554, kGreenOfCr = -46802,
                         kHalf = 1 << 15;

void jpeg_rgb_u8(uint8_t* out, const uint8_t* y, const uint8_t* cb, const uint8_t* cr, int64_t n) {
  auto sixteen = [&](int64_t i) {
    const i32x16 luma = load_u8(y + i), blue = load_u8(cb + i) + set1_i32(-128), red = load_u8(cr + i) + set1_i32(-128);
    store_rgb_u8(out + 3 * i, luma + shift_right<16>(red * kRedOfCr + set1_i32(kHalf)),
                 luma + shift_right<16>(blue * kGreenOfCb + red * kGreenOfCr + set1_i32(kHalf)),
                 luma + shift_right<16>(blue * kBlueOfCb + set1_i32(kHalf)));
  };
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) sixteen(i);
  if (i == n) return;
  if (n >= 16) return sixteen(n - 16);
  auto clamped = [](int32_t x) { return uint8_t(x < 0 ? 0 : x > 255 ? 255 : x); };
  for (; i < n; i++) {
    const int32_t blue = cb[i] - 128, red = cr[i] - 128;
    out[3 * i] = clamped(y[i] + ((red * kRedOfCr + kHalf) >> 16));
    out[3 * i + 1] = clamped(y[i] + ((blue * kGreenOfCb + red * kGreenOfCr + kHalf) >> 16));
    out[3 * i + 2] = clamped(y[i] + ((blue * kBlueOfCb + kHalf) >> 16));
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
