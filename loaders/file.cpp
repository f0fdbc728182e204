#include <caracal/loaders/file.h>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <caracal/loaders/hub_cache.h>
#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>
#include <caracal/runtime/memory.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

// O_NONBLOCK so that a FIFO in place of the file cannot block us before it is refused.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void throw_open_error(const std::string& path, int error) {
  bool absent = error == ENOENT || error == ENOTDIR;
  throw Error(absent ? ErrorCode::not_found : ErrorCode::io, path,
              "expected a readable file but got: " + reason(error));
}

void check_regular(const struct stat& status, const std::string& path) {
  if (S_ISREG(status.st_mode)) return;
  throw Error(ErrorCode::io, path,
              std::string("expected a regular file but got ") +
                  (S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket"));
}

// The folder that links may not leave, and the way from there to `root`.
std::pair<fs::path, fs::path> confining_folder(const std::string& root) {
  std::error_code error;
  fs::path real = fs::canonical(root, error);
  if (error) throw_open_error(root, error.value());
  for (fs::path p = real; p.has_relative_path(); p = p.parent_path()) {
    fs::path repository = p.parent_path().parent_path();
    if (p.parent_path().filename() == "snapshots" && repository.filename().string().starts_with("models--")) {
      return {repository, real.lexically_relative(repository)};
    }
  }
  return {real, "."};
}

// Both return a descriptor, or a negated errno; -EXDEV when the name leads out of `folder`.
int open_by_kernel(const fs::path& folder, const fs::path& relative) {
  int directory = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -errno;
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  long fd = ::syscall(SYS_openat2, directory, relative.c_str(), &how, sizeof how);
  int result = fd < 0 ? -errno : int(fd);
  ::close(directory);
  return result;
}

int open_by_resolved_path(const fs::path& folder, const fs::path& relative) {
  std::error_code error;
  fs::path real = fs::canonical(folder / relative, error);
  if (error) return -error.value();
  fs::path below = real.lexically_relative(folder);
  if (below.empty() || *below.begin() == "..") return -EXDEV;
  int fd = ::open(real.c_str(), kOpenFlags | O_NOFOLLOW);
  return fd < 0 ? -errno : fd;
}

// A file that the repositories of a hub cache share (see is_shared_blob). `folder` is CACHE/models--owner--name; -EXDEV
// when the name leads elsewhere.
int open_shared_blob(const fs::path& folder, const fs::path& relative) {
  std::error_code error;
  const fs::path real = fs::canonical(folder / relative, error);
  if (error) return -error.value();
  if (!is_shared_blob(real.string(), folder.parent_path().string())) return -EXDEV;
  int fd = ::open(real.c_str(), kOpenFlags | O_NOFOLLOW);
  return fd < 0 ? -errno : fd;
}

}  // namespace

File::File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {
  struct stat status {};
  try {
    if (::fstat(fd, &status) != 0) throw_open_error(path_, errno);
    check_regular(status, path_);
  } catch (...) {
    ::close(fd);
    throw;
  }
  size_ = uint64_t(status.st_size);
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File File::open(const std::string& path) {
  int fd = ::open(path.c_str(), kOpenFlags);
  if (fd < 0) throw_open_error(path, errno);
  return File(fd, path);
}

File File::open_beneath(const std::string& root, std::string_view name, Confinement how) {
  check_relative_name(name, root);
  auto [folder, relative] = confining_folder(root);
  relative /= name;
  int fd = how == Confinement::resolved_path ? -ENOSYS : open_by_kernel(folder, relative);
  // Old kernels lack openat2, and some containers forbid it.
  if (how != Confinement::kernel && (fd == -ENOSYS || fd == -EPERM)) fd = open_by_resolved_path(folder, relative);
  if (fd == -EXDEV && *relative.begin() == "snapshots") fd = open_shared_blob(folder, relative);
  if (fd == -EXDEV) {
    throw Error(ErrorCode::bad_file, root,
                "expected a file inside this directory but got " + Json(name).dump() + ", a link that leaves it");
  }
  std::string path = root + "/" + std::string(name);
  if (fd < 0) throw_open_error(path, -fd);
  return File(fd, path);
}

std::string read_start(const std::string& path, size_t most) {
  try {
    const File file = File::open(path);
    std::string text(std::min<uint64_t>(most, file.size()), '\0');
    const ssize_t got = ::pread(file.descriptor(), text.data(), text.size(), 0);
    text.resize(size_t(std::max<ssize_t>(got, 0)));
    return text;
  } catch (const Error&) {
    return {};
  }
}

Bytes load_bytes(const File& file, Access access) {
  size_t size = size_t(file.size());
  if (size == 0) return {};
  if (access == Access::map) {
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
    if (data == MAP_FAILED)
      throw Error(ErrorCode::io, file.path(), "expected to map the file but got: " + reason(errno));
    return {{static_cast<const uint8_t*>(data), size},
            std::shared_ptr<const void>(data, [size](const void* p) { ::munmap(const_cast<void*>(p), size); }),
            /*mapped=*/true};
  }
  std::shared_ptr<void> memory = allocate_memory(size);
  uint8_t* data = static_cast<uint8_t*>(memory.get());
  for (size_t done = 0; done < size;) {
    ssize_t got = ::pread(file.descriptor(), data + done, size - done, off_t(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::io, file.path(), "expected to read the file but got: " + reason(errno));
    if (got == 0) {
      throw Error(ErrorCode::io, file.path(),
                  "expected " + std::to_string(size) + " bytes but the file shrank to " + std::to_string(done));
    }
    done += size_t(got);
  }
  return {{data, size}, memory};
}

void release(const Bytes& bytes, std::span<const uint8_t> part) noexcept {
  if (!bytes.mapped) return;
  constexpr uintptr_t kHugePage = uintptr_t(2) << 20;  // what one fault maps at most
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.span.data()), end = begin + bytes.span.size();
  const uintptr_t part_begin = reinterpret_cast<uintptr_t>(part.data()), part_end = part_begin + part.size();
  const uintptr_t first = std::max(begin, part_begin / kHugePage * kHugePage);
  const uintptr_t last = std::min(end, (part_end + kHugePage - 1) / kHugePage * kHugePage);
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);  // advice: may fail
}

void read_ahead(const Bytes& bytes, std::span<const uint8_t> part) noexcept {
  if (!bytes.mapped) return;
  constexpr size_t kPiece = size_t(2) << 20, kPage = 4096;
  for (size_t begin = 0; begin < part.size(); begin += kPiece) {
    const std::span<const uint8_t> piece = part.subspan(begin, std::min(kPiece, part.size() - begin));
    const volatile uint8_t* at = piece.data();
    for (size_t i = 0; i < piece.size(); i += kPage) (void)at[i];
    release(bytes, piece);
  }
}

void check_relative_name(std::string_view name, std::string_view where) {
  const char* problem = nullptr;
  if (name.empty()) problem = "an empty name";
  if (name.starts_with('/')) problem = "an absolute path";
  if (name.size() >= 2 && name[1] == ':') problem = "a drive letter";
  if (name.find('\\') != name.npos) problem = "a backslash";
  if (name.find('\0') != name.npos) problem = "a NUL byte";
  for (size_t begin = 0; !problem && begin <= name.size();) {
    size_t end = std::min(name.find('/', begin), name.size());
    std::string_view part = name.substr(begin, end - begin);
    if (part.empty()) problem = "an empty part";
    if (part == "." || part == "..") problem = "a \".\" or \"..\" part";
    begin = end + 1;
  }
  if (problem) {
    throw Error(ErrorCode::bad_file, where,
                "expected a file name below this directory but got " + Json(name).dump() + ": " + problem);
  }
}

namespace {

constexpr std::string_view kPickle = "PyTorch pickle", kZip = "PyTorch or NumPy zip archive", kHdf5 = "HDF5",
                           kGguf = "GGUF", kLfs = "Git LFS pointer", kOther = "TensorFlow, Flax or ONNX";

}  // namespace

std::string_view foreign_format_of_name(std::string_view file_name) noexcept {
  constexpr std::pair<std::string_view, std::string_view> kEndings[] = {
      {".bin", kPickle},    {".bin.index.json", kPickle},
      {".pt", kPickle},     {".pth", kPickle},
      {".ckpt", kPickle},   {".pkl", kPickle},
      {".pickle", kPickle}, {".npz", kZip},
      {".h5", kHdf5},       {".gguf", kGguf},
      {".msgpack", kOther}, {".onnx", kOther}};
  for (auto [ending, format] : kEndings) {
    if (file_name.ends_with(ending)) return format;
  }
  return {};
}

std::string_view foreign_format_of_content(std::span<const uint8_t> content) noexcept {
  std::string_view head(reinterpret_cast<const char*>(content.data()), std::min<size_t>(content.size(), 64));
  if (head.starts_with("version https://git-lfs.github.com/spec/")) return kLfs;
  if (head.starts_with(std::string_view("PK\x03\x04"))) return kZip;
  if (head.starts_with("\x89HDF\r\n\x1a\n")) return kHdf5;
  if (head.starts_with("GGUF")) return kGguf;
  if (head.size() >= 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5) return kPickle;
  return {};
}

void throw_foreign_format(std::string_view format, std::string_view path) {
  std::string what = "expected safetensors weights but got a " + std::string(format) + " file: ";
  if (format == kLfs) {
    what += "the weights themselves were not downloaded; run `git lfs pull` in their repository";
  } else if (format == kPickle || format == kZip) {
    what +=
        "loading it could run code hidden in it (Python's pickle is known to be insecure), so caracal never opens it; "
        "do not load a model that may come from an untrusted source or may have been tampered with, and convert one "
        "that you trust in Python with model.save_pretrained(dir, safe_serialization=True)";
  } else {
    what +=
        "caracal reads only safetensors; convert it in Python with model.save_pretrained(dir, "
        "safe_serialization=True), or take the model.safetensors of the model's repository";
  }
  throw Error(ErrorCode::unsupported, path, what);
}

}  // namespace caracal
