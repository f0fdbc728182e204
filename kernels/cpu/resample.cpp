// Image resampling on bytes in fixed point: each output is a sum of inputs times 22-bit weights, rounded to a byte.
// Along x four rows at a time, a pixel's channels in neighbouring lanes; along y sixteen bytes at a time. A weight w is
// split into w = high · 2^12 + low so that each part fits the 16 bits of the multiply-add; the whole sum is exact.
#include <caracal/kernels/cpu/tier.h>
#include <caracal/kernels/cpu/vec_u8.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int kPrecision = 22, kLowBits = 12;

CARACAL_INLINE int32_t pair_of(const int16_t* weights) {
  int32_t pair;
  __builtin_memcpy(&pair, weights, sizeof pair);
  return pair;
}

// One half of the rounding constant 2^21 fits the high sums: 2^21 = 2^9 · 2^12.
CARACAL_INLINE i32x16 start_high() { return set1_i32(1 << (kPrecision - 1 - kLowBits)); }
CARACAL_INLINE i32x16 finish(i32x16 high, i32x16 low) {
  return shift_right<kPrecision>(shift_left<kLowBits>(high) + low);
}

// For 3 and for 4 channels: channel c of pixels 0 and 1, then of pixels 2 and 3, each widened to 16 bits, in 32-bit
// lane c.
static constexpr uint8_t z = 0x80;
alignas(16) static constexpr uint8_t kPatterns[2][2][16] = {
    {{0, z, 3, z, 1, z, 4, z, 2, z, 5, z, z, z, z, z}, {6, z, 9, z, 7, z, 10, z, 8, z, 11, z, z, z, z, z}},
    {{0, z, 4, z, 1, z, 5, z, 2, z, 6, z, 3, z, 7, z}, {8, z, 12, z, 9, z, 13, z, 10, z, 14, z, 11, z, 15, z}}};

// What is left of a row in a buffer of 16 bytes, so that nothing past its end is read.
CARACAL_INLINE const uint8_t* bounded(uint8_t* buffer, const uint8_t* p, int64_t left) {
  if (left >= 16) return p;
  for (int64_t i = 0; i < 16; i++) buffer[i] = i < left ? p[i] : uint8_t(0);
  return buffer;
}

// Three or four channels, up to four rows.
template <int64_t kChannels>
static void resample_pixels(const ResampleArgs& a, int64_t row, int64_t rows) {
  const int64_t row_bytes = a.in_size * kChannels;
  const auto& patterns = kPatterns[kChannels - 3];
  uint8_t result[16], tail[4][16];
  const uint8_t* in[4];
  for (int64_t r = 0; r < 4; r++) in[r] = a.in + (row + (r < rows ? r : 0)) * a.ldi;
  for (int64_t x = 0; x < a.out_size; x++) {
    const int32_t first = a.bounds[2 * x], taps = a.bounds[2 * x + 1];
    const int16_t *high = a.weights + 2 * x * a.taps, *low = high + a.taps;
    i32x16 high_sum = start_high(), low_sum = set1_i32(0);
    for (int32_t t = 0; t < taps; t += 4) {
      const int64_t at = (first + t) * kChannels, left = row_bytes - at;
      const bytes4x16 pixels = left >= 16
                                   ? load_rows(in[0] + at, in[1] + at, in[2] + at, in[3] + at)
                                   : load_rows(bounded(tail[0], in[0] + at, left), bounded(tail[1], in[1] + at, left),
                                               bounded(tail[2], in[2] + at, left), bounded(tail[3], in[3] + at, left));
      const pairs16 p0 = shuffle(pixels, patterns[0]), p1 = shuffle(pixels, patterns[1]);
      high_sum = multiply_add(multiply_add(high_sum, p0, pair_of(high + t)), p1, pair_of(high + t + 2));
      low_sum = multiply_add(multiply_add(low_sum, p0, pair_of(low + t)), p1, pair_of(low + t + 2));
    }
    store_u8(result, finish(high_sum, low_sum));
    for (int64_t r = 0; r < rows; r++) {
      uint8_t* out = a.out + (row + r) * a.ldo + x * kChannels;
      __builtin_memcpy(out, result + 4 * r, kChannels);
    }
  }
}

CARACAL_INLINE uint8_t clamp_u8(int32_t x) { return uint8_t(x < 0 ? 0 : x > 255 ? 255 : x); }

void resample_x_u8(const ResampleArgs& a, int64_t row_begin, int64_t row_end) {
  if (a.channels == 3 || a.channels == 4) {
    for (int64_t row = row_begin; row < row_end; row += 4) {
      const int64_t rows = row_end - row < 4 ? row_end - row : 4;
      a.channels == 3 ? resample_pixels<3>(a, row, rows) : resample_pixels<4>(a, row, rows);
    }
    return;
  }
  for (int64_t row = row_begin; row < row_end; row++) {
    const uint8_t* in = a.in + row * a.ldi;
    uint8_t* out = a.out + row * a.ldo;
    for (int64_t x = 0; x < a.out_size; x++) {
      const int32_t first = a.bounds[2 * x], taps = a.bounds[2 * x + 1];
      const int16_t *high = a.weights + 2 * x * a.taps, *low = high + a.taps;
      for (int64_t c = 0; c < a.channels; c++) {
        uint32_t sum = 1u << (kPrecision - 1);
        for (int32_t t = 0; t < taps; t++)
          sum += uint32_t(in[(first + t) * a.channels + c]) * uint32_t((high[t] << kLowBits) + low[t]);
        out[x * a.channels + c] = clamp_u8(int32_t(sum) >> kPrecision);
      }
    }
  }
}

// Two vectors of sums at a time: as many as hide the latency of the additions.
CARACAL_INLINE void resample_column(uint8_t* out, const uint8_t* in, int64_t ldi, const int16_t* high,
                                    const int16_t* low, int32_t taps, int vectors) {
  i32x16 high_sum[2] = {start_high(), start_high()}, low_sum[2] = {set1_i32(0), set1_i32(0)};
  for (int32_t t = 0; t < taps; t += 2, in += 2 * ldi) {
    const uint8_t* next = t + 1 < taps ? in + ldi : in;  // the weight beyond the last one is 0
    const int32_t h = pair_of(high + t), l = pair_of(low + t);
    for (int v = 0; v < vectors; v++) {
      const pairs16 p = interleave(in + 16 * v, next + 16 * v);
      high_sum[v] = multiply_add(high_sum[v], p, h), low_sum[v] = multiply_add(low_sum[v], p, l);
    }
  }
  for (int v = 0; v < vectors; v++) store_u8(out + 16 * v, finish(high_sum[v], low_sum[v]));
}

void resample_y_u8(const ResampleArgs& a, int64_t row_begin, int64_t row_end) {
  for (int64_t y = row_begin; y < row_end; y++) {
    const int32_t first = a.bounds[2 * y], taps = a.bounds[2 * y + 1];
    const int16_t *high = a.weights + 2 * y * a.taps, *low = high + a.taps;
    const uint8_t* in = a.in + first * a.ldi;
    uint8_t* out = a.out + y * a.ldo;
    const int64_t n = a.row_bytes;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) resample_column(out + i, in + i, a.ldi, high, low, taps, 2);
    for (; i + 16 <= n; i += 16) resample_column(out + i, in + i, a.ldi, high, low, taps, 1);
    if (i == n) continue;
    if (n >= 16) {
      resample_column(out + n - 16, in + n - 16, a.ldi, high, low, taps, 1);
      continue;
    }
    for (; i < n; i++) {
      uint32_t sum = 1u << (kPrecision - 1);
      for (int32_t t = 0; t < taps; t++) sum += uint32_t(in[t * a.ldi + i]) * uint32_t((high[t] << kLowBits) + low[t]);
      out[i] = clamp_u8(int32_t(sum) >> kPrecision);
    }
  }
}

template <int kWindows>
static void gather_row(uint8_t* out, const uint8_t* in, const int32_t* begin, const uint8_t* patterns, int64_t count,
                       int64_t last) {
  for (int64_t i = 0; i < count; i++, patterns += 16 * kWindows) {
    bytes16 bytes = zero_bytes();
    for (int w = 0; w < kWindows; w++) bytes = gather_bytes(bytes, in + begin[i] + 16 * w, patterns + 16 * w);
    store_bytes(i + 1 < count ? out + 16 * i : out + last, bytes);
  }
}

void gather_bytes_u8(uint8_t* out, const uint8_t* in, const int32_t* begin, const uint8_t* patterns, int64_t count,
                     int64_t windows, int64_t last) {
  switch (windows) {
    case 1: return gather_row<1>(out, in, begin, patterns, count, last);
    case 2: return gather_row<2>(out, in, begin, patterns, count, last);
    case 3: return gather_row<3>(out, in, begin, patterns, count, last);
    default: return gather_row<4>(out, in, begin, patterns, count, last);
  }
}

// out[c][i] = table[c][in[i][c]]: what any function of one byte becomes, planes apart.
void lookup_planes_f32(float* out, int64_t ldo, const uint8_t* in, int64_t pixels, int64_t channels,
                       const float* table) {
  if (channels == 3) {
    float *red = out, *green = out + ldo, *blue = out + 2 * ldo;
    for (int64_t i = 0; i < pixels; i++, in += 3)
      red[i] = table[in[0]], green[i] = table[256 + in[1]], blue[i] = table[512 + in[2]];
    return;
  }
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t i = 0; i < pixels; i++) out[c * ldo + i] = table[256 * c + in[i * channels + c]];
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
