#include <caracal/models/wav2vec2/tokenization_wav2vec2.h>

#include <algorithm>

#include <caracal/loaders/hub_cache.h>
#include <caracal/runtime/error.h>
#include <caracal/tokenizers/files.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;
using Skip = std::function<bool(std::string_view)>;

// Spaces to the word delimiter, and to upper case when asked.
class CtcNormalizer final : public tk::Normalizer {
 public:
  CtcNormalizer(std::string delimiter, bool upper) : delimiter_(std::move(delimiter)), upper_(upper) {}
  void normalize(tk::NormalizedText& text) const override {
    text.rewrite_text();
    tk::Rewriter out(text);
    const char* const base = text.old_text.data();
    const char* const end = base + text.old_text.size();
    for (const char* p = base; p != end;) {
      const uint32_t from = text.old_origin[size_t(p - base)];
      const char32_t cp = tk::unicode::decode(p);
      if (cp == ' ') {
        out.put(delimiter_, from);
        continue;
      }
      if (!upper_) {
        out.put(cp, from);
        continue;
      }
      const tk::unicode::Mapped mapped = tk::unicode::to_upper(cp);
      for (size_t i = 0; i < mapped.size; ++i) out.put(mapped.code_points[i], from);
    }
    out.finish();
  }
  Json to_json() const override {
    return {{"type", "Replace"}, {"pattern", Json{{"String", " "}}}, {"content", delimiter_}};
  }

 private:
  std::string delimiter_;
  bool upper_;
};

// What transformers' _get_word_offsets makes of the offsets of characters.
std::vector<CtcOffset> words_of(const std::vector<CtcOffset>& characters, const std::string& space) {
  std::vector<CtcOffset> words;
  CtcOffset word;
  bool in_word = false;
  for (const CtcOffset& c : characters) {
    const bool is_word = c.text != space;
    if (is_word && in_word) {
      word.text += c.text;
      word.end_offset = c.end_offset;
    } else if (is_word) {
      word = c;
    } else if (in_word) {
      words.push_back(word);
    }
    in_word = is_word;
  }
  if (in_word) words.push_back(word);
  return words;
}

class CtcDecoder final : public tk::Decoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, std::string space, bool do_lower_case)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), space_(std::move(space)), lower_(do_lower_case) {}

  Wav2Vec2CTCTokenizerOutput run(std::vector<std::string> tokens, const Skip& skip,
                                 const Wav2Vec2DecodeOptions& options) const {
    const auto dropped = [&](const std::string& token) { return token != delimiter_ && skip(token); };
    if (options.skip_before_grouping) std::erase_if(tokens, dropped);
    std::vector<CtcOffset> characters;
    for (size_t begin = 0; begin < tokens.size();) {
      size_t end = begin + 1;
      while (options.group_tokens && end < tokens.size() && tokens[end] == tokens[begin]) ++end;
      if (tokens[begin] != pad_ && !dropped(tokens[begin])) {
        characters.push_back({tokens[begin] == delimiter_ ? space_ : tokens[begin], int64_t(begin), int64_t(end)});
      }
      begin = end;
    }
    Wav2Vec2CTCTokenizerOutput out;
    for (const CtcOffset& c : characters) {
      if (options.spaces_between_special_tokens && !out.text.empty()) out.text += ' ';
      out.text += c.text;
    }
    out.text = tk::strip_white_space(out.text);
    if (lower_) out.text = tk::unicode::to_lower(out.text);
    if (options.output_word_offsets) out.word_offsets = words_of(characters, space_);
    if (options.output_char_offsets) out.char_offsets = std::move(characters);
    return out;
  }

  void decode(std::vector<std::string>& tokens) const override {
    tokens.assign(1, run(std::move(tokens), [](std::string_view) { return false; }, {}).text);
  }
  std::string text(std::vector<std::string> tokens, const Skip& skip) const override {
    return run(std::move(tokens), skip, {}).text;
  }
  Json to_json() const override {
    return {{"type", "CTC"}, {"pad_token", pad_}, {"word_delimiter_token", delimiter_}, {"cleanup", false}};
  }

 private:
  std::string pad_, delimiter_, space_;
  bool lower_;
};

std::shared_ptr<const tk::Model> make_model(const TokenizerFiles& files) {
  const Json vocab = tk::parse_tokenizer_file(files.vocab_file);
  const Json* language = files.init_kwargs.find("target_lang");
  const bool has_languages = language != nullptr && !language->is_null();
  return in_file(files.vocab_file, [&] {
    return std::make_shared<tk::WordLevel>(
        tk::vocabulary_from_json(has_languages ? vocab.at(language->as_string()) : vocab),
        token_of(files, "unk_token", "<unk>"));
  });
}

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  if (files.vocab_file.empty()) {
    throw Error(ErrorCode::not_found, "Wav2Vec2CTCTokenizer", "expected a vocab.json but found none");
  }
  const std::string delimiter = token_of(files, "word_delimiter_token", "|");
  const bool do_lower_case = flag_of(files, "do_lower_case", false);
  const Json* space = files.init_kwargs.find("replace_word_delimiter_char");
  return tk::Tokenizer({.normalizer = std::make_shared<CtcNormalizer>(delimiter, do_lower_case),
                        .pre_tokenizer = tk::pre_tokenizer_from_json({{"type", "FixedLength"}, {"length", 1}}),
                        .model = make_model(files),
                        .post_processor = nullptr,
                        .decoder = std::make_shared<CtcDecoder>(
                            token_of(files, "pad_token", "<pad>"), delimiter,
                            space != nullptr && space->is_string() ? space->as_string() : " ", do_lower_case)});
}

TokenizerFiles with_ctc_defaults(TokenizerFiles files) {
  files = with_defaults(std::move(files), {{"bos_token", "<s>"},
                                           {"eos_token", "</s>"},
                                           {"unk_token", "<unk>"},
                                           {"pad_token", "<pad>"},
                                           {"word_delimiter_token", "|"},
                                           {"replace_word_delimiter_char", " "},
                                           {"do_lower_case", false},
                                           {"target_lang", nullptr}});
  files.tokenizer_file.clear();  // there is none that says what this class does
  files.tokenizer_json = Json();
  return files;
}

}  // namespace

Wav2Vec2CTCTokenizer::Wav2Vec2CTCTokenizer(const TokenizerFiles& files)
    : PreTrainedTokenizer(make_pipeline(files), files, "Wav2Vec2CTCTokenizer", "vocab.json") {
  // Tokens of several characters are found as a whole, and take the spaces around them.
  std::vector<AddedToken> long_tokens;
  for (const auto& [token, id] : get_vocab()) {
    if (tk::unicode::count_code_points(token) < 2) continue;
    const bool is_special = backend_tokenizer().added().is_special(token);
    long_tokens.push_back(
        {.content = token, .lstrip = true, .rstrip = true, .normalized = false, .special = is_special});
  }
  add_tokens(long_tokens);
}

Wav2Vec2CTCTokenizer::Wav2Vec2CTCTokenizer(const Json& arguments)
    : Wav2Vec2CTCTokenizer(with_ctc_defaults(tokenizer_files_of(arguments))) {}

Wav2Vec2CTCTokenizer Wav2Vec2CTCTokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return Wav2Vec2CTCTokenizer(with_ctc_defaults(read_tokenizer_files(at.path, at.overrides, "vocab.json")));
  });
}

Wav2Vec2CTCTokenizerOutput Wav2Vec2CTCTokenizer::decode(std::span<const int32_t> ids,
                                                        const Wav2Vec2DecodeOptions& options) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const std::string_view token = backend_tokenizer().id_to_token(id);
    tokens.push_back(token.data() != nullptr ? std::string(token) : unk_token().value_or("<unk>"));
  }
  const std::vector<std::string> special =
      options.skip_special_tokens ? all_special_tokens() : std::vector<std::string>();
  const auto skip = [&](std::string_view token) {
    return std::find(special.begin(), special.end(), token) != special.end();
  };
  const auto& decoder = static_cast<const CtcDecoder&>(*backend_tokenizer().parts().decoder);
  Wav2Vec2CTCTokenizerOutput out = decoder.run(std::move(tokens), skip, options);
  if (options.clean_up_tokenization_spaces.value_or(clean_up_tokenization_spaces())) {
    out.text = clean_up_tokenization(std::move(out.text));
  }
  return out;
}

std::vector<Wav2Vec2CTCTokenizerOutput> Wav2Vec2CTCTokenizer::batch_decode(const std::vector<std::vector<int32_t>>& ids,
                                                                           const Wav2Vec2DecodeOptions& options) const {
  std::vector<Wav2Vec2CTCTokenizerOutput> outputs;
  for (const auto& row : ids) outputs.push_back(decode(row, options));
  return outputs;
}

}  // namespace caracal
