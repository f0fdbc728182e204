#include <caracal/tokenizers/files.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include <caracal/runtime/error.h>
#include <caracal/runtime/git_lfs.h>

namespace caracal::tokenizers {
namespace {

constexpr uintmax_t kMaxFileBytes = uintmax_t(128) << 20;

}  // namespace

FileReader::FileReader(const std::string& path) : path_(path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) {
    throw Error(error == std::errc::no_such_file_or_directory || error == std::errc::too_many_symbolic_link_levels
                    ? ErrorCode::not_found
                    : ErrorCode::io,
                path, "expected a file but got: " + error.message());
  }
  if (size > kMaxFileBytes) {
    throw Error(ErrorCode::bad_file, path, "expected at most 128 MiB but got " + std::to_string(size) + " bytes");
  }
  size_ = size_t(size);
  file_.open(path, std::ios::binary);
  if (!file_) throw Error(ErrorCode::not_found, path, "expected a file but cannot open it");
  char head[64] = {};
  expect_no_lfs_pointer({head, read(head, sizeof head)}, path);  // a vocab.txt may hold any lines, a pointer's too
  file_.clear();                                                 // of the end, in a short file
  file_.seekg(0);
}

size_t FileReader::read(char* to, size_t most) {
  file_.read(to, std::streamsize(most));
  if (file_.bad()) throw Error(ErrorCode::io, path_, "expected to read the file but reading failed");
  return size_t(file_.gcount());
}

std::string read_text_file(const std::string& path) {
  FileReader reader(path);
  std::string text(reader.size(), '\0');
  if (reader.read(text.data(), text.size()) != text.size())
    throw Error(ErrorCode::io, path, "expected to read the file but reading failed");
  return text;
}

Json parse_tokenizer_file(const std::string& path) { return Json::parse(read_text_file(path), path); }

}  // namespace caracal::tokenizers
