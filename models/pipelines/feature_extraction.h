// Pipelines that give what a model makes of an input before any head: feature-extraction, image-feature-extraction and
// sentence-similarity.
#pragma once

#include <caracal/models/image_processing_auto.h>
#include <caracal/models/pipelines/base.h>
#include <caracal/models/pipelines/sentence_transformer.h>

namespace caracal {

/// transformers.FeatureExtractionPipeline: the last hidden state of a text's tokens as nested lists, (1, S, H). Texts
/// are not cut: one longer than the model allows throws, unless the argument truncation is given. Arguments:
/// truncation, tokenize_kwargs (Arguments::tokenizer_options).
class FeatureExtractionPipeline final : public Pipeline {
 public:
  FeatureExtractionPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
      : Pipeline("feature-extraction", std::move(model)), tokenizer_(std::move(tokenizer)) {}
  static FeatureExtractionPipeline from_pretrained(const std::string& path, const LoadOptions& options = {});

  /// The features of each text as a tensor, (S, H) F32.
  std::vector<Tensor> features(const std::vector<std::string>& texts) const;

 protected:
  struct Choices : Settings {
    TokenizeOptions tokenize;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  PreTrainedTokenizerBase tokenizer_;
};

/// transformers.ImageFeatureExtractionPipeline: the last hidden state of an image as nested lists, (1, S, H), or with
/// the argument pool (false) the pooled output, (1, H). Another argument: image_processor_kwargs. Throws
/// invalid_argument for pool without a pooler.
class ImageFeatureExtractionPipeline final : public Pipeline {
 public:
  ImageFeatureExtractionPipeline(AnyModel model, std::shared_ptr<const BaseImageProcessor> processor,
                                 PipelineFiles files)
      : Pipeline("image-feature-extraction", std::move(model)),
        processor_(std::move(processor)),
        files_(std::move(files)) {}

 protected:
  struct Choices : Settings {
    bool pool = false;
    Json image_processor_kwargs = Json::Object{};
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  std::shared_ptr<const BaseImageProcessor> processor_;
  PipelineFiles files_;
};

/// How near each of `texts` is to the source sentence `text`: a list of numbers, as sentence_transformers' similarity
/// gives them for what encode makes of the texts. Arguments: prompt_name and prompt, as encode takes them.
class SentenceSimilarityPipeline final : public Pipeline {
 public:
  explicit SentenceSimilarityPipeline(SentenceTransformer sentences)
      : Pipeline("sentence-similarity", sentences.any_model()), sentences_(std::move(sentences)) {}

 protected:
  struct Choices : Settings {
    SentenceTransformer::Prompt prompt;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  SentenceTransformer sentences_;
};

}  // namespace caracal
