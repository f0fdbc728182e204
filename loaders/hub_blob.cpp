#include <caracal/loaders/hub_blob.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include <caracal/loaders/directory.h>
#include <caracal/loaders/hub_cache.h>

namespace caracal::hub {

namespace fs = std::filesystem;

namespace {

constexpr size_t kBuffer = size_t(1) << 20;
constexpr std::string_view kPartial = ".caracal-", kIncomplete = ".incomplete";

// Gives up a lock and closes its file. The lock belongs to the open file, which a process that was forked meanwhile has
// too: closing alone would leave it locked for as long as that one lives. What is not its own, that one does not
// unlock.
void unlock_and_close(int fd, pid_t owner) {
  if (::getpid() == owner) ::flock(fd, LOCK_UN);
  ::close(fd);
}

// An open file with a lock on it, closed at the end; unlinked too, unless it is to be kept.
struct Partial {
  fs::path path;
  int fd = -1;
  bool keep = true;
  pid_t owner = ::getpid();
  Partial() = default;
  Partial(Partial&& other) noexcept { swap(other); }
  Partial& operator=(Partial&& other) noexcept {
    Partial(std::move(other)).swap(*this);
    return *this;
  }
  ~Partial() {
    if (fd < 0) return;
    if (!keep && ::getpid() == owner) ::unlink(path.c_str());
    unlock_and_close(fd, owner);
  }
  void swap(Partial& other) noexcept {
    path.swap(other.path);
    std::swap(fd, other.fd);
    std::swap(keep, other.keep);
    std::swap(owner, other.owner);
  }
};

// False with errno.
bool write_all(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    bytes = bytes.subspan(size_t(put));
  }
  return true;
}

// Calls `take` with the file's bytes, piece by piece, up to its end.
template <class F>
void read_all(int fd, const fs::path& path, F take) {
  std::vector<uint8_t> buffer(kBuffer);
  for (off_t at = 0;;) {
    const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno(path, "read the file");
    if (got == 0) return;
    take(std::span<const uint8_t>(buffer.data(), size_t(got)));
    at += got;
  }
}

// What dead downloads of this blob left behind, beside our `own` file. The flock that each holds on its own file tells
// the dead from the living; where that lies, a living one loses its name, notices, and starts again.
std::vector<Partial> leftovers(const fs::path& blobs, const std::string& etag, const fs::path& own) {
  std::vector<Partial> found;
  std::error_code error;
  for (const std::string& name : names_in(blobs.string(), error)) {
    if (!name.starts_with(etag + std::string(kPartial)) || !name.ends_with(kIncomplete) || blobs / name == own)
      continue;
    Partial partial;
    partial.path = blobs / name;
    partial.fd = ::open(partial.path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (partial.fd >= 0 && (::flock(partial.fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
      found.push_back(std::move(partial));
  }
  return found;
}

uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? uint64_t(status.st_size) : 0;
}

// One download: the file, its hash so far, and how much of it there is.
class Download {
 public:
  // `lost` is what an earlier one fetched, and somebody took the name of: it is taken over alone, as whole files that
  // took each other's names would never come to an end.
  Download(const Blob& blob, const BlobProgress& progress, Partial lost) : blob_(blob), progress_(progress) {
    const fs::path blobs = blob.repository / "blobs";
    for (int attempt = 0; file_.fd < 0; attempt++) {
      file_.path = blobs / (blob.etag + std::string(kPartial) + random_suffix() + std::string(kIncomplete));
      file_.fd = ::open(file_.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_.fd < 0 && (errno != EEXIST || attempt == 100)) throw_errno(file_.path, "create the file");
    }
    ::flock(file_.fd, LOCK_EX | LOCK_NB);  // nobody else has it: says that we live
    try {
      restart();
      std::vector<Partial> found;
      if (lost.fd >= 0)
        found.push_back(std::move(lost));
      else
        found = leftovers(blobs, blob.etag, file_.path);
      take_over(std::move(found));
    } catch (...) {
      file_.keep = found_ > 0;
      throw;
    }
  }
  ~Download() {
    if (done_ == 0) file_.keep = false;  // nothing to resume
  }

  // Fetches until all bytes are there.
  void run(HttpSession& http) {
    uint64_t furthest = done_;  // a server that starts again and again makes no progress
    for (int failures = 0; done_ < blob_.size || (blob_.size == 0 && !fetched_); furthest = std::max(furthest, done_)) {
      const uint64_t before = done_;
      try {
        fetch_rest(http);
        if (done_ < blob_.size)
          throw TransientError(blob_.name,
                               "expected " + std::to_string(blob_.size) + " bytes but got " + std::to_string(done_));
      } catch (const TransientError& error) {
        failures = done_ > furthest ? 0 : failures + 1;  // in a row without a new byte
        http.wait_or_throw(error, failures);
      } catch (const RangeError&) {
        if (before == 0) throw;
        restart();
      }
    }
  }

  // Throws bad_file and forgets the bytes when they are the wrong ones.
  void check() {
    const std::string got = hash_->finish();
    if (got == blob_.etag) return;
    file_.keep = false;
    throw Error(ErrorCode::bad_file, blob_.name,
                std::string("expected ") + (blob_.etag.size() == 64 ? "SHA-256 " : "git hash ") + blob_.etag +
                    " but got " + got);
  }

  // False when somebody has taken the file's name away (see leftovers).
  bool publish(const fs::path& path) {
    if (::fsync(file_.fd) != 0) fail("sync");
    struct stat ours {
    }, named{};
    if (::fstat(file_.fd, &ours) != 0) fail("look at");
    if (::lstat(file_.path.c_str(), &named) != 0 || ours.st_ino != named.st_ino) return false;
    if (::rename(file_.path.c_str(), path.c_str()) == 0) return true;
    if (errno == ENOENT) return false;
    fail("rename");
  }

  bool resumed() const { return found_ > 0; }
  Partial release() { return std::move(file_); }

 private:
  // What was found stays for the next call. What has come since does not help against a full disk, and goes.
  [[noreturn]] void fail(const char* step) {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
      file_.keep = found_ > 0 && ::ftruncate(file_.fd, off_t(found_)) == 0;
    errno = error;
    throw_errno(file_.path, std::string(step) + " the file");
  }

  void restart() {
    if (::ftruncate(file_.fd, 0) != 0 || ::lseek(file_.fd, 0, SEEK_SET) != 0) fail("empty");
    hash_ = std::make_unique<BlobHash>(blob_.etag, blob_.size);
    done_ = found_ = 0;
    etag_.clear();
  }

  void append(std::span<const uint8_t> bytes) {
    if (bytes.size() > blob_.size - done_) {
      file_.keep = false;
      throw Error(ErrorCode::bad_file, blob_.name, "expected " + std::to_string(blob_.size) + " bytes but got more");
    }
    while (!write_all(file_.fd, bytes))
      if ((errno != ENOSPC && errno != EDQUOT) || !make_room()) fail("write");
    hash_->update(bytes);
    done_ += bytes.size();
  }

  // Copies the longest leftover, so that no two processes ever hold one file, and removes all of them.
  void take_over(std::vector<Partial> found) {
    for (Partial& each : found) {
      if (size_of(each.fd) > (source_.fd < 0 ? 0 : size_of(source_.fd)) && size_of(each.fd) <= blob_.size)
        source_.swap(each);
      each.keep = false;
    }
    found.clear();
    if (source_.fd < 0) return;
    // A caller who stops, and a full disk, leave it for the next call.
    read_all(source_.fd, source_.path, [&](std::span<const uint8_t> bytes) {
      append(bytes);
      progress_(done_);
    });
    found_ = done_;
    source_.keep = false;
    source_ = {};
  }

  // On a full disk: takes what has been copied out of the leftover. That then has a hole, so first its name goes, by
  // which another download would take it over or, where its lock has lied, its own would publish it.
  bool make_room() {
    const int full = errno;
    constexpr int kHole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    struct stat status {};
    const bool nameless = source_.fd >= 0 && done_ > found_ &&  // else nothing has come since the last time
                          ::fallocate(file_.fd, kHole, off_t(blob_.size), 1) == 0 &&  // holes can be made here
                          (::unlink(source_.path.c_str()) == 0 || errno == ENOENT) &&
                          ::fstat(source_.fd, &status) == 0 && status.st_nlink == 0;
    if (nameless) found_ = done_;
    const bool room = nameless && ::fallocate(source_.fd, kHole, 0, off_t(done_)) == 0 &&
                      ::lseek(file_.fd, off_t(done_), SEEK_SET) == off_t(done_);
    errno = full;
    return room;
  }

  void fetch_rest(HttpSession& http) {
    HttpRequest request = blob_.request;
    request.begin = done_;
    request.if_range = etag_;
    http.get(
        request,
        [&](const HttpHeaders& headers) {
          if (!headers.repo_commit.empty() && headers.repo_commit != blob_.commit)
            throw Error(ErrorCode::bad_file, blob_.name,
                        "expected a file of commit " + blob_.commit + " but got one of '" + headers.repo_commit + "'");
          const bool part = headers.status == 206;
          if (part && (headers.range_begin != int64_t(done_) || headers.range_total != int64_t(blob_.size)))
            throw RangeError(blob_.name, "expected bytes from " + std::to_string(done_) + " of " +
                                             std::to_string(blob_.size) + " but got them from " +
                                             std::to_string(headers.range_begin) + " of " +
                                             std::to_string(headers.range_total));
          if (!part && done_ > 0) restart();  // no ranges here, or another file by now
          const uint64_t rest = blob_.size - done_;
          if (headers.content_length >= 0 && uint64_t(headers.content_length) != rest)
            throw RangeError(blob_.name, "expected " + std::to_string(rest) + " bytes but the server announced " +
                                             std::to_string(headers.content_length));
          etag_ = headers.etag.starts_with('"') ? headers.etag : std::string();  // a weak one promises nothing
          progress_(done_);
        },
        [&](std::span<const uint8_t> bytes) {
          append(bytes);
          progress_(done_);
        });
    fetched_ = true;
  }

  const Blob& blob_;
  const BlobProgress& progress_;
  Partial file_;
  Partial source_;  // the leftover that is being copied
  std::unique_ptr<BlobHash> hash_;
  uint64_t done_ = 0;
  uint64_t found_ = 0;  // of it not from the server
  std::string etag_;    // that the last response had
  bool fetched_ = false;
};

}  // namespace

BlobHash::BlobHash(std::string_view etag, uint64_t size) : context_(nullptr) {
  if (!is_hex(etag, 40) && !is_hex(etag, 64))
    throw Error(ErrorCode::bad_file, "hub",
                "expected a SHA-1 or SHA-256 in hexadecimal but got another name of a blob");
  const bool git = etag.size() == 40;
  const std::string head = "blob " + std::to_string(size);  // before what would leak if it threw
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  if (context == nullptr || EVP_DigestInit_ex(context, git ? EVP_sha1() : EVP_sha256(), nullptr) != 1) {
    EVP_MD_CTX_free(context);
    throw Error(ErrorCode::io, "hub", "expected OpenSSL to have SHA-1 and SHA-256 but it has not");
  }
  context_ = context;
  if (git) update({reinterpret_cast<const uint8_t*>(head.c_str()), head.size() + 1});
}

BlobHash::~BlobHash() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void BlobHash::update(std::span<const uint8_t> bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
}

std::string BlobHash::finish() {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), &length);
  std::string text;
  for (unsigned i = 0; i < length; i++) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string hash_of_file(int descriptor, std::string_view etag, uint64_t size, const std::string& path) {
  BlobHash hash(etag, size);
  read_all(descriptor, path, [&](std::span<const uint8_t> bytes) { hash.update(bytes); });
  return hash.finish();
}

FileLock::FileLock(const std::string& path, const Waiting& waiting, unsigned mode) : owner_(::getpid()) {
  constexpr double kPoll = 0.02;
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  while (true) {
    fd_ = ::open(path.c_str(), kFlags | O_CREAT | O_EXCL, mode);
    if (fd_ >= 0) {
      (void)::fchmod(fd_, mode);  // some file systems have no modes
    } else if (errno == EEXIST) {
      fd_ = ::open(path.c_str(), kFlags);
      if (fd_ < 0 && errno == ENOENT) continue;  // removed meanwhile
    }
    if (fd_ < 0) throw_errno(path, "open the lock file");
    int status = 0;
    try {
      while ((status = ::flock(fd_, LOCK_EX | LOCK_NB)) != 0 && (errno == EWOULDBLOCK || errno == EINTR))
        wait_seconds(kPoll, waiting);
    } catch (...) {
      ::close(fd_);
      throw;
    }
    struct stat ours {
    }, named{};
    const bool same = ::fstat(fd_, &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
                      ours.st_dev == named.st_dev;
    if (status != 0 || same) return;  // else it was removed while we waited: lock its successor
    unlock_and_close(fd_, owner_);
  }
}

FileLock::~FileLock() { unlock_and_close(fd_, owner_); }

void fetch_blob(HttpSession& http, const Blob& blob, bool force, const BlobProgress& progress) {
  const fs::path blobs = blob.repository / "blobs", path = blobs / blob.etag;
  auto there = [&] {
    std::error_code ignored;
    return fs::is_regular_file(path, ignored);
  };
  const BlobHash valid(blob.etag, blob.size);  // throws before the name becomes a path
  if (!force && there()) return progress(blob.size);
  make_directories(blobs);
  make_directories(blob.lock.parent_path());
  const FileLock lock(blob.lock.string(), http.waiting());
  if (!force && there()) return progress(blob.size);  // another process fetched it while we waited
  constexpr int kAttempts = 10;
  Partial lost;
  for (int attempt = 1; attempt <= kAttempts; attempt++) {
    Download download(blob, progress, std::move(lost));
    download.run(http);
    try {
      download.check();
    } catch (const Error&) {
      if (!download.resumed()) throw;
      continue;  // the leftover was damaged, not the server: once more, from the first byte
    }
    if (download.publish(path)) return;
    if (!force && there()) return;
    lost = download.release();  // it has no name any more, so no link can give it one: its bytes are copied
  }
  throw Error(ErrorCode::io, path.string(), "expected to keep a partial file but others kept changing it");
}

void throw_errno(const fs::path& path, const std::string& step) {
  const int error = errno;
  throw Error(error == ENOENT || error == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, path.string(),
              "expected to " + step + " but got: " + std::generic_category().message(error));
}

void make_directories(const fs::path& path) {
  std::error_code error, ignored;
  fs::create_directories(path, error);
  if (!fs::is_directory(path, ignored))
    throw Error(ErrorCode::io, path.string(), "expected to make this directory but got: " + error.message());
}

std::string random_suffix() {
  std::random_device random;
  char text[9];
  uint32_t value = random();
  for (int i = 0; i < 8; i++, value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return {text, 8};
}

}  // namespace caracal::hub
