// Products of narrow numbers. gemm_s8: integers of 8 bits, W in [-127, 127] with a scale for each column, A in [0, 255]
// with a scale and a zero point for each row, found anew for each. gemm_bf16_dot: A and W in bfloat16. Rows of A are
// converted first, by rows_s8 or rows_bf16_dot, into a layout of the tier's own.
#include <caracal/kernels/cpu/product.h>
#include <caracal/kernels/cpu/reduce.h>
#include <caracal/kernels/cpu/rotate.h>
#include <caracal/kernels/cpu/vec_dot.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int64_t kRotatedRow = 4096;  // longer rows are rotated twice, for want of room
static constexpr int64_t kRowHeader = 64;     // bytes before a converted row: RowScale, filled up to a cache line

/// x = scale · (q - zero), where q are the row's bytes.
struct RowScale {
  float scale;
  int32_t zero;
};

CARACAL_INLINE int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class Numbers>
struct ConvertedRows : Numbers {
  const GemmArgs& g;
  CARACAL_MEMBER explicit ConvertedRows(const GemmArgs& args) : g(args) {}
  CARACAL_MEMBER const char* begin(int64_t i) const { return static_cast<const char*>(g.rows_a) + i * g.lda; }
  CARACAL_MEMBER const typename Numbers::Input* row(int64_t i) const {
    return reinterpret_cast<const typename Numbers::Input*>(begin(i) + kRowHeader);
  }
  CARACAL_MEMBER int64_t lda() const { return g.lda / int64_t(sizeof(typename Numbers::Input)); }
};

struct Quantized : ConvertedRows<Bytes> {
  static constexpr int64_t kHeaderBytes = kLanes * 8;  // of each vector of columns: scales, then sums of W over k
  struct Header {
    f32x16 scale;
    i32x16 sum;
  };
  using ConvertedRows<Bytes>::ConvertedRows;
  CARACAL_INLINE Header header(const char* panel, int64_t vecs, int64_t v) {
    const float* scales = reinterpret_cast<const float*>(panel);
    return {load(scales + v * kLanes), load(reinterpret_cast<const int32_t*>(scales + vecs * kLanes) + v * kLanes)};
  }
  /// Σ (q - zero) w, an integer, times both scales.
  CARACAL_MEMBER f32x16 value(i32x16 sum, const Header& columns, int64_t i) const {
    const RowScale& r = *reinterpret_cast<const RowScale*>(begin(i));
    return to_float(sum - columns.sum * r.zero) * (set1(r.scale) * columns.scale);
  }
};

struct Bfloat16Rows : ConvertedRows<Bfloat16Pairs> {
  static constexpr int64_t kHeaderBytes = 0;
  struct Header {};
  using ConvertedRows<Bfloat16Pairs>::ConvertedRows;
  CARACAL_INLINE Header header(const char*, int64_t, int64_t) { return {}; }
  CARACAL_MEMBER f32x16 value(f32x16 sum, Header, int64_t) const { return sum; }
};

// Adding and subtracting it rounds |x| < 2^22 to an integer, ties to even.
static constexpr float kRound = 0x1.8p23f;
CARACAL_INLINE f32x16 round(f32x16 x) { return (x + set1(kRound)) - set1(kRound); }

void quantize_weights_s8(int8_t* out, float* scales, const float* w, int64_t n, int64_t k) {
  for (int64_t j = 0; j < n; j++, w += k, out += k) {
    f32x16 most = zero(), odd = zero();
    rotate(w, k,
           [&](int64_t, f32x16 x) { most = max(most, abs(x)), odd = odd + x * zero(); });  // NaN from NaN or inf on
    const bool finite = hsum(odd) == 0;
    const float largest = finite ? hmax(most) : 0;
    const bool scaled = largest > 1e-30f;  // a column of nothing but zeros, or as good as that, is one of zeros
    scales[j] = !finite ? float_of(0x7fc00000) : scaled ? largest / 127 : 0;
    const f32x16 inverse = set1(scaled ? 127 / largest : 0);
    rotate(w, k, [&](int64_t i, f32x16 x) {
      alignas(64) float rounded[kLanes];
      store(rounded, scaled ? round(x * inverse) : zero());
      const int64_t lanes = k - i < kLanes ? k - i : kLanes;
      for (int64_t lane = 0; lane < lanes; lane++) out[i + lane] = int8_t(rounded[lane]);
    });
  }
}

void dequantize_weights_s8(float* out, const int8_t* w, const float* scales, int64_t n, int64_t k) {
  for (int64_t j = 0; j < n; j++, w += k, out += k) {
    for (int64_t i = 0; i < k; i++) out[i] = float(w[i]) * scales[j];
    rotate(out, k, [&](int64_t i, f32x16 x) { store_n(out + i, x, k - i < kLanes ? k - i : kLanes); });
  }
}

size_t packed_bytes_s8(int64_t n, int64_t k) { return packed_bytes<Quantized>(n, k); }

void pack_gemm_s8(void* packed, const int8_t* w, const float* scales, int64_t n, int64_t k, int64_t panel_begin,
                  int64_t panel_end) {
  const int64_t vecs = panel_vecs(n);
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    const int64_t first = panel * vecs * kLanes, width = vecs_in(n, panel) * kLanes;
    char* begin = static_cast<char*>(packed) + panel * panel_bytes<Quantized>(vecs, k);
    float* to_scales = reinterpret_cast<float*>(begin);
    int32_t* to_sums = reinterpret_cast<int32_t*>(to_scales + width);
    int8_t* to = reinterpret_cast<int8_t*>(to_sums + width);
    const int64_t steps = steps_of<Quantized>(k);
    for (int64_t j = 0; j < width; j++) {
      const int64_t column = first + j;
      const int8_t* from = w + column * k;
      int32_t sum = 0;
      for (int64_t step = 0; step < steps; step++) {
        for (int64_t i = step * kBytesPerStep; i < (step + 1) * kBytesPerStep; i++) {
          const int8_t x = column < n && i < k ? from[i] : int8_t(0);
          to[(step * width + j) * kBytesPerStep + i % kBytesPerStep] = x;
          sum += x;
        }
      }
      to_sums[j] = sum;
      to_scales[j] = column < n ? scales[column] : 0;
    }
  }
}

size_t row_bytes_s8(int64_t k) { return size_t(kRowHeader + rounded_up(k * int64_t(sizeof(input8)), 64)); }

void rows_s8(void* out, const float* x, int64_t ldx, int64_t rows, int64_t k) {
  alignas(64) float rotated[kRotatedRow];
  for (int64_t row = 0; row < rows; row++, x += ldx) {
    char* begin = static_cast<char*>(out) + row * int64_t(row_bytes_s8(k));
    f32x16 low = zero(), high = zero(), odd = zero();
    rotate(x, k, [&](int64_t i, f32x16 v) {
      low = min(low, v), high = max(high, v), odd = fma(v, zero(), odd);
      if (k <= kRotatedRow) store(rotated + i, v);
    });
    const bool finite = hsum(odd) == 0;  // a row with inf or NaN gives NaN everywhere
    const float least = finite ? 0 - hmax(zero() - low) : 0, most = finite ? hmax(high) : 0;
    float scale = most * (1.0f / 255) - least * (1.0f / 255);  // in this order large numbers do not overflow
    const bool scaled = scale > 1e-30f;
    const f32x16 inverse = set1(scaled ? 1 / scale : 0);
    if (!scaled) scale = finite ? 0 : float_of(0x7fc00000);
    // The zero point is a byte: 0 is represented exactly.
    const f32x16 shift = round(set1(0 - least) * inverse), limit = set1(255);
    const i32x16 zero_point = to_int(min(limit, shift));
    int32_t zeros[kLanes];
    store(zeros, zero_point);
    *reinterpret_cast<RowScale*>(begin) = {scale, zeros[0]};
    input8* to = reinterpret_cast<input8*>(begin + kRowHeader);
    const f32x16 less = set1(kRound) - to_float(zero_point);  // round() and the zero point in one subtraction
    auto write = [&](int64_t i, f32x16 v) {
      v = scaled ? (v * inverse + set1(kRound)) - less : zero();
      store_inputs(to + i, to_int(min(limit, max(zero(), v))));
    };
    if (k <= kRotatedRow) {
      for (int64_t i = 0; i < k; i += kLanes) write(i, load(rotated + i));
    } else {
      rotate(x, k, write);
    }
  }
}

void gemm_s8(const GemmArgs& g) { multiply<Quantized>(g); }

size_t packed_bytes_bf16_dot(int64_t n, int64_t k) { return packed_bytes<Bfloat16Rows>(n, k); }

void pack_gemm_bf16_dot(void* packed, const uint16_t* w, int64_t n, int64_t k, int64_t panel_begin, int64_t panel_end) {
  const int64_t steps = steps_of<Bfloat16Rows>(k);
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    const int64_t first = panel * panel_vecs(n) * kLanes, width = vecs_in(n, panel) * kLanes;
    uint16_t* to = static_cast<uint16_t*>(packed) + steps * 2 * first;
    for (int64_t j = 0; j < width; j++) {
      const int64_t column = first + j;
      for (int64_t i = 0; i < 2 * steps; i++) {
        const uint16_t x = column < n && i < k ? w[column * k + i] : uint16_t(0);
        to[(i / 2 * width + j) * 2 + i % 2] = x & 0x7f80 ? x : uint16_t(x & 0x8000);  // denormals are 0
      }
    }
  }
}

size_t row_bytes_bf16_dot(int64_t k) {
  return size_t(kRowHeader + rounded_up(k, 32) / 2 * int64_t(sizeof(Bfloat16Pairs::Input)));
}

void rows_bf16_dot(void* out, const float* x, int64_t ldx, int64_t rows, int64_t k) {
  for (int64_t row = 0; row < rows; row++, x += ldx) {
    char* begin = static_cast<char*>(out) + row * int64_t(row_bytes_bf16_dot(k));
    auto* to = reinterpret_cast<Bfloat16Pairs::Input*>(begin + kRowHeader);
    for (int64_t i = 0; i < k; i += kLanes)
      Bfloat16Pairs::store_inputs(to + i / 2, k - i < kLanes ? load_n(x + i, k - i) : load(x + i));
  }
}

void gemm_bf16_dot(const GemmArgs& g) { multiply<Bfloat16Rows>(g); }

}  // namespace caracal::kernels::CARACAL_TIER
