#include <caracal/models/auto.h>

namespace caracal {

std::unique_ptr<PretrainedConfig> AutoConfig::from_pretrained(const std::string& path, const Json& overrides,
                                                              Json* unused) {
  const Json values = load_config_file(path);
  const Json* model_type = values.find("model_type");
  if (model_type == nullptr || !model_type->is_string())
    throw Error(ErrorCode::bad_file, path, "expected a `model_type` key in config.json but found none");
  std::unique_ptr<PretrainedConfig> config = find_config(model_type->as_string()).make();
  config->from_dict(values, overrides, path, unused);
  config->name_or_path = path;
  return config;
}

AnyModel load_auto_model(const std::string& auto_class, const std::string& path, const LoadOptions& options) {
  LoadOptions with_config = options;
  if (options.config.whole() == nullptr) {
    const std::string directory = checkpoint_directory(path, options.subfolder);
    Json unused;
    std::shared_ptr<const PretrainedConfig> config =
        AutoConfig::from_pretrained(directory, options.config.overrides(), &unused);
    expect_no_unused(unused, *config);
    with_config.config = std::move(config);
  }
  return AnyModel(find_model(auto_class, *with_config.config.whole()).load(path, with_config));
}

AnyModel make_auto_model(const std::string& auto_class, const PretrainedConfig& config, const LoadOptions& options) {
  return AnyModel(find_model(auto_class, config).make(config, options));
}

}  // namespace caracal
