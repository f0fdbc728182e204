#include <caracal/tokenizers/decoders.h>

#include <algorithm>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/byte_level.h>
#include <caracal/tokenizers/components.h>
#include <caracal/tokenizers/pattern.h>
#include <caracal/tokenizers/pre_tokenizers.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == std::string::npos || from.empty()) return text;
  std::string result;
  size_t begin = 0;
  for (; at != std::string::npos; at = text.find(from, begin)) {
    result.append(text, begin, at - begin).append(to);
    begin = at + from.size();
  }
  return result.append(text, begin);
}

namespace {

// Takes out the space before punctuation and English contractions.
std::string cleaned(std::string text) {
  static constexpr const char* kCleanups[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                                 {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                                 {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  if (text.find(' ') == std::string::npos) return text;
  for (const auto& [from, to] : kCleanups) text = replace_all(std::move(text), from, to);
  return text;
}

// Joins the tokens and turns GPT-2's alphabet back to bytes; a token with another character is taken as it is.
class ByteLevelDecoder final : public Decoder {
 public:
  explicit ByteLevelDecoder(const ByteLevel::Options& options) : options_(options) {}
  void decode(std::vector<std::string>& tokens) const override {
    std::string text;
    for (const std::string& token : tokens) {
      const size_t before = text.size();
      const char* const end = token.data() + token.size();
      for (const char* p = token.data(); p != end;) {
        const int byte = byte_level::byte_of(unicode::decode(p));
        if (byte < 0) {
          text.resize(before);
          text += token;
          break;
        }
        text += static_cast<char>(byte);
      }
    }
    tokens.assign(1, unicode::replace_invalid_utf8(text));
  }
  Json to_json() const override { return ByteLevel::options_to_json(options_); }

 private:
  ByteLevel::Options options_;
};

class MetaspaceDecoder final : public Decoder {
 public:
  explicit MetaspaceDecoder(Metaspace metaspace) : metaspace_(std::move(metaspace)) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] =
          replace_all(std::move(tokens[i]), metaspace_.replacement(), i == 0 && metaspace_.prepends() ? "" : " ");
    }
  }
  Json to_json() const override { return metaspace_.to_json(); }

 private:
  Metaspace metaspace_;
};

class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = replace_all(std::move(tokens[i]), suffix_, i + 1 == tokens.size() ? "" : " ");
    }
  }
  Json to_json() const override { return {{"type", "BPEDecoder"}, {"suffix", suffix_}}; }

 private:
  std::string suffix_;
};

// Repeated tokens are one; then the padding token goes, and the word delimiter becomes a space.
class CtcDecoder final : public Decoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  void decode(std::vector<std::string>& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      token = replace_all(std::move(token), pad_, "");
      if (cleanup_) token = replace_all(cleaned(std::move(token)), delimiter_, " ");
    }
    std::erase(tokens, std::string());
  }
  Json to_json() const override {
    return {{"type", "CTC"}, {"pad_token", pad_}, {"word_delimiter_token", delimiter_}, {"cleanup", cleanup_}};
  }

 private:
  std::string pad_, delimiter_;
  bool cleanup_;
};

class Fuse final : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    std::string text;
    for (const std::string& token : tokens) text += token;
    tokens.assign(1, std::move(text));
  }
  Json to_json() const override { return {{"type", "Fuse"}}; }
};

// Takes up to `start` and `stop` times a character off the ends of every token.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, size_t start, size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view left = token;
      for (size_t i = 0; i < start_ && left.starts_with(content_); ++i) left.remove_prefix(content_.size());
      for (size_t i = 0; i < stop_ && left.ends_with(content_); ++i) left.remove_suffix(content_.size());
      token = std::string(left);
    }
  }
  Json to_json() const override {
    return {{"type", "Strip"}, {"content", content_}, {"start", int64_t(start_)}, {"stop", int64_t(stop_)}};
  }

 private:
  std::string content_;
  size_t start_, stop_;
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void decode(std::vector<std::string>& tokens) const override {
    std::vector<Piece> pieces;
    for (std::string& token : tokens) {
      pieces.clear();
      pattern_.find(token, pieces);
      std::string text;
      for (const Piece& piece : pieces) {
        text += piece.is_match ? std::string_view(content_)
                               : std::string_view(token).substr(piece.begin, piece.end - piece.begin);
      }
      token = std::move(text);
    }
  }
  Json to_json() const override {
    return {{"type", "Replace"}, {"pattern", pattern_.to_json()}, {"content", content_}};
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// Tokens "<0x61>" in a row are bytes: their text when that is UTF-8, else one U+FFFD each.
class ByteFallback final : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (unicode::is_valid_utf8(bytes)) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
  Json to_json() const override { return {{"type", "ByteFallback"}}; }

 private:
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    const auto digit = [](char c) {
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                    : -1;
    };
    // Like Rust's parser of numbers, takes a plus sign.
    if (token[3] == '+') return digit(token[4]);
    return digit(token[3]) < 0 || digit(token[4]) < 0 ? -1 : digit(token[3]) * 16 + digit(token[4]);
  }
};

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::shared_ptr<const Decoder>> parts) : parts_(std::move(parts)) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->decode(tokens);
  }
  Json to_json() const override {
    Json::Array list;
    for (const auto& part : parts_) list.push_back(part->to_json());
    return {{"type", "Sequence"}, {"decoders", std::move(list)}};
  }

 private:
  std::vector<std::shared_ptr<const Decoder>> parts_;
};

size_t count_from_json(const Json& json, const char* key) {
  const int64_t count = json.at(key).as_int();
  if (count < 0) {
    throw Error(ErrorCode::bad_file, "tokenizer.json",
                "expected '" + std::string(key) + "' of at least 0 in decoder but got " + std::to_string(count));
  }
  return size_t(count);
}

}  // namespace

std::shared_ptr<const Decoder> byte_level_decoder() { return std::make_shared<ByteLevelDecoder>(ByteLevel::Options()); }

std::string strip_white_space(std::string_view text) {
  size_t begin = 0, end = text.size();
  while (begin < end) {
    const char* p = text.data() + begin;
    if (!unicode::is_whitespace(unicode::decode(p))) break;
    begin = size_t(p - text.data());
  }
  while (begin < end) {
    const size_t last = unicode::previous(text, end);
    const char* p = text.data() + last;
    if (!unicode::is_whitespace(unicode::decode(p))) break;
    end = last;
  }
  return std::string(text.substr(begin, end - begin));
}

std::string Decoder::text(std::vector<std::string> tokens, const std::function<bool(std::string_view)>& skip) const {
  std::erase_if(tokens, [&](const std::string& token) { return skip(token); });
  decode(tokens);
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

void WordPieceDecoder::decode(std::vector<std::string>& tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i != 0) token = token.starts_with(prefix_) ? token.substr(prefix_.size()) : " " + token;
    if (cleanup_) token = cleaned(std::move(token));
  }
}

Json WordPieceDecoder::to_json() const { return {{"type", "WordPiece"}, {"prefix", prefix_}, {"cleanup", cleanup_}}; }

std::shared_ptr<const Decoder> decoder_from_json(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = component_type(json, "decoder");
  if (type == "WordPiece") {
    return std::make_shared<WordPieceDecoder>(json.at("prefix").as_string(), json.at("cleanup").as_bool());
  }
  if (type == "ByteLevel") return std::make_shared<ByteLevelDecoder>(ByteLevel::options_from_json(json));
  if (type == "Metaspace") return std::make_shared<MetaspaceDecoder>(Metaspace::from_json(json));
  if (type == "BPEDecoder") return std::make_shared<BpeDecoder>(json.at("suffix").as_string());
  if (type == "CTC") {
    return std::make_shared<CtcDecoder>(json.at("pad_token").as_string(), json.at("word_delimiter_token").as_string(),
                                        json.at("cleanup").as_bool());
  }
  if (type == "Fuse") return std::make_shared<Fuse>();
  if (type == "Strip") {
    return std::make_shared<StripDecoder>(json.at("content").as_string(), count_from_json(json, "start"),
                                          count_from_json(json, "stop"));
  }
  if (type == "Replace") {
    return std::make_shared<ReplaceDecoder>(Pattern::from_json(json.at("pattern")), json.at("content").as_string());
  }
  if (type == "ByteFallback") return std::make_shared<ByteFallback>();
  if (type == "Sequence") {
    std::vector<std::shared_ptr<const Decoder>> parts;
    for (const Json& part : json.at("decoders").as_array()) {
      component_type(part, "decoder");  // null is no part
      parts.push_back(decoder_from_json(part));
    }
    return std::make_shared<DecoderSequence>(std::move(parts));
  }
  throw_unsupported_component("decoder", type);
}

}  // namespace caracal::tokenizers
