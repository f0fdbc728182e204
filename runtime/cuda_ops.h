// The ops on a CUDA device: what ops.h, convolution.h and feature_maps.h declare, once arguments were checked there.
// They note launches (CudaWorkspace). Not for anyone else.
#pragma once

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/runtime/feature_maps.h>
#include <caracal/runtime/ops.h>

namespace caracal::cuda_ops {

/// Of F32, F16 and BF16.
kernels::cuda::Type type_of(DType dtype);

Tensor linear(Ctx& ctx, const Tensor& x, const Linear& weights, const LinearOptions& options);
Tensor attention(Ctx& ctx, const Tensor& x, const Ragged& sequences, const AttentionOptions& options, int64_t width);
Tensor relative_bias(Ctx& ctx, const Ragged& sequences, std::span<const RelativePositions> terms, int64_t most_rows);
void layer_norm(Ctx& ctx, const Tensor& x, const LayerNorm& weights, Tensor& out, Activation activation);
Tensor embedding_norm(Ctx& ctx, std::initializer_list<Lookup> parts, const LayerNorm& weights);
/// Rows of the table, written or added to columns column … of out, which is `width` wide.
void embedding(Ctx& ctx, const Tensor& ids, const Tensor& table, Tensor& out, int64_t column, bool accumulate);
void scatter_rows(Ctx& ctx, const Tensor& x, const Tensor& index, Tensor& out);
void clear_behind_keys(Ctx& ctx, const Ragged& sequences, Tensor& x);
/// x to columns column … of out.
void copy_matrix(Ctx& ctx, const Tensor& x, Tensor& out, int64_t column);
void pool(Ctx& ctx, const Tensor& x, const Ragged& sequences, kernels::cuda::PoolKind kind, Tensor& out);
void l2_normalize(Ctx& ctx, Tensor& x, float eps);
void add_scaled(Ctx& ctx, const Tensor& x, float scale, Tensor& onto);
Tensor argmax(Ctx& ctx, const Tensor& x, int64_t groups);
void gather_parts(Ctx& ctx, const Tensor& table, const Tensor& codes, int64_t groups, Tensor& out);
Tensor cumulative_sum(Ctx& ctx, const Tensor& x);
void prepend_token(Ctx& ctx, const Tensor& token, const Tensor& x, const Tensor& positions, Tensor& out);
/// As a tensor of this shape, of which x is the beginning.
Tensor to_device(Ctx& ctx, const Tensor& x, const Shape& shape, bool convert);

/// Images, where `to` is not null; else sequences, `out_sequences` those of the result.
void convolution(Ctx& ctx, const Tensor& x, const Convolution& weights, const Images* images, const Images* to,
                 const Ragged* sequences, const Ragged* out_sequences, const ConvolutionOptions& options, Tensor& out);
void group_norm(Ctx& ctx, Tensor& x, const Ragged& sequences, const GroupNorm& weights, Activation activation);
void normalized_conv1d(Ctx& ctx, const Tensor& x, const Ragged& sequences, const Ragged& to,
                       const NormalizedConv1d& weights, Activation activation, Tensor& out);
void glu(Ctx& ctx, const Tensor& x, Tensor& out);

void image_patches(Ctx& ctx, const Tensor& images, int64_t patch_height, int64_t patch_width, Tensor& out);
void pixel_shuffle(Ctx& ctx, const Tensor& x, int64_t height, int64_t width, int64_t factor, Tensor& out);
void interpolate_bicubic(Ctx& ctx, const Tensor& grid, int64_t height, int64_t width, int64_t out_height,
                         int64_t out_width, Tensor& out);
void pool_2d(Ctx& ctx, const Tensor& x, Images images, const Window& y, const Window& x_window, Images to, bool most,
             Tensor& out);
void window_means(Ctx& ctx, const Tensor& x, Images images, int64_t kernel, int64_t out_height, int64_t out_width,
                  Tensor& out);
void image_rows(Ctx& ctx, const Tensor& images, const Tensor& mean, const Tensor& deviation, Tensor& out);
void add_upsampled(Ctx& ctx, const Tensor& x, const Images& images, Tensor& onto);

}  // namespace caracal::cuda_ops
