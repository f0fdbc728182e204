#include <caracal/loaders/hub_cache.h>

#include <cstdlib>
#include <filesystem>

#include <caracal/loaders/file.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

fs::path cache_directory() {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  if (const fs::path cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const fs::path home = variable("HF_HOME"); !home.empty()) return home / "hub";
  const fs::path home = variable("HOME");
  return home.empty() ? fs::path() : home / ".cache/huggingface/hub";
}

// "org/name" -> "models--org--name"; empty for what is no name of the hub.
std::string folder_of(const std::string& name) {
  std::string folder = "models--";
  int slashes = 0;
  for (char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!plain && (c != '/' || ++slashes > 1)) return {};
    folder += c == '/' ? "--" : std::string(1, c);
  }
  return name.empty() || name.front() == '/' || name.back() == '/' || name.find("..") != name.npos ? "" : folder;
}

}  // namespace

std::string resolve_model_path(const std::string& name_or_path) {
  std::error_code ignored;
  if (fs::exists(name_or_path, ignored)) return name_or_path;
  const std::string folder = folder_of(name_or_path);
  const fs::path cache = cache_directory();
  if (folder.empty() || cache.empty()) return name_or_path;
  const fs::path repository = cache / folder, branch = repository / "refs" / "main";
  if (!fs::is_regular_file(branch, ignored)) return name_or_path;
  const Bytes bytes = load_bytes(File::open(branch.string()), Access::read);
  constexpr size_t kLongestCommit = 64;
  const std::string commit(reinterpret_cast<const char*>(bytes.span.data()),
                           std::min(bytes.span.size(), kLongestCommit));
  if (commit.empty() || commit.find_first_not_of("0123456789abcdef") != commit.npos) return name_or_path;
  const fs::path snapshot = repository / "snapshots" / commit;
  return fs::is_directory(snapshot, ignored) ? snapshot.string() : name_or_path;
}

}  // namespace caracal
