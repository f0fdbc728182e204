#include <caracal/models/wav2vec2/configuration_wav2vec2.h>

#include <algorithm>

#include <caracal/runtime/checked.h>

namespace caracal {

std::vector<ConfigField> Wav2Vec2Config::fields() {
  return {{"vocab_size", &vocab_size, "int | None"},
          {"hidden_size", &hidden_size, "int"},
          {"num_hidden_layers", &num_hidden_layers, "int"},
          {"num_attention_heads", &num_attention_heads, "int"},
          {"intermediate_size", &intermediate_size, "int"},
          {"hidden_act", &hidden_act, "str"},
          {"hidden_dropout", &hidden_dropout, "float | int"},
          {"activation_dropout", &activation_dropout, "float | int"},
          {"attention_dropout", &attention_dropout, "float | int"},
          {"feat_proj_dropout", &feat_proj_dropout, "float | int"},
          {"feat_quantizer_dropout", &feat_quantizer_dropout, "float | int"},
          {"final_dropout", &final_dropout, "float | int"},
          {"layerdrop", &layerdrop, "float | int"},
          {"initializer_range", &initializer_range, "float"},
          {"layer_norm_eps", &layer_norm_eps, "float"},
          {"feat_extract_norm", &feat_extract_norm, "str"},
          {"feat_extract_activation", &feat_extract_activation, "str"},
          {"conv_dim", &conv_dim, "list[int]"},
          {"conv_stride", &conv_stride, "list[int]"},
          {"conv_kernel", &conv_kernel, "list[int]"},
          {"conv_bias", &conv_bias, "bool"},
          {"num_conv_pos_embeddings", &num_conv_pos_embeddings, "int"},
          {"num_conv_pos_embedding_groups", &num_conv_pos_embedding_groups, "int"},
          {"do_stable_layer_norm", &do_stable_layer_norm, "bool"},
          {"apply_spec_augment", &apply_spec_augment, "bool"},
          {"mask_time_prob", &mask_time_prob, "float | int"},
          {"mask_time_length", &mask_time_length, "int"},
          {"mask_time_min_masks", &mask_time_min_masks, "int"},
          {"mask_feature_prob", &mask_feature_prob, "float | int"},
          {"mask_feature_length", &mask_feature_length, "int"},
          {"mask_feature_min_masks", &mask_feature_min_masks, "int"},
          {"num_codevectors_per_group", &num_codevectors_per_group, "int"},
          {"num_codevector_groups", &num_codevector_groups, "int"},
          {"contrastive_logits_temperature", &contrastive_logits_temperature, "float"},
          {"num_negatives", &num_negatives, "int"},
          {"codevector_dim", &codevector_dim, "int"},
          {"proj_codevector_dim", &proj_codevector_dim, "int"},
          {"diversity_loss_weight", &diversity_loss_weight, "float"},
          {"ctc_loss_reduction", &ctc_loss_reduction, "str"},
          {"ctc_zero_infinity", &ctc_zero_infinity, "bool"},
          {"use_weighted_layer_sum", &use_weighted_layer_sum, "bool"},
          {"classifier_proj_size", &classifier_proj_size, "int"},
          {"tdnn_dim", &tdnn_dim, "list[int]"},
          {"tdnn_kernel", &tdnn_kernel, "list[int]"},
          {"tdnn_dilation", &tdnn_dilation, "list[int]"},
          {"xvector_output_dim", &xvector_output_dim, "int"},
          {"pad_token_id", &pad_token_id, "int | None"},
          {"bos_token_id", &bos_token_id, "int | None"},
          {"eos_token_id", &eos_token_id, "int | list[int] | None"},
          {"add_adapter", &add_adapter, "bool"},
          {"adapter_kernel_size", &adapter_kernel_size, "int"},
          {"adapter_stride", &adapter_stride, "int"},
          {"num_adapter_layers", &num_adapter_layers, "int"},
          {"output_hidden_size", &output_hidden_size, "int | None"},
          {"adapter_attn_dim", &adapter_attn_dim, "int | None"},
          {"num_feat_extract_layers", &num_feat_extract_layers, "int"}};
}

void Wav2Vec2Config::post_init(const Json& given) {
  if (!given.contains("num_feat_extract_layers")) num_feat_extract_layers = int64_t(conv_dim.size());
  const Json* size = given.find("output_hidden_size");
  if (size == nullptr || size->is_null() || *size == Json(0)) output_hidden_size = hidden_size;
}

void Wav2Vec2Config::validate() const {
  const size_t layers = size_t(num_feat_extract_layers);
  if (conv_dim.size() == layers && conv_stride.size() == layers && conv_kernel.size() == layers) return;
  throw Error(ErrorCode::invalid_argument, kClassName,
              "conv_dim, conv_stride and conv_kernel expected " + std::to_string(num_feat_extract_layers) +
                  " elements each, as num_feat_extract_layers says, but got " + std::to_string(conv_dim.size()) + ", " +
                  std::to_string(conv_stride.size()) + " and " + std::to_string(conv_kernel.size()));
}

int64_t Wav2Vec2Config::inputs_to_logits_ratio() const {
  int64_t ratio = 1;
  for (int64_t stride : conv_stride) ratio = checked_mul(ratio, stride, kClassName);
  return ratio;
}

namespace {

// As torch.nn.Conv1d, dividing downwards for negative numbers too.
int64_t conv_output_length(int64_t length, int64_t kernel, int64_t stride) {
  const int64_t room = length - kernel;
  return (room >= 0 ? room / stride : -((-room + stride - 1) / stride)) + 1;
}

}  // namespace

int64_t Wav2Vec2Config::feat_extract_output_length(int64_t samples, bool behind_adapter) const {
  for (size_t i = 0; i < conv_kernel.size(); i++) samples = conv_output_length(samples, conv_kernel[i], conv_stride[i]);
  for (int64_t i = 0; behind_adapter && add_adapter && i < num_adapter_layers; i++)
    samples = conv_output_length(samples, 1, adapter_stride);
  return samples;
}

int64_t Wav2Vec2Config::samples_of(int64_t frames) const {
  for (size_t i = conv_kernel.size(); i-- > 0;)
    frames = checked_add(checked_mul(frames - 1, conv_stride[i], kClassName), conv_kernel[i], kClassName);
  return frames;
}

int64_t Wav2Vec2Config::most_samples_of(int64_t frames, int64_t batch) const {
  // One sample less than makes another frame; what each further utterance may have before its first one comes on top.
  const int64_t one = samples_of(checked_add<int64_t>(frames, 1, kClassName)) - 1, others = std::min(batch, frames) - 1;
  return checked_add(one, checked_mul(others, samples_of(1) - 1, kClassName), kClassName);
}

int64_t Wav2Vec2Config::attended_frames(int64_t samples, int64_t frames, bool behind_adapter) const {
  int64_t last = feat_extract_output_length(samples, behind_adapter) - 1;
  if (last < 0) last += frames;  // an index from the end
  if (last < 0)
    throw Error(ErrorCode::invalid_argument, kClassName,
                "expected samples for at least one frame but attention_mask leaves " + std::to_string(samples));
  return std::min(last + 1, frames);
}

}  // namespace caracal
