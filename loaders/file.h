// Files from outside: opened read-only, confined to their directory where their name comes from a file, and given as
// bytes that stay valid while someone holds them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace caracal {

/// How a file's bytes come into memory. `map` costs nothing until a page is read, but the process dies by SIGBUS when
/// somebody truncates the file meanwhile; `read` copies the file first, for directories that others may write to.
enum class Access { map, read };

/// How open_beneath confines a name: by the kernel (openat2, Linux 5.6), by comparing resolved paths, or by the first
/// of the two that works here.
enum class Confinement { automatic, kernel, resolved_path };

/// An open regular file. `path` is only for messages.
class File {
 public:
  /// Follows symbolic links. Throws not_found, or io for a directory, device or unreadable file.
  static File open(const std::string& path);

  /// Opens `name`, which came from a file's content, below the directory `root`. Symbolic links may be followed but
  /// never out of `root`; in a hub cache (models--*/snapshots/REVISION) not out of the models--* folder, so that links
  /// into its blobs/ work, but into the files that all repositories of the cache share. Throws bad_file for a name that
  /// leaves, not_found, or io.
  static File open_beneath(const std::string& root, std::string_view name, Confinement how = Confinement::automatic);

  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();

  int descriptor() const noexcept { return fd_; }
  uint64_t size() const noexcept { return size_; }
  const std::string& path() const noexcept { return path_; }

 private:
  File(int fd, std::string path);
  int fd_;
  uint64_t size_ = 0;
  std::string path_;
};

/// Read-only bytes and what keeps them valid.
struct Bytes {
  std::span<const uint8_t> span;
  std::shared_ptr<const void> owner;
  bool mapped = false;  // a file's own pages, which release() can let go
};

/// The whole file, mapped or read. Throws io, also when the file shrinks while it is read.
Bytes load_bytes(const File& file, Access access);

/// The first bytes of a file, `most` at most; nothing when there is no regular file that can be read.
std::string read_start(const std::string& path, size_t most);

/// Lets the pages of `part` of `bytes` leave this process's memory, and those around it that the kernel may have mapped
/// along with them (up to 2 MiB): they come back from the page cache when somebody reads them again. Does nothing for
/// bytes that are not mapped.
void release(const Bytes& bytes, std::span<const uint8_t> part) noexcept;
/// Reads `part` of mapped `bytes`, piece by piece, and lets each piece's pages go: they are in the page cache then, and
/// count for no process.
void read_ahead(const Bytes& bytes, std::span<const uint8_t> part) noexcept;

/// Throws bad_file unless `name` is one relative path that stays where it is: not empty, no "." or ".." part, no
/// absolute path, drive letter, backslash or NUL. `where` is the file that holds the name.
void check_relative_name(std::string_view name, std::string_view where);

/// Name of the format whose file name ends so (".bin", ".pt", ".h5", ".gguf", …) or whose content begins so, when
/// it is one in which weights are spread that caracal refuses; empty otherwise.
std::string_view foreign_format_of_name(std::string_view file_name) noexcept;
std::string_view foreign_format_of_content(std::span<const uint8_t> content) noexcept;

/// Throws unsupported: what the file is, why caracal does not read it, and what to do instead.
[[noreturn]] void throw_foreign_format(std::string_view format, std::string_view path);

}  // namespace caracal
