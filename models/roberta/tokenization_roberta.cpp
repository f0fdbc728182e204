#include <caracal/models/roberta/tokenization_roberta.h>

#include <caracal/loaders/hub_cache.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  const auto data = model_data_of(files);
  return tk::Tokenizer(
      {.normalizer = nullptr,
       .pre_tokenizer = std::make_shared<tk::ByteLevel>(
           tk::ByteLevel::Options{.add_prefix_space = flag_of(files, "add_prefix_space", false)}),
       .model = std::make_shared<tk::BPE>(data->vocabulary, data->merges,
                                          tk::BPE::Options{.continuing_subword_prefix = "", .end_of_word_suffix = ""}),
       .post_processor = nullptr,
       .decoder = tk::byte_level_decoder()});
}

TokenizerFiles with_roberta_defaults(TokenizerFiles files) {
  return with_defaults(std::move(files), {{"bos_token", "<s>"},
                                          {"eos_token", "</s>"},
                                          {"unk_token", "<unk>"},
                                          {"sep_token", "</s>"},
                                          {"pad_token", "<pad>"},
                                          {"cls_token", "<s>"},
                                          {"mask_token", "<mask>"},
                                          {"add_prefix_space", false},
                                          {"trim_offsets", true}});
}

}  // namespace

RobertaTokenizer::RobertaTokenizer(const TokenizerFiles& files)
    : PreTrainedTokenizerBase(make_pipeline(files), files, "RobertaTokenizer") {
  set_post_processor(tk::roberta_processing(
      {sep_token().value(), sep_token_id().value()}, {cls_token().value(), cls_token_id().value()},
      flag_of(files, "trim_offsets", true), flag_of(files, "add_prefix_space", false)));
}

RobertaTokenizer::RobertaTokenizer(const Json& arguments)
    : RobertaTokenizer(with_roberta_defaults(tokenizer_files_of(arguments))) {}

RobertaTokenizer RobertaTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return RobertaTokenizer(with_roberta_defaults(read_tokenizer_files(at.path, at.overrides, "vocab.json")));
  });
}

}  // namespace caracal
