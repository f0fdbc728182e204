#include <caracal/models/bert/tokenization_bert_legacy.h>

#include <algorithm>
#include <map>
#include <set>

#include <caracal/loaders/hub_cache.h>
#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal {
namespace {

namespace tk = caracal::tokenizers;
namespace unicode = caracal::tokenizers::unicode;

// A character and the original code point it came from.
struct Character {
  char32_t code_point;
  uint32_t origin;
};
using Characters = std::vector<Character>;

std::string utf8(const Characters& characters) {
  std::string text;
  char bytes[4];
  for (const Character& c : characters) text.append(bytes, unicode::encode(c.code_point, bytes));
  return text;
}

// The steps of BasicTokenizer, each from characters to characters.
Characters clean_text(const Characters& text) {
  Characters out;
  for (const Character& c : text) {
    if (unicode::is_removed_by_clean_text(c.code_point)) continue;
    out.push_back({unicode::is_whitespace(c.code_point) ? U' ' : c.code_point, c.origin});
  }
  return out;
}

Characters space_chinese_characters(const Characters& text) {
  Characters out;
  for (const Character& c : text) {
    const bool is_chinese = unicode::is_chinese(c.code_point);
    if (is_chinese) out.push_back({U' ', c.origin});
    out.push_back(c);
    if (is_chinese) out.push_back({U' ', c.origin});
  }
  return out;
}

Characters strip_accents(const Characters& word) {
  Characters decomposed;
  for (const Character& c : word) {
    const unicode::Mapped parts = unicode::decompose(c.code_point);
    for (size_t i = 0; i < parts.size; ++i) decomposed.push_back({parts.code_points[i], c.origin});
  }
  const auto is_mark = [](const Character& c) { return unicode::combining_class(c.code_point) != 0; };
  for (auto it = decomposed.begin(); it != decomposed.end();) {  // canonical order within each run of marks
    const auto begin = std::find_if(it, decomposed.end(), is_mark);
    it = std::find_if_not(begin, decomposed.end(), is_mark);
    std::stable_sort(begin, it, [](const Character& a, const Character& b) {
      return unicode::combining_class(a.code_point) < unicode::combining_class(b.code_point);
    });
  }
  std::erase_if(decomposed, [](const Character& c) { return unicode::is_nonspacing_mark(c.code_point); });
  return decomposed;
}

Characters lower(const Characters& word) {
  Characters out;
  for (const Character& c : word) {
    const unicode::Mapped mapped = unicode::to_lower(c.code_point);
    for (size_t i = 0; i < mapped.size; ++i) out.push_back({mapped.code_points[i], c.origin});
  }
  return out;
}

std::vector<Characters> split_at_spaces(const Characters& text) {
  std::vector<Characters> words;
  bool in_word = false;
  for (const Character& c : text) {
    const bool is_space = unicode::is_whitespace(c.code_point);
    if (!is_space && !in_word) words.emplace_back();
    if (!is_space) words.back().push_back(c);
    in_word = !is_space;
  }
  return words;
}

std::vector<Characters> split_at_punctuation(const Characters& word) {
  std::vector<Characters> parts;
  bool starts = true;
  for (const Character& c : word) {
    const bool is_punctuation = unicode::is_punctuation(c.code_point);
    if (is_punctuation || starts) parts.emplace_back();
    parts.back().push_back(c);
    starts = is_punctuation;
  }
  return parts;
}

class BasicTokenizer final : public tk::PreTokenizer {
 public:
  struct Options {
    bool do_lower_case, tokenize_chinese_chars, strip_accents;
    std::set<std::string> never_split;
  };
  explicit BasicTokenizer(Options options) : options_(std::move(options)) {}

  void pre_tokenize(tk::NormalizedText& text) const override {
    text.rewrite_text();
    text.rewrite_splits();
    tk::Rewriter out(text);
    for (const tk::Split& split : text.old_splits) {
      const auto begin = uint32_t(out.size());
      if (split.added_id >= 0) {
        out.copy(split.begin, split.end);
        text.splits.push_back({begin, uint32_t(out.size()), split.added_id});
        continue;
      }
      Characters characters;
      const char* const base = text.old_text.data();
      for (const char* p = base + split.begin; p != base + split.end;) {
        const uint32_t origin = text.old_origin[size_t(p - base)];
        characters.push_back({unicode::decode(p), origin});
      }
      for (const Characters& word : words(characters)) {
        const auto word_begin = uint32_t(out.size());
        for (const Character& c : word) out.put(c.code_point, c.origin);
        text.splits.push_back({word_begin, uint32_t(out.size())});
      }
    }
    out.finish();
  }
  Json to_json() const override { return {{"type", "BertPreTokenizer"}}; }

 private:
  std::vector<Characters> words(Characters text) const {
    text = clean_text(text);
    if (options_.tokenize_chinese_chars) text = space_chinese_characters(text);
    std::vector<Characters> result;
    for (Characters& word : split_at_spaces(text)) {
      if (options_.never_split.contains(utf8(word))) {
        result.push_back(std::move(word));
        continue;
      }
      if (options_.strip_accents) word = strip_accents(word);
      if (options_.do_lower_case) word = lower(word);
      for (Characters& part : split_at_punctuation(word)) {
        for (Characters& piece : split_at_spaces(part)) result.push_back(std::move(piece));
      }
    }
    return result;
  }

  Options options_;
};

class WordpieceTokenizer final : public tk::Model {
 public:
  WordpieceTokenizer(const tk::TokenList& tokens, std::string unk) : Model(tokens), unk_(std::move(unk)) {
    for (size_t i = 0; i < tokens.size(); ++i) ids_[std::string(tokens.texts[i])] = tokens.ids[i];
  }
  bool has_unk() const { return ids_.contains(unk_); }

  void tokenize(const tk::NormalizedText& text, std::span<const tk::Split> words, int32_t first_word, tk::ModelScratch&,
                std::vector<tk::Token>& out) const override {
    for (const tk::Split& split : words) {
      const std::string word = text.text.substr(split.begin, split.end - split.begin);
      const auto token = [&](int32_t id, size_t begin, size_t end) {
        return tk::Token{.id = id,
                         .begin = text.origin[split.begin + begin],
                         .end = text.origin[split.begin + end - 1] + 1,
                         .word = first_word,
                         .sequence = 0};
      };
      std::vector<tk::Token> pieces;
      bool is_bad = unicode::count_code_points(word) > 100;
      for (size_t begin = 0; begin < word.size() && !is_bad;) {
        size_t end = word.size();
        for (; end > begin; end = unicode::previous(word, end)) {
          const auto it = ids_.find((begin > 0 ? "##" : "") + word.substr(begin, end - begin));
          if (it == ids_.end()) continue;
          pieces.push_back(token(it->second, begin, end));
          break;
        }
        is_bad = end <= begin;
        begin = end;
      }
      if (is_bad) pieces = {token(ids_.at(unk_), 0, word.size())};
      out.insert(out.end(), pieces.begin(), pieces.end());
      ++first_word;
    }
  }
  Json to_json() const override {
    return {{"type", "WordPiece"},
            {"unk_token", unk_},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", tk::vocabulary_to_json(vocabulary_)}};
  }

 private:
  std::map<std::string, int32_t> ids_;
  std::string unk_;
};

tk::Tokenizer make_pipeline(const TokenizerFiles& files) {
  const bool lower_case = flag_of(files, "do_lower_case", true);
  BasicTokenizer::Options options{.do_lower_case = lower_case,
                                  .tokenize_chinese_chars = flag_of(files, "tokenize_chinese_chars", true),
                                  .strip_accents = flag_of(files, "strip_accents", lower_case),
                                  .never_split = {}};
  if (const Json* words = files.init_kwargs.find("never_split"); words != nullptr && words->is_array()) {
    for (const Json& word : words->as_array()) options.never_split.insert(word.as_string());
  }
  const std::string unk = token_of(files, "unk_token", "[UNK]");
  const auto data = model_data_of(files);
  auto model = std::make_shared<WordpieceTokenizer>(data->vocabulary, unk);
  if (!model->has_unk()) {
    throw Error(ErrorCode::bad_file, "BertTokenizerLegacy",
                "expected the unknown token '" + unk + "' in the vocabulary");
  }
  return tk::Tokenizer({.normalizer = nullptr,
                        .pre_tokenizer = std::make_shared<BasicTokenizer>(std::move(options)),
                        .model = std::move(model),
                        .post_processor = nullptr,
                        .decoder = std::make_shared<tk::WordPieceDecoder>()});
}

}  // namespace

BertTokenizerLegacy::BertTokenizerLegacy(const TokenizerFiles& files)
    : PreTrainedTokenizer(make_pipeline(files), files, "BertTokenizerLegacy", "vocab.txt") {
  set_post_processor(std::make_shared<tk::TemplateProcessing>(
      tk::bert_template(cls_token().value_or("None"), cls_token_id().value_or(2), sep_token().value_or("None"),
                        sep_token_id().value_or(3))));
}

BertTokenizerLegacy::BertTokenizerLegacy(const Json& arguments)
    : BertTokenizerLegacy(with_bert_defaults(tokenizer_files_of(arguments), true)) {}

BertTokenizerLegacy BertTokenizerLegacy::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(at.path, [&] {
    return BertTokenizerLegacy(with_bert_defaults(read_tokenizer_files(at.path, at.overrides), true));
  });
}

}  // namespace caracal
