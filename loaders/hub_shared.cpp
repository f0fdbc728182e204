#include <caracal/loaders/hub_shared.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <caracal/loaders/file.h>
#include <caracal/loaders/hub_blob.h>
#include <caracal/loaders/hub_cache.h>

namespace caracal::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMarker = ".huggingface-shared-blobs", kVersion = "1\n";
constexpr uint64_t kLongestRefs = uint64_t(16) << 20;  // bytes of a list of links

bool is(fs::file_type type, const fs::path& path) {  // links not followed
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == type;
}
bool is_regular(const fs::path& path) { return is(fs::file_type::regular, path); }

// "models--owner--name/blobs/ETAG", or of another type of repository.
bool is_blob_name(const fs::path& relative) {
  const std::vector<fs::path> parts(relative.begin(), relative.end());
  constexpr std::array<std::string_view, 4> kTypes = {"datasets--", "kernels--", "models--", "spaces--"};
  return parts.size() == 3 && parts[1] == "blobs" && parts[2] != ".." &&
         std::any_of(kTypes.begin(), kTypes.end(),
                     [&](std::string_view type) { return parts[0].string().starts_with(type); });
}

// As shared_blob(). `error` is set where there may be a link that could not be read.
fs::path follow(const fs::path& blob, std::error_code& error) {
  const fs::path target = fs::read_symlink(blob, error);
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory ||
      error == std::errc::invalid_argument) {  // the last: no link
    error.clear();
    return {};
  }
  if (error) return {};
  const fs::path blobs = fs::absolute(blob.parent_path(), error);
  if (error) return {};
  const fs::path cache = blobs.parent_path().parent_path().lexically_normal();
  const fs::path shared = (target.is_absolute() ? target : blobs / target).lexically_normal();
  return is_shared_blob(shared.string(), cache.string()) ? shared : fs::path();
}

// Whether a line of the list is a link to the shared file, or may be one.
bool is_referenced(const fs::path& shared, const fs::path& cache, std::string_view refs) {
  for (size_t begin = 0; begin < refs.size();) {
    const size_t end = std::min(refs.find('\n', begin), refs.size());
    const fs::path relative = refs.substr(begin, end - begin);
    begin = end + 1;
    std::error_code error;
    if (is_blob_name(relative) && (follow(cache / relative, error) == shared || error)) return true;
  }
  return false;
}

}  // namespace

fs::path shared_blob(const fs::path& blob) {
  std::error_code ignored;
  return follow(blob, ignored);
}

uint64_t sweep_shared_blob(const fs::path& shared) try {
  const fs::path store = shared.parent_path().parent_path(), list = shared.string() + ".refs";
  if (!is(fs::file_type::directory, store) || !is_regular(store / kMarker) ||
      read_start(store / kMarker, 16) != kVersion)
    return 0;
  constexpr unsigned kAnybody = 0666;
  const FileLock lock(shared.string() + ".lock", {}, kAnybody);
  std::error_code error;
  if (!is_regular(shared) || !is_regular(list) || fs::file_size(list, error) > kLongestRefs || error) return 0;
  const std::string refs = read_start(list, kLongestRefs);  // nothing when it cannot be read
  if (refs.empty() || is_referenced(shared, store.parent_path(), refs)) return 0;
  const uintmax_t bytes = fs::file_size(shared, error);
  if (error || !fs::remove(shared, error)) return 0;
  fs::remove(list, error);
  return uint64_t(bytes);
} catch (const Error&) {  // of the lock
  return 0;
}

}  // namespace caracal::hub
