// CLIPTokenizer: lower-cased byte-level BPE with a mark at the end of words.
#pragma once

#include <string>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// transformers' CLIPTokenizer, from vocab.json and merges.txt or, of a tokenizer.json, the vocabulary, the merges and
/// the added tokens.
class CLIPTokenizer : public PreTrainedTokenizerBase {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.json"}, {"merges_file", "merges.txt"}}. Throws
  /// invalid_argument without "vocab_file" or "tokenizer_file".
  explicit CLIPTokenizer(const Json& arguments);
  /// `path` is a directory or a tokenizer.json.
  static CLIPTokenizer from_pretrained(const std::string& path, const Json& overrides = {});

 private:
  explicit CLIPTokenizer(const TokenizerFiles& files);
};

using CLIPTokenizerFast = CLIPTokenizer;

}  // namespace caracal
