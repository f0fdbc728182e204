#include <caracal/models/pipelines/scores.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace caracal {

std::vector<float> softmax(std::span<const float> logits) {
  std::vector<float> scores(logits.begin(), logits.end());
  if (scores.empty()) return scores;
  const float largest = *std::ranges::max_element(scores);
  double sum = 0;
  for (float& score : scores) sum += double(score = std::exp(score - largest));
  for (float& score : scores) score = float(double(score) / sum);
  return scores;
}

std::vector<float> sigmoid(std::span<const float> logits) {
  std::vector<float> scores(logits.begin(), logits.end());
  for (float& score : scores) score = 1 / (1 + std::exp(-score));
  return scores;
}

int64_t argmax(std::span<const float> values) { return std::ranges::max_element(values) - values.begin(); }

std::vector<int64_t> top_k(std::span<const float> values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, int64_t(order.size()));
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int64_t a, int64_t b) {
    const float x = values[size_t(a)], y = values[size_t(b)];
    return x != y ? x > y : a < b;
  });
  order.resize(size_t(count));
  return order;
}

std::vector<std::string> labels_of(const PretrainedConfig& config) {
  std::vector<std::string> labels;
  for (const auto& [id, label] : config.id2label) {
    if (id != int64_t(labels.size()))
      throw Error(ErrorCode::invalid_argument, std::string(config.class_name()) + ": id2label",
                  "expected labels for 0 to " + std::to_string(config.num_labels() - 1) + " but got one for " +
                      std::to_string(id) + " and none for " + std::to_string(labels.size()));
    labels.push_back(label);
  }
  return labels;
}

}  // namespace caracal
