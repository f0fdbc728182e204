#include <caracal/models/distilbert/tokenization_distilbert.h>

namespace caracal {

DistilBertTokenizer::DistilBertTokenizer(const Json& arguments)
    : BertTokenizer(with_bert_defaults(tokenizer_files_of(arguments), false), "DistilBertTokenizer") {}

DistilBertTokenizer DistilBertTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  return in_file(path, [&] {
    return DistilBertTokenizer(with_bert_defaults(read_tokenizer_files(path, overrides), false), "DistilBertTokenizer");
  });
}

}  // namespace caracal
