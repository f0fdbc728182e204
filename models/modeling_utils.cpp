#include <caracal/models/modeling_utils.h>

#include <deque>
#include <filesystem>

#include <caracal/tokenizers/batch_encoding.h>

namespace caracal {
namespace {

struct Argument {
  const char* name;
  Tensor ModelInputs::*member;
};

constexpr Argument kArguments[] = {
    {"input_ids", &ModelInputs::input_ids},           {"attention_mask", &ModelInputs::attention_mask},
    {"token_type_ids", &ModelInputs::token_type_ids}, {"position_ids", &ModelInputs::position_ids},
    {"inputs_embeds", &ModelInputs::inputs_embeds},
};

}  // namespace

ModelInputs::ModelInputs(const BatchEncoding& encoding) {
  for (const std::string& name : encoding.keys()) set(name, encoding.padded(name));
  if (encoding.size() == 0) input_ids = Tensor::empty({0, 0}, DType::I64);
}

void ModelInputs::set(const std::string& name, Tensor value) {
  std::string known;
  for (const Argument& argument : kArguments) {
    if (name == argument.name) {
      this->*argument.member = std::move(value);
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(argument.name);
  }
  throw Error(ErrorCode::invalid_argument, "ModelInputs", "expected one of " + known + " but got '" + name + "'");
}

PreTrainedModel::PreTrainedModel(std::shared_ptr<Runtime> runtime)
    : runtime_(runtime != nullptr ? std::move(runtime) : std::make_shared<Runtime>()),
      workspaces_(std::make_unique<ArenaPool>()) {}

ModelOutput PreTrainedModel::operator()(const ModelInputs& inputs, const ForwardOptions& options) const {
  ModelOutput output;
  forward(inputs, output, options);
  return output;
}

void PreTrainedModel::forward(const ModelInputs& inputs, ModelOutput& output, const ForwardOptions& options) const {
  const ArenaPool::Lease lease(*workspaces_);
  (*lease).reset();
  Ctx ctx(*runtime_, *lease);
  run(ctx, inputs, output, with_defaults(options));
}

void PreTrainedModel::prepare(int64_t max_tokens, int64_t max_batch, const PrepareOptions& options) const {
  if (max_tokens < 1 || max_batch < 1 || options.callers < 1)
    throw Error(ErrorCode::invalid_argument, "prepare",
                "expected max_tokens, max_batch and callers of at least 1 but got " + std::to_string(max_tokens) +
                    ", " + std::to_string(max_batch) + " and " + std::to_string(options.callers));
  const ModelInputs inputs = largest_inputs(max_tokens, max_batch);
  std::deque<ArenaPool::Lease> leases;  // held together, so that each is another workspace
  for (int i = 0; i < options.callers; i++) {
    Arena& arena = *leases.emplace_back(*workspaces_);
    arena.reset();
    Ctx ctx(*runtime_, arena, /*planning=*/true);
    ModelOutput unused;
    run(ctx, inputs, unused, with_defaults(options.forward));
    arena.reserve(arena.high_water());
  }
}

// As in transformers, the configuration's flags hold where the call does not ask.
ForwardOptions PreTrainedModel::with_defaults(ForwardOptions options) const {
  options.output_hidden_states |= config().output_hidden_states;
  options.output_attentions |= config().output_attentions;
  return options;
}

std::string checkpoint_directory(const std::string& path, const std::string& subfolder) {
  namespace fs = std::filesystem;
  const fs::path directory = subfolder.empty() ? fs::path(path) : fs::path(path) / subfolder;
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored))
    throw Error(ErrorCode::not_found, path,
                "expected a checkpoint directory but " +
                    std::string(fs::exists(directory, ignored) ? "this is a file" : "there is none of this name"));
  return directory.string();
}

Weights open_weights(const std::string& directory, const LoadOptions& options, const char* base_prefix,
                     double initializer_range) {
  Checkpoint checkpoint = Checkpoint::open(directory, {.variant = options.variant, .access = options.access});
  return Weights(std::move(checkpoint),
                 {.base_prefix = base_prefix, .init_missing = RandomInit{.stddev = float(initializer_range)}});
}

LoadingInfo loading_info_of(const Weights& w, const std::string& path) {
  LoadingInfo info{w.missing(), w.unread()};
  if (!w.found_any())
    throw Error(ErrorCode::bad_file, path,
                "expected weights of this model but found none of them; the first one missing is '" +
                    (info.missing_keys.empty() ? "" : info.missing_keys[0]) + "'");
  return info;
}

}  // namespace caracal
