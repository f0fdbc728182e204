#include <caracal/models/distilbert/configuration_distilbert.h>

namespace caracal {

std::vector<ConfigField> DistilBertConfig::fields() {
  return {{"vocab_size", &vocab_size, "int"},
          {"max_position_embeddings", &max_position_embeddings, "int"},
          {"sinusoidal_pos_embds", &sinusoidal_pos_embds, "bool"},
          {"n_layers", &n_layers, "int"},
          {"n_heads", &n_heads, "int"},
          {"dim", &dim, "int"},
          {"hidden_dim", &hidden_dim, "int"},
          {"dropout", &dropout, "float | int"},
          {"attention_dropout", &attention_dropout, "float | int"},
          {"activation", &activation, "str"},
          {"initializer_range", &initializer_range, "float"},
          {"qa_dropout", &qa_dropout, "float | int"},
          {"seq_classif_dropout", &seq_classif_dropout, "float | int"},
          {"pad_token_id", &pad_token_id, "int | None"},
          {"eos_token_id", &eos_token_id, "int | list[int] | None"},
          {"bos_token_id", &bos_token_id, "int | None"},
          {"tie_word_embeddings", &tie_word_embeddings, "bool"}};
}

std::vector<ConfigAlias> DistilBertConfig::aliases() const {
  return {{"hidden_size", "dim"}, {"num_attention_heads", "n_heads"}, {"num_hidden_layers", "n_layers"}};
}

}  // namespace caracal
