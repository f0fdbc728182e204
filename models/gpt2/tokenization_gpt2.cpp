#include <caracal/models/gpt2/tokenization_gpt2.h>

#include <caracal/loaders/hub_cache.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  const Json* post = files.tokenizer_json.find("post_processor");
  const auto data = model_data_of(files);
  return tk::Tokenizer(
      {.normalizer = nullptr,
       .pre_tokenizer = std::make_shared<tk::ByteLevel>(
           tk::ByteLevel::Options{.add_prefix_space = flag_of(files, "add_prefix_space", false)}),
       .model = std::make_shared<tk::BPE>(data->vocabulary, data->merges,
                                          tk::BPE::Options{.continuing_subword_prefix = "", .end_of_word_suffix = ""}),
       .post_processor = post != nullptr ? tk::post_processor_from_json(*post) : nullptr,
       .decoder = tk::byte_level_decoder()});
}

TokenizerFiles with_gpt2_defaults(TokenizerFiles files) {
  return with_defaults(std::move(files), {{"bos_token", "<|endoftext|>"},
                                          {"eos_token", "<|endoftext|>"},
                                          {"unk_token", "<|endoftext|>"},
                                          {"add_prefix_space", false}});
}

}  // namespace

GPT2Tokenizer::GPT2Tokenizer(const TokenizerFiles& files)
    : PreTrainedTokenizerBase(make_pipeline(files), files, "GPT2Tokenizer") {}

GPT2Tokenizer::GPT2Tokenizer(const Json& arguments)
    : GPT2Tokenizer(with_gpt2_defaults(tokenizer_files_of(arguments))) {}

GPT2Tokenizer GPT2Tokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return GPT2Tokenizer(with_gpt2_defaults(read_tokenizer_files(at.path, at.overrides, "vocab.json")));
  });
}

}  // namespace caracal
