// Weights: where a model takes its parameters from. A cursor over dotted names, so that a model file reads
//
//   Weights dense = w / "encoder" / "layer" / i / "output" / "dense";
//   Tensor weight = dense.get("weight", {out, in}), bias = dense.get("bias", {out});
//
// and does not care whether they come from a checkpoint, are drawn at random or are those of another model. What was
// asked for is recorded: it is the model's state, which save_pretrained writes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/loaders/checkpoint.h>
#include <caracal/runtime/ops.h>

namespace caracal {

/// Fresh parameters as transformers initialises them: normal(0, stddev), biases 0, and 1 for the vectors named
/// "weight", which are norms. A value depends only on the seed, the tensor's full name and its index. The normal is
/// approximated by a sum of four uniforms (bounded by 3.46 stddev).
struct RandomInit {
  float stddev = 0.02f;  // config.initializer_range
  uint64_t seed = 0;
};

/// How one fresh parameter differs from RandomInit's rule.
struct Init {
  enum class Kind {
    by_name,
    sinusoidal,  // row p is sin, cos, … of p / 10000^(2 ⌊j/2⌋ / cols)
    constant,    // value
    normal,      // of standard deviation value
    uniform,     // from low to low + value
  };
  Kind kind = Kind::by_name;
  float value = 0, low = 0;
  int64_t zero_row = -1;  // a row of zeros: torch.nn.Embedding's padding_idx
};

/// One parameter of a model. `load` gives its values as they are stored (dtype and all); nothing is held in memory for
/// it but what the checkpoint maps, and scales.
struct Parameter {
  std::string name;        // in the model: "bert.encoder.layer.0.output.dense.weight"
  std::string saved_name;  // in the files of transformers' save_pretrained, where that differs
  Shape shape;
  DType dtype;
  std::function<Tensor()> load;
};

/// After the name of a matrix in 8 bits, this gives the name of its scales.
inline constexpr const char* kScaleSuffix = "_rotated_scale";

/// A part of stored names and what it is called in the model.
using Rename = std::pair<std::string_view, std::string_view>;

struct WeightsOptions {
  std::string base_prefix = {};                 // "bert": added or stripped where checkpoint and model differ by it
  std::vector<Rename> renames = {};             // applied in order to each stored name, first match each
  std::optional<RandomInit> init_missing = {};  // absent tensors, and those of another shape, are drawn by get()
  std::optional<DType> dtype = {};              // values are rounded to this type, as if it had been stored
  // Bytes read of the checkpoint's; done reaches total with finish().
  std::function<void(uint64_t done, uint64_t total)> progress = {};
};

/// A tensor whose shape in the checkpoint was not the model's.
struct MismatchedKey {
  std::string name;
  std::vector<int64_t> checkpoint_shape;
  Shape model_shape;
  friend bool operator==(const MismatchedKey&, const MismatchedKey&) = default;
};

/// A prefix into a source of float32 parameters. Cheap to copy; copies share the source and the record of what was
/// read. Not for use by several threads at once.
class Weights {
 public:
  /// Names in a checkpoint match with these differences, as in transformers: LayerNorm.gamma and LayerNorm.beta stand
  /// for LayerNorm.weight and LayerNorm.bias, weight_g and weight_v for a weight norm's
  /// parametrizations.weight.original0 and original1; options.renames; the base prefix may be there or not. A tensor
  /// that has the model's name itself goes before one that would be renamed to it. Reads no tensor yet, and
  /// throws nothing but std::bad_alloc.
  explicit Weights(Checkpoint checkpoint, WeightsOptions options = {});
  /// The parameters of another model, by their names there. Calls no load() yet, and throws nothing but
  /// std::bad_alloc.
  explicit Weights(const std::vector<Parameter>& parameters, WeightsOptions options = {});
  /// A source without a checkpoint: every tensor exists and is drawn when asked for. Uses init_missing and dtype.
  static Weights random(WeightsOptions options);
  static Weights random(const RandomInit& init = {}) { return random(WeightsOptions{.init_missing = init}); }

  /// The cursor one name, or list index, further down.
  Weights operator/(std::string_view part) const;
  Weights operator/(int64_t index) const;
  /// The dotted path so far; empty at the root.
  const std::string& prefix() const noexcept { return prefix_; }

  /// True when the tensor exists; always for a random source.
  bool has(std::string_view name) const;
  /// WeightsOptions::dtype.
  std::optional<DType> dtype() const;
  /// The stored shape; empty for an absent tensor and for a random source.
  std::optional<std::vector<int64_t>> stored_shape(std::string_view name) const;
  /// The float32 tensor prefix.name of exactly this shape: a view of the file where it is stored as aligned F32, else
  /// converted from F16, BF16 or F64. Throws with the full name: not_found, bad_file for another dtype, another shape
  /// (with init_missing that is recorded instead), or when what was drawn exceeds 64 MiB and four times the checkpoint:
  /// its config is not its own.
  Tensor get(std::string_view name, const Shape& shape, const Init& init = {}) const;
  /// The same in the dtype in which the parameter is kept: F32, F16, BF16 or F64.
  Tensor get_stored(std::string_view name, const Shape& shape, const Init& init = {}) const;
  /// True when the tensor is stored in 8 bits; get_quantized() looks for its scales.
  bool is_quantized(std::string_view name) const;
  /// The matrix prefix.name (n, k) in 8 bits, and its scales, prefix.name + kScaleSuffix (n, 1): as they are stored,
  /// else rounded from what get() gives. They are two parameters of the model from now on. Throws as get() does, and
  /// bad_file for scales that do not fit, and for a row with NaN or inf, which has none.
  QuantizedWeight get_quantized(const Runtime& runtime, std::string_view name, const Shape& shape,
                                const Init& init = {}) const;
  /// get_stored() of a matrix that may be stored in 8 bits: that gives the numbers the bytes stand for, as F32 or what
  /// options.dtype says, and they are the parameter. Throws as get_quantized() does.
  Tensor get_dequantized(const Runtime& runtime, std::string_view name, const Shape& shape,
                         const Init& init = {}) const;
  /// The caller has copied the tensor and needs the file's pages no more: they leave this process's memory. Does
  /// nothing for a tensor that is tied to another.
  void release(std::string_view name) const;

  /// Puts the tensors of `other`, by the names they have there, in the place of those of the same names or beside them.
  /// To be called before any is asked for.
  void overlay(const Checkpoint& other) const;

  /// Ties two parameters, given by full names, as transformers' tie_weights: from now on `target` is `source`, which
  /// may be stored under either name. When both are stored with different values they are not tied, warnings() says so,
  /// and false is returned. To be called before either is asked for.
  bool tie(const std::string& target, const std::string& source) const;

  /// Stored tensors that nobody asked for, by their names in the file, renamed; `position_ids` buffers do not count.
  std::vector<std::string> unread() const;
  /// Full names that were asked for and not found, sorted.
  std::vector<std::string> missing() const;
  const std::vector<MismatchedKey>& mismatched() const;
  const std::vector<std::string>& warnings() const;
  /// True when at least one stored tensor was read; always for a random source.
  bool found_any() const;
  /// The model goes on reading what get() gave for this name: where that is a view of the file, finish() reads it into
  /// the page cache, so that no call waits for the disk.
  void keep(std::string_view name) const;
  /// Nothing more will be asked for: tensors that nobody did count as done.
  void finish() const;
  /// Everything that was asked for, each once, in that order; of tied ones the source.
  std::vector<Parameter> parameters() const;

 private:
  struct State;
  Weights(std::shared_ptr<State> state, std::string prefix) : state_(std::move(state)), prefix_(std::move(prefix)) {}
  std::string full_name(std::string_view name) const;

  std::shared_ptr<State> state_;
  std::string prefix_;
};

}  // namespace caracal
