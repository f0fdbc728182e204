#include <caracal/loaders/safetensors.h>
#include <caracal/models/image_processing_auto.h>
#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>

#include "common.h"
#include "media.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, outputs;
  std::vector<std::string> images, audio, settings;
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

BatchFeature preprocess_images(const Options& o, const std::shared_ptr<Runtime>& runtime) {
  const std::shared_ptr<BaseImageProcessor> processor = AutoImageProcessor::from_pretrained(o.model);
  processor->set_runtime(runtime);
  if (auto* layout = dynamic_cast<LayoutLMv2ImageProcessor*>(processor.get()))
    layout->set_ocr_engine(make_ocr_engine());
  std::vector<Tensor> images;
  for (const std::string& path : o.images) images.push_back(open_image(path));
  Json settings = parse_settings(o.settings);
  settings.set("input_data_format", "channels_last");  // an image 3 pixels high would look like three planes
  return (*processor)(images, settings);
}

// The call's options among the settings; the others are attributes of the extractor.
FeatureExtractorOptions take_options(Json& settings) {
  FeatureExtractorOptions options;
  auto take = [&](const char* name, auto use) {
    const Json* value = settings.find(name);
    if (value == nullptr) return;
    in_file(std::string("--set ") + name, [&] { use(*value); });
    settings.erase(name);
  };
  take("padding", [&](const Json& v) {
    options.padding = v.is_bool() ? (v.as_bool() ? "longest" : "") : v.as_string() == "do_not_pad" ? "" : v.as_string();
  });
  take("max_length", [&](const Json& v) { options.max_length = v.as_int(); });
  take("truncation", [&](const Json& v) { options.truncation = v.as_bool(); });
  take("pad_to_multiple_of", [&](const Json& v) { options.pad_to_multiple_of = v.as_int(); });
  take("return_attention_mask", [&](const Json& v) { options.return_attention_mask = v; });
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
  return extractor(utterances, options);
}

void preprocess(const Options& o) {
  const std::shared_ptr<Runtime> runtime = o.common.make_runtime();
  write(o.audio.empty() ? preprocess_images(o, runtime) : preprocess_audio(o, runtime), o.outputs);
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
  sub->add_option("--outputs", o->outputs, "safetensors file to write; OCR words and boxes go to its metadata")
      ->required();
  sub->add_option("--set", o->settings, "KEY=VALUE: an argument of the processor's call, or one of its attributes")
      ->take_all();
  sub->callback([o] { preprocess(*o); });
}

}  // namespace caracal::cli
