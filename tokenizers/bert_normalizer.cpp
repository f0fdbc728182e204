#include <caracal/tokenizers/normalizers.h>

#include <algorithm>
#include <cstring>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

// Code points below this have an entry in BertNormalizer's table.
constexpr char32_t kSimpleEnd = 0x3400;

// One pass of BertNormalizer over a text. Non-starters (combining marks) are held back until the next starter, so
// that they can be put in canonical order; everything else is written at once.
class BertPass {
 public:
  BertPass(const BertNormalizer::Options& options, const uint16_t* simple, NormalizedText& text)
      : options_(options), simple_(simple), text_(text), marks_(text.marks), mark_origins_(text.mark_origins) {
    marks_.clear();
    mark_origins_.clear();
    grow(text.old_text.size() + text.old_text.size() / 8 + kBlock);
  }

  void run() {
    const char* const begin = text_.old_text.data();
    const char* const end = begin + text_.old_text.size();
    const uint32_t* const origin = text_.old_origin.data();
    for (const char* p = begin; p != end;) {
      const auto at = size_t(p - begin);
      if (size_t(end - p) >= kBlock && ascii_block(p, origin + at)) {
        p += kBlock;
        continue;
      }
      const char32_t cp = unicode::decode(p);
      if (cp < kSimpleEnd && simple_[cp] != 0) {
        flush();
        put(simple_[cp], origin[at]);
      } else {
        code_point(cp, origin[at]);
      }
    }
    flush();
    text_.text.resize(size_);
    text_.origin.resize(size_);
  }

  // What a code point becomes on its own, if that is one starter below U+10000; else 0.
  static uint16_t simple_mapping(const BertNormalizer::Options& options, char32_t cp) {
    if (options.clean_text) {
      if (unicode::is_removed_by_clean_text(cp)) return 0;
      if (unicode::is_whitespace(cp)) return ' ';
    }
    if (options.handle_chinese_chars && unicode::is_chinese(cp)) return 0;
    char32_t kept = cp;
    if (options.strip_accents) {
      const unicode::Mapped parts = unicode::decompose(cp);
      kept = parts.code_points[0];
      if (parts.size != 1 || unicode::combining_class(kept) != 0 || unicode::is_nonspacing_mark(kept)) return 0;
    }
    if (!options.lowercase) return static_cast<uint16_t>(kept);
    const unicode::Mapped lower = unicode::to_lower(kept);
    return lower.size == 1 && lower.code_points[0] < 0x10000 ? static_cast<uint16_t>(lower.code_points[0]) : 0;
  }

 private:
  static constexpr size_t kBlock = 16;

  void grow(size_t size) {
    text_.text.resize(size);
    text_.origin.resize(size);
  }
  void make_room() {
    if (text_.text.size() - size_ < kBlock) grow(text_.text.size() * 2);
  }

  void put(char32_t cp, uint32_t from) {
    make_room();
    const size_t bytes = unicode::encode(cp, text_.text.data() + size_);
    std::fill_n(text_.origin.data() + size_, bytes, from);
    size_ += bytes;
  }

  // Writes 16 bytes when all are printable ASCII, which needs nothing but lower case; false, with nothing done, else.
  bool ascii_block(const char* p, const uint32_t* origin) {
    char block[kBlock];
    unsigned char bad = 0;
    const unsigned char fold = options_.lowercase ? 0x20 : 0;
    for (size_t i = 0; i < kBlock; ++i) {
      const auto c = static_cast<unsigned char>(p[i]);
      bad |= static_cast<unsigned char>(c - 0x20) >= 0x5F;
      block[i] = static_cast<char>(c + (static_cast<unsigned char>(c - 'A') < 26 ? fold : 0));
    }
    if (bad) return false;
    flush();
    make_room();
    std::memcpy(text_.text.data() + size_, block, kBlock);
    std::memcpy(text_.origin.data() + size_, origin, kBlock * sizeof(uint32_t));
    size_ += kBlock;
    return true;
  }

  void code_point(char32_t cp, uint32_t from) {
    if (options_.clean_text) {
      if (unicode::is_removed_by_clean_text(cp)) return;
      if (unicode::is_whitespace(cp)) cp = ' ';
    }
    const bool spaced = options_.handle_chinese_chars && unicode::is_chinese(cp);
    if (spaced) {
      flush();
      put(' ', from);
    }
    if (options_.strip_accents) {
      decomposed(cp, from);
    } else {
      lowered(cp, from);
    }
    if (spaced) {
      flush();
      put(' ', from);
    }
  }

  void decomposed(char32_t cp, uint32_t from) {
    const unicode::Mapped parts = unicode::decompose(cp);
    for (size_t i = 0; i < parts.size; ++i) {
      const char32_t part = parts.code_points[i];
      const int ccc = unicode::combining_class(part);
      if (ccc != 0) {
        if (i == 0) mark_origins_.push_back(from);
        marks_.push_back({.code_point = part, .change = i != 0, .combining_class = ccc});
        continue;
      }
      flush();
      last_ = from;
      if (!unicode::is_nonspacing_mark(part)) lowered(part, from);
    }
  }

  // Writes the held marks. As in the reference's alignment, the k-th mark that stood in the text itself gets the k-th
  // original position, and an inserted mark shares that of its predecessor.
  void flush() {
    if (!marks_.empty()) write_marks();
  }

  void write_marks() {
    sort_marks(marks_);
    size_t next = 0;
    for (const Mark& mark : marks_) {
      if (mark.change == 0) last_ = mark_origins_[next++];
      if (!unicode::is_nonspacing_mark(mark.code_point)) lowered(mark.code_point, last_);
    }
    marks_.clear();
    mark_origins_.clear();
  }

  void lowered(char32_t cp, uint32_t from) {
    if (!options_.lowercase) {
      put(cp, from);
      return;
    }
    const unicode::Mapped lower = unicode::to_lower(cp);
    for (size_t i = 0; i < lower.size; ++i) put(lower.code_points[i], from);
  }

  const BertNormalizer::Options options_;
  const uint16_t* const simple_;
  NormalizedText& text_;
  size_t size_ = 0;  // bytes written
  std::vector<Mark>& marks_;
  std::vector<uint32_t>& mark_origins_;
  uint32_t last_ = 0;
};

}  // namespace

BertNormalizer::BertNormalizer(const Options& options) : options_(options), simple_(kSimpleEnd) {
  for (char32_t cp = 0; cp < kSimpleEnd; ++cp) simple_[cp] = BertPass::simple_mapping(options, cp);
}

void BertNormalizer::normalize(NormalizedText& text) const {
  text.rewrite_text();
  BertPass(options_, simple_.data(), text).run();
}

Json BertNormalizer::to_json() const {
  return {{"type", "BertNormalizer"},
          {"clean_text", options_.clean_text},
          {"handle_chinese_chars", options_.handle_chinese_chars},
          {"strip_accents", options_.strip_accents},
          {"lowercase", options_.lowercase}};
}

}  // namespace caracal::tokenizers
