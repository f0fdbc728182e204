#include <caracal/models/activations.h>

namespace caracal {
namespace {

struct Row {
  const char* name;
  Activation activation;
};

constexpr Row kActivations[] = {
    {"gelu", Activation::gelu},
    {"gelu_python", Activation::gelu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_python_tanh", Activation::gelu_tanh},
    {"quick_gelu", Activation::quick_gelu},
    {"relu", Activation::relu},
    {"silu", Activation::silu},
    {"swish", Activation::silu},
    {"tanh", Activation::tanh},
    {"sigmoid", Activation::sigmoid},
    {"linear", Activation::none},
    {"gelu_10", Activation::gelu_10},
    {"hardswish", Activation::hardswish},
    {"laplace", Activation::laplace},
    {"leaky_relu", Activation::leaky_relu},
    {"mish", Activation::mish},
    {"relu2", Activation::relu2},
    {"relu6", Activation::relu6},
    {"sqrtsoftplus", Activation::sqrtsoftplus},
};

}  // namespace

Activation activation_from_name(const std::string& name) {
  std::string known;
  for (const Row& row : kActivations) {
    if (name == row.name) return row.activation;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(ErrorCode::unsupported, "activation", "expected one of " + known + " but got '" + name + "'");
}

}  // namespace caracal
