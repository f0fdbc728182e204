// What changes a model or writes it: save_pretrained, resize_token_embeddings, prune_heads.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <caracal/loaders/directory.h>
#include <caracal/loaders/file.h>
#include <caracal/loaders/safetensors.h>
#include <caracal/models/modeling_utils.h>
#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

void make_directory(const std::string& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error || !fs::is_directory(directory, error))
    throw Error(ErrorCode::io, directory, "expected to create this directory but got: " + error.message());
}

// As huggingface_hub's split_torch_state_dict_into_shards: in order, a new shard when the next parameter does not fit.
std::vector<std::vector<const Parameter*>> split_into_shards(const std::vector<Parameter>& parameters, uint64_t most) {
  std::vector<std::vector<const Parameter*>> shards;
  uint64_t size = 0;
  for (const Parameter& p : parameters) {
    const uint64_t bytes = checked_mul(uint64_t(p.shape.numel()), uint64_t(size_of(p.dtype)), p.name);
    if (shards.empty() || size + bytes > most) {
      shards.emplace_back();
      size = 0;
    }
    shards.back().push_back(&p);
    size += bytes;
  }
  return shards;
}

void save_shard(const std::string& path, const std::vector<const Parameter*>& parameters) {
  std::vector<TensorSource> tensors;
  for (const Parameter* p : parameters) tensors.push_back({p->saved_name, p->dtype, p->shape, p->load});
  save_safetensors(path, tensors);
}

// "model-00002-of-00005.safetensors" with the given beginning.
bool is_shard_name(const std::string& name, const std::string& stem) {
  const std::string tail = name.starts_with(stem) ? name.substr(stem.size()) : "";
  if (tail.size() != std::strlen("-00002-of-00005.safetensors") || !tail.ends_with(".safetensors")) return false;
  auto digits = [&](size_t at) { return tail.find_first_not_of("0123456789", at) == at + 5; };
  return tail[0] == '-' && digits(1) && tail.compare(6, 4, "-of-") == 0 && digits(10);
}

// What an earlier save left and would be loaded in place of, or beside, what was just written.
void remove_stale(const std::string& directory, const std::string& stem, const std::vector<std::string>& written) {
  std::error_code error;
  const std::vector<std::string> names = names_in(directory, error);
  if (error) throw Error(ErrorCode::io, directory, "expected to list the directory but got: " + error.message());
  for (const std::string& name : names) {
    const bool weights = name == stem + ".safetensors" || is_shard_name(name, stem);
    if (!weights || std::ranges::find(written, name) != written.end()) continue;
    fs::remove(directory + "/" + name, error);
    if (error)
      throw Error(ErrorCode::io, directory + "/" + name, "expected to remove the file but got: " + error.message());
  }
}

// A parameter made from another one by `change`, of the new shape.
Parameter changed(const Parameter& from, const Shape& shape, std::function<Tensor(const Tensor&)> change) {
  Parameter to = from;
  to.shape = shape;
  to.load = [load = from.load, change = std::move(change)] { return change(load()); };
  return to;
}

// The first `rows` rows, and where there are fewer the mean of all for each new one.
Tensor resize_rows(const Tensor& stored, int64_t rows) {
  const int64_t old_rows = stored.size(0);
  if (rows <= old_rows) return stored.rows(0, rows);
  const Tensor from = stored.to(DType::F32);
  const int64_t cols = from.numel() / old_rows;
  std::vector<int64_t> dims(from.shape().begin(), from.shape().end());
  dims[0] = rows;
  Tensor to = Tensor::empty(Shape(std::span<const int64_t>(dims)));
  std::copy_n(from.data<float>(), from.numel(), to.data<float>());
  for (int64_t c = 0; c < cols; c++) {
    double sum = 0;
    for (int64_t r = 0; r < old_rows; r++) sum += double(from.data<float>()[r * cols + c]);
    for (int64_t r = old_rows; r < rows; r++) to.data<float>()[r * cols + c] = float(sum / double(old_rows));
  }
  return to.to(stored.dtype());
}

// The kept blocks of `block` rows of x (n, …), or of columns of x (m, n), of any dtype.
Tensor keep_blocks(const Tensor& x, const std::vector<int64_t>& blocks, int64_t block, bool columns) {
  const int64_t kept = int64_t(blocks.size()) * block, rows = columns ? x.size(0) : 1;
  const size_t unit = x.nbytes() / size_t(rows * (columns ? x.size(1) : x.size(0)));  // bytes of one row or element
  std::vector<int64_t> dims(x.shape().begin(), x.shape().end());
  dims[columns ? 1 : 0] = kept;
  Tensor out = Tensor::empty(Shape(std::span<const int64_t>(dims)), x.dtype());
  const size_t stride = x.nbytes() / size_t(rows), bytes = size_t(block) * unit;
  for (int64_t b : blocks)
    if ((b + 1) * block > x.size(columns ? 1 : 0))
      throw Error(ErrorCode::internal, "prune_heads", "expected heads within " + x.shape().str());
  char* to = static_cast<char*>(out.raw());
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t b : blocks) {
      std::memcpy(to, static_cast<const char*>(x.raw()) + size_t(r) * stride + size_t(b) * bytes, bytes);
      to += bytes;
    }
  }
  return out;
}

// keep_blocks of the columns of a matrix in 8 bits, whose rotation mixes them: it is rounded anew.
void prune_quantized_columns(const Runtime& runtime, Parameter& values, Parameter& scales, const Shape& shape,
                             const std::vector<int64_t>& blocks, int64_t block) {
  const auto pruned = [runtime, blocks, block, load = values.load, load_scales = scales.load] {
    const Tensor matrix = dequantize_weight(runtime, {load(), load_scales()});
    return quantize_weight(runtime, keep_blocks(matrix, blocks, block, /*columns=*/true));
  };
  scales.load = [kept = pruned().scales] { return kept; };
  values.shape = shape;
  values.load = [pruned] { return pruned().values; };
}

}  // namespace

uint64_t parse_size(const std::string& text) {
  struct Unit {
    std::string_view name;
    uint64_t bytes;
  };
  constexpr Unit kUnits[] = {{"KB", 1'000},
                             {"MB", 1'000'000},
                             {"GB", 1'000'000'000},
                             {"KIB", uint64_t(1) << 10},
                             {"MIB", uint64_t(1) << 20},
                             {"GIB", uint64_t(1) << 30},
                             {"", 1}};
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string unit(rest, end);
  for (char& c : unit) c = c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
  for (const Unit& each : kUnits)
    if (error == std::errc() && unit == each.name && number > 0)
      return checked_mul(number, each.bytes, "max_shard_size");
  throw Error(ErrorCode::invalid_argument, "max_shard_size",
              "expected a size such as 500MB or 5GiB but got '" + text + "'");
}

int64_t PreTrainedModel::num_parameters() const {
  int64_t count = 0;
  for (const Parameter& p : parameters_)
    if (!p.name.ends_with(kScaleSuffix)) count += p.shape.numel();
  return count;
}

void PreTrainedModel::save_pretrained(const std::string& directory, const SaveOptions& options) const {
  if (options.max_shard_size == 0)
    throw Error(ErrorCode::invalid_argument, "save_pretrained", "expected max_shard_size of at least 1 but got 0");
  if (!options.variant.empty()) check_relative_name(options.variant, "save_pretrained");
  make_directory(directory);
  const std::string dot_variant = options.variant.empty() ? "" : "." + options.variant, stem = "model" + dot_variant;
  const std::vector<std::vector<const Parameter*>> shards = split_into_shards(parameters_, options.max_shard_size);
  std::vector<std::string> written;
  const std::string index_path = directory + "/model.safetensors.index" + dot_variant + ".json";
  if (shards.size() <= 1) {
    written.push_back(stem + ".safetensors");
    save_shard(directory + "/" + written[0], shards.empty() ? std::vector<const Parameter*>{} : shards[0]);
    std::error_code ignored;
    fs::remove(index_path, ignored);
  } else {
    Json::Object weight_map;
    int64_t total_size = 0;
    for (size_t i = 0; i < shards.size(); i++) {
      char number[32];
      std::snprintf(number, sizeof number, "-%05zu-of-%05zu", i + 1, shards.size());
      written.push_back(stem + number + ".safetensors");
      save_shard(directory + "/" + written.back(), shards[i]);
      for (const Parameter* p : shards[i]) {
        weight_map.emplace_back(p->saved_name, written.back());
        total_size += p->shape.numel() * int64_t(size_of(p->dtype));
      }
    }
    const Json index =
        Json::Object{{"metadata", Json::Object{{"total_parameters", num_parameters()}, {"total_size", total_size}}},
                     {"weight_map", std::move(weight_map)}};
    write_atomically(index_path, index.dump(2, true) + "\n");
  }
  remove_stale(directory, stem, written);
  // Last, so that a save that fails on the way leaves no configuration without its weights.
  const std::unique_ptr<PretrainedConfig> saved = config().clone();
  saved->architectures = Json::Array{class_name()};
  saved->save_pretrained(directory);
  if (can_generate()) {
    Json generation = Json::Object{{"_from_model_config", true}};
    for (const char* key :
         {"bos_token_id", "eos_token_id", "pad_token_id", "output_attentions", "output_hidden_states", "use_cache"})
      if (config().has(key) && !config().get(key).is_null()) generation.set(key, config().get(key));
    generation.set("transformers_version", kTransformersVersion);
    write_atomically(directory + "/generation_config.json", generation.dump(2, true) + "\n");
  }
}

void PreTrainedModel::resize_token_embeddings(int64_t rows, int64_t pad_to_multiple_of) {
  const std::span<const char* const> names = vocabulary_parameters();
  if (names.empty())
    throw Error(ErrorCode::unsupported, "resize_token_embeddings",
                std::string("expected a model with a vocabulary but got ") + class_name());
  constexpr int64_t kMost = int64_t(1) << 31;
  if (rows < 1 || rows >= kMost || pad_to_multiple_of < 1 || pad_to_multiple_of >= kMost)
    throw Error(ErrorCode::invalid_argument, "resize_token_embeddings",
                "expected positive 32-bit numbers of rows and of their multiple but got " + std::to_string(rows) +
                    " and " + std::to_string(pad_to_multiple_of));
  rows = (rows + pad_to_multiple_of - 1) / pad_to_multiple_of * pad_to_multiple_of;
  std::vector<Parameter> resized = parameters_;
  for (Parameter& p : resized) {
    if (std::ranges::none_of(names, [&](const char* end) { return p.name.ends_with(end); })) continue;
    std::vector<int64_t> dims(p.shape.begin(), p.shape.end());
    dims[0] = rows;
    p = changed(p, Shape(std::span<const int64_t>(dims)), [rows](const Tensor& x) { return resize_rows(x, rows); });
  }
  const Json before = config().get("vocab_size");
  mutable_config().set("vocab_size", rows);
  try {
    rebuild(resized);
  } catch (...) {
    mutable_config().set("vocab_size", before);
    throw;
  }
}

void PreTrainedModel::prune_heads(const std::map<int64_t, std::set<int64_t>>& heads) {
  const char* op = "prune_heads";
  if (attention_names(0).projections.empty() || attention_names(0).head_dim < 1)
    throw Error(ErrorCode::unsupported, op,
                std::string("expected a model with attention heads but got ") + class_name());
  const int64_t layers = config().get("num_hidden_layers").as_int();
  const int64_t all_heads = config().get("num_attention_heads").as_int();
  std::vector<Parameter> pruned = parameters_;
  Json all_pruned = config().has("pruned_heads") ? config().get("pruned_heads") : Json();
  if (!all_pruned.is_object()) all_pruned = Json::Object{};
  for (const auto& [layer, unwanted] : heads) {
    if (unwanted.empty()) continue;
    const std::string key = std::to_string(layer);
    if (layer < 0 || layer >= layers)
      throw Error(ErrorCode::invalid_argument, op,
                  "expected layers from 0 to " + std::to_string(layers - 1) + " but got " + key);
    const AttentionNames names = attention_names(layer);
    const int64_t head_dim = names.head_dim;
    // Heads that the configuration lists are gone only if the layer is as narrow as that.
    std::set<int64_t> gone;
    const Json* before = all_pruned.find(key);
    const auto query = std::ranges::find_if(
        pruned, [&](const Parameter& p) { return p.name.ends_with(names.projections[0] + ".weight"); });
    if (before != nullptr && query != pruned.end() && query->shape[0] < all_heads * head_dim)
      in_file(config().class_name(), [&] {
        for (const Json& head : before->as_array()) gone.insert(head.as_int());
      });
    std::vector<int64_t> kept;  // places among the heads that are left
    Json::Array gone_after;
    int64_t place = 0;
    for (int64_t head = 0; head < all_heads; head++) {
      if (gone.contains(head) || unwanted.contains(head)) gone_after.push_back(head);
      if (gone.contains(head)) continue;
      if (!unwanted.contains(head)) kept.push_back(place);
      place++;
    }
    if (kept.empty() || *unwanted.begin() < 0 || *unwanted.rbegin() >= all_heads)
      throw Error(ErrorCode::invalid_argument, op,
                  "expected heads from 0 to " + std::to_string(all_heads - 1) + " that leave at least one but got " +
                      std::to_string(*unwanted.begin()) + " to " + std::to_string(*unwanted.rbegin()) + " in layer " +
                      key);
    all_pruned.set(key, std::move(gone_after));
    for (Parameter& p : pruned) {
      const bool projection = std::ranges::any_of(names.projections, [&](const std::string& name) {
        return p.name.ends_with(name + ".weight") || p.name.ends_with(name + ".bias") ||
               p.name.ends_with(name + ".weight" + kScaleSuffix);
      });
      const bool output = p.name.ends_with(names.output + ".weight");
      if (!projection && !output) continue;
      std::vector<int64_t> dims(p.shape.begin(), p.shape.end());
      dims[output ? 1 : 0] = int64_t(kept.size()) * head_dim;
      const Shape shape{std::span<const int64_t>(dims)};
      if (output && p.dtype == DType::I8) {
        const auto scales = std::ranges::find(pruned, p.name + kScaleSuffix, &Parameter::name);
        if (scales == pruned.end()) throw Error(ErrorCode::internal, op, "expected scales beside " + p.name);
        prune_quantized_columns(runtime(), p, *scales, shape, kept, head_dim);
        continue;
      }
      p = changed(p, shape, [kept, head_dim, output](const Tensor& x) {
        return keep_blocks(x, kept, head_dim, /*columns=*/output);
      });
    }
  }
  const std::unique_ptr<PretrainedConfig> before = config().clone();
  mutable_config().set("pruned_heads", all_pruned);
  try {
    rebuild(pruned);
  } catch (...) {
    mutable_config().set("pruned_heads", before->has("pruned_heads") ? before->get("pruned_heads") : Json::Object{});
    throw;
  }
}

}  // namespace caracal
