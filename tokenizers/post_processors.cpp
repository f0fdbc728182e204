#include <caracal/tokenizers/post_processors.h>

#include <algorithm>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/byte_level.h>
#include <caracal/tokenizers/components.h>
#include <caracal/tokenizers/pre_tokenizers.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

using TemplatePiece = TemplateProcessing::Piece;

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorCode::bad_file, "tokenizer.json", what); }

int32_t as_id(const Json& json) {
  const int64_t id = json.as_int();
  if (id < 0 || id > INT32_MAX) bad("expected a 31-bit id in post_processor but got " + std::to_string(id));
  return int32_t(id);
}

std::vector<TemplatePiece> pieces_from_json(const Json& list, const Json& special_tokens) {
  std::vector<TemplatePiece> pieces;
  for (const Json& item : list.as_array()) {
    TemplatePiece piece;
    if (const Json* sequence = item.find("Sequence")) {
      const std::string& name = sequence->at("id").as_string();
      if (name != "A" && name != "B") bad("expected Sequence 'A' or 'B' in post_processor but got '" + name + "'");
      piece.sequence = name == "A" ? 0 : 1;
      piece.type_id = as_id(sequence->at("type_id"));
    } else {
      const Json& special = item.at("SpecialToken");
      piece.name = special.at("id").as_string();
      piece.type_id = as_id(special.at("type_id"));
      const Json* token = special_tokens.find(piece.name);
      if (token == nullptr) bad("expected special token '" + piece.name + "' to be defined in post_processor");
      for (const Json& id : token->at("ids").as_array()) piece.ids.push_back(as_id(id));
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Json pieces_to_json(const std::vector<TemplatePiece>& pieces) {
  Json::Array list;
  for (const TemplatePiece& piece : pieces) {
    const bool text = piece.sequence >= 0;
    Json body = {{"id", text ? std::string(piece.sequence == 0 ? "A" : "B") : piece.name},
                 {"type_id", int64_t(piece.type_id)}};
    list.push_back({{text ? "Sequence" : "SpecialToken", std::move(body)}});
  }
  return list;
}

// As in the reference, parts that were cut off keep theirs.
void set_type(Encoding& encoding, int32_t type_id) {
  for (Token& token : encoding.tokens) token.type_id = type_id;
}

// Takes white space out of the offsets: that of the token's text, which may stand for it in GPT-2's alphabet.
void trim_offsets(std::vector<Token>& tokens, bool add_prefix_space, const TokenText& text) {
  const auto is_space = [](char32_t cp) { return cp == byte_level::character(' ') || unicode::is_whitespace(cp); };
  for (size_t i = 0; i < tokens.size(); ++i) {
    Token& token = tokens[i];
    const std::string_view s = text(token);
    uint32_t leading = 0, trailing = 0;
    for (const char* p = s.data(); p != s.data() + s.size() && is_space(unicode::decode(p));) ++leading;
    for (size_t end = s.size(); end > 0;) {
      end = unicode::previous(s, end);
      const char* p = s.data() + end;
      if (!is_space(unicode::decode(p))) break;
      ++trailing;
    }
    // The one space in front of the first word was put there by add_prefix_space.
    if ((i == 0 || token.begin == 0) && add_prefix_space && leading == 1) leading = 0;
    token.begin = std::min(token.begin + leading, token.end);
    if (token.end >= trailing) token.end = std::max(token.end - trailing, token.begin);
  }
}

void trim_offsets(RowParts& parts, bool add_prefix_space, const TokenText& text) {
  for (Encoding& encoding : parts.all()) {
    trim_offsets(encoding.tokens, add_prefix_space, text);
    for (Encoding& part : encoding.overflow) trim_offsets(part.tokens, add_prefix_space, text);
  }
}

class ByteLevelProcessing final : public PostProcessor {
 public:
  explicit ByteLevelProcessing(const ByteLevel::Options& options) : options_(options) {}
  size_t added_tokens(bool) const override { return 0; }
  void process(RowParts& parts, bool, const TokenText& text) const override {
    if (options_.trim_offsets) trim_offsets(parts, options_.add_prefix_space, text);
  }
  Json to_json() const override { return ByteLevel::options_to_json(options_); }

 private:
  ByteLevel::Options options_;
};

// <s> A </s>, and </s> B </s> for a pair, all of type 0.
class RobertaProcessing final : public PostProcessor {
 public:
  using NamedId = std::pair<std::string, int32_t>;
  RobertaProcessing(NamedId sep, NamedId cls, bool trim, bool add_prefix_space)
      : sep_(std::move(sep)), cls_(std::move(cls)), trim_(trim), add_prefix_space_(add_prefix_space) {}
  size_t added_tokens(bool pair) const override { return pair ? 4 : 2; }
  void process(RowParts& parts, bool add_special_tokens, const TokenText& text) const override {
    if (trim_) trim_offsets(parts, add_prefix_space_, text);
    for (size_t i = 0; i < parts.count; ++i) {
      Encoding& encoding = parts.texts[i];
      set_type(encoding, 0);
      if (!add_special_tokens) continue;
      for (Encoding& part : encoding.overflow) set_type(part, 0);
      const Token before{.id = i == 0 ? cls_.second : sep_.second, .special = true};
      const Token behind{.id = sep_.second, .special = true};
      const auto surround = [&](std::vector<Token>& tokens) {
        tokens.insert(tokens.begin(), before);
        tokens.push_back(behind);
      };
      surround(encoding.tokens);
      for (Encoding& part : encoding.overflow) surround(part.tokens);
    }
  }
  Json to_json() const override {
    const auto pair = [](const NamedId& token) { return Json::Array{token.first, int64_t(token.second)}; };
    return {{"type", "RobertaProcessing"},
            {"sep", pair(sep_)},
            {"cls", pair(cls_)},
            {"trim_offsets", trim_},
            {"add_prefix_space", add_prefix_space_}};
  }

 private:
  NamedId sep_, cls_;
  bool trim_, add_prefix_space_;
};

class PostProcessorSequence final : public PostProcessor {
 public:
  explicit PostProcessorSequence(std::vector<std::shared_ptr<const PostProcessor>> parts) : parts_(std::move(parts)) {}
  size_t added_tokens(bool pair) const override {
    size_t count = 0;
    for (const auto& part : parts_) count += part->added_tokens(pair);
    return count;
  }
  void process(RowParts& parts, bool add_special_tokens, const TokenText& text) const override {
    for (const auto& part : parts_) part->process(parts, add_special_tokens, text);
  }
  Json to_json() const override {
    Json::Array list;
    for (const auto& part : parts_) list.push_back(part->to_json());
    return {{"type", "Sequence"}, {"processors", std::move(list)}};
  }

 private:
  std::vector<std::shared_ptr<const PostProcessor>> parts_;
};

}  // namespace

TemplateProcessing::TemplateProcessing(std::vector<TemplatePiece> single, std::vector<TemplatePiece> pair)
    : single_(std::move(single)), pair_(std::move(pair)) {
  const auto uses = [](const std::vector<TemplatePiece>& pieces, int sequence) {
    return std::count_if(pieces.begin(), pieces.end(), [&](const TemplatePiece& p) { return p.sequence == sequence; });
  };
  if (uses(single_, 0) > 1 || uses(single_, 1) > 0) bad("expected one Sequence 'A' in the single template");
  if (uses(pair_, 0) != 1 || uses(pair_, 1) != 1) bad("expected Sequence 'A' and 'B' once each in the pair template");
}

size_t TemplateProcessing::added_tokens(bool pair) const {
  size_t count = 0;
  for (const TemplatePiece& piece : pair ? pair_ : single_) count += piece.ids.size();
  return count;
}

void TemplateProcessing::process(RowParts& parts, bool add_special_tokens, const TokenText&) const {
  const bool pair = parts.count > 1;
  Encoding& out = parts.joined;
  out.tokens.clear();
  out.overflow.clear();
  size_t size = added_tokens(pair);
  for (const Encoding& encoding : parts.all()) size += encoding.size();
  out.tokens.reserve(size);
  for (const TemplatePiece& piece : pair ? pair_ : single_) {
    if (piece.sequence >= 0) {
      Encoding& text = parts.texts[piece.sequence];
      set_type(text, piece.type_id);
      out.append(text);
    } else if (add_special_tokens) {
      for (const int32_t id : piece.ids) out.append(Token{.id = id, .type_id = piece.type_id, .special = true});
    }
  }
  std::swap(parts.texts[0], out);
  parts.count = 1;
}

Json TemplateProcessing::to_json() const {
  Json::Object special_tokens;
  for (const auto* pieces : {&single_, &pair_}) {
    for (const TemplatePiece& piece : *pieces) {
      const auto same = [&piece](const Json::Member& m) { return m.first == piece.name; };
      if (piece.sequence >= 0 || std::any_of(special_tokens.begin(), special_tokens.end(), same)) continue;
      Json::Array ids(piece.ids.begin(), piece.ids.end());
      special_tokens.emplace_back(
          piece.name, Json{{"id", piece.name}, {"ids", std::move(ids)}, {"tokens", Json::Array{piece.name}}});
    }
  }
  std::sort(special_tokens.begin(), special_tokens.end(),
            [](const Json::Member& a, const Json::Member& b) { return a.first < b.first; });
  return {{"type", "TemplateProcessing"},
          {"single", pieces_to_json(single_)},
          {"pair", pieces_to_json(pair_)},
          {"special_tokens", std::move(special_tokens)}};
}

TemplateProcessing bert_template(const std::string& cls, int32_t cls_id, const std::string& sep, int32_t sep_id) {
  const TemplatePiece a{.sequence = 0}, b{.sequence = 1, .type_id = 1};
  const TemplatePiece start{.name = cls, .ids = {cls_id}}, end{.name = sep, .ids = {sep_id}};
  const TemplatePiece end_of_pair{.type_id = 1, .name = sep, .ids = {sep_id}};
  return TemplateProcessing({start, a, end}, {start, a, end, b, end_of_pair});
}

std::shared_ptr<const PostProcessor> roberta_processing(std::pair<std::string, int32_t> sep,
                                                        std::pair<std::string, int32_t> cls, bool trim,
                                                        bool add_prefix_space) {
  return std::make_shared<RobertaProcessing>(std::move(sep), std::move(cls), trim, add_prefix_space);
}

namespace {

// BERT's template under its own name.
class BertProcessing final : public TemplateProcessing {
 public:
  BertProcessing(const std::string& cls, int32_t cls_id, const std::string& sep, int32_t sep_id)
      : TemplateProcessing(bert_template(cls, cls_id, sep, sep_id)),
        json_{{"type", "BertProcessing"},
              {"sep", Json::Array{sep, int64_t(sep_id)}},
              {"cls", Json::Array{cls, int64_t(cls_id)}}} {}
  Json to_json() const override { return json_; }

 private:
  Json json_;
};

}  // namespace

std::shared_ptr<const PostProcessor> post_processor_from_json(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = component_type(json, "post_processor");
  if (type == "TemplateProcessing") {
    const Json& special_tokens = json.at("special_tokens");
    return std::make_shared<TemplateProcessing>(pieces_from_json(json.at("single"), special_tokens),
                                                pieces_from_json(json.at("pair"), special_tokens));
  }
  const auto token = [&](const char* key) {
    const Json::Array& pair = json.at(key).as_array();
    if (pair.size() != 2) bad("expected [token, id] for '" + std::string(key) + "' of post_processor");
    return std::pair(pair[0].as_string(), as_id(pair[1]));
  };
  if (type == "BertProcessing") {
    const auto [sep, sep_id] = token("sep");
    const auto [cls, cls_id] = token("cls");
    return std::make_shared<BertProcessing>(cls, cls_id, sep, sep_id);
  }
  if (type == "RobertaProcessing") {
    return std::make_shared<RobertaProcessing>(token("sep"), token("cls"), json.at("trim_offsets").as_bool(),
                                               json.at("add_prefix_space").as_bool());
  }
  if (type == "ByteLevel") return std::make_shared<ByteLevelProcessing>(ByteLevel::options_from_json(json));
  if (type == "Sequence") {
    std::vector<std::shared_ptr<const PostProcessor>> parts;
    for (const Json& part : json.at("processors").as_array()) {
      component_type(part, "post_processor");  // null is no part
      parts.push_back(post_processor_from_json(part));
    }
    return std::make_shared<PostProcessorSequence>(std::move(parts));
  }
  throw_unsupported_component("post_processor", type);
}

}  // namespace caracal::tokenizers
