// The activations as functions of 16 floats, for the elementwise kernel and for the epilogue of the matrix product.
#pragma once

#include <caracal/kernels/cpu/exp.h>
#include <caracal/kernels/kernels.h>

namespace caracal::kernels::CARACAL_TIER {

/// Φ(x) = 1/2 + x P(x²), P of degree 15 in t = 2 x² / 5.6² - 1 (minimax: |x ΔΦ| <= 4.7e-8); exactly 0 or 1 from
/// |x| = 5.6 on.
CARACAL_INLINE f32x16 normal_cdf(f32x16 x) {
  const f32x16 c = min(set1(5.6f), max(set1(-5.6f), x));  // in this operand order NaN passes through
  const f32x16 t = fma(c * c, set1(0.0637755096f), set1(-1.0f));
  f32x16 p = set1(-0.000264562113f);
  p = fma(p, t, set1(0.000801827991f));
  p = fma(p, t, set1(-0.000837286236f));
  p = fma(p, t, set1(0.000923357613f));
  p = fma(p, t, set1(-0.00260489807f));
  p = fma(p, t, set1(0.00519657275f));
  p = fma(p, t, set1(-0.00770314923f));
  p = fma(p, t, set1(0.011056996f));
  p = fma(p, t, set1(-0.0157014914f));
  p = fma(p, t, set1(0.0209224094f));
  p = fma(p, t, set1(-0.026320504f));
  p = fma(p, t, set1(0.0319722854f));
  p = fma(p, t, set1(-0.038344916f));
  p = fma(p, t, set1(0.0469807722f));
  p = fma(p, t, set1(-0.0630512983f));
  p = fma(p, t, set1(0.126259595f));
  return max(zero(), fma(c, p, set1(0.5f)));
}

/// x Φ(x), the erf form. Measured: |Δ| <= 3e-7 · max(1, |gelu(x)|) over the floats, 4.5e-7 where fma() rounds twice
/// (PyTorch's: 1.1e-6). As there, the negative tail has that error, not as many digits.
CARACAL_INLINE f32x16 gelu(f32x16 x) { return x * normal_cdf(x); }

/// x / (1 + e^-x)
CARACAL_INLINE f32x16 x_sigmoid(f32x16 x, f32x16 argument) { return x / (set1(1.0f) + exp(zero() - argument)); }

/// 0.5 x (1 + tanh(u)) = x σ(2u) with u = sqrt(2/π) (x + 0.044715 x³); σ keeps the digits that 1 + tanh loses.
CARACAL_INLINE f32x16 gelu_tanh(f32x16 x) {
  f32x16 cubic = fma(x * x, set1(0.0713548163f), set1(1.59576912f));  // 2 sqrt(2/π) · {0.044715, 1}
  return x_sigmoid(x, x * cubic);
}

/// x P(x²) / Q(x²), minimax with relative error 2.1e-8 for |x| <= 9.02, from where on the answer is ±1. Measured:
/// relative error 3.8e-7 at most.
CARACAL_INLINE f32x16 tanh(f32x16 x) {
  f32x16 limit = set1(9.02f), c = min(limit, max(zero() - limit, x)), t = c * c;
  f32x16 p = set1(1.33190703e-08f), q = set1(7.76201887e-07f);
  p = fma(p, t, set1(2.05834804e-05f)), q = fma(q, t, set1(0.000328309252f));
  p = fma(p, t, set1(0.00349403452f)), q = fma(q, t, set1(0.025871072f));
  p = fma(p, t, set1(0.133797184f)), q = fma(q, t, set1(0.467130333f));
  p = fma(p, t, set1(1.0f)), q = fma(q, t, set1(1.0f));
  return min(set1(1.0f), max(set1(-1.0f), c * p / q));
}

/// In this operand order NaN passes through.
CARACAL_INLINE f32x16 clip(f32x16 x, float low, float high) { return min(set1(high), max(set1(low), x)); }

/// Φ((x - 0.707107) / 0.282095)
CARACAL_INLINE f32x16 laplace(f32x16 x) { return normal_cdf((x - set1(0.707107f)) * set1(3.54490509f)); }

/// x tanh(log(1 + e^x)) = x m / (m + 2) with m = e^x (e^x + 2); from 20 on the quotient is 1.
CARACAL_INLINE f32x16 mish(f32x16 x) {
  f32x16 e = exp(min(set1(20.0f), x)), m = e * (e + set1(2.0f));
  return x * (m / (m + set1(2.0f)));
}

/// log(1 + e^x) = max(x, 0) + log(1 + t) with t = e^-|x|; log(1 + t) = 2 artanh(s) with s = t / (2 + t) <= 1/3, by its
/// series to s^17 (relative error 6e-10).
CARACAL_INLINE f32x16 softplus(f32x16 x) {
  f32x16 t = exp(zero() - abs(x)), s = t / (t + set1(2.0f)), q = s * s;
  f32x16 r = set1(1.0f / 17);
  r = fma(r, q, set1(1.0f / 15));
  r = fma(r, q, set1(1.0f / 13));
  r = fma(r, q, set1(1.0f / 11));
  r = fma(r, q, set1(1.0f / 9));
  r = fma(r, q, set1(1.0f / 7));
  r = fma(r, q, set1(1.0f / 5));
  r = fma(r, q, set1(1.0f / 3));
  r = fma(r, q, set1(1.0f));
  return fma(set1(2.0f) * s, r, max(zero(), x));
}

template <Activation activation>
CARACAL_INLINE f32x16 activate(f32x16 x) {
  if constexpr (activation == Activation::relu) return max(zero(), x);  // in this operand order NaN passes through
  if constexpr (activation == Activation::gelu) return gelu(x);
  if constexpr (activation == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (activation == Activation::quick_gelu) return x_sigmoid(x, set1(1.702f) * x);
  if constexpr (activation == Activation::silu) return x_sigmoid(x, x);
  if constexpr (activation == Activation::tanh) return tanh(x);
  if constexpr (activation == Activation::sigmoid) return x_sigmoid(set1(1.0f), x);
  if constexpr (activation == Activation::gelu_10) return clip(gelu(x), -10.0f, 10.0f);
  if constexpr (activation == Activation::hardswish) return x * (clip(x + set1(3.0f), 0.0f, 6.0f) * set1(1.0f / 6));
  if constexpr (activation == Activation::laplace) return laplace(x);
  if constexpr (activation == Activation::leaky_relu) return select(greater(x, zero()), x, x * set1(0.01f));
  if constexpr (activation == Activation::mish) return mish(x);
  if constexpr (activation == Activation::relu2) return max(zero(), x) * max(zero(), x);
  if constexpr (activation == Activation::relu6) return clip(x, 0.0f, 6.0f);
  if constexpr (activation == Activation::sqrtsoftplus) return sqrt(softplus(x));
  return x;
}

}  // namespace caracal::kernels::CARACAL_TIER

/// Calls function<activation>(arguments…) for an activation known at run time.
#define CARACAL_SWITCH_ACTIVATION(activation, function, ...)                               \
  switch (activation) {                                                                    \
    case Activation::none: function<Activation::none>(__VA_ARGS__); break;                 \
    case Activation::relu: function<Activation::relu>(__VA_ARGS__); break;                 \
    case Activation::gelu: function<Activation::gelu>(__VA_ARGS__); break;                 \
    case Activation::gelu_tanh: function<Activation::gelu_tanh>(__VA_ARGS__); break;       \
    case Activation::quick_gelu: function<Activation::quick_gelu>(__VA_ARGS__); break;     \
    case Activation::silu: function<Activation::silu>(__VA_ARGS__); break;                 \
    case Activation::tanh: function<Activation::tanh>(__VA_ARGS__); break;                 \
    case Activation::sigmoid: function<Activation::sigmoid>(__VA_ARGS__); break;           \
    case Activation::gelu_10: function<Activation::gelu_10>(__VA_ARGS__); break;           \
    case Activation::hardswish: function<Activation::hardswish>(__VA_ARGS__); break;       \
    case Activation::laplace: function<Activation::laplace>(__VA_ARGS__); break;           \
    case Activation::leaky_relu: function<Activation::leaky_relu>(__VA_ARGS__); break;     \
    case Activation::mish: function<Activation::mish>(__VA_ARGS__); break;                 \
    case Activation::relu2: function<Activation::relu2>(__VA_ARGS__); break;               \
    case Activation::relu6: function<Activation::relu6>(__VA_ARGS__); break;               \
    case Activation::sqrtsoftplus: function<Activation::sqrtsoftplus>(__VA_ARGS__); break; \
  }
