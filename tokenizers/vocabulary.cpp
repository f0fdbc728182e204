#include <caracal/tokenizers/vocabulary.h>

#include <algorithm>
#include <bit>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/short_text.h>

namespace caracal::tokenizers {
namespace {

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorCode::bad_file, "vocabulary", what); }

// Entries whose slots are fetched into the cache before it is their turn.
constexpr size_t kAhead = 16;
// A run of occupied slots this long does not happen by chance in a table that is a quarter empty.
constexpr size_t kLongestProbe = 1024;

}  // namespace

Vocabulary::Vocabulary(const TokenList& tokens) {
  const auto& [texts, ids] = tokens;
  const size_t count = tokens.size();
  int64_t id_end = 0;
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] < 0) {
      bad("expected an id of at least 0 for token '" + std::string(texts[i]) + "' but got " + std::to_string(ids[i]));
    }
    id_end = std::max(id_end, int64_t(ids[i]) + 1);
  }
  if (count > kMaxTokens) {
    bad("expected at most " + std::to_string(kMaxTokens) + " tokens but got " + std::to_string(count));
  }
  if (id_end > int64_t(count) * 4 + (1 << 24)) {
    bad("expected ids near the number of tokens (" + std::to_string(count) + ") but got " + std::to_string(id_end - 1));
  }
  characters_ = texts.all();
  const size_t slots = std::bit_ceil(count + count * 3 / 10 + 2);
  slots_.resize(slots);
  shift_ = 64 - std::countr_zero(slots);
  present_.resize(slots / 8 + 1);
  by_id_.assign(size_t(id_end), -1);
  uint64_t hashes[kAhead];  // of the tokens that come next
  for (size_t i = 0; i < std::min(kAhead, count); ++i) hashes[i] = mix(hash(kSeed, texts[i]));
  bool is_clean = true;  // no token and no id comes twice
  for (size_t i = 0; i < count; ++i) {
    const std::string_view token = texts[i];
    const int32_t id = ids[i];
    const uint64_t mixed = hashes[i % kAhead];
    if (i + kAhead < count) {
      const uint64_t next = hashes[i % kAhead] = mix(hash(kSeed, texts[i + kAhead]));
      __builtin_prefetch(&slots_[slot_of(next)], 1);
    }
    const auto fingerprint = uint32_t(mixed);
    size_t slot = slot_of(mixed), probes = 0;
    for (; slots_[slot].id >= 0; slot = (slot + 1) & (slots - 1)) {
      if (slots_[slot].fingerprint == fingerprint && same_text(text_of(slots_[slot]), token)) break;
      if (++probes > kLongestProbe) bad("expected an ordinary vocabulary but got tokens that collide");
    }
    if (slots_[slot].id >= 0) {
      slots_[slot].id = id;
      is_clean = false;
      continue;
    }
    slots_[slot] = {fingerprint, id, texts.begin(i), uint32_t(token.size())};
    present_[bit_of(mixed) / 64] |= uint64_t(1) << bit_of(mixed) % 64;
    longest_ = std::max(longest_, token.size());
    ++size_;
    is_clean = is_clean && by_id_[size_t(id)] < 0;
    by_id_[size_t(id)] = int32_t(slot);
  }
  if (is_clean) return;
  by_id_.assign(size_t(id_end), -1);
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].id < 0) continue;
    int32_t& slot = by_id_[size_t(slots_[i].id)];
    if (slot >= 0) {
      bad("expected an id for each token but got id " + std::to_string(slots_[i].id) + " for '" +
          std::string(text_of(slots_[i])) + "' and '" + std::string(text_of(slots_[size_t(slot)])) + "'");
    }
    slot = int32_t(i);
  }
}

int32_t Vocabulary::find(uint64_t hash, std::string_view head, std::string_view tail) const noexcept {
  const uint64_t mixed = mix(hash);
  const size_t bit = bit_of(mixed);
  if ((present_[bit / 64] >> bit % 64 & 1) == 0) return -1;
  const auto fingerprint = uint32_t(mixed);
  for (size_t slot = slot_of(mixed);; slot = (slot + 1) & (slots_.size() - 1)) {
    const Slot& s = slots_[slot];
    if (s.id < 0) return -1;
    if (s.fingerprint != fingerprint || s.size != head.size() + tail.size()) continue;
    const char* text = characters_.data() + s.begin;
    if (same_bytes(text + head.size(), tail.data(), tail.size()) && same_bytes(text, head.data(), head.size()))
      return s.id;
  }
}

std::string_view Vocabulary::token(int32_t id) const noexcept {
  if (id < 0 || id >= id_end() || by_id_[size_t(id)] < 0) return {};
  return text_of(slots_[size_t(by_id_[size_t(id)])]);
}

}  // namespace caracal::tokenizers
