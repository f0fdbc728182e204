// Windows, pools and column sums against plain loops in double precision.
#include <array>

#include "testing.h"

namespace caracal::kernels {
namespace {

WindowArgs window_of(int64_t height, int64_t width, int64_t channels, int64_t ky, int64_t kx, int64_t sy, int64_t sx,
                     int64_t py, int64_t px, int64_t dy, int64_t dx) {
  WindowArgs w{};
  w.ldx = channels;
  w.height = height, w.width = width, w.channels = channels;
  w.kernel_y = ky, w.kernel_x = kx, w.stride_y = sy, w.stride_x = sx;
  w.pad_y = py, w.pad_x = px, w.dilation_y = dy, w.dilation_x = dx;
  w.out_width = (width + 2 * px - dx * (kx - 1) - 1) / sx + 1;
  return w;
}

int64_t out_height(const WindowArgs& w) {
  return (w.height + 2 * w.pad_y - w.dilation_y * (w.kernel_y - 1) - 1) / w.stride_y + 1;
}

// Value at tap (i, j) of an output pixel, or null in the padding.
const float* tap(const WindowArgs& w, int64_t pixel, int64_t i, int64_t j) {
  const int64_t y = pixel / w.out_width * w.stride_y - w.pad_y + i * w.dilation_y;
  const int64_t x = pixel % w.out_width * w.stride_x - w.pad_x + j * w.dilation_x;
  return y < 0 || y >= w.height || x < 0 || x >= w.width ? nullptr : w.x + (y * w.width + x) * w.ldx;
}

template <class F>
void for_each_window(F f) {
  for (int64_t channels : {1, 3, 16, 19, 40}) {
    f(window_of(1, 9, channels, 1, 3, 1, 2, 0, 0, 1, 1));  // a sequence
    f(window_of(1, 5, channels, 1, 8, 1, 1, 0, 4, 1, 1));  // kernel larger than the input
    f(window_of(5, 7, channels, 3, 3, 1, 1, 1, 1, 1, 1));
    f(window_of(7, 6, channels, 3, 2, 2, 3, 1, 0, 1, 1));  // stride > kernel
    f(window_of(6, 1, channels, 2, 1, 1, 1, 0, 0, 1, 1));  // one column
    f(window_of(9, 8, channels, 3, 3, 1, 2, 4, 3, 2, 3));  // dilated, padding beyond the first tap
    f(window_of(2, 2, channels, 5, 5, 1, 1, 2, 2, 1, 1));
  }
}

TEST(Window, Rows) {
  for_each_window([](WindowArgs w) {
    for (int64_t extra : {0, 3}) {  // channels of another group in between
      w.ldx = w.channels + extra;
      Guarded x(random_floats(w.height * w.width * w.ldx), 1);
      w.x = x.data();
      const int64_t pixels = out_height(w) * w.out_width, cols = w.kernel_y * w.kernel_x * w.channels;
      Guarded out(pixels * cols, 2), part((pixels - 1) * cols);
      tier().window_rows_f32(out.data(), w, 0, pixels);
      ASSERT_TRUE(out.guards_intact());
      for (int64_t p = 0; p < pixels; p++)
        for (int64_t i = 0; i < w.kernel_y; i++)
          for (int64_t j = 0; j < w.kernel_x; j++)
            for (int64_t c = 0; c < w.channels; c++) {
              const float* at = tap(w, p, i, j);
              ASSERT_EQ(out[p * cols + (i * w.kernel_x + j) * w.channels + c], at ? at[c] : 0.0f);
            }
      tier().window_rows_f32(part.data(), w, 1, pixels);
      ASSERT_TRUE(same_bits(part.data(), out.data() + cols, part.size()));
    }
  });
}

TEST(Window, Pools) {
  for_each_window([](WindowArgs w) {
    Guarded x(random_floats(w.height * w.width * w.ldx), 1);
    w.x = x.data();
    const int64_t pixels = out_height(w) * w.out_width;
    Guarded largest(pixels * w.channels, 3), mean(pixels * w.channels, 1);
    tier().max_pool_2d_f32(largest.data(), w, 0, pixels);
    tier().average_pool_2d_f32(mean.data(), w, 0, pixels);
    ASSERT_TRUE(largest.guards_intact() && mean.guards_intact());
    for (int64_t p = 0; p < pixels; p++)
      for (int64_t c = 0; c < w.channels; c++) {
        double top = -INFINITY, sum = 0;
        for (int64_t i = 0; i < w.kernel_y; i++)
          for (int64_t j = 0; j < w.kernel_x; j++)
            if (const float* at = tap(w, p, i, j)) top = std::max(top, double(at[c])), sum += double(at[c]);
        ASSERT_EQ(largest[p * w.channels + c], float(top));
        ASSERT_NEAR(mean[p * w.channels + c], sum / double(w.kernel_y * w.kernel_x), 1e-6);
      }
    x[0] = NAN;
    tier().max_pool_2d_f32(largest.data(), w, 0, pixels);
    for (int64_t p = 0; p < pixels; p++) {
      bool touched = false;
      for (int64_t i = 0; i < w.kernel_y; i++)
        for (int64_t j = 0; j < w.kernel_x; j++) touched = touched || tap(w, p, i, j) == w.x;
      ASSERT_EQ(std::isnan(largest[p * w.channels]), touched);
    }
  });
}

TEST(Window, MeansOfWindowsAndUpsampling) {
  for (int64_t cols : {1, 16, 21}) {
    for (auto [height, width, oh, ow] :
         {std::array<int64_t, 4>{7, 7, 7, 7}, {56, 56, 7, 7}, {5, 3, 2, 2}, {2, 3, 7, 5}}) {
      Guarded x(random_floats(height * width * cols), 1);
      for (int64_t kernel : {1, 3, 5}) {  // of size 1: the pool itself
        const int64_t taps = kernel * kernel, row = taps * cols;
        Guarded out(oh * ow * row, 2);
        tier().window_means_f32(out.data(), x.data(), height, width, cols, kernel, oh, ow, 0, 1);
        tier().window_means_f32(out.data() + row, x.data(), height, width, cols, kernel, oh, ow, 1, oh * ow);
        ASSERT_TRUE(out.guards_intact());
        for (int64_t at = 0; at < oh * ow * row; at++) {
          const int64_t y = at / row / ow, z = at / row % ow, tap = at % row / cols, c = at % cols;
          double sum = 0, count = 0;
          for (int64_t i = y * height / oh; i * oh < (y + 1) * height; i++)
            for (int64_t j = z * width / ow; j * ow < (z + 1) * width; j++, count++) {
              const int64_t p = i + tap / kernel - kernel / 2, q = j + tap % kernel - kernel / 2;
              if (p >= 0 && p < height && q >= 0 && q < width) sum += double(x[(p * width + q) * cols + c]);
            }
          ASSERT_NEAR(out[at], sum / count, 1e-6);
        }
      }
    }
    Guarded x(random_floats(3 * 5 * cols), 1), out(random_floats(6 * 10 * cols, 1, 7), 2);
    const std::vector<float> before = out.values();
    tier().add_upsampled_f32(out.data(), x.data(), 5, cols, 0, 31);
    tier().add_upsampled_f32(out.data() + 31 * cols, x.data(), 5, cols, 31, 60);
    ASSERT_TRUE(out.guards_intact());
    for (int64_t p = 0; p < 60; p++)
      for (int64_t c = 0; c < cols; c++)
        ASSERT_EQ(out[p * cols + c], before[size_t(p * cols + c)] + x[(p / 10 / 2 * 5 + p % 10 / 2) * cols + c]);
  }
}

TEST(Columns, SumsSquaresScaleAndGate) {
  for (int64_t cols : {1, 15, 16, 17, 64, 80, 83}) {
    for (int64_t rows : {0, 1, 31, 32, 33, 100, 1000}) {
      const int64_t ldx = cols + 2;
      Guarded x(random_floats(rows * ldx + cols), 1), center(random_floats(cols), 2), sums(cols, 1), squares(cols, 3);
      tier().column_sums_f32(sums.data(), x.data(), ldx, rows, cols);
      tier().column_squares_f32(squares.data(), x.data(), ldx, rows, cols, center.data());
      ASSERT_TRUE(sums.guards_intact() && squares.guards_intact());
      for (int64_t c = 0; c < cols; c++) {
        double sum = 0, square = 0;
        for (int64_t r = 0; r < rows; r++) {
          const double v = double(x[r * ldx + c]), d = v - double(center[c]);
          sum += v, square += d * d;
        }
        ASSERT_NEAR(sums[c], sum, 1e-6 * (1 + std::sqrt(double(rows))));
        ASSERT_NEAR(squares[c], square, 5e-7 * (1 + square));
      }
      Guarded twin_sums(cols), twin_squares(cols);
      twin().column_sums_f32(twin_sums.data(), x.data(), ldx, rows, cols);
      twin().column_squares_f32(twin_squares.data(), x.data(), ldx, rows, cols, center.data());
      ASSERT_TRUE(same_bits(sums.data(), twin_sums.data(), cols));
      ASSERT_TRUE(same_bits(squares.data(), twin_squares.data(), cols));
    }
    Guarded x(random_floats(3 * 2 * cols), 1), scale(random_floats(cols, 1, 3)), shift(random_floats(cols, 1, 4)),
        out(6 * cols, 2), gated(3 * cols, 1);
    for (Activation activation : kActivations) {
      tier().scale_shift_f32(out.data(), x.data(), scale.data(), shift.data(), 6, cols, activation);
      ASSERT_TRUE(out.guards_intact());
      for (int64_t i = 0; i < 6 * cols; i++)
        ASSERT_NEAR(out[i],
                    reference_activation(double(x[i]) * double(scale[i % cols]) + double(shift[i % cols]), activation),
                    1e-6);
    }
    tier().glu_f32(gated.data(), x.data(), 3, cols);
    ASSERT_TRUE(gated.guards_intact());
    for (int64_t r = 0; r < 3; r++)
      for (int64_t c = 0; c < cols; c++)
        ASSERT_NEAR(gated[r * cols + c],
                    double(x[r * 2 * cols + c]) / (1 + std::exp(-double(x[(r * 2 + 1) * cols + c]))), 1e-6);
    tier().scale_shift_f32(x.data(), x.data(), scale.data(), shift.data(), 6, cols,
                           Activation::sqrtsoftplus);  // in place
    ASSERT_TRUE(same_bits(x.data(), out.data(), out.size()));
  }
}

}  // namespace
}  // namespace caracal::kernels
