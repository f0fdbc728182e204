#include <caracal/tokenizers/added_tokens.h>

#include <algorithm>
#include <cstring>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

constexpr size_t kMaxContentBytes = 1 << 16;

char32_t code_point_at(std::string_view text, size_t at) {
  const char* p = text.data() + at;
  return unicode::decode(p);
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const bool left = begin == 0 || !unicode::is_word(code_point_at(text, unicode::previous(text, begin)));
  const bool right = end == text.size() || !unicode::is_word(code_point_at(text, end));
  return left && right;
}

}  // namespace

void AddedVocabulary::Finder::insert(std::string_view content, int32_t id) {
  const auto first = static_cast<unsigned char>(content[0]);
  only_start = trie.empty() || only_start == first ? first : -1;
  starts[first] = true;
  trie.insert(content, id);
}

size_t AddedVocabulary::Finder::next_start(std::string_view text, size_t from) const {
  if (only_start >= 0) {
    const void* found = from < text.size() ? std::memchr(text.data() + from, only_start, text.size() - from) : nullptr;
    return found == nullptr ? text.size() : size_t(static_cast<const char*>(found) - text.data());
  }
  while (from < text.size() && !starts[static_cast<unsigned char>(text[from])]) ++from;
  return from;
}

size_t AddedVocabulary::add(const std::vector<AddedToken>& tokens, const Model& model, const Normalizer* normalizer) {
  size_t added = 0;
  const auto model_size = int32_t(model.vocabulary().size());
  int32_t last_id = -1;
  for (const auto& [content, id] : ids_) last_id = std::max(last_id, id);
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    if (token.content.size() > kMaxContentBytes) {
      throw Error(ErrorCode::invalid_argument, "added_tokens",
                  "expected tokens of at most 64 KiB but got " + std::to_string(token.content.size()) + " bytes");
    }
    if (token.special) special_.insert(token.content);
    const auto known = ids_.find(token.content);
    if (known != ids_.end() && tokens_.at(known->second) == token) continue;
    int32_t id = known != ids_.end() ? known->second : model.vocabulary().find(token.content);
    if (id < 0) id = last_id >= model_size || (model_size == 0 && last_id >= 0) ? last_id + 1 : model_size;
    ids_[token.content] = id;
    tokens_[id] = token;
    last_id = std::max(last_id, id);
    ++added;
  }
  rebuild(normalizer);
  return added;
}

void AddedVocabulary::rebuild(const Normalizer* normalizer) {
  finders_[0] = Finder();
  finders_[1] = Finder();
  normalized_.clear();
  NormalizedText text;
  for (const auto& [id, token] : list()) {
    if (!token->normalized || normalizer == nullptr) {
      finders_[token->normalized].insert(token->content, id);
      continue;
    }
    text.assign(token->content, 0);
    normalizer->normalize(text);
    normalized_[id] = text.text;
    if (!text.text.empty()) finders_[1].insert(text.text, id);
  }
}

void AddedVocabulary::split(std::string_view text, bool normalized, bool skip_special, std::vector<Match>& out) const {
  out.clear();
  const Finder& finder = finders_[normalized];
  size_t done = 0;  // end of the last split
  const auto text_until = [&](size_t end) {
    if (done < end) out.push_back({done, end, -1});
  };
  size_t at = finder.trie.empty() ? text.size() : finder.next_start(text, 0);
  while (at < text.size()) {
    int32_t id = -1;
    size_t end = at;
    uint32_t node = Trie::kRoot;
    for (size_t i = at; i < text.size(); ++i) {
      node = finder.trie.next(node, text[i]);
      if (node == Trie::kNone) break;
      if (finder.trie.value(node) >= 0) {
        id = finder.trie.value(node);
        end = i + 1;
      }
    }
    if (id < 0) {
      at = finder.next_start(text, at + 1);
      continue;
    }
    // As in the reference, a match that is turned down still uses up its text.
    const size_t match = at;
    at = finder.next_start(text, end);
    const AddedToken& token = tokens_.at(id);
    if (skip_special && is_special(token.content)) continue;
    if (token.single_word && !stands_alone(text, match, end)) continue;
    // White space that the last match took is not taken again, though a match itself may begin in it.
    size_t begin = match;
    if (token.lstrip) {
      while (begin > done && unicode::is_whitespace(code_point_at(text, unicode::previous(text, begin)))) {
        begin = unicode::previous(text, begin);
      }
      begin = std::max(begin, done);
    }
    while (token.rstrip && end < text.size() && unicode::is_whitespace(code_point_at(text, end))) {
      end += unicode::sequence_length(text[end]);
    }
    text_until(begin);
    if (begin < end) out.push_back({begin, end, id});
    done = end;
  }
  text_until(text.size());
}

int32_t AddedVocabulary::find(std::string_view content) const {
  const auto it = ids_.find(std::string(content));
  return it == ids_.end() ? -1 : it->second;
}

const AddedToken* AddedVocabulary::token(int32_t id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : &it->second;
}

std::string_view AddedVocabulary::text(int32_t id) const {
  if (const auto it = normalized_.find(id); it != normalized_.end()) return it->second;
  const AddedToken* added = token(id);
  return added != nullptr ? std::string_view(added->content) : std::string_view();
}

std::vector<std::pair<int32_t, const AddedToken*>> AddedVocabulary::list() const {
  std::vector<std::pair<int32_t, const AddedToken*>> all;
  all.reserve(tokens_.size());
  for (const auto& [id, token] : tokens_) all.emplace_back(id, &token);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return all;
}

}  // namespace caracal::tokenizers
