#include <caracal/models/layoutlmv2/visual_backbone.h>

#include <algorithm>
#include <cmath>

#include <caracal/models/modeling_layers.h>

namespace caracal {
namespace {

constexpr const char* kStages[] = {"res2", "res3", "res4", "res5"};

[[noreturn]] void refuse(ErrorCode code, std::string_view key, const std::string& expected, const Json& got) {
  throw Error(code, "LayoutLMv2Config: detectron2_config_args",
              "'" + std::string(key) + "' expected " + expected + " but got " + got.dump());
}

// Reads the entries of detectron2_config_args, leaving alone what they do not mention.
class Arguments {
 public:
  explicit Arguments(const Json& args) : args_(args) {
    if (!args.is_object())
      throw Error(ErrorCode::invalid_argument, "LayoutLMv2Config",
                  "field 'detectron2_config_args' expected a dict but got " + args.dump());
  }
  void count(std::string_view key, int64_t& value) const {
    const Json* given = args_.find(key);
    if (given == nullptr) return;
    if (!given->is_integer() || given->as_int() < 1 || given->as_int() > kMostChannels)
      refuse(ErrorCode::invalid_argument, key, "1 to " + std::to_string(kMostChannels), *given);
    value = given->as_int();
  }
  void flag(std::string_view key, bool& value) const {
    const Json* given = args_.find(key);
    if (given == nullptr) return;
    if (!given->is_bool()) refuse(ErrorCode::invalid_argument, key, "true or false", *given);
    value = given->as_bool();
  }
  void numbers(std::string_view key, std::vector<float>& values) const {
    const Json* given = args_.find(key);
    if (given == nullptr) return;
    if (!given->is_array()) refuse(ErrorCode::invalid_argument, key, "a list of numbers", *given);
    values.clear();
    for (const Json& value : given->as_array()) {
      if (!value.is_number()) refuse(ErrorCode::invalid_argument, key, "a list of numbers", *given);
      values.push_back(float(value.as_double()));
    }
  }
  // The only value that this backbone is for.
  void expect(std::string_view key, const Json& wanted, const Json& otherwise) const {
    const Json* given = args_.find(key);
    if ((given != nullptr ? *given : otherwise) != wanted)
      refuse(ErrorCode::unsupported, key, wanted.dump(), given != nullptr ? *given : otherwise);
  }
  const Json* find(std::string_view key) const { return args_.find(key); }

 private:
  static constexpr int64_t kMostChannels = 1 << 16;
  const Json& args_;
};

// Detectron2's Conv2d: a convolution that holds its norm.
Convolution load_conv2d(const Loader& loader, const Weights& w, int64_t in_channels, int64_t out_channels,
                        int64_t kernel, int64_t stride, int64_t groups = 1) {
  const Window window{.stride = stride, .padding = kernel / 2};
  return load_normalized_convolution(loader, w, w / "norm", in_channels, out_channels, {kernel, kernel},
                                     {groups, window, window});
}

BottleneckBlock load_block(const Loader& loader, const Weights& w, const VisualBackboneConfig& config, int64_t stage,
                           int64_t index) {
  const int64_t out = config.res2_out_channels << stage, width = (config.num_groups * config.width_per_group) << stage;
  const int64_t in = index > 0 ? out : stage > 0 ? out / 2 : config.stem_out_channels;
  const int64_t stride = index == 0 && stage > 0 ? 2 : 1;
  BottleneckBlock block;
  if (in != out) block.shortcut = load_conv2d(loader, w / "shortcut", in, out, 1, stride);
  block.conv1 = load_conv2d(loader, w / "conv1", in, width, 1, config.stride_in_1x1 ? stride : 1);
  block.conv2 = load_conv2d(loader, w / "conv2", width, width, 3, config.stride_in_1x1 ? 1 : stride, config.num_groups);
  block.conv3 = load_conv2d(loader, w / "conv3", width, out, 1, 1);
  return block;
}

// Whether each level of the pyramid, doubled, has the size of the next finer one along a side of so many pixels.
bool doubles(int64_t pixels) { return pixels > 0 && (pixels + 3) / 4 % 8 == 0; }

Tensor times(const Tensor& x, float factor) {
  Tensor result = x.clone();
  for (int64_t i = 0; i < result.numel(); i++) result.data<float>()[i] *= factor;
  return result;
}

// A kernel (out, in, y, x) as the matrix that multiplies rows of windows, (out, y · x · in).
Tensor channels_last(const Tensor& weight) {
  const int64_t out = weight.size(0), in = weight.size(1), taps = weight.size(2) * weight.size(3);
  Tensor result = Tensor::empty({out, taps * in});
  for (int64_t o = 0; o < out; o++)
    for (int64_t c = 0; c < in; c++)
      for (int64_t t = 0; t < taps; t++)
        result.data<float>()[(o * taps + t) * in + c] = weight.data<float>()[(o * in + c) * taps + t];
  return result;
}

}  // namespace

VisualBackboneConfig::VisualBackboneConfig(const LayoutLMv2Config& config) {
  const Arguments args(config.detectron2_config_args);
  const Json stages = Json::Array{kStages[0], kStages[1], kStages[2], kStages[3]};
  args.expect("MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "GeneralizedRCNN");
  args.expect("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "build_resnet_backbone");
  args.expect("MODEL.FPN.IN_FEATURES", stages, Json::Array{});
  args.expect("MODEL.FPN.NORM", "", "");
  args.expect("MODEL.RESNETS.NORM", "FrozenBN", "FrozenBN");
  args.expect("MODEL.RESNETS.RES5_DILATION", 1, 1);
  const Json rigid = Json::Array{false, false, false, false};
  args.expect("MODEL.RESNETS.DEFORM_ON_PER_STAGE", rigid, rigid);
  const Json* features = args.find("MODEL.RESNETS.OUT_FEATURES");
  for (const Json& stage : stages.as_array())
    if (features == nullptr || !features->is_array() ||
        std::ranges::find(features->as_array(), stage) == features->as_array().end())
      refuse(ErrorCode::invalid_argument, "MODEL.RESNETS.OUT_FEATURES", "a list with " + stages.dump(),
             features != nullptr ? *features : Json::Array{"res4"});

  args.numbers("MODEL.PIXEL_MEAN", pixel_mean);
  args.numbers("MODEL.PIXEL_STD", pixel_std);
  if (pixel_mean.empty() || pixel_mean.size() != pixel_std.size())
    throw Error(ErrorCode::invalid_argument, "LayoutLMv2Config: detectron2_config_args",
                "expected as many values in 'MODEL.PIXEL_STD' as in 'MODEL.PIXEL_MEAN' but got " +
                    std::to_string(pixel_std.size()) + " and " + std::to_string(pixel_mean.size()));
  const Json* depth = args.find("MODEL.RESNETS.DEPTH");
  if (depth == nullptr || *depth == Json(50))
    blocks = {3, 4, 6, 3};
  else if (*depth == Json(101))
    blocks = {3, 4, 23, 3};
  else if (*depth == Json(152))
    blocks = {3, 8, 36, 3};
  else
    refuse(ErrorCode::unsupported, "MODEL.RESNETS.DEPTH", "50, 101 or 152", *depth);
  args.count("MODEL.RESNETS.NUM_GROUPS", num_groups);
  args.count("MODEL.RESNETS.WIDTH_PER_GROUP", width_per_group);
  args.count("MODEL.RESNETS.STEM_OUT_CHANNELS", stem_out_channels);
  args.count("MODEL.RESNETS.RES2_OUT_CHANNELS", res2_out_channels);
  args.count("MODEL.FPN.OUT_CHANNELS", fpn_out_channels);
  args.flag("MODEL.RESNETS.STRIDE_IN_1X1", stride_in_1x1);
  if (const Json* fuse = args.find("MODEL.FPN.FUSE_TYPE"); fuse != nullptr) {
    average = *fuse == Json("avg");
    if (!average && *fuse != Json("sum"))
      refuse(ErrorCode::invalid_argument, "MODEL.FPN.FUSE_TYPE", "sum or avg", *fuse);
  }
}

void BottleneckBlock::forward(Ctx& ctx, Tensor& x, Images& images) const {
  Images narrow = images, out = images;
  Tensor sum = shortcut ? conv2d(ctx, x, images, *shortcut, &out) : x;
  Ctx::Scope scope(ctx);
  Tensor h = conv2d(ctx, x, images, conv1, &narrow, {.activation = Activation::relu});
  h = conv2d(ctx, h, narrow, conv2, &narrow, {.activation = Activation::relu});
  conv2d(ctx, h, narrow, conv3, &narrow,
         {.activation = Activation::relu, .residual = &sum, .residual_first = true, .into = &sum});
  x = sum, images = out;
}

LayoutLMv2VisualBackbone::LayoutLMv2VisualBackbone(const Loader& loader, const Weights& w,
                                                   const LayoutLMv2Config& layoutlmv2_config)
    : config(layoutlmv2_config),
      pool_height(layoutlmv2_config.image_feature_pool_shape[0]),
      pool_width(layoutlmv2_config.image_feature_pool_shape[1]),
      pixel_mean(loader.place_vector(Tensor::from(config.pixel_mean, {int64_t(config.pixel_mean.size())}))),
      pixel_std(loader.place_vector(Tensor::from(config.pixel_std, {int64_t(config.pixel_std.size())}))) {
  const Weights backbone = w / "backbone", bottom_up = backbone / "bottom_up";
  stem = load_conv2d(loader, bottom_up / "stem" / "conv1", pixel_mean.numel(), config.stem_out_channels, 7, 2);
  const int64_t channels = config.fpn_out_channels;
  for (int64_t i = 0; i < 4; i++) {
    for (int64_t j = 0; j < config.blocks[size_t(i)]; j++)
      stages[size_t(i)].push_back(load_block(loader, bottom_up / kStages[i] / j, config, i, j));
    const Weights lateral = backbone / ("fpn_lateral" + std::to_string(i + 2));
    // Averages are sums of laterals, halved once for each average on the way down; powers of two round nothing.
    const float share = config.average ? std::ldexp(1.0f, -int(std::min<int64_t>(i + 1, 3))) : 1.0f;
    laterals[size_t(i)] =
        pack_convolution(loader.runtime, loader.store,
                         times(lateral.get("weight", {channels, config.res2_out_channels << i, 1, 1}), share),
                         times(lateral.get("bias", {channels}), share));
    const Weights smooth = backbone / ("fpn_output" + std::to_string(i + 2));
    const Tensor weight = smooth.get("weight", {channels, channels, 3, 3}), bias = smooth.get("bias", {channels});
    if (i == 0) output = pack_linear(loader.runtime, loader.store, {channels_last(weight)}, {bias});
  }
}

Tensor LayoutLMv2VisualBackbone::forward(Ctx& ctx, const char* model, const Tensor& image, int64_t batch) const {
  const int64_t channels = pixel_mean.numel();
  if (!image.defined() || image.rank() != 4 || image.size(0) != batch || image.size(1) != channels ||
      (image.dtype() != DType::U8 && image.dtype() != DType::F32))
    throw Error(ErrorCode::invalid_argument, std::string(model) + ": image",
                "expected shape (" + std::to_string(batch) + ", " + std::to_string(channels) +
                    ", height, width) U8 or F32 but got " +
                    (image.defined() ? image.shape().str() + " " + std::string(name_of(image.dtype())) : "nothing"));
  Images images{ctx.bucket_images(batch), image.size(2), image.size(3)};
  for (int64_t side : {images.height, images.width})
    if (!doubles(side))
      throw Error(ErrorCode::invalid_argument, std::string(model) + ": image",
                  "expected height and width of 29 to 32 pixels beyond a multiple of 32, such as 224, but got " +
                      std::to_string(images.height) + " and " + std::to_string(images.width));
  Tensor features = ctx.empty({images.count * pool_height * pool_width, config.fpn_out_channels});
  Ctx::Scope scope(ctx);
  Tensor x = image_rows(ctx, images_to_device(ctx, image), pixel_mean, pixel_std);  // (B · height · width, C)
  x = conv2d(ctx, x, images, stem, &images, {.activation = Activation::relu});      // (B · height/2 · width/2, stem)
  const Window pool{.kernel = 3, .stride = 2, .padding = 1};
  x = max_pool_2d(ctx, x, images, pool, pool, &images);  // (B · height/4 · width/4, stem)
  std::array<Tensor, 4> levels;
  std::array<Images, 4> sizes;
  for (size_t i = 0; i < 4; i++) {
    for (const BottleneckBlock& block : stages[i]) block.forward(ctx, x, images);
    sizes[i] = images;
    levels[i] = conv2d(ctx, x, images, laterals[i], &images);  // (B · height/4/2ⁱ · width/4/2ⁱ, fpn)
  }
  for (size_t i = 3; i > 0; i--) add_upsampled(ctx, levels[i], sizes[i], levels[i - 1]);
  // The mean over a cell of p2, itself a convolution, is that convolution of the means over the cell's windows.
  Tensor means = window_means(ctx, levels[0], sizes[0], /*kernel=*/3, pool_height, pool_width);  // (cells, 9 · fpn)
  linear(ctx, means, output, {.into = &features});
  return features;
}

}  // namespace caracal
