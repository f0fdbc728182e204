// One small input of every kind that the small checkpoints of tests/data/models take.
#pragma once

#include <caracal/models/modeling_inputs.h>

namespace caracal {

inline ModelInputs small_inputs() {
  ModelInputs inputs;
  inputs.input_ids = Tensor::zeros({1, 3}, DType::I64);
  inputs.bbox = Tensor::zeros({1, 3, 4}, DType::I64);
  inputs.image = Tensor::zeros({1, 3, 32, 32}, DType::U8);
  inputs.pixel_values = Tensor::zeros({1, 3, 16, 16});
  inputs.input_values = Tensor::zeros({1, 400});
  return inputs;
}

}  // namespace caracal
