// tokenize and detokenize: a line in, a line out.
#include <cstdio>

#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/tokenization_auto.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, padding, save;
  bool pair = false, no_special_tokens = false, json = false, slow = false, skip_special_tokens = false,
       word_ids = false;
  int64_t max_length = 0, stride = 0;
};

template <class Values>
Json list(const Values& values) {
  Json::Array array;
  for (const auto& value : values) array.emplace_back(value);
  return array;
}

Json row_json(const BatchEncoding& encoding, size_t i, bool word_ids) {
  Json::Array offsets;
  for (auto [begin, end] : encoding.offsets(i)) offsets.push_back(Json::Array{int64_t(begin), int64_t(end)});
  Json row = Json::Object{{"input_ids", list(encoding.input_ids(i))}};
  if (encoding.contains("token_type_ids")) row.set("token_type_ids", list(encoding.token_type_ids(i)));
  row.set("attention_mask", list(encoding.attention_mask(i)));
  row.set("special_tokens_mask", list(encoding.special_tokens_mask(i)));
  row.set("tokens", list(encoding.tokens(i)));
  row.set("offset_mapping", std::move(offsets));
  if (word_ids) row.set("word_ids", list(encoding.word_ids(i)));
  return row;
}

using TextOrPair = std::pair<std::string, std::optional<std::string>>;

TextOrPair split_line(const std::string& line, const Options& o) {
  if (o.json) {
    const Json value = Json::parse(line, "stdin");
    if (!value.is_array()) return {value.as_string(), std::nullopt};
    if (value.as_array().size() != 2)
      throw Error(ErrorCode::bad_file, "stdin", "expected a JSON string or a list of two but got " + line);
    return {value.as_array()[0].as_string(), value.as_array()[1].as_string()};
  }
  if (!o.pair) return {line, std::nullopt};
  const size_t tab = line.find('\t');
  if (tab == std::string::npos)
    throw Error(ErrorCode::invalid_argument, "stdin", "expected two texts with a tab between but got '" + line + "'");
  return {line.substr(0, tab), line.substr(tab + 1)};
}

void tokenize(const Options& o) {
  const PreTrainedTokenizerBase tokenizer =
      AutoTokenizer::from_pretrained(o.model, o.slow ? Json{{"use_fast", false}} : Json());
  for (const std::string& warning : tokenizer.warnings()) print_warning(warning);
  if (!o.save.empty()) tokenizer.save_pretrained(o.save);
  TokenizeOptions options;
  options.add_special_tokens = !o.no_special_tokens;
  if (!o.padding.empty()) options.padding = Padding(o.padding.c_str());
  if (o.max_length > 0) {
    options.max_length = o.max_length;
    options.truncation = true;
  }
  options.stride = o.stride;
  options.return_overflowing_tokens = o.stride > 0;
  auto input = [](const TextOrPair& line) {  // views of `line`
    return line.second ? TextInput(line.first, *line.second) : TextInput(line.first);
  };
  auto print = [&](const BatchEncoding& encoding) {
    for (size_t i = 0; i < encoding.size(); i++) print_line(row_json(encoding, i, o.word_ids).dump());
  };
  if (o.padding != "longest") {
    for (std::string line; read_line(line);) print(tokenizer(input(split_line(line, o)), options));
    return;
  }
  std::vector<TextOrPair> lines;  // all at once, to know the longest
  for (std::string line; read_line(line);) lines.push_back(split_line(line, o));
  std::vector<TextInput> batch;
  for (const TextOrPair& line : lines) batch.push_back(input(line));
  if (!batch.empty()) print(tokenizer(std::span<const TextInput>(batch), options));
}

void detokenize(const Options& o) {
  const PreTrainedTokenizerBase tokenizer = AutoTokenizer::from_pretrained(o.model);
  for (const std::string& warning : tokenizer.warnings()) print_warning(warning);
  for (std::string line; read_line(line);) {
    std::vector<int32_t> ids;
    const Json json = Json::parse(line, "stdin");
    for (const Json& id : json.as_array()) {
      if (id.as_int() < 0 || id.as_int() > INT32_MAX)
        throw Error(ErrorCode::invalid_argument, "stdin", "expected token ids of at least 0 but got " + id.dump());
      ids.push_back(int32_t(id.as_int()));
    }
    const std::string text = tokenizer.decode(ids, o.skip_special_tokens);
    print_line(o.json ? Json(text).dump() : text);
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("tokenize", "Texts on stdin, a line each, to one JSON object a line");
  o->common.add_to(*sub);
  sub->add_option("--model", o->model, "checkpoint directory, tokenizer.json or vocab.txt")->required();
  sub->add_flag("--pair", o->pair, "lines hold two texts, separated by a tab");
  sub->add_flag("--json", o->json, "lines are JSON strings or lists of two");
  sub->add_flag("--no-special-tokens", o->no_special_tokens, "leave out [CLS], [SEP] …");
  sub->add_option("--max-length", o->max_length, "cut to so many tokens")->check(CLI::PositiveNumber);
  sub->add_option("--padding", o->padding, "longest or max_length")->check(CLI::IsMember({"longest", "max_length"}));
  sub->add_option("--stride", o->stride, "with --max-length: a line for each chunk, overlapping by so many tokens")
      ->check(CLI::NonNegativeNumber);
  sub->add_flag("--word-ids", o->word_ids, "add word_ids, the number of each token's word, or -1");
  sub->add_option("--save", o->save, "first write the tokenizer's files to this directory");
  sub->add_flag("--slow", o->slow, "the plain algorithm, for the classes that have one (BERT)");
  sub->callback([o] { tokenize(*o); });
}

void add_detokenize(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("detokenize", "JSON lists of ids on stdin, a line each, to texts");
  o->common.add_to(*sub);
  sub->add_option("--model", o->model, "checkpoint directory, tokenizer.json or vocab.txt")->required();
  sub->add_flag("--json", o->json, "print each text as a JSON string");
  sub->add_flag("--skip-special-tokens", o->skip_special_tokens, "leave out [CLS], [SEP] …");
  sub->callback([o] { detokenize(*o); });
}

}  // namespace caracal::cli
