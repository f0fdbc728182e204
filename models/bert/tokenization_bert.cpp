#include <caracal/models/bert/tokenization_bert.h>

#include <caracal/loaders/hub_cache.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  const bool lower_case = flag_of(files, "do_lower_case", true);
  return tk::Tokenizer({.normalizer = std::make_shared<tk::BertNormalizer>(tk::BertNormalizer::Options{
                            .clean_text = true,
                            .handle_chinese_chars = flag_of(files, "tokenize_chinese_chars", true),
                            .strip_accents = flag_of(files, "strip_accents", lower_case),
                            .lowercase = lower_case}),
                        .pre_tokenizer = std::make_shared<tk::BertPreTokenizer>(),
                        .model = std::make_shared<tk::WordPiece>(
                            model_data_of(files)->vocabulary,
                            tk::WordPiece::Options{.unk_token = token_of(files, "unk_token", "[UNK]")}),
                        .post_processor = nullptr,
                        .decoder = std::make_shared<tk::WordPieceDecoder>()});
}

}  // namespace

TokenizerFiles with_bert_defaults(TokenizerFiles files, bool token_type_ids) {
  Json::Array names = token_type_ids ? Json::Array{"input_ids", "token_type_ids", "attention_mask"}
                                     : Json::Array{"input_ids", "attention_mask"};
  return with_defaults(std::move(files), {{"unk_token", "[UNK]"},
                                          {"sep_token", "[SEP]"},
                                          {"pad_token", "[PAD]"},
                                          {"cls_token", "[CLS]"},
                                          {"mask_token", "[MASK]"},
                                          {"model_input_names", std::move(names)}});
}

BertTokenizer::BertTokenizer(const TokenizerFiles& files, const std::string& class_name)
    : PreTrainedTokenizerBase(make_pipeline(files), files, class_name) {
  // The template's ids are known only after the special tokens were added.
  set_post_processor(std::make_shared<tk::TemplateProcessing>(
      tk::bert_template(cls_token().value_or("None"), cls_token_id().value_or(2), sep_token().value_or("None"),
                        sep_token_id().value_or(3))));
}

BertTokenizer::BertTokenizer(const Json& arguments)
    : BertTokenizer(with_bert_defaults(tokenizer_files_of(arguments), true), "BertTokenizer") {}

BertTokenizer BertTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return BertTokenizer(with_bert_defaults(read_tokenizer_files(at.path, at.overrides), true), "BertTokenizer");
  });
}

}  // namespace caracal
