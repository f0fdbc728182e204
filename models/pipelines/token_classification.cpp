#include <caracal/models/pipelines/token_classification.h>

#include <algorithm>

#include <caracal/models/pipelines/scores.h>

namespace caracal {
namespace {

// In the order of AggregationStrategy.
constexpr std::string_view kStrategies[] = {"none", "simple", "first", "average", "max"};

std::string joined(const std::vector<std::string>& words, const std::string& delimiter) {
  std::string text;
  for (const std::string& word : words) text += (&word == &words[0] ? "" : delimiter) + word;
  return text;
}

}  // namespace

std::pair<bool, std::string> split_label(const std::string& label) {
  const bool begins = label.starts_with("B-");
  return {begins, begins || label.starts_with("I-") ? label.substr(2) : label};
}

TokenClassificationPipeline::TokenClassificationPipeline(AnyModel model, PreTrainedTokenizerBase tokenizer)
    : Pipeline("token-classification", model),
      tokenizer_(std::move(tokenizer)),
      labels_(labels_of(model->config())),
      marks_subwords_(!tokenizer_.backend_tokenizer().parts().model->continuing_subword_prefix().empty()) {}

std::shared_ptr<const Pipeline::Settings> TokenClassificationPipeline::settings(const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  const std::string strategy = arguments.choice("aggregation_strategy", kStrategies);
  if (!strategy.empty())
    choices->strategy = AggregationStrategy(std::ranges::find(kStrategies, strategy) - std::begin(kStrategies));
  if (auto labels = arguments.strings("ignore_labels")) choices->ignored = std::move(*labels);
  if (auto delimiter = arguments.strings("delimiter")) choices->delimiter = joined(*delimiter, "");
  choices->stride = arguments.integer("stride", 0);
  if (choices->stride && choices->strategy == AggregationStrategy::none)
    arguments.refuse("stride", "expected an aggregation_strategy other than none with it");
  if (choices->stride && *choices->stride >= tokenizer_.model_max_length())
    arguments.refuse("stride", "expected less than the tokenizer's model_max_length of " +
                                   std::to_string(tokenizer_.model_max_length()) + " but got " +
                                   std::to_string(*choices->stride));
  return choices;
}

Pipeline::Prepared TokenClassificationPipeline::preprocess(const PipelineInput& input, const Settings& settings) const {
  const auto& choices = static_cast<const Choices&>(settings);
  TokenizeOptions options{.truncation = true};
  if (choices.stride) {
    options.stride = *choices.stride;
    options.return_overflowing_tokens = true;
  }
  if (input.words.empty()) return prepare(tokenizer_({TextInput(input.text)}, options));
  return prepare(tokenizer_(std::vector<std::vector<std::string>>{input.words}, options));
}

std::vector<TokenClassificationPipeline::Entity> TokenClassificationPipeline::tokens_of(
    const Prepared& prepared, size_t row, const Tensor& logits, const PipelineInput& input, const CodePoints& text,
    const Choices& choices) const {
  std::vector<int64_t> word_begins;  // of given words, in the text
  int64_t begin = 0;
  for (const std::string& word : input.words) {
    word_begins.push_back(begin);
    begin += int64_t(tokenizers::unicode::count_code_points(tokenizers::unicode::replace_invalid_utf8(word)) +
                     tokenizers::unicode::count_code_points(choices.delimiter));
  }
  std::vector<Entity> entities;
  const std::span<const tokenizers::Token> tokens = prepared.encoding.row(row);
  for (size_t i = 0; i < tokens.size(); i++) {
    const tokenizers::Token& token = tokens[i];
    if (token.special) continue;
    const int64_t shift = token.word >= 0 && !word_begins.empty() ? word_begins.at(size_t(token.word)) : 0;
    Entity& entity = entities.emplace_back();
    entity.scores = softmax(batch_row(logits, int64_t(i)).values<float>());
    entity.index = int64_t(i);
    entity.start = shift + token.begin;
    entity.end = shift + token.end;
    entity.word = tokenizer_.convert_ids_to_tokens(token.id);
    const std::string_view shown = text.slice(size_t(entity.start), size_t(entity.end));
    entity.continues =
        marks_subwords_
            ? tokenizers::unicode::count_code_points(entity.word) != tokenizers::unicode::count_code_points(shown)
            : entity.start > 0 &&
                  text.slice(size_t(entity.start - 1), size_t(entity.start + 1)).find(' ') == std::string_view::npos;
    if (tokenizer_.unk_token_id() == token.id) {
      entity.word = shown;
      entity.continues = false;
    }
  }
  return entities;
}

void TokenClassificationPipeline::label(Entity& entity) const {
  const int64_t best = argmax(entity.scores);
  entity.label = labels_.at(size_t(best));
  entity.score = entity.scores[size_t(best)];
}

TokenClassificationPipeline::Entity TokenClassificationPipeline::word_of(std::span<const Entity> tokens,
                                                                         AggregationStrategy strategy) const {
  Entity word = tokens[0];
  if (strategy == AggregationStrategy::max) {
    auto surest = [](const Entity& token) { return *std::ranges::max_element(token.scores); };
    word.scores = std::ranges::max_element(tokens, {}, surest)->scores;
  } else if (strategy == AggregationStrategy::average) {
    for (size_t i = 0; i < word.scores.size(); i++) {
      double sum = 0;
      for (const Entity& token : tokens) sum += double(token.scores[i]);
      word.scores[i] = float(sum / double(tokens.size()));
    }
  }
  label(word);
  word.end = tokens.back().end;
  std::vector<std::string> pieces;
  for (const Entity& token : tokens) pieces.push_back(token.word);
  word.word = tokenizer_.convert_tokens_to_string(std::move(pieces));
  return word;
}

std::vector<TokenClassificationPipeline::Entity> TokenClassificationPipeline::words_of(
    const std::vector<Entity>& tokens, AggregationStrategy strategy) const {
  std::vector<Entity> words;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin + 1;
    while (end < tokens.size() && tokens[end].continues) end++;
    words.push_back(word_of(std::span(tokens).subspan(begin, end - begin), strategy));
    begin = end;
  }
  return words;
}

std::vector<TokenClassificationPipeline::Entity> TokenClassificationPipeline::groups_of(
    const std::vector<Entity>& words) const {
  std::vector<Entity> groups;
  for (size_t begin = 0; begin < words.size();) {
    const std::string kind = split_label(words[begin].label).second;
    size_t end = begin;
    double sum = 0;
    std::vector<std::string> parts;
    do {
      sum += double(words[end].score);
      parts.push_back(words[end++].word);
    } while (end < words.size() && split_label(words[end].label) == std::pair(false, kind));
    Entity& group = groups.emplace_back();
    const std::string& label = words[begin].label;
    group.label = label.substr(label.find('-') + 1);  // all of it where there is none
    group.score = float(sum / double(end - begin));
    group.word = tokenizer_.convert_tokens_to_string(std::move(parts));
    group.start = words[begin].start;
    group.end = words[end - 1].end;
    begin = end;
  }
  return groups;
}

Json TokenClassificationPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const auto& choices = static_cast<const Choices&>(settings);
  const CodePoints text(input.words.empty() ? input.text : joined(input.words, choices.delimiter));
  std::vector<Entity> all;
  for (size_t row = 0; row < prepared.encoding.size(); row++) {
    const Tensor logits = batch_row(output.logits, first + int64_t(row));  // (S, C)
    std::vector<Entity> entities = tokens_of(prepared, row, logits, input, text, choices);
    if (choices.strategy == AggregationStrategy::none || choices.strategy == AggregationStrategy::simple) {
      for (Entity& entity : entities) label(entity);
    } else {
      entities = words_of(entities, choices.strategy);
    }
    if (choices.strategy != AggregationStrategy::none) entities = groups_of(entities);
    for (Entity& entity : entities)
      if (std::ranges::find(choices.ignored, entity.label) == choices.ignored.end()) all.push_back(std::move(entity));
  }
  if (prepared.encoding.size() > 1) {  // of entities that overlap, the longest stays, then the surest
    std::ranges::stable_sort(all, {}, &Entity::start);
    std::vector<Entity> kept;
    for (Entity& entity : all) {
      if (kept.empty() || entity.start >= kept.back().end) {
        kept.push_back(std::move(entity));
        continue;
      }
      const int64_t length = entity.end - entity.start, before = kept.back().end - kept.back().start;
      if (length > before || (length == before && entity.score > kept.back().score)) kept.back() = std::move(entity);
    }
    all = std::move(kept);
  }
  Json::Array result;
  for (const Entity& entity : all) {
    const bool grouped = choices.strategy != AggregationStrategy::none;
    Json json{{grouped ? "entity_group" : "entity", entity.label}, {"score", double(entity.score)}};
    if (!grouped) json.set("index", entity.index);
    json.set("word", entity.word);
    json.set("start", entity.start);
    json.set("end", entity.end);
    result.push_back(std::move(json));
  }
  return result;
}

BatchFeature read_page(const PipelineInput& input, const LayoutLMv2ImageProcessor& processor,
                       const PipelineFiles& files, bool text_is_file, Json arguments) {
  if (input.words.size() != input.boxes.size())
    throw Error(ErrorCode::invalid_argument, "pipeline",
                "expected as many boxes as words but got " + std::to_string(input.boxes.size()) + " and " +
                    std::to_string(input.words.size()));
  arguments.set("apply_ocr", input.words.empty());
  BatchFeature page = pixels_of(processor, image_of(input, files, text_is_file), std::move(arguments));
  if (!input.words.empty()) {
    page.words = {input.words};
    page.boxes = {input.boxes};
  }
  return page;
}

DocumentTokenClassificationPipeline::DocumentTokenClassificationPipeline(AnyModel model, LayoutLMv2Processor processor,
                                                                         PipelineFiles files)
    : Pipeline("document-token-classification", model),
      processor_(std::move(processor)),
      files_(std::move(files)),
      labels_(labels_of(model->config())) {
  processor_.image_processor().set_ocr_engine(files_.ocr);
}

std::shared_ptr<const Pipeline::Settings> DocumentTokenClassificationPipeline::settings(
    const Arguments& arguments) const {
  auto choices = std::make_shared<Choices>();
  choices->simple = arguments.choice("aggregation_strategy", {"none", "simple"}) == "simple";
  return choices;
}

Pipeline::Prepared DocumentTokenClassificationPipeline::preprocess(const PipelineInput& input, const Settings&) const {
  BatchFeature page = read_page(input, processor_.image_processor(), files_, true);
  Prepared prepared = prepare(processor_.tokenizer()(page.words, page.boxes, {.tokenize = {.truncation = true}}));
  prepared.set("image", page.list("pixel_values"));
  prepared.words = std::move(page.words);
  prepared.boxes = std::move(page.boxes);
  return prepared;
}

Json DocumentTokenClassificationPipeline::postprocess(const Outcome& outcome, const Settings& settings) const {
  const auto& [input, prepared, output, first] = outcome;
  const bool simple = static_cast<const Choices&>(settings).simple;
  struct Group {
    std::string kind, words;
    BatchFeature::Box box;
    double score = 0;
    int64_t count = 0;
  };
  std::vector<Group> groups;
  Json::Array result;
  const Tensor logits = batch_row(output.logits, first);  // (S, C)
  const std::span<const tokenizers::Token> tokens = prepared.encoding.row(0);
  int32_t before = -1;
  for (size_t i = 0; i < tokens.size(); i++) {
    const int32_t word = tokens[i].word;
    if (word < 0 || word == before) continue;
    before = word;
    const std::vector<float> scores = softmax(batch_row(logits, int64_t(i)).values<float>());
    const size_t best = size_t(argmax(scores));
    const std::string &label = labels_.at(best), &text = prepared.words[0].at(size_t(word));
    const BatchFeature::Box& box = prepared.boxes[0].at(size_t(word));
    if (!simple) {
      if (label != "O")
        result.emplace_back(Json{{"entity", label},
                                 {"score", double(scores[best])},
                                 {"index", int64_t(word)},
                                 {"word", text},
                                 {"box", Json::Array(box.begin(), box.end())}});
      continue;
    }
    const auto [begins, kind] = split_label(label);
    if (groups.empty() || groups.back().kind != kind || begins) groups.push_back({kind, "", box});
    Group& group = groups.back();
    group.words += (group.count++ > 0 ? " " : "") + text;
    group.score += double(scores[best]);
    for (size_t side : {0u, 1u}) group.box[side] = std::min(group.box[side], box[side]);
    for (size_t side : {2u, 3u}) group.box[side] = std::max(group.box[side], box[side]);
  }
  for (const Group& group : groups) {
    if (group.kind == "O") continue;
    result.emplace_back(Json{{"entity_group", group.kind},
                             {"score", group.score / double(group.count)},
                             {"word", group.words},
                             {"box", Json::Array(group.box.begin(), group.box.end())}});
  }
  return result;
}

}  // namespace caracal
