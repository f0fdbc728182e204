// attention_f32: all of it in float32. V is read where it lies, unless its rows do not fill whole vectors, or many
// queries read many of them: rows of V lie pages apart, in few sets of the caches.
#include <caracal/kernels/cpu/attention.h>

namespace caracal::kernels::CARACAL_TIER {

struct Float32Attention : Float32 {
  static constexpr bool kConverts = false;
  CARACAL_INLINE void store_inputs(float* to, f32x16 x) { store(to, x); }
  CARACAL_INLINE bool copies_values(int64_t head_dim, int64_t keys, int64_t queries) {
    return head_dim % kLanes != 0 || (keys > 512 && queries >= 128);  // kernels/README.md has the figures
  }

  CARACAL_INLINE void keys(float* to, int64_t width, const float* k, int64_t ldk, int64_t keys, int64_t head_dim) {
    for (int64_t j = 0; j < width; j += 8) {
      for (int64_t d = 0; d < head_dim; d += 8)
        transpose_8_keys(to + d * width + j, width, k + j * ldk + d, ldk, keys - j, head_dim - d);
    }
  }
  CARACAL_INLINE void values(float* to, int64_t ldt, const float* v, int64_t ldv, int64_t keys, int64_t head_dim) {
    for (int64_t key = 0; key < keys; key++, to += ldt, v += ldv) {
      for (int64_t d = 0; d < head_dim; d += kLanes) store(to + d, load_n(v + d, vector_lanes(head_dim - d)));
    }
  }
};

size_t attention_scratch_f32(int64_t keys, int64_t head_dim) {
  return size_t(Scratch<Float32Attention>(keys, head_dim).end) * sizeof(float);
}

void attention_f32(const AttentionArgs& t) { attend<Float32Attention>(t); }

}  // namespace caracal::kernels::CARACAL_TIER
