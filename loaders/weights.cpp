#include <caracal/loaders/weights.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include <caracal/runtime/checked.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

constexpr std::string_view kLegacyNames[][2] = {{"LayerNorm.gamma", "LayerNorm.weight"},
                                                {"LayerNorm.beta", "LayerNorm.bias"}};

std::string rename_legacy(std::string name) {
  for (auto [old_name, new_name] : kLegacyNames) {
    size_t at = name.find(old_name);
    if (at != name.npos) name.replace(at, old_name.size(), new_name);
  }
  return name;
}

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('.') + 1); }

// splitmix64: every input gives an independent, well mixed 64-bit value.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// FNV-1a; std::hash may differ between standard libraries.
uint64_t hash_name(std::string_view name) {
  uint64_t h = 0xCBF29CE484222325;
  for (char c : name) h = (h ^ uint8_t(c)) * 0x100000001B3;
  return h;
}

Tensor draw(const RandomInit& init, std::string_view name, const Shape& shape) {
  Tensor result = Tensor::empty(shape);
  float* out = result.data<float>();
  int64_t count = result.numel();
  bool vector_weight = shape.rank() == 1 && last_part(name) == "weight";
  if (vector_weight || last_part(name) == "bias") {
    std::fill(out, out + count, vector_weight ? 1.0f : 0.0f);
    return result;
  }
  // Four 16-bit uniforms of one hash: their sum has mean 2 (2^16 - 1) and variance 4 (2^32 - 1) / 12.
  const float scale = init.stddev / float(std::sqrt((std::pow(2.0, 32) - 1) / 3));
  const uint64_t base = mix(init.seed ^ hash_name(name));
  for (int64_t i = 0; i < count; ++i) {
    uint64_t r = mix(base + uint64_t(i));
    int32_t sum = int32_t(r & 0xFFFF) + int32_t(r >> 16 & 0xFFFF) + int32_t(r >> 32 & 0xFFFF) + int32_t(r >> 48);
    out[i] = float(sum - 2 * 0xFFFF) * scale;
  }
  return result;
}

}  // namespace

struct Weights::State {
  std::optional<Checkpoint> checkpoint;  // none: everything is drawn by options.init_missing
  WeightsOptions options;
  std::unordered_map<std::string, std::string> stored;  // the model's form of a name -> the name in the checkpoint
  std::set<std::string> read, missing;                  // names in the checkpoint; full names asked for

  // The checkpoint's name for the model's `name`, or null.
  const std::string* resolve(const std::string& name) const {
    std::string base = options.base_prefix + ".";
    auto it = stored.find(name);
    if (it == stored.end() && name.starts_with(base)) it = stored.find(name.substr(base.size()));
    if (it == stored.end() && !name.starts_with(base)) it = stored.find(base + name);
    return it == stored.end() ? nullptr : &it->second;
  }

  // A tiny file whose config asks for a huge layer must not cost gigabytes.
  void check_drawable(const std::string& name, const Shape& shape) const {
    constexpr uint64_t kAlwaysDrawn = uint64_t(64) << 20;
    const uint64_t stored_bytes = checkpoint->total_bytes();
    const uint64_t limit = stored_bytes > UINT64_MAX / 4 ? UINT64_MAX : std::max(kAlwaysDrawn, 4 * stored_bytes);
    const uint64_t bytes = checked_mul(uint64_t(shape.numel()), uint64_t(sizeof(float)), name);
    if (bytes <= limit) return;
    throw Error(ErrorCode::bad_file, name,
                "expected at most " + std::to_string(limit) + " bytes of a tensor to draw, as the checkpoint " +
                    checkpoint->path() + " has " + std::to_string(stored_bytes) +
                    " bytes and not this tensor, but got " + std::to_string(bytes) + " for shape " + shape.str());
  }

  Tensor load(const std::string& name, const std::string& stored_name, const Shape& shape) {
    const TensorInfo& info = *checkpoint->find(stored_name);
    const std::string& file = checkpoint->file_of(stored_name);
    std::string in_file = " in " + file + (stored_name == name ? "" : " (there named " + stored_name + ")");
    if (!std::equal(shape.begin(), shape.end(), info.shape.begin(), info.shape.end())) {
      std::string got;
      for (int64_t d : info.shape) got += (got.empty() ? "" : ", ") + std::to_string(d);
      if (info.shape.size() == 1) got += ",";
      throw Error(ErrorCode::bad_file, name, "expected shape " + shape.str() + " but got (" + got + ")" + in_file);
    }
    DType dtype = info.dtype.value_or(DType::U8);
    if (dtype != DType::F32 && dtype != DType::F16 && dtype != DType::BF16 && dtype != DType::F64) {
      throw Error(ErrorCode::bad_file, name,
                  "expected F32, F16, BF16 or F64 values but got " + std::string(info.dtype_name) + in_file);
    }
    read.insert(stored_name);
    Tensor tensor = checkpoint->tensor(stored_name);
    return dtype == DType::F32 ? tensor : tensor.to(DType::F32);
  }
};

Weights::Weights(Checkpoint checkpoint, WeightsOptions options) : state_(std::make_shared<State>()) {
  // A tensor that has the new name itself goes before one that would be renamed to it.
  for (const std::string& name : checkpoint.names()) state_->stored.emplace(name, name);
  for (const std::string& name : checkpoint.names()) state_->stored.emplace(rename_legacy(name), name);
  state_->checkpoint = std::move(checkpoint);
  state_->options = std::move(options);
}

Weights Weights::random(const RandomInit& init) {
  auto state = std::make_shared<State>();
  state->options.init_missing = init;
  return Weights(std::move(state), "");
}

std::string Weights::full_name(std::string_view name) const {
  return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name);
}

Weights Weights::operator/(std::string_view part) const { return Weights(state_, full_name(part)); }
Weights Weights::operator/(int64_t index) const { return *this / std::to_string(index); }

bool Weights::has(std::string_view name) const {
  return !state_->checkpoint || state_->resolve(full_name(name)) != nullptr;
}

Tensor Weights::get(std::string_view name, const Shape& shape) const {
  Tensor tensor = get_optional(name, shape);
  if (tensor.defined()) return tensor;
  std::string full = full_name(name);
  if (state_->options.init_missing) {
    state_->check_drawable(full, shape);
    return draw(*state_->options.init_missing, full, shape);
  }
  throw Error(
      ErrorCode::not_found, full,
      "expected a tensor of shape " + shape.str() + " but got none of this name in " + state_->checkpoint->path());
}

Tensor Weights::get_optional(std::string_view name, const Shape& shape) const {
  std::string full = full_name(name);
  if (!state_->checkpoint) return draw(*state_->options.init_missing, full, shape);
  if (const std::string* stored_name = state_->resolve(full)) return state_->load(full, *stored_name, shape);
  state_->missing.insert(full);
  return {};
}

std::vector<std::string> Weights::unread() const {
  std::vector<std::string> result;
  if (!state_->checkpoint) return result;
  for (const std::string& name : state_->checkpoint->names()) {
    if (last_part(name) != "position_ids" && !state_->read.contains(name)) result.push_back(name);
  }
  return result;
}

std::vector<std::string> Weights::missing() const { return {state_->missing.begin(), state_->missing.end()}; }

bool Weights::found_any() const { return !state_->checkpoint || !state_->read.empty(); }

}  // namespace caracal
