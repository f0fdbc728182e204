// The visual backbone of LayoutLMv2: Detectron2's ResNet or ResNeXt under a feature pyramid. Weights have Detectron2's
// names. Source: LayoutLMv2VisualBackbone in transformers/models/layoutlmv2/modeling_layoutlmv2.py;
// detectron2/modeling/ backbone/resnet.py and fpn.py.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include <caracal/models/layoutlmv2/configuration_layoutlmv2.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/runtime/feature_maps.h>

namespace caracal {

/// What detectron2_config_args says of the backbone. What it leaves out is as Detectron2 has it.
struct VisualBackboneConfig {
  /// Throws invalid_argument for values that make no backbone, unsupported for parts that are not here.
  explicit VisualBackboneConfig(const LayoutLMv2Config& config);

  std::vector<float> pixel_mean{103.53f, 116.28f, 123.675f}, pixel_std{1, 1, 1};  // a value a channel
  std::array<int64_t, 4> blocks{};                                                // of res2 .. res5, by DEPTH
  int64_t num_groups = 1, width_per_group = 64, stem_out_channels = 64, res2_out_channels = 256;
  int64_t fpn_out_channels = 256;
  bool stride_in_1x1 = true;
  bool average = false;  // FUSE_TYPE: levels of the pyramid are averaged rather than added
};

/// A residual block: 1×1, grouped 3×3 and 1×1 convolutions, each with its frozen batch norm folded in.
struct BottleneckBlock {
  /// Replaces x (a row a pixel) and its `images` by the block's.
  void forward(Ctx& ctx, Tensor& x, Images& images) const;

  Convolution conv1, conv2, conv3;
  std::optional<Convolution> shortcut;  // where the block changes the number of channels
};

/// Pixels to features. LayoutLMv2 reads the pyramid's finest level p2 alone, through an average pool: of the other
/// levels only what flows into it is computed.
struct LayoutLMv2VisualBackbone {
  LayoutLMv2VisualBackbone(const Loader& loader, const Weights& w, const LayoutLMv2Config& layoutlmv2_config);
  /// image (B, C, height, width) U8 or F32 -> (B · pool height · pool width, channels), the cells of each image row by
  /// row. Throws invalid_argument naming `model` for an image of another type or shape, or whose levels do not double.
  Tensor forward(Ctx& ctx, const char* model, const Tensor& image, int64_t batch) const;

  VisualBackboneConfig config;
  int64_t pool_height, pool_width;
  Tensor pixel_mean, pixel_std;  // (C)
  Convolution stem;
  std::array<std::vector<BottleneckBlock>, 4> stages;  // res2 .. res5
  std::array<Convolution, 4> laterals;                 // fpn_lateral2 .. 5
  Linear output;                                       // fpn_output2, over the pooled windows of its kernel
};

}  // namespace caracal
