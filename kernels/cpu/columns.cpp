// Sums over the columns of a matrix (what group norms and the statistics of a sequence are made of), and a scale, a
// shift and a gate for each column.
#include <caracal/kernels/cpu/activation.h>
#include <caracal/kernels/cpu/tier.h>

namespace caracal::kernels::CARACAL_TIER {

static constexpr int64_t kRowsAtOnce = 32;

/// Sums of NV vectors of columns, the last of which has n, by halves: the error grows with the logarithm of the number
/// of rows, and the order of additions depends on nothing else. With `squares`, Σ (x - center)².
template <int NV, bool squares>
static void sum_columns(f32x16 (&sum)[NV], const float* x, int64_t ldx, int64_t rows, int64_t n,
                        const f32x16 (&center)[NV]) {
  for (int v = 0; v < NV; v++) sum[v] = zero();
  if (rows > kRowsAtOnce) {
    const int64_t half = (rows / 2 + kRowsAtOnce - 1) / kRowsAtOnce * kRowsAtOnce;
    f32x16 second[NV];
    sum_columns<NV, squares>(sum, x, ldx, half, n, center);
    sum_columns<NV, squares>(second, x + half * ldx, ldx, rows - half, n, center);
    for (int v = 0; v < NV; v++) sum[v] = sum[v] + second[v];
    return;
  }
  for (int64_t r = 0; r < rows; r++, x += ldx) {
    for (int v = 0; v < NV; v++) {
      f32x16 d = v + 1 < NV ? load(x + v * kLanes) : load_n(x + v * kLanes, n);
      if constexpr (squares) {
        d = d - center[v];
        sum[v] = fma(d, d, sum[v]);
      } else {
        sum[v] = sum[v] + d;
      }
    }
  }
}

template <int NV, bool squares>
static void column_block(float* out, const float* x, int64_t ldx, int64_t rows, int64_t n, const float* center) {
  f32x16 sum[NV], c[NV];
  for (int v = 0; v < NV; v++) {
    c[v] = !squares ? zero() : v + 1 < NV ? load(center + v * kLanes) : load_n(center + v * kLanes, n);
  }
  sum_columns<NV, squares>(sum, x, ldx, rows, n, c);
  for (int v = 0; v + 1 < NV; v++) store(out + v * kLanes, sum[v]);
  store_n(out + (NV - 1) * kLanes, sum[NV - 1], n);
}

/// Four vectors at a time: four cache lines of a row.
template <bool squares>
static void all_columns(float* out, const float* x, int64_t ldx, int64_t rows, int64_t cols, const float* center) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= cols; c += 4 * kLanes) {
    column_block<4, squares>(out + c, x + c, ldx, rows, kLanes, squares ? center + c : nullptr);
  }
  for (; c < cols; c += kLanes) {
    const int64_t n = cols - c < kLanes ? cols - c : kLanes;
    column_block<1, squares>(out + c, x + c, ldx, rows, n, squares ? center + c : nullptr);
  }
}

void column_sums_f32(float* out, const float* x, int64_t ldx, int64_t rows, int64_t cols) {
  all_columns<false>(out, x, ldx, rows, cols, nullptr);
}

void column_squares_f32(float* out, const float* x, int64_t ldx, int64_t rows, int64_t cols, const float* center) {
  all_columns<true>(out, x, ldx, rows, cols, center);
}

template <Activation activation>
static void scale_shift(float* out, const float* x, const float* scale, const float* shift, int64_t rows,
                        int64_t cols) {
  for (int64_t r = 0; r < rows; r++, x += cols, out += cols) {
    int64_t c = 0;
    for (; c + kLanes <= cols; c += kLanes) {
      store(out + c, activate<activation>(fma(load(x + c), load(scale + c), load(shift + c))));
    }
    if (const int64_t n = cols - c; n > 0) {
      store_n(out + c, activate<activation>(fma(load_n(x + c, n), load_n(scale + c, n), load_n(shift + c, n))), n);
    }
  }
}

void scale_shift_f32(float* out, const float* x, const float* scale, const float* shift, int64_t rows, int64_t cols,
                     Activation activation) {
  CARACAL_SWITCH_ACTIVATION(activation, scale_shift, out, x, scale, shift, rows, cols)
}

void glu_f32(float* out, const float* x, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; r++, x += 2 * cols, out += cols) {
    for (int64_t c = 0; c < cols; c += kLanes) {
      const int64_t n = cols - c < kLanes ? cols - c : kLanes;
      store_n(out + c, x_sigmoid(load_n(x + c, n), load_n(x + cols + c, n)), n);
    }
  }
}

}  // namespace caracal::kernels::CARACAL_TIER
