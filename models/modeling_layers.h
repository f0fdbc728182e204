// Loading of the layers that every architecture is built from, and what heads have in common.
#pragma once

#include <caracal/loaders/weights.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/runtime/feature_maps.h>
#include <caracal/runtime/ops.h>

namespace caracal {

/// torch.nn.Linear at `w`: weight (out, in) and, if asked for, bias (out).
Linear load_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features, bool bias = true);
/// The same, drawn where it is missing as torch.nn.Linear itself does: uniform within 1 / √in_features.
Linear load_uniform_linear(const Loader& loader, const Weights& w, int64_t in_features, int64_t out_features);

/// The weight of the torch.nn.Linear at `w`, and the bias that `bias` gives once the weight was read.
Linear load_linear_with(const std::function<Tensor()>& bias, const Loader& loader, const Weights& w,
                        int64_t in_features, int64_t out_features);

/// Several torch.nn.Linear over the same input, stacked into one product: query, key and value. out_features is that of
/// each.
Linear load_stacked_linear(const Loader& loader, const std::vector<Weights>& ws, int64_t in_features,
                           int64_t out_features, bool bias = true);

/// torch.nn.Conv2d at `w` whose stride is its kernel, as a product over the rows of image_patches(): weight (out, in,
/// height, width), bias (out).
Linear load_patch_convolution(const Loader& loader, const Weights& w, int64_t in_channels, int64_t out_channels,
                              int64_t height, int64_t width);

/// torch.nn.Conv1d or Conv2d at `w`: weight (out, in / groups, kernel…) of one or two dimensions and, if asked for,
/// bias (out).
Convolution load_convolution(const Loader& loader, const Weights& w, int64_t in_channels, int64_t out_channels,
                             std::initializer_list<int64_t> kernel, const ConvolutionShape& shape, bool bias = true,
                             const Init& weight_init = {}, const Init& bias_init = {});
/// A convolution at `w` and the frozen batch norm after it at `norm` (weight, bias, running_mean, running_var), folded
/// into one.
Convolution load_normalized_convolution(const Loader& loader, const Weights& w, const Weights& norm,
                                        int64_t in_channels, int64_t out_channels,
                                        std::initializer_list<int64_t> kernel, const ConvolutionShape& shape,
                                        bool bias = false, double eps = 1e-5);

/// torch.nn.Embedding at `w`: weight (rows, cols), a view of the file where it is float32, which is in the page
/// cache when loading has finished.
Tensor load_embedding(const Weights& w, int64_t rows, int64_t cols, const Init& init = {});
/// The same where ops read it (Loader::place).
Tensor load_embedding(const Loader& loader, const Weights& w, int64_t rows, int64_t cols, const Init& init = {});
/// The Init of an embedding whose padding_idx is this pad_token_id (an integer or null).
Init with_padding_row(const Json& pad_token_id);

/// torch.nn.LayerNorm at `w`: weight and bias (size).
LayerNorm load_layer_norm(const Loader& loader, const Weights& w, int64_t size, double eps);

/// The attention heads of a layer, `query` being its query projection: all of them, or those that config.pruned_heads
/// leaves where the stored weights are those of a pruned layer.
int64_t count_heads(const Weights& query, const PretrainedConfig& config, int64_t layer, int64_t heads,
                    int64_t head_dim);

/// Throw invalid_argument, naming the class and field, unless value is a positive 32-bit number; unless 0 to 10000.
void expect_positive(const PretrainedConfig& config, const char* field, int64_t value);
void expect_layer_count(const PretrainedConfig& config, const char* field, int64_t value);
/// num_labels of a classification head; throws invalid_argument when it is 0.
int64_t label_count(const PretrainedConfig& config);
/// 2, the labels of a question-answering head: start and end; throws invalid_argument when num_labels is another.
int64_t two_labels(const PretrainedConfig& config);

}  // namespace caracal
