// Pipelines that give one label to a whole input: text-classification, image-classification, audio-classification and
// multiple-choice.
#pragma once

#include <caracal/models/image_processing_auto.h>
#include <caracal/models/pipelines/base.h>

namespace caracal {

/// What the three classifications share: logits to `[{"label", "score"}, …]`, the best first. Arguments: top_k, and
/// function_to_apply ("softmax", "sigmoid", "none"; by default what the configuration's problem_type asks for).
class ClassificationPipeline : public Pipeline {
 protected:
  ClassificationPipeline(std::string task, AnyModel model);
  struct Choices : Settings {
    std::string function;
    int64_t top_k = 0;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override {
    auto choices = std::make_shared<Choices>();
    read(arguments, *choices);
    return choices;
  }
  void read(const Arguments& arguments, Choices& choices) const;
  /// What top_k is when it is not given, and when it is None.
  virtual int64_t default_top_k() const { return top_k_of_none(); }
  virtual int64_t top_k_of_none() const { return int64_t(labels_.size()); }
  virtual std::string default_function() const;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

  std::vector<std::string> labels_;
};

/// transformers.TextClassificationPipeline: `text`, or a pair with `text_pair`. top_k is 1 by default, None: all. Takes
/// the tokenizer's arguments too (Arguments::tokenizer_options): without truncation a text that is too long throws.
class TextClassificationPipeline final : public ClassificationPipeline {
 public:
  TextClassificationPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : ClassificationPipeline("text-classification", std::move(model)), tokenizer_(std::move(tokenizer)) {}

 protected:
  struct TextChoices : Choices {
    TokenizeOptions tokenize;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  int64_t default_top_k() const override { return 1; }
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;

 private:
  PreTrainedTokenizerBase tokenizer_;
};

/// transformers.ImageClassificationPipeline: an image, or its file. top_k is 5 by default, and for None.
class ImageClassificationPipeline final : public ClassificationPipeline {
 public:
  ImageClassificationPipeline(AnyModel model, std::shared_ptr<const BaseImageProcessor> processor, PipelineFiles files)
      : ClassificationPipeline("image-classification", std::move(model)),
        processor_(std::move(processor)),
        files_(std::move(files)) {}

 protected:
  int64_t default_top_k() const override { return 5; }
  int64_t top_k_of_none() const override { return 5; }
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;

 private:
  std::shared_ptr<const BaseImageProcessor> processor_;
  PipelineFiles files_;
};

/// transformers.AudioClassificationPipeline: mono samples, or their file; `{"score", "label"}`, all labels by default.
class AudioClassificationPipeline final : public ClassificationPipeline {
 public:
  AudioClassificationPipeline(AnyModel model, Wav2Vec2FeatureExtractor extractor, PipelineFiles files)
      : ClassificationPipeline("audio-classification", std::move(model)),
        extractor_(std::move(extractor)),
        files_(std::move(files)) {}

 protected:
  std::string default_function() const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  Wav2Vec2FeatureExtractor extractor_;
  PipelineFiles files_;
};

/// Which of `texts` goes best with the prompt `text`: `[{"score", "choice": its index, "text"}, …]`, the best first;
/// the scores are the softmax of the model's logits. transformers has no such pipeline: it is what its documentation of
/// AutoModelForMultipleChoice does. No arguments.
class MultipleChoicePipeline final : public Pipeline {
 public:
  MultipleChoicePipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : Pipeline("multiple-choice", std::move(model)), tokenizer_(std::move(tokenizer)) {}

 protected:
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  PreTrainedTokenizerBase tokenizer_;
};

}  // namespace caracal
