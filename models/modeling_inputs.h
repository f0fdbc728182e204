// What a model's forward takes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/runtime/tensor.h>

namespace caracal {

class BatchEncoding;

/// What a decoder layer keeps from one call to the next, as in transformers' DynamicCache and EncoderDecoderCache: the
/// keys and values of the P tokens so far, and with cross-attention those of the encoder's E tokens.
struct CacheLayer {
  Tensor keys, values;              // (B, heads, P, head_dim) F32
  Tensor cross_keys, cross_values;  // (B, heads, E, head_dim) F32, or undefined
};

/// The arguments of a model's forward, under transformers' names; leave out what the model should default. As there, a
/// model ignores those it has no use for. B batch, S tokens; (1, S) serves all rows. Integer arguments may be of any
/// integer type, masks also BOOL or F32.
struct ModelInputs {
  Tensor input_ids;       // (B, S); multiple choice: (B, choices, S), and the next four alike
  Tensor attention_mask;  // (B, S), not 0 where a token counts; default: everywhere. With a cache: (B, P + S)
  Tensor token_type_ids;  // (B, S); default 0
  Tensor position_ids;    // (B, S); default P, P + 1, … with P = 0 without a cache
  Tensor inputs_embeds;   // (B, S, H) F32, in place of input_ids

  Tensor encoder_hidden_states;             // (B, E, H) F32: what a decoder's cross-attention attends to
  Tensor encoder_attention_mask;            // (B, E); default: everywhere
  std::vector<CacheLayer> past_key_values;  // one per layer: ModelOutput::past_key_values of the call before

  Tensor pixel_values;     // (B, C, height, width) F32
  Tensor bool_masked_pos;  // (B, patches): patches to replace by the mask token

  Tensor input_values;  // (B, N) F32: samples of audio; attention_mask is then (B, N), of which each row's sum counts
  Tensor mask_time_indices;  // (B, frames): frames to replace by the mask vector

  Tensor bbox;   // (B, S, 4) integers: x0, y0, x1, y1 of each token on a page of 1000 by 1000
  Tensor image;  // (B, C, height, width) U8 or F32, 0 to 255, blue first: the pages

  ModelInputs() = default;
  /// What a tokenizer returned. Rows of different lengths are padded and masked: padding costs nothing and changes
  /// nothing.
  ModelInputs(const BatchEncoding& encoding);

  /// Sets an argument by name; those of a cache are "past_key_values.0.keys", "….values", "….cross_keys" and
  /// "….cross_values". Throws invalid_argument for a name no model has.
  void set(const std::string& name, Tensor value);
};

/// Options of one forward call.
struct ForwardOptions {
  bool output_hidden_states = false;
  bool output_attentions = false;
  std::optional<bool> use_cache = {};     // decoders: return past_key_values; default: the configuration's
  bool interpolate_pos_encoding = false;  // vision: take images of another size than the configuration's
  /// Audio: each utterance of the batch gives bit for bit what it gives alone. Samples that attention_mask masks, which
  /// must be at the end, are cut off instead of computed. transformers has no such mode: where it normalises over time
  /// (feat_extract_norm "group") or convolves past the end, its results depend on the padding.
  bool per_utterance = false;
  /// CUDA: the stream (a cudaStream_t of the primary context of the model's device, no green context's; the default one
  /// is cudaStreamLegacy) that the call's work goes to; null: RuntimeOptions::cuda_stream, else a stream of the
  /// library's. The work begins after all that was put on it before, and what is put on it later begins after the work.
  /// Results are the CPU's, so that the call waits for the stream before it returns; inputs and outputs need no event.
  /// The stream must live that long, and not be under capture. Threads may share one, and then run one after another;
  /// with one each they overlap. Throws invalid_argument where there is no device, or for a stream of another device or
  /// context or one under capture.
  void* cuda_stream = nullptr;
};

}  // namespace caracal
