// Launching the tile of a plan.
#pragma once

#include <caracal/kernels/cuda/gemm_mma.cuh>
#include <caracal/kernels/cuda/gemm_simt.cuh>

namespace caracal::kernels::cuda {

template <class... Tile>
struct Tiles {};
using MmaTiles = Tiles<Mma128x128, Mma128x64, Mma64x64, Mma32x32, Mma16x32>;  // as kMmaTiles
using SimtTiles = Tiles<Simt128x128, Simt64x64, Simt32x32>;                   // as kSimtTiles

template <class Tile, class T, class Rows>
int launch_tile(Stream stream, Product<T, Rows> p, int64_t capacity, int64_t depth) {
  const dim3 grid(unsigned((capacity + Tile::kRows - 1) / Tile::kRows),
                  unsigned((p.epilogue.cols + Tile::kCols - 1) / Tile::kCols), unsigned(depth));
  // Only of the last that are on the device at once: before, a block that waits may keep another from its place.
  const Device& device = current_device();
  const int64_t present =
      device.multiprocessors * blocks_at_once(Tile::kBlocks, Tile::kShared, device.shared_bytes, device.major);
  p.norm.patient_from = int64_t(grid.x) * grid.y * grid.z - present;
  if constexpr (requires { Tile::kStages; }) {
    return launch(stream, mma_kernel<T, Tile, Rows>, grid, dim3(Tile::kThreads), Tile::kShared, p);
  } else {
    return launch(stream, simt_kernel<T, Tile, Rows>, grid, dim3(Tile::kThreads), Tile::kShared, p);
  }
}

/// Launches tile number `tile`, one of the set `Set` (as in plan_product), the only ones that are compiled. capacity:
/// rows of c; depth: groups, or slices of a split product.
template <unsigned Set, class T, class Rows, class First, class... Rest>
int launch_product(Tiles<First, Rest...>, Stream stream, int64_t tile, const Product<T, Rows>& p, int64_t capacity,
                   int64_t depth) {
  if constexpr (Set & 1) {
    if (tile == 0) return launch_tile<First>(stream, p, capacity, depth);
  }
  if constexpr (sizeof...(Rest) > 0) {
    return launch_product<(Set >> 1)>(Tiles<Rest...>{}, stream, tile - 1, p, capacity, depth);
  }
  return int(cudaErrorInvalidValue);
}

/// The tiles that plans may name.
template <class T>
inline constexpr unsigned kSimtTileSet = std::is_same_v<T, float> ? 7 : 2;

/// The same by a plan, with the mma tiles of `MmaSet`.
template <unsigned MmaSet, class T, class Rows>
int launch_plan(Stream stream, const Plan& plan, const Product<T, Rows>& p, int64_t capacity, int64_t depth) {
  if (!plan.simt) return launch_product<MmaSet>(MmaTiles{}, stream, plan.tile, p, capacity, depth);
  return launch_product<kSimtTileSet<T>>(SimtTiles{}, stream, plan.tile, p, capacity, depth);
}

inline bool aligned(const void* p) { return uintptr_t(p) % 16 == 0; }

/// Whether the device's tensor cores may multiply a type and add in float32: sm_75 knows no bfloat16 and no TF32.
inline bool mma_knows(Type type, bool tf32) {
  return type == Type::f16 || ((type == Type::bf16 || tf32) && current_device().major >= 8);
}
/// Numbers in 16 bytes, of which mma tiles want rows to be made.
inline int64_t piece_of(Type type) { return type == Type::f32 ? 4 : 8; }

}  // namespace caracal::kernels::cuda
