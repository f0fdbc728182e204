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
  /// From arguments of __init__: {{"vocab_file", "vocab.txt"}, {"do_lower_case", false}, {"padding_side", "left"}}.
  /// Throws invalid_argument without "vocab_file" or "tokenizer_file".
  explicit BertTokenizer(const Json& arguments);
  /// `path` is a directory, a tokenizer.json or a vocab.txt; `overrides` are arguments of transformers' __init__ such
  /// as {{"do_lower_case", false}}.
  static BertTokenizer from_pretrained(const std::string& path, const Json& overrides = {});

 protected:
  BertTokenizer(const TokenizerFiles& files, const std::string& class_name);
};

using BertTokenizerFast = BertTokenizer;

/// The arguments that BERT's tokenizers and those made like them have when they are not given.
TokenizerFiles with_bert_defaults(TokenizerFiles files, bool token_type_ids);

}  // namespace caracal
