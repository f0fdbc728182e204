// How a product is cut into tiles and, along k, into slices. No CUDA here: tests ask for plans, and force them.
//
// A sum's order is fixed by k alone: k is cut into slices, each summed in ascending k from 0 on, and the slices' sums
// are added in ascending order. Whether one block works through all slices of a tile, or each slice has blocks of its
// own and the last of them adds what all have left in scratch, and whatever the tile: the bits are the same. So tile
// and split are free to follow the number of rows.
//
// What is free is chosen by an estimate of clocks. Blocks of a multiprocessor share its tensor cores, its shared memory
// and its way to L2, so the fullest multiprocessor decides: k x (blocks on it) x (clocks per k). Clocks per k of a
// 16-bit tile are the largest of: products at 1200 a clock (what mma.sync reaches on an H100), ldmatrix and the copies
// into shared memory at 128 bytes a clock, and loads from L2 at 64 bytes a clock. One block alone is bound by latency:
// a chain of mma.sync, 35 clocks every 16 numbers, a barrier and the first ldmatrix, 100 clocks every 64. Slices cost
// their writing, 16 bytes a clock and multiprocessor; 1500 clocks for a fence, a count and a read, one after another;
// and what the last block reads, 64 bytes a clock from L2, 16 from beyond. None of this has been measured yet.
// TF32 has twice the bytes and half the products a clock, and a step of latency is half as many numbers: all that a
// tile costs for each k counts twice. Its rounding, two instructions for each number of a fragment, is not counted.
// BERT-base, 128 tokens, on 132 multiprocessors:
//   768 -> 2304: 64x64, 72 blocks, 12 steps of 64   (32x32 would be 288 blocks, three of them on some multiprocessors)
//   768 -> 768:  32x32, 96 blocks, 12 steps         (64x64 would leave 108 multiprocessors idle)
//   768 -> 3072: 64x64, 96 blocks, 12 steps
//   3072 -> 768: 64x64, 24 tiles by 3 slices of 1024 and their sums: 9300 clocks (32x32 unsplit: 48 steps, 11800).
//                With 16 tokens 16x32, 24 tiles by 3 slices, 5800 clocks; unsplit 11800.
// A norm of the rows of c costs those 1500 clocks and 1000 + 1.6 n for the rows that a warp has at once, four of them;
// besides the last block of a block of rows, others help that were late too. A kernel of its own would be 2500 clocks
// and 1000, and c read and written 16 bytes a clock and multiprocessor. What that makes of both together, in the
// product against apart, in 16 bits on 132 multiprocessors (k -> n, rows):
//                    1      32    128    512   2048   8192
//   768 -> 768      +3 %    +3 %   +1 %   -5 %   -3 %   -9 %
//   3072 -> 768     +2 %    +2 %    0     -2 %   -2 %   -2 %
//   1024 -> 1024    +8 %    +7 %   +5 %   -3 %  -14 %   -8 %
//   4096 -> 1024    +6 %    +6 %   +3 %   -1 %   -3 %   -2 %
// Between these it jumps where tiles just do not fill the multiprocessors once more: 384 -> 384 on 108 is -17 % at 1024
// rows and +15 % at 8192. So the norm is dearer for few rows, cheaper for many, by little. A product normalises all the
// same whatever fits a warp's registers (1024 columns, aligned), for one kernel less: an encoder layer is five, where
// at most six were asked for. A GPU has yet to judge; without the norm in the product an encoder layer would be seven.
// Making norm_takes() false turns it off, and layer_norm() follows each product: the same bits. Wider rows, of which a
// warp would read each three times, are left to it anyway.
//
// Not done: four rows of four pieces, unrolled, are half of the code of the smaller tiles' kernels; one row at a time
// would shorten it. And if columns came fastest in the grid, the last blocks of each block of rows would come early and
// one by one, so that norms spread over the kernel instead of meeting at its end.
//
// Few rows stream w: the first thing a block does on sm_90, even before the kernel ahead of it is done, is to ask for
// all that it will read of w to be brought into L2 (prefetch_l2), so that memory is busy from the start and the
// pipeline of copies, 40 KB in flight a block, only waits for L2.
#pragma once

#include <stdint.h>

#include <caracal/kernels/cuda/kernels.h>

#ifdef __CUDACC__
#define CARACAL_HOST_DEVICE __host__ __device__
#else
#define CARACAL_HOST_DEVICE
#endif

namespace caracal::kernels::cuda {

/// k in `count` slices of `length` (the last may be shorter), a multiple of every tile's step. k = 0: one slice.
struct Slices {
  int64_t count, length;
};
constexpr Slices slices_of(int64_t k) {
  const int64_t parts = k <= 1024 ? 1 : (k + 1023) / 1024;
  const int64_t length = ((k + parts - 1) / parts + 63) / 64 * 64;
  return {length ? (k + length - 1) / length : 1, length};
}

struct TileClocks {
  int64_t rows, cols;
  double per_k;
  bool slices;  // can add slices up: has registers for two sums
  int64_t warps;
};
inline constexpr TileClocks kMmaTiles[] = {{128, 128, 14, false, 4},
                                           {128, 64, 9, true, 4},
                                           {64, 64, 6, true, 4},
                                           {32, 32, 3, true, 4},
                                           {16, 32, 1.75, true, 2}};
/// Without tensor cores, for float32 and for what mma.sync cannot take: 128 products a clock, fewer in small tiles.
inline constexpr TileClocks kSimtTiles[] = {{128, 128, 140, false, 8}, {64, 64, 42, true, 8}, {32, 32, 16, true, 4}};

inline constexpr double kLatencyClocks = 35.0 / 16 + 100.0 / 64;   // for each k, of a block alone
inline constexpr double kBlockClocks = 300, kArriveClocks = 1500;  // a block's begin and end; its being the last
inline constexpr double kL2Bytes = 32 << 20;                       // of slices that can still be there

struct Plan {
  bool simt;  // kSimtTiles, else kMmaTiles
  int64_t tile;
  bool split;         // each slice in blocks of its own
  bool norm = false;  // the rows of c are normalised too
};

/// What a plan is made for.
struct PlanFor {
  bool simt;
  unsigned tiles;  // that may be chosen: bit i for tile i
  int64_t rows, n, k;
  int64_t groups = 1;     // products side by side, as of a grouped convolution
  bool sliced = true;     // k is cut into slices; else one chain
  bool may_split = true;  // there are scratch and counters
  bool norm = false;
  bool tf32 = false;  // by mma, of float32
};

/// The plan that the estimate above likes best.
Plan plan_product(const PlanFor& product, int multiprocessors);

/// Whether mma.sync can take a product: 16-bit numbers, or float32 that may be rounded to TF32; rows of a and w of
/// whole 16-byte pieces. What it cannot take is multiplied exactly.
bool mma_takes(const GemmArgs& args);
/// Whether a product can normalise the rows of c, if that is asked for; else layer_norm() does it.
bool norm_takes(const GemmArgs& args);
/// What gemm() does, and the most scratch that it may want for any type, on a device of so many multiprocessors.
Plan plan_gemm(const GemmArgs& args, int multiprocessors);
size_t most_scratch(int64_t rows, int64_t n, int64_t k, int multiprocessors);

/// How many blocks a multiprocessor holds at once, at least: as many as their registers allow (`most`) and shared
/// memory, of which a block may have most_shared. From sm_80 on the driver takes 1 KB more for each, and has 1 KB more.
constexpr int64_t blocks_at_once(int64_t most, size_t shared, size_t most_shared, int major) {
  const size_t own = major >= 8 ? 1024 : 0;
  const int64_t fit = int64_t((most_shared + own) / (shared + own));
  return fit < 1 ? 1 : fit < most ? fit : most;
}

/// Of GemmArgs::counters, how many a plan uses.
int64_t planned_counters(const Plan& plan, int64_t rows, int64_t n);

/// gemm() by a plan of the caller's, and scratch for it. A plan that the arguments do not allow is refused.
int gemm_planned(Stream stream, const GemmArgs& args, const Plan& plan);
size_t planned_scratch(const Plan& plan, int64_t rows, int64_t n, int64_t k);

/// convolution() by a plan of the caller's.
int convolution_planned(Stream stream, const ConvolutionArgs& args, const Plan& plan);
bool mma_takes(const ConvolutionArgs& args);

/// Where 16-byte piece `chunk` of row `row` lies, in pieces, in a tile whose rows have `Chunks` of them (4 or 8). The
/// eight rows that a phase of ldmatrix reads, at the same chunk, lie in eight different groups of banks.
template <int Chunks>
CARACAL_HOST_DEVICE constexpr int swizzled(int row, int chunk) {
  static_assert(Chunks == 4 || Chunks == 8);
  return row * Chunks + (chunk ^ (Chunks == 8 ? row & 7 : (row >> 1) & 3));
}

/// Where number k of row `row` lies in a tile of kDepth rows of `Rows`: transposed, so that a thread reads its rows
/// side by side; moved around in eights so that writing it, four numbers of k and eight rows a warp, meets no bank
/// twice.
template <int Rows>
CARACAL_HOST_DEVICE constexpr int transposed(int row, int k) {
  return k * Rows + (row ^ (k / 4 * 8));
}

}  // namespace caracal::kernels::cuda
