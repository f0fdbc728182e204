// Convolutions and group norm.
//
// Activations are channels-last rows, as everywhere else: a sequence of T positions with C channels is (T, C), an image
// is (height · width, C), a row a pixel, left to right, top to bottom. A window of a sequence is then a run of
// consecutive floats, and a convolution a matrix product over runs that overlap.
#pragma once

#include <caracal/runtime/ops.h>

namespace caracal {

/// How a window moves along one axis, in torch's terms. `padding` zeros count at both ends; the last `cut` outputs are
/// dropped.
struct Window {
  int64_t kernel = 1, stride = 1, padding = 0, dilation = 1, cut = 0;
  /// Outputs over n inputs; 0 when the window does not fit.
  int64_t outputs(int64_t n) const;
  /// At least the outputs of `batch` sequences over n inputs in all, however long each is.
  int64_t most_outputs(int64_t n, int64_t batch) const;
};

/// A torch.nn.Conv1d or Conv2d whose weight was rearranged for the runtime's kernels. Conv1d moves along x only.
struct Convolution {
  int64_t in_channels = 0, out_channels = 0, groups = 1;
  Window y, x;
  std::shared_ptr<void> packed;  // groups matrices (out_channels / groups, kernel_y · kernel_x · in_channels / groups)
  Tensor bias;                   // (out_channels), or undefined
  Device device = {};            // where `packed` is, and x must be
};

struct ConvolutionShape {
  int64_t groups = 1;
  Window y = {}, x = {};  // their kernels are the weight's
};

/// Packs a weight (out, in / groups, kernel_y, kernel_x) or (out, in / groups, kernel_x) and a bias (out), which may be
/// undefined. Memory comes from `store`. Throws when the shapes do not fit, or for a stride or dilation below 1.
Convolution pack_convolution(const Runtime& runtime, WeightStore& store, const Tensor& weight, const Tensor& bias,
                             const ConvolutionShape& shape = {});

/// A batch of images of one size as rows (count · height · width, C).
struct Images {
  int64_t count = 0, height = 0, width = 0;
  int64_t pixels() const { return height * width; }
};

struct ConvolutionOptions {
  Activation activation = Activation::none;
  const Tensor* residual = nullptr;  // of the output's shape, added after the activation
  bool residual_first = false;       // or before it
  Tensor* into = nullptr;            // receives the result, of the output's shape; may be the residual
};

/// x (count · height · width, in_channels) -> (count · out_height · out_width, out_channels); `out` receives the sizes.
Tensor conv2d(Ctx& ctx, const Tensor& x, Images images, const Convolution& weights, Images* out,
              const ConvolutionOptions& options = {});
/// Each sequence by itself: the first keys[b] rows from offsets[b] of x (T, in_channels). `out` receives the sequences
/// of the result (T', out_channels), whose offsets live in the workspace.
Tensor conv1d(Ctx& ctx, const Tensor& x, const Ragged& sequences, const Convolution& weights, Ragged* out,
              const ConvolutionOptions& options = {});
/// The sequences that a window makes of these, as conv1d gives them. On a device there are rows of no sequence behind
/// them: how many rows there are depends on the sum of the lengths, not on each.
Ragged convolved(Ctx& ctx, const Ragged& sequences, const Window& window);

/// A torch.nn.GroupNorm.
struct GroupNorm {
  Tensor weight, bias;  // (C)
  int64_t groups = 1;
  float eps = 1e-5f;
};

/// Normalises the first keys[b] rows of each sequence (a sequence of positions, or an image's pixels) over its rows and
/// the channels of each group, in place; then the activation. x (T, C).
void group_norm(Ctx& ctx, Tensor& x, const Ragged& sequences, const GroupNorm& weights,
                Activation activation = Activation::none);

/// A torch.nn.Conv1d over one channel whose outputs are normalised over time, channel by channel; its bias would go
/// with the mean.
struct NormalizedConv1d {
  Tensor weight;  // (C, kernel)
  Window window;
  GroupNorm norm;  // of as many groups as channels
};
/// act(norm(conv(x))) of each sequence, x (N, 1) -> (T, C): mean and variance of a channel follow from those of the
/// windows, so that the norm becomes part of the weights and the outputs are written once, finished.
Tensor normalized_conv1d(Ctx& ctx, const Tensor& x, const Ragged& sequences, const NormalizedConv1d& weights,
                         Activation activation, Ragged* out);

/// torch.nn.functional.glu over the channels: (T, 2C) -> (T, C), the first half times the sigmoid of the second.
Tensor glu(Ctx& ctx, const Tensor& x);

}  // namespace caracal
