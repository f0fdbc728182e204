// Products of matrices. The kernels are in gemm.cuh, how they are chosen in gemm_plan.h.
#include <algorithm>
#include <iterator>

#include <caracal/kernels/cuda/gemm.cuh>

namespace caracal::kernels::cuda {

namespace {

constexpr unsigned kMmaTileSet = 31;

/// Adds the sums of slices in ascending order; a thread has 8 columns of a row.
template <class T>
__global__ void __launch_bounds__(128)
    sum_slices_kernel(const __grid_constant__ Epilogue<T> e, const float* partial, int slices) {
  __shared__ __align__(16) float shared[128][8];
  start_next();
  wait_for_previous();
  const int64_t at = int64_t(blockIdx.x) * 128 + threadIdx.x, across = e.ldp / 8;
  if (at >= e.rows * across) return;
  float sums[8] = {};
  for (int slice = 0; slice < slices; slice++) {
    float v[8];
    load8(partial + int64_t(slice) * e.rows * e.ldp + at * 8, v);
#pragma unroll
    for (int i = 0; i < 8; i++) sums[i] += v[i];
  }
  float* own = shared[threadIdx.x];
#pragma unroll
  for (int i = 0; i < 8; i++) own[i] = sums[i];
  finish(e, own, int(at / across), int(at % across) * 8, 0, 0);
}

template <class T>
int run(Stream stream, const GemmArgs& args, const Plan& plan) {
  const Slices slices = slices_of(args.k);
  Product<T, MatrixRows<T>> p{};
  p.rows = {static_cast<const T*>(args.a), args.lda, int(args.rows)};
  p.w = static_cast<const T*>(args.w);
  p.k = int(args.k), p.slice = int(slices.length), p.split = plan.split;
  constexpr int64_t kNumbers = 16 / sizeof(T);
  p.vector_a = aligned(args.a) && args.lda % kNumbers == 0 && args.k % kNumbers == 0;
  p.vector_w = aligned(args.w) && args.k % kNumbers == 0;
  Epilogue<T>& e = p.epilogue;
  e.c = static_cast<T*>(args.c), e.bias = args.bias, e.residual = static_cast<const T*>(args.residual);
  e.ldc = args.ldc, e.ldr = args.ldr, e.ldp = partial_pitch(args.n);
  e.rows = int(args.rows), e.cols = int(args.n);
  e.activation = args.activation, e.residual_first = args.residual_first != 0;
  e.vector = aligned(args.c) && args.ldc % kNumbers == 0 && aligned(args.bias) && aligned(args.residual) &&
             (!args.residual || args.ldr % kNumbers == 0);
  if (plan.split) e.partial = static_cast<float*>(args.scratch);

  const int64_t depth = plan.split ? slices.count : 1;
  int error = 0;
  if constexpr (std::is_same_v<T, float>) {
    error =
        plan.simt ? launch_simt<kSimtTileSet<T>>(stream, plan.tile, p, args.rows, depth) : int(cudaErrorInvalidValue);
  } else {
    error = plan.simt ? launch_simt<kSimtTileSet<T>>(stream, plan.tile, p, args.rows, depth)
                      : launch_mma<kMmaTileSet>(stream, plan.tile, p, args.rows, depth);
  }
  if (error || !plan.split) return error;
  e.partial = nullptr;
  const int64_t threads = args.rows * e.ldp / 8;
  return launch(stream, sum_slices_kernel<T>, dim3(unsigned((threads + 127) / 128)), dim3(128), 0, e,
                static_cast<const float*>(args.scratch), int(slices.count));
}

}  // namespace

Plan plan_product(const PlanFor& p, int multiprocessors) {
  multiprocessors = multiprocessors < 1 ? 1 : multiprocessors;  // no device
  const Slices cut = p.sliced ? slices_of(p.k) : Slices{1, p.k};
  Plan best{p.simt, -1, false};
  double least = 0;
  for (int64_t i = 0; i < int64_t(p.simt ? std::size(kSimtTiles) : std::size(kMmaTiles)); i++) {
    if (!(p.tiles >> i & 1)) continue;
    const TileClocks& tile = p.simt ? kSimtTiles[i] : kMmaTiles[i];
    const int64_t tiles = (p.rows + tile.rows - 1) / tile.rows * ((p.n + tile.cols - 1) / tile.cols) * p.groups;
    for (const bool split : {false, true}) {
      if (split ? cut.count == 1 || !p.may_split : cut.count > 1 && !tile.slices) continue;
      const int64_t blocks = tiles * (split ? cut.count : 1), on_one = (blocks - 1) / multiprocessors + 1;
      const double per_k = std::max(double(on_one) * tile.per_k, kLatencyClocks);
      const double traffic = double(blocks * (tile.rows + tile.cols)) / multiprocessors;  // between equals, the least
      double clocks = double(split ? cut.length : p.k) * (per_k + 0.01 * traffic) + double(on_one) * kBlockClocks;
      if (split) clocks += kKernelClocks + double(cut.count * p.rows * p.n) * 8 / (16.0 * multiprocessors);
      if (best.tile < 0 || clocks < least) least = clocks, best = {p.simt, i, split};
    }
  }
  return best;
}

bool mma_takes(const GemmArgs& args) {
  return mma_knows(args.type) && aligned(args.a) && aligned(args.w) && args.lda % 8 == 0 && args.k % 8 == 0;
}

size_t planned_scratch(const Plan& plan, int64_t rows, int64_t n, int64_t k) {
  return plan.split ? size_t(slices_of(k).count * rows * partial_pitch(n)) * sizeof(float) : 0;
}

size_t gemm_scratch(int64_t rows, int64_t n, int64_t k) {
  size_t most = 0;  // of what any type would want
  for (const PlanFor& p : {PlanFor{false, kMmaTileSet, rows, n, k}, PlanFor{true, kSimtTileSet<float>, rows, n, k},
                           PlanFor{true, kSimtTileSet<half>, rows, n, k}}) {
    const size_t bytes = planned_scratch(plan_product(p, current_device().multiprocessors), rows, n, k);
    if (bytes > most) most = bytes;
  }
  return most;
}

int gemm_planned(Stream stream, const GemmArgs& args, const Plan& plan) {
  if (args.rows <= 0 || args.n <= 0) return 0;
  if (args.rows > INT32_MAX - 128 || args.n > INT32_MAX - 128 || args.k > INT32_MAX - 1024) {
    return int(cudaErrorInvalidValue);
  }
  return with_type(args.type, [&]<class T>() { return run<T>(stream, args, plan); });
}

int gemm(Stream stream, const GemmArgs& args) {
  PlanFor p{!mma_takes(args), kMmaTileSet, args.rows, args.n, args.k};
  if (p.simt) p.tiles = args.type == Type::f32 ? kSimtTileSet<float> : kSimtTileSet<half>;
  p.may_split = args.scratch && aligned(args.scratch);
  return gemm_planned(stream, args, plan_product(p, current_device().multiprocessors));
}

}  // namespace caracal::kernels::cuda
