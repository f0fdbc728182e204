// What vision models do between pixels and tokens: cutting an image into patches and the reverse, and bicubic
// interpolation of position embeddings.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

void patches_f32(float* out, const float* image, int64_t channels, int64_t height, int64_t width, int64_t patch_height,
                 int64_t patch_width, int64_t begin, int64_t end) {
  const int64_t across = width / patch_width;
  for (int64_t patch = begin; patch < end; patch++) {
    const float* corner = image + patch / across * patch_height * width + patch % across * patch_width;
    for (int64_t c = 0; c < channels; c++) {
      for (int64_t y = 0; y < patch_height; y++) {
        const float* from = corner + (c * height + y) * width;
        for (int64_t x = 0; x < patch_width; x++) *out++ = from[x];
      }
    }
  }
}

void pixel_shuffle_f32(float* out, const float* x, int64_t channels, int64_t height, int64_t width, int64_t factor) {
  const int64_t inputs = channels * factor * factor;
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t oy = 0; oy < height * factor; oy++) {
      for (int64_t ox = 0; ox < width * factor; ox++) {
        const int64_t row = oy / factor * width + ox / factor, inner = oy % factor * factor + ox % factor;
        *out++ = x[row * inputs + c * factor * factor + inner];
      }
    }
  }
}

// Weights of the four samples around a point `t` of the way from the second to the third: the cubic convolution with
// a = -0.75 that torch uses.
static void cubic_weights(float* w, float t) {
  const float a = -0.75f;
  const float distances[4] = {t + 1.0f, t, 1.0f - t, 2.0f - t};
  for (int64_t i = 0; i < 4; i++) {
    const float d = distances[i];
    w[i] = i == 1 || i == 2 ? ((a + 2.0f) * d - (a + 3.0f)) * d * d + 1.0f
                            : ((a * d - 5.0f * a) * d + 8.0f * a) * d - 4.0f * a;
  }
}

// The first of the four samples around output pixel `o`, and their weights.
static int64_t cubic_taps(float* w, int64_t o, float scale) {
  const float at = scale * (float(o) + 0.5f) - 0.5f, below = floorf(at);
  cubic_weights(w, at - below);
  return int64_t(below) - 1;
}

CARACAL_INLINE int64_t clamp(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

void interpolate_bicubic_f32(float* out, const float* x, int64_t height, int64_t width, int64_t cols,
                             int64_t out_height, int64_t out_width, int64_t begin, int64_t end) {
  const float scale_y = float(height) / float(out_height), scale_x = float(width) / float(out_width);
  for (int64_t row = begin; row < end; row++) {
    float wy[4], wx[4];
    const int64_t top = cubic_taps(wy, row / out_width, scale_y), left = cubic_taps(wx, row % out_width, scale_x);
    for (int64_t c = 0; c < cols; c += kLanes, out += kLanes) {
      const int64_t n = cols - c < kLanes ? cols - c : kLanes;
      f32x16 sum = zero();
      for (int64_t i = 0; i < 4; i++) {
        f32x16 line = zero();
        for (int64_t j = 0; j < 4; j++) {
          const float* from = x + (clamp(top + i, height) * width + clamp(left + j, width)) * cols + c;
          line = fma(set1(wx[j]), load_n(from, n), line);
        }
        sum = fma(set1(wy[i]), line, sum);
      }
      store_n(out, sum, n);
      if (n < kLanes) out -= kLanes - n;
    }
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
