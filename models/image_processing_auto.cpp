#include <caracal/models/image_processing_auto.h>

#include <filesystem>
#include <system_error>

#include <caracal/loaders/hub_cache.h>
#include <caracal/models/configuration_utils.h>
#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>
#include <caracal/models/vit/image_processing_vit.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

struct Entry {
  const char* class_name;
  const char* model_type;  // of the configurations that use it by default
  std::shared_ptr<BaseImageProcessor> (*load)(const std::string& path, const Json& overrides);
};

template <class Processor>
std::shared_ptr<BaseImageProcessor> load(const std::string& path, const Json& overrides) {
  return std::make_shared<Processor>(Processor::from_pretrained(path, overrides));
}

constexpr Entry kImageProcessors[] = {{"ViTImageProcessor", "vit", load<ViTImageProcessor>},
                                      {"LayoutLMv2ImageProcessor", "layoutlmv2", load<LayoutLMv2ImageProcessor>}};

std::string string_member(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}

// config.json, or null where the path is a file or has none.
Json model_config(const std::string& path) {
  std::error_code ignored;
  const fs::path file = fs::path(path) / "config.json";
  return fs::is_directory(path, ignored) && fs::exists(file, ignored) ? Json::parse_file(file.string()) : Json();
}

[[noreturn]] void unknown(const std::string& path, const std::string& known, const std::string& class_name,
                          const Json& config) {
  const std::string model_type = string_member(config, "model_type");
  throw Error(ErrorCode::unsupported, path,
              "expected " + known + " but got " +
                  (!class_name.empty()   ? "'" + class_name + "'"
                   : !model_type.empty() ? "model type '" + model_type + "'"
                                         : "a configuration that names neither a class nor a model type"));
}

}  // namespace

std::shared_ptr<BaseImageProcessor> AutoImageProcessor::from_pretrained(const std::string& name_or_path,
                                                                        const Json& arguments) {
  const LocatedFiles files = locate_files(name_or_path, HubPart::preprocessor, arguments);
  const std::string& path = files.path;
  const Json& overrides = files.overrides;
  const Json file = load_preprocessor_config(path, "image_processor");
  std::string name = string_member(file, "image_processor_type");
  if (name.empty()) {
    name = string_member(file, "feature_extractor_type");
    constexpr std::string_view old = "FeatureExtractor";
    if (const size_t at = name.find(old); at != std::string::npos) name.replace(at, old.size(), "ImageProcessor");
  }
  const Json config = name.empty() ? model_config(path) : Json();
  if (name.empty()) name = string_member(config, "image_processor_type");
  for (std::string_view suffix : {"Fast", "Pil"}) {
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  }
  std::string known;
  for (const Entry& entry : kImageProcessors) {
    if (name.empty() ? string_member(config, "model_type") == entry.model_type : name == entry.class_name)
      return entry.load(path, overrides);
    known += (known.empty() ? "" : ", ") + std::string(entry.class_name);
  }
  unknown(path, "an image processor among " + known, name, config);
}

Wav2Vec2FeatureExtractor AutoFeatureExtractor::from_pretrained(const std::string& name_or_path, const Json& arguments) {
  const LocatedFiles files = locate_files(name_or_path, HubPart::preprocessor, arguments);
  const std::string& path = files.path;
  const Json& overrides = files.overrides;
  const std::string name = string_member(load_preprocessor_config(path, "feature_extractor"), "feature_extractor_type");
  const Json config = name.empty() ? model_config(path) : Json();
  const std::string from_config = string_member(config, "feature_extractor_type");
  const std::string& chosen = name.empty() ? from_config : name;
  if (chosen == "Wav2Vec2FeatureExtractor" || (chosen.empty() && string_member(config, "model_type") == "wav2vec2"))
    return Wav2Vec2FeatureExtractor::from_pretrained(path, overrides);
  unknown(path, "a Wav2Vec2FeatureExtractor", chosen, config);
}

}  // namespace caracal
