// The one place that maps configuration names of activations to kernels.
#pragma once

#include <string>

#include <caracal/runtime/ops.h>

namespace caracal {

/// The activation that transformers' ACT2FN has under `name`: "gelu" is the erf form, "gelu_new" and
/// "gelu_pytorch_tanh" the tanh form. Throws unsupported, listing the known names.
Activation activation_from_name(const std::string& name);

}  // namespace caracal
