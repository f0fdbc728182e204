#include <caracal/models/bert/tokenization_bert.h>

#include <caracal/tokenizers/special_tokens.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;

constexpr std::pair<const char*, const char*> kDefaultTokens[] = {{"unk_token", "[UNK]"},
                                                                  {"sep_token", "[SEP]"},
                                                                  {"pad_token", "[PAD]"},
                                                                  {"cls_token", "[CLS]"},
                                                                  {"mask_token", "[MASK]"}};

TokenizerFiles with_defaults(TokenizerFiles files) {
  for (const auto& [name, token] : kDefaultTokens) {
    if (!files.init_kwargs.contains(name)) files.init_kwargs.set(name, token);
  }
  if (!files.init_kwargs.contains("model_input_names")) {
    files.init_kwargs.set("model_input_names", Json::Array{"input_ids", "token_type_ids", "attention_mask"});
  }
  return files;
}

bool flag(const Json& init, const char* key, bool otherwise) {
  const Json* value = init.find(key);
  return value != nullptr && !value->is_null() ? value->as_bool() : otherwise;
}

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  const Json& init = files.init_kwargs;
  const bool lower_case = flag(init, "do_lower_case", true);
  const Json* unk = init.find("unk_token");
  return tk::Tokenizer(
      {.normalizer = std::make_shared<tk::BertNormalizer>(
           tk::BertNormalizer::Options{.clean_text = true,
                                       .handle_chinese_chars = flag(init, "tokenize_chinese_chars", true),
                                       .strip_accents = flag(init, "strip_accents", lower_case),
                                       .lowercase = lower_case}),
       .pre_tokenizer = std::make_shared<tk::BertPreTokenizer>(),
       .model = std::make_shared<tk::WordPiece>(
           files.tokenizer_file.empty() ? tk::read_vocab_txt(files.vocab_file)
                                        : tk::vocabulary_from_json(files.tokenizer_json.at("model").at("vocab")),
           tk::WordPiece::Options{
               .unk_token = unk == nullptr || unk->is_null() ? "[UNK]" : added_token_from_json(*unk, true).content}),
       .post_processor = nullptr,
       .decoder = std::make_shared<tk::WordPieceDecoder>()});
}

}  // namespace

BertTokenizer::BertTokenizer(const TokenizerFiles& files, const std::string& class_name)
    : PreTrainedTokenizerBase(make_pipeline(files), files, class_name) {
  // The template's ids are known only after the special tokens were added.
  set_post_processor(std::make_shared<tk::TemplateProcessing>(
      tk::bert_template(cls_token().value_or("None"), cls_token_id().value_or(2), sep_token().value_or("None"),
                        sep_token_id().value_or(3))));
}

BertTokenizer BertTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  return in_file(path, [&] { return BertTokenizer(with_defaults(read_tokenizer_files(path, overrides)), "BertTokenizer"); });
}

}  // namespace caracal
