#include <caracal/models/modeling_outputs.h>

namespace caracal {

std::vector<std::pair<std::string, Tensor>> ModelOutput::named() const {
  std::vector<std::pair<std::string, Tensor>> result;
  auto add = [&](std::string name, const Tensor& tensor) {
    if (tensor.defined()) result.emplace_back(std::move(name), tensor);
  };
  auto add_all = [&](const std::string& name, const std::vector<Tensor>& tensors) {
    for (size_t i = 0; i < tensors.size(); i++) add(name + "." + std::to_string(i), tensors[i]);
  };
  add("last_hidden_state", last_hidden_state);
  add("pooler_output", pooler_output);
  add("logits", logits);
  add("prediction_logits", prediction_logits);
  add("seq_relationship_logits", seq_relationship_logits);
  add("start_logits", start_logits);
  add("end_logits", end_logits);
  add("reconstruction", reconstruction);
  add("extract_features", extract_features);
  add("projected_states", projected_states);
  add("projected_quantized_states", projected_quantized_states);
  add("codevector_perplexity", codevector_perplexity);
  add("embeddings", embeddings);
  for (size_t i = 0; i < past_key_values.size(); i++) {
    const std::string layer = "past_key_values." + std::to_string(i);
    add(layer + ".keys", past_key_values[i].keys);
    add(layer + ".values", past_key_values[i].values);
    add(layer + ".cross_keys", past_key_values[i].cross_keys);
    add(layer + ".cross_values", past_key_values[i].cross_values);
  }
  add_all("hidden_states", hidden_states);
  add_all("attentions", attentions);
  add_all("cross_attentions", cross_attentions);
  return result;
}

}  // namespace caracal
