// Small files of a tokenizer, read whole within a limit.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <caracal/runtime/json.h>

namespace caracal::tokenizers {

/// Parses a JSON file of at most 128 MiB, several times what the largest vocabularies need. Throws not_found, io or
/// bad_file.
Json parse_tokenizer_file(const std::string& path);
/// A text and what keeps it alive. At least kPadding zero bytes follow it, so that it can be read eight bytes at a
/// time.
struct FileText {
  static constexpr size_t kPadding = 8;
  std::shared_ptr<const char[]> owner;
  std::string_view text;
};
/// Reads such a file as it is. Throws not_found, io, or bad_file beyond 128 MiB.
FileText read_text_file(const std::string& path);
/// A copy of a text.
FileText copy_text(std::string_view text);

}  // namespace caracal::tokenizers
