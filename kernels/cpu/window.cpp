// Windows over channels-last images: the rows that a convolution multiplies, and pools.
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

CARACAL_INLINE int64_t lanes_left(int64_t i, int64_t n) { return n - i < kLanes ? n - i : kLanes; }

CARACAL_INLINE void copy_floats(float* out, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i));
  if (i < n) store_n(out + i, load_n(x + i, n - i), n - i);
}
CARACAL_INLINE void zero_floats(float* out, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, zero());
  if (i < n) store_n(out + i, zero(), n - i);
}

/// The part [first, last) of a window's taps along one axis that lies within the image.
struct Taps {
  int64_t at, first, last;  // tap i is at position at + i · dilation
};
CARACAL_INLINE Taps taps_within(int64_t out, int64_t stride, int64_t pad, int64_t dilation, int64_t kernel, int64_t n) {
  Taps t = {out * stride - pad, 0, 0};
  if (t.at < 0) t.first = (-t.at + dilation - 1) / dilation;
  if (t.at < n) t.last = (n - 1 - t.at) / dilation + 1;
  if (t.last > kernel) t.last = kernel;
  if (t.first > t.last) t.first = t.last;
  return t;
}

void window_rows_f32(float* out, const WindowArgs& w, int64_t begin, int64_t end) {
  const int64_t channels = w.channels, line = w.kernel_x * channels;
  const bool contiguous = w.ldx == channels && w.dilation_x == 1;
  for (int64_t pixel = begin; pixel < end; pixel++) {
    const Taps x = taps_within(pixel % w.out_width, w.stride_x, w.pad_x, w.dilation_x, w.kernel_x, w.width);
    const Taps y = taps_within(pixel / w.out_width, w.stride_y, w.pad_y, w.dilation_y, w.kernel_y, w.height);
    for (int64_t i = 0; i < w.kernel_y; i++, out += line) {
      if (i < y.first || i >= y.last) {
        zero_floats(out, line);
        continue;
      }
      const float* from = w.x + ((y.at + i * w.dilation_y) * w.width + x.at) * w.ldx;
      if (x.first > 0) zero_floats(out, x.first * channels);
      if (contiguous) {
        copy_floats(out + x.first * channels, from + x.first * channels, (x.last - x.first) * channels);
      } else {
        for (int64_t j = x.first; j < x.last; j++) {
          copy_floats(out + j * channels, from + j * w.dilation_x * w.ldx, channels);
        }
      }
      if (x.last < w.kernel_x) zero_floats(out + x.last * channels, (w.kernel_x - x.last) * channels);
    }
  }
}

/// out = finish(fold of step over the window's pixels from `start`), channel by channel.
template <class Step, class Finish>
CARACAL_INLINE void pool(float* out, const WindowArgs& w, int64_t begin, int64_t end, f32x16 start, Step step,
                         Finish finish) {
  for (int64_t pixel = begin; pixel < end; pixel++, out += w.channels) {
    const Taps x = taps_within(pixel % w.out_width, w.stride_x, w.pad_x, w.dilation_x, w.kernel_x, w.width);
    const Taps y = taps_within(pixel / w.out_width, w.stride_y, w.pad_y, w.dilation_y, w.kernel_y, w.height);
    for (int64_t c = 0; c < w.channels; c += kLanes) {
      const int64_t n = lanes_left(c, w.channels);
      f32x16 r = start;
      for (int64_t i = y.first; i < y.last; i++) {
        const float* from = w.x + ((y.at + i * w.dilation_y) * w.width + x.at) * w.ldx + c;
        for (int64_t j = x.first; j < x.last; j++) r = step(r, load_n(from + j * w.dilation_x * w.ldx, n));
      }
      store_n(out + c, finish(r), n);
    }
  }
}

void max_pool_2d_f32(float* out, const WindowArgs& w, int64_t begin, int64_t end) {
  auto larger = [](f32x16 top, f32x16 v) __attribute__((always_inline)) {
    return select(is_nan(top), top, max(top, v));  // max() itself returns v when v is NaN
  };
  pool(
      out, w, begin, end, set1(-INFINITY), larger, [](f32x16 top) __attribute__((always_inline)) { return top; });
}

void average_pool_2d_f32(float* out, const WindowArgs& w, int64_t begin, int64_t end) {
  const f32x16 count = set1(float(w.kernel_y * w.kernel_x));
  pool(
      out, w, begin, end, zero(), [](f32x16 sum, f32x16 v) __attribute__((always_inline)) { return sum + v; },
      [count](f32x16 sum) __attribute__((always_inline)) { return sum / count; });
}

/// The part [first, last) of an axis that cell `cell` of `cells` covers, moved by `shift`; what lies outside is cut
/// off.
struct Cell {
  int64_t first, last, size;  // size: before the cut
};
CARACAL_INLINE Cell cell_within(int64_t cell, int64_t cells, int64_t n, int64_t shift) {
  Cell c = {cell * n / cells, ((cell + 1) * n + cells - 1) / cells, 0};
  c.size = c.last - c.first;
  c.first = c.first + shift < 0 ? 0 : c.first + shift;
  c.last = c.last + shift > n ? n : c.last + shift;
  return c;
}

void window_means_f32(float* out, const float* x, int64_t height, int64_t width, int64_t cols, int64_t kernel,
                      int64_t out_height, int64_t out_width, int64_t begin, int64_t end) {
  for (int64_t pixel = begin; pixel < end; pixel++) {
    for (int64_t tap = 0; tap < kernel * kernel; tap++, out += cols) {
      const Cell y = cell_within(pixel / out_width, out_height, height, tap / kernel - kernel / 2);
      const Cell z = cell_within(pixel % out_width, out_width, width, tap % kernel - kernel / 2);
      const f32x16 count = set1(float(y.size * z.size));
      for (int64_t c = 0; c < cols; c += kLanes) {
        const int64_t n = lanes_left(c, cols);
        f32x16 sum = zero();
        for (int64_t i = y.first; i < y.last; i++) {
          for (int64_t j = z.first; j < z.last; j++) sum = sum + load_n(x + (i * width + j) * cols + c, n);
        }
        store_n(out + c, sum / count, n);
      }
    }
  }
}

void add_upsampled_f32(float* out, const float* x, int64_t width, int64_t cols, int64_t begin, int64_t end) {
  for (int64_t pixel = begin; pixel < end; pixel++, out += cols) {
    const float* from = x + (pixel / (2 * width) / 2 * width + pixel % (2 * width) / 2) * cols;
    add_f32(out, out, from, cols);
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
