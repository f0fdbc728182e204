#include <caracal/models/pipelines/pipeline.h>

#include <algorithm>
#include <filesystem>

#include <caracal/loaders/checkpoint.h>
#include <caracal/models/pipelines/automatic_speech_recognition.h>
#include <caracal/models/pipelines/classification.h>
#include <caracal/models/pipelines/feature_extraction.h>
#include <caracal/models/pipelines/fill_mask.h>
#include <caracal/models/pipelines/question_answering.h>
#include <caracal/models/pipelines/token_classification.h>
#include <caracal/models/tokenization_auto.h>

namespace caracal {
namespace {

using Made = std::unique_ptr<Pipeline>;

// What a task is made of; the factory has loaded the model, if auto_class names one.
struct Source {
  std::string directory;
  const LoadOptions& load;
  const PipelineFiles& files;
};
struct Task {
  std::string_view name;
  const char* auto_class;
  enum class Models { any, documents, images, others } models;  // of which model types
  Made (*make)(AnyModel model, const Source& source);
};

template <class P>
Made of_text(AnyModel model, const Source& s) {
  PreTrainedTokenizerBase tokenizer = AutoTokenizer::from_pretrained(s.directory);
  log_warnings(model, tokenizer);
  return std::make_unique<P>(std::move(model), std::move(tokenizer));
}
template <class P>
Made of_image(AnyModel model, const Source& s) {
  return std::make_unique<P>(std::move(model), AutoImageProcessor::from_pretrained(s.directory), s.files);
}
template <class P>
Made of_page(AnyModel model, const Source& s) {
  LayoutLMv2Processor processor = LayoutLMv2Processor::from_pretrained(s.directory);
  log_warnings(model, processor.tokenizer());
  return std::make_unique<P>(std::move(model), std::move(processor), s.files);
}
Made of_audio(AnyModel model, const Source& s) {
  return std::make_unique<AudioClassificationPipeline>(std::move(model),
                                                       AutoFeatureExtractor::from_pretrained(s.directory), s.files);
}
Made of_speech(AnyModel model, const Source& s) {
  Wav2Vec2Processor processor = Wav2Vec2Processor::from_pretrained(s.directory);
  log_warnings(model, processor.tokenizer());
  return std::make_unique<AutomaticSpeechRecognitionPipeline>(std::move(model), std::move(processor), s.files);
}
Made of_sentences(AnyModel, const Source& s) {
  return std::make_unique<SentenceSimilarityPipeline>(SentenceTransformer::from_pretrained(s.directory, s.load));
}

using Models = Task::Models;
constexpr const char* kBase = "AutoModel";
constexpr Task kTasks[] = {
    {"audio-classification", "AutoModelForAudioClassification", Models::any, of_audio},
    {"automatic-speech-recognition", "AutoModelForCTC", Models::any, of_speech},
    {"document-question-answering", "AutoModelForDocumentQuestionAnswering", Models::documents,
     of_page<DocumentQuestionAnsweringPipeline>},
    {"document-token-classification", "AutoModelForTokenClassification", Models::documents,
     of_page<DocumentTokenClassificationPipeline>},
    {"feature-extraction", kBase, Models::others, of_text<FeatureExtractionPipeline>},
    {"fill-mask", "AutoModelForMaskedLM", Models::any, of_text<FillMaskPipeline>},
    {"image-classification", "AutoModelForImageClassification", Models::any, of_image<ImageClassificationPipeline>},
    {"image-feature-extraction", kBase, Models::images, of_image<ImageFeatureExtractionPipeline>},
    {"multiple-choice", "AutoModelForMultipleChoice", Models::any, of_text<MultipleChoicePipeline>},
    {"question-answering", "AutoModelForQuestionAnswering", Models::others, of_text<QuestionAnsweringPipeline>},
    {"sentence-similarity", nullptr, Models::others, of_sentences},
    {"text-classification", "AutoModelForSequenceClassification", Models::others, of_text<TextClassificationPipeline>},
    {"token-classification", "AutoModelForTokenClassification", Models::others, of_text<TokenClassificationPipeline>},
};

Models kind_of(const PretrainedConfig& config) {
  const std::string_view type = config.model_type();
  return type == "layoutlmv2" ? Models::documents : type == "vit" ? Models::images : Models::others;
}

// The class that loads the task's model; empty when the configuration's model type does not have it.
std::string class_of(const Task& task, const PretrainedConfig& config) {
  if (task.models != Models::any && task.models != kind_of(config)) return {};
  if (config.model_type() == std::string_view("wav2vec2") && task.auto_class == kBase) return {};
  try {
    return task.auto_class == nullptr ? std::string() : find_model(task.auto_class, config).class_name;
  } catch (const Error&) {
    return {};
  }
}

std::vector<std::string> architectures_of(const PretrainedConfig& config) {
  std::vector<std::string> names;
  if (config.architectures.is_array())
    for (const Json& name : config.architectures.as_array())
      if (name.is_string()) names.push_back(name.as_string());
  return names;
}

const Task& find_task(std::string name, const PretrainedConfig& config) {
  if (name == "sentiment-analysis") name = "text-classification";
  if (name == "ner") name = "token-classification";
  if (kind_of(config) == Models::documents && (name == "token-classification" || name == "question-answering"))
    name = "document-" + name;
  std::string known;
  for (const Task& task : kTasks) {
    if (task.name == name) return task;
    known += (known.empty() ? "" : ", ") + std::string(task.name);
  }
  throw Error(ErrorCode::unsupported, "pipeline", "expected a task among " + known + " but got '" + name + "'");
}

// Throws when the checkpoint was not made for the task: its head would be random.
void expect_head(const Task& task, const PretrainedConfig& config, const std::string& model) {
  const std::string wanted = class_of(task, config);
  const std::vector<std::string> have = architectures_of(config);
  const auto serves = [&](const std::string& name) {
    return name == wanted || (task.name == "fill-mask" && name.ends_with("ForPreTraining"));
  };
  if (!wanted.empty() && (task.auto_class == kBase || have.empty() || std::ranges::any_of(have, serves))) return;
  std::string got;
  for (const std::string& name : have) got += (got.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::unsupported, model,
              "expected a checkpoint for " + std::string(task.name) + (wanted.empty() ? "" : ", " + wanted + ",") +
                  " but got " + (got.empty() ? std::string(config.model_type()) : got));
}

bool has_pooler(const std::string& directory, const std::string& variant) {
  const Checkpoint checkpoint = Checkpoint::open(directory, {.variant = variant});
  return std::ranges::any_of(checkpoint.names(),
                             [](const std::string& name) { return name.ends_with("pooler.dense.weight"); });
}

bool is_sentence_transformer(const std::string& directory) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::path(directory) / "modules.json", ignored);
}

std::string task_of(const PretrainedConfig& config, const std::string& model) {
  for (const std::string& name : architectures_of(config))
    for (const Task& task : kTasks)
      if (class_of(task, config) == name) return std::string(task.name);
  throw Error(
      ErrorCode::unsupported, model,
      "expected an architecture that a task is known for but got " + config.architectures.dump() + "; name the task");
}

}  // namespace

std::unique_ptr<Pipeline> pipeline(const std::string& task_name, const std::string& model,
                                   const PipelineOptions& options) {
  LoadOptions load = options.load;
  const std::string directory = checkpoint_directory(model, load, HubPart::everything);
  load.subfolder.clear();
  const std::unique_ptr<PretrainedConfig> own =
      load.config.whole() == nullptr ? AutoConfig::from_pretrained(directory, load.config.overrides()) : nullptr;
  const PretrainedConfig& config = own != nullptr ? *own : *load.config.whole();
  const bool sentences = task_name.empty() && is_sentence_transformer(directory);
  const Task& task = find_task(!task_name.empty() ? task_name
                               : sentences        ? "sentence-similarity"
                                                  : task_of(config, model),
                               config);
  const Source source{directory, load, options.files};
  if (task.auto_class == nullptr) return task.make(AnyModel(nullptr), source);
  expect_head(task, config, model);
  if (task.auto_class == kBase)
    load.add_pooling_layer = task.models == Models::images && has_pooler(directory, load.variant);
  AnyModel loaded = load_auto_model(task.auto_class, directory, load);
  if (const auto& missing = loaded->loading_info().missing_keys; !missing.empty() && task.auto_class != kBase)
    throw Error(ErrorCode::unsupported, model,
                "expected a checkpoint for " + std::string(task.name) + " but it has no " + *missing.begin());
  return task.make(std::move(loaded), source);
}

std::string pipeline_task(const std::string& model) {
  const std::string directory = checkpoint_directory(model, {}, HubPart::everything);
  if (is_sentence_transformer(directory)) return "sentence-similarity";
  return task_of(*AutoConfig::from_pretrained(directory), model);
}

std::vector<std::string> pipeline_tasks() {
  std::vector<std::string> names;
  for (const Task& task : kTasks) names.emplace_back(task.name);
  return names;
}

}  // namespace caracal
