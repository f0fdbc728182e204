#include <caracal/models/auto.h>

namespace caracal {
namespace {

float initializer_range_of(const PretrainedConfig& config) {
  const Json dict = config.to_dict();
  const Json* range = dict.find("initializer_range");
  return range != nullptr && range->is_number() ? float(range->as_double()) : 0.02f;
}

}  // namespace

std::unique_ptr<PretrainedConfig> AutoConfig::from_pretrained(const std::string& path, const Json& overrides) {
  const Json values = load_config_file(path);
  const Json* model_type = values.find("model_type");
  if (model_type == nullptr || !model_type->is_string())
    throw Error(ErrorCode::bad_file, path, "expected a `model_type` key in config.json but found none");
  std::unique_ptr<PretrainedConfig> config = find_config(model_type->as_string()).make();
  config->from_dict(values, overrides, path);
  return config;
}

AnyModel load_auto_model(const std::string& auto_class, const std::string& path, const LoadOptions& options) {
  const std::string directory = checkpoint_directory(path, options.subfolder);
  const std::unique_ptr<PretrainedConfig> config = AutoConfig::from_pretrained(directory, options.config);
  const ModelEntry entry = find_model(auto_class, *config);
  const Weights weights = open_weights(directory, options, entry.base_prefix.c_str(), initializer_range_of(*config));
  std::unique_ptr<PreTrainedModel> model = entry.make(*config, weights, options);
  model->set_loading_info(loading_info_of(weights, directory));
  model->prepare(kPreparedTokens);
  return AnyModel(std::move(model));
}

AnyModel make_auto_model(const std::string& auto_class, const PretrainedConfig& config, const LoadOptions& options,
                         uint64_t seed) {
  const Weights weights = Weights::random({.stddev = initializer_range_of(config), .seed = seed});
  std::unique_ptr<PreTrainedModel> model = find_model(auto_class, config).make(config, weights, options);
  model->prepare(kPreparedTokens);
  return AnyModel(std::move(model));
}

}  // namespace caracal
