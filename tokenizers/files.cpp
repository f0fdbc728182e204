#include <caracal/tokenizers/files.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <caracal/runtime/error.h>

namespace caracal::tokenizers {
namespace {

constexpr uintmax_t kMaxFileBytes = uintmax_t(128) << 20;

}  // namespace

Json parse_tokenizer_file(const std::string& path) {
  std::error_code ignored;
  const uintmax_t size = std::filesystem::file_size(path, ignored);
  if (!ignored && size > kMaxFileBytes) {
    throw Error(ErrorCode::bad_file, path, "expected at most 128 MiB but got " + std::to_string(size) + " bytes");
  }
  return Json::parse_file(path);
}

void write_text_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  const auto fail = [&](const char* step) { throw Error(ErrorCode::io, path, std::string("expected to ") + step); };
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    if (!file) fail("open the file for writing but could not");
    file.write(text.data(), std::streamsize(text.size()));
    file.flush();
    if (!file) {
      std::remove(temporary.c_str());
      fail("write the file but could not");
    }
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) {
    std::remove(temporary.c_str());
    fail("move the file to its place but could not");
  }
}

}  // namespace caracal::tokenizers
