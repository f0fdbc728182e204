// LD_PRELOAD: a file system on which flock always succeeds, as some network file systems have it; and a list of who
// changed which unfinished file, a line "PROCESS PATH" in $CARACAL_WRITERS for each change.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

void note(int fd) {
  const char* list = std::getenv("CARACAL_WRITERS");
  if (list == nullptr) return;
  char link[64], path[4096], line[4200];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  char* end = std::strstr(path, ".incomplete");
  if (end == nullptr) return;
  std::strcpy(end, "\n");  // without " (deleted)"
  const int size = std::snprintf(line, sizeof line, "%d %s", int(::getpid()), path);
  const int to = ::open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  (void)!::syscall(SYS_write, to, line, size_t(size));
  ::close(to);
}

}  // namespace

extern "C" int flock(int, int) { return 0; }
extern "C" ssize_t write(int fd, const void* bytes, size_t size) {
  note(fd);
  return ::syscall(SYS_write, fd, bytes, size);
}
extern "C" int ftruncate(int fd, off_t size) noexcept {
  note(fd);
  return int(::syscall(SYS_ftruncate, fd, size));
}
