// PreTrainedModel: what all models share: loading, running, saving, resizing. Also the options of loading them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <caracal/loaders/weights.h>
#include <caracal/models/configuration_utils.h>
#include <caracal/models/loading_info.h>
#include <caracal/models/modeling_inputs.h>
#include <caracal/models/modeling_outputs.h>
#include <caracal/runtime/ops.h>

namespace caracal {

class CudaWorkspacePool;

/// Options of PreTrainedModel::prepare.
struct PrepareOptions {
  int callers = 1;              // threads that will call at the same time: a workspace for each
  ForwardOptions forward = {};  // what those calls will ask for
};

/// The configuration to load a model with: overrides of the checkpoint's own, or a whole configuration in its place, as
/// transformers' config=.
class ConfigArgument {
 public:
  ConfigArgument() = default;
  ConfigArgument(std::initializer_list<Json::Member> overrides) : overrides_(Json::Object(overrides)) {}
  ConfigArgument(Json overrides) : overrides_(std::move(overrides)) {}
  ConfigArgument(const PretrainedConfig& whole) : whole_(whole.clone()) {}
  ConfigArgument(std::shared_ptr<const PretrainedConfig> whole) : whole_(std::move(whole)) {}

  const Json& overrides() const noexcept { return overrides_; }
  /// Null when there are overrides only.
  const std::shared_ptr<const PretrainedConfig>& whole() const noexcept { return whole_; }

 private:
  Json overrides_;
  std::shared_ptr<const PretrainedConfig> whole_;
};

/// Options of from_pretrained and from_config.
struct LoadOptions {
  ConfigArgument config = {};  // {{"num_labels", 3}}, or a configuration object
  std::string subfolder = {};  // of the checkpoint directory or repository
  std::string variant = {};    // "fp16" for model.fp16.safetensors
  /// What parameters are rounded to and saved as: "float32", "float16", "bfloat16", "float64"; auto: the
  /// configuration's dtype, else the checkpoint's first floating type. 16-bit matrices stay in 16 bits and are
  /// multiplied in float32, whatever auto chose; "bfloat16" also rounds what the encoder's layers multiply them with.
  /// "int8" rounds the matrices of the encoder's layers to 8 bits, and leaves all else as auto does. Matrices that are
  /// stored in 8 bits stay so with auto and int8; otherwise they become the numbers that they stand for.
  /// On a CUDA device activations are in these numbers too, vectors and sums in float32; it has no int8.
  std::string dtype = "auto";
  bool ignore_mismatched_sizes = false;   // draw parameters of another shape anew, instead of an error
  Access access = Access::map;            // `read` copies the weights first: survives truncation of the file by others
  std::shared_ptr<Runtime> runtime = {};  // where to run; default: one of its own, on all CPUs the process may use
  bool add_pooling_layer = true;          // base models: build the pooler
  bool use_mask_token = false;            // ViTModel: have a mask token, for bool_masked_pos
  std::string target_lang = {};           // Wav2Vec2ForCTC: attention adapters and head of adapter.<lang>.safetensors
  uint64_t seed = 0;                      // of the parameters that are drawn
  std::function<void(uint64_t done, uint64_t total)> progress = {};  // bytes of the checkpoint dealt with
  // Of a name of the hub: see HubOptions.
  std::string revision = {}, cache_dir = {}, token = {};
  bool local_files_only = false, force_download = false;
};

/// Options of save_pretrained.
struct SaveOptions {
  uint64_t max_shard_size = 50'000'000'000;  // bytes; a larger parameter gets a shard of its own
  std::string variant = {};                  // "fp16" writes model.fp16.safetensors
};

/// Bytes of a size as transformers writes it: "500MB", "5GiB", "123456". Throws invalid_argument.
uint64_t parse_size(const std::string& text);

/// A loaded model. Running it changes nothing and is safe from many threads at once; each concurrent call works in a
/// workspace of its own that is kept for later calls. resize_token_embeddings and prune_heads change it: not while
/// others call.
class PreTrainedModel {
 public:
  virtual ~PreTrainedModel() = default;

  /// Runs the model. Throws invalid_argument before any work when an argument does not fit.
  ModelOutput operator()(const ModelInputs& inputs, const ForwardOptions& options = {}) const;
  /// The same into `output`, whose tensors are reused: in steady state nothing is allocated.
  void forward(const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options = {}) const;
  /// Makes workspaces large enough for calls of up to `max_tokens` real tokens in up to `max_batch` sequences (images
  /// of the configuration's size count as their patches), so that no later call within these bounds allocates one.
  /// Encoder states, caches and images of other sizes are not planned for: the first calls with them grow the
  /// workspace. Loading prepares for one sequence of up to 512 tokens. On a CUDA device it also captures the graphs
  /// that calls within these bounds launch (samples of audio count as their frames, padding included; masks of audio
  /// for max_batch above 1), of text unless they ask for attentions. A workspace keeps 1024 graphs: where the bounds
  /// have more sizes, the smallest are covered (fewest tokens first, then fewest sequences), and a call of a larger one
  /// captures its graph in the place of the largest that no call has used. Throws invalid_argument for bounds below 1,
  /// and io for a graph that cannot be captured, where calls go on without. Loading logs that instead, as do both for a
  /// driver that captures nothing.
  void prepare(int64_t max_tokens, int64_t max_batch = 1, const PrepareOptions& options = {}) const;

  /// Writes config.json and model.safetensors, or shards and their index, that transformers loads; but a model with
  /// matrices in 8 bits it refuses, by what config.json says of them. Throws io, not_found or invalid_argument.
  void save_pretrained(const std::string& directory, const SaveOptions& options = {}) const;
  /// Every parameter, in the order of construction, of tied ones the source; see Parameter.
  const std::vector<Parameter>& parameters() const noexcept { return parameters_; }
  /// Numbers in all of them, but for scales: those of the model in float32.
  int64_t num_parameters() const;

  /// Gives the input embeddings (and a language model's head) `rows` rows, or the next multiple of
  /// `pad_to_multiple_of`, and sets config.vocab_size. New rows are the mean of the old ones, the centre of what
  /// transformers draws with mean_resizing=True. Throws unsupported for a model without a vocabulary.
  void resize_token_embeddings(int64_t rows, int64_t pad_to_multiple_of = 1);
  /// Removes attention heads, numbered as in the unpruned layer: {{layer, {head, head}}}. Their parameters are gone and
  /// config.pruned_heads lists them, as in transformers 4; transformers 5 has no head pruning and refuses such a
  /// checkpoint. Throws invalid_argument for a head or layer that is not there, or when no head would be left.
  void prune_heads(const std::map<int64_t, std::set<int64_t>>& heads);

  /// "BertModel".
  virtual const char* class_name() const = 0;
  virtual const PretrainedConfig& config() const = 0;
  const Runtime& runtime() const noexcept { return *load_options_.runtime; }
  const LoadingInfo& loading_info() const noexcept { return loading_info_; }

 protected:
  /// The prefixes of a layer's query, key and value, and of what multiplies the heads' output.
  struct AttentionNames {
    std::vector<std::string> projections;
    std::string output;
    int64_t head_dim = 0;
  };

  PreTrainedModel(const LoadOptions& options, const PretrainedConfig& config);
  PreTrainedModel(PreTrainedModel&&) = default;
  PreTrainedModel& operator=(PreTrainedModel&&) = default;

  /// The forward pass. While ctx.planning() only workspace is taken: outputs and pointers into it are not touched.
  virtual void run(Ctx& ctx, const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const = 0;
  /// Inputs that need the largest workspace among those prepare() allows: of text, with a mask.
  virtual ModelInputs largest_inputs(int64_t max_tokens, int64_t max_batch) const = 0;

  virtual PretrainedConfig& mutable_config() = 0;
  /// Builds the model anew, in place, from these parameters and the configuration as it now is.
  virtual void rebuild(const std::vector<Parameter>& parameters) = 0;
  /// Ends of the names of parameters with a row for each token of the vocabulary.
  virtual std::span<const char* const> vocabulary_parameters() const { return {}; }
  /// True for a language model: save_pretrained writes a generation_config.json.
  virtual bool can_generate() const { return false; }
  /// Empty for a model whose heads cannot be pruned.
  virtual AttentionNames attention_names(int64_t) const { return {}; }

  /// What follows construction: what `w` had and lacked, dtype, the log, a first workspace. `path` is empty for a model
  /// that comes from no checkpoint. Throws bad_file when `w` had nothing of the model, or tensors of other shapes.
  void finish(const Weights& w, const std::string& path);
  const LoadOptions& load_options() const noexcept { return load_options_; }
  /// Of activations on a device: F32, F16 or BF16.
  DType numbers() const noexcept { return numbers_; }
  void keep_loading_info(const PreTrainedModel& before) { loading_info_ = before.loading_info_; }

 private:
  ForwardOptions with_defaults(ForwardOptions options) const;
  // Has the workspace note a call's launches; ctx and arguments must live until they are done.
  void note(CudaWorkspace& workspace, Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
            const ForwardOptions& options) const;
  void forward_on_cuda(const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const;
  void prepare_cuda(int64_t max_tokens, int64_t max_batch, const PrepareOptions& options, bool loading) const;

  LoadingInfo loading_info_;
  LoadOptions load_options_;  // the runtime is set
  std::vector<Parameter> parameters_;
  std::unique_ptr<ArenaPool> workspaces_;
  DType numbers_ = DType::F32;
  std::shared_ptr<CudaWorkspacePool> cuda_workspaces_;  // null on the CPU
};

/// The calls that loading prepares a workspace for: one sequence of up to so many tokens.
inline constexpr int64_t kPreparedTokens = 512;

/// The checkpoint directory of `path`, or of a name of the hub (locate_checkpoint), with the subfolder. Throws
/// not_found when it is not there. `part` is what of a repository will be read.
std::string checkpoint_directory(const std::string& path, const LoadOptions& options, HubPart part = HubPart::model);

/// Throws invalid_argument when overrides of a configuration were no attributes of it.
void expect_no_unused(const Json& unused, const PretrainedConfig& config);

/// What differs from class to class in how weights are found.
struct WeightNames {
  const char* base_prefix = "";
  std::span<const Rename> renames = {};
};
/// The weights in `directory`, or fresh ones when it is empty, for a model of this configuration.
Weights open_weights(const std::string& directory, const WeightNames& names, const PretrainedConfig& config,
                     const LoadOptions& options);
/// The parameters of another model as weights.
Weights open_weights(const std::vector<Parameter>& parameters, const PretrainedConfig& config,
                     const LoadOptions& options);

/// What a model's constructor needs to load its layers: where to run, where packed weights go, and LoadOptions::dtype.
struct Loader {
  const Runtime& runtime;
  WeightStore& store;
  std::string_view dtype = "auto";

  /// A parameter where ops read it. place(): one that activations are made of, such as embeddings; place_vector(): what
  /// stays float32, such as a norm's weight. On the CPU the tensor itself.
  Tensor place(const Tensor& x) const { return store.place(x); }
  Tensor place_vector(const Tensor& x) const { return store.place(x, DType::F32); }
};

/// What a concrete model class derives from. Derived supplies kClassName, kBaseModelPrefix, a constructor (config,
/// weights, options), run() and largest_inputs(); and where it has them kRenames (names in checkpoints that differ from
/// the model's), kVocabularyParameters, attention_names(layer) and adapt(config, weights, directory, options), which
/// may change configuration and weights before the model is built. A class outside the library works the same way.
template <class Derived, class ConfigClass>
class ModelOf : public PreTrainedModel {
 public:
  using Config = ConfigClass;

  /// Loads a checkpoint directory, or one of the hub (checkpoint_directory). Parameters that it lacks are drawn at
  /// random as in transformers, listed in loading_info() and logged. Throws not_found, bad_file, unsupported or
  /// invalid_argument.
  static Derived from_pretrained(const std::string& path, const LoadOptions& options = {}) {
    const std::string directory = checkpoint_directory(path, options);
    return load(config_for(directory, options), directory, options);
  }
  /// A model of this configuration with random weights as its class initialises them: the same ones for the same
  /// options.seed, on every machine.
  static Derived from_config(const Config& config, const LoadOptions& options = {}) {
    return load(config, {}, options);
  }

  const char* class_name() const override { return Derived::kClassName; }
  const Config& config() const override { return config_; }

 protected:
  ModelOf(const Config& config, const LoadOptions& options)
      : PreTrainedModel(options, config),
        config_(config),
        store_(std::make_unique<WeightStore>(runtime().cuda(), numbers())) {}

  Loader loader() const { return {runtime(), *store_, load_options().dtype}; }
  PretrainedConfig& mutable_config() override { return config_; }
  void rebuild(const std::vector<Parameter>& parameters) override {
    const Weights w = open_weights(parameters, config_, load_options());
    Derived model(config_, w, load_options());
    model.finish(w, {});
    model.keep_loading_info(*this);
    static_cast<Derived&>(*this) = std::move(model);
  }
  std::span<const char* const> vocabulary_parameters() const override {
    if constexpr (requires { Derived::kVocabularyParameters; }) return Derived::kVocabularyParameters;
    return {};
  }

  Config config_;
  std::unique_ptr<WeightStore> store_;

 private:
  static Config config_for(const std::string& directory, const LoadOptions& options) {
    const PretrainedConfig* whole = options.config.whole().get();
    if (whole == nullptr) {
      Json unused;
      Config config = Config::from_pretrained(directory, options.config.overrides(), &unused);
      expect_no_unused(unused, config);
      return config;
    }
    if (const Config* own = dynamic_cast<const Config*>(whole)) return *own;
    throw Error(
        ErrorCode::invalid_argument, Derived::kClassName,
        std::string("expected a configuration of class ") + Config::kClassName + " but got " + whole->class_name());
  }
  static Derived load(const Config& config, const std::string& directory, const LoadOptions& options) {
    WeightNames names{.base_prefix = Derived::kBaseModelPrefix};
    if constexpr (requires { Derived::kRenames; }) names.renames = Derived::kRenames;
    const Weights w = open_weights(directory, names, config, options);
    Config own = config;
    if (const auto dtype = w.dtype(); dtype && !own.dtype.is_string()) own.dtype = torch_name_of(*dtype);
    if constexpr (requires { Derived::adapt(own, w, directory, options); }) Derived::adapt(own, w, directory, options);
    Derived model(own, w, options);
    model.finish(w, directory);
    return model;
  }
};

}  // namespace caracal
