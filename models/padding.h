// Padding at the door of a text model: real tokens in, ragged rows through the layers, padded outputs back.
#pragma once

#include <string_view>

#include <caracal/models/modeling_utils.h>

namespace caracal {

/// An argument of a model, for messages: "[BertModel: input_ids] expected …". Text is made when something is wrong
/// only.
struct ArgumentName {
  std::string_view model, name;
  std::string str() const { return std::string(model) + ": " + std::string(name); }
};

/// A padded batch (B, S) as ragged rows. Tokens whose mask is 0 are dropped, in the middle as at the ends; positions
/// keep their place. With `keep_first`, a masked first token stays as a row that attends without being attended to:
/// what transformers' poolers read.
struct TextBatch {
  int64_t batch = 0, length = 0;  // B, S; `sequences` may have empty ones beyond B, and rows that belong to none
  int64_t past = 0;               // P: positions before the first token, which a cache holds
  Ragged sequences;
  Tensor rows;        // (T) I64: row t is padded position b · S + s
  Tensor first_rows;  // (sequences) I64: row of each one's first token; only with keep_first
};

/// Reads B, S and the mask from `inputs` (input_ids or inputs_embeds). Throws invalid_argument naming `model` when
/// neither or both are given or the mask has another shape. With `past` the mask is (B, past + S), of which the last S
/// columns are these tokens'. The numbers of rows and sequences are rounded up (Ctx::bucket_rows, bucket_batch): rows
/// of no sequence are there to be computed and ignored, with ids that are valid.
TextBatch unpad(Ctx& ctx, std::string_view model, const ModelInputs& inputs, bool keep_first, int64_t past = 0);
/// The rows that a mask (B, length) leaves; an undefined mask leaves all.
TextBatch unpad_mask(Ctx& ctx, const ArgumentName& where, const Tensor& mask, int64_t batch, int64_t length);
/// The same, rounded up as unpad() does: for what the sequences of unpad() attend to.
TextBatch unpad_keys(Ctx& ctx, const ArgumentName& where, const Tensor& mask, int64_t batch, int64_t length);

/// The first lengths[b] I64 of the `length` positions of each of `batch` rows; those behind them are 0. Rows are
/// rounded up to a part of `most` (Ctx::bucket_part).
TextBatch unpad_lengths(Ctx& ctx, const Tensor& lengths, int64_t batch, int64_t length, int64_t most);
/// Sequences, the first `batch` of them and empty ones, that are there with all their rows as the first positions of
/// rows of `length`, of which keys[b] count.
TextBatch padded_at_end(Ctx& ctx, const Ragged& sequences, int64_t batch, int64_t length);
/// Sequences whose rows all count.
Ragged with_all_rows(Ctx& ctx, const Ragged& sequences);

/// Some sequences of a batch and their rows (T, H), which go through all layers before the next ones do.
struct Part {
  Tensor rows;
  Ragged sequences;  // valid in the scope of the workspace that take_sequences() was called in
};
/// The sequences of x (T, H) from `first` on that make up about 200 rows for each thread: what stays in a core's caches
/// from one layer to the next. All of them when the batch is to stay `whole`, as every layer returns something; on a
/// device; and while planning, as they need the most workspace (without prepare() it grows with the largest part).
Part take_sequences(Ctx& ctx, const Tensor& x, const Ragged& sequences, int64_t first, bool whole);

/// (B, choices, S) arguments of multiple choice as (B · choices, S), what is undefined left alone. Throws
/// invalid_argument naming `model` for input_ids or inputs_embeds without the dimension of choices.
ModelInputs flatten_choices(std::string_view model, const ModelInputs& inputs, int64_t* choices);

/// (B, S) arguments as those of multiple choice with one choice, (B, 1, S).
ModelInputs with_one_choice(ModelInputs inputs);

/// Integer argument `ids` (B, S) or (1, S) at the batch's rows, (T) I64. Every id must be in [0, limit). An undefined
/// argument gives `fallback`: zeros, or positions from text.past on.
enum class Fallback { zeros, positions };
Tensor gather_ids(Ctx& ctx, const ArgumentName& where, const Tensor& ids, Fallback fallback, int64_t limit,
                  const TextBatch& text);

/// Boxes (B, S, 4) of integers x0, y0, x1, y1 at the batch's rows -> (6, T) I64: x0, y0, x1, y1, height, width. Throws
/// for a coordinate outside [0, limit), and for a box whose corners are the wrong way round.
Tensor gather_boxes(Ctx& ctx, const ArgumentName& where, const Tensor& boxes, int64_t limit, const TextBatch& text);

/// The embeddings that go into the first layer, before positions are added: rows of `table` (V, H) for input_ids, or
/// inputs_embeds (B, S, H).
Lookup token_embeddings(Ctx& ctx, std::string_view model, const ModelInputs& inputs, const Tensor& table,
                        const TextBatch& text);
/// The rows that these are. -> (T, H)
Tensor embed_tokens(Ctx& ctx, std::string_view model, const ModelInputs& inputs, const Tensor& table,
                    const TextBatch& text);
/// Throws invalid_argument when positions `text.past` + S - 1 and before, which the model is to default, exceed
/// `limit`.
void expect_positions(std::string_view model, const ModelInputs& inputs, const TextBatch& text, int64_t limit);

/// Rows (T, H) back to `out` (B, S, H), 0 where no row belongs.
void pad_rows(Ctx& ctx, const Tensor& x, const TextBatch& text, Tensor& out);
/// Column `column` of rows (T, N) back to `out` (B, S).
void pad_column(Ctx& ctx, const Tensor& x, int64_t column, const TextBatch& text, Tensor& out);

/// Workspace for the softmax weights of attention(): (heads, rows, keys) of each sequence, one after another.
Tensor empty_attentions(Ctx& ctx, int64_t heads, const Ragged& queries, const Ragged& keys);

/// The softmax weights that attention() returned back to `out` (B, heads, S of the queries, S of the keys).
void pad_attentions(Ctx& ctx, const Tensor& probs, int64_t heads, const TextBatch& queries, const TextBatch& keys,
                    Tensor& out);

/// A result in the workspace, copied to the caller's tensor.
void copy_out(Ctx& ctx, const Tensor& x, Tensor& out);
/// The first numbers of it, as a tensor of this shape.
void copy_out(Ctx& ctx, const Tensor& x, const Shape& shape, Tensor& out);
/// A row of each sequence of the batch, to `out` (B, C).
void copy_sequences(Ctx& ctx, const Tensor& x, const TextBatch& text, Tensor& out);

/// Inputs with `max_tokens` tokens in `max_batch` sequences, one of them as long as `max_length` allows: those that
/// need the largest workspace.
ModelInputs largest_text_inputs(int64_t max_tokens, int64_t max_batch, int64_t max_length);

}  // namespace caracal
