// Replaces functions of the C library through which files are reached by ones that can be told to fail, for a program
// that includes this once. Not under sanitizers, which replace some of them too.
//
//   FailedCall fault(7, ENOSPC);   // the eighth such call from here on fails
#pragma once

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <caracal/tests/sanitized.h>

#ifndef CARACAL_SANITIZED

namespace caracal {

inline std::atomic<int64_t> calls_left{-1};
inline std::atomic<int> call_error{0};
inline std::atomic<const char*> failed_call{""};

inline bool call_fails(const char* name) {
  if (calls_left < 0 || calls_left-- != 0) return false;
  failed_call = name;
  errno = call_error;
  return true;
}

/// One call fails while this lives: the one after `n` others.
class FailedCall {
 public:
  FailedCall(int64_t n, int error) { call_error = error, calls_left = n; }
  ~FailedCall() { calls_left = -1; }
  FailedCall(const FailedCall&) = delete;
  bool hit() const { return calls_left < 0; }
  /// The function that failed last.
  static const char* name() { return failed_call; }
};

}  // namespace caracal

// Under the symbol's name, but not the function's: the C library's headers declare each with its own exception
// specification and attributes.
#define CARACAL_FAILING(result, name, failure, parameters, arguments)                         \
  extern "C" result caracal_failing_##name parameters __asm__(#name);                         \
  extern "C" result caracal_failing_##name parameters {                                       \
    static const auto real = reinterpret_cast<result(*) parameters>(dlsym(RTLD_NEXT, #name)); \
    if (caracal::call_fails(#name)) return failure;                                           \
    return real arguments;                                                                    \
  }

CARACAL_FAILING(int, open, -1, (const char* path, int flags, unsigned mode), (path, flags, mode))
CARACAL_FAILING(int, open64, -1, (const char* path, int flags, unsigned mode), (path, flags, mode))
CARACAL_FAILING(int, openat, -1, (int at, const char* path, int flags, unsigned mode), (at, path, flags, mode))
CARACAL_FAILING(FILE*, fopen, nullptr, (const char* path, const char* mode), (path, mode))
CARACAL_FAILING(FILE*, fopen64, nullptr, (const char* path, const char* mode), (path, mode))
CARACAL_FAILING(ssize_t, read, -1, (int fd, void* to, size_t n), (fd, to, n))
CARACAL_FAILING(ssize_t, pread, -1, (int fd, void* to, size_t n, off_t at), (fd, to, n, at))
CARACAL_FAILING(ssize_t, write, -1, (int fd, const void* from, size_t n), (fd, from, n))
CARACAL_FAILING(int, fstat, -1, (int fd, struct stat* status), (fd, status))
CARACAL_FAILING(int, stat, -1, (const char* path, struct stat* status), (path, status))
CARACAL_FAILING(int, lstat, -1, (const char* path, struct stat* status), (path, status))
CARACAL_FAILING(int, fsync, -1, (int fd), (fd))
CARACAL_FAILING(int, fchmod, -1, (int fd, mode_t mode), (fd, mode))
CARACAL_FAILING(int, ftruncate, -1, (int fd, off_t size), (fd, size))
CARACAL_FAILING(int, rename, -1, (const char* from, const char* to), (from, to))
CARACAL_FAILING(int, mkdir, -1, (const char* path, mode_t mode), (path, mode))
CARACAL_FAILING(int, symlink, -1, (const char* to, const char* path), (to, path))
CARACAL_FAILING(int, flock, -1, (int fd, int how), (fd, how))
CARACAL_FAILING(DIR*, opendir, nullptr, (const char* path), (path))
CARACAL_FAILING(void*, mmap, MAP_FAILED, (void* at, size_t n, int protection, int flags, int fd, off_t offset),
                (at, n, protection, flags, fd, offset))
CARACAL_FAILING(int, madvise, -1, (void* at, size_t n, int advice), (at, n, advice))

#undef CARACAL_FAILING

// A file that is not written through is not closed as far as the caller knows, but its descriptor is gone.
extern "C" int caracal_failing_close(int fd) __asm__("close");
extern "C" int caracal_failing_close(int fd) {
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "close"));
  const bool fails = caracal::call_fails("close");
  const int error = errno, result = real(fd);
  if (!fails) return result;
  errno = error;
  return -1;
}

// openat2 has no function of its own.
extern "C" long caracal_failing_syscall(long number, long a, long b, long c, long d, long e, long f) __asm__("syscall");
extern "C" long caracal_failing_syscall(long number, long a, long b, long c, long d, long e, long f) {
  static const auto real = reinterpret_cast<long (*)(long, ...)>(dlsym(RTLD_NEXT, "syscall"));
  if (number == SYS_openat2 && caracal::call_fails("openat2")) return -1;
  return real(number, a, b, c, d, e, f);
}

#endif
