#include <caracal/models/pipelines/automatic_speech_recognition.h>

#include <algorithm>
#include <cmath>

#include <caracal/models/pipelines/scores.h>

namespace caracal {
namespace {

constexpr double kLongest = 24 * 3600;  // seconds of a chunk

const Wav2Vec2Config& config_of(const PreTrainedModel& model) {
  if (const auto* config = dynamic_cast<const Wav2Vec2Config*>(&model.config())) return *config;
  throw Error(ErrorCode::unsupported, "automatic-speech-recognition",
              std::string("expected a Wav2Vec2 model but got ") + model.class_name());
}

// Python's int(round(x)): halves go to the even neighbour.
int64_t rounded(double x) { return std::llrint(x); }

}  // namespace

AutomaticSpeechRecognitionPipeline::AutomaticSpeechRecognitionPipeline(AnyModel model, Wav2Vec2Processor processor,
                                                                       PipelineFiles files)
    : Pipeline("automatic-speech-recognition", std::move(model)),
      processor_(std::move(processor)),
      files_(std::move(files)),
      config_(config_of(this->model())) {}

std::shared_ptr<const Pipeline::Settings> AutomaticSpeechRecognitionPipeline::settings(
    const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  choices->timestamps = arguments.choice("return_timestamps", {"char", "word"});
  const double seconds = arguments.number("chunk_length_s", 0).value_or(0);
  double left = seconds / 6, right = left;
  if (const Json* stride = arguments.find("stride_length_s"); stride != nullptr && stride->is_array()) {
    const Json::Array& sides = stride->as_array();
    if (sides.size() != 2 || !sides[0].is_number() || !sides[1].is_number())
      arguments.refuse("stride_length_s", "expected a number or two but got " + stride->dump());
    left = sides[0].as_double();
    right = sides[1].as_double();
  } else if (stride != nullptr) {
    left = right = *arguments.number("stride_length_s", 0);
  }
  if (!(seconds <= kLongest) || !(left >= 0 && left <= kLongest) || !(right >= 0 && right <= kLongest))
    arguments.refuse("chunk_length_s", "expected a chunk and strides from 0 to 86400 seconds");
  const int64_t align = config_.inputs_to_logits_ratio();
  auto samples = [&](double s) {
    return rounded(s * double(processor_.feature_extractor().sampling_rate()) / double(align)) * align;
  };
  choices->chunk = samples(seconds);
  choices->left = samples(left);
  choices->right = samples(right);
  if (seconds > 0 && choices->chunk <= choices->left + choices->right)
    arguments.refuse("chunk_length_s", "expected a chunk longer than its strides together but got " +
                                           std::to_string(choices->chunk) + " samples and strides of " +
                                           std::to_string(choices->left) + " and " + std::to_string(choices->right));
  return choices;
}

Pipeline::Prepared AutomaticSpeechRecognitionPipeline::preprocess(const PipelineInput& input,
                                                                  const Settings& settings) const {
  const auto& choices = static_cast<const Choices&>(settings);
  const int64_t given = input.sampling_rate, rate = processor_.feature_extractor().sampling_rate();
  const Tensor sound = audio_of(model().runtime(), input, files_, rate);  // (N)
  const int64_t length = sound.numel();
  const double ratio = given != 0 ? double(rate) / double(given) : 1;
  const int64_t context[] = {rounded(double(input.stride[0]) * ratio), rounded(double(input.stride[1]) * ratio)};
  if (std::ranges::min(input.stride) < 0 || std::ranges::max(input.stride) > kLongest * double(rate) ||
      context[0] + context[1] > length)
    refuse("expected a stride within the sound but got " + std::to_string(input.stride[0]) + " and " +
           std::to_string(input.stride[1]));
  std::vector<std::array<int64_t, 3>> strides;
  std::vector<Tensor> chunks{sound};
  if (context[0] + context[1] > 0) strides.push_back({length, context[0], context[1]});
  if (choices.chunk > 0) {  // whose strides take the place of the input's
    chunks.clear();
    strides.clear();
    for (int64_t begin = 0; begin < length; begin += choices.chunk - choices.left - choices.right) {
      const int64_t end = std::min(begin + choices.chunk, length), left = begin == 0 ? 0 : choices.left;
      if (end - begin > left) {
        chunks.push_back(sound.rows(begin, end));
        strides.push_back({end - begin, left, end == length ? 0 : choices.right});
      }
      if (end == length) break;
    }
  }
  std::vector<Tensor> values, masks;
  for (const Tensor& chunk : chunks) {  // each normalised on its own
    const BatchFeature features =
        processor_(std::vector{chunk}, FeatureExtractorOptions{.return_attention_mask = true});
    values.push_back(features.list("input_values")[0]);
    masks.push_back(features.list("attention_mask")[0]);
  }
  Prepared prepared;
  prepared.set("input_values", std::move(values));
  prepared.set("attention_mask", std::move(masks));
  prepared.strides = std::move(strides);
  return prepared;
}

Json AutomaticSpeechRecognitionPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const auto& choices = static_cast<const Choices&>(settings);
  const int64_t align = config_.inputs_to_logits_ratio();
  const double ratio = 1 / double(align);
  std::vector<int32_t> ids;  // the most likely token of each frame
  const std::vector<Tensor>& rows = prepared.list("input_values");
  for (size_t r = 0; r < rows.size(); r++) {
    const Tensor logits = batch_row(output.logits, first + int64_t(r));  // (frames, V)
    const int64_t frames =
        std::min(logits.size(0), config_.feat_extract_output_length(rows[r].numel(), config_.add_adapter));
    int64_t begin = 0, end = frames;
    if (!prepared.strides.empty()) {
      const auto [samples, left, right] = prepared.strides[r];
      const double all = double(rounded(double(samples) * ratio));
      begin = rounded(double(left) / double(samples) * all);
      end = std::min(frames, int64_t(all) - rounded(double(right) / double(samples) * all));
    }
    for (int64_t frame = begin; frame < end; frame++)
      ids.push_back(int32_t(argmax(batch_row(logits, frame).values<float>())));
  }
  const Wav2Vec2CTCTokenizerOutput text = processor_.decode(
      ids, {.output_char_offsets = choices.timestamps == "char", .output_word_offsets = choices.timestamps == "word"});
  Json result{{"text", text.text}};
  if (choices.timestamps.empty()) return result;
  const double rate = double(processor_.feature_extractor().sampling_rate());
  Json::Array chunks;
  for (const CtcOffset& each : choices.timestamps == "char" ? text.char_offsets : text.word_offsets)
    chunks.emplace_back(Json{
        {"text", each.text},
        {"timestamp", Json::Array{double(each.start_offset * align) / rate, double(each.end_offset * align) / rate}}});
  result.set("chunks", std::move(chunks));
  return result;
}

}  // namespace caracal
