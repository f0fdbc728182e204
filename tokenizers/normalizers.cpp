#include <caracal/tokenizers/normalizers.h>

#include <caracal/tokenizers/byte_level.h>
#include <caracal/tokenizers/components.h>
#include <caracal/tokenizers/pattern.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

class Lowercase final : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    text.rewrite_text();
    Rewriter out(text);
    const char* const base = text.old_text.data();
    const char* const end = base + text.old_text.size();
    for (const char* p = base; p != end;) {
      if (static_cast<unsigned char>(*p) < 0x80) {
        p += ascii(p, end, text.old_origin.data() + (p - base), out);
        continue;
      }
      const uint32_t from = text.old_origin[size_t(p - base)];
      const unicode::Mapped lower = unicode::to_lower(unicode::decode(p));
      for (size_t i = 0; i < lower.size; ++i) out.put(lower.code_points[i], from);
    }
    out.finish();
  }
  Json to_json() const override { return {{"type", "Lowercase"}}; }

 private:
  // Writes the run of ASCII at p; returns its size.
  static size_t ascii(const char* p, const char* end, const uint32_t* origin, Rewriter& out) {
    size_t size = 1;
    while (p + size != end && static_cast<unsigned char>(p[size]) < 0x80) ++size;
    auto [bytes, from] = out.room(size);
    for (size_t i = 0; i < size; ++i) {
      const auto c = static_cast<unsigned char>(p[i]);
      bytes[i] = static_cast<char>(c + (static_cast<unsigned char>(c - 'A') < 26 ? 0x20 : 0));
      from[i] = origin[i];
    }
    out.wrote(size);
    return size;
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void normalize(NormalizedText& text) const override {
    const std::string& s = text.text;
    size_t begin = 0, end = s.size();
    while (left_ && begin < end) {
      const char* p = s.data() + begin;
      if (!unicode::is_whitespace(unicode::decode(p))) break;
      begin = size_t(p - s.data());
    }
    while (right_ && end > begin) {
      const size_t last = unicode::previous(s, end);
      const char* p = s.data() + last;
      if (!unicode::is_whitespace(unicode::decode(p))) break;
      end = last;
    }
    if (begin == 0 && end == s.size()) return;
    text.rewrite_text();
    Rewriter out(text);
    out.copy(begin, end);
    out.finish();
  }
  Json to_json() const override { return {{"type", "Strip"}, {"strip_left", left_}, {"strip_right", right_}}; }

 private:
  bool left_, right_;
};

class StripAccents final : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    text.rewrite_text();
    Rewriter out(text);
    const char* const base = text.old_text.data();
    const char* const end = base + text.old_text.size();
    const char* kept = base;
    for (const char* p = base; p != end;) {
      const char* const at = p;
      if (!unicode::is_combining_mark(unicode::decode(p))) continue;
      out.copy(size_t(kept - base), size_t(at - base));
      kept = p;
    }
    out.copy(size_t(kept - base), size_t(end - base));
    out.finish();
  }
  Json to_json() const override { return {{"type", "StripAccents"}}; }
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void normalize(NormalizedText& text) const override {
    std::vector<Piece>& pieces = text.pieces;
    pieces.clear();
    pattern_.find(text.text, pieces);
    text.rewrite_text();
    Rewriter out(text);
    for (const Piece& piece : pieces) {
      if (!piece.is_match) {
        out.copy(piece.begin, piece.end);
      } else if (!text.old_text.empty()) {  // what is put in shares the origin of the last byte it replaces
        out.put(content_, text.old_origin[piece.end == 0 ? 0 : piece.end - 1]);
      }
    }
    out.finish();
  }
  Json to_json() const override {
    return {{"type", "Replace"}, {"pattern", pattern_.to_json()}, {"content", content_}};
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string text) : prepend_(std::move(text)) {}
  void normalize(NormalizedText& text) const override {
    if (text.text.empty() || prepend_.empty()) return;
    text.rewrite_text();
    Rewriter out(text);
    out.put(prepend_, text.old_origin[0]);
    out.copy(0, text.old_text.size());
    out.finish();
  }
  Json to_json() const override { return {{"type", "Prepend"}, {"prepend", prepend_}}; }

 private:
  std::string prepend_;
};

class Nmt final : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    text.rewrite_text();
    Rewriter out(text);
    const char* const base = text.old_text.data();
    const char* const end = base + text.old_text.size();
    for (const char* p = base; p != end;) {
      const uint32_t from = text.old_origin[size_t(p - base)];
      const char32_t cp = unicode::decode(p);
      if (!is_removed(cp)) out.put(is_space(cp) ? U' ' : cp, from);
    }
    out.finish();
  }
  Json to_json() const override { return {{"type", "Nmt"}}; }

 private:
  static bool is_removed(char32_t cp) {
    return (cp >= 1 && cp <= 8) || cp == 0xB || (cp >= 0xE && cp <= 0x1F) || cp == 0x7F || cp == 0x8F || cp == 0x9F;
  }
  static bool is_space(char32_t cp) {
    return cp == 9 || cp == 0xA || cp == 0xC || cp == 0xD || cp == 0x1680 || (cp >= 0x200B && cp <= 0x200F) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x2581 || cp == 0xFEFF || cp == 0xFFFD;
  }
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    text.rewrite_text();
    Rewriter out(text);
    for (size_t i = 0; i < text.old_text.size(); ++i) {
      out.put(byte_level::character(text.old_text[i]), text.old_origin[i]);
    }
    out.finish();
  }
  Json to_json() const override { return {{"type", "ByteLevel"}}; }
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::shared_ptr<const Normalizer>> parts) : parts_(std::move(parts)) {}
  void normalize(NormalizedText& text) const override {
    for (const auto& part : parts_) part->normalize(text);
  }
  Json to_json() const override {
    Json::Array list;
    for (const auto& part : parts_) list.push_back(part->to_json());
    return {{"type", "Sequence"}, {"normalizers", std::move(list)}};
  }

 private:
  std::vector<std::shared_ptr<const Normalizer>> parts_;
};

}  // namespace

std::shared_ptr<const Normalizer> normalizer_from_json(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = component_type(json, "normalizer");
  if (type == "BertNormalizer") {
    const bool lowercase = json.at("lowercase").as_bool();
    const Json* accents = json.find("strip_accents");
    return std::make_shared<BertNormalizer>(BertNormalizer::Options{
        .clean_text = json.at("clean_text").as_bool(),
        .handle_chinese_chars = json.at("handle_chinese_chars").as_bool(),
        .strip_accents = accents != nullptr && !accents->is_null() ? accents->as_bool() : lowercase,
        .lowercase = lowercase});
  }
  if (type == "NFD" || type == "NFKD" || type == "NFC" || type == "NFKC") {
    return std::make_shared<UnicodeNormalizer>(type[2] == 'K', type.back() == 'C');
  }
  if (type == "Lowercase") return std::make_shared<Lowercase>();
  if (type == "Strip") {
    return std::make_shared<Strip>(json.at("strip_left").as_bool(), json.at("strip_right").as_bool());
  }
  if (type == "StripAccents") return std::make_shared<StripAccents>();
  if (type == "Replace") {
    return std::make_shared<Replace>(Pattern::from_json(json.at("pattern")), json.at("content").as_string());
  }
  if (type == "Prepend") return std::make_shared<Prepend>(json.at("prepend").as_string());
  if (type == "Nmt") return std::make_shared<Nmt>();
  if (type == "Precompiled") return std::make_shared<Precompiled>(json.at("precompiled_charsmap").as_string());
  if (type == "ByteLevel") return std::make_shared<ByteLevelNormalizer>();
  if (type == "Sequence") {
    std::vector<std::shared_ptr<const Normalizer>> parts;
    for (const Json& part : json.at("normalizers").as_array()) {
      component_type(part, "normalizer");  // null is no part
      parts.push_back(normalizer_from_json(part));
    }
    return std::make_shared<NormalizerSequence>(std::move(parts));
  }
  throw_unsupported_component("normalizer", type);
}

}  // namespace caracal::tokenizers
