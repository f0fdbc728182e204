// SentencePiece's precompiled character map, applied as the reference does: grapheme by grapheme, where a cluster below
// six bytes is looked up as a whole first.
#include <array>
#include <cstring>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/normalizers.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

[[noreturn]] void bad(const char* what) {
  throw Error(ErrorCode::bad_file, "tokenizer.json", std::string("expected ") + what + " in precompiled_charsmap");
}

// The six bits that a character of base64 stands for, or -1.
constexpr std::array<int8_t, 256> kSixBits = [] {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<int8_t, 256> bits{};
  bits.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); ++i) bits[static_cast<unsigned char>(kAlphabet[i])] = int8_t(i);
  return bits;
}();

std::string decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) bad("base64 of whole groups");
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out(text.size() * 3 / 4, '\0');
  uint32_t bits = 0;
  size_t size = 0;
  int count = 0;
  for (const char c : text) {
    const int8_t value = kSixBits[static_cast<unsigned char>(c)];
    if (value < 0) bad("base64");
    bits = bits << 6 | uint32_t(value);
    if ((count += 6) < 8) continue;
    count -= 8;
    out[size++] = static_cast<char>(bits >> count & 0xFF);
  }
  return out;
}

// The fields of a unit of the double array.
constexpr uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
constexpr uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
constexpr bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
constexpr uint32_t value(uint32_t unit) { return unit & ((1u << 31) - 1); }

}  // namespace

Precompiled::Precompiled(std::string base64) : base64_(std::move(base64)) {
  std::string bytes = decode_base64(base64_);
  uint32_t trie_bytes = 0;
  if (bytes.size() < sizeof(trie_bytes)) bad("the size of a trie");
  std::memcpy(&trie_bytes, bytes.data(), sizeof(trie_bytes));
  if (trie_bytes > bytes.size() - sizeof(trie_bytes) || trie_bytes < sizeof(uint32_t)) bad("a trie within its bytes");
  trie_.resize(trie_bytes / sizeof(uint32_t));
  std::memcpy(trie_.data(), bytes.data() + sizeof(trie_bytes), trie_.size() * sizeof(uint32_t));
  replacements_ = std::move(bytes.erase(0, sizeof(trie_bytes) + trie_.size() * sizeof(uint32_t)));
  if (!unicode::is_valid_utf8(replacements_)) bad("replacements in UTF-8");
  for (uint32_t unit : trie_) {  // values must point at the start of a character
    if (const uint32_t at = value(unit); (unit >> 31) != 0 && at < replacements_.size() &&
                                         (static_cast<unsigned char>(replacements_[at]) & 0xC0) == 0x80)
      bad("replacements at character boundaries");
  }
  plain_.assign(128, true);
  for (int c = 0; c < 128; ++c) {
    const char byte = static_cast<char>(c);
    plain_[size_t(c)] = find({&byte, 1}).data() == nullptr;
  }
  plain_['\r'] = plain_['\n'] = false;  // the two are one cluster
}

std::string_view Precompiled::find(std::string_view chunk) const {
  uint32_t node = offset(trie_[0]);
  for (const char byte : chunk) {
    const auto c = static_cast<unsigned char>(byte);
    if (c == 0) break;
    node ^= c;
    if (node >= trie_.size()) return {};
    const uint32_t unit = trie_[node];
    if (label(unit) != c) return {};
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= trie_.size()) return {};
    const size_t at = value(trie_[node]);
    if (at > replacements_.size()) return {};
    const size_t end = replacements_.find('\0', at);
    return std::string_view(replacements_).substr(at, (end == std::string::npos ? replacements_.size() : end) - at);
  }
  return {};
}

void Precompiled::normalize(NormalizedText& text) const {
  text.rewrite_text();
  Rewriter out(text);
  const std::string_view old = text.old_text;
  const char* const base = old.data();
  const char* const end = base + old.size();

  // What the reference calls a transformation waits one character: a rule that shortens also takes from the one before.
  struct {
    char32_t code_point = 0;
    int change = 0;
    bool waits = false;
  } last;
  bool in_step = true;  // every character so far stood for one old character
  const auto flush = [&] {
    if (last.waits) out.transform(last.code_point, last.change);
    last.waits = false;
  };
  const auto put = [&](char32_t cp, int change) {
    flush();
    last = {cp, change, true};
  };
  const auto replace = [&](std::string_view part, std::string_view by) {
    const auto count = int(unicode::count_code_points(by)), old_count = int(unicode::count_code_points(part));
    int i = 0;
    const char* p = by.data();
    for (const char* const by_end = p + by.size(); p != by_end; ++i) put(unicode::decode(p), i >= old_count ? 1 : 0);
    if (count >= old_count) return;
    if (last.waits) {
      last.change += count - old_count;
    } else {
      in_step = false;  // at the start of the text nothing takes the loss: all that follows is off by it
    }
  };
  for (const char* p = base; p != end;) {
    if (in_step) {  // ASCII that no rule touches, up to the last before a character that may join it
      const char* q = p;
      while (q != end && static_cast<unsigned char>(*q) < 0x80 && plain_[static_cast<unsigned char>(*q)]) ++q;
      if (q != end && static_cast<unsigned char>(*q) >= 0x80 && q != p) --q;
      if (q - p > 1) {
        flush();
        if (out.read() == size_t(p - base)) {
          out.copy_next(size_t(q - p) - 1);
          p = q - 1;
        } else {
          in_step = false;
        }
      }
    }
    const char* const cluster_end = unicode::next_grapheme(p, end);
    const std::string_view cluster(p, size_t(cluster_end - p));
    if (cluster.size() < 6) {
      if (const std::string_view by = find(cluster); by.data() != nullptr) {
        replace(cluster, by);
        p = cluster_end;
        continue;
      }
    }
    while (p != cluster_end) {
      const char* const at = p;
      const char32_t cp = unicode::decode(p);
      const std::string_view part(at, size_t(p - at));
      if (const std::string_view by = find(part); by.data() != nullptr) {
        replace(part, by);
      } else {
        put(cp, 0);
      }
    }
  }
  flush();
  out.finish();
}

Json Precompiled::to_json() const { return {{"type", "Precompiled"}, {"precompiled_charsmap", base64_}}; }

}  // namespace caracal::tokenizers
