// What vision models do between pixels and tokens: cutting an image into patches and the reverse, bicubic interpolation
// of position embeddings, and images as rows of pixels.
#include <caracal/kernels/cuda/image.cuh>

namespace caracal::kernels::cuda {
namespace {

// Items: V neighbours of a line of a patch, in the order of `out`.
template <class T, int V>
__global__ void patches_kernel(const __grid_constant__ PatchesArgs a) {
  start_next();
  wait_for_previous();
  const unsigned across = unsigned(a.width / a.patch_width), patches = unsigned(a.height / a.patch_height) * across;
  const unsigned vectors = unsigned(a.patch_width) / V, lines = unsigned(a.patch_height);
  const int64_t cols = a.channels * a.patch_height * a.patch_width, size = patches * cols;
  for_item(size / V, [&](int64_t image, unsigned item) {
    const unsigned line = item / vectors, plane = line / lines, patch = plane / unsigned(a.channels);
    const int64_t x = int64_t(patch % across) * a.patch_width + item % vectors * V;
    const int64_t y = int64_t(patch / across) * a.patch_height + line % lines;
    const int64_t channel = image * a.channels + plane % unsigned(a.channels);
    float v[V];
    load_vector(v, a.images + (channel * a.height + y) * a.width + x);
    store_vector(static_cast<T*>(a.out) + image * size + int64_t(item) * V, v);
  });
}

// Items: V neighbours of a line of `out`, which are neighbours in x.
template <class T, int V>
__global__ void pixel_shuffle_kernel(const __grid_constant__ PixelShuffleArgs a) {
  start_next();
  wait_for_previous();
  const unsigned factor = unsigned(a.factor), vectors = unsigned(a.width) * factor / V;
  const unsigned lines = unsigned(a.height) * factor;
  const int64_t cols = a.channels * a.factor * a.factor, size = a.height * a.width * cols;
  for_item(size / V, [&](int64_t image, unsigned item) {
    const unsigned line = item / vectors, x = item % vectors * V, y = line % lines, channel = line / lines;
    const int64_t row = image * a.height * a.width + int64_t(y / factor) * a.width + x / factor;
    float v[V];
    load_vector(
        v, static_cast<const T*>(a.x) + row * cols + (int64_t(channel) * factor + y % factor) * factor + x % factor);
    store_vector(a.out + image * size + int64_t(item) * V, v);
  });
}

// Weights of the four samples around a point `t` of the way from the second to the third: the cubic convolution with
// a = -0.75 that torch uses.
__device__ void cubic_weights(float (&w)[4], float t) {
  const float a = -0.75f;
  const float distances[4] = {t + 1.0f, t, 1.0f - t, 2.0f - t};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float d = distances[i];
    w[i] = i == 1 || i == 2 ? ((a + 2.0f) * d - (a + 3.0f)) * d * d + 1.0f
                            : ((a * d - 5.0f * a) * d + 8.0f * a) * d - 4.0f * a;
  }
}

// The first of the four samples around output pixel `o`, and their weights.
__device__ int cubic_taps(float (&w)[4], unsigned o, float scale) {
  const float at = scale * (float(o) + 0.5f) - 0.5f, below = floorf(at);
  cubic_weights(w, at - below);
  return int(below) - 1;
}

__device__ int clamp(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

// Items: V columns of a pixel of `out`.
template <class T, int V>
__global__ void interpolate_bicubic_kernel(const __grid_constant__ ResizeArgs a) {
  start_next();
  wait_for_previous();
  const int height = int(a.height), width = int(a.width);
  const unsigned vectors = unsigned(a.cols / V), out_width = unsigned(a.out_width);
  const float scale_y = float(height) / float(a.out_height), scale_x = float(width) / float(out_width);
  const int64_t size = a.out_height * a.out_width * a.cols;
  for_item(size / V, [&](int64_t image, unsigned item) {
    const unsigned pixel = item / vectors;
    float wy[4], wx[4], sum[V] = {};
    const int top = cubic_taps(wy, pixel / out_width, scale_y), left = cubic_taps(wx, pixel % out_width, scale_x);
    const T* x = static_cast<const T*>(a.x) + image * height * width * a.cols + item % vectors * V;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int64_t line = int64_t(clamp(top + i, height)) * width;
      float across[V] = {};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float v[V];
        load_vector(v, x + (line + clamp(left + j, width)) * a.cols);
        for (int k = 0; k < V; k++) across[k] = fmaf(wx[j], v[k], across[k]);
      }
      for (int k = 0; k < V; k++) sum[k] = fmaf(wy[i], across[k], sum[k]);
    }
    store_vector(static_cast<T*>(a.out) + image * size + int64_t(item) * V, sum);
  });
}

// Items: pixels.
template <class T, class Value>
__global__ void image_rows_kernel(const __grid_constant__ ImageRowsArgs a) {
  start_next();
  wait_for_previous();
  for_item(a.pixels, [&](int64_t image, unsigned pixel) {
    const Value* from = static_cast<const Value*>(a.images) + image * a.channels * a.pixels + pixel;
    T* to = static_cast<T*>(a.out) + (image * a.pixels + pixel) * a.channels;
    for (int64_t c = 0; c < a.channels; c++) store(to + c, (float(from[c * a.pixels]) - a.mean[c]) / a.deviation[c]);
  });
}

__device__ void load_values(float (&v)[8], const float* p) { load_vector(v, p); }
__device__ void load_values(float (&v)[8], const uint8_t* p) {
  const uint2 bytes = *reinterpret_cast<const uint2*>(p);
#pragma unroll
  for (int i = 0; i < 4; i++) v[i] = float(bytes.x >> 8 * i & 255), v[i + 4] = float(bytes.y >> 8 * i & 255);
}

// Items: 8 neighbours, of three channels.
template <class T, class Value>
__global__ void image_rows_of_colors_kernel(const __grid_constant__ ImageRowsArgs a) {
  start_next();
  wait_for_previous();
  float mean[3], deviation[3];
#pragma unroll
  for (int c = 0; c < 3; c++) mean[c] = a.mean[c], deviation[c] = a.deviation[c];
  for_item(a.pixels / 8, [&](int64_t image, unsigned item) {
    const Value* from = static_cast<const Value*>(a.images) + image * 3 * a.pixels + int64_t(item) * 8;
    float rows[3][8];  // 24 numbers in the order of `out`
#pragma unroll
    for (int c = 0; c < 3; c++) {
      float v[8];
      load_values(v, from + c * a.pixels);
#pragma unroll
      for (int i = 0; i < 8; i++) rows[(3 * i + c) / 8][(3 * i + c) % 8] = (v[i] - mean[c]) / deviation[c];
    }
    T* to = static_cast<T*>(a.out) + (image * a.pixels + int64_t(item) * 8) * 3;
#pragma unroll
    for (int i = 0; i < 3; i++) store_vector(to + 8 * i, rows[i]);
  });
}

template <class T, class Value>
int image_rows_of(Stream stream, const ImageRowsArgs& a) {
  if (a.channels == 3 && a.pixels % 8 == 0 && aligned_rows<float>(a.images, 8) && aligned_rows<T>(a.out, 8))
    return launch_images(stream, image_rows_of_colors_kernel<T, Value>, a.pixels / 8, a.batch, a);
  return launch_images(stream, image_rows_kernel<T, Value>, a.pixels, a.batch, a);
}

}  // namespace

int patches(Stream stream, const PatchesArgs& a) {
  const int64_t size =
      (a.height / a.patch_height) * (a.width / a.patch_width) * a.channels * a.patch_height * a.patch_width;
  // A line of a patch starts at a multiple of 8 where width and patch_width are.
  return with_vectors(a.type, a.width % 8 == 0 ? a.patch_width : 1, {a.out, a.images}, [&]<class T, int V>() {
    return launch_images(stream, patches_kernel<T, V>, size / V, a.batch, a);
  });
}

int pixel_shuffle(Stream stream, const PixelShuffleArgs& a) {
  const int64_t size = a.channels * a.height * a.width * a.factor * a.factor;
  return with_vectors(a.type, a.factor, {a.out, a.x}, [&]<class T, int V>() {
    return launch_images(stream, pixel_shuffle_kernel<T, V>, size / V, a.batch, a);
  });
}

int interpolate_bicubic(Stream stream, const ResizeArgs& a) {
  return with_vectors(a.type, a.cols, {a.out, a.x}, [&]<class T, int V>() {
    return launch_images(stream, interpolate_bicubic_kernel<T, V>, a.out_height * a.out_width * (a.cols / V), a.batch,
                         a);
  });
}

int image_rows(Stream stream, const ImageRowsArgs& a) {
  return with_type(a.type, [&]<class T>() {
    return a.bytes ? image_rows_of<T, uint8_t>(stream, a) : image_rows_of<T, float>(stream, a);
  });
}

}  // namespace caracal::kernels::cuda
