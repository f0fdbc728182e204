// BertTokenizer: WordPiece with BERT's cleaning.
#pragma once

#include <string>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// transformers' BertTokenizer. From a tokenizer.json it takes the vocabulary and the added tokens only; cleaning
/// follows do_lower_case (default true), strip_accents (default: as do_lower_case) and tokenize_chinese_chars of
/// tokenizer_config.json.
class BertTokenizer : public PreTrainedTokenizerBase {
 public:
  /// `path` is a directory, a tokenizer.json or a vocab.txt; `overrides` are arguments of transformers' __init__ such
  /// as
  /// {{"do_lower_case", false}}.
  static BertTokenizer from_pretrained(const std::string& path, const Json& overrides = {});

 protected:
  BertTokenizer(const TokenizerFiles& files, const std::string& class_name);
};

using BertTokenizerFast = BertTokenizer;

}  // namespace caracal
