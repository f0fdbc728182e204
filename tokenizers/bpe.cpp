#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/model.h>
#include <caracal/tokenizers/short_text.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

using Symbol = ModelScratch::Symbol;
using Waiting = ModelScratch::Merge;

// Characters below this have their ids in a table.
constexpr char32_t kSmallEnd = 0x400;
// Words of at most so many symbols are merged by looking at all pairs each time, longer ones with a queue.
constexpr size_t kShortWord = 48;
// Merges whose halves, and whose places, are looked for in the cache before it is their turn.
constexpr size_t kAhead = 8;
// A run of occupied places this long does not happen by chance in a table that is half empty.
constexpr size_t kLongestProbe = 1024;
constexpr uint32_t kFree = UINT32_MAX;

constexpr uint64_t key_of(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }
constexpr uint64_t mix(uint64_t key) { return (key ^ key >> 29) * 0x9E3779B97F4A7C15u; }

std::string byte_token(char byte) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  const auto b = static_cast<unsigned char>(byte);
  return {'<', '0', 'x', kDigits[b >> 4], kDigits[b & 15], '>'};
}

// In a heap: the merge of lowest rank on top, of equal ones the leftmost.
bool is_behind(const Waiting& a, const Waiting& b) { return a.rank != b.rank ? a.rank > b.rank : a.at > b.at; }

}  // namespace

BPE::BPE(const TokenList& tokens, const MergeList& merges, const Options& options)
    : Model(tokens), options_(options), whole_(size_t(vocabulary_.id_end())) {
  const size_t prefix = options_.continuing_subword_prefix ? options_.continuing_subword_prefix->size() : 0;
  const size_t slots = std::bit_ceil(merges.size() * 2 + 2);
  slots_.resize(slots);
  shift_ = 64 - std::countr_zero(slots);
  merges_.reserve(merges.size());
  const auto id_of = [&](uint64_t hash, std::string_view left, std::string_view right) {
    const int32_t id = vocabulary_.find(hash, left, right);
    if (id < 0) {
      throw Error(ErrorCode::bad_file, "tokenizer.json",
                  "expected merges of tokens in the vocabulary but got '" +
                      std::string(left).append(right).substr(0, 200) + "', which it lacks");
    }
    return id;
  };
  const auto& [texts, ids] = tokens;
  const bool is_distinct = vocabulary_.size() == texts.size();
  int32_t made = -1;                                        // by the merge before
  std::vector<bool> is_used(size_t(vocabulary_.id_end()));  // by a merge before
  bool guesses = true;                                      // that the next merge makes the next token
  struct Hashes {
    uint64_t left, right, made;
  };
  std::array<Hashes, kAhead> hashes;  // of the merges that come next
  const auto look_ahead = [&](size_t i) {
    if (i >= merges.size()) return;
    const std::string_view left = merges.left(i), right = merges.right(i);
    Hashes& next = hashes[i % kAhead];
    vocabulary_.prefetch(next.left = Vocabulary::hash(Vocabulary::kSeed, left));
    vocabulary_.prefetch(next.right = Vocabulary::hash(Vocabulary::kSeed, right));
    next.made = 0;  // when it is not needed
    if (!guesses && right.size() >= prefix)
      vocabulary_.prefetch(next.made = Vocabulary::hash(next.left, right.substr(prefix)));
  };
  for (size_t i = 0; i < kAhead; ++i) look_ahead(i);
  const auto place = [&](size_t rank) {
    const Merge& merge = merges_[rank];
    const uint64_t mixed = mix(key_of(merge.left, merge.right));
    const auto fingerprint = uint32_t(mixed);
    size_t slot = size_t(mixed >> shift_), probes = 0;
    for (; slots_[slot].rank != kFree; slot = (slot + 1) & (slots - 1)) {
      if (slots_[slot].fingerprint == fingerprint) {
        const Merge& other = merges_[slots_[slot].rank];  // of a merge that comes twice the last counts
        if (other.left == merge.left && other.right == merge.right) break;
      }
      if (++probes > kLongestProbe) {
        throw Error(ErrorCode::bad_file, "tokenizer.json", "expected ordinary merges but got pairs that collide");
      }
    }
    slots_[slot] = {fingerprint, uint32_t(rank)};
  };
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string_view left = merges.left(i), right = merges.right(i);
    const Hashes hash = hashes[i % kAhead];
    look_ahead(i + kAhead);
    if (right.size() < prefix) {
      throw Error(ErrorCode::bad_file, "tokenizer.json",
                  "expected the right half of a merge to begin with the prefix '" +
                      *options_.continuing_subword_prefix + "' but got '" + std::string(right) + "'");
    }
    const int32_t left_id = id_of(hash.left, left, {}), right_id = id_of(hash.right, right, {});
    // Most vocabularies list what the merges make in the order of the merges.
    const std::string_view tail = right.substr(prefix);
    const size_t next = size_t(made + 1);
    const bool at_hand = is_distinct && next < ids.size() && ids[next] == made + 1;
    const std::string_view guess = at_hand ? texts[next] : vocabulary_.token(made + 1);
    const bool is_next = guess.data() != nullptr && guess.size() == left.size() + tail.size() &&
                         same_bytes(guess.data(), left.data(), left.size()) &&
                         same_bytes(guess.data() + left.size(), tail.data(), tail.size());
    const int32_t id = made =
        is_next ? made + 1 : id_of(hash.made != 0 ? hash.made : Vocabulary::hash(hash.left, tail), left, tail);
    guesses = is_next;
    in_order_ = in_order_ && !is_used[size_t(id)] && left_id != id && right_id != id;
    is_used[size_t(left_id)] = is_used[size_t(right_id)] = true;
    merges_.push_back({left_id, right_id, id});
    __builtin_prefetch(&slots_[size_t(mix(key_of(left_id, right_id)) >> shift_)], 1);
    if (i >= kAhead) place(i - kAhead);
  }
  for (size_t i = merges.size() - std::min(merges.size(), kAhead); i < merges.size(); ++i) place(i);
  if (options_.unk_token) unk_id_ = vocabulary_.find(*options_.unk_token);
  std::string buffer;
  std::array<char, 4> bytes;
  std::vector<int32_t> small;
  for (const bool last : {false, true}) {
    for (const bool first : {false, true}) {
      for (char32_t cp = 0; cp < kSmallEnd; ++cp) {
        const size_t size = unicode::encode(cp, bytes.data());
        small.push_back(find_character({bytes.data(), size}, first, last, buffer));
      }
    }
  }
  small_ = std::move(small);
}

const BPE::Merge* BPE::find_pair(int32_t left, int32_t right) const noexcept {
  const uint64_t mixed = mix(key_of(left, right));
  for (size_t slot = size_t(mixed >> shift_);; slot = (slot + 1) & (slots_.size() - 1)) {
    const auto [fingerprint, rank] = slots_[slot];
    if (rank == kFree) return nullptr;
    if (fingerprint != uint32_t(mixed)) continue;
    const Merge& merge = merges_[rank];
    if (merge.left == left && merge.right == right) return &merge;
  }
}

// The id of a character with the prefix and suffix of its place in the word, or -1.
int32_t BPE::find_character(std::string_view character, bool first, bool last, std::string& buffer) const {
  if (!small_.empty()) {
    const char* p = character.data();
    const char32_t cp = unicode::decode(p);
    if (cp < kSmallEnd) return small_[size_t(last) * 2 * kSmallEnd + size_t(first) * kSmallEnd + cp];
  }
  const bool prefixed = !first && options_.continuing_subword_prefix;
  const bool suffixed = last && options_.end_of_word_suffix;
  if (!prefixed && !suffixed) return vocabulary_.find(character);
  buffer.clear();
  if (prefixed) buffer += *options_.continuing_subword_prefix;
  buffer += character;
  if (suffixed) buffer += *options_.end_of_word_suffix;
  return vocabulary_.find(buffer);
}

// The symbols of a word before any merge. Characters without token are unknown, or dropped when there is no unknown
// token: then, as in the reference, the tokens behind move up by their bytes.
void BPE::characters(std::string_view word, ModelScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  const auto add = [&](int32_t id, size_t size) {
    const auto n = int32_t(symbols.size());
    symbols.push_back({id, uint32_t(size), n - 1, n + 1});
  };
  size_t unknown = 0;  // bytes of an unknown token that is not added yet
  std::string buffer;
  for (size_t begin = 0; begin < word.size();) {
    const size_t size = unicode::sequence_length(word[begin]);
    const bool first = begin == 0, last = begin + size == word.size();
    const std::string_view character = word.substr(begin, size);
    begin += size;
    const int32_t id = find_character(character, first, last, buffer);
    if (id >= 0) {
      if (unknown != 0) add(unk_id_, unknown);
      unknown = 0;
      add(id, size);
      continue;
    }
    if (options_.byte_fallback) {
      std::string text;
      if (!first && options_.continuing_subword_prefix) text += *options_.continuing_subword_prefix;
      text += character;
      if (last && options_.end_of_word_suffix) text += *options_.end_of_word_suffix;
      const auto id_of = [&](char byte) { return vocabulary_.find(byte_token(byte)); };
      if (std::all_of(text.begin(), text.end(), [&](char byte) { return id_of(byte) >= 0; })) {
        for (const char byte : text) add(id_of(byte), 1);  // before a waiting unknown token, as in the reference
        continue;
      }
    }
    if (!options_.unk_token) continue;
    if (unk_id_ < 0) {
      throw Error(ErrorCode::invalid_argument, "BPE",
                  "expected the unknown token '" + *options_.unk_token + "' in the vocabulary");
    }
    if (unknown != 0 && !options_.fuse_unk) {
      add(unk_id_, unknown);
      unknown = 0;
    }
    unknown += size;
  }
  if (unknown != 0) add(unk_id_, unknown);
  if (!symbols.empty()) symbols.back().next = -1;
}

void BPE::merge_short(std::vector<Symbol>& symbols) const {
  constexpr uint32_t kNever = UINT32_MAX;
  std::array<uint32_t, kShortWord> ranks;  // of the pair that begins at a symbol
  std::array<int32_t, kShortWord> ids;
  const auto look = [&](size_t i) {
    const Merge* merge = find_pair(symbols[i].id, symbols[i + 1].id);
    ranks[i] = merge != nullptr ? rank_of(*merge) : kNever;
    ids[i] = merge != nullptr ? merge->id : -1;
  };
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) look(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == kNever) break;
    symbols[best].id = ids[best];
    symbols[best].size += symbols[best + 1].size;
    --n;
    for (size_t i = best + 1; i < n; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      ids[i] = ids[i + 1];
    }
    if (best > 0) look(best - 1);
    if (best + 1 < n) look(best);
  }
  symbols.resize(n);
}

template <class Offer>
void BPE::merge_at(std::vector<Symbol>& symbols, uint32_t at, int32_t id, Offer offer) const {
  Symbol& left = symbols[at];
  if (left.size == 0 || left.next < 0) return;
  Symbol& right = symbols[size_t(left.next)];
  const Merge* merge = find_pair(left.id, right.id);
  if (merge == nullptr || merge->id != id) return;  // what it was made for has changed
  left.id = id;
  left.size += right.size;
  left.next = right.next;
  right.size = 0;
  if (left.next >= 0) symbols[size_t(left.next)].previous = int32_t(at);
  const auto offer_pair = [&](int32_t begin) {
    if (begin < 0 || symbols[size_t(begin)].next < 0) return;
    const Symbol& first = symbols[size_t(begin)];
    const Merge* found = find_pair(first.id, symbols[size_t(first.next)].id);
    if (found != nullptr) offer(rank_of(*found), found->id, uint32_t(begin));
  };
  offer_pair(left.previous);
  offer_pair(int32_t(at));
}

// When no merge uses what a later one makes, all places of a rank are known when it is its turn.
void BPE::merge_by_rank(ModelScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<uint32_t>& ranks = scratch.ranks;
  ranks.clear();
  if (scratch.merging)  // a call before ran out of memory
    for (std::vector<uint32_t>& places : scratch.places) places.clear();
  scratch.merging = true;
  if (scratch.places.size() < merges_.size()) scratch.places.resize(merges_.size());
  const auto offer = [&](uint32_t rank, int32_t, uint32_t at) {
    std::vector<uint32_t>& places = scratch.places[rank];
    if (places.empty()) {
      ranks.push_back(rank);
      std::push_heap(ranks.begin(), ranks.end(), std::greater());
    }
    places.push_back(at);
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    const Merge* merge = find_pair(symbols[i].id, symbols[i + 1].id);
    if (merge != nullptr) offer(rank_of(*merge), merge->id, uint32_t(i));
  }
  while (!ranks.empty()) {
    const uint32_t rank = ranks.front();
    std::pop_heap(ranks.begin(), ranks.end(), std::greater());
    ranks.pop_back();
    std::vector<uint32_t>& places = scratch.places[rank];
    if (!std::is_sorted(places.begin(), places.end())) std::sort(places.begin(), places.end());
    const int32_t id = merges_[rank].id;
    for (const uint32_t at : places) merge_at(symbols, at, id, offer);
    places.clear();
  }
  scratch.merging = false;
}

void BPE::merge_by_queue(ModelScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Waiting>& queue = scratch.merges;
  queue.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    const Merge* merge = find_pair(symbols[i].id, symbols[i + 1].id);
    if (merge != nullptr) queue.push_back({rank_of(*merge), uint32_t(i), merge->id});
  }
  std::make_heap(queue.begin(), queue.end(), is_behind);
  while (!queue.empty()) {
    const Waiting next = queue.front();
    std::pop_heap(queue.begin(), queue.end(), is_behind);
    queue.pop_back();
    merge_at(symbols, next.at, next.id, [&](uint32_t rank, int32_t id, uint32_t at) {
      queue.push_back({rank, at, id});
      std::push_heap(queue.begin(), queue.end(), is_behind);
    });
  }
}

void BPE::tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word, ModelScratch& scratch,
                   std::vector<Token>& out) const {
  const std::string_view suffix = options_.end_of_word_suffix ? *options_.end_of_word_suffix : std::string_view();
  int32_t number = first_word - 1;
  for (const Split& split : words) {
    ++number;
    const std::string_view word = std::string_view(text.text).substr(split.begin, split.end - split.begin);
    const auto emit = [&](int32_t id, size_t begin, size_t end) {
      out.push_back({.id = id,
                     .begin = text.origin[split.begin + begin],
                     .end = text.origin[split.begin + end - 1] + 1,
                     .word = number,
                     .sequence = 0});
    };
    const uint64_t hash = Vocabulary::hash(Vocabulary::kSeed, word);
    if (options_.ignore_merges) {
      if (const int32_t id = vocabulary_.find(hash, word, {}); id >= 0) {
        emit(id, 0, word.size());
        continue;
      }
    }
    const int32_t whole = vocabulary_.find(Vocabulary::hash(hash, suffix), word, suffix);
    if (whole >= 0 && whole_.get(whole) == WholeWords::Answer::yes) {
      emit(whole, 0, word.size());
      continue;
    }
    characters(word, scratch);
    if (scratch.symbols.size() > kShortWord) {
      in_order_ ? merge_by_rank(scratch) : merge_by_queue(scratch);
      std::erase_if(scratch.symbols, [](const Symbol& symbol) { return symbol.size == 0; });
    } else if (scratch.symbols.size() > 1) {
      merge_short(scratch.symbols);
    }
    const std::vector<Symbol>& symbols = scratch.symbols;
    size_t begin = 0;
    for (const Symbol& symbol : symbols) {
      // Bytes of a prefix or suffix that fell back to byte tokens are not in the word.
      const size_t end = std::min(begin + symbol.size, word.size());
      emit(symbol.id, std::min(begin, end - 1), end);
      begin = end;
    }
    if (whole >= 0) {
      whole_.set(whole, symbols.size() == 1 && symbols[0].id == whole && symbols[0].size == word.size());
    }
  }
}

Json BPE::to_json() const {
  const auto optional = [](const std::optional<std::string>& text) { return text ? Json(*text) : Json(); };
  Json::Array merges;
  merges.reserve(merges_.size());
  for (const Merge& merge : merges_) {
    merges.push_back(
        Json::Array{std::string(vocabulary_.token(merge.left)), std::string(vocabulary_.token(merge.right))});
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", optional(options_.unk_token)},
          {"continuing_subword_prefix", optional(options_.continuing_subword_prefix)},
          {"end_of_word_suffix", optional(options_.end_of_word_suffix)},
          {"fuse_unk", options_.fuse_unk},
          {"byte_fallback", options_.byte_fallback},
          {"ignore_merges", options_.ignore_merges},
          {"vocab", vocabulary_to_json(vocabulary_)},
          {"merges", std::move(merges)}};
}

}  // namespace caracal::tokenizers
