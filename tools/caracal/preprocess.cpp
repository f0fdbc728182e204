#include <caracal/loaders/safetensors.h>
#include <caracal/models/processing_auto.h>

#include "common.h"
#include "media.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, outputs;
  std::vector<std::string> images, audio, text, settings;
};

Json::Array as_json(const std::vector<std::string>& words) { return {words.begin(), words.end()}; }
Json::Array as_json(const std::vector<BatchFeature::Box>& boxes) {
  Json::Array array;
  for (const BatchFeature::Box& box : boxes) array.emplace_back(Json::Array(box.begin(), box.end()));
  return array;
}

// A name's tensors as one where their shapes are equal, else as name.0, name.1, …
void add(const BatchFeature& features, const std::string& name, std::vector<std::pair<std::string, Tensor>>& tensors) {
  const std::vector<Tensor>& list = features.list(name);
  const bool equal = std::ranges::all_of(list, [&](const Tensor& t) { return t.shape() == list[0].shape(); });
  if (equal) return tensors.emplace_back(name, features[name]), void();
  for (size_t i = 0; i < list.size(); i++) tensors.emplace_back(name + "." + std::to_string(i), list[i]);
}

void write(const BatchFeature& features, const std::string& path) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const std::string& name : features.keys()) add(features, name, tensors);
  Metadata metadata{{"format", "pt"}};
  if (!features.words.empty()) {
    Json::Array words, boxes;
    for (const auto& page : features.words) words.emplace_back(as_json(page));
    for (const auto& page : features.boxes) boxes.emplace_back(as_json(page));
    metadata["words"] = Json(std::move(words)).dump(-1, false, false);
    metadata["boxes"] = Json(std::move(boxes)).dump();
  }
  save_safetensors(path, tensors, metadata);
}

std::vector<Tensor> open_images(const Options& o) {
  std::vector<Tensor> images;
  for (const std::string& path : o.images) images.push_back(open_image(path));
  return images;
}

BatchFeature preprocess_images(const Options& o, const std::shared_ptr<Runtime>& runtime) {
  if (!o.text.empty())
    throw Error(ErrorCode::invalid_argument, "--text", "expected a model whose processor takes images with text");
  const std::shared_ptr<BaseImageProcessor> processor = AutoImageProcessor::from_pretrained(o.model);
  processor->set_runtime(runtime);
  if (auto* layout = dynamic_cast<LayoutLMv2ImageProcessor*>(processor.get()))
    layout->set_ocr_engine(make_ocr_engine());
  Json settings = parse_settings(o.settings);
  settings.set("input_data_format", "channels_last");  // an image 3 pixels high would look like three planes
  return (*processor)(open_images(o), settings);
}

// Uses and erases a setting.
template <class F>
void take(Json& settings, const char* name, F use) {
  const Json* value = settings.find(name);
  if (value == nullptr) return;
  in_file(std::string("--set ") + name, [&] { use(*value); });
  settings.erase(name);
}

// The processor of a document model, if the checkpoint has one with all its files.
std::optional<LayoutLMv2Processor> document_processor(const Options& o, const Json& overrides) {
  try {
    if (!std::holds_alternative<LayoutLMv2Processor>(AutoProcessor::from_pretrained(o.model))) return {};
  } catch (const Error&) {
    return {};
  }
  return LayoutLMv2Processor::from_pretrained(o.model, overrides);
}

BatchFeature preprocess_pages(const Options& o, LayoutLMv2Processor& processor, const TokenizeOptions& tokenize,
                              const std::shared_ptr<Runtime>& runtime) {
  processor.image_processor().set_runtime(runtime);
  processor.image_processor().set_ocr_engine(make_ocr_engine());
  return processor(open_images(o), {.questions = o.text, .tokenize = tokenize});
}

// The call's options among the settings; the others are attributes of the extractor.
FeatureExtractorOptions take_options(Json& settings) {
  FeatureExtractorOptions options;
  take(settings, "padding", [&](const Json& v) {
    options.padding = v.is_bool() ? (v.as_bool() ? "longest" : "") : v.as_string() == "do_not_pad" ? "" : v.as_string();
  });
  take(settings, "max_length", [&](const Json& v) { options.max_length = v.as_int(); });
  take(settings, "truncation", [&](const Json& v) { options.truncation = v.as_bool(); });
  take(settings, "pad_to_multiple_of", [&](const Json& v) { options.pad_to_multiple_of = v.as_int(); });
  take(settings, "return_attention_mask", [&](const Json& v) { options.return_attention_mask = v; });
  return options;
}

// The tokenizer's options among the settings; the others are attributes of the image processor.
TokenizeOptions take_tokenize_options(Json& settings) {
  TokenizeOptions options;
  take(settings, "padding",
       [&](const Json& v) { options.padding = v.is_string() ? Padding(v.as_string().c_str()) : v.as_bool(); });
  take(settings, "truncation", [&](const Json& v) { options.truncation = v.as_bool(); });
  take(settings, "max_length", [&](const Json& v) { options.max_length = v.as_int(); });
  take(settings, "stride", [&](const Json& v) { options.stride = v.as_int(); });
  take(settings, "return_overflowing_tokens", [&](const Json& v) { options.return_overflowing_tokens = v.as_bool(); });
  return options;
}

BatchFeature preprocess_audio(const Options& o, const std::shared_ptr<Runtime>& runtime) {
  Json settings = parse_settings(o.settings);
  FeatureExtractorOptions options = take_options(settings);
  const Json known = AutoFeatureExtractor::from_pretrained(o.model).to_dict();
  for (const auto& [key, value] : settings.as_object()) {
    if (!known.contains(key))
      throw Error(ErrorCode::invalid_argument, "--set",
                  "expected an argument or attribute of the feature extractor but got '" + key + "'");
  }
  const Wav2Vec2FeatureExtractor extractor = AutoFeatureExtractor::from_pretrained(o.model, settings);
  options.sampling_rate = extractor.sampling_rate();
  std::vector<Tensor> utterances;
  for (const std::string& path : o.audio) utterances.push_back(open_audio(*runtime, path, extractor.sampling_rate()));
  if (o.text.empty()) return extractor(utterances, options);
  const Wav2Vec2Processor processor(extractor, Wav2Vec2CTCTokenizer::from_pretrained(o.model));
  return processor(utterances, o.text, options);
}

void preprocess(const Options& o) {
  const std::shared_ptr<Runtime> runtime = o.common.make_runtime();
  if (!o.audio.empty()) return write(preprocess_audio(o, runtime), o.outputs);
  Json settings = parse_settings(o.settings);
  const TokenizeOptions tokenize = take_tokenize_options(settings);
  if (std::optional<LayoutLMv2Processor> documents = document_processor(o, settings))
    return write(preprocess_pages(o, *documents, tokenize, runtime), o.outputs);
  write(preprocess_images(o, runtime), o.outputs);
}

}  // namespace

void add_preprocess(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("preprocess", "Image or sound files to the tensors that a model takes");
  o->common.add_to(*sub);
  sub->add_option("--model", o->model, "checkpoint directory")->required();
  CLI::Option_group* files = sub->add_option_group("files");
  files->add_option("--image", o->images, "JPEG, PNG or WebP files");
  files->add_option("--audio", o->audio, "WAV or FLAC files: mixed down and resampled to the model's rate");
  files->require_option(1);
  sub->add_option("--text", o->text, "a question for each image, or the transcript of each sound (labels)");
  sub->add_option("--outputs", o->outputs, "safetensors file to write; OCR words and boxes go to its metadata")
      ->required();
  sub->add_option("--set", o->settings, "KEY=VALUE: an argument of the processor's call, or one of its attributes")
      ->take_all();
  sub->callback([o] { preprocess(*o); });
}

}  // namespace caracal::cli
