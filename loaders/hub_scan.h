// caracal::hub's view of the whole cache: what is in it, taking out, and checking every byte. The source is
// huggingface_hub's utils/_cache_manager.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace caracal {

struct CachedRevision {
  std::string commit;
  std::vector<std::string> refs = {};  // branches and tags that the cache knows to be at this commit
  std::vector<std::string> files = {};
  uint64_t bytes = 0;
};
struct CachedRepository {
  std::string name, path;
  uint64_t bytes = 0;  // of all blobs, each once, shared with other repositories or not, and of unfinished downloads
  std::vector<CachedRevision> revisions = {};
  std::vector<std::string> incomplete = {};  // paths of unfinished downloads, dead ones or running
};
/// All models of the cache (default: hub_settings().cache), by name. Throws io when it cannot be read; a cache that is
/// not there is empty.
std::vector<CachedRepository> scan_cache(const std::string& cache_dir = {});

/// Takes a repository out of the cache, or one of its revisions (a commit, branch or tag) with the blobs that no other
/// one uses. Returns the bytes freed, without what other repositories share. Throws not_found, invalid_argument or io.
uint64_t remove_from_cache(const std::string& name, const std::string& revision = {},
                           const std::string& cache_dir = {});

struct CacheReport {
  uint64_t blobs = 0, bytes = 0;      // that were read and hashed
  std::vector<std::string> problems;  // a line each: blobs whose hash is not their name, links that lead nowhere
  std::vector<std::string> notes;     // what could not be checked, unfinished downloads
};
/// Hashes every blob of one repository, or of all when `name` is empty. Throws not_found, invalid_argument or io; what
/// is wrong with a blob is a problem of the report.
CacheReport verify_cache(const std::string& name = {}, const std::string& cache_dir = {});

}  // namespace caracal
