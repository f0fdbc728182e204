// A tokenizer.json with its large parts read apart: a vocabulary as a tree of Json values would take longer to build
// than all the rest of the tokenizer.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/model.h>

namespace caracal::tokenizers {

struct TokenizerJson {
  Json content;                     ///< with an empty "vocab" and "merges" in its "model"
  std::shared_ptr<ModelData> data;  ///< what stood there
};

/// Parses the text of a tokenizer.json. Throws bad_file naming `where`.
TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view where);
/// Reads a tokenizer.json of at most 128 MiB, several times what the largest vocabularies need. Throws not_found, io or
/// bad_file.
TokenizerJson read_tokenizer_json(const std::string& path);

}  // namespace caracal::tokenizers
