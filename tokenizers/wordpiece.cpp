#include <algorithm>
#include <array>
#include <cstring>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/model.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

// In a table of lengths: at least this many bytes.
constexpr size_t kManyBytes = 255;

size_t first_two(const char* p) {
  return size_t(static_cast<unsigned char>(p[0])) << 8 | static_cast<unsigned char>(p[1]);
}

}  // namespace

WordPiece::WordPiece(const TokenList& tokens, const Options& options)
    : Model(tokens),
      options_(options),
      continuing_hash_(Vocabulary::hash(Vocabulary::kSeed, options.continuing_subword_prefix)),
      unk_id_(vocabulary_.find(options.unk_token)),
      first_lengths_(1 << 16, 1),
      continuing_lengths_(1 << 16, 1) {
  const auto note = [](Lengths& lengths, std::string_view text) {
    if (text.size() < 2) return;
    uint8_t& length = lengths[first_two(text.data())];
    length = std::max(length, static_cast<uint8_t>(std::min<size_t>(text.size(), kManyBytes)));
  };
  const std::string_view prefix = options_.continuing_subword_prefix;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens.texts[i];
    note(first_lengths_, token);
    if (token.starts_with(prefix)) note(continuing_lengths_, token.substr(prefix.size()));
  }
}

void WordPiece::tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch&,
                         std::vector<Token>& out) const {
  const size_t max_chars = options_.max_input_chars_per_word;
  for (size_t i = 0; i < words.size(); ++i) {
    const Split& word = words[i];
    const int32_t number = first_word + int32_t(i);
    const std::string_view bytes(text.text.data() + word.begin, word.end - word.begin);
    const bool too_long = bytes.size() > max_chars && unicode::count_code_points(bytes) > max_chars;
    if (!too_long && pieces(text, word, number, out)) continue;
    if (unk_id_ < 0) {
      throw Error(ErrorCode::invalid_argument, "WordPiece",
                  "expected the unknown token '" + options_.unk_token + "' in the vocabulary");
    }
    out.push_back({.id = unk_id_,
                   .begin = text.origin[word.begin],
                   .end = text.origin[word.end - 1] + 1,
                   .word = number,
                   .sequence = 0});
  }
}

bool WordPiece::pieces(const NormalizedText& text, const Split& word, int32_t number, std::vector<Token>& out) const {
  const size_t first = out.size();
  const char* const base = text.text.data();
  const std::string_view prefix = options_.continuing_subword_prefix;
  const size_t longest = vocabulary_.longest();
  // hashes[k] is the hash of the first k bytes of what is left of the word. Only words of many code points outside
  // ASCII, or a raised max_input_chars_per_word, need more than the inline buffer.
  std::array<uint64_t, 512> inline_hashes;
  std::vector<uint64_t> more_hashes;
  uint64_t* hashes = inline_hashes.data();
  if (word.end - word.begin >= inline_hashes.size() && longest >= inline_hashes.size()) {
    more_hashes.resize(std::min<size_t>(word.end - word.begin, longest) + 1);
    hashes = more_hashes.data();
  }
  for (uint32_t begin = word.begin; begin != word.end;) {
    const bool continuing = begin != word.begin;
    const std::string_view head = continuing ? prefix : std::string_view();
    const size_t left = word.end - begin;
    size_t limit = std::min(left, longest - std::min(longest, head.size()));
    if (left > 1) {
      const size_t known = (continuing ? continuing_lengths_ : first_lengths_)[first_two(base + begin)];
      if (known < kManyBytes) limit = std::min(limit, known);
    }
    hashes[0] = continuing ? continuing_hash_ : Vocabulary::kSeed;
    for (size_t k = 0; k < limit; ++k) hashes[k + 1] = Vocabulary::extend(hashes[k], base[begin + k]);
    int32_t id = -1;
    size_t size = limit;
    for (; size > 0; --size) {
      // Tokens end where a code point ends.
      if (begin + size != word.end && (static_cast<unsigned char>(base[begin + size]) & 0xC0) == 0x80) continue;
      id = vocabulary_.find(hashes[size], head, {base + begin, size});
      if (id >= 0) break;
    }
    if (id < 0) {
      out.resize(first);
      return false;
    }
    const auto end = uint32_t(begin + size);
    out.push_back(
        {.id = id, .begin = text.origin[begin], .end = text.origin[end - 1] + 1, .word = number, .sequence = 0});
    begin = end;
  }
  return true;
}

Json WordPiece::to_json() const {
  return {{"type", "WordPiece"},
          {"unk_token", options_.unk_token},
          {"continuing_subword_prefix", options_.continuing_subword_prefix},
          {"max_input_chars_per_word", int64_t(options_.max_input_chars_per_word)},
          {"vocab", vocabulary_to_json(vocabulary_)}};
}

}  // namespace caracal::tokenizers
