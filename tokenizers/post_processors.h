// Post-processors: the fourth stage of a tokenizer.json, putting special tokens around one text or a pair.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/encoding.h>

namespace caracal::tokenizers {

/// The text of a token, as Hugging Face's Encoding.tokens has it.
using TokenText = std::function<std::string_view(const Token&)>;

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  /// How many tokens process() adds to one text or to a pair.
  virtual size_t added_tokens(bool pair) const = 0;
  /// Works on one text or two, whose sequence and type ids are 0 and 1, and may join them; the caller joins what is
  /// left. Leaves special tokens out when add_special_tokens is false.
  virtual void process(RowParts& parts, bool add_special_tokens, const TokenText& text) const = 0;
  virtual Json to_json() const = 0;
};

/// Builds the component from the "post_processor" of a tokenizer.json; null for null. Throws unsupported naming a type
/// that is not built in.
std::shared_ptr<const PostProcessor> post_processor_from_json(const Json& json);

/// Texts and special tokens in the order of a template, such as "[CLS] $A [SEP] $B:1 [SEP]:1".
class TemplateProcessing : public PostProcessor {
 public:
  /// A text (sequence 0 or 1), or the special token `name` with its ids (sequence -1).
  struct Piece {
    int8_t sequence = -1;
    int32_t type_id = 0;
    std::string name = {};
    std::vector<int32_t> ids = {};
  };
  /// Throws bad_file when a template uses a text twice, or the pair template misses one.
  TemplateProcessing(std::vector<Piece> single, std::vector<Piece> pair);

  size_t added_tokens(bool pair) const override;
  void process(RowParts& parts, bool add_special_tokens, const TokenText& text) const override;
  Json to_json() const override;

 private:
  std::vector<Piece> single_, pair_;
};

/// <s> A </s>, and </s> B </s> for a pair, all of type 0; with `trim`, white space is taken out of the offsets.
std::shared_ptr<const PostProcessor> roberta_processing(std::pair<std::string, int32_t> sep,
                                                        std::pair<std::string, int32_t> cls, bool trim,
                                                        bool add_prefix_space);
/// [CLS] A [SEP], and B [SEP] of type 1 for a pair.
TemplateProcessing bert_template(const std::string& cls, int32_t cls_id, const std::string& sep, int32_t sep_id);

}  // namespace caracal::tokenizers
