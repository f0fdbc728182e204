// Sums over the windows of a sequence of samples: of each tap, and of the products of each two taps. Of a kernel of n
// taps they are n sums of the taps themselves, then those of (0, 0), (0, 1), …, (0, n - 1), (1, 1), …, (n - 1, n - 1).
#pragma once

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

__host__ __device__ inline int64_t window_sums(int64_t taps) { return taps * (taps + 3) / 2; }

struct TapPair {
  int64_t first, second;  // second: -1 for the sum of a tap
};
__host__ __device__ inline TapPair taps_of_sum(int64_t i, int64_t taps) {
  if (i < taps) return {i, -1};
  int64_t first = 0;
  for (i -= taps; i >= taps - first; first++) i -= taps - first;
  return {first, first + i};
}

/// The sum over `windows` windows from x on, `stride` apart, in four chains.
__host__ __device__ inline double sum_of_windows(const float* x, int windows, int64_t stride, TapPair taps) {
  const float *a = x + taps.first, *b = x + (taps.second < 0 ? 0 : taps.second);
  const bool single = taps.second < 0;
  double sum[4] = {};
  int t = 0;
  for (; t + 4 <= windows; t += 4) {
#pragma unroll
    for (int i = 0; i < 4; i++, a += stride, b += stride) sum[i] = fma(double(*a), single ? 1.0 : double(*b), sum[i]);
  }
  for (; t < windows; t++, a += stride, b += stride) sum[0] += double(*a) * (single ? 1.0 : double(*b));
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// Variance of Σ w[i] · tap i, from the covariances of the taps in the order of the sums; NaN stays.
__host__ __device__ inline double variance_of(const float* w, const double* covariance, int64_t taps) {
  double variance = 0;
  for (int64_t i = 0; i < taps; i++) {
    double row = double(w[i]) * *covariance++;
    for (int64_t j = i + 1; j < taps; j++) row = fma(2 * double(w[j]), *covariance++, row);
    variance = fma(double(w[i]), row, variance);
  }
  return variance < 0 ? 0 : variance;
}

}  // namespace caracal::kernels::cuda
