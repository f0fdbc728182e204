// The automatic-speech-recognition pipeline: sound to text by a CTC model.
#pragma once

#include <caracal/models/pipelines/base.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>
#include <caracal/models/wav2vec2/processing_wav2vec2.h>

namespace caracal {

/// transformers.AutomaticSpeechRecognitionPipeline for Wav2Vec2ForCTC, decoded greedily: `{"text"}`, and with
/// return_timestamps ("char" or "word") also `"chunks": [{"text", "timestamp": [start, end]}, …]`, in seconds. Mono
/// samples, or their file. Long sound is read in chunks of chunk_length_s seconds (0: in one), of which stride_length_s
/// (a number, or one for each side; a sixth of the chunk by default) on each side only serve as context;
/// without chunks, those of PipelineInput::stride do.
class AutomaticSpeechRecognitionPipeline final : public Pipeline {
 public:
  AutomaticSpeechRecognitionPipeline(AnyModel model, Wav2Vec2Processor processor, PipelineFiles files);

 protected:
  struct Choices : Settings {
    int64_t chunk = 0, left = 0, right = 0;  // samples
    std::string timestamps;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  Wav2Vec2Processor processor_;
  PipelineFiles files_;
  const Wav2Vec2Config& config_;  // the model's
};

}  // namespace caracal
