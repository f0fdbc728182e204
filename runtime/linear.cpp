// linear(): a product with a weight of any LinearKind, and how weights are packed for it.
#include <algorithm>
#include <cstring>

#include <caracal/runtime/cuda_device.h>
#include <caracal/runtime/cuda_ops.h>
#include <caracal/runtime/ops_checks.h>

namespace caracal {
namespace {

using kernels::GemmArgs;
using kernels::Kernels;

/// The kernels of a LinearKind. Where rows is null, A stays float32.
struct Product {
  int64_t (*panel_width)(int64_t n);
  size_t (*packed_bytes)(int64_t n, int64_t k);
  void (*gemm)(const GemmArgs&);
  size_t (*row_bytes)(int64_t k) = nullptr;
  void (*rows)(void* out, const float* x, int64_t ldx, int64_t rows, int64_t k) = nullptr;
};

Product product_of(const Kernels& cpu, LinearKind kind) {
  switch (kind) {
    case LinearKind::bf16: return {cpu.panel_width_low, cpu.packed_bytes_x16, cpu.gemm_bf16};
    case LinearKind::f16: return {cpu.panel_width_low, cpu.packed_bytes_x16, cpu.gemm_f16};
    case LinearKind::bf16_dot:
      return {cpu.panel_width_low, cpu.packed_bytes_bf16_dot, cpu.gemm_bf16_dot, cpu.row_bytes_bf16_dot,
              cpu.rows_bf16_dot};
    case LinearKind::s8: return {cpu.panel_width_low, cpu.packed_bytes_s8, cpu.gemm_s8, cpu.row_bytes_s8, cpu.rows_s8};
    case LinearKind::f32: break;
  }
  return {cpu.panel_width_f32, cpu.packed_bytes_f32, cpu.gemm_f32};
}

// Matrices of one dtype and width, one above the other.
Tensor stack(const std::vector<Tensor>& parts, int64_t rows) {
  if (parts.size() == 1) return parts[0];
  Tensor stacked = Tensor::empty({rows, parts[0].size(1)}, parts[0].dtype());
  char* to = static_cast<char*>(stacked.raw());
  for (const Tensor& part : parts) {
    if (part.nbytes() > 0) std::memcpy(to, part.raw(), part.nbytes());
    to += part.nbytes();
  }
  return stacked;
}

/// All of a Linear but its packed weight. Throws when shapes or dtypes do not fit.
Linear describe(const char* op, const std::vector<Tensor>& weights, const std::vector<Tensor>& biases, DType dtype) {
  if (weights.empty() || weights.size() != biases.size())
    fail(op, "as many biases as weights", std::to_string(biases.size()));
  Linear result;
  bool any_bias = false;
  result.in_features = weights[0].size(-1);
  for (size_t i = 0; i < weights.size(); i++) {
    expect_matrix(op, "weight", weights[i], result.in_features, dtype);
    result.out_features += weights[i].size(0);
    if (!biases[i].defined()) continue;
    any_bias = true;
    if (biases[i].shape() != Shape{weights[i].size(0)} || biases[i].dtype() != DType::F32)
      fail(op, "bias of shape (" + std::to_string(weights[i].size(0)) + ",)", biases[i].shape().str());
  }
  if (any_bias) {
    result.bias = Tensor::zeros({result.out_features});
    float* to = result.bias.data<float>();
    for (size_t i = 0; i < weights.size(); to += weights[i++].size(0))
      if (biases[i].defined()) std::copy_n(biases[i].data<float>(), biases[i].numel(), to);
  }
  return result;
}

/// Takes memory for the packed weight and has pack(panel_begin, panel_end) fill it.
template <class F>
void pack_panels(const Runtime& runtime, WeightStore& store, Linear& linear, const F& pack) {
  const Product product = product_of(runtime.cpu(), linear.kind);
  const size_t bytes = product.packed_bytes(linear.out_features, linear.in_features);
  const int64_t width = product.panel_width(linear.out_features), panels = (linear.out_features + width - 1) / width;
  linear.packed = store.allocate(bytes);
  runtime.parallel(panels, 1, [&](int64_t begin, int64_t end, int) { pack(linear.packed.get(), begin, end); });
  const size_t panel_bytes = product.packed_bytes(width, linear.in_features);
  if (panels > 0) linear.next = store.packed({static_cast<char*>(linear.packed.get()), panels, panel_bytes});
}

}  // namespace

QuantizedWeight quantize_weight(const Runtime& runtime, const Tensor& weight) {
  const int64_t k = weight.size(-1);
  expect_matrix("quantize_weight", "weight", weight, k);
  QuantizedWeight result{Tensor::empty(weight.shape(), DType::I8), Tensor::empty({weight.size(0), 1})};
  int8_t* values = result.values.data<int8_t>();
  float* scales = result.scales.data<float>();
  runtime.parallel(weight.size(0), row_grain(k), [&](int64_t begin, int64_t end, int) {
    runtime.cpu().quantize_weights_s8(values + begin * k, scales + begin, weight.data<float>() + begin * k, end - begin,
                                      k);
  });
  return result;
}

Tensor dequantize_weight(const Runtime& runtime, const QuantizedWeight& weight) {
  const char* op = "dequantize_weight";
  const int64_t k = weight.values.size(-1);
  expect_matrix(op, "weight", weight.values, k, DType::I8);
  expect_matrix(op, "scales", weight.scales, 1);
  if (weight.scales.size(0) != weight.values.size(0))
    fail(op, "a scale for each row of " + weight.values.shape().str(), weight.scales.shape().str());
  Tensor result = Tensor::empty(weight.values.shape());
  float* to = result.data<float>();
  runtime.parallel(result.size(0), row_grain(k), [&](int64_t begin, int64_t end, int) {
    runtime.cpu().dequantize_weights_s8(to + begin * k, weight.values.data<int8_t>() + begin * k,
                                        weight.scales.data<float>() + begin, end - begin, k);
  });
  return result;
}

Linear pack_linear(const Runtime& runtime, WeightStore& store, const std::vector<Tensor>& weights,
                   const std::vector<Tensor>& biases, bool bf16_dot) {
  const DType dtype = weights.empty() ? DType::F32 : weights[0].dtype();
  const bool narrow = dtype == DType::F16 || dtype == DType::BF16;
  Linear result = describe("pack_linear", weights, biases, narrow ? dtype : DType::F32);
  if (store.device() != nullptr) {
    result.device = store.device()->device();
    result.packed = store.place_stack(weights);
    result.bias = store.place(result.bias, DType::F32);
    return result;
  }
  const Tensor w = stack(weights, result.out_features);
  const Kernels& cpu = runtime.cpu();
  const int64_t n = result.out_features, k = result.in_features;
  if (narrow) {
    const uint16_t* from = static_cast<const uint16_t*>(w.raw());
    result.kind = dtype == DType::F16 ? LinearKind::f16 : bf16_dot ? LinearKind::bf16_dot : LinearKind::bf16;
    const auto pack = result.kind == LinearKind::bf16_dot ? cpu.pack_gemm_bf16_dot : cpu.pack_gemm_x16;
    pack_panels(runtime, store, result,
                [&](void* to, int64_t begin, int64_t end) { pack(to, from, n, k, begin, end); });
  } else {
    pack_panels(runtime, store, result, [&](void* to, int64_t begin, int64_t end) {
      cpu.pack_gemm_f32(to, w.data<float>(), k, n, k, begin, end);
    });
  }
  return result;
}

Linear pack_linear(const Runtime& runtime, WeightStore& store, const std::vector<QuantizedWeight>& weights,
                   const std::vector<Tensor>& biases) {
  const char* op = "pack_linear";
  if (store.device() != nullptr)
    throw Error(ErrorCode::unsupported, op, "expected float weights on cuda but got weights of 8 bits");
  std::vector<Tensor> values, scales;
  for (const QuantizedWeight& w : weights) {
    values.push_back(w.values);
    scales.push_back(w.scales);
    if (w.values.rank() == 2) expect_matrix(op, "scales", w.scales, 1);
    if (w.values.rank() != 2 || w.scales.size(0) != w.values.size(0))
      fail(op, "a scale for each row of the weight", w.values.shape().str() + " and " + w.scales.shape().str());
  }
  Linear result = describe(op, values, biases, DType::I8);
  if (result.in_features > kMostInputsS8)
    fail(op, "at most " + std::to_string(kMostInputsS8) + " inputs", std::to_string(result.in_features));
  result.kind = LinearKind::s8;
  const Tensor w = stack(values, result.out_features), s = stack(scales, result.out_features);
  pack_panels(runtime, store, result, [&](void* to, int64_t begin, int64_t end) {
    runtime.cpu().pack_gemm_s8(to, w.data<int8_t>(), s.data<float>(), result.out_features, result.in_features, begin,
                               end);
  });
  return result;
}

Tensor linear(Ctx& ctx, const Tensor& x, const Linear& weights, const LinearOptions& options) {
  const int64_t k = weights.in_features, n = weights.out_features;
  expect_matrix("linear", "x", x, k);
  expect_packed_for("linear", x, weights.device);
  const int64_t rows = x.size(0);
  if (options.residual != nullptr && options.residual->shape() != Shape{rows, n})
    fail("linear", "residual of shape " + Shape{rows, n}.str(), options.residual->shape().str());

  if (options.into != nullptr && options.into->shape() != Shape{rows, n})
    fail("linear", "into of shape " + Shape{rows, n}.str(), options.into->shape().str());

  if (x.on_cuda()) return cuda_ops::linear(ctx, x, weights, options);
  Tensor out = options.into != nullptr ? *options.into : ctx.empty({rows, n});
  Ctx::Scope scope(ctx);
  const Product product = product_of(ctx.cpu(), weights.kind);
  const int64_t width = product.panel_width(n), panels = (n + width - 1) / width;
  // Few panels for the threads at hand: cut the rows too.
  const int64_t wanted = 2 * ctx.runtime().threads();
  const int64_t blocks =
      panels >= wanted || ctx.runtime().threads() == 1 ? 1 : std::clamp<int64_t>(rows / 32, 1, wanted);
  const int64_t block_rows = blocks == 1 ? rows : (rows + blocks - 1) / blocks;

  GemmArgs args{};
  args.a = x.data<float>();
  args.lda = k;
  args.packed = weights.packed.get();
  args.c = out.data<float>();
  args.ldc = n;
  args.n = n;
  args.k = k;
  args.bias = weights.bias.defined() ? weights.bias.data<float>() : nullptr;
  args.activation = options.activation;
  args.residual = options.residual != nullptr ? options.residual->data<float>() : nullptr;
  args.ldr = n;
  if (product.rows != nullptr) {
    args.lda = int64_t(product.row_bytes(k));
    char* converted = static_cast<char*>(ctx.scratch(size_t(rows) * size_t(args.lda)));
    // Two threads that share out few rows lose more by waiting for each other than they gain.
    ctx.parallel(rows, std::max<int64_t>(kWorthATask / (8 * std::max<int64_t>(1, k)), 1),
                 [&](int64_t begin, int64_t end, int) {
                   product.rows(converted + begin * args.lda, x.data<float>() + begin * k, k, end - begin, k);
                 });
    args.rows_a = converted;
  }
  // What a thread reads after `end` of `items`: of this weight, or of the next one the panels that will be its share.
  const int64_t items = blocks * panels, threads = ctx.runtime().threads();
  const NextWeight next = weights.next != nullptr ? *weights.next : NextWeight{};
  const size_t panel_bytes = product.packed_bytes(width, k);
  auto name_next = [&](GemmArgs& part, int64_t begin, int64_t end) {
    const int64_t thread = begin * threads / items;
    const bool here = end < items && end * threads / items == thread;
    part.next_bytes = here ? panel_bytes : next.panels > 0 ? next.panel_bytes : 0;
    part.next = here ? static_cast<const char*>(args.packed) + size_t(end % panels) * panel_bytes
                     : next.packed + size_t(next.panels * thread / threads) * next.panel_bytes;
  };
  const int64_t grain = kWorthATask / std::max<int64_t>(1, 2 * block_rows * k * width);
  ctx.parallel(rows == 0 ? 0 : items, grain, [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t first = begin / panels * block_rows, panel = begin % panels;
      const int64_t count = std::min(panels - panel, end - begin);
      GemmArgs part = args;
      if (part.rows_a != nullptr)
        part.rows_a = static_cast<const char*>(part.rows_a) + first * part.lda;
      else
        part.a += first * k;
      part.c += first * n;
      if (part.residual != nullptr) part.residual += first * n;
      part.rows = std::min(block_rows, rows - first);
      part.panel_begin = panel;
      part.panel_end = panel + count;
      name_next(part, begin, begin + count);
      if (part.rows > 0) product.gemm(part);
      begin += count;
    }
  });
  return out;
}

}  // namespace caracal
