#include <caracal/loaders/hub_tree.h>

#include <algorithm>
#include <system_error>

#include <caracal/loaders/file.h>
#include <caracal/runtime/error.h>

namespace caracal::hub {
namespace {

namespace fs = std::filesystem;

uint64_t size_from(const Json& value, const std::string& where) {
  if (value.as_int() < 0) throw Error(ErrorCode::bad_file, where, "expected a size but got " + value.dump());
  return uint64_t(value.as_int());
}

void check_entry(const std::string& path, const TreeEntry& entry, const std::string& where) {
  check_relative_name(path, where);
  if (!is_hex(entry.git_hash, 40) || (!entry.sha256.empty() && !is_hex(entry.sha256, 64)) ||
      (!entry.xet_hash.empty() && !is_hex(entry.xet_hash, 64)))
    throw Error(ErrorCode::bad_file, where, "expected hashes in hexadecimal for " + Json(path).dump());
}

std::string in_subfolder(const HubRequest& request, std::string_view name) {
  return request.options.subfolder.empty() ? std::string(name) : request.options.subfolder + "/" + std::string(name);
}

bool weights_wanted(const HubRequest& request) { return !request.only_more && has_weights(request.part); }

std::string weights_name(const HubRequest& request, bool index) {
  const std::string dot = request.options.variant.empty() ? "" : "." + request.options.variant;
  return in_subfolder(request, index ? "model.safetensors.index" + dot + ".json" : "model" + dot + ".safetensors");
}

// The name of the weights, or of their index; empty when the repository has neither.
std::string weights_in(const Tree& tree, const HubRequest& request) {
  for (bool index : {false, true})
    if (const std::string name = weights_name(request, index); tree.contains(name)) return name;
  return {};
}

// The folders right below the request's that have a file of this name: "1_Pooling" for "config.json".
std::vector<std::string> folders_with(const Tree& tree, const HubRequest& request, std::string_view file) {
  const std::string prefix = in_subfolder(request, "");
  std::vector<std::string> folders;
  for (const auto& [name, entry] : tree) {
    if (!name.starts_with(prefix)) continue;
    const size_t slash = name.find('/', prefix.size());
    if (slash != name.npos && name.substr(slash + 1) == file) folders.push_back(name.substr(0, slash));
  }
  return folders;
}

// The request, and where it is for a sentence transformer whose root has no weights, one for each folder that has:
// modules.json may put the model into "0_Transformer".
std::vector<HubRequest> parts_of(const Tree& tree, const HubRequest& request) {
  std::vector<HubRequest> parts{request};
  const bool modules = request.part == HubPart::sentence_transformer || request.part == HubPart::everything;
  if (request.only_more || !modules || !weights_in(tree, request).empty()) return parts;
  for (std::string& folder : folders_with(tree, request, "config.json")) {
    HubRequest part = request;
    part.options.subfolder = std::move(folder);
    part.more.clear();
    if (!weights_in(tree, part).empty()) parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

void add_page(Tree& tree, const Json& page, const std::string& where) {
  in_file(where, [&] {
    for (const Json& item : page.as_array()) {
      if (item.at("type").as_string() != "file") continue;
      TreeEntry entry{.size = size_from(item.at("size"), where), .git_hash = item.at("oid").as_string()};
      if (const Json* lfs = item.find("lfs"); lfs != nullptr && !lfs->is_null()) {
        entry.sha256 = lfs->at("oid").as_string();
        entry.size = size_from(lfs->at("size"), where);
      }
      if (const Json* xet = item.find("xetHash"); xet != nullptr && xet->is_string()) entry.xet_hash = xet->as_string();
      const std::string& path = item.at("path").as_string();
      check_entry(path, entry, where);
      tree[path] = std::move(entry);
    }
  });
}

Tree read_tree(const fs::path& path) {
  Tree tree;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return tree;
  try {
    const Json json = Json::parse_file(path.string());
    if (json.at("format_version") != Json(1)) return {};
    for (const auto& [name, item] : json.at("files").as_object()) {
      TreeEntry entry{.size = size_from(item.at("size"), name), .git_hash = item.at("blob_id").as_string()};
      if (const Json* sha256 = item.find("lfs_sha256"); sha256 != nullptr && sha256->is_string()) {
        entry.sha256 = sha256->as_string();
        entry.size = size_from(item.at("lfs_size"), name);
      }
      if (const Json* xet = item.find("xet_hash"); xet != nullptr && xet->is_string())
        entry.xet_hash = xet->as_string();
      check_entry(name, entry, path.string());
      tree[name] = std::move(entry);
    }
    return tree;
  } catch (const Error&) {
    return {};
  }
}

std::string tree_text(const Tree& tree) {
  Json files = Json::Object{};
  for (const auto& [name, entry] : tree) {
    Json item{{"size", int64_t(entry.size)}, {"blob_id", entry.git_hash}};
    if (!entry.sha256.empty()) {
      item.set("lfs_sha256", entry.sha256);
      item.set("lfs_size", int64_t(entry.size));
    }
    if (!entry.xet_hash.empty()) item.set("xet_hash", entry.xet_hash);
    files.as_object().emplace_back(name, std::move(item));
  }
  return Json{{"format_version", 1}, {"files", std::move(files)}}.dump(1);
}

WantedFiles wanted_files(const Tree& tree, const HubRequest& request) {
  WantedFiles wanted;
  for (const std::string& more : request.more) {
    const std::string name = in_subfolder(request, more);
    if (tree.contains(name))
      wanted.names.push_back(name);
    else if (request.only_more)
      throw Error(ErrorCode::not_found, request.name,
                  "expected a file " + Json(name).dump() + " in the repository but there is none");
  }
  if (request.only_more) return wanted;
  for (const HubRequest& part : parts_of(tree, request)) {
    for (std::string_view file : files_of(part.part)) {
      if (file.starts_with("*/")) {
        for (const std::string& folder : folders_with(tree, part, file.substr(2)))
          wanted.names.push_back(folder + "/" + std::string(file.substr(2)));
      } else {
        const std::string name = in_subfolder(part, file);
        (tree.contains(name) ? wanted.names : wanted.absent).push_back(name);
      }
    }
    if (!weights_wanted(part)) continue;
    if (const std::string name = weights_in(tree, part); !name.empty()) {
      wanted.names.push_back(name);
      wanted.weights = true;
    }
  }
  std::sort(wanted.names.begin(), wanted.names.end());
  wanted.names.erase(std::unique(wanted.names.begin(), wanted.names.end()), wanted.names.end());
  return wanted;
}

std::vector<std::string> wanted_shards(const Tree& tree, const HubRequest& request, const fs::path& snapshot) {
  std::vector<std::string> names;
  for (const HubRequest& part : parts_of(tree, request)) {
    if (!weights_wanted(part) || weights_in(tree, part) != weights_name(part, true)) continue;
    const std::string path = (snapshot / weights_name(part, true)).string();
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      names.push_back(weights_name(part, true));
      continue;
    }
    const Json index = Json::parse_file(path);
    in_file(path, [&] {
      for (const auto& [tensor, file] : index.at("weight_map").as_object()) {
        const std::string name = in_subfolder(part, file.as_string());
        check_relative_name(file.as_string(), path);
        if (!tree.contains(name))
          throw Error(ErrorCode::bad_file, path, "expected files of the repository but got " + Json(name).dump());
        names.push_back(name);
      }
    });
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::vector<std::string> missing_files(const fs::path& snapshot, const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    std::error_code ignored;
    if (!fs::is_regular_file(snapshot / name, ignored)) missing.push_back(name);
  }
  return missing;
}

std::vector<std::string> missing_in_cache(const HubRequest& request, const std::string& commit) {
  const fs::path repository = hub_repository_folder(request.name, request.options);
  const fs::path snapshot = repository / "snapshots" / commit;
  const Tree tree = read_tree(repository / "trees" / (commit + ".json"));
  std::vector<std::string> names;
  if (!tree.empty()) {
    names = wanted_files(tree, request).names;
    for (std::string& shard : wanted_shards(tree, request, snapshot)) names.push_back(std::move(shard));
  } else if (request.only_more) {
    for (const std::string& more : request.more) names.push_back(in_subfolder(request, more));
  }
  return missing_files(snapshot, names);
}

}  // namespace caracal::hub
