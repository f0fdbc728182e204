// Small files of a tokenizer, read whole within a limit.
#pragma once

#include <fstream>
#include <string>
#include <string_view>

#include <caracal/runtime/json.h>

namespace caracal::tokenizers {

/// Parses a JSON file of at most 128 MiB, several times what the largest vocabularies need. Throws as
/// FileReader does, and bad_file.
Json parse_tokenizer_file(const std::string& path);
/// Reads such a file piece by piece.
class FileReader {
 public:
  /// Throws not_found, io, bad_file beyond 128 MiB, or unsupported for a Git LFS pointer.
  explicit FileReader(const std::string& path);
  size_t size() const noexcept { return size_; }
  /// Reads at most so many bytes, fewer at the end; returns how many. Throws io.
  size_t read(char* to, size_t most);

 private:
  std::string path_;
  std::ifstream file_;
  size_t size_ = 0;
};
/// The whole of such a file as it is. Throws as FileReader does.
std::string read_text_file(const std::string& path);

}  // namespace caracal::tokenizers
