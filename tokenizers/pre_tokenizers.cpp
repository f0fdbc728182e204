#include <caracal/tokenizers/pre_tokenizers.h>

#include <algorithm>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/components.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

// Merges and drops `pieces` as the behaviour says, and appends what is kept, moved by `shift`, to `out`.
void apply(SplitBehavior behavior, std::vector<Piece>& pieces, uint32_t shift, std::vector<Split>& out) {
  const auto keep = [&](const Piece& piece) {
    if (piece.begin != piece.end) out.push_back({piece.begin + shift, piece.end + shift});
  };
  // Joins each piece for which `joins(piece, match before)` holds to the last one.
  const auto merge = [&](auto joins, auto extend) {
    size_t merged = 0;
    bool previous = false;
    for (const Piece piece : pieces) {
      if (joins(piece.is_match, previous) && merged != 0) {
        extend(pieces[merged - 1], piece);
      } else {
        pieces[merged++] = piece;
      }
      previous = piece.is_match;
    }
    pieces.resize(merged);
  };
  const auto grow_right = [](Piece& piece, const Piece& next) { piece.end = next.end; };
  const auto is_lone_match = [](bool match, bool previous) { return match && !previous; };
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Piece& piece : pieces) {
        if (!piece.is_match) keep(piece);
      }
      return;
    case SplitBehavior::isolated: break;
    case SplitBehavior::contiguous:
      merge([](bool match, bool previous) { return match == previous; }, grow_right);
      break;
    case SplitBehavior::merged_with_previous: merge(is_lone_match, grow_right); break;
    case SplitBehavior::merged_with_next:
      std::reverse(pieces.begin(), pieces.end());
      merge(is_lone_match, [](Piece& piece, const Piece& next) { piece.begin = next.begin; });
      std::reverse(pieces.begin(), pieces.end());
      break;
  }
  for (const Piece& piece : pieces) keep(piece);
}

constexpr std::pair<SplitBehavior, const char*> kBehaviors[] = {
    {SplitBehavior::removed, "Removed"},
    {SplitBehavior::isolated, "Isolated"},
    {SplitBehavior::merged_with_previous, "MergedWithPrevious"},
    {SplitBehavior::merged_with_next, "MergedWithNext"},
    {SplitBehavior::contiguous, "Contiguous"},
};

SplitBehavior behavior_from_json(const Json& json) {
  for (const auto& [behavior, name] : kBehaviors) {
    if (json.as_string() == name) return behavior;
  }
  throw Error(
      ErrorCode::bad_file, "tokenizer.json",
      "expected behavior 'Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext' or 'Contiguous' but got '" +
          json.as_string() + "'");
}

const char* name_of(SplitBehavior behavior) {
  for (const auto& [known, name] : kBehaviors) {
    if (known == behavior) return name;
  }
  return "";
}

// Splits every split that is no added token with find(text, pieces).
template <class Find>
void split_by(NormalizedText& text, SplitBehavior behavior, Find find) {
  text.rewrite_splits();
  std::vector<Piece>& pieces = text.pieces;
  for (const Split& split : text.old_splits) {
    if (split.added_id >= 0) {
      text.splits.push_back(split);
      continue;
    }
    pieces.clear();
    find(std::string_view(text.text).substr(split.begin, split.end - split.begin), pieces);
    apply(behavior, pieces, split.begin, text.splits);
  }
}

// Splits at every character for which the test holds.
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(SplitBehavior behavior, bool (*test)(char32_t)) : behavior_(behavior), test_(test) {}
  void pre_tokenize(NormalizedText& text) const override {
    split_by(text, behavior_, [&](std::string_view part, std::vector<Piece>& pieces) {
      const char* const base = part.data();
      const char* const end = base + part.size();
      const char* done = base;
      for (const char* p = base; p != end;) {
        const char* const at = p;
        if (!test_(unicode::decode(p))) continue;
        if (done != at) pieces.push_back({uint32_t(done - base), uint32_t(at - base), false});
        pieces.push_back({uint32_t(at - base), uint32_t(p - base), true});
        done = p;
      }
      if (done != end) pieces.push_back({uint32_t(done - base), uint32_t(end - base), false});
    });
  }

 protected:
  SplitBehavior behavior_;

 private:
  bool (*test_)(char32_t);
};

class WhitespaceSplit final : public CharacterSplit {
 public:
  WhitespaceSplit() : CharacterSplit(SplitBehavior::removed, unicode::is_whitespace) {}
  Json to_json() const override { return {{"type", "WhitespaceSplit"}}; }
};

class Punctuation final : public CharacterSplit {
 public:
  explicit Punctuation(SplitBehavior behavior) : CharacterSplit(behavior, unicode::is_punctuation) {}
  Json to_json() const override { return {{"type", "Punctuation"}, {"behavior", name_of(behavior_)}}; }
};

class Digits final : public CharacterSplit {
 public:
  explicit Digits(bool individual)
      : CharacterSplit(individual ? SplitBehavior::isolated : SplitBehavior::contiguous, unicode::is_numeric) {}
  Json to_json() const override {
    return {{"type", "Digits"}, {"individual_digits", behavior_ == SplitBehavior::isolated}};
  }
};

// Words of \w+ and of [^\w\s]+.
class Whitespace final : public PreTokenizer {
 public:
  void pre_tokenize(NormalizedText& text) const override {
    split_by(text, SplitBehavior::removed, [](std::string_view part, std::vector<Piece>& pieces) {
      const char* const base = part.data();
      const char* const end = base + part.size();
      const auto kind = [](char32_t cp) { return unicode::is_word(cp) ? 1 : unicode::is_whitespace(cp) ? 2 : 3; };
      int last = 0;
      for (const char* p = base; p != end;) {
        const char* const at = p;
        const int k = kind(unicode::decode(p));
        if (k == last) {
          pieces.back().end = uint32_t(p - base);
        } else {
          pieces.push_back({uint32_t(at - base), uint32_t(p - base), k == 2});
        }
        last = k;
      }
    });
  }
  Json to_json() const override { return {{"type", "Whitespace"}}; }
};

class PatternSplit final : public PreTokenizer {
 public:
  PatternSplit(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void pre_tokenize(NormalizedText& text) const override {
    split_by(text, behavior_, [&](std::string_view part, std::vector<Piece>& pieces) {
      pattern_.find(part, pieces);
      if (!invert_) return;
      for (Piece& piece : pieces) piece.is_match = !piece.is_match;
    });
  }
  Json to_json() const override {
    return {{"type", "Split"}, {"pattern", pattern_.to_json()}, {"behavior", name_of(behavior_)}, {"invert", invert_}};
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class CharDelimiterSplit final : public PreTokenizer {
 public:
  explicit CharDelimiterSplit(std::string delimiter)
      : delimiter_(std::move(delimiter)), pattern_(Pattern::string(delimiter_)) {}
  void pre_tokenize(NormalizedText& text) const override {
    split_by(text, SplitBehavior::removed,
             [&](std::string_view part, std::vector<Piece>& pieces) { pattern_.find(part, pieces); });
  }
  Json to_json() const override { return {{"type", "CharDelimiterSplit"}, {"delimiter", delimiter_}}; }

 private:
  std::string delimiter_;
  Pattern pattern_;
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(size_t length) : length_(length) {}
  void pre_tokenize(NormalizedText& text) const override {
    split_by(text, SplitBehavior::isolated, [&](std::string_view part, std::vector<Piece>& pieces) {
      for (size_t begin = 0; begin < part.size();) {
        size_t end = begin;
        for (size_t i = 0; i < length_ && end < part.size(); ++i) end += unicode::sequence_length(part[end]);
        pieces.push_back({uint32_t(begin), uint32_t(end), false});
        begin = end;
      }
    });
  }
  Json to_json() const override { return {{"type", "FixedLength"}, {"length", int64_t(length_)}}; }

 private:
  size_t length_;
};

// Splits where the script changes; spaces and other characters of any script join what is before them, and are dropped
// at the start of a text.
class UnicodeScripts final : public PreTokenizer {
 public:
  void pre_tokenize(NormalizedText& text) const override {
    split_by(text, SplitBehavior::removed, [](std::string_view part, std::vector<Piece>& pieces) {
      const char* const base = part.data();
      const char* const end = base + part.size();
      int last = -1;
      uint32_t begin = 0;
      for (const char* p = base; p != end;) {
        const auto at = uint32_t(p - base);
        const int script = unicode::script(unicode::decode(p));
        if (script == unicode::kAnyScript || script == last) continue;
        if (at != begin) pieces.push_back({begin, at, last < 0});
        begin = at;
        last = script;
      }
      pieces.push_back({begin, uint32_t(part.size()), last < 0});
    });
  }
  Json to_json() const override { return {{"type", "UnicodeScripts"}}; }
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::shared_ptr<const PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void pre_tokenize(NormalizedText& text) const override {
    for (const auto& part : parts_) part->pre_tokenize(text);
  }
  Json to_json() const override {
    Json::Array list;
    for (const auto& part : parts_) list.push_back(part->to_json());
    return {{"type", "Sequence"}, {"pretokenizers", std::move(list)}};
  }

 private:
  std::vector<std::shared_ptr<const PreTokenizer>> parts_;
};

std::string one_character(const Json& json, const char* what) {
  const std::string& text = json.as_string();
  if (unicode::count_code_points(text) != 1) {
    throw Error(ErrorCode::bad_file, "tokenizer.json",
                "expected one character for '" + std::string(what) + "' but got '" + text.substr(0, 100) + "'");
  }
  return text;
}

}  // namespace

std::shared_ptr<const PreTokenizer> pre_tokenizer_from_json(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = component_type(json, "pre_tokenizer");
  if (type == "BertPreTokenizer") return std::make_shared<BertPreTokenizer>();
  if (type == "ByteLevel") return std::make_shared<ByteLevel>(ByteLevel::options_from_json(json));
  if (type == "Metaspace") return std::make_shared<Metaspace>(Metaspace::from_json(json));
  if (type == "Whitespace") return std::make_shared<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_shared<WhitespaceSplit>();
  if (type == "Split") {
    return std::make_shared<PatternSplit>(Pattern::from_json(json.at("pattern")),
                                          behavior_from_json(json.at("behavior")), json.at("invert").as_bool());
  }
  if (type == "Punctuation") {
    const Json* behavior = json.find("behavior");
    return std::make_shared<Punctuation>(behavior != nullptr ? behavior_from_json(*behavior) : SplitBehavior::isolated);
  }
  if (type == "Digits") return std::make_shared<Digits>(json.at("individual_digits").as_bool());
  if (type == "CharDelimiterSplit" || type == "Delimiter") {
    return std::make_shared<CharDelimiterSplit>(one_character(json.at("delimiter"), "delimiter"));
  }
  if (type == "UnicodeScripts") return std::make_shared<UnicodeScripts>();
  if (type == "FixedLength") {
    const Json* length = json.find("length");
    const int64_t value = length != nullptr ? length->as_int() : 5;
    if (value < 1) {
      throw Error(ErrorCode::bad_file, "tokenizer.json",
                  "expected length of at least 1 in FixedLength but got " + std::to_string(value));
    }
    return std::make_shared<FixedLength>(size_t(value));
  }
  if (type == "Sequence") {
    std::vector<std::shared_ptr<const PreTokenizer>> parts;
    for (const Json& part : json.at("pretokenizers").as_array()) {
      component_type(part, "pre_tokenizer");  // null is no part
      parts.push_back(pre_tokenizer_from_json(part));
    }
    return std::make_shared<PreTokenizerSequence>(std::move(parts));
  }
  throw_unsupported_component("pre_tokenizer", type);
}

Metaspace Metaspace::from_json(const Json& json) {
  Prepend prepend = Prepend::always;
  if (const Json* scheme = json.find("prepend_scheme"); scheme != nullptr) {
    const std::string& name = scheme->as_string();
    if (name != "always" && name != "first" && name != "never") {
      throw Error(ErrorCode::bad_file, "tokenizer.json",
                  "expected prepend_scheme 'always', 'first' or 'never' but got '" + name + "'");
    }
    prepend = name == "always" ? Prepend::always : name == "first" ? Prepend::first : Prepend::never;
  }
  if (const Json* old = json.find("add_prefix_space"); old != nullptr && old->is_bool() && !old->as_bool()) {
    if (prepend != Prepend::never && json.contains("prepend_scheme")) {
      throw Error(ErrorCode::bad_file, "tokenizer.json",
                  "expected prepend_scheme 'never' with add_prefix_space false in Metaspace");
    }
    prepend = Prepend::never;
  }
  const Json* split = json.find("split");
  return {one_character(json.at("replacement"), "replacement"), prepend,
          split == nullptr || split->is_null() || split->as_bool()};
}

void Metaspace::pre_tokenize(NormalizedText& text) const {
  text.rewrite_text();
  text.rewrite_splits();
  Rewriter out(text);
  for (const Split& split : text.old_splits) {
    const std::string_view part = std::string_view(text.old_text).substr(split.begin, split.end - split.begin);
    auto begin = uint32_t(out.size());
    if (split.added_id >= 0) {
      out.copy(split.begin, split.end);
      text.splits.push_back({begin, uint32_t(out.size()), split.added_id});
      continue;
    }
    const bool wants = prepend_ == Prepend::always || (prepend_ == Prepend::first && text.old_origin[split.begin] == 0);
    if (wants && part[0] != ' ' && !part.starts_with(replacement_)) out.put(replacement_, text.old_origin[split.begin]);
    const auto close = [&] {
      const auto end = uint32_t(out.size());
      if (begin != end) text.splits.push_back({begin, end});
      begin = end;
    };
    for (size_t at = 0; at < part.size();) {
      // A replacement character in the text splits as a space does.
      size_t next = at;
      while (next < part.size() && part[next] != ' ' && part[next] != replacement_[0]) ++next;
      out.copy(split.begin + at, split.begin + next);
      at = next;
      if (at == part.size()) break;
      const bool is_replacement = part.substr(at).starts_with(replacement_);
      if (part[at] != ' ' && !is_replacement) {
        const size_t bytes = unicode::sequence_length(part[at]);
        out.copy(split.begin + at, split.begin + at + bytes);
        at += bytes;
        continue;
      }
      if (split_) close();
      out.put(replacement_, text.old_origin[split.begin + at]);
      at += is_replacement ? replacement_.size() : 1;
    }
    close();
  }
  out.finish();
}

Json Metaspace::to_json() const {
  const char* scheme = prepend_ == Prepend::always ? "always" : prepend_ == Prepend::first ? "first" : "never";
  return {{"type", "Metaspace"}, {"replacement", replacement_}, {"prepend_scheme", scheme}, {"split", split_}};
}

}  // namespace caracal::tokenizers
