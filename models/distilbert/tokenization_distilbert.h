// DistilBertTokenizer: BERT's tokenizer for a model without token types.
#pragma once

#include <string>

#include <caracal/models/bert/tokenization_bert.h>

namespace caracal {

/// transformers' DistilBertTokenizer: as BertTokenizer, but token_type_ids are no model input.
class DistilBertTokenizer : public BertTokenizer {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.txt"}, {"do_lower_case", false}, {"padding_side", "left"}}.
  /// Throws invalid_argument without "vocab_file" or "tokenizer_file".
  explicit DistilBertTokenizer(const Json& arguments);
  /// `path` is a directory, a tokenizer.json or a vocab.txt.
  static DistilBertTokenizer from_pretrained(const std::string& path, const Json& overrides = {});

 private:
  using BertTokenizer::BertTokenizer;
};

using DistilBertTokenizerFast = DistilBertTokenizer;

}  // namespace caracal
