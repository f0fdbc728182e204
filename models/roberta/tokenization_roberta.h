// RobertaTokenizer: byte-level BPE; a word is another token behind a space.
#pragma once

#include <string>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// transformers' RobertaTokenizer, from vocab.json and merges.txt or, of a tokenizer.json, the vocabulary, the merges
/// and the added tokens.
class RobertaTokenizer : public PreTrainedTokenizerBase {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.json"}, {"merges_file", "merges.txt"}}. Throws
  /// invalid_argument without "vocab_file" or "tokenizer_file".
  explicit RobertaTokenizer(const Json& arguments);
  /// `path` is a directory or a tokenizer.json.
  static RobertaTokenizer from_pretrained(const std::string& path, const Json& overrides = {});

 private:
  explicit RobertaTokenizer(const TokenizerFiles& files);
};

using RobertaTokenizerFast = RobertaTokenizer;

}  // namespace caracal
