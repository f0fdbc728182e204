// BertConfig. Source: transformers/models/bert/configuration_bert.py
#pragma once

#include <caracal/models/configuration_utils.h>

namespace caracal {

/// Configuration of the BERT models; attributes, types and defaults are transformers.BertConfig's.
struct BertConfig final : ConfigOf<BertConfig> {
  static constexpr const char* kModelType = "bert";
  static constexpr const char* kClassName = "BertConfig";
  BertConfig() = default;
  explicit BertConfig(const Json& overrides) { init(overrides, kClassName); }

  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  Json hidden_dropout_prob = 0.1;
  Json attention_probs_dropout_prob = 0.1;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  Json pad_token_id = 0;
  bool use_cache = true;
  Json classifier_dropout;
  bool is_decoder = false;
  bool add_cross_attention = false;
  Json bos_token_id, eos_token_id;
  bool tie_word_embeddings = true;

 protected:
  std::vector<ConfigField> fields() override;
};

}  // namespace caracal
