#include <caracal/runtime/atomic_file.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <caracal/runtime/error.h>

namespace caracal {

namespace fs = std::filesystem;

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  // Renaming replaces the name itself, so whatever has it must be a regular file, and a link must be followed first.
  struct stat status {};
  const bool exists = ::lstat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) fail("create");
  if (exists) {
    std::error_code error;
    path_ = fs::canonical(path, error).string();
    if (error || ::stat(path_.c_str(), &status) != 0) {
      if (error) errno = error.value();
      path_ = path;
      fail("replace");
    }
    if (!S_ISREG(status.st_mode))
      throw Error(ErrorCode::io, path,
                  std::string("expected a regular file but got ") +
                      (S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket"));
  }
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = path_ + "." + std::to_string(::getpid()) + "-" + std::to_string(attempt) + ".tmp";
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == 1000)) fail("create");
  }
  if (exists && ::fchmod(fd_, status.st_mode & 0777) != 0) {
    const int error = errno;
    discard();  // no destructor follows
    errno = error;
    fail("set the mode of");
  }
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t put = ::write(fd_, p, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("write");
    p += put;
    bytes -= size_t(put);
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail("sync");
  if (::close(std::exchange(fd_, -1)) != 0) fail("close");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
  temporary_.clear();
  // The new name must survive a power cut too. Not every file system lets a directory be opened or synced.
  fs::path folder = fs::path(path_).parent_path();
  int directory = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

void AtomicFile::fail(const char* step) const {
  int error = errno;
  throw Error(error == ENOENT || error == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, path_,
              std::string("expected to ") + step + " the file but got: " + std::generic_category().message(error));
}

void write_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}

}  // namespace caracal
