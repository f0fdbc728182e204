// BertTokenizerLegacy: BERT's tokenizer by the plain algorithm of its authors, a character at a time.
#pragma once

#include <string>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// transformers' BertTokenizerLegacy, the "slow" one: basic tokenization, then WordPiece by looking up ever shorter
/// prefixes. Gives what BertTokenizer gives; never_split (words left as they are) works here only. It is there to be
/// read, and to check the fast one.
class BertTokenizerLegacy : public PreTrainedTokenizer {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.txt"}, {"never_split", Json::Array{"C++"}}}.
  explicit BertTokenizerLegacy(const Json& arguments);
  /// `path` is a directory, a tokenizer.json or a vocab.txt.
  static BertTokenizerLegacy from_pretrained(const std::string& path, const Json& overrides = {});

 private:
  explicit BertTokenizerLegacy(const TokenizerFiles& files);
};

}  // namespace caracal
