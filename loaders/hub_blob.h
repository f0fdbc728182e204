// One file of the hub's cache, blobs/ETAG: fetched once by however many processes, resumed where a dead one left off,
// and under its name only when its hash is right. Names, lock and rename are huggingface_hub's (file_download.py,
// _hf_hub_download_to_cache_dir and _download_to_tmp_and_move); going on where a dead one left off is ours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include <caracal/loaders/hub_http.h>

namespace caracal::hub {

/// The hash that names a blob: SHA-256 of its bytes (64 digits: a large file), or git's SHA-1 of "blob SIZE\0" and its
/// bytes (40 digits).
class BlobHash {
 public:
  /// Throws bad_file when `etag` is neither.
  BlobHash(std::string_view etag, uint64_t size);
  ~BlobHash();
  BlobHash(const BlobHash&) = delete;
  BlobHash& operator=(const BlobHash&) = delete;
  /// Adds the next bytes.
  void update(std::span<const uint8_t> bytes);
  /// Ends the hash; in hexadecimal.
  std::string finish();

 private:
  void* context_;
};
/// The hash of an open file, named as `etag` is. Throws io.
std::string hash_of_file(int descriptor, std::string_view etag, uint64_t size, const std::string& path);

/// An exclusive lock: flock on a file that stays and that a group may write, as huggingface_hub's WeakFileLock
/// (utils/_fixes.py, by filelock) has it. It dies with the process and, if that is killed, with what was forked from it
/// meanwhile. On a file system without locks it does nothing: what depends on it is only who fetches.
class FileLock {
 public:
  /// Waits for the lock; `mode` is that of a new file, whatever the umask. Throws not_found or io when the file cannot
  /// be opened, and what `waiting` throws.
  explicit FileLock(const std::string& path, const Waiting& waiting = {}, unsigned mode = 0664);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1, owner_;  // the process that took it
};

/// What to fetch and where to.
struct Blob {
  std::string name;  // for messages: "owner/name/file"
  std::string etag;
  uint64_t size = 0;
  HttpRequest request;
  std::string commit;                // that a response must not contradict
  std::filesystem::path repository;  // CACHE/models--owner--name
  std::filesystem::path lock;
};
/// Bytes of the blob that are there now; may go down when a server starts again from the first byte. May throw.
using BlobProgress = std::function<void(uint64_t done)>;

/// Makes repository/blobs/ETAG, unless it is there and not `force`d. Downloads go to a file of this process's own,
/// blobs/ETAG.caracal-XXXXXXXX.incomplete, which starts with what a dead download of the same blob left behind. Throws
/// bad_file when the bytes are not those that the name promises, and what HttpSession throws; what has arrived stays
/// for the next call, unless it is wrong. On a full disk only what was left behind before stays.
void fetch_blob(HttpSession& http, const Blob& blob, bool force, const BlobProgress& progress);

/// Throws Error not_found or io: `[path] expected to STEP but got: …` from errno.
[[noreturn]] void throw_errno(const std::filesystem::path& path, const std::string& step);
/// The directory and those above it, as mkdir -p; throws io.
void make_directories(const std::filesystem::path& path);
/// 8 random hexadecimal digits.
std::string random_suffix();

}  // namespace caracal::hub
