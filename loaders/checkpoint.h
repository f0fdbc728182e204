// Checkpoint: the weights of a model directory, in one safetensors file or in shards listed by an index file.
//
//   Checkpoint checkpoint = Checkpoint::open("path/to/model");
//   Tensor w = checkpoint.tensor("bert.pooler.dense.weight");   // stays valid without the checkpoint
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/loaders/safetensors.h>

namespace caracal {

struct CheckpointOptions {
  std::string variant = {};  // "fp16" looks for model.fp16.safetensors, and for nothing else
  Access access = Access::map;
};

/// A set of named tensors. Cheap to copy; all copies share the open files.
class Checkpoint {
 public:
  /// Opens model.safetensors or else model.safetensors.index.json and its shards in directory `path`; a `path` that is
  /// itself a safetensors file is opened as such. These two names may be links to anywhere; shard names, which come
  /// from a file, may not lead out of the directory (or out of its hub cache). Throws not_found, unsupported (only
  /// pickle, HDF5, GGUF … weights there, or Git LFS pointers: says what to do), bad_file (a damaged file or index, a
  /// tensor in two shards, a variant that is no file name) or io.
  static Checkpoint open(const std::string& path, const CheckpointOptions& options = {});

  /// Names of all tensors, sorted bytewise. This and what else is noexcept throws nothing; references live as long as
  /// any copy of this object.
  const std::vector<std::string>& names() const noexcept;
  /// The entry of `name`, or null.
  const TensorInfo* find(std::string_view name) const noexcept;
  /// The tensor as stored (dtype and all): a view of the file, or a copy where SafetensorsFile::tensor makes one.
  /// Throws not_found, or unsupported as that does.
  Tensor tensor(std::string_view name) const;
  /// Lets the tensor's pages leave this process's memory until they are read again; nothing for an unknown name.
  void release(std::string_view name) const noexcept;
  /// Reads the tensor's pages into the page cache, without keeping them in this process's memory.
  void read_ahead(std::string_view name) const noexcept;
  /// Path of the file that holds the tensor `name`: the shard, or the one file. Throws not_found for an unknown name.
  const std::string& file_of(std::string_view name) const;

  /// The path given to open.
  const std::string& path() const noexcept;
  /// Bytes of all tensors.
  uint64_t total_bytes() const noexcept;
  /// The files' `__metadata__`; of a key in several shards the first counts.
  const Metadata& metadata() const noexcept;
  /// The files' warnings, each with its file.
  const std::vector<std::string>& warnings() const noexcept;

 private:
  struct State;
  explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace caracal
