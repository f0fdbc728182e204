#include <caracal/models/layoutlmv2/processing_layoutlmv2.h>

#include <caracal/loaders/hub_cache.h>

#include <utility>

namespace caracal {
namespace {

void check(bool ok, const std::string& what) {
  if (!ok) throw Error(ErrorCode::invalid_argument, "LayoutLMv2Processor", what);
}

Tensor row_of(std::vector<int32_t> values) {
  return Tensor::from(std::vector<int64_t>(values.begin(), values.end()), {int64_t(values.size())});
}

}  // namespace

LayoutLMv2Processor::LayoutLMv2Processor(LayoutLMv2ImageProcessor image_processor, LayoutLMv2Tokenizer tokenizer)
    : image_processor_(std::move(image_processor)), tokenizer_(std::move(tokenizer)) {}

LayoutLMv2Processor LayoutLMv2Processor::from_pretrained(const std::string& path, const Json& image_overrides) {
  const LocatedFiles at = locate_files(path, HubPart::processor, image_overrides);
  return {LayoutLMv2ImageProcessor::from_pretrained(at.path, at.overrides),
          LayoutLMv2Tokenizer::from_pretrained(at.path)};
}

LayoutLMv2Features LayoutLMv2Processor::operator()(const std::vector<Tensor>& images,
                                                   const LayoutLMv2ProcessorInputs& inputs) const {
  const bool ocr = image_processor_.attribute("apply_ocr") == Json(true);
  check(!ocr || inputs.boxes.empty(), "expected no boxes with an image processor whose apply_ocr is true");
  check(!ocr || inputs.word_labels.empty(), "expected no word_labels with an image processor whose apply_ocr is true");
  check(!ocr || inputs.words.empty(), "expected no words with an image processor whose apply_ocr is true");
  check(ocr || (inputs.words.size() == images.size() && inputs.boxes.size() == images.size()),
        "expected words and boxes for each of " + std::to_string(images.size()) + " pages but got " +
            std::to_string(inputs.words.size()) + " and " + std::to_string(inputs.boxes.size()));
  check(inputs.questions.empty() || inputs.questions.size() == images.size(),
        "expected a question for each of " + std::to_string(images.size()) + " pages but got " +
            std::to_string(inputs.questions.size()));

  BatchFeature pages = image_processor_(images);
  const LayoutLMv2TokenizeOptions options{.tokenize = inputs.tokenize, .word_labels = inputs.word_labels};
  const auto& words = ocr ? pages.words : inputs.words;
  const auto& boxes = ocr ? pages.boxes : inputs.boxes;
  LayoutLMv2Features features;
  features.encoding = inputs.questions.empty() ? tokenizer_(words, boxes, options)
                                               : tokenizer_(inputs.questions, words, boxes, options);
  const BatchEncoding& encoding = features.encoding;
  std::vector<Tensor> ids, types, mask, bbox, labels, image;
  for (size_t i = 0; i < encoding.size(); i++) {
    ids.push_back(row_of(encoding.input_ids(i)));
    types.push_back(row_of(encoding.token_type_ids(i)));
    mask.push_back(row_of(encoding.attention_mask(i)));
    const int64_t tokens = ids.back().numel();
    bbox.push_back(Tensor::from(encoding.extra("bbox", i), {tokens, 4}));
    if (!inputs.word_labels.empty()) labels.push_back(Tensor::from(encoding.extra("labels", i), {tokens}));
    image.push_back(pages.list("pixel_values")[size_t(encoding.overflow_to_sample_mapping()[i])]);
  }
  features.set("input_ids", std::move(ids));
  features.set("token_type_ids", std::move(types));
  features.set("attention_mask", std::move(mask));
  features.set("bbox", std::move(bbox));
  if (!labels.empty()) features.set("labels", std::move(labels));
  features.set("image", std::move(image));
  features.words = std::move(pages.words);
  features.boxes = std::move(pages.boxes);
  return features;
}

void LayoutLMv2Processor::save_pretrained(const std::string& directory) const {
  save_processor_config(directory, "LayoutLMv2Processor", "image_processor", image_processor_.to_dict());
  tokenizer_.save_pretrained(directory);
}

}  // namespace caracal
