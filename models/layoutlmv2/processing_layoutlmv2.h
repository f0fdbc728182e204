// LayoutLMv2Processor: an image processor (with its OCR) and a tokenizer as one.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>
#include <caracal/models/layoutlmv2/tokenization_layoutlmv2.h>

namespace caracal {

/// What a call is about, beside the pages. With OCR (the image processor's apply_ocr): nothing, or a question a page.
/// Without: words and boxes of each page, with word_labels or a question each.
struct LayoutLMv2ProcessorInputs {
  std::vector<std::string> questions = {};
  std::vector<LayoutLMv2Tokenizer::Words> words = {};
  std::vector<LayoutLMv2Tokenizer::Boxes> boxes = {};
  std::vector<std::vector<int64_t>> word_labels = {};
  TokenizeOptions tokenize = {};
};

/// A call's result: input_ids, token_type_ids, attention_mask, bbox and, with word_labels, labels, a row each (S) or
/// (S, 4) I64; and image, the page of each row (3, H, W) U8. The encoding tells where each token came from.
struct LayoutLMv2Features : BatchFeature {
  BatchEncoding encoding;
};

/// transformers.LayoutLMv2Processor. May be called from several threads at once.
class LayoutLMv2Processor {
 public:
  LayoutLMv2Processor(LayoutLMv2ImageProcessor image_processor, LayoutLMv2Tokenizer tokenizer);
  /// From a checkpoint directory: processor_config.json or preprocessor_config.json, and the tokenizer's files.
  static LayoutLMv2Processor from_pretrained(const std::string& path, const Json& image_overrides = {});

  /// With return_overflowing_tokens a page may have several rows, and its image is given for each. Throws
  /// invalid_argument for boxes or word_labels beside OCR, for neither OCR nor words and boxes, and for overflowing
  /// tokens without return_offsets_mapping; not_built for OCR without an engine.
  LayoutLMv2Features operator()(const std::vector<Tensor>& images, const LayoutLMv2ProcessorInputs& inputs = {}) const;

  /// Ids to text; see PreTrainedTokenizerBase.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const {
    return tokenizer_.decode(ids, skip_special_tokens);
  }
  std::vector<std::string> batch_decode(const std::vector<std::vector<int32_t>>& ids,
                                        bool skip_special_tokens = false) const {
    return tokenizer_.batch_decode(ids, skip_special_tokens);
  }
  /// Names of what calls give to a model.
  std::vector<std::string> model_input_names() const {
    return {"input_ids", "bbox", "token_type_ids", "attention_mask", "image"};
  }

  LayoutLMv2ImageProcessor& image_processor() noexcept { return image_processor_; }
  const LayoutLMv2ImageProcessor& image_processor() const noexcept { return image_processor_; }
  const LayoutLMv2Tokenizer& tokenizer() const noexcept { return tokenizer_; }
  /// Writes processor_config.json and the tokenizer's files, which transformers loads back.
  void save_pretrained(const std::string& directory) const;

 private:
  LayoutLMv2ImageProcessor image_processor_;
  LayoutLMv2Tokenizer tokenizer_;
};

}  // namespace caracal
