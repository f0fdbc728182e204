// The matrix product by oneDNN, 2.6 and 3.x: its matmul primitive, W reordered once into the layout that it asks for,
// with bias, activation and residual as its post-ops.
//
// oneDNN chooses its code by the shape, and codes sum in different orders: so one shape does it all, kRows rows of A by
// panels of kWidth columns, filled up where there are fewer, and a row's bits do not depend on its neighbours. Its
// threads stay out: each of ours works alone on its panels. Primitives are made at first use and kept, a set per
// thread.
#include <caracal/kernels/onednn/onednn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

namespace caracal::kernels {
namespace onednn {
namespace {

constexpr int64_t kRows = 16, kWidth = 64;
constexpr size_t kAlign = 64;

// oneDNN asks OpenMP how many threads to use. This thread is one of ours, and has its answer back afterwards.
class OneThread {
 public:
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_;
#else
  OneThread() {}
#endif
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::memory::desc matrix(int64_t rows, int64_t cols, dnnl::memory::format_tag tag) {
  return {{rows, cols}, dnnl::memory::data_type::f32, tag};
}

dnnl::memory::desc row_major(int64_t rows, int64_t cols) { return matrix(rows, cols, dnnl::memory::format_tag::ab); }

dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& weights, int64_t k, const dnnl::primitive_attr& attr) {
  const auto a = row_major(kRows, k), c = row_major(kRows, kWidth), bias = row_major(1, kWidth);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), a, weights, bias, c, attr};
#else
  return {dnnl::matmul::desc(a, weights, bias, c), attr, engine()};
#endif
}

// The layout of a panel of W.
dnnl::memory::desc packed_layout(int64_t k) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return describe(matrix(k, kWidth, dnnl::memory::format_tag::any), k, attr).weights_desc();
}

size_t rounded(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// No exception may leave: where oneDNN has no layout to offer, pack_gemm_f32 meets the same and fills this with NaN.
size_t panel_bytes(int64_t k) noexcept {
  try {
    return rounded(packed_layout(k).get_size());
  } catch (...) {
    return rounded(size_t(k * kWidth) * sizeof(float));
  }
}

// oneDNN does not multiply over nothing: a k of 0 is one step of zeros.
int64_t depth(int64_t k) { return std::max<int64_t>(k, 1); }

void append_activation(dnnl::post_ops& ops, dnnl::algorithm kind, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(kind, alpha, 0);
#else
  ops.append_eltwise(1, kind, alpha, 0);
#endif
}

// False for an activation that oneDNN lacks, or whose NaN it loses (relu; sigmoid below AVX-512): the tier's follows
// then.
bool append(dnnl::post_ops& ops, Activation activation) {
  switch (activation) {
    case Activation::none: return true;
    case Activation::gelu: append_activation(ops, dnnl::algorithm::eltwise_gelu_erf, 0); return true;
    case Activation::gelu_tanh: append_activation(ops, dnnl::algorithm::eltwise_gelu_tanh, 0); return true;
    case Activation::quick_gelu: append_activation(ops, dnnl::algorithm::eltwise_swish, 1.702f); return true;
    case Activation::silu: append_activation(ops, dnnl::algorithm::eltwise_swish, 1); return true;
    case Activation::tanh: append_activation(ops, dnnl::algorithm::eltwise_tanh, 0); return true;
    case Activation::leaky_relu: append_activation(ops, dnnl::algorithm::eltwise_relu, 0.01f); return true;
    default: return false;
  }
}

enum class Residual { none, first, last };

// kRows rows of A by a panel of W, ready to run.
struct Product {
  bool activates;
  dnnl::memory::desc packed;
  dnnl::matmul primitive;
  dnnl::memory a, w, c, bias, scratchpad;

  Product(int64_t k, Activation activation, Residual residual) : packed(packed_layout(k)) {
    dnnl::post_ops ops;
    if (residual == Residual::first) ops.append_sum(1);
    activates = append(ops, activation);
    if (residual == Residual::last && activates) ops.append_sum(1);
    dnnl::primitive_attr attr;
    attr.set_post_ops(ops);
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto description = describe(packed, k, attr);
    primitive = dnnl::matmul(description);
    a = dnnl::memory(row_major(kRows, k), engine(), nullptr);
    w = dnnl::memory(packed, engine(), nullptr);
    c = dnnl::memory(row_major(kRows, kWidth), engine(), nullptr);
    bias = dnnl::memory(row_major(1, kWidth), engine(), nullptr);
    scratchpad = dnnl::memory(description.scratchpad_desc(), engine());
  }

  void run(dnnl::stream& stream, const float* from, const void* panel, float* to, const float* with) {
    a.set_data_handle(const_cast<float*>(from));
    w.set_data_handle(const_cast<void*>(panel));
    c.set_data_handle(to);
    bias.set_data_handle(const_cast<float*>(with));
    primitive.execute(stream, {{DNNL_ARG_SRC, a},
                               {DNNL_ARG_WEIGHTS, w},
                               {DNNL_ARG_DST, c},
                               {DNNL_ARG_BIAS, bias},
                               {DNNL_ARG_SCRATCHPAD, scratchpad}});
  }
};

// What a thread keeps.
struct Workshop {
  dnnl::stream stream{engine()};
  std::map<std::tuple<int64_t, Activation, Residual>, std::unique_ptr<Product>> products;
  std::vector<float> rows;

  Product& product(int64_t k, Activation activation, Residual residual) {
    std::unique_ptr<Product>& entry = products[{k, activation, residual}];
    if (entry == nullptr) entry = std::make_unique<Product>(k, activation, residual);
    return *entry;
  }
};

Workshop& workshop() {
  thread_local Workshop mine;
  return mine;
}

int64_t panel_width_f32(int64_t) { return kWidth; }

size_t packed_bytes_f32(int64_t n, int64_t k) { return size_t((n + kWidth - 1) / kWidth) * panel_bytes(depth(k)); }

// A kernel cannot throw. What oneDNN refuses (out of memory) becomes NaN, which nobody takes for a result.
template <class F, class G>
void or_else(F f, G failed) noexcept {
  try {
    f();
  } catch (...) {
    failed();
  }
}

void pack_panels(char* packed, const float* w, int64_t ldw, int64_t n, int64_t k, int64_t panel_begin,
                 int64_t panel_end, size_t bytes) {
  const OneThread one;
  std::vector<float> panel(size_t(depth(k) * kWidth));  // (k, kWidth)
  dnnl::memory from(row_major(depth(k), kWidth), engine(), panel.data()),
      to(packed_layout(depth(k)), engine(), nullptr);
  const dnnl::reorder reorder(from, to);
  for (int64_t p = panel_begin; p < panel_end; p++) {
    for (int64_t i = 0; i < k; i++) {
      for (int64_t j = 0; j < kWidth; j++) {
        const int64_t column = p * kWidth + j;
        panel[size_t(i * kWidth + j)] = column < n ? w[column * ldw + i] : 0.0f;
      }
    }
    to.set_data_handle(packed + size_t(p) * bytes);
    reorder.execute(workshop().stream, from, to);
    workshop().stream.wait();
  }
}

void pack_gemm_f32(void* packed, const float* w, int64_t ldw, int64_t n, int64_t k, int64_t panel_begin,
                   int64_t panel_end) {
  char* to = static_cast<char*>(packed);
  const size_t bytes = packed_bytes_f32(kWidth, k);
  or_else([&] { pack_panels(to, w, ldw, n, k, panel_begin, panel_end, bytes); },
          [&] { std::memset(to + size_t(panel_begin) * bytes, 0xff, size_t(panel_end - panel_begin) * bytes); });
}

// Rows [row, row + rows) of panel p: the residual goes into the tile, the product is added to it, the tile goes to C.
void multiply(const GemmArgs& g, const Kernels& tier, Product& product, const float* a, const void* panel, int64_t p,
              int64_t row, int64_t rows) {
  alignas(kAlign) float tile[kRows * kWidth] = {}, bias[kWidth] = {};
  const int64_t column = p * kWidth, columns = std::min(kWidth, g.n - column);
  const float* residual = g.residual != nullptr ? g.residual + row * g.ldr + column : nullptr;
  if (g.bias != nullptr) std::copy_n(g.bias + column, columns, bias);
  if (residual != nullptr && (product.activates || g.residual_first))
    for (int64_t i = 0; i < rows; i++) std::copy_n(residual + i * g.ldr, columns, tile + i * kWidth);
  product.run(workshop().stream, a, panel, tile, bias);
  for (int64_t i = 0; i < rows; i++) {
    float* y = tile + i * kWidth;
    if (!product.activates) {
      tier.activation_f32(y, y, columns, g.activation);
      if (residual != nullptr && !g.residual_first) tier.add_f32(y, y, residual + i * g.ldr, columns);
    }
    std::copy_n(y, columns, g.c + (row + i) * g.ldc + column);
  }
}

void multiply_all(const GemmArgs& g, const Kernels& tier) {
  const OneThread one;
  Workshop& mine = workshop();
  const int64_t k = depth(g.k);
  const Residual residual = g.residual == nullptr ? Residual::none
                            : g.residual_first    ? Residual::first
                                                  : Residual::last;
  Product& product = mine.product(k, g.activation, residual);
  const size_t bytes = rounded(product.packed.get_size());
  for (int64_t row = 0; row < g.rows; row += kRows) {
    const int64_t rows = std::min(kRows, g.rows - row);
    const float* a = g.a + row * g.lda;
    if (rows < kRows || g.lda != k) {
      mine.rows.assign(size_t(kRows * k), 0.0f);
      for (int64_t i = 0; i < rows; i++) std::copy_n(a + i * g.lda, g.k, mine.rows.data() + i * k);
      a = mine.rows.data();
    }
    for (int64_t p = g.panel_begin; p < g.panel_end; p++)
      multiply(g, tier, product, a, static_cast<const char*>(g.packed) + size_t(p) * bytes, p, row, rows);
  }
}

template <Isa isa>
void gemm_f32(const GemmArgs& g) {
  or_else([&] { multiply_all(g, cpu_kernels(isa)); },
          [&] {
            const int64_t column = g.panel_begin * kWidth, end = std::min(g.panel_end * kWidth, g.n);
            for (int64_t i = 0; i < g.rows; i++) std::fill(g.c + i * g.ldc + column, g.c + i * g.ldc + end, NAN);
          });
}

template <Isa isa>
Kernels table() {
  Kernels result = cpu_kernels(isa);
  result.backend = Backend::onednn;
  result.panel_width_f32 = panel_width_f32;
  result.packed_bytes_f32 = packed_bytes_f32;
  result.pack_gemm_f32 = pack_gemm_f32;
  result.gemm_f32 = gemm_f32<isa>;
  return result;
}

}  // namespace
}  // namespace onednn

const bool kOnednnLinked = true;

const Kernels* onednn_kernels(Isa isa) noexcept {
  static const Kernels scalar = onednn::table<Isa::scalar>(), avx2 = onednn::table<Isa::avx2>(),
                       avx512 = onednn::table<Isa::avx512>();
  return base_isa(isa) == Isa::avx512 ? &avx512 : base_isa(isa) == Isa::avx2 ? &avx2 : &scalar;
}

}  // namespace caracal::kernels
