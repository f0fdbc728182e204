#include <caracal/models/auto.h>

namespace caracal {

std::unique_ptr<PretrainedConfig> AutoConfig::from_pretrained(const std::string& name_or_path, const Json& overrides,
                                                              Json* unused) {
  const LocatedFiles at = locate_files(name_or_path, HubPart::config, overrides);
  const std::string& path = at.path;
  const Json values = load_config_file(path);
  const Json* model_type = values.find("model_type");
  if (model_type == nullptr || !model_type->is_string())
    throw Error(ErrorCode::bad_file, path, "expected a `model_type` key in config.json but found none");
  std::unique_ptr<PretrainedConfig> config = find_config(model_type->as_string()).make();
  config->from_dict(values, at.overrides, path, unused);
  config->name_or_path = name_or_path;
  return config;
}

AnyModel load_auto_model(const std::string& auto_class, const std::string& path, const LoadOptions& options) {
  const std::string directory = checkpoint_directory(path, options);
  LoadOptions with_config = options;
  with_config.subfolder.clear();  // it is in `directory`
  if (options.config.whole() == nullptr) {
    Json unused;
    std::shared_ptr<const PretrainedConfig> config =
        AutoConfig::from_pretrained(directory, options.config.overrides(), &unused);
    expect_no_unused(unused, *config);
    with_config.config = std::move(config);
  }
  return AnyModel(find_model(auto_class, *with_config.config.whole()).load(directory, with_config));
}

AnyModel make_auto_model(const std::string& auto_class, const PretrainedConfig& config, const LoadOptions& options) {
  return AnyModel(find_model(auto_class, config).make(config, options));
}

}  // namespace caracal
