// Weights: where a model takes its parameters from. A cursor over dotted names, so that a model file reads
//
//   Weights dense = w / "encoder" / "layer" / i / "output" / "dense";
//   Tensor weight = dense.get("weight", {out, in}), bias = dense.get("bias", {out});
//
// and does not care whether they come from a checkpoint or are drawn at random.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/loaders/checkpoint.h>

namespace caracal {

/// Fresh parameters as transformers initialises them: normal(0, stddev), biases 0, and 1 for the vectors named
/// "weight", which are norms. A value depends only on the seed, the tensor's full name and its index. The normal is
/// approximated by a sum of four uniforms (bounded by 3.46 stddev).
struct RandomInit {
  float stddev = 0.02f;  // config.initializer_range
  uint64_t seed = 0;
};

struct WeightsOptions {
  std::string base_prefix = {};                 // "bert": added or stripped where checkpoint and model differ by it
  std::optional<RandomInit> init_missing = {};  // absent tensors are drawn by get() and listed by missing()
};

/// A prefix into a source of float32 parameters. Cheap to copy; copies share the source and the record of what was
/// read. Not for use by several threads at once.
class Weights {
 public:
  /// Names in a checkpoint match with these differences, as in transformers: LayerNorm.gamma and LayerNorm.beta stand
  /// for LayerNorm.weight and LayerNorm.bias; the base prefix may be there or not.
  explicit Weights(Checkpoint checkpoint, WeightsOptions options = {});
  /// A source without a checkpoint: every tensor exists and is drawn when asked for.
  static Weights random(const RandomInit& init = {});

  /// The cursor one name, or list index, further down.
  Weights operator/(std::string_view part) const;
  Weights operator/(int64_t index) const;
  /// The dotted path so far; empty at the root.
  const std::string& prefix() const noexcept { return prefix_; }

  /// True when the tensor exists; always for a random source.
  bool has(std::string_view name) const;
  /// The float32 tensor prefix.name of exactly this shape: a view of the file where it is stored as aligned F32, else
  /// converted from F16, BF16 or F64. Throws with the full name: not_found, bad_file for another shape or dtype, or for
  /// an absent tensor to draw that is larger than 64 MiB and than four times the checkpoint: its config is not its own.
  Tensor get(std::string_view name, const Shape& shape) const;
  /// The same, but an undefined tensor when there is none (then listed by missing()).
  Tensor get_optional(std::string_view name, const Shape& shape) const;

  /// Checkpoint tensors that nobody asked for, by their names in the file; `position_ids` buffers do not count.
  std::vector<std::string> unread() const;
  /// Full names that were asked for and not found, sorted.
  std::vector<std::string> missing() const;
  /// True when at least one tensor of the checkpoint was read; always for a random source.
  bool found_any() const;

 private:
  struct State;
  Weights(std::shared_ptr<State> state, std::string prefix) : state_(std::move(state)), prefix_(std::move(prefix)) {}
  std::string full_name(std::string_view name) const;

  std::shared_ptr<State> state_;
  std::string prefix_;
};

}  // namespace caracal
