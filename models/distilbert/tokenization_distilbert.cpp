#include <caracal/models/distilbert/tokenization_distilbert.h>

#include <caracal/loaders/hub_cache.h>

namespace caracal {

DistilBertTokenizer::DistilBertTokenizer(const Json& arguments)
    : BertTokenizer(with_bert_defaults(tokenizer_files_of(arguments), false), "DistilBertTokenizer") {}

DistilBertTokenizer DistilBertTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return DistilBertTokenizer(with_bert_defaults(read_tokenizer_files(at.path, at.overrides), false),
                               "DistilBertTokenizer");
  });
}

}  // namespace caracal
