// Wav2Vec2FeatureExtractor: mono samples in, normalised and padded input_values out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <caracal/models/feature_extraction_utils.h>
#include <caracal/runtime/runtime.h>

namespace caracal {

/// Arguments of a call, as in transformers.
struct FeatureExtractorOptions {
  std::string padding = {};         // "" (none), "longest" or "max_length"
  int64_t max_length = 0;           // samples; 0: none
  bool truncation = false;          // to max_length
  int64_t pad_to_multiple_of = 0;   // 0: none
  Json return_attention_mask = {};  // true, false, or null for the attribute
  int64_t sampling_rate = 0;        // of the samples, in Hz; 0: not said, so not checked
};

/// transformers.Wav2Vec2FeatureExtractor. Attributes: feature_size (1), sampling_rate, padding_value, do_normalize,
/// return_attention_mask, padding_side. Immutable; may be called from several threads at once.
class Wav2Vec2FeatureExtractor {
 public:
  /// Arguments as in Python: Wav2Vec2FeatureExtractor({{"sampling_rate", 8000}}). `where` opens error messages. Throws
  /// invalid_argument for a value of the wrong type. Unknown arguments are kept and written back.
  explicit Wav2Vec2FeatureExtractor(const Json& arguments = {}, const std::string& where = "Wav2Vec2FeatureExtractor");
  /// From a checkpoint directory or a preprocessor_config.json, with `overrides` applied last.
  static Wav2Vec2FeatureExtractor from_pretrained(const std::string& path, const Json& overrides = {});

  /// Utterances are (N) samples; F32, or another type that is converted. Gives input_values, one (N) F32 each, and with
  /// return_attention_mask attention_mask, (N) I32. Order as in transformers: truncate, pad, normalise; statistics are
  /// over the real samples when there is a mask and padding, else over the padded ones. Throws invalid_argument for
  /// more than one channel, another sampling rate, or options that contradict each other.
  BatchFeature operator()(const std::vector<Tensor>& utterances, const FeatureExtractorOptions& options = {}) const;
  /// One utterance (N), or a batch (B, N).
  BatchFeature operator()(const Tensor& samples, const FeatureExtractorOptions& options = {}) const;

  /// Pads what calls gave (input_values, and attention_mask where they have it) to one length, by default the longest:
  /// truncated and padded as in a call, but not normalised. An attention mask is made or padded when the options, or
  /// else the attribute, ask for one; others are left as they are. Throws likewise, and not_found without input_values.
  BatchFeature pad(const BatchFeature& features, const FeatureExtractorOptions& options = {.padding = "longest"}) const;

  int64_t sampling_rate() const noexcept { return sampling_rate_; }
  const char* class_name() const noexcept { return "Wav2Vec2FeatureExtractor"; }
  const Json& attribute(std::string_view name) const;
  /// transformers' to_dict().
  Json to_dict() const;
  /// The documentation's listing: `Wav2Vec2FeatureExtractor {json}` and a last newline.
  std::string str() const;
  /// Writes preprocessor_config.json, which transformers loads back.
  void save_pretrained(const std::string& directory) const;

 private:
  void check(const std::vector<Tensor>& utterances, const FeatureExtractorOptions& options) const;
  bool with_mask(const FeatureExtractorOptions& options) const;

  Json attributes_;
  int64_t sampling_rate_ = 16000;
  float padding_value_ = 0;
  bool do_normalize_ = true, return_attention_mask_ = false, pad_left_ = false;
  std::shared_ptr<const Runtime> runtime_;
};

}  // namespace caracal
