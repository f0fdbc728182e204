// The fill-mask pipeline: what could stand where a text has a mask token.
#pragma once

#include <caracal/models/pipelines/base.h>

namespace caracal {

/// transformers.FillMaskPipeline: `[{"score", "token", "token_str", "sequence"}, …]`, or for a text with several masks
/// a list of these lists. Arguments: top_k (5), targets (the tokens to choose among; of one that is not in the
/// vocabulary, which is logged, its first piece counts), tokenizer_kwargs (Arguments::tokenizer_options). Throws for a
/// text without a mask.
class FillMaskPipeline final : public Pipeline {
 public:
  /// Throws unsupported when the tokenizer has no mask token.
  FillMaskPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer);

 protected:
  struct Choices : Settings {
    int64_t top_k = 5;
    std::vector<int32_t> targets;  // empty: all tokens
    TokenizeOptions tokenize;
  };
  std::shared_ptr<const Settings> settings(const Arguments& arguments) const override;
  Prepared preprocess(const PipelineInput& input, const Settings& settings) const override;
  Json postprocess(const Outcome& outcome, const Settings& settings) const override;

 private:
  std::vector<int32_t> target_ids(const std::vector<std::string>& targets) const;

  PreTrainedTokenizerBase tokenizer_;
};

}  // namespace caracal
