// Inputs of pipelines: from JSON, and from files.
#include <caracal/models/pipelines/base.h>
#include <caracal/runtime/audio_ops.h>

namespace caracal {
namespace {

[[noreturn]] void bad_input(const std::string& what) { throw Error(ErrorCode::invalid_argument, "pipeline", what); }

std::vector<std::string> strings_of(const Json& json) {
  std::vector<std::string> list;
  for (const Json& each : json.as_array()) list.push_back(each.as_string());
  return list;
}

BatchFeature::Box box_of(const Json& json) {
  const Json::Array& numbers = json.as_array();
  if (numbers.size() != 4) bad_input("expected a box of 4 numbers but got " + json.dump());
  return {numbers[0].as_int(), numbers[1].as_int(), numbers[2].as_int(), numbers[3].as_int()};
}

// Samples, or one or two channels of them, which are mixed.
Tensor samples_of(const Json& json) {
  const Json::Array& list = json.as_array();
  const bool has_channels = !list.empty() && list[0].is_array();
  const Json::Array& first = has_channels ? list[0].as_array() : list;
  if (has_channels && (list.size() > 2 || list.back().as_array().size() != first.size()))
    bad_input("expected samples, or one or two channels of as many, but got " + std::to_string(list.size()) +
              " channels");
  Tensor samples = Tensor::empty({int64_t(first.size())});
  float* const out = samples.data<float>();
  for (size_t i = 0; i < first.size(); ++i) {
    out[i] = float(first[i].as_double());
    if (list.size() == 2 && has_channels) out[i] = (out[i] + float(list[1].as_array()[i].as_double())) / 2;
  }
  return samples;
}

void set(PipelineInput& input, const std::string& key, const Json& value) {
  if (key == "text" || key == "question" || key == "prompt" || key == "source_sentence") {
    input.text = value.as_string();
  } else if (key == "text_pair" || key == "context") {
    input.text_pair = value.as_string();
  } else if (key == "choices" || key == "sentences") {
    input.texts = strings_of(value);
  } else if (key == "image" || key == "audio") {
    input.file = value.as_string();
  } else if (key == "raw" || key == "array") {
    input.audio = samples_of(value);
  } else if (key == "sampling_rate") {
    input.sampling_rate = value.as_int();
    if (input.sampling_rate < 1) bad_input("expected a sampling_rate of at least 1 but got " + value.dump());
  } else if (key == "stride") {
    const Json::Array& sides = value.as_array();
    if (sides.size() != 2) bad_input("expected a stride of two numbers but got " + value.dump());
    input.stride = {sides[0].as_int(), sides[1].as_int()};
  } else if (key == "words") {
    input.words = strings_of(value);
  } else if (key == "boxes") {
    for (const Json& box : value.as_array()) input.boxes.push_back(box_of(box));
  } else if (key == "word_boxes") {
    for (const Json& pair : value.as_array()) {
      if (pair.as_array().size() != 2) bad_input("expected a word and its box but got " + pair.dump());
      input.words.push_back(pair.as_array()[0].as_string());
      input.boxes.push_back(box_of(pair.as_array()[1]));
    }
  } else if (key != "path") {
    bad_input(
        "expected a key among text, text_pair, question, context, prompt, choices, source_sentence, sentences, image, "
        "audio, words, boxes, word_boxes, raw, array, sampling_rate, stride, path but got '" +
        key + "'");
  }
}

const std::string& path_of(const PipelineInput& input, bool text_is_file, const char* what) {
  const std::string& path = input.file.empty() && text_is_file ? input.text : input.file;
  if (path.empty()) bad_input(std::string("expected an ") + what + " or the path of its file but got neither");
  return path;
}

[[noreturn]] void no_reader(const std::string& path) {
  throw Error(ErrorCode::not_built, path,
              "expected a decoded input, or PipelineFiles that read files (pipelines/media.h) but got neither");
}

}  // namespace

PipelineInput pipeline_input(const Json& json) {
  if (json.is_string()) return {.text = json.as_string()};
  if (!json.is_object()) bad_input(std::string("expected a string or an object but got ") + json.type_name());
  PipelineInput input;
  for (const auto& [key, value] : json.as_object()) {
    try {
      set(input, key, value);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_file) throw;
      bad_input("expected another value for '" + key + "' but got " + value.dump());
    }
  }
  const bool is_raw = json.contains("sampling_rate") || json.contains("stride") || json.contains("path");
  if ((is_raw || input.audio.defined()) && (!input.audio.defined() || input.sampling_rate == 0))
    bad_input("expected samples as raw or array, and their sampling_rate, but got " +
              std::string(input.audio.defined() ? "no sampling_rate" : "no samples"));
  return input;
}

BatchFeature pixels_of(const BaseImageProcessor& processor, const Tensor& image, Json arguments) {
  // A decoded file 3 pixels high would look like three planes.
  if (image.rank() == 3 && image.size(2) == 3) arguments.set("input_data_format", "channels_last");
  return processor(image, arguments);
}

Tensor image_of(const PipelineInput& input, const PipelineFiles& files, bool text_is_file) {
  if (input.image.defined()) return input.image;
  const std::string& path = path_of(input, text_is_file, "image");
  if (!files.image) no_reader(path);
  return files.image(path);
}

Tensor audio_of(const Runtime& runtime, const PipelineInput& input, const PipelineFiles& files, int64_t sampling_rate) {
  if (input.audio.defined()) {
    if (input.audio.rank() != 1)
      bad_input("expected mono samples of shape (N) but got shape " + input.audio.shape().str());
    if (input.audio.numel() == 0) bad_input("expected sound but got no samples");
    if (input.sampling_rate == 0 || input.sampling_rate == sampling_rate) return input.audio;
    return resample_audio(runtime.alone(), input.audio.to(DType::F32), input.sampling_rate, sampling_rate);
  }
  const std::string& path = path_of(input, true, "audio");
  if (!files.audio) no_reader(path);
  Tensor samples = files.audio(path, sampling_rate);
  if (samples.numel() == 0) throw Error(ErrorCode::bad_file, path, "expected sound but got no samples");
  return samples;
}

}  // namespace caracal
