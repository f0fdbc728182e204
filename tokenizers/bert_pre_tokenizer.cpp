#include <caracal/tokenizers/pre_tokenizers.h>

#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

constexpr char32_t kTableEnd = 0x3400;

}  // namespace

BertPreTokenizer::BertPreTokenizer() : kinds_(kTableEnd) {
  for (char32_t cp = 0; cp < kTableEnd; ++cp) kinds_[cp] = kind_of(cp);
}

BertPreTokenizer::Kind BertPreTokenizer::kind_of(char32_t cp) {
  if (unicode::is_whitespace(cp)) return Kind::space;
  return unicode::is_punctuation(cp) ? Kind::punctuation : Kind::word;
}

void BertPreTokenizer::pre_tokenize(NormalizedText& text) const {
  text.rewrite_splits();
  std::vector<Split>& words = text.splits;
  const char* const base = text.text.data();
  for (const Split& split : text.old_splits) {
    if (split.added_id >= 0) {
      words.push_back(split);
      continue;
    }
    const char* const end = base + split.end;
    const char* word = base + split.begin;
    const auto close = [&](const char* at) {
      if (at != word) words.push_back({uint32_t(word - base), uint32_t(at - base)});
    };
    for (const char* p = word; p != end;) {
      const char* const at = p;
      const char32_t cp = unicode::decode(p);
      const Kind kind = cp < kTableEnd ? kinds_[cp] : kind_of(cp);
      if (kind == Kind::word) continue;
      close(at);
      word = p;
      if (kind == Kind::punctuation) words.push_back({uint32_t(at - base), uint32_t(p - base)});
    }
    close(end);
  }
}

Json BertPreTokenizer::to_json() const { return {{"type", "BertPreTokenizer"}}; }

}  // namespace caracal::tokenizers
