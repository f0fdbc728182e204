#include <caracal/kernels/cuda/sequences.cuh>

namespace caracal::kernels::cuda {
namespace {

constexpr int kThreads = 128;

/// One row of one sequence, all its keys and heads: the bucket of a key is the same for all heads.
__global__ void __launch_bounds__(kThreads) relative_bias_rows(const __grid_constant__ RelativeBiasArgs a) {
  wait_for_previous();
  start_next();
  const RowBlock at = find_block<1>(a.offsets, a.batch, blockIdx.x);
  if (at.rows == 0) return;
  const int64_t keys = a.lengths[at.sequence], rows = at.end - at.begin;
  const int64_t position = a.positions[at.begin + at.first];
  float* out = a.out + a.scores[at.sequence] + at.first * keys;
  for (int64_t key = threadIdx.x; key < keys; key += kThreads) {
    int64_t distance = a.positions[at.begin + key] - position;
    distance = distance < -a.most ? -a.most : distance > a.most ? a.most : distance;
    const float* bias = a.table + a.bucket[distance + a.most];
    for (int64_t head = 0; head < a.heads; head++) {
      float* to = out + head * rows * keys + key;
      const float x = bias[head * a.buckets];
      *to = a.accumulate ? *to + x : x;
    }
  }
}

}  // namespace

int relative_bias(Stream stream, const RelativeBiasArgs& a) {
  if (a.heads == 0 || a.tokens == 0) return 0;
  return launch(stream, relative_bias_rows, dim3(unsigned(count_blocks<1>(a.tokens, a.batch))), dim3(kThreads), 0, a);
}

}  // namespace caracal::kernels::cuda
