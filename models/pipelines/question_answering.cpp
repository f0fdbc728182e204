#include <caracal/models/pipelines/question_answering.h>

#include <algorithm>

#include <caracal/models/pipelines/code_points.h>
#include <caracal/models/pipelines/scores.h>
#include <caracal/models/pipelines/token_classification.h>

namespace caracal {
namespace {

// Where the word of token `at` begins, or ends, in the text; of what the row has of it.
std::pair<int64_t, int64_t> word_span(std::span<const tokenizers::Token> row, size_t at) {
  auto same = [&](size_t i) { return row[i].word == row[at].word && row[i].sequence == row[at].sequence; };
  size_t begin = at, end = at;
  while (row[at].word >= 0 && begin > 0 && same(begin - 1)) begin--;
  while (row[at].word >= 0 && end + 1 < row.size() && same(end + 1)) end++;
  return {row[begin].begin, row[end].end};
}

}  // namespace

ExtractivePipeline::ExtractivePipeline(std::string task, AnyModel model, const PreTrainedTokenizerBase& tokenizer)
    : Pipeline(std::move(task), std::move(model)), cls_(tokenizer.cls_token_id()) {
  if (tokenizer.padding_side() != "right")
    throw Error(ErrorCode::unsupported, this->task(), "expected a tokenizer whose padding_side is right but got left");
}

std::shared_ptr<ExtractivePipeline::Choices> ExtractivePipeline::read(const Arguments& arguments, int64_t longest,
                                                                      int64_t most_shared) const {
  auto choices = std::make_shared<Choices>();
  constexpr int64_t kMostAnswers = 1 << 20;
  choices->top_k = std::min(arguments.integer("top_k", 1).value_or(1), kMostAnswers);
  choices->max_answer_len = arguments.integer("max_answer_len", 1).value_or(15);
  choices->max_seq_len = arguments.integer("max_seq_len", 1).value_or(longest);
  choices->doc_stride = arguments.integer("doc_stride", 0).value_or(std::min(choices->max_seq_len / 2, most_shared));
  choices->handle_impossible_answer = arguments.flag("handle_impossible_answer", false);
  // Answers do not depend on the padding.
  if (const Json* padding = arguments.find("padding"); padding != nullptr && !padding->is_bool())
    arguments.choice("padding", {"longest", "max_length", "do_not_pad"});
  if (choices->doc_stride > choices->max_seq_len)
    arguments.refuse("doc_stride", "expected at most max_seq_len (" + std::to_string(choices->max_seq_len) +
                                       ") but got " + std::to_string(choices->doc_stride));
  return choices;
}

TokenizeOptions ExtractivePipeline::tokenize_options(const Choices& choices) const {
  return {.truncation = "only_second",
          .max_length = choices.max_seq_len,
          .stride = choices.doc_stride,
          .return_overflowing_tokens = true};
}

std::vector<ExtractivePipeline::Span> ExtractivePipeline::best_spans(const Prepared& prepared,
                                                                     const ModelOutput& output, int64_t first,
                                                                     int64_t count, int64_t max_answer_len,
                                                                     float& null_score) const {
  null_score = 1'000'000;
  std::vector<Span> all;
  for (size_t r = 0; r < prepared.encoding.size(); r++) {
    const std::span<const tokenizers::Token> row = prepared.encoding.row(r);
    // Of the text and of [CLS], which stands for "no answer", count; all others have no share in the softmax.
    auto counts = [&](size_t i) { return row[i].sequence == 1 || row[i].id == cls_; };
    auto scores_of = [&](const Tensor& logits) {
      const Tensor values = batch_row(logits, first + int64_t(r));  // (S), perhaps longer
      std::vector<float> scores(values.data<float>(), values.data<float>() + row.size());
      for (size_t i = 0; i < row.size(); i++)
        if (!counts(i)) scores[i] = -10000;
      return softmax(scores);
    };
    std::vector<float> start = scores_of(output.start_logits), end = scores_of(output.end_logits);
    null_score = std::min(null_score, start[0] * end[0]);
    start[0] = end[0] = 0;
    std::vector<Span> spans;
    for (size_t s = 0; s < row.size(); s++) {
      for (size_t e = s; counts(s) && e < row.size() && e - s < size_t(max_answer_len); e++)
        if (const float score = start[s] * end[e]; counts(e) && score > 0) spans.push_back({r, s, e, score});
    }
    const auto middle = spans.begin() + std::min(count, int64_t(spans.size()));
    std::ranges::partial_sort(spans, middle, [](const Span& a, const Span& b) {
      return a.score != b.score ? a.score > b.score : std::pair(a.start, a.end) < std::pair(b.start, b.end);
    });
    all.insert(all.end(), spans.begin(), middle);
  }
  return all;
}

Json::Array ExtractivePipeline::best_answers(Json::Array answers, int64_t top_k) {
  std::ranges::stable_sort(
      answers, [](const Json& a, const Json& b) { return a.at("score").as_double() > b.at("score").as_double(); });
  if (int64_t(answers.size()) > top_k) answers.resize(size_t(top_k));
  return answers;
}

std::shared_ptr<const Pipeline::Settings> QuestionAnsweringPipeline::settings(const Arguments& arguments) const {
  auto choices = read(arguments, std::min<int64_t>(tokenizer_.model_max_length(), 384), 128);
  choices->align_to_words = arguments.flag("align_to_words", true);
  arguments.integer("max_question_len", 1);  // transformers heeds it with slow tokenizers alone
  return choices;
}

Pipeline::Prepared QuestionAnsweringPipeline::preprocess(const PipelineInput& input, const Settings& settings) const {
  if (input.text.empty() || input.text_pair.empty())
    refuse(std::string("expected a question and a context but the ") + (input.text.empty() ? "question" : "context") +
           " is empty");
  return prepare(
      tokenizer_({TextInput(input.text, input.text_pair)}, tokenize_options(static_cast<const Choices&>(settings))));
}

Json QuestionAnsweringPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const auto& choices = static_cast<const Choices&>(settings);
  const CodePoints context(input.text_pair);
  float null_score;
  const int64_t count = choices.align_to_words ? choices.top_k * 2 + 10 : choices.top_k;  // some become one answer
  Json::Array answers;
  std::vector<std::string> lowered;  // answers that differ in case only are one
  for (const Span& span : best_spans(prepared, output, first, count, choices.max_answer_len, null_score)) {
    const std::span<const tokenizers::Token> row = prepared.encoding.row(span.row);
    const bool align = choices.align_to_words && row[span.start].word >= 0 && row[span.end].word >= 0;
    const int64_t begin = align ? word_span(row, span.start).first : int64_t(row[span.start].begin),
                  end = align ? word_span(row, span.end).second : int64_t(row[span.end].end);
    const std::string answer(context.slice(size_t(begin), size_t(end)));
    const auto known = std::ranges::find(lowered, tokenizers::unicode::to_lower(answer));
    if (known != lowered.end()) {
      Json& score = answers[size_t(known - lowered.begin())];
      score.set("score", score.at("score").as_double() + double(span.score));
      continue;
    }
    lowered.push_back(tokenizers::unicode::to_lower(answer));
    answers.emplace_back(Json{{"score", double(span.score)}, {"start", begin}, {"end", end}, {"answer", answer}});
  }
  if (choices.handle_impossible_answer)
    answers.emplace_back(Json{{"score", double(null_score)}, {"start", 0}, {"end", 0}, {"answer", ""}});
  answers = best_answers(std::move(answers), choices.top_k);
  return answers.size() == 1 ? answers[0] : Json(std::move(answers));
}

DocumentQuestionAnsweringPipeline::DocumentQuestionAnsweringPipeline(AnyModel model, LayoutLMv2Processor processor,
                                                                     PipelineFiles files)
    : ExtractivePipeline("document-question-answering", std::move(model), processor.tokenizer()),
      processor_(std::move(processor)),
      files_(std::move(files)) {
  processor_.image_processor().set_ocr_engine(files_.ocr);
}

std::shared_ptr<const Pipeline::Settings> DocumentQuestionAnsweringPipeline::settings(
    const Arguments& arguments) const {
  auto choices = read(arguments, processor_.tokenizer().model_max_length(), 256);
  if (const auto lang = arguments.text("lang")) choices->ocr.set("ocr_lang", *lang);
  if (const auto config = arguments.text("tesseract_config")) choices->ocr.set("tesseract_config", *config);
  return choices;
}

Pipeline::Prepared DocumentQuestionAnsweringPipeline::preprocess(const PipelineInput& input,
                                                                 const Settings& settings) const {
  if (input.text.empty()) refuse("expected a question about the page but it is empty");
  const auto& choices = static_cast<const Choices&>(settings);
  BatchFeature page = read_page(input, processor_.image_processor(), files_, false, choices.ocr);
  Prepared prepared =
      prepare(processor_.tokenizer()({input.text}, page.words, page.boxes, {.tokenize = tokenize_options(choices)}));
  prepared.set("image", std::vector<Tensor>(prepared.encoding.size(), page.list("pixel_values")[0]));
  prepared.words = std::move(page.words);
  return prepared;
}

Json DocumentQuestionAnsweringPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const auto& choices = static_cast<const Choices&>(settings);
  float null_score;
  Json::Array answers;
  for (const Span& span : best_spans(prepared, output, first, choices.top_k, choices.max_answer_len, null_score)) {
    const std::span<const tokenizers::Token> row = prepared.encoding.row(span.row);
    const int32_t begin = row[span.start].word, end = row[span.end].word;
    if (begin < 0 || end < 0) continue;
    std::string answer;
    for (int32_t word = begin; word <= end; word++)
      answer += (word > begin ? " " : "") + prepared.words[0].at(size_t(word));
    answers.emplace_back(
        Json{{"score", double(span.score)}, {"answer", answer}, {"start", int64_t(begin)}, {"end", int64_t(end)}});
  }
  if (choices.handle_impossible_answer)
    answers.emplace_back(Json{{"score", double(null_score)}, {"answer", ""}, {"start", 0}, {"end", 0}});
  return best_answers(std::move(answers), choices.top_k);
}

}  // namespace caracal
