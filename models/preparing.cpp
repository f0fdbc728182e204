#include <caracal/models/preparing.h>

#include <algorithm>
#include <utility>

#include <caracal/runtime/checked.h>
#include <caracal/runtime/runtime.h>

namespace caracal {
namespace {

using Largest = std::function<ModelInputs(int64_t, int64_t)>;
using Use = std::function<bool(const ModelInputs&)>;

// What Ctx::bucket_rows() makes of 1 to `most`, from the largest down.
std::vector<int64_t> buckets(int64_t most) {
  std::vector<int64_t> sizes;
  for (int64_t n = 1; n <= most; n = sizes.back() + 1) sizes.push_back(Ctx::next_bucket(n));
  std::ranges::reverse(sizes);
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
  for (int64_t batch = max_batch; batch >= 1; batch--) {
    if (batch > 1 && seen(batch - 1) == seen(batch)) continue;
    for (int64_t tokens : sizes) {
      if (tokens <= batch) break;
      ModelInputs inputs = largest(tokens - batch, batch);
      leave_tokens(inputs.attention_mask, tokens);
      if (!f(inputs)) return;
    }
  }
}

void sizes_of_sound(const Largest& largest, int64_t max_tokens, int64_t max_batch, const Use& f) {
  constexpr int64_t kParts = 12;                             // finer than Ctx::bucket_part()
  const int64_t least = largest(1, 0).input_values.size(1);  // samples of a frame
  const std::vector<int64_t> sizes = buckets(largest(max_tokens, max_batch).input_values.size(1));
  for (int64_t power = Ctx::next_power(max_batch); power >= 1; power /= 2)
    for (int64_t all : sizes) {
      auto fits = [&](int64_t batch) { return all / batch >= least && Ctx::next_bucket(all / batch * batch) == all; };
      int64_t few = power / 2 + 1, many = std::min(power, max_batch);
      while (few <= many && !fits(few)) few++;
      while (few < many && !fits(many)) many--;
      if (few > many) continue;
      ModelInputs inputs;
      inputs.input_values = Tensor::empty({few, all / few});
      if (!f(inputs)) return;
      for (int64_t batch : {few, many}) {
        const int64_t samples = all / batch;
        inputs.input_values = Tensor::empty({batch, samples});
        for (int64_t part = kParts; max_batch > 1 && part >= 0; part--) {
          int64_t left = batch * (samples - least) * part / kParts;  // behind the first frames, row by row
          inputs.attention_mask = Tensor::zeros({batch, samples}, DType::U8);
          for (int64_t b = 0; b < batch; b++) {
            const int64_t take = std::min(left, samples - least);
            std::fill_n(inputs.attention_mask.data<uint8_t>() + b * samples, least + take, uint8_t(1));
            left -= take;
          }
          if (!f(inputs)) return;
        }
      }
    }
}

void sizes_of_images(const Largest& largest, int64_t max_tokens, int64_t max_batch, const Use& f) {
  ModelInputs inputs = largest(max_tokens, max_batch);
  for (int64_t count = inputs.pixel_values.size(0); count >= 1; count--) {
    inputs.pixel_values = inputs.pixel_values.rows(0, count);
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
