#include <caracal/models/processing_auto.h>

#include <filesystem>
#include <system_error>

#include <caracal/loaders/hub_cache.h>
#include <caracal/models/tokenization_auto.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::string string_member(const fs::path& file, std::string_view key) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return {};
  const Json json = Json::parse_file(file.string());
  const Json* value = json.find(key);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}

std::string processor_class(const fs::path& root) {
  for (const char* name :
       {"processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "config.json"}) {
    if (std::string found = string_member(root / name, "processor_class"); !found.empty()) return found;
  }
  const std::string model_type = string_member(root / "config.json", "model_type");
  return model_type == "wav2vec2"     ? "Wav2Vec2Processor"
         : model_type == "layoutlmv2" ? "LayoutLMv2Processor"
                                      : std::string();
}

}  // namespace

AnyProcessor AutoProcessor::from_pretrained(const std::string& name_or_path, const Json& overrides) {
  const LocatedFiles at = locate_files(name_or_path, HubPart::processor, overrides);
  const std::string& path = at.path;
  const std::string name = processor_class(path);
  if (name == "Wav2Vec2Processor") return Wav2Vec2Processor::from_pretrained(path, at.overrides);
  if (name == "LayoutLMv2Processor") return LayoutLMv2Processor::from_pretrained(path, at.overrides);
  std::string reasons;
  auto add = [&](const Error& error) { reasons += std::string(reasons.empty() ? "" : "; ") + error.what(); };
  try {
    return AutoTokenizer::from_pretrained(path, at.overrides);
  } catch (const Error& error) {
    add(error);
  }
  try {
    return AutoImageProcessor::from_pretrained(path, at.overrides);
  } catch (const Error& error) {
    add(error);
  }
  try {
    return AutoFeatureExtractor::from_pretrained(path, at.overrides);
  } catch (const Error& error) {
    add(error);
  }
  throw Error(ErrorCode::unsupported, path,
              "expected the files of a processor, tokenizer, image processor or feature extractor but got: " + reasons);
}

}  // namespace caracal
