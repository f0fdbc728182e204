#include <caracal/tokenizers/byte_level.h>

#include <caracal/tokenizers/pre_tokenizers.h>

namespace caracal::tokenizers {

ByteLevel::ByteLevel(const Options& options) : options_(options) {
  if (options_.use_regex) matcher_ = known_matcher(kGpt2Pattern);
}

ByteLevel::Options ByteLevel::options_from_json(const Json& json) {
  const Json* use_regex = json.find("use_regex");
  return {.add_prefix_space = json.at("add_prefix_space").as_bool(),
          .trim_offsets = json.at("trim_offsets").as_bool(),
          .use_regex = use_regex == nullptr || use_regex->as_bool()};
}

Json ByteLevel::options_to_json(const Options& options) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", options.add_prefix_space},
          {"trim_offsets", options.trim_offsets},
          {"use_regex", options.use_regex}};
}

void ByteLevel::pre_tokenize(NormalizedText& text) const {
  text.rewrite_text();
  text.rewrite_splits();
  Rewriter out(text);
  const auto write = [&](size_t begin, size_t end) {
    auto [bytes, origin] = out.room(2 * (end - begin));
    const char* const first = bytes;
    for (size_t i = begin; i < end; ++i) {
      const char32_t cp = byte_level::character(text.old_text[i]);
      *origin++ = text.old_origin[i];
      if (cp < 0x80) {
        *bytes++ = static_cast<char>(cp);
      } else {  // below U+0800
        *bytes++ = static_cast<char>(0xC0 | cp >> 6);
        *bytes++ = static_cast<char>(0x80 | (cp & 0x3F));
        *origin++ = text.old_origin[i];
      }
    }
    out.wrote(size_t(bytes - first));
  };
  std::vector<Piece>& pieces = text.pieces;
  for (const Split& split : text.old_splits) {
    const auto begin = uint32_t(out.size());
    if (split.added_id >= 0) {
      out.copy(split.begin, split.end);
      text.splits.push_back({begin, uint32_t(out.size()), split.added_id});
      continue;
    }
    std::string_view part = std::string_view(text.old_text).substr(split.begin, split.end - split.begin);
    const bool prefix = options_.add_prefix_space && part[0] != ' ';
    if (prefix) part = text.spaced.assign(" ").append(part);
    pieces.clear();
    if (matcher_ != nullptr) {
      matcher_->find(part, pieces);
    } else {
      pieces.push_back({0, uint32_t(part.size()), false});
    }
    for (const Piece& piece : pieces) {
      const auto word = uint32_t(out.size());
      size_t from = split.begin + piece.begin - (prefix && piece.begin != 0);
      if (prefix && piece.begin == 0) out.put(byte_level::character(' '), text.old_origin[split.begin]);
      write(from, split.begin + piece.end - prefix);
      text.splits.push_back({word, uint32_t(out.size())});
    }
  }
  out.finish();
}

}  // namespace caracal::tokenizers
