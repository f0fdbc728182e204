// Products of matrices. The kernels are in gemm_mma.cuh and gemm_simt.cuh, how they are chosen in gemm_plan.h.
#include <algorithm>
#include <iterator>

#include <caracal/kernels/cuda/gemm_launch.cuh>

namespace caracal::kernels::cuda {

namespace {

constexpr unsigned kMmaTileSet = 31;

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
  e.ldc = args.ldc, e.ldr = args.ldr;
  e.rows = int(args.rows), e.cols = int(args.n);
  e.activation = args.activation, e.residual_first = args.residual_first != 0;
  e.vector = aligned(args.c) && args.ldc % kNumbers == 0 && aligned(args.bias) && aligned(args.residual) &&
             (!args.residual || args.ldr % kNumbers == 0);
  p.scratch = static_cast<float*>(args.scratch), p.counters = static_cast<unsigned*>(args.counters);
  const bool together = args.norm && plan.norm;
  if (together) p.norm = {static_cast<T*>(args.norm), args.norm_weight, args.norm_bias, args.norm_eps, 0};
  const int error = launch_plan<kMmaTileSet>(stream, plan, p, args.rows, plan.split ? slices.count : 1);
  if (error || !args.norm || together) return error;
  return layer_norm(stream, {args.type, args.norm, args.c, args.norm_weight, args.norm_bias, args.rows, args.n,
                             args.norm_eps, act(Activation::none)});
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
    const int64_t down = (p.rows + tile.rows - 1) / tile.rows, across = (p.n + tile.cols - 1) / tile.cols;
    const int64_t tiles = down * across * p.groups;
    for (const bool split : {false, true}) {
      if (split ? cut.count == 1 || !p.may_split : cut.count > 1 && !tile.slices) continue;
      const Plan plan{p.simt, i, split, p.norm};
      if (planned_counters(plan, p.rows, p.n) > kGemmCounters) continue;
      const int64_t blocks = tiles * (split ? cut.count : 1), on_one = (blocks - 1) / multiprocessors + 1;
      const double per_k = std::max(double(on_one) * tile.per_k, kLatencyClocks);
      const double traffic = double(blocks * (tile.rows + tile.cols)) / multiprocessors;  // between equals, the least
      double clocks = double(split ? cut.length : p.k) * (p.tf32 ? 2 : 1) * (per_k + 0.01 * traffic) +
                      double(on_one) * kBlockClocks;
      if (split) {
        const double bytes = double(cut.count * tile.rows * tile.cols) * sizeof(float);  // of a tile's slices
        const int64_t last = (tiles - 1) / multiprocessors + 1;
        const double speed = double(tiles) * bytes > kL2Bytes ? 16 : 64;
        clocks += kArriveClocks + double(tiles) / multiprocessors * bytes / 16 + double(last) * bytes / speed;
      }
      if (p.norm) {
        const int64_t helpers = std::clamp<int64_t>(multiprocessors / down, 1, across);
        const int64_t turns = (tile.rows - 1) / (4 * tile.warps * helpers) + 1;
        clocks += kArriveClocks + double(turns) * (1000 + 1.6 * double(p.n));
      }
      if (best.tile < 0 || clocks < least) least = clocks, best = plan;
    }
  }
  return best;
}

bool mma_takes(const GemmArgs& args) {
  const int64_t piece = piece_of(args.type);
  return mma_knows(args.type, args.tf32 != 0) && aligned(args.a) && aligned(args.w) && args.lda % piece == 0 &&
         args.k % piece == 0;
}

bool norm_takes(const GemmArgs& args) {
  return fits_registers(args.n) && args.ldc == args.n && args.counters && aligned(args.c) && aligned(args.norm) &&
         aligned(args.norm_weight) && aligned(args.norm_bias);
}

namespace {
/// Tiles down and across.
dim3 tiles_of(const Plan& plan, int64_t rows, int64_t n) {
  const TileClocks& tile = plan.simt ? kSimtTiles[plan.tile] : kMmaTiles[plan.tile];
  return {unsigned((rows + tile.rows - 1) / tile.rows), unsigned((n + tile.cols - 1) / tile.cols)};
}
}  // namespace

int64_t planned_counters(const Plan& plan, int64_t rows, int64_t n) {
  const dim3 tiles = tiles_of(plan, rows, n);
  return (plan.norm || plan.split ? 3 * int64_t(tiles.x) : 0) + (plan.split ? int64_t(tiles.x) * tiles.y : 0);
}

size_t planned_scratch(const Plan& plan, int64_t rows, int64_t n, int64_t k) {
  if (!plan.split) return 0;
  const TileClocks& tile = plan.simt ? kSimtTiles[plan.tile] : kMmaTiles[plan.tile];
  const dim3 tiles = tiles_of(plan, rows, n);
  return size_t(slices_of(k).count * tiles.x * tiles.y * tile.rows * tile.cols) * sizeof(float);
}

size_t most_scratch(int64_t rows, int64_t n, int64_t k, int multiprocessors) {
  if (rows <= 0 || n <= 0 || slices_of(k).count == 1) return 0;
  size_t most = 0;  // of what any type would want
  for (const bool norm : {false, true}) {
    for (PlanFor p : {PlanFor{false, kMmaTileSet, rows, n, k}, PlanFor{true, kSimtTileSet<float>, rows, n, k},
                      PlanFor{true, kSimtTileSet<half>, rows, n, k}}) {
      p.norm = norm;
      for (const bool tf32 : {false, true}) {
        if (tf32 && p.simt) continue;
        p.tf32 = tf32;
        most = std::max(most, planned_scratch(plan_product(p, multiprocessors), rows, n, k));
      }
    }
  }
  return most;
}

size_t gemm_scratch(int64_t rows, int64_t n, int64_t k) {
  return most_scratch(rows, n, k, current_device().multiprocessors);
}

int gemm_planned(Stream stream, const GemmArgs& args, const Plan& plan) {
  if (args.rows <= 0 || args.n <= 0) return 0;
  const bool too_large = args.rows > INT32_MAX - 128 || args.n > INT32_MAX - 128 || args.k > INT32_MAX - 1024;
  if (too_large || (args.norm && args.ldc != args.n) || (!plan.simt && !mma_takes(args))) {
    return int(cudaErrorInvalidValue);
  }
  if (planned_counters(plan, args.rows, args.n) > (args.counters ? kGemmCounters : 0)) {
    return int(cudaErrorInvalidValue);
  }
  if ((args.norm && plan.norm && !norm_takes(args)) || (plan.split && !(args.scratch && aligned(args.scratch)))) {
    return int(cudaErrorInvalidValue);
  }
  return with_type(args.type, [&]<class T>() { return run<T>(stream, args, plan); });
}

Plan plan_gemm(const GemmArgs& args, int multiprocessors) {
  PlanFor p{!mma_takes(args), kMmaTileSet, args.rows, args.n, args.k};
  if (p.simt) p.tiles = args.type == Type::f32 ? kSimtTileSet<float> : kSimtTileSet<half>;
  p.tf32 = !p.simt && args.type == Type::f32;
  p.may_split = args.scratch && aligned(args.scratch) && args.counters;
  p.norm = args.norm && norm_takes(args);
  Plan plan = plan_product(p, multiprocessors);
  if (plan.tile < 0) {  // more rows than there are counters for
    p.norm = p.may_split = false;
    plan = plan_product(p, multiprocessors);
  }
  return plan;
}

int gemm(Stream stream, const GemmArgs& args) {
  return gemm_planned(stream, args, plan_gemm(args, current_device().multiprocessors));
}

}  // namespace caracal::kernels::cuda
