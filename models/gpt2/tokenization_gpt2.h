// GPT2Tokenizer: byte-level BPE without special tokens around a text.
#pragma once

#include <string>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// transformers' GPT2Tokenizer, from vocab.json and merges.txt or, of a tokenizer.json, the vocabulary, the merges and
/// the added tokens and the post-processor.
class GPT2Tokenizer : public PreTrainedTokenizerBase {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.json"}, {"merges_file", "merges.txt"}}. Throws
  /// invalid_argument without "vocab_file" or "tokenizer_file".
  explicit GPT2Tokenizer(const Json& arguments);
  /// `path` is a directory or a tokenizer.json.
  static GPT2Tokenizer from_pretrained(const std::string& path, const Json& overrides = {});

 private:
  explicit GPT2Tokenizer(const TokenizerFiles& files);
};

using GPT2TokenizerFast = GPT2Tokenizer;

}  // namespace caracal
