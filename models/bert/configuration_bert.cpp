#include <caracal/models/bert/configuration_bert.h>

namespace caracal {

std::vector<ConfigField> BertConfig::fields() {
  return {{"vocab_size", &vocab_size, "int"},
          {"hidden_size", &hidden_size, "int"},
          {"num_hidden_layers", &num_hidden_layers, "int"},
          {"num_attention_heads", &num_attention_heads, "int"},
          {"intermediate_size", &intermediate_size, "int"},
          {"hidden_act", &hidden_act, "str"},
          {"hidden_dropout_prob", &hidden_dropout_prob, "float | int"},
          {"attention_probs_dropout_prob", &attention_probs_dropout_prob, "float | int"},
          {"max_position_embeddings", &max_position_embeddings, "int"},
          {"type_vocab_size", &type_vocab_size, "int"},
          {"initializer_range", &initializer_range, "float"},
          {"layer_norm_eps", &layer_norm_eps, "float"},
          {"pad_token_id", &pad_token_id, "int | None"},
          {"use_cache", &use_cache, "bool"},
          {"classifier_dropout", &classifier_dropout, "float | int | None"},
          {"is_decoder", &is_decoder, "bool"},
          {"add_cross_attention", &add_cross_attention, "bool"},
          {"bos_token_id", &bos_token_id, "int | None"},
          {"eos_token_id", &eos_token_id, "int | list[int] | None"},
          {"tie_word_embeddings", &tie_word_embeddings, "bool"}};
}

}  // namespace caracal
