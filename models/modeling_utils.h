// PreTrainedModel: what all models share. Also their inputs and the options of loading and running them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <caracal/loaders/weights.h>
#include <caracal/models/configuration_utils.h>
#include <caracal/models/modeling_outputs.h>
#include <caracal/runtime/ops.h>

namespace caracal {

class BatchEncoding;

/// The arguments of a model's forward, under transformers' names; leave out what the model should default. B batch,
/// S tokens; (1, S) serves all rows. Integer arguments may be of any integer type, masks also BOOL or F32.
struct ModelInputs {
  Tensor input_ids;       // (B, S)
  Tensor attention_mask;  // (B, S), not 0 where a token counts; default: everywhere
  Tensor token_type_ids;  // (B, S); default 0
  Tensor position_ids;    // (B, S); default 0, 1, … S - 1
  Tensor inputs_embeds;   // (B, S, H) F32, in place of input_ids

  ModelInputs() = default;
  /// What a tokenizer returned. Rows of different lengths are padded and masked: padding costs nothing and changes
  /// nothing.
  ModelInputs(const BatchEncoding& encoding);

  /// Sets an argument by name; throws invalid_argument for a name no model has.
  void set(const std::string& name, Tensor value);
};

struct ForwardOptions {
  bool output_hidden_states = false;
  bool output_attentions = false;
};

/// Options of PreTrainedModel::prepare.
struct PrepareOptions {
  int callers = 1;              // threads that will call at the same time: a workspace for each
  ForwardOptions forward = {};  // what those calls will ask for
};

/// Options of from_pretrained.
struct LoadOptions {
  Json config = {};                       // overrides of configuration attributes: {{"num_labels", 3}}
  std::string subfolder = {};             // of the checkpoint directory
  std::string variant = {};               // "fp16" for model.fp16.safetensors
  Access access = Access::map;            // `read` copies the weights first: survives truncation of the file by others
  std::shared_ptr<Runtime> runtime = {};  // where to run; default: one of its own, on all CPUs the process may use
  bool add_pooling_layer = true;          // base models: build the pooler
};

/// How a checkpoint's tensors and the model's weights matched; names are the checkpoint's.
struct LoadingInfo {
  std::vector<std::string> missing_keys;     // freshly initialised, as transformers does
  std::vector<std::string> unexpected_keys;  // in the checkpoint, unused
};

/// A loaded model: immutable, and safe to call from many threads at once. Each concurrent call works in a workspace of
/// its own that is kept for later calls.
class PreTrainedModel {
 public:
  virtual ~PreTrainedModel() = default;

  /// Runs the model. Throws invalid_argument before any work when an argument does not fit.
  ModelOutput operator()(const ModelInputs& inputs, const ForwardOptions& options = {}) const;
  /// The same into `output`, whose tensors are reused: in steady state nothing is allocated.
  void forward(const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options = {}) const;
  /// Makes workspaces large enough for calls of up to `max_tokens` real tokens in up to `max_batch` sequences, so that
  /// no later call within these bounds allocates one. Loading does so for one sequence of up to 512 tokens. Throws
  /// invalid_argument for bounds below 1.
  void prepare(int64_t max_tokens, int64_t max_batch = 1, const PrepareOptions& options = {}) const;

  /// "BertModel".
  virtual const char* class_name() const = 0;
  virtual const PretrainedConfig& config() const = 0;
  const Runtime& runtime() const noexcept { return *runtime_; }
  const LoadingInfo& loading_info() const noexcept { return loading_info_; }
  void set_loading_info(LoadingInfo info) { loading_info_ = std::move(info); }

 protected:
  explicit PreTrainedModel(std::shared_ptr<Runtime> runtime);
  PreTrainedModel(PreTrainedModel&&) = default;

  /// The forward pass. While ctx.planning() only workspace is taken: outputs and pointers into it are not touched.
  virtual void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const = 0;
  /// Inputs that need the largest workspace among those prepare() allows.
  virtual ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const = 0;

 private:
  ForwardOptions with_defaults(ForwardOptions options) const;

  LoadingInfo loading_info_;
  std::shared_ptr<Runtime> runtime_;
  std::unique_ptr<ArenaPool> workspaces_;
};

/// The calls that loading prepares a workspace for: one sequence of up to so many tokens.
inline constexpr int64_t kPreparedTokens = 512;

/// The checkpoint directory of `path` with the subfolder; throws not_found when it is not there.
std::string checkpoint_directory(const std::string& path, const std::string& subfolder);
/// The weights in `directory` for a model whose names may carry `base_prefix`.
Weights open_weights(const std::string& directory, const LoadOptions& options, const char* base_prefix,
                     double initializer_range);
/// What `w` was asked for and did not have, and the reverse. Throws bad_file when `w` had nothing that was asked for.
LoadingInfo loading_info_of(const Weights& w, const std::string& path);

/// Loads a model class from a checkpoint directory: configuration, weights, constructor. Weights that the checkpoint
/// lacks are drawn at random as in transformers and listed in loading_info(); throws bad_file when it has none of them.
template <class Model>
Model load_pretrained(const std::string& path, const LoadOptions& options) {
  const std::string directory = checkpoint_directory(path, options.subfolder);
  const auto config = Model::Config::from_pretrained(directory, options.config);
  const Weights weights = open_weights(directory, options, Model::kBaseModelPrefix, config.initializer_range);
  Model model(config, weights, options);
  model.set_loading_info(loading_info_of(weights, directory));
  model.prepare(kPreparedTokens);
  return model;
}

}  // namespace caracal
