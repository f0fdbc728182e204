#include <caracal/models/modeling_outputs.h>

namespace caracal {

std::vector<std::pair<std::string, Tensor>> ModelOutput::named() const {
  std::vector<std::pair<std::string, Tensor>> result;
  auto add = [&](std::string name, const Tensor& tensor) {
    if (tensor.defined()) result.emplace_back(std::move(name), tensor);
  };
  add("last_hidden_state", last_hidden_state);
  add("pooler_output", pooler_output);
  for (size_t i = 0; i < hidden_states.size(); i++) add("hidden_states." + std::to_string(i), hidden_states[i]);
  for (size_t i = 0; i < attentions.size(); i++) add("attentions." + std::to_string(i), attentions[i]);
  return result;
}

}  // namespace caracal
