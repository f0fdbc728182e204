#include <caracal/loaders/checkpoint.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include <caracal/loaders/directory.h>
#include <caracal/runtime/checked.h>
#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>

namespace caracal {

namespace fs = std::filesystem;

struct Checkpoint::State {
  struct Entry {
    const TensorInfo* info;
    const SafetensorsFile* file;
  };

  std::string path;
  std::vector<SafetensorsFile> files;  // never changes after open: entries point into it
  std::vector<std::string> names;      // sorted; entries[i] is that of names[i]
  std::vector<Entry> entries;
  uint64_t total_bytes = 0;
  Metadata metadata;
  std::vector<std::string> warnings;

  const Entry* find(std::string_view name) const noexcept {
    auto it = std::lower_bound(names.begin(), names.end(), name);
    return it != names.end() && *it == name ? &entries[size_t(it - names.begin())] : nullptr;
  }

  const Entry& at(std::string_view name) const {
    if (const Entry* entry = find(name)) return *entry;
    throw Error(ErrorCode::not_found, path, "expected a tensor named " + Json(name).dump() + " but got none");
  }

  void index_tensors() {
    for (const SafetensorsFile& file : files) {
      for (const TensorInfo& info : file.tensors()) {
        entries.push_back({&info, &file});
        total_bytes = checked_add(total_bytes, info.end - info.begin, path);
      }
      metadata.insert(file.metadata().begin(), file.metadata().end());
      for (const std::string& text : file.warnings()) warnings.push_back(file.path() + ": " + text);
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.info->name < b.info->name; });
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0 && entries[i].info->name == names.back()) {
        throw Error(ErrorCode::bad_file, path,
                    "expected every tensor in one shard but got " + Json(names.back()).dump() + " in " +
                        entries[i - 1].file->path() + " and " + entries[i].file->path());
      }
      names.push_back(entries[i].info->name);
    }
  }
};

namespace {

// Opens the shards that the index names, and checks that each holds the tensors it is said to hold.
std::vector<SafetensorsFile> open_shards(const std::string& directory, const std::string& index_path, Access access) {
  Bytes bytes = load_bytes(File::open(index_path), Access::read);
  std::string_view text(reinterpret_cast<const char*>(bytes.span.data()), bytes.span.size());
  Json index = Json::parse(text, index_path, Json::Duplicates::reject);
  auto fail = [&](const std::string& what) { throw Error(ErrorCode::bad_file, index_path, what); };
  const Json* map = index.find("weight_map");
  if (!map || !map->is_object() || map->as_object().empty()) {
    fail("expected a dict \"weight_map\" from tensor to file but got none, or an empty one");
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->as_object()) {
    if (!shard.is_string()) {
      fail("expected a file name but got " + std::string(shard.type_name()) + " for tensor " + Json(tensor).dump());
    }
    check_relative_name(shard.as_string(), index_path);
    shards.insert(shard.as_string());
  }

  std::vector<SafetensorsFile> files;
  std::vector<std::string> shard_names(shards.begin(), shards.end());
  for (const std::string& name : shard_names) {
    files.push_back(SafetensorsFile::open(File::open_beneath(directory, name), access));
  }
  for (const auto& [tensor, shard] : map->as_object()) {
    auto at = std::lower_bound(shard_names.begin(), shard_names.end(), shard.as_string());
    if (!files[size_t(at - shard_names.begin())].find(tensor)) {
      fail("expected tensor " + Json(tensor).dump() + " in " + Json(shard).dump() + " but that shard lacks it");
    }
  }
  return files;
}

// Nothing to open: says why, looking at what the directory has instead.
[[noreturn]] void throw_no_weights(const std::string& directory, const std::string& wanted) {
  std::error_code error;
  const std::vector<std::string> names = names_in(directory, error);
  if (error) throw Error(ErrorCode::io, directory, "expected to list the directory but got: " + error.message());
  for (const std::string& name : names) {
    std::string_view format = foreign_format_of_name(name);
    if (!format.empty()) throw_foreign_format(format, directory + "/" + name);
  }
  std::string others;
  for (const std::string& name : names) {
    if (name.ends_with(".safetensors")) others += (others.empty() ? "; it has " : ", ") + Json(name).dump();
  }
  throw Error(ErrorCode::not_found, directory,
              "expected a file named " + wanted + " or its index but got a directory without them" + others);
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& path, const CheckpointOptions& options) {
  auto state = std::make_shared<State>();
  state->path = path;
  std::string dot_variant;
  if (!options.variant.empty()) {
    check_relative_name(options.variant, path);
    dot_variant = "." + options.variant;
  }
  const std::string& directory = state->path;
  std::string wanted = "model" + dot_variant + ".safetensors";
  std::string single = directory + "/" + wanted;
  std::string index = directory + "/model.safetensors.index" + dot_variant + ".json";

  std::error_code ignored;
  fs::file_status status = fs::status(directory, ignored);
  if (!fs::exists(status)) {
    throw Error(ErrorCode::not_found, directory, "expected a model directory but got a path that does not exist");
  }
  if (!fs::is_directory(status)) {
    state->files.push_back(SafetensorsFile::open(directory, options.access));
  } else if (fs::exists(single, ignored)) {
    state->files.push_back(SafetensorsFile::open(single, options.access));
  } else if (fs::exists(index, ignored)) {
    state->files = open_shards(directory, index, options.access);
  } else {
    throw_no_weights(directory, wanted);
  }
  state->index_tensors();
  return Checkpoint(std::move(state));
}

const std::vector<std::string>& Checkpoint::names() const noexcept { return state_->names; }

const TensorInfo* Checkpoint::find(std::string_view name) const noexcept {
  const State::Entry* entry = state_->find(name);
  return entry ? entry->info : nullptr;
}

Tensor Checkpoint::tensor(std::string_view name) const {
  const State::Entry& entry = state_->at(name);
  return entry.file->tensor(*entry.info);
}

void Checkpoint::release(std::string_view name) const noexcept {
  if (const State::Entry* entry = state_->find(name)) entry->file->release(*entry->info);
}

void Checkpoint::read_ahead(std::string_view name) const noexcept {
  if (const State::Entry* entry = state_->find(name)) entry->file->read_ahead(*entry->info);
}

const std::string& Checkpoint::file_of(std::string_view name) const { return state_->at(name).file->path(); }
const std::string& Checkpoint::path() const noexcept { return state_->path; }
uint64_t Checkpoint::total_bytes() const noexcept { return state_->total_bytes; }
const Metadata& Checkpoint::metadata() const noexcept { return state_->metadata; }
const std::vector<std::string>& Checkpoint::warnings() const noexcept { return state_->warnings; }

}  // namespace caracal
