#include <caracal/models/layoutlmv2/configuration_layoutlmv2.h>

namespace caracal {

std::vector<ConfigField> LayoutLMv2Config::fields() {
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
          {"max_2d_position_embeddings", &max_2d_position_embeddings, "int"},
          {"max_rel_pos", &max_rel_pos, "int"},
          {"rel_pos_bins", &rel_pos_bins, "int"},
          {"fast_qkv", &fast_qkv, "bool"},
          {"max_rel_2d_pos", &max_rel_2d_pos, "int"},
          {"rel_2d_pos_bins", &rel_2d_pos_bins, "int"},
          {"convert_sync_batchnorm", &convert_sync_batchnorm, "bool"},
          {"image_feature_pool_shape", &image_feature_pool_shape, "list[int]"},
          {"coordinate_size", &coordinate_size, "int"},
          {"shape_size", &shape_size, "int"},
          {"has_relative_attention_bias", &has_relative_attention_bias, "bool"},
          {"has_spatial_attention_bias", &has_spatial_attention_bias, "bool"},
          {"has_visual_segment_embedding", &has_visual_segment_embedding, "bool"},
          {"detectron2_config_args", &detectron2_config_args, "dict | None"}};
}

void LayoutLMv2Config::post_init(const Json&) {
  if (detectron2_config_args.is_null()) detectron2_config_args = default_detectron2_config();
}

Json LayoutLMv2Config::default_detectron2_config() {
  return {{"MODEL.MASK_ON", true},
          {"MODEL.PIXEL_STD", Json::Array{57.375, 57.12, 58.395}},
          {"MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"},
          {"MODEL.FPN.IN_FEATURES", Json::Array{"res2", "res3", "res4", "res5"}},
          {"MODEL.ANCHOR_GENERATOR.SIZES",
           Json::Array{Json::Array{32}, Json::Array{64}, Json::Array{128}, Json::Array{256}, Json::Array{512}}},
          {"MODEL.RPN.IN_FEATURES", Json::Array{"p2", "p3", "p4", "p5", "p6"}},
          {"MODEL.RPN.PRE_NMS_TOPK_TRAIN", 2000},
          {"MODEL.RPN.PRE_NMS_TOPK_TEST", 1000},
          {"MODEL.RPN.POST_NMS_TOPK_TRAIN", 1000},
          {"MODEL.POST_NMS_TOPK_TEST", 1000},
          {"MODEL.ROI_HEADS.NAME", "StandardROIHeads"},
          {"MODEL.ROI_HEADS.NUM_CLASSES", 5},
          {"MODEL.ROI_HEADS.IN_FEATURES", Json::Array{"p2", "p3", "p4", "p5"}},
          {"MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"},
          {"MODEL.ROI_BOX_HEAD.NUM_FC", 2},
          {"MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 14},
          {"MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead"},
          {"MODEL.ROI_MASK_HEAD.NUM_CONV", 4},
          {"MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 7},
          {"MODEL.RESNETS.DEPTH", 101},
          {"MODEL.RESNETS.SIZES",
           Json::Array{Json::Array{32}, Json::Array{64}, Json::Array{128}, Json::Array{256}, Json::Array{512}}},
          {"MODEL.RESNETS.ASPECT_RATIOS", Json::Array{Json::Array{0.5, 1.0, 2.0}}},
          {"MODEL.RESNETS.OUT_FEATURES", Json::Array{"res2", "res3", "res4", "res5"}},
          {"MODEL.RESNETS.NUM_GROUPS", 32},
          {"MODEL.RESNETS.WIDTH_PER_GROUP", 8},
          {"MODEL.RESNETS.STRIDE_IN_1X1", false}};
}

}  // namespace caracal
