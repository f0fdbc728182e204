#include <caracal/models/pipelines/fill_mask.h>

#include <algorithm>

#include <caracal/models/pipelines/scores.h>

namespace caracal {

FillMaskPipeline::FillMaskPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
    : Pipeline("fill-mask", std::move(model)), tokenizer_(std::move(tokenizer)) {
  if (!tokenizer_.mask_token_id())
    throw Error(ErrorCode::unsupported, task(),
                "expected a tokenizer with a mask token but got " + tokenizer_.class_name());
}

std::vector<int32_t> FillMaskPipeline::target_ids(const std::vector<std::string>& targets) const {
  std::vector<int32_t> ids;
  for (const std::string& target : targets) {
    int32_t id = tokenizer_.backend_tokenizer().token_to_id(target);
    if (id < 0) {
      const std::vector<int32_t> pieces = tokenizer_(TextInput(target), {.add_special_tokens = false}).input_ids(0);
      const std::string instead = pieces.empty() ? "nothing" : "'" + tokenizer_.convert_ids_to_tokens(pieces[0]) + "'";
      model().runtime().log(LogLevel::warning, "fill-mask: the target '" + target + "' is not in the vocabulary; " +
                                                   instead + " takes its place");
      if (pieces.empty()) continue;
      id = pieces[0];
    }
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

std::shared_ptr<const Pipeline::Settings> FillMaskPipeline::settings(const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  choices->top_k = arguments.integer("top_k", 1).value_or(5);
  choices->tokenize = arguments.tokenizer_options("tokenizer_kwargs");
  if (const auto targets = arguments.strings("targets")) {
    choices->targets = target_ids(*targets);
    if (choices->targets.empty()) arguments.refuse("targets", "expected at least one target but got none");
  }
  return choices;
}

Pipeline::Prepared FillMaskPipeline::preprocess(const PipelineInput& input, const Settings& settings) const {
  Prepared prepared = prepare(tokenizer_({TextInput(input.text)}, static_cast<const Choices&>(settings).tokenize));
  const std::vector<int32_t> ids = prepared.encoding.input_ids(0);
  if (std::ranges::find(ids, *tokenizer_.mask_token_id()) == ids.end())
    refuse("expected a text with a mask token (" + *tokenizer_.mask_token() + ") but found none");
  return prepared;
}

Json FillMaskPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const auto& choices = static_cast<const Choices&>(settings);
  const std::vector<int32_t> ids = prepared.encoding.input_ids(0);
  const int32_t mask = *tokenizer_.mask_token_id();
  const bool one = std::ranges::count(ids, mask) == 1;
  const Tensor logits = batch_row(output.logits, first);  // (S, V)
  Json::Array result;
  for (size_t at = 0; at < ids.size(); at++) {
    if (ids[at] != mask) continue;
    const Tensor row = batch_row(logits, int64_t(at));  // (V)
    std::vector<float> scores = softmax(row.values<float>());
    if (!choices.targets.empty()) {
      std::vector<float> chosen;
      for (int32_t id : choices.targets) {
        if (size_t(id) >= scores.size())
          refuse("expected targets below " + std::to_string(scores.size()) + " but got id " + std::to_string(id));
        chosen.push_back(scores[size_t(id)]);
      }
      scores = std::move(chosen);
    }
    Json::Array fillings;
    for (int64_t i : top_k(scores, choices.top_k)) {
      const int32_t token = choices.targets.empty() ? int32_t(i) : choices.targets[size_t(i)];
      std::vector<int32_t> filled = ids;
      filled[at] = token;
      std::erase(filled, tokenizer_.pad_token_id().value_or(-1));
      fillings.emplace_back(Json{{"score", double(scores[size_t(i)])},
                                 {"token", int64_t(token)},
                                 {"token_str", tokenizer_.decode(std::vector{token})},
                                 {"sequence", tokenizer_.decode(filled, one)}});
    }
    if (one) return fillings;
    result.emplace_back(std::move(fillings));
  }
  return result;
}

}  // namespace caracal
