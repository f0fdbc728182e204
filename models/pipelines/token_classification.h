// Pipelines that label the words of a text or of a page.
#pragma once

#include <caracal/models/layoutlmv2/processing_layoutlmv2.h>
#include <caracal/models/pipelines/base.h>
#include <caracal/models/pipelines/code_points.h>

namespace caracal {

/// How tokens become entities: not at all; neighbours of one label together ("B-" begins a new one); the same with one
/// label a word, which is its first token's, that of the mean of its tokens' scores, or of the token that is surest.
enum class AggregationStrategy { none, simple, first, average, max };

/// The entity that a label names and whether the label begins it: "B-PER" -> (true, "PER").
std::pair<bool, std::string> split_label(const std::string& label);

/// transformers.TokenClassificationPipeline. For each token `{"entity", "score", "index", "word", "start", "end"}`, or
/// aggregated `{"entity_group", "score", "word", "start", "end"}`; start and end count code points. `text`, or its
/// `words`, between which `delimiter` stands. Arguments: aggregation_strategy ("none"), ignore_labels (["O"]),
/// delimiter
/// (" "), and stride: a text longer than the model takes is read in chunks that share so many tokens (with a strategy
/// other than "none"); without it, it is cut.
class TokenClassificationPipeline final : public Pipeline {
 public:
  TokenClassificationPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer);

 protected:
  struct Choices : Settings {
    AggregationStrategy strategy = AggregationStrategy::none;
    std::vector<std::string> ignored{"O"};
    std::optional<int64_t> stride;
    std::string delimiter = " ";
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  // A token, a word of several or a group of words, on the way from logits to entities.
  struct Entity {
    std::vector<float> scores;  // of all labels, softmax
    std::string label;
    float score = 0;
    int64_t index = 0, start = 0, end = 0;
    std::string word;
    bool continues = false;  // a part of a word that is not its first
  };
  std::vector<Entity> tokens_of(const Prepared& prepared, size_t row, const Tensor& logits, const PipelineInput& input,
                                const CodePoints& text, const Choices& choices) const;
  Entity word_of(std::span<const Entity> tokens, AggregationStrategy strategy) const;
  std::vector<Entity> words_of(const std::vector<Entity>& tokens, AggregationStrategy strategy) const;
  std::vector<Entity> groups_of(const std::vector<Entity>& words) const;
  void label(Entity& entity) const;

  PreTrainedTokenizerBase tokenizer_;
  std::vector<std::string> labels_;
  bool marks_subwords_;  // tokens of the vocabulary tell whether they continue a word
};

/// Labels the words of a page: by OCR (PipelineFiles::ocr), or `words` and `boxes`. transformers has no such pipeline:
/// as its documentation of LayoutLMv2 does, a word has the label of its first token, and the image processor's and
/// tokenizer's defaults hold. For each word that is not "O" `{"entity", "score", "index", "word", "box"}`, or with
/// aggregation_strategy "simple" neighbours together, as in TokenClassificationPipeline:
/// `{"entity_group", "score": the mean, "word", "box": around all}`. Boxes are in thousandths of the page.
class DocumentTokenClassificationPipeline final : public Pipeline {
 public:
  DocumentTokenClassificationPipeline(AnyModel model, LayoutLMv2Processor processor, PipelineFiles files);

 protected:
  struct Choices : Settings {
    bool simple = false;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  LayoutLMv2Processor processor_;
  PipelineFiles files_;
  std::vector<std::string> labels_;
};

/// The image processor's result for a page, with `words` and `boxes` as given or as OCR reads them; `arguments` are the
/// processor's. Throws invalid_argument when there is a box too many or too few, not_built for OCR without an engine.
BatchFeature read_page(const PipelineInput& input, const LayoutLMv2ImageProcessor& processor,
                       const PipelineFiles& files, bool text_is_file, Json arguments = Json::Object{});

}  // namespace caracal
