#include <caracal/models/modeling_utils.h>

#include <algorithm>
#include <deque>
#include <filesystem>

#include <caracal/models/preparing.h>
#include <caracal/runtime/checked.h>
#include <caracal/runtime/cuda_workspace.h>

namespace caracal {

namespace {

// Says in config.json that matrices are in 8 bits, or no longer are. Without a quant_method transformers refuses to
// load such a model; one that it does not know it would skip, and take the numbers for weights.
void describe_quantization(PretrainedConfig& config, const std::vector<Parameter>& parameters) {
  const char* key = "quantization_config";
  const Json rotated = Json::Object{{"bits", 8}, {"format", "caracal_rotated_rows"}};
  if (std::ranges::find(parameters, DType::I8, &Parameter::dtype) != parameters.end())
    config.set(key, rotated);
  else if (config.has(key) && config.get(key) == rotated)
    config.extra.erase(key);
}

// What a device computes in: what was asked for, else what the checkpoint is.
DType device_numbers(const LoadOptions& options, const PretrainedConfig& config) {
  if (options.dtype == "int8")
    throw Error(ErrorCode::unsupported, "dtype",
                "expected auto, float32, float16 or bfloat16 on cuda but got 'int8', which runs on the CPU only");
  const std::string name = options.dtype != "auto"    ? options.dtype
                           : config.dtype.is_string() ? config.dtype.as_string()
                                                      : "float32";
  const DType dtype = dtype_from_name(name).value_or(DType::F32);
  return dtype == DType::F16 || dtype == DType::BF16 ? dtype : DType::F32;
}

}  // namespace

PreTrainedModel::PreTrainedModel(const LoadOptions& options, const PretrainedConfig& config)
    : load_options_(options), workspaces_(std::make_unique<ArenaPool>()) {
  if (load_options_.runtime == nullptr) load_options_.runtime = std::make_shared<Runtime>();
  if (runtime().cuda() != nullptr) {
    numbers_ = device_numbers(options, config);
    cuda_workspaces_ = std::make_shared<CudaWorkspacePool>(runtime().cuda());
  }
  load_options_.progress = {};  // of this load only
  load_options_.config = {};
}

ModelOutput PreTrainedModel::operator()(const ModelInputs& inputs, const ForwardOptions& options) const {
  ModelOutput output;
  forward(inputs, output, options);
  return output;
}

void PreTrainedModel::forward(const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const {
  if (cuda_workspaces_ != nullptr) return forward_on_cuda(inputs, output, options);
  const ArenaPool::Lease lease(*workspaces_);
  (*lease).reset();
  Ctx ctx(runtime(), *lease);
  const struct Call {
    Executor& executor;
    explicit Call(Executor& e) : executor(e) { executor.begin_call(); }
    ~Call() { executor.end_call(); }
  } call(runtime().executor());
  run(ctx, inputs, output, with_defaults(options));
}

void PreTrainedModel::prepare(int64_t max_tokens, int64_t max_batch, const PrepareOptions& options) const {
  if (max_tokens < 1 || max_batch < 1 || options.callers < 1)
    throw Error(ErrorCode::invalid_argument, "prepare",
                "expected max_tokens, max_batch and callers of at least 1 but got " + std::to_string(max_tokens) +
                    ", " + std::to_string(max_batch) + " and " + std::to_string(options.callers));
  if (cuda_workspaces_ != nullptr) return prepare_cuda(max_tokens, max_batch, options, /*loading=*/false);
  const ModelInputs inputs = largest_inputs(max_tokens, max_batch);
  std::deque<ArenaPool::Lease> leases;  // held together, so that each is another workspace
  for (int i = 0; i < options.callers; i++) {
    Arena& arena = *leases.emplace_back(*workspaces_);
    arena.reset();
    Ctx ctx(runtime(), arena, /*planning=*/true);
    ModelOutput unused;
    run(ctx, inputs, unused, with_defaults(options.forward));
    arena.reserve(arena.high_water());
  }
}

void PreTrainedModel::note(CudaWorkspace& workspace, Ctx& ctx, const ModelInputs& inputs, ModelOutput& output,
                           const ForwardOptions& options) const {
  do {
    workspace.begin(numbers_);
    run(ctx, inputs, output, options);
  } while (!workspace.settle());
}

void PreTrainedModel::forward_on_cuda(const ModelInputs& inputs, ModelOutput& output,
                                      const ForwardOptions& options) const {
  const ForwardOptions asked = with_defaults(options);  // until execute() is done
  const CudaWorkspacePool::Lease lease(*cuda_workspaces_);
  Ctx ctx(runtime(), *lease);
  note(*lease, ctx, inputs, output, asked);
  (*lease).execute(asked.cuda_stream);
}

void PreTrainedModel::prepare_cuda(int64_t max_tokens, int64_t max_batch, const PrepareOptions& options,
                                   bool loading) const {
  const ForwardOptions asked = with_defaults(options.forward);
  const CudaDevice::Use use(*runtime().cuda());  // leases do not end in the order that puts back what was current
  auto largest = [&](int64_t tokens, int64_t batch) { return largest_inputs(tokens, batch); };
  std::deque<CudaWorkspacePool::Lease> leases;  // held together, so that each is another workspace
  for (int i = 0; i < options.callers; i++) {
    CudaWorkspace& workspace = *leases.emplace_back(*cuda_workspaces_);
    Ctx ctx(runtime(), workspace, /*planning=*/true);
    ModelOutput unused;
    auto capture = [&](const ModelInputs& inputs) {
      note(workspace, ctx, inputs, unused, asked);
      try {
        return workspace.capture();
      } catch (const Error& e) {
        if (!loading && workspace.captures()) throw;
        runtime().log(LogLevel::warning, std::string(e.what()) + "; calls go on without a CUDA graph");
        return !workspace.captures();  // then the others need room only
      }
    };
    note(workspace, ctx, largest(max_tokens, max_batch), unused, asked);  // room for all, as a rule
    for (int64_t before = -1; before != workspace.forgotten();) {
      before = workspace.forgotten();
      for_each_size(largest, max_tokens, max_batch, capture);
    }
  }
}

// As in transformers, the configuration's flags hold where the call does not ask; and the runtime's stream.
ForwardOptions PreTrainedModel::with_defaults(ForwardOptions options) const {
  options.output_hidden_states |= config().output_hidden_states;
  options.output_attentions |= config().output_attentions;
  if (options.cuda_stream == nullptr) options.cuda_stream = runtime().cuda_stream();
  if (options.cuda_stream != nullptr) expect_cuda_stream(runtime().cuda().get(), options.cuda_stream);
  return options;
}

void PreTrainedModel::finish(const Weights& w, const std::string& path) {
  w.finish();
  loading_info_ = {w.missing(), w.unread(), w.mismatched(), w.warnings()};
  if (config().extra.contains("auto_map"))
    loading_info_.warnings.push_back(
        "auto_map in config.json names Python code to run in the place of this class: ignored");
  std::ranges::sort(loading_info_.mismatched_keys, {}, &MismatchedKey::name);
  if (!w.found_any())
    throw Error(ErrorCode::bad_file, path,
                "expected weights of this model but found none of them; the first one missing is '" +
                    (loading_info_.missing_keys.empty() ? "" : loading_info_.missing_keys[0]) + "'");
  parameters_ = w.parameters();
  const bool loaded = !path.empty();  // not drawn, and not another model's parameters
  for (const std::string& warning : loading_info_.warnings)
    if (loaded) runtime().log(LogLevel::warning, path + ": " + warning);
  if (const std::string report = loading_info_.report(class_name(), path); !report.empty() && loaded)
    // Tensors of another head are no reason to worry.
    runtime().log(loading_info_.missing_keys.empty() && loading_info_.mismatched_keys.empty() ? LogLevel::info
                                                                                              : LogLevel::warning,
                  report);
  if (!loading_info_.mismatched_keys.empty() && !load_options_.ignore_mismatched_sizes) {
    const MismatchedKey& key = loading_info_.mismatched_keys[0];
    const size_t others = loading_info_.mismatched_keys.size() - 1;
    std::string got;
    for (int64_t d : key.checkpoint_shape) got += (got.empty() ? "" : ", ") + std::to_string(d);
    throw Error(ErrorCode::bad_file, key.name,
                "expected shape " + key.model_shape.str() + " but got (" + got +
                    (key.checkpoint_shape.size() == 1 ? ",) in " : ") in ") + (loaded ? path : "another model") +
                    (others > 0 ? ", and " + std::to_string(others) + " more of other shapes" : "") +
                    "; ignore_mismatched_sizes would draw them anew");
  }
  if (!parameters_.empty()) mutable_config().dtype = torch_name_of(parameters_[0].dtype);
  describe_quantization(mutable_config(), parameters_);
  if (cuda_workspaces_ != nullptr)
    prepare_cuda(kPreparedTokens, 1, {}, /*loading=*/true);
  else
    prepare(kPreparedTokens);
}

std::string checkpoint_directory(const std::string& path, const LoadOptions& options, HubPart part) {
  namespace fs = std::filesystem;
  HubRequest request{.name = path,
                     .part = part,
                     .options = {.revision = options.revision,
                                 .subfolder = options.subfolder,
                                 .variant = options.variant,
                                 .cache_dir = options.cache_dir,
                                 .token = options.token,
                                 .local_files_only = options.local_files_only,
                                 .force_download = options.force_download}};
  if (!options.target_lang.empty()) request.more.push_back("adapter." + options.target_lang + ".safetensors");
  const fs::path directory = locate_checkpoint(request);
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored))
    throw Error(ErrorCode::not_found, path,
                "expected a checkpoint directory but " +
                    std::string(fs::exists(directory, ignored) ? "this is a file" : "there is none of this name"));
  return directory.string();
}

void expect_no_unused(const Json& unused, const PretrainedConfig& config) {
  if (!unused.is_object() || unused.as_object().empty()) return;
  throw Error(ErrorCode::invalid_argument, config.class_name(),
              "expected overrides of its attributes but got '" + unused.as_object()[0].first + "'");
}

namespace {

// What transformers' dtype argument means: a name, or "auto".
std::optional<DType> requested_dtype(const LoadOptions& options, const PretrainedConfig& config) {
  std::string name = options.dtype;
  if (name == "auto" || name == "int8") {
    if (!config.dtype.is_string()) return std::nullopt;
    name = config.dtype.as_string();
  }
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype || (*dtype != DType::F32 && *dtype != DType::F16 && *dtype != DType::BF16 && *dtype != DType::F64))
    throw Error(ErrorCode::invalid_argument, "dtype",
                "expected auto, float32, float16, bfloat16, float64 or int8 but got '" + name + "'");
  return dtype;
}

DType first_floating_dtype(const Checkpoint& checkpoint) {
  for (const std::string& name : checkpoint.names()) {
    const std::optional<DType> dtype = checkpoint.find(name)->dtype;
    if (dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F64) return *dtype;
  }
  return DType::F32;
}

RandomInit random_init(const PretrainedConfig& config, uint64_t seed) {
  const Json range = config.has("initializer_range") ? config.get("initializer_range") : Json(0.02);
  const double stddev = range.is_number() && range.as_double() != 0 ? range.as_double() : 0.02;  // 0 means the default
  return {.stddev = float(stddev), .seed = seed};
}

}  // namespace

Weights open_weights(const std::string& directory, const WeightNames& names, const PretrainedConfig& config,
                     const LoadOptions& options) {
  WeightsOptions how{.base_prefix = names.base_prefix,
                     .renames = {names.renames.begin(), names.renames.end()},
                     .init_missing = random_init(config, options.seed),
                     .dtype = requested_dtype(options, config),
                     .progress = options.progress};
  if (directory.empty()) {
    if (!how.dtype) how.dtype = DType::F32;
    return Weights::random(std::move(how));
  }
  Checkpoint checkpoint = Checkpoint::open(directory, {.variant = options.variant, .access = options.access});
  if (!how.dtype) how.dtype = first_floating_dtype(checkpoint);
  return Weights(std::move(checkpoint), std::move(how));
}

Weights open_weights(const std::vector<Parameter>& parameters, const PretrainedConfig& config,
                     const LoadOptions& options) {
  return Weights(parameters, {.init_missing = random_init(config, options.seed)});
}

}  // namespace caracal
