// safetensors files: a reader that treats every byte as hostile and a writer whose files equal the reference's.
//
//   SafetensorsFile file = SafetensorsFile::open("model.safetensors");
//   for (const TensorInfo& info : file.tensors()) use(info.name, file.tensor(info));
//
// Format: 8 bytes little-endian header length n, n bytes of JSON, then the data. Verdicts are those of the reference
// library 0.8.0, but stricter where two parsers could disagree: refused here, accepted there, are a tensor name given
// twice, a tensor written as a JSON array, more than 64 dimensions and a dimension above 2^48.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/loaders/file.h>
#include <caracal/runtime/dtype.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// One entry of a safetensors header.
struct TensorInfo {
  std::string name;             // any UTF-8, even empty or with control characters: never a path, escape when printed
  std::string_view dtype_name;  // "F32", "F8_E4M3", …
  std::optional<DType> dtype;   // empty for a type that can be listed but not used (F4, F6, F8, U16, U32, U64, C64)
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes of the data section
};

/// A header's `__metadata__`.
using Metadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  static constexpr uint64_t kMaxHeader = 100'000'000;  // bytes; the reference's cap

  /// Reads and checks the header; tensor data is not touched. Throws bad_file with the byte offset or the tensors
  /// concerned, unsupported for a pickle, HDF5, GGUF file or Git LFS pointer, not_found or io.
  static SafetensorsFile open(const std::string& path, Access access = Access::map);
  static SafetensorsFile open(const File& file, Access access = Access::map);
  /// The same from memory, which is kept alive by `bytes.owner`; `where` names it in messages.
  static SafetensorsFile parse(Bytes bytes, std::string where);

  /// All entries in the order of their data.
  const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }
  /// The entry of exactly this name, valid as long as this object; null when there is none. A binary search.
  const TensorInfo* find(std::string_view name) const noexcept;
  /// The entry's data: a view of the file when the data is aligned for its type, else a 64-byte aligned copy; it stays
  /// valid without this object. BOOL bytes other than 0 and 1 read as true. Throws unsupported for a dtype that caracal
  /// does not compute with and for more than 8 dimensions.
  Tensor tensor(const TensorInfo& info) const;

  /// Lets the entry's pages leave this process's memory until they are read again.
  void release(const TensorInfo& info) const noexcept;
  /// Reads the entry's pages into the page cache, without keeping them in this process's memory.
  void read_ahead(const TensorInfo& info) const noexcept;

  const Metadata& metadata() const noexcept { return metadata_; }
  /// Oddities that the reference accepts silently (unknown fields, …), at most 16 sentences.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  Bytes bytes_;
  uint64_t data_begin_ = 0;
  std::vector<TensorInfo> tensors_;
  std::vector<uint32_t> by_name_;  // indices into tensors_, sorted by name
  Metadata metadata_;
  std::vector<std::string> warnings_;
};

/// Writes tensors of any DType. The bytes equal those of Python's safetensors: widest dtype first, then by name, header
/// padded to 8 bytes. Goes to a temporary file beside `path`, is synced and renamed, so `path` is never half-written.
/// Throws invalid_argument (a name twice, a tensor named "__metadata__", an undefined tensor) or io.
void save_safetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                      const Metadata& metadata = {{"format", "pt"}});

/// A tensor to write that need not be in memory before its turn comes.
struct TensorSource {
  std::string name;
  DType dtype;
  Shape shape;
  std::function<Tensor()> load;
};
/// The same for one tensor at a time. Throws also whatever load() throws.
void save_safetensors(const std::string& path, const std::vector<TensorSource>& tensors,
                      const Metadata& metadata = {{"format", "pt"}});

}  // namespace caracal
