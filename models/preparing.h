// The sizes of calls that a device tells apart: prepare() captures a graph of each.
#pragma once

#include <functional>

#include <caracal/models/modeling_inputs.h>

namespace caracal {

/// Calls f with inputs of every size that calls of up to `max_tokens` tokens in up to `max_batch` sequences may have on
/// a device, the smallest first, as Ctx::bucket_rows() and its kin round them: text and pages by tokens and sequences,
/// images by their number, sound by samples, utterances and, for max_batch above 1, how much a mask leaves.
/// `largest` is PreTrainedModel::largest_inputs, of sound one row of samples. f returns false when it has enough.
void for_each_size(const std::function<ModelInputs(int64_t max_tokens, int64_t max_batch)>& largest, int64_t max_tokens,
                   int64_t max_batch, const std::function<bool(const ModelInputs&)>& f);

}  // namespace caracal
