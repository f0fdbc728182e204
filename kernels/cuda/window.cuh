// Where windows and cells lie along one axis of an image.
#pragma once

#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {

/// The part [first, last) of the taps of the window of output `out` that lies within the n pixels of the axis.
struct Taps {
  int at, first, last;  // tap i is at position at + i · dilation
};
__host__ __device__ inline Taps taps_within(unsigned out, int stride, int pad, int dilation, int kernel, int n) {
  Taps t = {int(out) * stride - pad, 0, 0};
  if (t.at < 0) t.first = (-t.at + dilation - 1) / dilation;
  if (t.at < n) t.last = (n - 1 - t.at) / dilation + 1;
  if (t.last > kernel) t.last = kernel;
  if (t.first > t.last) t.first = t.last;
  return t;
}

/// The part [first, last) of the n pixels of an axis that `cell` of `cells` covers as in torch's adaptive pools, moved
/// by `shift`; what lies outside is cut off. cells · n < 2³².
struct Cell {
  int first, last, size;  // size: before the cut
};
__host__ __device__ inline Cell cell_within(unsigned cell, unsigned cells, int n, int shift) {
  Cell c = {int(cell * unsigned(n) / cells), int(((cell + 1) * unsigned(n) + cells - 1) / cells), 0};
  c.size = c.last - c.first;
  c.first = c.first + shift < 0 ? 0 : c.first + shift;
  c.last = c.last + shift > n ? n : c.last + shift;
  return c;
}

}  // namespace caracal::kernels::cuda
