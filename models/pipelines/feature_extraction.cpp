#include <caracal/models/pipelines/feature_extraction.h>

#include <caracal/models/tokenization_auto.h>

namespace caracal {
namespace {

// The first `rows` rows of (S, H), or all of (H), as nested lists with a batch of one around them.
Json nested(const Tensor& features, int64_t rows = 0) {
  auto list = [](const Tensor& row) {
    Json::Array numbers;
    for (float value : row.values<float>()) numbers.emplace_back(double(value));
    return numbers;
  };
  if (features.rank() == 1) return Json::Array{list(features)};
  Json::Array lists;
  for (int64_t i = 0; i < rows; i++) lists.emplace_back(list(batch_row(features, i)));
  return Json::Array{Json(std::move(lists))};
}

}  // namespace

FeatureExtractionPipeline FeatureExtractionPipeline::from_pretrained(const std::string& path,
                                                                     const LoadOptions& options) {
  const std::string directory = checkpoint_directory(path, options, HubPart::everything);
  LoadOptions base = options;
  base.subfolder.clear();
  base.add_pooling_layer = false;
  AnyModel model = AutoModel::from_pretrained(directory, base);
  PreTrainedTokenizerBase tokenizer = AutoTokenizer::from_pretrained(directory);
  log_warnings(model, tokenizer);
  return {std::move(model), std::move(tokenizer)};
}

std::vector<Tensor> FeatureExtractionPipeline::features(const std::vector<std::string>& texts) const {
  const BatchEncoding encoding = tokenizer_(texts);
  const ModelOutput output = model()(encoding);  // (B, S, H)
  std::vector<Tensor> result;
  for (size_t b = 0; b < texts.size(); b++)
    result.push_back(batch_row(output.last_hidden_state, int64_t(b)).rows(0, int64_t(encoding.row(b).size())).clone());
  return result;
}

std::shared_ptr<const Pipeline::Settings> FeatureExtractionPipeline::settings(const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  choices->tokenize = arguments.tokenizer_options("tokenize_kwargs");
  if (const Truncate truncation = arguments.truncation(); truncation.given()) {
    if (choices->tokenize.truncation.given())
      arguments.refuse("truncation", "expected it once but got it in tokenize_kwargs too");
    choices->tokenize.truncation = truncation;
  }
  return choices;
}

Pipeline::Prepared FeatureExtractionPipeline::preprocess(const PipelineInput& input, const Settings& settings) const {
  return prepare(tokenizer_({TextInput(input.text)}, static_cast<const Choices&>(settings).tokenize));
}

Json FeatureExtractionPipeline::postprocess(const Outcome& outcome, const Settings&) const {
  const auto& [input, prepared, output, first] = outcome;
  return nested(batch_row(output.last_hidden_state, first), int64_t(prepared.encoding.row(0).size()));
}

std::shared_ptr<const Pipeline::Settings> ImageFeatureExtractionPipeline::settings(const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  choices->pool = arguments.flag("pool", false);
  if (const Json* values = arguments.find("image_processor_kwargs")) {
    if (!values->is_object())
      arguments.refuse("image_processor_kwargs", "expected an object but got " + values->dump());
    choices->image_processor_kwargs = *values;
  }
  return choices;
}

Pipeline::Prepared ImageFeatureExtractionPipeline::preprocess(const PipelineInput& input,
                                                              const Settings& settings) const {
  const Json& kwargs = static_cast<const Choices&>(settings).image_processor_kwargs;
  return {pixels_of(*processor_, image_of(input, files_), kwargs), {}, {}};
}

Json ImageFeatureExtractionPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  if (!static_cast<const Choices&>(settings).pool) {
    const Tensor features = batch_row(output.last_hidden_state, first);  // (S, H)
    return nested(features, features.size(0));
  }
  if (!output.pooler_output.defined()) refuse("expected a model with a pooler for pool but this one has none");
  return nested(batch_row(output.pooler_output, first));
}

std::shared_ptr<const Pipeline::Settings> SentenceSimilarityPipeline::settings(const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  choices->prompt =
      sentences_.prompt_of({.prompt_name = arguments.text("prompt_name"), .prompt = arguments.text("prompt")});
  return choices;
}

Pipeline::Prepared SentenceSimilarityPipeline::preprocess(const PipelineInput& input, const Settings& settings) const {
  if (input.texts.empty()) refuse("expected a source sentence and at least one other but got no other");
  std::vector<std::string> texts{input.text};
  texts.insert(texts.end(), input.texts.begin(), input.texts.end());
  return as_rows(sentences_.tokenize(texts, static_cast<const Choices&>(settings).prompt));
}

Json SentenceSimilarityPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const int64_t count = int64_t(prepared.encoding.size());
  const Tensor embeddings = sentences_.pool(output.last_hidden_state.rows(first, first + count), prepared.encoding,
                                            static_cast<const Choices&>(settings).prompt);  // (count, H)
  const Tensor scores = sentences_.similarity(embeddings.rows(0, 1), embeddings.rows(1, count));
  Json::Array result;
  for (float score : scores.values<float>()) result.emplace_back(double(score));
  return result;
}

}  // namespace caracal
