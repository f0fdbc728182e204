// What a repository of the hub holds at a commit, and which of it a request needs. huggingface_hub 2.4 keeps it in the
// cache too: CACHE/models--owner--name/trees/COMMIT.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <caracal/loaders/hub_cache.h>

namespace caracal::hub {

struct TreeEntry {
  uint64_t size = 0;
  std::string git_hash = {}, sha256 = {}, xet_hash = {};  // sha256 of large files (LFS) alone
  const std::string& etag() const { return sha256.empty() ? git_hash : sha256; }
};
/// By the names of files, "folder/name".
using Tree = std::map<std::string, TreeEntry>;

/// Adds a page of the hub's answer to /api/models/NAME/tree/COMMIT. Throws bad_file.
void add_page(Tree& tree, const Json& page, const std::string& where);
/// The cache's own copy; empty when there is none or it makes no sense.
Tree read_tree(const std::filesystem::path& path);
/// The text of trees/COMMIT.json.
std::string tree_text(const Tree& tree);

/// What a request needs of a repository.
struct WantedFiles {
  std::vector<std::string> names;   ///< those that it has
  std::vector<std::string> absent;  ///< and those that it has not
  bool weights = false;             ///< whether weights are among them, or the index of sharded ones
};
/// Throws not_found for a file that is asked for by name and is not there.
WantedFiles wanted_files(const Tree& tree, const HubRequest& request);
/// The shards that the request needs by the index that lies in `snapshot`; none when the weights are one file. Without
/// the index that itself. Throws bad_file.
std::vector<std::string> wanted_shards(const Tree& tree, const HubRequest& request,
                                       const std::filesystem::path& snapshot);
/// Those of `names` that `snapshot` has not.
std::vector<std::string> missing_files(const std::filesystem::path& snapshot, const std::vector<std::string>& names);
/// What the request needs and the cached snapshot of `commit` lacks, as far as the cache can tell.
std::vector<std::string> missing_in_cache(const HubRequest& request, const std::string& commit);

}  // namespace caracal::hub
