#include <caracal/models/vit/configuration_vit.h>

namespace caracal {

std::vector<ConfigField> ViTConfig::fields() {
  return {{"hidden_size", &hidden_size, "int"},
          {"num_hidden_layers", &num_hidden_layers, "int"},
          {"num_attention_heads", &num_attention_heads, "int"},
          {"intermediate_size", &intermediate_size, "int"},
          {"hidden_act", &hidden_act, "str"},
          {"hidden_dropout_prob", &hidden_dropout_prob, "float | int"},
          {"attention_probs_dropout_prob", &attention_probs_dropout_prob, "float | int"},
          {"initializer_range", &initializer_range, "float"},
          {"layer_norm_eps", &layer_norm_eps, "float"},
          {"image_size", &image_size, "int | list[int]"},
          {"patch_size", &patch_size, "int | list[int]"},
          {"num_channels", &num_channels, "int"},
          {"qkv_bias", &qkv_bias, "bool"},
          {"encoder_stride", &encoder_stride, "int"},
          {"pooler_output_size", &pooler_output_size, "int | None"},
          {"pooler_act", &pooler_act, "str"}};
}

void ViTConfig::post_init(const Json& given) {
  const Json* size = given.find("pooler_output_size");
  if (size == nullptr || size->is_null() || *size == Json(0)) pooler_output_size = hidden_size;
}

std::array<int64_t, 2> ViTConfig::pair(const char* name, const Json& size) {
  if (size.is_integer()) return {size.as_int(), size.as_int()};
  if (size.is_array() && size.as_array().size() == 2) return {size.as_array()[0].as_int(), size.as_array()[1].as_int()};
  throw Error(ErrorCode::invalid_argument, kClassName,
              std::string(name) + " expected a number or [height, width] but got " + size.dump());
}

}  // namespace caracal
