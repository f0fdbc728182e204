// Pipelines that find the answer to a question in a text or on a page.
#pragma once

#include <caracal/models/layoutlmv2/processing_layoutlmv2.h>
#include <caracal/models/pipelines/base.h>

namespace caracal {

/// What both share: texts longer than the model takes are read in chunks, and the answer is the span of tokens whose
/// first and last one have the largest product of scores. Arguments: top_k (1), doc_stride (tokens that chunks share:
/// half of max_seq_len, but at most 128, for pages 256), max_seq_len (tokens of a chunk and the question: 384, for
/// pages as many as the model takes), max_answer_len (15 tokens), handle_impossible_answer (false; true: "" is an
/// answer), padding (on which answers do not depend).
class ExtractivePipeline : public Pipeline {
 protected:
  struct Choices : Settings {
    int64_t top_k = 1, max_answer_len = 15;
    int64_t max_seq_len = 0, doc_stride = 0;
    bool handle_impossible_answer = false, align_to_words = true;
    Json ocr = Json::Object{};  // arguments of the image processor
  };
  struct Span {
    size_t row = 0, start = 0, end = 0;  // the row of the input, the first and the last token
    float score = 0;
  };
  ExtractivePipeline(std::string task, AnyModel model, const PreTrainedTokenizerBase& tokenizer);
  std::shared_ptr<Choices> read(const Arguments& arguments, int64_t longest, int64_t most_shared) const;
  TokenizeOptions tokenize_options(const Choices& choices) const;
  /// The best `count` spans of each row, the best first; spans of probability 0 are left out. `null_score` receives the
  /// lowest score, over the rows, of the answer that there is none.
  std::vector<Span> best_spans(const Prepared& prepared, const ModelOutput& output, int64_t first, int64_t count,
                               int64_t max_answer_len, float& null_score) const;
  /// The best of `answers` by their scores.
  static Json::Array best_answers(Json::Array answers, int64_t top_k);

 private:
  std::optional<int32_t> cls_;
};

/// The question-answering pipeline of transformers 4 (5 has none): `text` is the question, `text_pair` the context.
/// `{"score", "start", "end", "answer"}`, start and end in code points of the context; with several answers a list. Two
/// arguments more: align_to_words (true) and max_question_len, which as in transformers does nothing with a fast
/// tokenizer. Throws invalid_argument for an empty question or context.
class QuestionAnsweringPipeline final : public ExtractivePipeline {
 public:
  QuestionAnsweringPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : ExtractivePipeline("question-answering", std::move(model), tokenizer), tokenizer_(std::move(tokenizer)) {}

 protected:
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  PreTrainedTokenizerBase tokenizer_;
};

/// transformers.DocumentQuestionAnsweringPipeline for LayoutLMv2: `text` is the question, `image` or `file` the page,
/// whose words come from OCR (PipelineFiles::ocr) or are `words` and `boxes`. A list of
/// `{"score", "answer", "start", "end"}`, start and end are the first and last word. Two arguments more, for OCR: lang
/// and tesseract_config.
class DocumentQuestionAnsweringPipeline final : public ExtractivePipeline {
 public:
  DocumentQuestionAnsweringPipeline(AnyModel model, LayoutLMv2Processor processor, PipelineFiles files);

 protected:
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  LayoutLMv2Processor processor_;
  PipelineFiles files_;
};

}  // namespace caracal
