#include <caracal/models/parity.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include <caracal/loaders/safetensors.h>
#include <caracal/models/settings.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>

namespace caracal {
namespace {

constexpr std::string_view kInputs = "inputs.";

Json metadata_json(const SafetensorsFile& file, const char* key) {
  const auto at = file.metadata().find(key);
  return at == file.metadata().end() ? Json(Json::Object{}) : Json::parse(at->second, file.path());
}

// Sorts names into the order in which a model computes them: (layer, place within the layer), heads after all layers.
std::pair<int64_t, int> place_of(std::string_view name) {
  constexpr int64_t kAfterLayers = std::numeric_limits<int64_t>::max();
  constexpr std::string_view kParts[] = {"hidden_states.", ".keys",         ".values",          "attentions.",
                                         ".cross_keys",    ".cross_values", "cross_attentions."};
  const size_t dot = name.find('.');
  int64_t layer = 0;
  if (dot == name.npos || std::from_chars(name.data() + dot + 1, name.data() + name.size(), layer).ec != std::errc())
    return {kAfterLayers, name == "last_hidden_state" ? 0 : name == "pooler_output" ? 1 : 2};
  for (int i = 0; i < int(std::size(kParts)); i++) {
    const std::string_view part = kParts[i];
    if (part.front() == '.' ? name.ends_with(part) : name.starts_with(part)) return {layer, i};
  }
  return {layer, int(std::size(kParts))};
}

// Which positions count: those that a mask of the inputs leaves. Others are 0 in caracal and something else in PyTorch.
class Masks {
 public:
  Masks(const ModelInputs& inputs, const PretrainedConfig& config) {
    if (inputs.input_values.defined()) {
      const Wav2Vec2Config* audio = dynamic_cast<const Wav2Vec2Config*>(&config);
      if (inputs.attention_mask.defined() && audio != nullptr) count_frames(inputs, *audio);
      return;
    }
    const Tensor& leading = inputs.input_ids.defined() ? inputs.input_ids : inputs.inputs_embeds;
    if (!leading.defined()) return;
    const int rank = leading.rank() - (inputs.input_ids.defined() ? 0 : 1);  // (B, S), or (B, choices, S)
    tokens_ = leading.size(rank - 1);
    image_ = inputs.image.defined();
    text_ = read(inputs.attention_mask);
    encoder_ = read(inputs.encoder_attention_mask);
  }

  // Whether element i of an output of this name and shape counts.
  bool counts(std::string_view name, const Shape& shape, int64_t i) const {
    const int64_t last = shape.rank() > 0 ? shape[shape.rank() - 1] : 1;
    if (!frames_.empty()) return counts_frame(name, shape, i);
    if (name.starts_with("past_key_values.")) {
      const int64_t position = i / last % shape[2], b = i / last / shape[2] / shape[1];
      return (name.find(".cross_") != name.npos ? encoder_ : text_).at(b, position);
    }
    const bool cross = name.starts_with("cross_attentions.");
    if (cross || name.starts_with("attentions.")) {
      const int64_t key = i % last, query = i / last % shape[2], b = i / last / shape[2] / shape[1];
      if (cross) return token(b, query) && encoder_.at(b, key);
      return token(b, query) && (of_image(key) || text_.at(b, key));
    }
    const bool per_token = name.starts_with("hidden_states.") || name == "last_hidden_state" ||
                           name == "prediction_logits" || (name == "logits" && shape.rank() == 3);
    if (per_token) return token(i / last / shape[1], i / last % shape[1]);
    if (name == "start_logits" || name == "end_logits") return token(i / last, i % last);
    return true;
  }

 private:
  struct Mask {
    Tensor values;  // (B, length) I64; undefined: everything counts
    int64_t rows = 0, length = 0;
    bool at(int64_t b, int64_t position) const {
      return !values.defined() || values.data<int64_t>()[b % rows * length + position % length] != 0;
    }
  };
  static Mask read(const Tensor& mask) {
    if (!mask.defined() || mask.rank() < 2 || mask.numel() == 0) return {};
    const int64_t length = mask.size(-1);
    return {mask.to(DType::I64), mask.numel() / length, length};
  }
  // Audio: the mask is one of samples, of which each row's sum says how many frames count.
  void count_frames(const ModelInputs& inputs, const Wav2Vec2Config& config) {
    const Mask mask = read(inputs.attention_mask);
    const int64_t frames = config.feat_extract_output_length(inputs.input_values.size(1));
    for (int64_t b = 0; b < inputs.input_values.size(0); b++) {
      int64_t samples = 0;
      for (int64_t s = 0; s < mask.length; s++) samples += mask.at(b, s);
      frames_.push_back(config.attended_frames(samples, frames));
      behind_adapter_.push_back(config.feat_extract_output_length(samples, true));
    }
  }
  bool counts_frame(std::string_view name, const Shape& shape, int64_t i) const {
    if (name.starts_with("attentions.")) {
      const int64_t counted = frames_[size_t(i / shape[3] / shape[2] / shape[1])];
      return i % shape[3] < counted && i / shape[3] % shape[2] < counted;
    }
    if (shape.rank() != 3) return true;
    const bool behind = name == "last_hidden_state" || name == "logits";
    return i / shape[2] % shape[1] < (behind ? behind_adapter_ : frames_)[size_t(i / shape[2] / shape[1])];
  }
  // Of the tokens of this call: the last ones of a mask that covers a cache too.
  bool token(int64_t b, int64_t s) const { return of_image(s) || text_.at(b, text_.length - tokens_ + s); }
  // LayoutLMv2 puts the image's positions behind the text's.
  bool of_image(int64_t position) const { return image_ && position >= tokens_; }

  int64_t tokens_ = 0;
  bool image_ = false;
  Mask text_, encoder_;
  std::vector<int64_t> frames_, behind_adapter_;  // of each row of masked audio
};

ParityRow compare(const std::string& name, const Tensor& got, const Tensor& want, const Masks& masks,
                  double tolerance) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const ParityRow wrong{.name = name, .worst = kInfinite, .relative = kInfinite, .within = false};
  ParityRow row = wrong;
  if (!got.defined() || got.shape() != want.shape()) return row;
  row.worst = row.relative = 0;
  row.within = true;
  double largest = 0, magnitude = 1;
  const bool is_cache = name.starts_with("past_key_values.");  // keeps what the caller's had at masked positions
  for (int64_t i = 0; i < got.numel(); i++) {
    const double g = double(got.data<float>()[i]), w = double(want.data<float>()[i]);
    if (!masks.counts(name, got.shape(), i)) {
      if (g != 0 && !is_cache) row = wrong;
      continue;
    }
    const double absolute = std::abs(g - w), difference = absolute / std::max(1.0, std::abs(w));
    largest = std::isnan(absolute) ? kInfinite : std::max(largest, absolute);
    magnitude = std::max(magnitude, std::abs(w));
    row.worst = std::isnan(difference) ? kInfinite : std::max(row.worst, difference);
    row.within = row.within && difference <= tolerance;  // false for NaN
  }
  row.relative = std::max(row.relative, largest / magnitude);
  return row;
}

}  // namespace

const ParityRow* ParityReport::first_diverging() const {
  const auto at = std::ranges::find(rows, false, &ParityRow::within);
  return at == rows.end() ? nullptr : &*at;
}

const ParityRow* ParityReport::worst() const {
  const auto at = std::ranges::max_element(rows, {}, &ParityRow::worst);
  return at == rows.end() ? nullptr : &*at;
}

ParityReport check_parity(const std::string& path, const std::string& reference, const ParityOptions& options) {
  const SafetensorsFile file = SafetensorsFile::open(reference);
  LoadOptions load{.dtype = options.dtype, .runtime = options.runtime};
  Json overrides = Json::Object{};
  const Json given = metadata_json(file, "load");
  for (const auto& [key, value] : given.as_object())
    if (!set_option(load, key, value)) overrides.set(key, value);
  load.config = overrides;
  ForwardOptions forward;
  const Json arguments = metadata_json(file, "arguments");
  for (const auto& [key, value] : arguments.as_object())
    if (!set_option(forward, key, value))
      throw Error(ErrorCode::unsupported, reference, "expected arguments of forward but got '" + key + "'");

  ModelInputs inputs;
  std::vector<std::pair<std::string, Tensor>> wanted;
  for (const TensorInfo& info : file.tensors()) {
    if (info.name.starts_with(kInputs)) {
      inputs.set(info.name.substr(kInputs.size()), file.tensor(info));
      continue;
    }
    wanted.emplace_back(info.name, file.tensor(info).to(DType::F32));
    forward.output_hidden_states |= info.name.starts_with("hidden_states.");
    forward.output_attentions |= info.name.find("attentions.") != info.name.npos;
  }
  if (wanted.empty())
    throw Error(ErrorCode::bad_file, reference, "expected outputs to compare with but got inputs only");
  std::ranges::sort(wanted, {}, [](const auto& entry) { return std::tuple(place_of(entry.first), entry.first); });

  std::string task = options.task;
  if (task.empty()) {
    const auto at = file.metadata().find("task");
    task = at == file.metadata().end() ? "AutoModel" : at->second;
  }
  const AnyModel model = load_auto_model(task, path, load);
  std::map<std::string, Tensor> outputs;
  for (const auto& [name, tensor] : model(inputs, forward).named()) outputs[name] = tensor;
  const Masks masks(inputs, model->config());
  const Json dtype = model->config().dtype;
  ParityReport report{.class_name = model->class_name(),
                      .dtype = dtype.is_string() ? dtype.as_string() : "",
                      .rows = {},
                      .loading_info = model->loading_info()};
  for (const auto& [name, tensor] : wanted)
    report.rows.push_back(compare(name, outputs[name], tensor, masks, options.tolerance));
  return report;
}

}  // namespace caracal
