#include <caracal/tokenizers/tokenization_utils.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <mutex>
#include <numeric>

#include <caracal/runtime/error.h>
#include <caracal/runtime/runtime.h>
#include <caracal/tokenizers/special_tokens.h>

namespace caracal {
namespace {

using tokenizers::Encoding;
using tokenizers::Side;
using tokenizers::Text;
using tokenizers::TruncationStrategy;

[[noreturn]] void bad_argument(const std::string& what) { throw Error(ErrorCode::invalid_argument, "tokenizer", what); }

void check_side(const std::string& side, const char* what) {
  if (side != "right" && side != "left") {
    bad_argument("expected " + std::string(what) + " 'right' or 'left' but got '" + side + "'");
  }
}

Side side_of(const std::string& side) { return side == "left" ? Side::left : Side::right; }

// Lower-case direction of the "truncation" or "padding" of a tokenizer.json, or nothing.
std::optional<std::string> baked_side(const Json& tokenizer_json, const char* section) {
  const Json* params = tokenizer_json.find(section);
  const Json* direction = params != nullptr ? params->find("direction") : nullptr;
  if (direction == nullptr || !direction->is_string()) return std::nullopt;
  return direction->as_string() == "Left" ? "left" : "right";
}

// A task of this many texts is long enough to be worth handing over.
constexpr int64_t kTextsPerTask = 8;

// After the texts of other tokens were put in front of those of this row.
void shift_surfaces(Encoding& encoding, size_t by) {
  for (tokenizers::Token& token : encoding.tokens) token.surface += token.surface != 0 ? uint32_t(by) : 0;
  for (Encoding& part : encoding.overflow) shift_surfaces(part, by);
}

// Makes rows of the chunks that were cut off, each behind its own.
void add_overflow(std::vector<Encoding>& rows, std::vector<int64_t>& samples) {
  std::vector<Encoding> all;
  std::vector<int64_t> sample_of_row;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<Encoding> overflow = std::move(rows[i].overflow);
    rows[i].overflow.clear();
    all.push_back(std::move(rows[i]));
    std::move(overflow.begin(), overflow.end(), std::back_inserter(all));
    sample_of_row.resize(all.size(), int64_t(i));
  }
  rows = std::move(all);
  samples = std::move(sample_of_row);
}

Text words_of(std::span<const std::string> words) { return {.words = words, .is_split = true}; }

}  // namespace

Padding::Padding(const char* name) {
  const std::string_view n(name);
  if (n == "longest")
    strategy_ = Strategy::longest;
  else if (n == "max_length")
    strategy_ = Strategy::max_length;
  else if (n == "do_not_pad")
    strategy_ = Strategy::do_not_pad;
  else
    bad_argument("expected padding 'longest', 'max_length' or 'do_not_pad' but got '" + std::string(n) + "'");
}

Truncate::Truncate(const char* name) {
  const std::string_view n(name);
  if (n == "longest_first")
    strategy_ = TruncationStrategy::longest_first;
  else if (n == "only_first")
    strategy_ = TruncationStrategy::only_first;
  else if (n == "only_second")
    strategy_ = TruncationStrategy::only_second;
  else if (n == "do_not_truncate")
    strategy_ = TruncationStrategy::do_not_truncate;
  else
    bad_argument("expected truncation 'longest_first', 'only_first', 'only_second' or 'do_not_truncate' but got '" +
                 std::string(n) + "'");
}

// What init_kwargs holds besides tokens.
void PreTrainedTokenizerBase::read_settings(const TokenizerFiles& files) {
  const Json& init = files.init_kwargs;
  const auto given = [&init](const char* key) {
    const Json* value = init.find(key);
    return value != nullptr && !value->is_null() ? value : nullptr;
  };
  if (const Json* v = given("padding_side"))
    padding_side_ = v->as_string();
  else
    padding_side_ = baked_side(files.tokenizer_json, "padding").value_or("right");
  if (const Json* v = given("truncation_side"))
    truncation_side_ = v->as_string();
  else
    truncation_side_ = baked_side(files.tokenizer_json, "truncation").value_or("right");
  check_side(padding_side_, "padding_side");
  check_side(truncation_side_, "truncation_side");
  const Json* length = given("model_max_length");
  if (length == nullptr) length = given("max_len");
  // transformers writes "no limit" as int(1e30). Less than nothing is an error where something needs it.
  if (length != nullptr && length->as_double() < 1e18)
    model_max_length_ = int64_t(std::max(length->as_double(), -1e18));
  if (const Json* names = given("model_input_names")) {
    model_input_names_.clear();
    for (const Json& name : names->as_array()) model_input_names_.push_back(name.as_string());
  }
  if (const Json* v = given("clean_up_tokenization_spaces")) clean_up_tokenization_spaces_ = v->as_bool();
  if (const Json* v = given("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")) {
    clean_up_bpe_too_ = v->as_bool();
  }
  if (const Json* v = given("split_special_tokens")) split_special_tokens_ = v->as_bool();
}

PreTrainedTokenizerBase::PreTrainedTokenizerBase(tokenizers::Tokenizer pipeline, const TokenizerFiles& files,
                                                 std::string class_name)
    : model_input_names_{"input_ids", "attention_mask"},
      class_name_(std::move(class_name)),
      init_kwargs_(files.init_kwargs) {
  const auto [named, extra] = in_file(files.init_source, [&] {
    read_settings(files);
    return std::pair(named_special_tokens(files.init_kwargs), caracal::extra_special_tokens(files.init_kwargs));
  });
  if (init_kwargs_.contains("auto_map"))
    warnings_.push_back(files.init_source + ": auto_map names Python code to run in the place of this class: ignored");
  for (const auto& [name, token] : named) special_tokens_.emplace_back(name, token.content);
  for (const AddedToken& token : extra) extra_special_tokens_.push_back(token.content);

  // Tokens of the files that the pipeline lacks, in the order of their ids, then special tokens that nobody added.
  std::vector<AddedToken> missing;
  const auto is_known = [&](const AddedToken& token) {
    const auto same = [&](const AddedToken& t) { return t.content == token.content; };
    return pipeline.added().find(token.content) >= 0 || std::any_of(missing.begin(), missing.end(), same);
  };
  for (AddedToken token : files.added_tokens) {
    const AddedToken* known = pipeline.added().token(pipeline.added().find(token.content));
    if (known != nullptr && *known == token) continue;
    token.special = token.special || std::any_of(named.begin(), named.end(),
                                                 [&](const auto& n) { return n.second.content == token.content; });
    missing.push_back(std::move(token));
  }
  for (const auto& [name, token] : named) {
    if (!is_known(token)) missing.push_back(token);
  }
  for (const AddedToken& token : extra) {
    if (!is_known(token)) missing.push_back(token);
  }
  pipeline.add_tokens(missing);
  const Json *truncation = files.tokenizer_json.find("truncation"), *padding = files.tokenizer_json.find("padding");
  pipeline.set_baked({truncation != nullptr ? *truncation : Json(), padding != nullptr ? *padding : Json()});
  pipeline_ = std::make_shared<const tokenizers::Tokenizer>(std::move(pipeline));
}

template <class SampleAt>
void PreTrainedTokenizerBase::encode(size_t count, const SampleAt& sample_at, const TokenizeOptions& options,
                                     BatchEncoding& out) const {
  using Strategy = Padding::Strategy;
  if (count == 0) bad_argument("expected at least one text but got an empty batch");
  if (options.stride < 0) bad_argument("expected stride of at least 0 but got " + std::to_string(options.stride));
  if (options.max_length && *options.max_length < 0) {
    bad_argument("expected max_length of at least 0 but got " + std::to_string(*options.max_length));
  }
  if (options.pad_to_multiple_of && *options.pad_to_multiple_of < 0) {
    bad_argument("expected pad_to_multiple_of of at least 0 but got " + std::to_string(*options.pad_to_multiple_of));
  }
  // max_length alone turns truncation on.
  TruncationStrategy truncation = options.truncation.strategy();
  if (options.max_length && options.padding.is_false() && !options.truncation.given()) {
    truncation = TruncationStrategy::longest_first;
  }
  Strategy padding = options.padding.strategy();
  int64_t max_length = options.max_length.value_or(model_max_length_);
  if (!options.max_length && model_max_length_ == kVeryLargeInteger) {
    if (padding == Strategy::max_length) padding = Strategy::do_not_pad;
    truncation = TruncationStrategy::do_not_truncate;
  }
  const auto pad_id = pad_token_id();
  if (padding != Strategy::do_not_pad && !pad_id) {
    bad_argument(
        "Asking to pad but the tokenizer does not have a padding token. Please select a token to use as "
        "`pad_token` or add a new pad token via add_special_tokens({{\"pad_token\", \"[PAD]\"}}).");
  }
  const int64_t multiple = options.pad_to_multiple_of.value_or(0);
  const bool needs_length = truncation != TruncationStrategy::do_not_truncate || padding == Strategy::max_length;
  if (truncation != TruncationStrategy::do_not_truncate && padding != Strategy::do_not_pad && multiple > 0 &&
      max_length % multiple != 0) {
    bad_argument("Truncation and padding are both activated but truncation length (" + std::to_string(max_length) +
                 ") is not a multiple of pad_to_multiple_of (" + std::to_string(multiple) + ").");
  }
  if (needs_length && (max_length < 0 || max_length > INT32_MAX)) {
    bad_argument("expected model_max_length or max_length from 0 to 2^31 - 1 but got " + std::to_string(max_length));
  }
  const auto special = int64_t(num_special_tokens_to_add());
  if (truncation != TruncationStrategy::do_not_truncate && max_length >= special &&
      options.stride > max_length - special) {
    bad_argument("tokenizer stride set to " + std::to_string(options.stride) +
                 ", which is greater than or equal to its effective max length of " +
                 std::to_string(max_length - special) + " (= " + std::to_string(max_length) +
                 " original max length - " + std::to_string(special) + " added special tokens)");
  }
  const std::string& padding_side = options.padding_side ? *options.padding_side : padding_side_;
  check_side(padding_side, "padding_side");

  const tokenizers::Truncation cut{.max_length = size_t(max_length),
                                   .stride = size_t(options.stride),
                                   .strategy = truncation,
                                   .side = side_of(truncation_side_),
                                   .keep_overflow = options.return_overflowing_tokens};
  const bool split_special = options.split_special_tokens.value_or(split_special_tokens_);
  const bool alone = options.runtime == nullptr || count < 2;
  out.resize(count);
  // Rows of overflow come new with every call: those of the last call are not kept for the next.
  if (options.return_overflowing_tokens) out.buffers_.rows.clear();
  out.extras_.clear();
  out.surfaces_.clear();
  out.tokenizer_ = pipeline_;
  std::vector<Encoding>& rows = out.rows_;
  std::vector<tokenizers::Tokenizer::Workspace>& workspaces = out.buffers_.workspaces;
  const auto tasks = size_t(alone ? 1 : options.runtime->max_tasks());
  if (workspaces.size() < tasks) workspaces.resize(tasks);
  std::mutex mutex;
  const auto encode_range = [&](size_t begin, size_t end, tokenizers::Tokenizer::Workspace& workspace) {
    workspace.model.surfaces.clear();
    for (size_t i = begin; i < end; ++i) {
      const Sample sample = sample_at(i);
      pipeline_->encode(sample.first, sample.second ? &*sample.second : nullptr, options.add_special_tokens, cut,
                        split_special, workspace, rows[i]);
    }
    if (workspace.model.surfaces.size() == 0) return;
    const std::lock_guard lock(mutex);
    for (size_t i = begin; i < end; ++i) shift_surfaces(rows[i], out.surfaces_.size());
    out.surfaces_.append(workspace.model.surfaces);
  };
  if (alone) {
    encode_range(0, count, workspaces[0]);
  } else {
    std::exception_ptr failure;  // the first one: tasks of the pool must not throw
    options.runtime->parallel(int64_t(count), kTextsPerTask, [&](int64_t begin, int64_t end, int task) {
      try {
        encode_range(size_t(begin), size_t(end), workspaces[size_t(task)]);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (failure == nullptr) failure = std::current_exception();
      }
    });
    if (failure != nullptr) std::rethrow_exception(failure);
  }
  if (padding != Strategy::do_not_pad) {
    size_t length = size_t(max_length);
    if (padding == Strategy::longest) {
      length = 0;
      for (const Encoding& row : rows) length = std::max(length, row.size());
    }
    const auto step = size_t(multiple);
    if (step > 0 && length % step != 0) length += step - length % step;
    for (Encoding& row : rows) {
      tokenizers::pad(row, length, {.id = *pad_id, .type_id = 0, .side = side_of(padding_side)});
    }
  }

  out.samples_.resize(count);
  std::iota(out.samples_.begin(), out.samples_.end(), int64_t(0));
  if (options.return_overflowing_tokens) add_overflow(rows, out.samples_);
  constexpr std::string_view kNames[] = {"input_ids", "token_type_ids", "attention_mask"};
  size_t names = 0;
  for (const std::string_view name : kNames) {
    const bool is_input =
        std::find(model_input_names_.begin(), model_input_names_.end(), name) != model_input_names_.end();
    if (!is_input && names != 0) continue;
    if (out.names_.size() == names) out.names_.emplace_back();
    out.names_[names++] = name;
  }
  out.names_.resize(names);
}

BatchEncoding PreTrainedTokenizerBase::encode(std::span<const Sample> samples, const TokenizeOptions& options) const {
  BatchEncoding out;
  encode(
      samples.size(), [&](size_t i) { return samples[i]; }, options, out);
  out.buffers_ = {};
  return out;
}

void PreTrainedTokenizerBase::encode(std::span<const TextInput> texts, const TokenizeOptions& options,
                                     BatchEncoding& out) const {
  if (options.is_split_into_words) {
    bad_argument("expected texts but got is_split_into_words, which encode() into a BatchEncoding does not take");
  }
  const auto sample_at = [&](size_t i) {
    const TextInput& text = texts[i];
    return Sample{{.text = text.text}, text.pair ? std::optional(Text{.text = *text.pair}) : std::nullopt};
  };
  encode(texts.size(), sample_at, options, out);
}

void PreTrainedTokenizerBase::encode(std::string_view text, const TokenizeOptions& options, BatchEncoding& out) const {
  const TextInput input(text);
  encode(std::span(&input, 1), options, out);
}

BatchEncoding PreTrainedTokenizerBase::operator()(const TextInput& text, const TokenizeOptions& options) const {
  // Unlike in a batch, an empty second text is no second text.
  if (text.pair && text.pair->empty()) return (*this)(std::span<const TextInput>({TextInput(text.text)}), options);
  return (*this)(std::span(&text, 1), options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(std::string_view text, std::string_view text_pair,
                                                  const TokenizeOptions& options) const {
  return (*this)(TextInput(text, text_pair), options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(std::initializer_list<TextInput> texts,
                                                  const TokenizeOptions& options) const {
  return (*this)(std::span(texts.begin(), texts.size()), options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(std::span<const TextInput> texts,
                                                  const TokenizeOptions& options) const {
  if (options.is_split_into_words) {  // {"Hello", "world"} is one text in words
    std::vector<std::string> words;
    for (const TextInput& text : texts) {
      if (text.pair) bad_argument("expected words but got a pair of texts with is_split_into_words");
      words.emplace_back(text.text);
    }
    return (*this)(words, options);
  }
  BatchEncoding out;
  encode(texts, options, out);
  out.buffers_ = {};
  return out;
}

BatchEncoding PreTrainedTokenizerBase::operator()(const std::vector<std::string>& texts,
                                                  const TokenizeOptions& options) const {
  std::vector<Sample> samples;
  if (options.is_split_into_words) {
    samples.push_back({words_of(texts), {}});
  } else {
    for (const std::string& text : texts) samples.push_back({{.text = text}, {}});
  }
  return encode(samples, options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(std::initializer_list<std::string> texts,
                                                  std::initializer_list<std::string> pairs,
                                                  const TokenizeOptions& options) const {
  return (*this)(std::vector<std::string>(texts), std::span(pairs.begin(), pairs.size()), options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(const std::vector<std::string>& texts,
                                                  std::initializer_list<std::string> pairs,
                                                  const TokenizeOptions& options) const {
  return (*this)(texts, std::span(pairs.begin(), pairs.size()), options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(const std::vector<std::string>& texts,
                                                  std::span<const std::string> pairs,
                                                  const TokenizeOptions& options) const {
  std::vector<Sample> samples;
  if (options.is_split_into_words) {
    samples.push_back({words_of(texts), pairs.empty() ? std::nullopt : std::optional(words_of(pairs))});
    return encode(samples, options);
  }
  if (texts.size() != pairs.size()) {
    bad_argument("batch length of `text`: " + std::to_string(texts.size()) +
                 " does not match batch length of `text_pair`: " + std::to_string(pairs.size()) + ".");
  }
  for (size_t i = 0; i < texts.size(); ++i) samples.push_back({{.text = texts[i]}, Text{.text = pairs[i]}});
  return encode(samples, options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(const std::vector<std::vector<std::string>>& texts,
                                                  const TokenizeOptions& options) const {
  std::vector<Sample> samples;
  for (const auto& words : texts) samples.push_back({words_of(words), {}});
  return encode(samples, options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(const std::vector<std::vector<std::string>>& texts,
                                                  std::initializer_list<std::vector<std::string>> pairs,
                                                  const TokenizeOptions& options) const {
  return (*this)(texts, std::span(pairs.begin(), pairs.size()), options);
}

BatchEncoding PreTrainedTokenizerBase::operator()(const std::vector<std::vector<std::string>>& texts,
                                                  std::span<const std::vector<std::string>> pairs,
                                                  const TokenizeOptions& options) const {
  if (texts.size() != pairs.size()) {
    bad_argument("batch length of `text`: " + std::to_string(texts.size()) +
                 " does not match batch length of `text_pair`: " + std::to_string(pairs.size()) + ".");
  }
  std::vector<Sample> samples;
  for (size_t i = 0; i < texts.size(); ++i) samples.push_back({words_of(texts[i]), words_of(pairs[i])});
  return encode(samples, options);
}

}  // namespace caracal
