#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>

#include <algorithm>
#include <cstring>

#include <caracal/loaders/hub_cache.h>
#include <caracal/runtime/audio_ops.h>

namespace caracal {
namespace {

constexpr int64_t kMaxSamples = int64_t(1) << 32;  // of one utterance, padding included

[[noreturn]] void fail(const std::string& where, const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, where, "expected " + expected + " but got " + got);
}

}  // namespace

Wav2Vec2FeatureExtractor::Wav2Vec2FeatureExtractor(const Json& arguments, const std::string& where)
    : attributes_{{"feature_size", 1},    {"sampling_rate", 16000},         {"padding_value", 0.0},
                  {"do_normalize", true}, {"return_attention_mask", false}, {"padding_side", "right"}},
      runtime_(std::make_shared<Runtime>(RuntimeOptions{.threads = 1})) {
  if (!arguments.is_null() && !arguments.is_object()) fail(where, "an object of arguments", arguments.type_name());
  if (arguments.is_object()) {
    for (const auto& [key, value] : arguments.as_object()) {
      if (key != "feature_extractor_type" && key != "processor_class") attributes_.set(key, value);
    }
  }
  auto expect = [&](const char* name, bool ok, const char* what) {
    const Json& value = attributes_.at(name);
    if (!ok) fail(where + ": " + name, what, std::string(value.type_name()) + " " + value.dump());
  };
  const Json &rate = attributes_.at("sampling_rate"), &size = attributes_.at("feature_size"),
             &side = attributes_.at("padding_side");
  expect("feature_size", size.is_integer() && size.as_int() == 1, "1");
  expect("sampling_rate", rate.is_integer() && rate.as_int() > 0, "a positive int");
  expect("padding_value", attributes_.at("padding_value").is_number(), "a number");
  expect("do_normalize", attributes_.at("do_normalize").is_bool(), "bool");
  expect("return_attention_mask", attributes_.at("return_attention_mask").is_bool(), "bool");
  expect("padding_side", side == Json("left") || side == Json("right"), "left or right");
  sampling_rate_ = rate.as_int();
  padding_value_ = float(attributes_.at("padding_value").as_double());
  do_normalize_ = attributes_.at("do_normalize").as_bool();
  return_attention_mask_ = attributes_.at("return_attention_mask").as_bool();
  pad_left_ = side.as_string() == "left";
}

Wav2Vec2FeatureExtractor Wav2Vec2FeatureExtractor::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::preprocessor, overrides);
  return Wav2Vec2FeatureExtractor(load_preprocessor_config(at.path, "feature_extractor", at.overrides), at.path);
}

BatchFeature Wav2Vec2FeatureExtractor::operator()(const Tensor& samples, const FeatureExtractorOptions& options) const {
  if (!samples.defined() || samples.rank() < 1 || samples.rank() > 2)
    fail(class_name(), "mono samples (N) or a batch (B, N)",
         samples.defined() ? samples.shape().str() : "an undefined tensor");
  if (samples.rank() == 1) return (*this)(std::vector<Tensor>{samples}, options);
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < samples.size(0); i++) rows.push_back(samples.rows(i, i + 1).reshape({samples.size(1)}));
  return (*this)(rows, options);
}

BatchFeature Wav2Vec2FeatureExtractor::operator()(const std::vector<Tensor>& utterances,
                                                  const FeatureExtractorOptions& options) const {
  const std::string where = class_name();
  for (const Tensor& samples : utterances) {
    if (!samples.defined() || samples.rank() != 1)
      fail(where, "mono samples of shape (N)", samples.defined() ? samples.shape().str() : "an undefined tensor");
  }
  if (options.sampling_rate != 0 && options.sampling_rate != sampling_rate_)
    fail(where + ": sampling_rate", std::to_string(sampling_rate_) + " Hz, for which the model was trained,",
         std::to_string(options.sampling_rate));
  if (!options.padding.empty() && options.padding != "longest" && options.padding != "max_length")
    fail(where + ": padding", "longest or max_length", "'" + options.padding + "'");
  if (options.max_length < 0 || options.max_length > kMaxSamples || options.pad_to_multiple_of < 0 ||
      options.pad_to_multiple_of > kMaxSamples)
    fail(where, "max_length and pad_to_multiple_of from 0 to 2^32",
         std::to_string(options.max_length) + " and " + std::to_string(options.pad_to_multiple_of));
  if ((options.truncation || options.padding == "max_length") && options.max_length == 0)
    fail(where, "max_length with truncation or padding to it", "none");
  if (!options.return_attention_mask.is_null() && !options.return_attention_mask.is_bool())
    fail(where + ": return_attention_mask", "bool", options.return_attention_mask.type_name());
  const bool with_mask =
      options.return_attention_mask.is_bool() ? options.return_attention_mask.as_bool() : return_attention_mask_;

  auto rounded = [&](int64_t length) {
    const int64_t unit = options.pad_to_multiple_of;
    return unit == 0 ? length : (length + unit - 1) / unit * unit;
  };
  std::vector<int64_t> lengths;
  int64_t longest = 0;
  for (const Tensor& samples : utterances) {
    const int64_t n = samples.numel();
    lengths.push_back(options.truncation ? std::min(n, rounded(options.max_length)) : n);
    longest = std::max(longest, lengths.back());
  }
  const bool pads = !options.padding.empty();
  const int64_t width = rounded(options.padding == "max_length" ? options.max_length : longest);
  std::vector<Tensor> values, masks;
  for (size_t i = 0; i < utterances.size(); i++) {
    const Tensor samples = utterances[i].dtype() == DType::F32 ? utterances[i] : utterances[i].to(DType::F32);
    const int64_t n = lengths[i], padded = pads ? std::max(width, n) : n, begin = pad_left_ ? padded - n : 0;
    Tensor row = Tensor::empty({padded});
    float* out = row.data<float>();
    std::fill(out, out + begin, padding_value_);
    std::copy_n(samples.data<float>(), n, out + begin);
    std::fill(out + begin + n, out + padded, padding_value_);
    if (with_mask) {
      Tensor mask = Tensor::zeros({padded}, DType::I32);
      std::fill_n(mask.data<int32_t>() + begin, n, 1);
      masks.push_back(std::move(mask));
    }
    if (do_normalize_ && padded > 0) {
      // As transformers: with a mask, statistics over the first n samples (even when padding is on the left), and the
      // padding value again from there on.
      const bool masked = with_mask && pads && n > 0;
      standardize(*runtime_, row, 0, masked ? n : padded, 1e-7);
      if (masked) std::fill(out + n, out + padded, padding_value_);
    }
    values.push_back(std::move(row));
  }
  BatchFeature features;
  features.set("input_values", std::move(values));
  if (with_mask) features.set("attention_mask", std::move(masks));
  return features;
}

const Json& Wav2Vec2FeatureExtractor::attribute(std::string_view name) const {
  static const Json none;
  const Json* value = attributes_.find(name);
  return value == nullptr ? none : *value;
}

Json Wav2Vec2FeatureExtractor::to_dict() const {
  Json dict = attributes_;
  dict.set("feature_extractor_type", class_name());
  return dict;
}

std::string Wav2Vec2FeatureExtractor::str() const {
  return std::string(class_name()) + " " + to_dict().dump(2, true) + "\n";
}

void Wav2Vec2FeatureExtractor::save_pretrained(const std::string& directory) const {
  save_preprocessor_config(directory, to_dict());
}

}  // namespace caracal
