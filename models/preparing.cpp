#include <caracal/models/preparing.h>

#include <algorithm>
#include <utility>

#include <caracal/runtime/checked.h>
#include <caracal/runtime/runtime.h>

namespace caracal {
namespace {

using Largest = std::function<ModelInputs(int64_t, int64_t)>;
using Use = std::function<bool(const ModelInputs&)>;

// What Ctx::bucket_rows() makes of 1 to `most`.
std::vector<int64_t> buckets(int64_t most) {
  std::vector<int64_t> sizes;
  for (int64_t n = 1; n <= most; n = sizes.back() + 1) sizes.push_back(Ctx::next_bucket(n));
  return sizes;
}

// Has a mask of zeros and ones leave `tokens` tokens, one at least of each row.
void leave_tokens(Tensor& mask, int64_t tokens) {
  uint8_t* counts = mask.data<uint8_t>();
  const int64_t rows = mask.size(0), length = mask.numel() / rows;
  for (int64_t b = 0; b < rows; b++) {
    const int64_t take = std::clamp<int64_t>(tokens - (rows - 1 - b), 1, length);
    for (int64_t s = 0; s < length; s++) counts[b * length + s] = s < take;
    tokens -= take;
  }
}

void sizes_of_text(const Largest& largest, int64_t max_tokens, int64_t max_batch, const Use& f) {
  const ModelInputs most = largest(max_tokens, max_batch);
  // A masked first token in each sequence counts.
  const std::vector<int64_t> sizes = buckets(std::min(checked_add(max_tokens, max_batch, "prepare"),
                                                      checked_add(most.attention_mask.numel(), max_batch, "prepare")));
  auto seen = [&](int64_t batch) {  // what launches see of it
    return std::pair(Ctx::next_power(batch), most.image.defined() ? Ctx::next_half_power(batch) : 0);
  };
  for (int64_t tokens : sizes)
    for (int64_t batch = 1; batch <= max_batch && batch < tokens; batch++) {
      if (batch > 1 && seen(batch - 1) == seen(batch)) continue;
      ModelInputs inputs = largest(tokens - batch, batch);
      leave_tokens(inputs.attention_mask, tokens);
      if (!f(inputs)) return;
    }
}

// A mask (batch, samples) that leaves so many frames, one at least of each row and the others of the first rows.
Tensor leave_frames(int64_t batch, int64_t samples, int64_t frames, int64_t least, int64_t stride) {
  Tensor mask = Tensor::zeros({batch, samples}, DType::U8);
  const int64_t whole = (samples - least) / stride;  // frames behind the first one
  frames -= batch;
  for (int64_t b = 0; b < batch; b++) {
    const int64_t more = std::min(frames, whole);
    std::fill_n(mask.data<uint8_t>() + b * samples, least + more * stride, uint8_t(1));
    frames -= more;
  }
  return mask;
}

void sizes_of_sound(const Largest& largest, int64_t max_tokens, int64_t max_batch, const Use& f) {
  constexpr int64_t kParts = 12;  // finer than Ctx::bucket_part()
  const bool masks = max_batch > 1;
  max_batch = std::min(max_batch, max_tokens);  // each has a frame
  auto most_samples = [&](int64_t frames, int64_t batch) { return largest(frames, batch).input_values.size(1); };
  // Of a frame: the samples between two, and the fewest of one.
  const int64_t stride = most_samples(2, 1) - most_samples(1, 1), least = most_samples(1, 1) - (stride - 1);
  for (int64_t all : buckets(most_samples(max_tokens, max_batch)))
    for (int64_t power = 1; power < 2 * max_batch; power *= 2) {
      // The most frames that so many utterances have with `all` samples in all, rounded up; 0: they cannot have them.
      auto frames = [&](int64_t batch) {
        const int64_t each = all / batch;
        return each < least || Ctx::next_bucket(each * batch) != all ? 0 : batch * ((each - least) / stride + 1);
      };
      int64_t few = 0, most = 0;  // utterances, frames
      for (int64_t batch = power / 2 + 1; batch <= std::min(power, max_batch); batch++) {
        if (few == 0 && frames(batch) > 0) few = batch;
        most = std::max(most, frames(batch));
      }
      if (few == 0) continue;
      ModelInputs inputs;
      inputs.input_values = Tensor::empty({few, all / few});
      if (!f(inputs)) return;
      // What masks leave: from one frame of each of the fewest utterances to all of those that have most.
      for (int64_t left = few; masks; left = std::min(most, left + std::max<int64_t>(1, most / kParts))) {
        int64_t batch = few;
        while (batch <= left && left > frames(batch)) batch++;
        if (batch <= std::min({left, power, max_batch})) {
          inputs.input_values = Tensor::empty({batch, all / batch});
          inputs.attention_mask = leave_frames(batch, all / batch, left, least, stride);
          if (!f(inputs)) return;
        }
        if (left == most) break;
      }
    }
}

void sizes_of_images(const Largest& largest, int64_t max_tokens, int64_t max_batch, const Use& f) {
  const Tensor most = largest(max_tokens, max_batch).pixel_values;
  ModelInputs inputs;
  for (int64_t count = 1; count <= most.size(0); count++) {
    inputs.pixel_values = most.rows(0, count);
    if (!f(inputs)) return;
  }
}

}  // namespace

void for_each_size(const Largest& largest, int64_t max_tokens, int64_t max_batch, const Use& f) {
  const ModelInputs most = largest(max_tokens, max_batch);
  if (most.input_ids.defined() && most.attention_mask.defined())
    sizes_of_text(largest, max_tokens, max_batch, f);
  else if (most.input_values.defined())
    sizes_of_sound(largest, max_tokens, max_batch, f);
  else if (most.pixel_values.defined())
    sizes_of_images(largest, max_tokens, max_batch, f);
  else
    f(most);
}

}  // namespace caracal
