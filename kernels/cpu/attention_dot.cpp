// attention_bf16_dot: Q, K, V and the probabilities e^(s - max) rounded to bfloat16; scores, softmax and all sums in
// float32. The probabilities' sum, and what AttentionArgs::probs receives, are from before they were rounded.
#include <caracal/kernels/cpu/attention.h>
#include <caracal/kernels/cpu/vec_dot.h>

namespace caracal::kernels::CARACAL_TIER {

struct Bfloat16Attention : Bfloat16Pairs {
  static constexpr bool kConverts = true;
  CARACAL_INLINE bool copies_values(int64_t, int64_t, int64_t) { return true; }

  CARACAL_INLINE void keys(uint16_t* to, int64_t width, const float* k, int64_t ldk, int64_t keys, int64_t head_dim) {
    alignas(64) float block[8 * kWideVecs * kLanes];
    for (int64_t d = 0; d < head_dim; d += 8) {
      const int64_t dims = head_dim - d < 8 ? head_dim - d : 8;
      for (int64_t j = 0; j < width; j += 8) transpose_8_keys(block + j, width, k + j * ldk + d, ldk, keys - j, dims);
      for (int64_t i = 0; i < dims; i += 2) {
        for (int64_t j = 0; j < width; j += kLanes, to += kVectorWeights)
          store_columns(to, load(block + i * width + j), i + 1 < dims ? load(block + (i + 1) * width + j) : zero());
      }
    }
  }
  CARACAL_INLINE void values(uint16_t* to, int64_t ldt, const float* v, int64_t ldv, int64_t keys, int64_t head_dim) {
    for (int64_t key = 0; key < keys; key += 2, to += ldt, v += 2 * ldv) {
      for (int64_t d = 0; d < head_dim; d += kLanes) {
        const int64_t n = vector_lanes(head_dim - d);
        store_columns(to + 2 * d, load_n(v + d, n), key + 1 < keys ? load_n(v + ldv + d, n) : zero());
      }
    }
  }
};

size_t attention_scratch_bf16_dot(int64_t keys, int64_t head_dim) {
  return size_t(Scratch<Bfloat16Attention>(keys, head_dim).end) * sizeof(float);
}

void attention_bf16_dot(const AttentionArgs& t) { attend<Bfloat16Attention>(t); }

}  // namespace caracal::kernels::CARACAL_TIER
