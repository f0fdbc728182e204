#include <caracal/loaders/weights.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <unordered_map>

#include <caracal/runtime/checked.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

constexpr Rename kLegacyNames[] = {{"LayerNorm.gamma", "LayerNorm.weight"},
                                   {"LayerNorm.beta", "LayerNorm.bias"},
                                   {".weight_g", ".parametrizations.weight.original0"},
                                   {".weight_v", ".parametrizations.weight.original1"}};

// The first occurrence of each pattern replaced, in order.
template <class Renames>
std::string rename(std::string name, const Renames& renames) {
  for (const auto& [from, to] : renames) {
    const size_t at = name.find(from);
    if (at != name.npos) name.replace(at, from.size(), to);
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

// distilbert's create_sinusoidal_embeddings.
void fill_sinusoidal(float* out, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < cols; ++j) {
      const double angle = double(row) / std::pow(10000.0, double(2 * (j / 2)) / double(cols));
      *out++ = float(j % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
}

Tensor draw(const RandomInit& random, std::string_view name, const Shape& shape, const Init& init) {
  Tensor result = Tensor::empty(shape);
  float* out = result.data<float>();
  int64_t count = result.numel();
  const bool by_name = init.kind == Init::Kind::by_name,
             vector_weight = shape.rank() == 1 && last_part(name) == "weight";
  if (by_name && (vector_weight || last_part(name) == "bias")) {
    std::fill(out, out + count, vector_weight ? 1.0f : 0.0f);
    return result;
  }
  if (init.kind == Init::Kind::constant) {
    std::fill(out, out + count, init.value);
    return result;
  }
  if (init.kind == Init::Kind::sinusoidal) {
    fill_sinusoidal(out, result.size(0), result.size(1));
    return result;
  }
  const uint64_t base = mix(random.seed ^ hash_name(name));
  if (init.kind == Init::Kind::uniform) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = init.low + init.value * float(mix(base + uint64_t(i)) >> 40) * 0x1p-24f;
    return result;
  }
  // Four 16-bit uniforms of one hash: their sum has mean 2 (2^16 - 1) and variance 4 (2^32 - 1) / 12.
  const float stddev = init.kind == Init::Kind::normal ? init.value : random.stddev;
  const float scale = stddev / float(std::sqrt((std::pow(2.0, 32) - 1) / 3));
  for (int64_t i = 0; i < count; ++i) {
    uint64_t r = mix(base + uint64_t(i));
    int64_t sum = int64_t(r & 0xFFFF) + int64_t(r >> 16 & 0xFFFF) + int64_t(r >> 32 & 0xFFFF) + int64_t(r >> 48);
    out[i] = float(sum - 2 * 0xFFFF) * scale;
  }
  if (init.zero_row >= 0 && init.zero_row < shape[0]) {
    const int64_t cols = count / shape[0];
    std::fill_n(out + init.zero_row * cols, cols, 0.0f);
  }
  return result;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t d : shape) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return "(" + text + (shape.size() == 1 ? ",)" : ")");
}

bool is_float(DType dtype) {
  return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F64;
}

}  // namespace

struct Weights::State {
  // A tensor that can be read, from a checkpoint or another model.
  struct Stored {
    std::string name;        // in the source
    std::string model_name;  // with all renames
    std::string saved_name;  // of another model's parameter; else empty
    std::vector<int64_t> shape;
    std::string dtype_name;
    std::optional<DType> dtype;
    std::function<Tensor()> load;
    std::string where;     // " in FILE", for messages
    bool legacy = false;   // has an old name of a LayerNorm or a weight norm
    bool renamed = false;  // by options.renames
    bool read = false;

    bool has_shape(const Shape& s) const { return std::equal(s.begin(), s.end(), shape.begin(), shape.end()); }
  };

  bool save_renamed = true;  // parameters are saved under the names that options.renames start from
  bool random = false;       // no source: everything is drawn by options.init_missing
  std::optional<Checkpoint> checkpoint;
  WeightsOptions options;
  std::vector<Stored> stored;
  std::unordered_map<std::string, size_t> by_name;  // the model's form of a name -> index into stored
  uint64_t stored_bytes = 0, bytes_read = 0, drawn_bytes = 0;
  std::string path;                         // of the source, for messages
  std::map<std::string, std::string> tied;  // target -> source
  std::set<std::string> missing;            // full names asked for
  std::vector<MismatchedKey> mismatched;
  std::vector<std::string> warnings;
  std::vector<std::string> views;  // stored tensors that the model goes on reading
  std::vector<Parameter> parameters;
  std::set<std::string> recorded;  // names in parameters

  // What is stored for the model's `name`, or null.
  Stored* find(const std::string& name) {
    std::string base = options.base_prefix + ".";
    auto it = by_name.find(name);
    if (it == by_name.end() && name.starts_with(base)) it = by_name.find(name.substr(base.size()));
    if (it == by_name.end() && !name.starts_with(base)) it = by_name.find(base + name);
    return it == by_name.end() ? nullptr : &stored[it->second];
  }

  const std::string& source_of(const std::string& name) const {
    auto it = tied.find(name);
    return it == tied.end() ? name : it->second;
  }

  // A tiny file whose config asks for huge or many layers must not cost gigabytes.
  void check_drawable(const std::string& name, const Shape& shape) {
    constexpr uint64_t kAlwaysDrawn = uint64_t(64) << 20;
    const uint64_t limit = stored_bytes > UINT64_MAX / 4 ? UINT64_MAX : std::max(kAlwaysDrawn, 4 * stored_bytes);
    const uint64_t bytes = checked_mul(uint64_t(shape.numel()), uint64_t(sizeof(float)), name);
    if (recorded.contains(name)) return;
    drawn_bytes = checked_add(drawn_bytes, bytes, name);
    if (random || drawn_bytes <= limit) return;
    throw Error(ErrorCode::bad_file, name,
                "expected at most " + std::to_string(limit) + " bytes of tensors to draw, as the checkpoint " + path +
                    " has " + std::to_string(stored_bytes) + " bytes and not this tensor, but got " +
                    std::to_string(drawn_bytes) + " with this one of shape " + shape.str());
  }

  // Notes `name` as a parameter of the model and gives its values as they are kept.
  Tensor take(const std::string& name, const std::string& saved_name, const Shape& shape, DType dtype,
              std::function<Tensor()> load) {
    const DType kept = options.dtype.value_or(dtype);
    if (kept != dtype) {
      load = [load = std::move(load), kept] {
        const Tensor values = load();
        return values.dtype() == kept ? values : values.to(kept);
      };
    }
    const Tensor tensor = load();
    record({name, saved_name, shape, kept, std::move(load)});
    return tensor;
  }

  void record(Parameter parameter) {
    if (recorded.insert(parameter.name).second) parameters.push_back(std::move(parameter));
  }

  // As transformers saves it: the class's renames reversed unless the file had the model's names, legacy names where
  // the file had them.
  std::string saved_name_of(const std::string& name, const Stored* from) const {
    if (from != nullptr && !from->saved_name.empty()) return from->saved_name;
    std::string result = name;
    if (!save_renamed) return result;
    for (auto it = options.renames.rbegin(); it != options.renames.rend(); ++it)
      result = rename(result, std::initializer_list<Rename>{{it->second, it->first}});
    if (from != nullptr && from->legacy)
      for (const auto& [old_name, new_name] : kLegacyNames)
        result = rename(result, std::initializer_list<Rename>{{new_name, old_name}});
    return result;
  }

  void count_as_read(Stored& from, const Shape& shape) {
    if (from.read) return;
    from.read = true;
    bytes_read += uint64_t(shape.numel()) * size_of(*from.dtype);
    if (options.progress) options.progress(bytes_read, stored_bytes);
  }

  Tensor load(const std::string& name, Stored& from, const Shape& shape) {
    if (!from.dtype || !is_float(*from.dtype)) {
      throw Error(ErrorCode::bad_file, name,
                  "expected F32, F16, BF16 or F64 values but got " + from.dtype_name + from.where);
    }
    count_as_read(from, shape);
    const Tensor tensor = take(name, saved_name_of(name, &from), shape, *from.dtype, from.load);
    const bool view = *from.dtype == DType::F32 && options.dtype.value_or(DType::F32) == DType::F32;
    if (!view && checkpoint) checkpoint->release(from.name);
    return tensor;
  }

  // The matrix in 8 bits at `name`, if one of this shape is stored, and its scales; else two nulls.
  std::pair<Stored*, Stored*> find_quantized(const std::string& name, const Shape& shape) {
    Stored* values = find(name);
    if (values == nullptr || values->dtype != DType::I8 || !values->has_shape(shape)) return {};
    const std::string scale_name = name + kScaleSuffix;
    const Shape scale_shape{shape[0], 1};
    Stored* scales = find(scale_name);
    if (scales == nullptr || scales->dtype != DType::F32 || !scales->has_shape(scale_shape))
      throw Error(ErrorCode::bad_file, scale_name,
                  "expected " + scale_shape.str() + " F32 but got " +
                      (scales == nullptr ? "none" : shape_text(scales->shape) + " " + scales->dtype_name) +
                      values->where);
    const Tensor numbers = scales->load();
    for (float scale : numbers.values<float>())
      if (!(scale >= 0 && std::isfinite(scale)))
        throw Error(ErrorCode::bad_file, scale_name, "expected finite scales of at least 0" + scales->where);
    count_as_read(*values, shape);
    count_as_read(*scales, scale_shape);
    return {values, scales};
  }

  Tensor draw_new(const std::string& name, const Shape& shape, const Init& init) {
    check_drawable(name, shape);
    return take(name, saved_name_of(name, nullptr), shape, DType::F32,
                [random = *options.init_missing, name, shape, init] { return draw(random, name, shape, init); });
  }

  void add(Stored entry, std::string model_name) {
    by_name.emplace(std::move(model_name), stored.size());
    stored.push_back(std::move(entry));
  }
};

Weights::Weights(Checkpoint checkpoint, WeightsOptions options) : state_(std::make_shared<State>()) {
  State& state = *state_;
  state.options = std::move(options);
  state.path = checkpoint.path();
  state.stored_bytes = checkpoint.total_bytes();
  for (const std::string& name : checkpoint.names()) {
    const TensorInfo& info = *checkpoint.find(name);
    state.add({name, name, "", info.shape, std::string(info.dtype_name), info.dtype,
               [checkpoint, name] { return checkpoint.tensor(name); }, " in " + checkpoint.file_of(name)},
              name);
  }
  for (size_t i = 0; i < state.stored.size(); ++i) {
    State::Stored& entry = state.stored[i];
    const std::string modern = rename(entry.name, kLegacyNames);
    entry.legacy = modern != entry.name;
    entry.model_name = rename(modern, state.options.renames);
    entry.renamed = entry.model_name != modern;
    state.by_name.emplace(entry.model_name, i);
  }
  if (!state.options.renames.empty())
    state.save_renamed = std::ranges::any_of(state.stored, [](const State::Stored& entry) { return entry.renamed; });
  state.checkpoint = std::move(checkpoint);
}

Weights::Weights(const std::vector<Parameter>& parameters, WeightsOptions options) : state_(std::make_shared<State>()) {
  State& state = *state_;
  state.options = std::move(options);
  state.path = "another model";
  for (const Parameter& p : parameters) {
    state.stored_bytes += uint64_t(p.shape.numel()) * size_of(p.dtype);
    state.add({p.name,
               p.name,
               p.saved_name,
               {p.shape.begin(), p.shape.end()},
               std::string(name_of(p.dtype)),
               p.dtype,
               p.load,
               " in another model"},
              p.name);
  }
}

Weights Weights::random(WeightsOptions options) {
  auto state = std::make_shared<State>();
  state->random = true;
  state->options = std::move(options);
  if (!state->options.init_missing) state->options.init_missing = RandomInit{};
  return Weights(std::move(state), "");
}

std::string Weights::full_name(std::string_view name) const {
  return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name);
}

Weights Weights::operator/(std::string_view part) const { return Weights(state_, full_name(part)); }
Weights Weights::operator/(int64_t index) const { return *this / std::to_string(index); }

bool Weights::has(std::string_view name) const {
  return state_->random || state_->find(state_->source_of(full_name(name))) != nullptr;
}

std::optional<DType> Weights::dtype() const { return state_->options.dtype; }

std::optional<std::vector<int64_t>> Weights::stored_shape(std::string_view name) const {
  const State::Stored* from = state_->find(state_->source_of(full_name(name)));
  return from != nullptr ? std::optional(from->shape) : std::nullopt;
}

Tensor Weights::get(std::string_view name, const Shape& shape, const Init& init) const {
  const Tensor values = get_stored(name, shape, init);
  return values.dtype() == DType::F32 ? values : values.to(DType::F32);
}

bool Weights::is_quantized(std::string_view name) const {
  const State::Stored* from = state_->find(state_->source_of(full_name(name)));
  return from != nullptr && from->dtype == DType::I8;
}

QuantizedWeight Weights::get_quantized(const Runtime& runtime, std::string_view name, const Shape& shape,
                                       const Init& init) const {
  State& state = *state_;
  const std::string full = state.source_of(full_name(name)), scale_name = full + kScaleSuffix;
  const Shape scale_shape{shape[0], 1};
  if (const auto [values, scales] = state.find_quantized(full, shape); values != nullptr) {
    state.record({full, state.saved_name_of(full, values), shape, DType::I8, values->load});
    state.record({scale_name, state.saved_name_of(scale_name, scales), scale_shape, DType::F32, scales->load});
    return {values->load(), scales->load()};
  }
  const QuantizedWeight made = quantize_weight(runtime, get(name, shape, init));
  const std::span<const float> scales = made.scales.values<float>();
  if (const auto odd = std::ranges::find_if(scales, [](float x) { return std::isnan(x); }); odd != scales.end())
    throw Error(ErrorCode::bad_file, full,
                "expected finite numbers to round to 8 bits but got NaN, inf or too large ones in row " +
                    std::to_string(odd - scales.begin()));
  const auto parameter = std::ranges::find(state.parameters, full, &Parameter::name);
  if (parameter->dtype == DType::I8) return made;
  parameter->dtype = DType::I8;
  parameter->load = [runtime, load = parameter->load] {
    const Tensor stored = load();
    return quantize_weight(runtime, stored.dtype() == DType::F32 ? stored : stored.to(DType::F32)).values;
  };
  // The scales are small: kept, they need not be found again.
  const Parameter beside{scale_name, parameter->saved_name + kScaleSuffix, scale_shape, DType::F32,
                         [scales = made.scales] { return scales; }};
  state.recorded.insert(scale_name);
  state.parameters.insert(parameter + 1, beside);
  return made;
}

Tensor Weights::get_dequantized(const Runtime& runtime, std::string_view name, const Shape& shape,
                                const Init& init) const {
  State& state = *state_;
  const std::string full = state.source_of(full_name(name));
  const auto [values, scales] = state.find_quantized(full, shape);
  if (values == nullptr) return get_stored(name, shape, init);
  return state.take(full, state.saved_name_of(full, values), shape, DType::F32,
                    [runtime, load = values->load, load_scales = scales->load] {
                      return dequantize_weight(runtime, {load(), load_scales()});
                    });
}

Tensor Weights::get_stored(std::string_view name, const Shape& shape, const Init& init) const {
  State& state = *state_;
  const std::string asked = full_name(name), full = state.source_of(asked);
  if (full != asked && state.recorded.contains(full)) {  // what the source was given, drawn or read
    const Parameter& source = *std::ranges::find(state.parameters, full, &Parameter::name);
    if (source.shape != shape)
      throw Error(
          ErrorCode::bad_file, asked,
          "expected shape " + shape.str() + " but got " + source.shape.str() + " of " + full + ", to which it is tied");
    if (state.missing.contains(full)) state.missing.insert(asked);
    return source.load();
  }
  if (state.random) return state.draw_new(full, shape, init);
  State::Stored* from = state.find(full);
  if (from == nullptr) {
    if (!state.options.init_missing) {
      throw Error(ErrorCode::not_found, full,
                  "expected a tensor of shape " + shape.str() + " but got none of this name in " + state.path);
    }
    state.missing.insert(asked);
    return state.draw_new(full, shape, init);
  }
  if (from->has_shape(shape)) return state.load(full, *from, shape);
  if (!state.options.init_missing) {
    throw Error(ErrorCode::bad_file, full,
                "expected shape " + shape.str() + " but got " + shape_text(from->shape) + from->where +
                    (from->name == full ? "" : " (there named " + from->name + ")"));
  }
  from->read = true;
  if (State::Stored* scales = is_quantized(name) ? state.find(full + kScaleSuffix) : nullptr) scales->read = true;
  if (!state.recorded.contains(full)) state.mismatched.push_back({full, from->shape, shape});
  return state.draw_new(full, shape, init);
}

void Weights::release(std::string_view name) const {
  State& state = *state_;
  const std::string full = full_name(name);
  if (!state.checkpoint || state.tied.contains(full)) return;  // the source of a tied one is read on
  if (const State::Stored* from = state.find(full)) state.checkpoint->release(from->name);
}

void Weights::overlay(const Checkpoint& other) const {
  State& state = *state_;
  for (const std::string& name : other.names()) {
    const TensorInfo& info = *other.find(name);
    State::Stored entry{name,
                        name,
                        "",
                        info.shape,
                        std::string(info.dtype_name),
                        info.dtype,
                        [other, name] { return other.tensor(name); },
                        " in " + other.file_of(name)};
    if (State::Stored* there = state.find(name))
      *there = std::move(entry);
    else
      state.add(std::move(entry), name);
  }
}

bool Weights::tie(const std::string& target, const std::string& source) const {
  State& state = *state_;
  State::Stored *from_target = state.random ? nullptr : state.find(target),
                *from_source = state.random ? nullptr : state.find(source);
  if (from_target != nullptr && from_source == nullptr) {
    state.by_name.emplace(source, size_t(from_target - state.stored.data()));
  } else if (from_target != nullptr && from_target != from_source) {
    const Tensor a = from_target->load(), b = from_source->load();
    if (a.shape() != b.shape() || a.dtype() != b.dtype() || std::memcmp(a.raw(), b.raw(), a.nbytes()) != 0) {
      state.warnings.push_back("the configuration ties " + target + " to " + source +
                               ", but the checkpoint has both with different values: they are not tied. Set "
                               "tie_word_embeddings to false to silence this warning");
      return false;
    }
    from_target->read = true;
    if (state.checkpoint)
      for (const State::Stored* compared : {from_target, from_source}) state.checkpoint->release(compared->name);
  }
  if (!state.random && from_target == nullptr && from_source == nullptr)
    state.warnings.push_back("expected " + source + " or " + target +
                             ", which is tied to it, but the checkpoint has neither");
  state.tied[target] = source;
  return true;
}

std::vector<std::string> Weights::unread() const {
  std::vector<std::string> result;
  for (const State::Stored& entry : state_->stored)
    if (!entry.read && last_part(entry.name) != "position_ids") result.push_back(entry.model_name);
  std::sort(result.begin(), result.end());
  return result;
}

std::vector<std::string> Weights::missing() const { return {state_->missing.begin(), state_->missing.end()}; }
const std::vector<MismatchedKey>& Weights::mismatched() const { return state_->mismatched; }
const std::vector<std::string>& Weights::warnings() const { return state_->warnings; }

bool Weights::found_any() const {
  return state_->random || std::ranges::any_of(state_->stored, [](const State::Stored& entry) { return entry.read; });
}

void Weights::keep(std::string_view name) const {
  State& state = *state_;
  const State::Stored* from = state.checkpoint ? state.find(state.source_of(full_name(name))) : nullptr;
  if (from == nullptr) return;
  if (from->dtype == DType::F32 && state.options.dtype.value_or(DType::F32) == DType::F32)
    state.views.push_back(from->name);
  else
    state.checkpoint->release(from->name);  // get() converted it
}

void Weights::finish() const {
  State& state = *state_;
  for (const std::string& name : state.views) state.checkpoint->read_ahead(name);
  state.views.clear();
  if (state.options.progress && state.bytes_read < state.stored_bytes)
    state.options.progress(state.bytes_read = state.stored_bytes, state.stored_bytes);
}

std::vector<Parameter> Weights::parameters() const { return state_->parameters; }

}  // namespace caracal
