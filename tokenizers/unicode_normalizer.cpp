// NFD, NFKD, NFC and NFKC, with the reference's alignment of what was decomposed, reordered and composed.
#include <algorithm>

#include <caracal/tokenizers/normalizers.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

class Pass {
 public:
  Pass(NormalizedText& text, bool compatible, bool compose)
      : out_(text),
        text_(text.old_text),
        compatible_(compatible),
        compose_(compose),
        pending_(text.marks),
        marks_(text.more_marks) {
    pending_.clear();
    marks_.clear();
  }

  void run() {
    const char* const end = text_.data() + text_.size();
    for (const char* p = text_.data(); p != end;) {
      // An ASCII character that another follows neither changes nor composes.
      const char* const run = p;
      while (p != end && static_cast<unsigned char>(*p) < 0x80) ++p;
      if (p - run > 1) {
        sort_pending();
        close();
        out_.copy_next(size_t(p - run) - 1);
        --p;
      } else {
        p = run;
      }
      decomposed(unicode::decode(p));
    }
    sort_pending();
    close();
    out_.finish();
  }

 private:
  void decomposed(char32_t cp) {
    const unicode::Mapped parts = compatible_ ? unicode::decompose_compatible(cp) : unicode::decompose(cp);
    for (size_t i = 0; i < parts.size; ++i) {
      const char32_t part = parts.code_points[i];
      const int ccc = unicode::combining_class(part);
      if (ccc == 0) sort_pending();
      pending_.push_back({.code_point = part, .change = i == 0 ? 0 : 1, .combining_class = ccc});
      if (ccc == 0) sort_pending();
    }
  }

  // Passes the held marks on in canonical order.
  void sort_pending() {
    if (pending_.size() > 1) sort_marks(pending_);
    for (const Mark& c : pending_) compose_ ? composed(c) : out_.transform(c.code_point, c.change);
    pending_.clear();
  }

  void composed(const Mark& c) {
    if (!has_starter_) {
      if (c.combining_class != 0) return out_.transform(c.code_point, c.change);
      starter_ = c, has_starter_ = true;
      return;
    }
    // A mark of the same class, or any behind a higher one, keeps `c` from the starter.
    const bool blocked = !marks_.empty() && marks_.back().combining_class >= c.combining_class;
    const char32_t both = blocked ? 0 : unicode::compose(starter_.code_point, c.code_point);
    if (both != 0) {
      starter_.code_point = both;
      starter_.change += c.change - 1;
    } else if (c.combining_class == 0) {
      close();
      starter_ = c, has_starter_ = true;
    } else {
      marks_.push_back(c);
    }
  }

  // Writes the starter and the marks that did not compose with it.
  void close() {
    if (has_starter_) out_.transform(starter_.code_point, starter_.change);
    for (const Mark& mark : marks_) out_.transform(mark.code_point, mark.change);
    marks_.clear();
    has_starter_ = false;
  }

  Rewriter out_;
  const std::string& text_;
  const bool compatible_, compose_;
  std::vector<Mark>&pending_, &marks_;
  Mark starter_{};
  bool has_starter_ = false;
};

}  // namespace

void UnicodeNormalizer::normalize(NormalizedText& text) const {
  text.rewrite_text();
  Pass(text, compatible_, compose_).run();
}

Json UnicodeNormalizer::to_json() const {
  return {{"type", std::string("NF") + (compatible_ ? "K" : "") + (compose_ ? "C" : "D")}};
}

}  // namespace caracal::tokenizers
