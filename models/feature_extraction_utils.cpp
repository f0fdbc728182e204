#include <caracal/models/feature_extraction_utils.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <caracal/runtime/atomic_file.h>

namespace caracal {
namespace fs = std::filesystem;

void BatchFeature::set(std::string name, std::vector<Tensor> values) {
  for (auto& [key, old] : values_) {
    if (key == name) return void(old = std::move(values));
  }
  values_.emplace_back(std::move(name), std::move(values));
}

bool BatchFeature::contains(std::string_view name) const noexcept {
  return std::any_of(values_.begin(), values_.end(), [&](const auto& value) { return value.first == name; });
}

std::vector<std::string> BatchFeature::keys() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : values_) names.push_back(name);
  return names;
}

const std::vector<Tensor>& BatchFeature::list(std::string_view name) const {
  for (const auto& [key, tensors] : values_) {
    if (key == name) return tensors;
  }
  std::string known;
  for (const std::string& key : keys()) known += (known.empty() ? "" : ", ") + key;
  throw Error(ErrorCode::not_found, "BatchFeature",
              "expected one of " + known + " but got '" + std::string(name) + "'");
}

Tensor BatchFeature::operator[](std::string_view name) const {
  const std::vector<Tensor>& tensors = list(name);
  if (tensors.empty()) return Tensor::empty({0});
  const Tensor& first = tensors.front();
  std::vector<int64_t> dims{int64_t(tensors.size())};
  dims.insert(dims.end(), first.shape().begin(), first.shape().end());
  for (const Tensor& tensor : tensors) {
    if (tensor.shape() == first.shape() && tensor.dtype() == first.dtype()) continue;
    throw Error(ErrorCode::invalid_argument, "BatchFeature: " + std::string(name),
                "expected equal shapes to make one tensor but got " + first.shape().str() + " and " +
                    tensor.shape().str() + "; resize, pad or truncate to one size");
  }
  Tensor result = Tensor::empty(Shape(dims), first.dtype());
  auto* out = static_cast<uint8_t*>(result.raw());
  for (const Tensor& tensor : tensors) {
    if (tensor.nbytes() > 0) std::memcpy(out, tensor.raw(), tensor.nbytes());
    out += tensor.nbytes();
  }
  return result;
}

BatchFeature::operator ModelInputs() const {
  ModelInputs inputs;
  for (const auto& [name, unused] : values_) inputs.set(name, (*this)[name]);
  return inputs;
}

namespace {

Json parse_object(const std::string& file) {
  Json json = Json::parse_file(file);
  if (json.is_object()) return json;
  throw Error(ErrorCode::bad_file, file, std::string("expected an object but got ") + json.type_name());
}

Json find_config(const std::string& path, std::string_view part) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return parse_object(path);
  const std::string nested = (fs::path(path) / "processor_config.json").string(),
                    flat = (fs::path(path) / "preprocessor_config.json").string();
  if (fs::exists(nested, ignored)) {
    const Json whole = parse_object(nested);
    if (const Json* json = whole.find(part); json != nullptr && json->is_object()) return *json;
  }
  if (fs::exists(flat, ignored)) return parse_object(flat);
  throw Error(ErrorCode::not_found, path,
              "expected a preprocessor_config.json, or a processor_config.json with a member '" + std::string(part) +
                  "', but found none");
}

}  // namespace

Json load_preprocessor_config(const std::string& path, std::string_view part, const Json& overrides) {
  Json config = find_config(path, part);
  if (!overrides.is_object()) return config;
  for (const auto& [key, value] : overrides.as_object()) config.set(key, value);
  return config;
}

namespace {

void save_json(const std::string& directory, const char* name, const Json& json) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw Error(ErrorCode::io, directory, "expected to make this directory but got: " + error.message());
  write_atomically((fs::path(directory) / name).string(), json.dump(2, true) + "\n");
}

}  // namespace

void save_preprocessor_config(const std::string& directory, const Json& config) {
  save_json(directory, "preprocessor_config.json", config);
}

void save_processor_config(const std::string& directory, const char* processor_class, const char* part, Json config) {
  Json whole = Json::Object{};
  whole.set(part, std::move(config));
  whole.set("processor_class", processor_class);
  save_json(directory, "processor_config.json", whole);
}

}  // namespace caracal
