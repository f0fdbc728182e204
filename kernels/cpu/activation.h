// The activations as functions of 16 floats, for the elementwise kernel and for the epilogue of the matrix product.
#pragma once

#include <caracal/kernels/cpu/exp.h>
#include <caracal/kernels/kernels.h>

namespace caracal::kernels::CARACAL_TIER {

/// x Φ(x), the erf form. With a = |x|, Φ(-a) = e^(-a²/2) R(1 / (1 + 0.34 a)) where R is a polynomial of degree 7
/// (minimax: |ΔΦ| <= 1.1e-8 / max(1, a)). Then x - a Φ(-a) for positive x and x Φ(-a) for others, so that nothing
/// cancels and the negative tail keeps its digits. Measured: |Δ| <= 1.2e-7 · max(1, |gelu(x)|) over the floats.
CARACAL_INLINE f32x16 gelu(f32x16 x) {
  f32x16 a = min(set1(20.0f), abs(x));
  f32x16 u = set1(1.0f) / fma(set1(0.34f), a, set1(1.0f));
  f32x16 r = set1(0.044229839f);
  r = fma(r, u, set1(-0.197814181f));
  r = fma(r, u, set1(0.259095073f));
  r = fma(r, u, set1(-0.0260253046f));
  r = fma(r, u, set1(0.154201567f));
  r = fma(r, u, set1(0.130346462f));
  r = fma(r, u, set1(0.135966554f));
  f32x16 phi = r * u * exp(set1(-0.5f) * a * a);
  return select(greater(x, zero()), x - a * phi, x * phi);
}

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

template <Activation activation>
CARACAL_INLINE f32x16 activate(f32x16 x) {
  if constexpr (activation == Activation::relu) return max(zero(), x);  // in this operand order NaN passes through
  if constexpr (activation == Activation::gelu) return gelu(x);
  if constexpr (activation == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (activation == Activation::quick_gelu) return x_sigmoid(x, set1(1.702f) * x);
  if constexpr (activation == Activation::silu) return x_sigmoid(x, x);
  if constexpr (activation == Activation::tanh) return tanh(x);
  if constexpr (activation == Activation::sigmoid) return x_sigmoid(set1(1.0f), x);
  return x;
}

}  // namespace caracal::kernels::CARACAL_TIER

/// Calls function<activation>(arguments…) for an activation known at run time.
#define CARACAL_SWITCH_ACTIVATION(activation, function, ...)                           \
  switch (activation) {                                                                \
    case Activation::none: function<Activation::none>(__VA_ARGS__); break;             \
    case Activation::relu: function<Activation::relu>(__VA_ARGS__); break;             \
    case Activation::gelu: function<Activation::gelu>(__VA_ARGS__); break;             \
    case Activation::gelu_tanh: function<Activation::gelu_tanh>(__VA_ARGS__); break;   \
    case Activation::quick_gelu: function<Activation::quick_gelu>(__VA_ARGS__); break; \
    case Activation::silu: function<Activation::silu>(__VA_ARGS__); break;             \
    case Activation::tanh: function<Activation::tanh>(__VA_ARGS__); break;             \
    case Activation::sigmoid: function<Activation::sigmoid>(__VA_ARGS__); break;       \
  }
