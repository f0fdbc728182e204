// Windows over channels-last images of one size: pools and means, each pixel's channels in vectors.
#include <climits>

#include <caracal/kernels/cuda/image.cuh>
#include <caracal/kernels/cuda/window.cuh>

namespace caracal::kernels::cuda {
namespace {

struct Largest {
  static constexpr float kStart = -INFINITY;
  __device__ static float step(float top, float v) { return max_nan(top, v); }
  __device__ static float finish(float top, float) { return top; }
};
struct Average {
  static constexpr float kStart = 0;
  __device__ static float step(float sum, float v) { return sum + v; }
  __device__ static float finish(float sum, float taps) { return sum / taps; }
};

// Items: V channels of a pixel of `out`.
template <class Pool, class T, int V>
__global__ void pool_kernel(const __grid_constant__ WindowPoolArgs a) {
  start_next();
  wait_for_previous();
  const unsigned vectors = unsigned(a.channels / V), out_width = unsigned(a.out_width);
  const int64_t size = a.out_height * a.out_width * a.channels;
  const float taps = float(a.kernel_y * a.kernel_x);
  for_item(size / V, [&](int64_t image, unsigned item) {
    const unsigned pixel = item / vectors;
    const Taps x =
        taps_within(pixel % out_width, int(a.stride_x), int(a.pad_x), int(a.dilation_x), int(a.kernel_x), int(a.width));
    const Taps y = taps_within(pixel / out_width, int(a.stride_y), int(a.pad_y), int(a.dilation_y), int(a.kernel_y),
                               int(a.height));
    const T* from = static_cast<const T*>(a.x) + image * a.height * a.width * a.channels + item % vectors * V;
    float r[V];
#pragma unroll
    for (int k = 0; k < V; k++) r[k] = Pool::kStart;
    for (int i = y.first; i < y.last; i++) {
      const int64_t line = (y.at + i * a.dilation_y) * a.width + x.at;
#pragma unroll 4
      for (int j = x.first; j < x.last; j++) {
        float v[V];
        load_vector(v, from + (line + j * a.dilation_x) * a.channels);
        for (int k = 0; k < V; k++) r[k] = Pool::step(r[k], v[k]);
      }
    }
    for (int k = 0; k < V; k++) r[k] = Pool::finish(r[k], taps);
    store_vector(static_cast<T*>(a.out) + image * size + int64_t(item) * V, r);
  });
}

template <class Pool>
int pool_2d(Stream stream, const WindowPoolArgs& a) {
  for (const int64_t reach : {a.height + 2 * a.pad_y, a.width + 2 * a.pad_x, a.dilation_y * (a.kernel_y + 1),
                              a.dilation_x * (a.kernel_x + 1)})
    if (reach > INT_MAX / 2) return cudaErrorInvalidValue;
  return with_vectors(a.type, a.channels, {a.out, a.x}, [&]<class T, int V>() {
    return launch_images(stream, pool_kernel<Pool, T, V>, a.out_height * a.out_width * (a.channels / V), a.batch, a);
  });
}

// Items: V columns of a tap of a cell.
template <class T, int V>
__global__ void window_means_kernel(const __grid_constant__ WindowMeansArgs a) {
  start_next();
  wait_for_previous();
  const unsigned vectors = unsigned(a.cols / V), kernel = unsigned(a.kernel), taps = kernel * kernel;
  const unsigned out_width = unsigned(a.out_width), out_height = unsigned(a.out_height);
  const int64_t size = a.out_height * a.out_width * taps * a.cols;
  for_item(size / V, [&](int64_t image, unsigned item) {
    const unsigned tap = item / vectors % taps, pixel = item / vectors / taps;
    const int middle = int(kernel / 2);
    const Cell y = cell_within(pixel / out_width, out_height, int(a.height), int(tap / kernel) - middle);
    const Cell x = cell_within(pixel % out_width, out_width, int(a.width), int(tap % kernel) - middle);
    const T* from = static_cast<const T*>(a.x) + image * a.height * a.width * a.cols + item % vectors * V;
    float sum[V] = {};
    for (int i = y.first; i < y.last; i++) {
#pragma unroll 4
      for (int j = x.first; j < x.last; j++) {
        float v[V];
        load_vector(v, from + (int64_t(i) * a.width + j) * a.cols);
        for (int k = 0; k < V; k++) sum[k] += v[k];
      }
    }
    const float count = float(int64_t(y.size) * x.size);
    for (int k = 0; k < V; k++) sum[k] /= count;
    store_vector(static_cast<T*>(a.out) + image * size + int64_t(item) * V, sum);
  });
}

// Items: V columns of a pixel of `out`.
template <class T, int V>
__global__ void add_upsampled_kernel(const __grid_constant__ ResizeArgs a) {
  start_next();
  wait_for_previous();
  const unsigned vectors = unsigned(a.cols / V), width = 2 * unsigned(a.width);
  const int64_t size = 4 * a.height * a.width * a.cols;
  for_item(size / V, [&](int64_t image, unsigned item) {
    const unsigned pixel = item / vectors;
    const int64_t row = (image * a.height + pixel / width / 2) * a.width + pixel % width / 2;
    T* out = static_cast<T*>(a.out) + image * size + int64_t(item) * V;
    float sum[V], v[V];
    load_vector(sum, static_cast<const T*>(out));
    load_vector(v, static_cast<const T*>(a.x) + row * a.cols + item % vectors * V);
    for (int k = 0; k < V; k++) sum[k] += v[k];
    store_vector(out, sum);
  });
}

}  // namespace

int max_pool_2d(Stream stream, const WindowPoolArgs& a) { return pool_2d<Largest>(stream, a); }
int average_pool_2d(Stream stream, const WindowPoolArgs& a) { return pool_2d<Average>(stream, a); }

int window_means(Stream stream, const WindowMeansArgs& a) {
  const int64_t rows = a.out_height * a.out_width * a.kernel * a.kernel;
  for (const int64_t reach :
       {(a.out_height + 1) * (a.height + 1), (a.out_width + 1) * (a.width + 1), a.kernel * a.kernel})
    if (reach > INT_MAX) return cudaErrorInvalidValue;
  return with_vectors(a.type, a.cols, {a.out, a.x}, [&]<class T, int V>() {
    return launch_images(stream, window_means_kernel<T, V>, rows * (a.cols / V), a.batch, a);
  });
}

int adaptive_average_pool_2d(Stream stream, const ResizeArgs& a) {
  return window_means(stream, {a.type, a.out, a.x, a.batch, a.cols, a.height, a.width, 1, a.out_height, a.out_width});
}

int add_upsampled(Stream stream, const ResizeArgs& a) {
  return with_vectors(a.type, a.cols, {a.out, a.x}, [&]<class T, int V>() {
    return launch_images(stream, add_upsampled_kernel<T, V>, 4 * a.height * a.width * (a.cols / V), a.batch, a);
  });
}

}  // namespace caracal::kernels::cuda
