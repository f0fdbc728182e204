#include <caracal/tokenizers/files.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <caracal/runtime/error.h>

namespace caracal::tokenizers {
namespace {

constexpr uintmax_t kMaxFileBytes = uintmax_t(128) << 20;

}  // namespace

FileText read_text_file(const std::string& path) {
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
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::not_found, path, "expected a file but cannot open it");
  auto buffer = std::make_shared_for_overwrite<char[]>(size_t(size) + FileText::kPadding);
  file.read(buffer.get(), std::streamsize(size));
  if (uintmax_t(file.gcount()) != size)
    throw Error(ErrorCode::io, path, "expected to read the file but reading failed");
  std::memset(buffer.get() + size, 0, FileText::kPadding);
  return {buffer, {buffer.get(), size_t(size)}};
}

FileText copy_text(std::string_view text) {
  auto buffer = std::make_shared_for_overwrite<char[]>(text.size() + FileText::kPadding);
  std::copy(text.begin(), text.end(), buffer.get());
  std::memset(buffer.get() + text.size(), 0, FileText::kPadding);
  return {buffer, {buffer.get(), text.size()}};
}

Json parse_tokenizer_file(const std::string& path) { return Json::parse(read_text_file(path).text, path); }

}  // namespace caracal::tokenizers
