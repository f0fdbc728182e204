// Files that appear whole or not at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace caracal {

/// A file written beside its final place and moved there by commit(), so that `path` never holds half of it, whatever
/// happens; without commit() nothing remains. A file that is there keeps its mode, and a link to one stays a link.
/// Every step throws io or not_found; io also for a path that is a directory, device, pipe or socket, which is left
/// alone.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();
  void write(const void* data, size_t bytes);
  /// Syncs to disk and renames.
  void commit();

 private:
  [[noreturn]] void fail(const char* step) const;
  void discard() noexcept;
  std::string path_, temporary_;  // path_ is behind all links
  int fd_ = -1;
};

/// The whole of a file as an AtomicFile: written and committed.
void write_atomically(const std::string& path, std::string_view content);

}  // namespace caracal
