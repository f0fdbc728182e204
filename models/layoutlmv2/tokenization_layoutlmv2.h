// LayoutLMv2Tokenizer: the words of a page with their boxes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <caracal/models/bert/tokenization_bert.h>

namespace caracal {

/// A box (x0, y0, x1, y1) on a page of 1000 by 1000.
using Box = std::array<int64_t, 4>;

/// The keyword arguments of a call: those of every tokenizer (is_split_into_words is implied), and labels of words.
struct LayoutLMv2TokenizeOptions {
  TokenizeOptions tokenize = {};
  std::vector<std::vector<int64_t>> word_labels = {};  ///< one list an example, as long as its words; or empty
};

/// transformers' LayoutLMv2Tokenizer: BERT's WordPiece over words. A call adds the keys bbox (B, S, 4), the box of each
/// token's word, and with word_labels labels (B, S).
class LayoutLMv2Tokenizer : public BertTokenizer {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.txt"}, {"only_label_first_subword", false}}.
  explicit LayoutLMv2Tokenizer(const Json& arguments);
  /// `path` is a directory, a tokenizer.json or a vocab.txt.
  static LayoutLMv2Tokenizer from_pretrained(const std::string& path, const Json& overrides = {});

  using Words = std::vector<std::string>;
  using Boxes = std::vector<Box>;
  /// One page; all throw invalid_argument when there are not as many boxes (and labels) as words.
  BatchEncoding operator()(const Words& words, const Boxes& boxes, const LayoutLMv2TokenizeOptions& options = {}) const;
  /// A question, split at white space, about one page; its tokens get the box of the padding token.
  BatchEncoding operator()(const std::string& question, const Words& words, const Boxes& boxes,
                           const LayoutLMv2TokenizeOptions& options = {}) const;
  /// Several pages.
  BatchEncoding operator()(const std::vector<Words>& words, const std::vector<Boxes>& boxes,
                           const LayoutLMv2TokenizeOptions& options = {}) const;
  /// Several questions, each about a page.
  BatchEncoding operator()(const std::vector<std::string>& questions, const std::vector<Words>& words,
                           const std::vector<Boxes>& boxes, const LayoutLMv2TokenizeOptions& options = {}) const;

 private:
  explicit LayoutLMv2Tokenizer(const TokenizerFiles& files);
  BatchEncoding finish(BatchEncoding encoding, const std::vector<Words>& words, const std::vector<Boxes>& boxes,
                       bool is_pair, const LayoutLMv2TokenizeOptions& options) const;

  Box cls_token_box_{0, 0, 0, 0}, sep_token_box_{1000, 1000, 1000, 1000}, pad_token_box_{0, 0, 0, 0};
  int64_t pad_token_label_ = -100;
  bool only_label_first_subword_ = true;
};

using LayoutLMv2TokenizerFast = LayoutLMv2Tokenizer;

}  // namespace caracal
