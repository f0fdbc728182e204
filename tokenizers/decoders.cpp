#include <caracal/tokenizers/decoders.h>

#include <caracal/tokenizers/components.h>

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

void WordPieceDecoder::decode(std::vector<std::string>& tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i != 0) token = token.starts_with(prefix_) ? token.substr(prefix_.size()) : " " + token;
    if (!cleanup_ || token.find(' ') == std::string::npos) continue;
    static constexpr const char* kCleanups[][2] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : kCleanups) token = replace_all(std::move(token), from, to);
  }
}

Json WordPieceDecoder::to_json() const { return {{"type", "WordPiece"}, {"prefix", prefix_}, {"cleanup", cleanup_}}; }

std::shared_ptr<const Decoder> decoder_from_json(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = component_type(json, "decoder");
  if (type == "WordPiece") {
    return std::make_shared<WordPieceDecoder>(json.at("prefix").as_string(), json.at("cleanup").as_bool());
  }
  throw_unsupported_component("decoder", type);
}

}  // namespace caracal::tokenizers
