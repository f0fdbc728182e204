#include <caracal/models/layoutlmv2/tokenization_layoutlmv2.h>

#include <caracal/loaders/hub_cache.h>
#include <caracal/runtime/error.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal {
namespace {

using Words = LayoutLMv2Tokenizer::Words;
using Boxes = LayoutLMv2Tokenizer::Boxes;

[[noreturn]] void bad_argument(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "LayoutLMv2Tokenizer", what);
}

TokenizerFiles with_layout_defaults(TokenizerFiles files) {
  return with_defaults(with_bert_defaults(std::move(files), true), {{"model_max_length", 512}});
}

void read_box(const TokenizerFiles& files, const char* key, Box& box) {
  const Json* value = files.init_kwargs.find(key);
  if (value == nullptr || value->is_null()) return;
  const Json::Array& list = value->as_array();
  if (list.size() != box.size()) bad_argument("expected four numbers for " + std::string(key));
  for (size_t i = 0; i < box.size(); ++i) box[i] = list[i].as_int();
}

// Python's str.split().
Words split_at_white_space(const std::string& text) {
  Words words;
  const std::string repaired = tokenizers::unicode::replace_invalid_utf8(text);
  bool in_word = false;
  for (const char* p = repaired.data(); p != repaired.data() + repaired.size();) {
    const char* const at = p;
    const char32_t cp = tokenizers::unicode::decode(p);
    if (tokenizers::unicode::is_whitespace(cp) || (cp >= 0x1C && cp <= 0x1F)) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    words.back().append(at, size_t(p - at));
  }
  return words;
}

}  // namespace

LayoutLMv2Tokenizer::LayoutLMv2Tokenizer(const TokenizerFiles& files) : BertTokenizer(files, "LayoutLMv2Tokenizer") {
  read_box(files, "cls_token_box", cls_token_box_);
  read_box(files, "sep_token_box", sep_token_box_);
  read_box(files, "pad_token_box", pad_token_box_);
  if (const Json* label = files.init_kwargs.find("pad_token_label")) pad_token_label_ = label->as_int();
  only_label_first_subword_ = flag_of(files, "only_label_first_subword", true);
}

LayoutLMv2Tokenizer::LayoutLMv2Tokenizer(const Json& arguments)
    : LayoutLMv2Tokenizer(with_layout_defaults(tokenizer_files_of(arguments))) {}

LayoutLMv2Tokenizer LayoutLMv2Tokenizer::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::tokenizer, overrides);
  return in_file(
      at.path, [&] { return LayoutLMv2Tokenizer(with_layout_defaults(read_tokenizer_files(at.path, at.overrides))); });
}

BatchEncoding LayoutLMv2Tokenizer::operator()(const Words& words, const Boxes& boxes,
                                              const LayoutLMv2TokenizeOptions& options) const {
  return (*this)(std::vector<Words>{words}, std::vector<Boxes>{boxes}, options);
}

BatchEncoding LayoutLMv2Tokenizer::operator()(const std::string& question, const Words& words, const Boxes& boxes,
                                              const LayoutLMv2TokenizeOptions& options) const {
  return (*this)(std::vector<std::string>{question}, std::vector<Words>{words}, std::vector<Boxes>{boxes}, options);
}

BatchEncoding LayoutLMv2Tokenizer::operator()(const std::vector<Words>& words, const std::vector<Boxes>& boxes,
                                              const LayoutLMv2TokenizeOptions& options) const {
  return finish(BertTokenizer::operator()(words, options.tokenize), words, boxes, false, options);
}

BatchEncoding LayoutLMv2Tokenizer::operator()(const std::vector<std::string>& questions,
                                              const std::vector<Words>& words, const std::vector<Boxes>& boxes,
                                              const LayoutLMv2TokenizeOptions& options) const {
  std::vector<Words> split;
  for (const std::string& question : questions) split.push_back(split_at_white_space(question));
  return finish(BertTokenizer::operator()(split, words, options.tokenize), words, boxes, true, options);
}

BatchEncoding LayoutLMv2Tokenizer::finish(BatchEncoding encoding, const std::vector<Words>& words,
                                          const std::vector<Boxes>& boxes, bool is_pair,
                                          const LayoutLMv2TokenizeOptions& options) const {
  if (words.size() != boxes.size()) bad_argument("You must provide words and boxes for an equal amount of examples");
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].size() != boxes[i].size()) bad_argument("You must provide as many words as there are bounding boxes");
  }
  const bool has_labels = !options.word_labels.empty();
  if (has_labels && options.word_labels.size() != words.size()) {
    bad_argument("expected word_labels for " + std::to_string(words.size()) + " examples but got " +
                 std::to_string(options.word_labels.size()));
  }
  const auto cls = cls_token_id(), sep = sep_token_id(), pad = pad_token_id();
  BatchEncoding::Extra bbox{.key = "bbox", .width = 4, .padding = {pad_token_box_.begin(), pad_token_box_.end()}};
  BatchEncoding::Extra labels{.key = "labels", .padding = {pad_token_label_}};
  for (size_t r = 0; r < encoding.size(); ++r) {
    const auto sample = size_t(encoding.overflow_to_sample_mapping()[r]);
    std::vector<int64_t>& numbers = bbox.rows.emplace_back();
    std::vector<int64_t>& row_labels = labels.rows.emplace_back();
    for (const tokenizers::Token& token : encoding.row(r)) {
      const Box* box = nullptr;
      if (token.word >= 0) {
        box = is_pair && token.sequence == 0 ? &pad_token_box_ : &boxes[sample][size_t(token.word)];
      } else if (token.id == cls || token.id == sep) {
        box = token.id == cls ? &cls_token_box_ : &sep_token_box_;
      } else if (token.id == pad) {
        box = &pad_token_box_;
      } else {
        bad_argument("expected [CLS], [SEP] or padding around the words but got id " + std::to_string(token.id));
      }
      numbers.insert(numbers.end(), box->begin(), box->end());
      if (!has_labels) continue;
      int64_t label = pad_token_label_;
      if (token.word >= 0 && (!only_label_first_subword_ || token.begin == 0)) {
        const std::vector<int64_t>& given = options.word_labels[sample];
        if (size_t(token.word) >= given.size()) {
          bad_argument("expected a label for word " + std::to_string(token.word) + " but got " +
                       std::to_string(given.size()) + " labels");
        }
        label = given[size_t(token.word)];
      }
      row_labels.push_back(label);
    }
  }
  encoding.add(std::move(bbox));
  if (has_labels) encoding.add(std::move(labels));
  return encoding;
}

}  // namespace caracal
