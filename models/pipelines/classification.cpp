#include <caracal/models/pipelines/classification.h>

#include <algorithm>

#include <caracal/models/pipelines/scores.h>

namespace caracal {

ClassificationPipeline::ClassificationPipeline(std::string task, AnyModel model)
    : Pipeline(std::move(task), model), labels_(labels_of(model->config())) {}

std::string ClassificationPipeline::default_function() const {
  const Json& problem = model().config().problem_type;
  if (problem == Json("regression")) return "none";
  return problem == Json("multi_label_classification") || labels_.size() == 1 ? "sigmoid" : "softmax";
}

void ClassificationPipeline::read(const Arguments& arguments, Choices& choices) const {
  choices.function = arguments.choice("function_to_apply", {"softmax", "sigmoid", "none"});
  if (choices.function.empty()) choices.function = default_function();
  const bool none = arguments.given("top_k") && arguments.find("top_k") == nullptr;
  choices.top_k = none ? top_k_of_none() : arguments.integer("top_k", 1).value_or(default_top_k());
}

Json ClassificationPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const auto& choices = static_cast<const Choices&>(settings);
  const Tensor row = batch_row(output.logits, first);  // (C)
  const std::span<const float> logits = row.values<float>();
  const std::vector<float> scores = choices.function == "softmax"   ? softmax(logits)
                                    : choices.function == "sigmoid" ? sigmoid(logits)
                                                                    : std::vector(logits.begin(), logits.end());
  Json::Array result;
  for (int64_t i : top_k(scores, choices.top_k))
    result.emplace_back(Json{{"label", labels_.at(size_t(i))}, {"score", double(scores[size_t(i)])}});
  return result;
}

std::shared_ptr<const Pipeline::Settings> TextClassificationPipeline::settings(const Arguments& arguments) const {
  auto choices = std::make_shared<TextChoices>();
  read(arguments, *choices);
  choices->tokenize = arguments.tokenizer_options();
  return choices;
}

Pipeline::Prepared TextClassificationPipeline::preprocess(const PipelineInput& input, const Settings& settings) const {
  const TextInput text = input.text_pair.empty() ? TextInput(input.text) : TextInput(input.text, input.text_pair);
  return prepare(tokenizer_({text}, static_cast<const TextChoices&>(settings).tokenize));
}

Pipeline::Prepared ImageClassificationPipeline::preprocess(const PipelineInput& input, const Settings&) const {
  return {pixels_of(*processor_, image_of(input, files_)), {}, {}};
}

std::string AudioClassificationPipeline::default_function() const {
  const Json& problem = model().config().problem_type;
  return problem == Json("regression") ? "none" : problem == Json("multi_label_classification") ? "sigmoid" : "softmax";
}

Pipeline::Prepared AudioClassificationPipeline::preprocess(const PipelineInput& input, const Settings&) const {
  return {extractor_({audio_of(model().runtime(), input, files_, extractor_.sampling_rate())},
                     {.return_attention_mask = true}),
          {},
          {}};
}

Json AudioClassificationPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  Json result = ClassificationPipeline::postprocess(outcome, settings);
  for (Json& each : result.as_array()) std::ranges::reverse(each.as_object());
  return result;
}

Pipeline::Prepared MultipleChoicePipeline::preprocess(const PipelineInput& input, const Settings&) const {
  if (input.texts.empty()) refuse("expected a prompt and choices but got no choices");
  const std::vector<std::string> prompts(input.texts.size(), input.text);
  const BatchEncoding encoding = tokenizer_(prompts, input.texts, {.padding = true});
  expect_tokens(encoding);
  Prepared prepared;
  for (const std::string& name : encoding.keys()) prepared.set(name, {encoding.padded(name)});  // (choices, S)
  return prepared;
}

Json MultipleChoicePipeline::postprocess(const Outcome& outcome, const Settings&) const {
  const auto& [input, prepared, output, first] = outcome;
  const Tensor row = batch_row(output.logits, first);  // (choices), perhaps with those of longer neighbours behind
  const std::vector<float> scores = softmax(row.values<float>().subspan(0, input.texts.size()));
  Json::Array result;
  for (int64_t i : top_k(scores, int64_t(scores.size())))
    result.emplace_back(Json{{"score", double(scores[size_t(i)])}, {"choice", i}, {"text", input.texts[size_t(i)]}});
  return result;
}

}  // namespace caracal
