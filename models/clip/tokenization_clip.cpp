#include <caracal/models/clip/tokenization_clip.h>

#include <caracal/loaders/hub_cache.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;

// What ByteLevel gives, with the marks at the ends of words turned to spaces and white space taken off both ends.
class ClipDecoder final : public tk::Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    bytes_->decode(tokens);
    std::string text;
    for (const std::string& token : tokens) text += token;
    tokens.assign(1, tk::strip_white_space(tk::replace_all(std::move(text), "</w>", " ")));
  }
  Json to_json() const override { return bytes_->to_json(); }

 private:
  std::shared_ptr<const tk::Decoder> bytes_ = tk::byte_level_decoder();
};

constexpr const char* kParts =
    R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
          {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split",
            "pattern": {"Regex": "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},
            "behavior": "Removed", "invert": true},
          {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]}})";

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  const Json parts = Json::parse(kParts, "CLIPTokenizer");
  const auto data = model_data_of(files);
  return tk::Tokenizer(
      {.normalizer = tk::normalizer_from_json(parts.at("normalizer")),
       .pre_tokenizer = tk::pre_tokenizer_from_json(parts.at("pre_tokenizer")),
       .model = std::make_shared<tk::BPE>(data->vocabulary, data->merges,
                                          tk::BPE::Options{.unk_token = token_of(files, "unk_token", "<|endoftext|>"),
                                                           .continuing_subword_prefix = "",
                                                           .end_of_word_suffix = "</w>"}),
       .post_processor = nullptr,
       .decoder = std::make_shared<ClipDecoder>()});
}

TokenizerFiles with_clip_defaults(TokenizerFiles files) {
  return with_defaults(std::move(files), {{"bos_token", "<|startoftext|>"},
                                          {"eos_token", "<|endoftext|>"},
                                          {"unk_token", "<|endoftext|>"},
                                          {"pad_token", "<|endoftext|>"}});
}

}  // namespace

CLIPTokenizer::CLIPTokenizer(const TokenizerFiles& files)
    : PreTrainedTokenizerBase(make_pipeline(files), files, "CLIPTokenizer") {
  set_post_processor(tk::roberta_processing({eos_token().value(), eos_token_id().value()},
                                            {bos_token().value(), bos_token_id().value()}, false, false));
}

CLIPTokenizer::CLIPTokenizer(const Json& arguments)
    : CLIPTokenizer(with_clip_defaults(tokenizer_files_of(arguments))) {}

CLIPTokenizer CLIPTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return CLIPTokenizer(with_clip_defaults(read_tokenizer_files(at.path, at.overrides, "vocab.json")));
  });
}

}  // namespace caracal
