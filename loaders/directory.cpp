#include <caracal/loaders/directory.h>

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

namespace caracal {

std::vector<std::string> names_in(const std::string& directory, std::error_code& error) {
  std::vector<std::string> names;
  error.clear();
  const std::unique_ptr<DIR, void (*)(DIR*)> stream(::opendir(directory.c_str()), [](DIR* d) { ::closedir(d); });
  if (stream == nullptr) {
    error.assign(errno, std::generic_category());
    return names;
  }
  for (;;) {
    errno = 0;  // the only sign that the end is none
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) error.assign(errno, std::generic_category());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace caracal
