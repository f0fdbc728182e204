// Models from a tokenizer.json, their vocabularies from files, and the model without subwords.
#include <caracal/tokenizers/model.h>

#include <algorithm>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/components.h>
#include <caracal/tokenizers/files.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorCode::bad_file, "tokenizer.json", what); }

const Json* given(const Json& json, const char* key) {
  const Json* value = json.find(key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

std::optional<std::string> optional_string(const Json& json, const char* key) {
  const Json* value = given(json, key);
  return value != nullptr ? std::optional(value->as_string()) : std::nullopt;
}

bool flag(const Json& json, const char* key) {
  const Json* value = given(json, key);
  return value != nullptr && value->as_bool();
}

std::shared_ptr<const Model> word_piece_from_json(const Json& json, const ModelData& data) {
  const int64_t max_chars = json.at("max_input_chars_per_word").as_int();
  if (max_chars < 0) bad("expected max_input_chars_per_word of at least 0 but got " + std::to_string(max_chars));
  return std::make_shared<WordPiece>(
      data.vocabulary, WordPiece::Options{.unk_token = json.at("unk_token").as_string(),
                                          .continuing_subword_prefix = json.at("continuing_subword_prefix").as_string(),
                                          .max_input_chars_per_word = size_t(max_chars)});
}

std::shared_ptr<const Model> bpe_from_json(const Json& json, const ModelData& data) {
  if (const Json* dropout = given(json, "dropout"); dropout != nullptr && dropout->as_double() != 0) {
    throw Error(ErrorCode::unsupported, "tokenizer.json",
                "expected no dropout in BPE, which is for training, but got " + dropout->dump());
  }
  return std::make_shared<BPE>(
      data.vocabulary, data.merges,
      BPE::Options{.unk_token = optional_string(json, "unk_token"),
                   .continuing_subword_prefix = optional_string(json, "continuing_subword_prefix"),
                   .end_of_word_suffix = optional_string(json, "end_of_word_suffix"),
                   .fuse_unk = flag(json, "fuse_unk"),
                   .byte_fallback = flag(json, "byte_fallback"),
                   .ignore_merges = flag(json, "ignore_merges")});
}

void read_pieces(const Json::Array& vocab, ModelData& data) {
  data.scores.reserve(vocab.size());
  for (const Json& entry : vocab) {
    const Json::Array& pair = entry.as_array();
    if (pair.size() != 2) bad("expected [token, score] in the vocab of Unigram");
    data.vocabulary.add(pair[0].as_string(), int32_t(data.vocabulary.size()));
    data.scores.push_back(Unigram::score_of(pair[1].as_double()));
  }
}

std::shared_ptr<const Model> unigram_from_json(const Json& json, const ModelData& data) {
  if (!json.at("vocab").is_array()) bad("expected a list as vocab of Unigram");
  std::optional<size_t> unk_id;
  if (const Json* id = given(json, "unk_id")) {
    if (id->as_int() < 0) bad("expected unk_id of at least 0 but got " + id->dump());
    unk_id = size_t(id->as_int());
  }
  return std::make_shared<Unigram>(data.vocabulary, data.scores, unk_id, flag(json, "byte_fallback"),
                                   data.exact_scores);
}

MergeList merges_from_json(const Json& json) {
  MergeList merges;
  for (const Json& merge : json.as_array()) {
    if (merge.is_string()) {
      if (merge.as_string().starts_with("#version")) continue;
      merges.texts.push_back(merge.as_string());
      merges.split_last("tokenizer.json");
      continue;
    }
    const Json::Array& pair = merge.as_array();
    if (pair.size() != 2) bad("expected a merge of two tokens but got " + std::to_string(pair.size()));
    merges.add(pair[0].as_string(), pair[1].as_string());
  }
  return merges;
}

// Calls line(text) for each line of a file; the last may lack its line feed.
template <class Line>
void for_each_line(const std::string& path, Line line) {
  const std::string file = read_text_file(path);
  std::string_view text = file;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// Files written before the field existed have no type.
std::string type_of(const Json& json) {
  if (json.contains("type") || !json.contains("vocab")) return component_type(json, "model");
  if (json.contains("merges")) return "BPE";
  if (json.at("vocab").is_array()) return "Unigram";
  return json.contains("max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

}  // namespace

TokenList vocabulary_from_json(const Json& vocab) {
  TokenList tokens;
  for (const auto& [token, id] : vocab.as_object()) {
    const int64_t value = id.as_int();
    if (value < 0 || value > INT32_MAX) {
      throw Error(ErrorCode::bad_file, "tokenizer.json",
                  "expected a 31-bit id for token '" + token + "' but got " + std::to_string(value));
    }
    tokens.add(token, int32_t(value));
  }
  return tokens;
}

void read_merges_txt(const std::string& path, ModelData& data) {
  for_each_line(path, [&](std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version") || line.empty()) return;
    if (!unicode::is_valid_utf8(line)) {
      throw Error(ErrorCode::bad_file, path, "expected UTF-8 in merge " + std::to_string(data.merges.size() + 1));
    }
    if (data.merges.size() == Vocabulary::kMaxTokens) {
      throw Error(ErrorCode::bad_file, path, "expected at most " + std::to_string(Vocabulary::kMaxTokens) + " merges");
    }
    data.merges.texts.push_back(line);
    data.merges.split_last(path);
  });
}

Json vocabulary_to_json(const Vocabulary& vocabulary) {
  Json::Object vocab;
  for (int32_t id = 0; id < vocabulary.id_end(); ++id) {
    const std::string_view token = vocabulary.token(id);
    if (token.data() != nullptr) vocab.emplace_back(std::string(token), int64_t(id));
  }
  return vocab;
}

ModelData model_data_from_json(const Json& model) {
  ModelData data;
  const Json& vocab = model.at("vocab");
  if (vocab.is_array() && type_of(model) == "Unigram") {
    read_pieces(vocab.as_array(), data);
  } else if (vocab.is_object()) {
    data.vocabulary = vocabulary_from_json(vocab);
  }
  if (const Json* merges = given(model, "merges")) data.merges = merges_from_json(*merges);
  return data;
}

std::shared_ptr<const Model> model_from_json(const Json& json) {
  const std::string type = type_of(json);
  if (type != "WordPiece" && type != "BPE" && type != "Unigram" && type != "WordLevel") {
    throw_unsupported_component("model", type);
  }
  return model_from_json(json, model_data_from_json(json));
}

std::shared_ptr<const Model> model_from_json(const Json& json, const ModelData& data) {
  const std::string type = type_of(json);
  if (type == "Unigram") return unigram_from_json(json, data);
  if (!json.at("vocab").is_object())
    bad("expected dict as vocab of " + type + " but got " + json.at("vocab").type_name());
  if (type == "WordPiece") return word_piece_from_json(json, data);
  if (type == "BPE") {
    json.at("merges").as_array();  // throws when it is missing or no list
    return bpe_from_json(json, data);
  }
  if (type == "WordLevel") return std::make_shared<WordLevel>(data.vocabulary, json.at("unk_token").as_string());
  throw_unsupported_component("model", type);
}

WordLevel::WordLevel(const TokenList& tokens, std::string unk_token)
    : Model(tokens), unk_token_(std::move(unk_token)), unk_id_(vocabulary_.find(unk_token_)) {}

void WordLevel::tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch&,
                         std::vector<Token>& out) const {
  int32_t number = first_word;
  for (const Split& word : words) {
    int32_t id = vocabulary_.find(std::string_view(text.text).substr(word.begin, word.end - word.begin));
    if (id < 0) id = unk_id_;
    if (id < 0) {
      throw Error(ErrorCode::invalid_argument, "WordLevel",
                  "expected the unknown token '" + unk_token_ + "' in the vocabulary");
    }
    out.push_back({.id = id,
                   .begin = text.origin[word.begin],
                   .end = text.origin[word.end - 1] + 1,
                   .word = number++,
                   .sequence = 0});
  }
}

Json WordLevel::to_json() const {
  return {{"type", "WordLevel"}, {"vocab", vocabulary_to_json(vocabulary_)}, {"unk_token", unk_token_}};
}

void read_vocab_txt(const std::string& path, ModelData& data) {
  for_each_line(path, [&](std::string_view line) {
    if (!unicode::is_valid_utf8(line)) {
      throw Error(ErrorCode::bad_file, path, "expected UTF-8 in line " + std::to_string(data.vocabulary.size() + 1));
    }
    if (data.vocabulary.size() == Vocabulary::kMaxTokens) {
      throw Error(ErrorCode::bad_file, path, "expected at most " + std::to_string(Vocabulary::kMaxTokens) + " tokens");
    }
    // The reference drops white space at the end of a line.
    while (!line.empty()) {
      const size_t start = unicode::previous(line, line.size());
      const char* p = line.data() + start;
      if (!unicode::is_whitespace(unicode::decode(p))) break;
      line = line.substr(0, start);
    }
    data.vocabulary.add(line, int32_t(data.vocabulary.size()));
  });
}

}  // namespace caracal::tokenizers
