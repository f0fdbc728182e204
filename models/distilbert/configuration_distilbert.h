// DistilBertConfig. Source: transformers/models/distilbert/configuration_distilbert.py
#pragma once

#include <caracal/models/configuration_utils.h>

namespace caracal {

/// Configuration of the DistilBERT models; attributes, types and defaults are transformers.DistilBertConfig's.
struct DistilBertConfig final : ConfigOf<DistilBertConfig> {
  static constexpr const char* kModelType = "distilbert";
  static constexpr const char* kClassName = "DistilBertConfig";
  DistilBertConfig() = default;
  explicit DistilBertConfig(const Json& overrides) { init(overrides, kClassName); }

  int64_t vocab_size = 30522;
  int64_t max_position_embeddings = 512;
  bool sinusoidal_pos_embds = false;
  int64_t n_layers = 6;
  int64_t n_heads = 12;
  int64_t dim = 768;
  int64_t hidden_dim = 3072;
  Json dropout = 0.1;
  Json attention_dropout = 0.1;
  std::string activation = "gelu";
  double initializer_range = 0.02;
  Json qa_dropout = 0.1;
  Json seq_classif_dropout = 0.2;
  Json pad_token_id = 0;
  Json eos_token_id;
  Json bos_token_id;
  bool tie_word_embeddings = true;

 protected:
  std::vector<ConfigField> fields() override;
  std::vector<ConfigAlias> aliases() const override;
};

}  // namespace caracal
