// What audio features are made of. Sums add in numpy's order (eight running sums over blocks of up to 128, halves of
// longer ranges added as a tree), so that means and variances are numpy's to the last bit.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

// What is added up: x, or (x - mean)².
template <bool kSquares>
struct Term {
  float mean;
  __attribute__((always_inline)) float operator()(float x) const { return kSquares ? (x - mean) * (x - mean) : x; }
  __attribute__((always_inline)) f32x16 operator()(f32x16 x) const {
    const f32x16 d = x - set1(mean);
    return kSquares ? d * d : x;
  }
};

// The eight running sums of a block as a tree, then what is left of the block one by one.
template <class F>
static float finish_block(const float* strands, const float* rest, int64_t n, F term) {
  const float* r = strands;
  float sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (int64_t i = 0; i < n; i++) sum += term(rest[i]);
  return sum;
}

// A block of up to 128.
template <class F>
static float sum_block(const float* x, int64_t n, F term) {
  float strands[16] = {};
  if (n < 8) {
    float sum = -0.0f;
    for (int64_t i = 0; i < n; i++) sum += term(x[i]);
    return sum;
  }
  f32x16 sums = term(load_halves(x, x));  // the upper half is not used
  int64_t i = 8;
  for (; i + 8 <= n; i += 8) sums = sums + term(load_halves(x + i, x + i));
  store(strands, sums);
  return finish_block(strands, x + i, n - i, term);
}

// Two blocks at once, one in each half of a vector: each is a chain of additions that wait for each other. n of x is a
// multiple of 8 and at most that of y.
template <class F>
static float sum_two_blocks(const float* x, int64_t nx, const float* y, int64_t ny, F term) {
  float strands[16];
  f32x16 sums = term(load_halves(x, y));
  int64_t i = 8;
  for (; i < nx; i += 8) sums = sums + term(load_halves(x + i, y + i));
  store(strands, sums);
  for (; i + 8 <= ny; i += 8) {
    for (int j = 0; j < 8; j++) strands[8 + j] += term(y[i + j]);
  }
  return finish_block(strands, x, 0, term) + finish_block(strands + 8, y + i, ny - i, term);
}

template <class F>
static float pairwise_sum(const float* x, int64_t n, F term) {
  constexpr int64_t kBlock = 128;
  if (n <= kBlock) return sum_block(x, n, term);
  const int64_t half = n / 2 - n / 2 % 8;
  if (n - half <= kBlock) return sum_two_blocks(x, half, x + half, n - half, term);
  return pairwise_sum(x, half, term) + pairwise_sum(x + half, n - half, term);
}

float pairwise_sum_f32(const float* x, int64_t n) { return pairwise_sum(x, n, Term<false>{}); }
float pairwise_squares_f32(const float* x, float mean, int64_t n) { return pairwise_sum(x, n, Term<true>{mean}); }

void standardize_f32(float* out, const float* x, int64_t n, float mean, float deviation) {
  const f32x16 m = set1(mean), d = set1(deviation);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, (load(x + i) - m) / d);
  if (i < n) store_n(out + i, (load_n(x + i, n - i) - m) / d, n - i);
}

void fir_f32(float* out, int64_t out_step, const float* x, int64_t x_step, int64_t count, const float* taps,
             int64_t n_taps) {
  for (int64_t i = 0; i < count; i++, x += x_step) {
    f32x16 sum = zero();
    int64_t t = 0;
    for (; t + kLanes <= n_taps; t += kLanes) sum = fma(load(x + t), load(taps + t), sum);
    if (t < n_taps) sum = fma(load_n(x + t, n_taps - t), load_n(taps + t, n_taps - t), sum);
    out[i * out_step] = hsum(sum);
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
