#include <caracal/tokenizers/post_processors.h>

#include <algorithm>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/components.h>

namespace caracal::tokenizers {
namespace {

using Piece = TemplateProcessing::Piece;

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorCode::bad_file, "tokenizer.json", what); }

int32_t as_id(const Json& json) {
  const int64_t id = json.as_int();
  if (id < 0 || id > INT32_MAX) bad("expected a 31-bit id in post_processor but got " + std::to_string(id));
  return int32_t(id);
}

std::vector<Piece> pieces_from_json(const Json& list, const Json& special_tokens) {
  std::vector<Piece> pieces;
  for (const Json& item : list.as_array()) {
    Piece piece;
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

Json pieces_to_json(const std::vector<Piece>& pieces) {
  Json::Array list;
  for (const Piece& piece : pieces) {
    const bool text = piece.sequence >= 0;
    Json body = {{"id", text ? std::string(piece.sequence == 0 ? "A" : "B") : piece.name},
                 {"type_id", int64_t(piece.type_id)}};
    list.push_back({{text ? "Sequence" : "SpecialToken", std::move(body)}});
  }
  return list;
}

void set_sequence(Encoding& encoding, int8_t sequence) {
  for (Token& token : encoding.tokens) token.sequence = sequence;
  for (Encoding& part : encoding.overflow) set_sequence(part, sequence);
}

void set_type(Encoding& encoding, int32_t type_id) {
  for (Token& token : encoding.tokens) token.type_id = type_id;
  for (Encoding& part : encoding.overflow) set_type(part, type_id);
}

}  // namespace

TemplateProcessing::TemplateProcessing(std::vector<Piece> single, std::vector<Piece> pair)
    : single_(std::move(single)), pair_(std::move(pair)) {
  const auto uses = [](const std::vector<Piece>& pieces, int sequence) {
    return std::count_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.sequence == sequence; });
  };
  if (uses(single_, 0) > 1 || uses(single_, 1) > 0) bad("expected one Sequence 'A' in the single template");
  if (uses(pair_, 0) != 1 || uses(pair_, 1) != 1) bad("expected Sequence 'A' and 'B' once each in the pair template");
}

size_t TemplateProcessing::added_tokens(bool pair) const {
  size_t count = 0;
  for (const Piece& piece : pair ? pair_ : single_) count += piece.ids.size();
  return count;
}

Encoding TemplateProcessing::process(Encoding first, std::optional<Encoding> second, bool add_special_tokens) const {
  const bool pair = second.has_value();
  Encoding out;
  out.tokens.reserve(first.size() + (pair ? second->size() : 0) + added_tokens(pair));
  for (const Piece& piece : pair ? pair_ : single_) {
    if (piece.sequence >= 0) {
      Encoding& text = piece.sequence == 0 ? first : *second;
      set_sequence(text, piece.sequence);
      set_type(text, piece.type_id);
      out.append(text);
    } else if (add_special_tokens) {
      for (const int32_t id : piece.ids) out.append(Token{.id = id, .type_id = piece.type_id, .special = true});
    }
  }
  return out;
}

Json TemplateProcessing::to_json() const {
  Json::Object special_tokens;
  for (const auto* pieces : {&single_, &pair_}) {
    for (const Piece& piece : *pieces) {
      const auto same = [&piece](const Json::Member& m) { return m.first == piece.name; };
      if (piece.sequence >= 0 || std::any_of(special_tokens.begin(), special_tokens.end(), same)) continue;
      Json::Array ids(piece.ids.begin(), piece.ids.end());
      special_tokens.emplace_back(
          piece.name, Json{{"id", piece.name}, {"ids", std::move(ids)}, {"tokens", Json::Array{piece.name}}});
    }
  }
  return {{"type", "TemplateProcessing"},
          {"single", pieces_to_json(single_)},
          {"pair", pieces_to_json(pair_)},
          {"special_tokens", std::move(special_tokens)}};
}

TemplateProcessing bert_template(const std::string& cls, int32_t cls_id, const std::string& sep, int32_t sep_id) {
  const Piece a{.sequence = 0}, b{.sequence = 1, .type_id = 1};
  const Piece start{.name = cls, .ids = {cls_id}}, end{.name = sep, .ids = {sep_id}};
  const Piece end_of_pair{.type_id = 1, .name = sep, .ids = {sep_id}};
  return TemplateProcessing({start, a, end}, {start, a, end, b, end_of_pair});
}

std::shared_ptr<const PostProcessor> post_processor_from_json(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = component_type(json, "post_processor");
  if (type == "TemplateProcessing") {
    const Json& special_tokens = json.at("special_tokens");
    return std::make_shared<TemplateProcessing>(pieces_from_json(json.at("single"), special_tokens),
                                                pieces_from_json(json.at("pair"), special_tokens));
  }
  if (type == "BertProcessing") {
    const auto token = [&](const char* key) {
      const Json::Array& pair = json.at(key).as_array();
      if (pair.size() != 2) bad("expected [token, id] for '" + std::string(key) + "' of post_processor");
      return std::pair(pair[0].as_string(), as_id(pair[1]));
    };
    const auto [sep, sep_id] = token("sep");
    const auto [cls, cls_id] = token("cls");
    return std::make_shared<TemplateProcessing>(bert_template(cls, cls_id, sep, sep_id));
  }
  throw_unsupported_component("post_processor", type);
}

}  // namespace caracal::tokenizers
