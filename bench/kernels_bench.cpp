// How close the kernels come to this machine: GFLOP/s, and `share`, the time the machine needs at least (by its own
// peaks, measured here at the start: float32 multiply-adds in registers, reading memory) over the time taken.
//   kernels_bench [--benchmark_filter=gemm/avx512]
// Weights are 113 MB, more than any cache, and are cycled through: a matrix product that finds its weights in the cache
// says nothing about a model's.
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include <caracal/kernels/kernels.h>

namespace caracal::kernels {
namespace {

constexpr int kLayers = 12;  // feed-forward products of BERT-base: 768 -> 3072 -> 768 -> …
constexpr int64_t kHidden = 768, kIntermediate = 3072;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Zeroed memory in huge pages where the system grants them; lives as long as the program.
template <typename T>
T* big_array(size_t count) {
  const size_t huge = size_t(2) << 20, bytes = (count * sizeof(T) + huge - 1) / huge * huge;
  char* p = static_cast<char*>(mmap(nullptr, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) std::exit(1);
  p += (huge - reinterpret_cast<uintptr_t>(p) % huge) % huge;
  madvise(p, bytes, MADV_HUGEPAGE);
  std::fill(p, p + bytes, char(0));
  return reinterpret_cast<T*>(p);
}

/// Multiply-adds in registers, twelve independent chains; returns flops done.
template <typename Vec>
[[gnu::always_inline]] inline double multiply_adds(int64_t n) {
  Vec x[12], a = Vec{} + 0.999f, b = Vec{} + 0.001f;
  for (Vec& v : x) v = a;
  for (int64_t i = 0; i < n; i++) {
#pragma GCC unroll 12
    for (Vec& v : x) v = v * a + b;
  }
  for (Vec& v : x) benchmark::DoNotOptimize(v);
  return double(n) * 12 * 2 * sizeof(Vec) / sizeof(float);
}
typedef float Float4 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));
typedef float Float16 __attribute__((vector_size(64)));
double flops_baseline(int64_t n) { return multiply_adds<Float4>(n); }
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] double flops_avx2(int64_t n) { return multiply_adds<Float8>(n); }
[[gnu::target("avx512f")]] double flops_avx512(int64_t n) { return multiply_adds<Float16>(n); }
#endif

double burn(int64_t n) {
#if defined(__x86_64__)
  if (isa_supported(Isa::avx512)) return flops_avx512(n);
  if (isa_supported(Isa::avx2)) return flops_avx2(n);
#endif
  return flops_baseline(n);
}

struct Peaks {
  double flops, bytes;  // per second, all threads together
};

/// The best of several short windows: a peak is what the machine can do, not what it did while disturbed.
const Peaks& peaks(int threads) {
  static std::map<int, Peaks> measured;
  if (auto found = measured.find(threads); found != measured.end()) return found->second;
  static const int64_t kWords = 32 << 20;  // 256 MB
  static const uint64_t* memory = big_array<uint64_t>(kWords);
  std::vector<Peaks> each(static_cast<size_t>(threads));
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; t++) {
    workers.emplace_back([&, t] {
      Peaks best{0, 0};
      for (int window = 0; window < 40; window++) {
        double start = now(), flops = burn(200'000);
        best.flops = std::max(best.flops, flops / (now() - start));
      }
      const int64_t begin = kWords * t / threads, end = kWords * (t + 1) / threads;
      for (int window = 0; window < 12; window++) {
        double start = now();
        uint64_t sum[8] = {};
        for (int64_t i = begin; i + 8 <= end; i += 8) {
          for (int j = 0; j < 8; j++) sum[j] += memory[i + j];
        }
        benchmark::DoNotOptimize(sum);
        best.bytes = std::max(best.bytes, double(end - begin) * 8 / (now() - start));
      }
      each[size_t(t)] = best;
    });
  }
  for (std::thread& worker : workers) worker.join();
  Peaks total{0, 0};
  for (const Peaks& p : each) total.flops += p.flops, total.bytes += p.bytes;
  std::printf("peak of %d thread(s): %.0f GFLOP/s, %.1f GB/s\n", threads, total.flops / 1e9, total.bytes / 1e9);
  return measured[threads] = total;
}

/// Reports `flops` and `bytes` per iteration, done by all threads together since `start`, against their peaks.
void report(benchmark::State& state, double start, double flops, double bytes) {
  const Peaks& peak = peaks(state.threads());
  const double seconds = (now() - start) / double(state.iterations());
  const double floor = std::max(flops / peak.flops, bytes / peak.bytes);
  state.counters["GFLOP/s"] = benchmark::Counter(flops / seconds / 1e9, benchmark::Counter::kAvgThreads);
  state.counters["share"] = benchmark::Counter(floor / seconds, benchmark::Counter::kAvgThreads);
}

/// A kind of matrix product: the kernels, and how float32 weights become its packed ones.
struct Product {
  const char* name;
  double weight_bytes;
  int64_t (*panel_width)(int64_t n);
  size_t (*packed_bytes)(int64_t n, int64_t k);
  void (*gemm)(const GemmArgs& args);
  void (*pack)(const Kernels& kernels, void* packed, const float* w, int64_t n, int64_t k, int64_t panels);
  size_t (*row_bytes)(int64_t k) = nullptr;  // rows of A are converted first
  void (*rows)(void* out, const float* x, int64_t ldx, int64_t rows, int64_t k) = nullptr;
};

std::vector<uint16_t> upper_halves(const float* w, int64_t count) {
  std::vector<uint16_t> halves;
  for (int64_t i = 0; i < count; i++) halves.push_back(uint16_t(std::bit_cast<uint32_t>(w[i]) >> 16));
  return halves;
}

std::vector<Product> products(const Kernels& k) {
  auto pack_x16 = [](const Kernels& kernels, void* packed, const float* w, int64_t n, int64_t depth, int64_t panels) {
    kernels.pack_gemm_x16(packed, upper_halves(w, n * depth).data(), n, depth, 0, panels);
  };
  std::vector<Product> all;
  if (k.isa == base_isa(k.isa)) {
    all = {{"gemm", 4, k.panel_width_f32, k.packed_bytes_f32, k.gemm_f32,
            [](const Kernels& kernels, void* packed, const float* w, int64_t n, int64_t depth, int64_t panels) {
              kernels.pack_gemm_f32(packed, w, depth, n, depth, 0, panels);
            }},
           {"gemm_bf16", 2, k.panel_width_low, k.packed_bytes_x16, k.gemm_bf16, pack_x16},
           {"gemm_f16", 2, k.panel_width_low, k.packed_bytes_x16, k.gemm_f16, pack_x16}};
  }
  all.push_back({"gemm_bf16_dot", 2, k.panel_width_low, k.packed_bytes_bf16_dot, k.gemm_bf16_dot,
                 [](const Kernels& kernels, void* packed, const float* w, int64_t n, int64_t depth, int64_t panels) {
                   kernels.pack_gemm_bf16_dot(packed, upper_halves(w, n * depth).data(), n, depth, 0, panels);
                 },
                 k.row_bytes_bf16_dot, k.rows_bf16_dot});
  all.push_back({"gemm_s8", 1, k.panel_width_low, k.packed_bytes_s8, k.gemm_s8,
                 [](const Kernels& kernels, void* packed, const float* w, int64_t n, int64_t depth, int64_t panels) {
                   std::vector<int8_t> bytes(static_cast<size_t>(n * depth));
                   std::vector<float> scales(static_cast<size_t>(n));
                   kernels.quantize_weights_s8(bytes.data(), scales.data(), w, n, depth);
                   kernels.pack_gemm_s8(packed, bytes.data(), scales.data(), n, depth, 0, panels);
                 },
                 k.row_bytes_s8, k.rows_s8});
  return all;
}

/// The packed layers of a product, made by the first thread that asks: before the clock starts, which waits for all.
const std::vector<char*>& packed_layers(const Kernels& kernels, const Product& product) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  static std::map<std::pair<Isa, std::string>, std::vector<char*>> made;
  std::vector<char*>& layers = made[{kernels.isa, product.name}];
  if (!layers.empty()) return layers;
  std::vector<float> w(kHidden * kIntermediate);
  for (size_t i = 0; i < w.size(); i++) w[i] = float(i * 2654435761u % 1024) * 1e-5f;
  for (int layer = 0; layer < kLayers; layer++) {
    int64_t k = layer % 2 ? kIntermediate : kHidden, n = layer % 2 ? kHidden : kIntermediate;
    int64_t width = product.panel_width(n);
    layers.push_back(big_array<char>(product.packed_bytes(n, k)));
    product.pack(kernels, layers.back(), w.data(), n, k, (n + width - 1) / width);
  }
  return layers;
}

/// Twelve products with bias, and gelu or residual; threads share the panels, as in a model, and each converts its rows
/// of A where they are converted. Every layer reads the same inputs, so that threads need not wait for each other.
void gemm(benchmark::State& state, const Kernels& kernels, const Product& product) {
  static float *in = big_array<float>(512 * kIntermediate), *out = big_array<float>(512 * kIntermediate);
  static float* bias = big_array<float>(kIntermediate);
  static char* converted = big_array<char>(512 * (kIntermediate * 4 + 64));
  const std::vector<char*>& layers = packed_layers(kernels, product);
  const int64_t rows = state.range(0), width = product.panel_width(kHidden);
  const int64_t t = state.thread_index(), all = state.threads();
  auto share = [&](int layer) {
    bool up = layer % 2 == 0;
    GemmArgs g{};
    g.k = g.lda = up ? kHidden : kIntermediate;
    g.n = g.ldc = g.ldr = up ? kIntermediate : kHidden;
    g.a = in, g.c = out, g.rows = rows, g.packed = layers[size_t(layer)], g.bias = bias;
    g.activation = up ? Activation::gelu : Activation::none;
    g.residual = up ? nullptr : out;
    int64_t panels = (g.n + width - 1) / width;
    g.panel_begin = panels * t / all, g.panel_end = panels * (t + 1) / all;
    return g;
  };
  const double start = now();
  for (auto _ : state) {
    for (int layer = 0; layer < kLayers; layer++) {
      GemmArgs g = share(layer), following = share((layer + 1) % kLayers);
      const int64_t panel_bytes = int64_t(product.packed_bytes(width, following.k));
      g.next = static_cast<const char*>(following.packed) + following.panel_begin * panel_bytes;
      g.next_bytes = size_t((following.panel_end - following.panel_begin) * panel_bytes);
      if (product.rows != nullptr) {
        g.lda = int64_t(product.row_bytes(g.k)), g.rows_a = converted, g.a = nullptr;
        const int64_t begin = rows * t / all, end = rows * (t + 1) / all;
        product.rows(converted + begin * g.lda, in + begin * g.k, g.k, end - begin, g.k);
      }
      product.gemm(g);
    }
  }
  const double weights = double(kLayers) * kHidden * kIntermediate;
  report(state, start, 2 * weights * double(rows), weights * product.weight_bytes);
}

/// Twelve heads of 64 over one sequence, from a (tokens, 3 · 768) matrix of queries, keys and values.
void attention(benchmark::State& state, size_t (*scratch_bytes)(int64_t, int64_t),
               void (*kernel)(const AttentionArgs&)) {
  const int64_t tokens = state.range(0), heads = 12, dim = 64, ld = 3 * heads * dim;
  float *qkv = big_array<float>(size_t(tokens * ld)), *out = big_array<float>(size_t(tokens * heads * dim));
  for (int64_t i = 0; i < tokens * ld; i++) qkv[i] = float(i * 2654435761 % 1024) * 1e-3f;
  char* scratch = big_array<char>(scratch_bytes(tokens, dim));
  const double start = now();
  for (auto _ : state) {
    for (int64_t head = 0; head < heads; head++) {
      AttentionArgs t{};
      t.q = qkv + head * dim, t.k = t.q + heads * dim, t.v = t.k + heads * dim;
      t.ldq = t.ldk = t.ldv = ld;
      t.queries = t.keys = tokens, t.head_dim = dim, t.scale = 0.125f;
      t.out = out + head * dim, t.ldo = heads * dim, t.scratch = scratch;
      kernel(t);
    }
  }
  report(state, start, 4.0 * double(heads * tokens * tokens * dim), 0);
}

constexpr int64_t kRows = 128;  // row kernels run on (128, 768), warm in the cache as after a matrix product

template <typename Kernel>
void row_kernel(benchmark::State& state, Kernel kernel) {
  static float *x = big_array<float>(kRows * kIntermediate), *out = big_array<float>(kRows * kIntermediate);
  for (int64_t i = 0; i < kRows * kIntermediate; i++) x[i] = float(i * 2654435761 % 1024) * 1e-2f - 5;
  for (auto _ : state) kernel(out, x);
  state.SetItemsProcessed(state.iterations() * kRows * kHidden);
}

void register_tier(const Kernels& k) {
  const std::string tier = k.name;
  const int cores = int(std::thread::hardware_concurrency());
  for (const Product& product : products(k)) {
    auto* each = benchmark::RegisterBenchmark((product.name + ("/" + tier)).c_str(),
                                              [&k, product](auto& state) { gemm(state, k, product); });
    each->ArgName("rows")->Unit(benchmark::kMillisecond)->UseRealTime();
    for (int rows : {1, 8, 32, 128, 512}) each->Arg(rows);
    each->Threads(1);
    if (cores > 1) each->Threads(cores);
  }
  auto heads = [&](const char* name, auto scratch_bytes, auto kernel) {
    auto* each = benchmark::RegisterBenchmark((name + ("/" + tier)).c_str(),
                                              [=](auto& state) { attention(state, scratch_bytes, kernel); });
    each->ArgName("tokens")->Unit(benchmark::kMillisecond);
    for (int tokens : {8, 32, 128, 512, 1500}) each->Arg(tokens);
  };
  heads("attention_bf16_dot", k.attention_scratch_bf16_dot, k.attention_bf16_dot);
  if (k.isa != base_isa(k.isa)) return;
  heads("attention", k.attention_scratch_f32, k.attention_f32);

  auto row = [&](const char* name, auto kernel) {
    benchmark::RegisterBenchmark((name + ("/" + tier)).c_str(), [kernel](auto& state) { row_kernel(state, kernel); });
  };
  row("layer_norm", [&k](float* out, const float* x) { k.layer_norm_f32(out, x, x, x, kRows, kHidden, 1e-12f); });
  row("softmax", [&k](float* out, const float* x) { k.softmax_f32(out, x, kRows, kHidden); });
  row("add", [&k](float* out, const float* x) { k.add_f32(out, out, x, kRows * kHidden); });
  for (auto [name, activation] :
       {std::pair{"gelu", Activation::gelu}, {"gelu_tanh", Activation::gelu_tanh}, {"tanh", Activation::tanh}}) {
    Activation a = activation;
    row(name, [&k, a](float* out, const float* x) { k.activation_f32(out, x, kRows * kHidden, a); });
  }
}

}  // namespace
}  // namespace caracal::kernels

int main(int argc, char** argv) {
  using namespace caracal::kernels;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  peaks(1);
  if (int cores = int(std::thread::hardware_concurrency()); cores > 1) peaks(cores);
  for (Isa isa : kIsas) {
    if (!isa_supported(isa)) continue;
    register_tier(cpu_kernels(isa));
  }
  benchmark::RunSpecifiedBenchmarks();
}
