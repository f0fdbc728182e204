#include <caracal/tokenizers/pattern.h>

#include <caracal/runtime/error.h>

namespace caracal::tokenizers {
namespace {

class StringMatcher final : public Matcher {
 public:
  explicit StringMatcher(std::string text) : text_(std::move(text)) {}
  void find(std::string_view text, std::vector<Piece>& out) const override {
    size_t done = 0;
    for (size_t at = text.find(text_); at != std::string_view::npos; at = text.find(text_, done)) {
      if (done != at) out.push_back({uint32_t(done), uint32_t(at), false});
      done = at + text_.size();
      out.push_back({uint32_t(at), uint32_t(done), true});
    }
    if (done != text.size() || text.empty()) out.push_back({uint32_t(done), uint32_t(text.size()), false});
  }

 private:
  std::string text_;
};

}  // namespace

Pattern Pattern::string(std::string text) {
  // An empty string matches between all characters, as an empty expression does.
  auto matcher = text.empty() ? regex_matcher("") : std::make_shared<const StringMatcher>(text);
  return {false, std::move(text), std::move(matcher)};
}

Pattern Pattern::regex(std::string expression) {
  auto matcher = known_matcher(expression);
  if (matcher == nullptr) matcher = regex_matcher(expression);
  return {true, std::move(expression), std::move(matcher)};
}

Pattern Pattern::from_json(const Json& json) {
  if (const Json* text = json.find("String")) return string(text->as_string());
  if (const Json* expression = json.find("Regex")) return regex(expression->as_string());
  throw Error(ErrorCode::bad_file, "tokenizer.json", "expected a pattern {\"String\": …} or {\"Regex\": …}");
}

Json Pattern::to_json() const { return Json::Object{{is_regex_ ? "Regex" : "String", source_}}; }

}  // namespace caracal::tokenizers
