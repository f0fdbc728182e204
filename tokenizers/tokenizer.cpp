#include <caracal/tokenizers/tokenizer.h>

#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/error.h>
#include <caracal/tokenizers/files.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

bool flag(const Json& token, const char* key) {
  const Json* value = token.find(key);
  if (value == nullptr) {
    throw Error(ErrorCode::bad_file, "tokenizer.json", "expected '" + std::string(key) + "' in added_tokens");
  }
  return value->as_bool();
}

// Offsets count from 32 bits, and NormalizedText holds them per byte.
constexpr size_t kMaxTextBytes = size_t(1) << 30;

}  // namespace

Tokenizer Tokenizer::from_json(const Json& json) {
  if (!json.is_object()) {
    throw Error(ErrorCode::bad_file, "tokenizer.json", "expected dict but got " + std::string(json.type_name()));
  }
  const Json& model = json.at("model");
  return from_parts_of(json, [&] { return model_from_json(model); });
}

Tokenizer Tokenizer::from_json(const Json& json, const ModelData& data) {
  const Json& model = json.at("model");
  return from_parts_of(json, [&] { return model_from_json(model, data); });
}

template <class MakeModel>
Tokenizer Tokenizer::from_parts_of(const Json& json, MakeModel make_model) {
  const Json null;
  const auto part = [&](const char* key) -> const Json& {
    const Json* found = json.find(key);
    return found != nullptr ? *found : null;
  };
  Tokenizer tokenizer({.normalizer = normalizer_from_json(part("normalizer")),
                       .pre_tokenizer = pre_tokenizer_from_json(part("pre_tokenizer")),
                       .model = make_model(),
                       .post_processor = post_processor_from_json(part("post_processor")),
                       .decoder = decoder_from_json(part("decoder"))});
  if (const Json& list = part("added_tokens"); !list.is_null()) {
    std::vector<AddedToken> tokens;
    for (const Json& token : list.as_array()) {
      tokens.push_back({.content = token.at("content").as_string(),
                        .single_word = flag(token, "single_word"),
                        .lstrip = flag(token, "lstrip"),
                        .rstrip = flag(token, "rstrip"),
                        .normalized = flag(token, "normalized"),
                        .special = flag(token, "special")});
    }
    tokenizer.add_tokens(tokens);
  }
  tokenizer.baked_ = {part("truncation"), part("padding")};
  return tokenizer;
}

Json Tokenizer::to_json() const {
  const auto part = [](const auto& component) { return component != nullptr ? component->to_json() : Json(); };
  Json::Array added;
  for (const auto& [id, token] : added_.list()) {
    added.push_back(Json::Object{{"id", int64_t(id)},
                                 {"content", token->content},
                                 {"single_word", token->single_word},
                                 {"lstrip", token->lstrip},
                                 {"rstrip", token->rstrip},
                                 {"normalized", token->normalized},
                                 {"special", token->special}});
  }
  return {{"version", "1.0"},
          {"truncation", baked_.truncation},
          {"padding", baked_.padding},
          {"added_tokens", std::move(added)},
          {"normalizer", part(parts_.normalizer)},
          {"pre_tokenizer", part(parts_.pre_tokenizer)},
          {"post_processor", part(parts_.post_processor)},
          {"decoder", part(parts_.decoder)},
          {"model", parts_.model->to_json()}};
}

void Tokenizer::save(const std::string& path) const { write_atomically(path, to_json().dump(2, false, false)); }

Tokenizer Tokenizer::from_file(const std::string& path) {
  return in_file(path, [&] { return from_json(read_tokenizer_json(path)); });
}

size_t Tokenizer::add_tokens(const std::vector<AddedToken>& tokens) {
  return added_.add(tokens, *parts_.model, parts_.normalizer.get());
}

void Tokenizer::encode_text(std::string_view text, bool split_special_tokens, Workspace& workspace,
                            std::vector<Token>& out) const {
  if (text.size() > kMaxTextBytes) {
    throw Error(ErrorCode::invalid_argument, "tokenizer",
                "expected a text below 1 GiB but got " + std::to_string(text.size()) + " bytes");
  }
  if (!unicode::is_valid_utf8(text)) {
    unicode::replace_invalid_utf8(text, workspace.repaired);
    text = workspace.repaired;
  }
  if (out.empty()) out.reserve(text.size() / 4 + 4);
  added_.split(text, false, split_special_tokens, workspace.matches);
  uint32_t first = 0;  // code points before the part
  int32_t word = 0;
  for (const Match& match : workspace.matches) {
    const std::string_view part = text.substr(match.begin, match.end - match.begin);
    if (match.id >= 0) {
      const auto end = uint32_t(first + unicode::count_code_points(part));
      out.push_back({.id = match.id,
                     .begin = first,
                     .end = end,
                     .word = word++,
                     .sequence = 0,
                     .surface = surface_of(match.id, part, workspace)});
      first = end;
      continue;
    }
    encode_part(part, first, split_special_tokens, workspace, word, out);
    if (match.end != text.size()) first += uint32_t(unicode::count_code_points(part));
  }
}

// 0 when an added token reads as in the vocabulary; what it matched may hold white space around it.
uint32_t Tokenizer::surface_of(int32_t id, std::string_view matched, Workspace& workspace) const {
  if (text_of({.id = id}, {}) == matched) return 0;
  return workspace.model.surfaces.add(matched);
}

void Tokenizer::encode_part(std::string_view part, uint32_t first, bool split_special_tokens, Workspace& workspace,
                            int32_t& word, std::vector<Token>& out) const {
  NormalizedText& text = workspace.text;
  text.assign(part, first);
  if (parts_.normalizer != nullptr) parts_.normalizer->normalize(text);
  if (added_.any(true)) {
    added_.split(text.text, true, split_special_tokens, workspace.inner_matches);
    for (const Match& m : workspace.inner_matches) {
      text.splits.push_back({uint32_t(m.begin), uint32_t(m.end), m.id});
    }
  } else if (!text.text.empty()) {
    text.splits.push_back({0, uint32_t(text.text.size())});
  }
  if (parts_.pre_tokenizer != nullptr) parts_.pre_tokenizer->pre_tokenize(text);
  const std::vector<Split>& splits = text.splits;
  for (size_t begin = 0; begin < splits.size();) {
    size_t end = begin;
    while (end < splits.size() && splits[end].added_id < 0) ++end;
    if (end != begin) {
      parts_.model->tokenize(text, std::span(splits).subspan(begin, end - begin), word, workspace.model, out);
      word += int32_t(end - begin);
    }
    if (end < splits.size()) {
      const Split& added = splits[end++];
      out.push_back(
          {.id = added.added_id,
           .begin = text.origin[added.begin],
           .end = text.origin[added.end - 1] + 1,
           .word = word++,
           .sequence = 0,
           .surface = surface_of(added.added_id,
                                 std::string_view(text.text).substr(added.begin, added.end - added.begin), workspace)});
    }
    begin = end;
  }
}

void Tokenizer::encode_one(const Text& text, bool split_special_tokens, Workspace& workspace, Encoding& out) const {
  out.tokens.clear();
  out.overflow.clear();
  if (!text.is_split) return encode_text(text.text, split_special_tokens, workspace, out.tokens);
  for (size_t i = 0; i < text.words.size(); ++i) {
    const size_t begin = out.tokens.size();
    encode_text(text.words[i], split_special_tokens, workspace, out.tokens);
    for (size_t k = begin; k < out.tokens.size(); ++k) out.tokens[k].word = int32_t(i);
  }
}

Encoding Tokenizer::encode(const Text& first, const Text* second, bool add_special_tokens, const Truncation& truncation,
                           bool split_special_tokens, Workspace& workspace) const {
  Encoding out;
  encode(first, second, add_special_tokens, truncation, split_special_tokens, workspace, out);
  return out;
}

void Tokenizer::encode(const Text& first, const Text* second, bool add_special_tokens, const Truncation& truncation,
                       bool split_special_tokens, Workspace& workspace, Encoding& out) const {
  RowParts& parts = workspace.parts;
  auto& [a, b] = parts.texts;
  parts.count = second != nullptr ? 2 : 1;
  encode_one(first, split_special_tokens, workspace, a);
  if (second != nullptr) encode_one(*second, split_special_tokens, workspace, b);

  const PostProcessor* post = parts_.post_processor.get();
  if (truncation.strategy != TruncationStrategy::do_not_truncate) {
    const size_t added = add_special_tokens && post != nullptr ? post->added_tokens(second != nullptr) : 0;
    if (truncation.max_length < added) {
      throw Error(ErrorCode::invalid_argument, "tokenizer",
                  "expected max_length of at least the " + std::to_string(added) + " special tokens but got " +
                      std::to_string(truncation.max_length));
    }
    truncate(a, second != nullptr ? &b : nullptr, truncation.max_length - added, truncation.stride, truncation.strategy,
             truncation.side, truncation.keep_overflow);
  }
  if (second != nullptr) {
    const auto second_text = [](Encoding& e) {
      for (Token& token : e.tokens) token.sequence = 1, token.type_id = 1;
    };
    second_text(b);
    for (Encoding& part : b.overflow) second_text(part);
  }
  if (post != nullptr) {
    post->process(parts, add_special_tokens,
                  [&](const Token& token) { return text_of(token, workspace.model.surfaces); });
  }
  if (parts.count == 2) a.append(b);
  out.tokens.assign(a.tokens.begin(), a.tokens.end());  // a copy, so that every buffer keeps its place and its size
  out.overflow = std::move(a.overflow);
}

std::string_view Tokenizer::text_of(const Token& token, const Surfaces& surfaces) const {
  if (token.surface != 0 && token.surface <= surfaces.size()) return surfaces[token.surface];
  const std::string_view text = parts_.model->vocabulary().token(token.id);
  return text.data() != nullptr ? text : added_.text(token.id);
}

std::string Tokenizer::join(std::vector<std::string> tokens, bool skip_special_tokens) const {
  const auto skip = [&](std::string_view token) { return skip_special_tokens && added_.is_special(token); };
  if (parts_.decoder != nullptr) return parts_.decoder->text(std::move(tokens), skip);
  std::string text;
  bool first = true;
  for (const std::string& token : tokens) {
    if (skip(token)) continue;
    text.append(first ? "" : " ").append(token);
    first = false;
  }
  return text;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const std::string_view token = id_to_token(id);
    if (token.data() != nullptr) tokens.emplace_back(token);
  }
  return join(std::move(tokens), skip_special_tokens);
}

int32_t Tokenizer::token_to_id(std::string_view token) const {
  const int32_t id = added_.find(token);
  return id >= 0 ? id : parts_.model->vocabulary().find(token);
}

std::string_view Tokenizer::id_to_token(int32_t id) const {
  const std::string_view added = added_.text(id);
  if (added.data() != nullptr) return added;
  return parts_.model->vocabulary().token(id);
}

size_t Tokenizer::size() const {
  size_t size = vocab_size();
  for (const auto& [id, token] : added_.list()) size += parts_.model->vocabulary().find(token->content) < 0;
  return size;
}

}  // namespace caracal::tokenizers
