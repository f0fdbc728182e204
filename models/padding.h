// Padding at the door of a text model: real tokens in, ragged rows through the layers, padded outputs back.
#pragma once

#include <string_view>

#include <caracal/models/modeling_utils.h>

namespace caracal {

/// A padded batch (B, S) as ragged rows. Tokens whose mask is 0 are dropped, in the middle as at the ends; positions
/// keep their place. With `keep_first`, a masked first token stays as a row that attends without being attended to:
/// what transformers' poolers read.
struct TextBatch {
  int64_t batch = 0, length = 0;  // B, S
  Ragged sequences;
  Tensor rows;        // (T) I64: row t is padded position b · S + s
  Tensor first_rows;  // (B) I64: row of each sequence's first token; only with keep_first
};

/// Reads B, S and the mask from `inputs` (input_ids or inputs_embeds). Throws invalid_argument naming `model` when
/// neither or both are given or the mask has another shape.
TextBatch unpad(Ctx& ctx, std::string_view model, const ModelInputs& inputs, bool keep_first);

/// Integer argument `ids` (B, S) or (1, S) at the batch's rows, (T) I64. Every id must be in [0, limit). An undefined
/// argument gives `fallback`: zeros or positions.
enum class Fallback { zeros, positions };
Tensor gather_ids(Ctx& ctx, std::string_view where, const Tensor& ids, Fallback fallback, int64_t limit,
                  const TextBatch& text);

/// Rows (T, H) back to `out` (B, S, H), 0 where no row belongs.
void pad_rows(Ctx& ctx, const Tensor& x, const TextBatch& text, Tensor& out);

/// Workspace for the softmax weights of attention(): (heads, rows, keys) of each sequence, one after another.
Tensor empty_attentions(Ctx& ctx, int64_t heads, const Ragged& sequences);

/// The softmax weights that attention() returned back to `out` (B, heads, S, S).
void pad_attentions(Ctx& ctx, const Tensor& probs, int64_t heads, const TextBatch& text, Tensor& out);

/// A result in the workspace, copied to the caller's tensor.
void copy_out(Ctx& ctx, const Tensor& x, Tensor& out);

/// Inputs with `max_tokens` tokens in `max_batch` sequences, one of them as long as `max_length` allows: those that
/// need the largest workspace.
ModelInputs largest_text_inputs(int64_t max_tokens, int64_t max_batch, int64_t max_length);

}  // namespace caracal
