#include <caracal/models/pipelines/sentence_transformer.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include <caracal/loaders/file.h>
#include <caracal/models/pipelines/base.h>
#include <caracal/models/tokenization_auto.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

// "sentence_transformers.models.Pooling" -> "Pooling"
std::string last_part(const std::string& dotted) { return dotted.substr(dotted.rfind('.') + 1); }

bool exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// In the order of SimilarityFunction.
constexpr std::string_view kSimilarities[] = {"cosine", "dot", "euclidean", "manhattan"};

// The folder `name` of the model, a name from `file`: it may not lie elsewhere, links included. A folder that is not
// there is for who reads it to report.
fs::path folder_beneath(const std::string& root, const std::string& name, const std::string& file) {
  if (name.empty()) return root;
  check_relative_name(name, file);
  std::error_code error;
  const fs::path whole = fs::canonical(root, error), folder = fs::canonical(whole / name, error);
  if (error) return fs::path(root) / name;
  if (*folder.lexically_relative(whole).begin() == "..")
    throw Error(ErrorCode::bad_file, file,
                "expected a folder inside this directory but got " + Json(name).dump() + ", a link that leaves it");
  return folder;
}

// The type and folder of each module, in order.
struct Module {
  std::string type;
  fs::path folder;
};
std::vector<Module> read_modules(const std::string& root) {
  const std::string file = root + "/modules.json";
  if (!exists(file)) return {{"Transformer", root}, {"Pooling", {}}};  // a plain model: mean pooling
  std::vector<Module> modules;
  const Json list = Json::parse_file(file);
  in_file(file, [&] {
    for (const Json& module : list.as_array())
      modules.push_back(
          {last_part(module.at("type").as_string()), folder_beneath(root, module.at("path").as_string(), file)});
  });
  std::string types;
  for (const Module& module : modules) types += (types.empty() ? "" : ", ") + module.type;
  if (types != "Transformer, Pooling" && types != "Transformer, Pooling, Normalize")
    throw Error(ErrorCode::unsupported, file,
                "expected modules Transformer, Pooling and perhaps Normalize but got " + types);
  return modules;
}

EncodeOptions prompted(EncodeOptions options, const char* prompt_name) {
  if (!options.prompt && !options.prompt_name) options.prompt_name = prompt_name;
  return options;
}

// The one pooling mode that is on: "cls", "mean" or "max".
std::string pooling_mode(const Json& config, const std::string& where) {
  if (const Json* mode = config.find("pooling_mode"); mode != nullptr && mode->is_string()) return mode->as_string();
  std::string found;
  for (const auto& [key, value] : config.as_object()) {
    if (!key.starts_with("pooling_mode_") || !value.is_bool() || !value.as_bool()) continue;
    if (!found.empty()) throw Error(ErrorCode::unsupported, where, "expected one pooling mode but got several");
    found = key.substr(std::string("pooling_mode_").size());
  }
  for (const char* mode : {"cls", "mean", "max"})
    if (found == std::string(mode) + "_token" + (mode == std::string("cls") ? "" : "s")) return mode;
  return found;
}

}  // namespace

SentenceTransformer SentenceTransformer::from_pretrained(const std::string& path, const LoadOptions& options) {
  const std::string root = checkpoint_directory(path, options, HubPart::sentence_transformer);
  const std::vector<Module> modules = read_modules(root);
  const std::string transformer = modules[0].folder.string();
  LoadOptions base = options;
  base.subfolder.clear();
  base.add_pooling_layer = false;
  SentenceTransformer result(AutoModel::from_pretrained(transformer, base),
                             AutoTokenizer::from_pretrained(transformer));
  log_warnings(result.model_, result.tokenizer_);
  result.normalize_ = modules.size() == 3;
  if (!modules[1].folder.empty()) {
    const std::string file = (modules[1].folder / "config.json").string();
    const Json settings = Json::parse_file(file);
    const std::string mode = in_file(file, [&] { return pooling_mode(settings, file); });
    if (mode == "cls")
      result.pooling_ = Pooling::cls;
    else if (mode == "max")
      result.pooling_ = Pooling::max;
    else if (mode != "mean")
      throw Error(ErrorCode::unsupported, file, "expected pooling mode cls, mean or max but got '" + mode + "'");
    if (const Json* include = settings.find("include_prompt"); include != nullptr && !include->is_null())
      result.include_prompt_ = in_file(file, [&] { return include->as_bool(); });
  }

  // What the tokenizer and the model allow, unless the Transformer module says another length than the tokenizer.
  int64_t most = PreTrainedTokenizerBase::kVeryLargeInteger;
  const Json config = result.model_->config().to_dict();
  if (const Json* positions = config.find("max_position_embeddings")) most = positions->as_int();
  result.max_seq_length_ = std::min(most, result.tokenizer_.model_max_length());
  if (const std::string file = transformer + "/sentence_bert_config.json"; exists(file)) {
    const Json settings = Json::parse_file(file);
    if (const Json* limit = settings.find("max_seq_length"); limit != nullptr && limit->is_integer()) {
      if (limit->as_int() < 1 || limit->as_int() > most)
        throw Error(ErrorCode::bad_file, file,
                    "expected max_seq_length from 1 to " + std::to_string(most) + " but got " + limit->dump());
      result.max_seq_length_ = limit->as_int();
      result.tokenizer_.set_model_max_length(result.max_seq_length_);
    }
    if (const Json* lower = settings.find("do_lower_case"); lower != nullptr && lower->is_bool() && lower->as_bool())
      throw Error(ErrorCode::unsupported, file,
                  "expected do_lower_case false but got true: let the tokenizer lower the case");
  }
  if (const std::string file = root + "/config_sentence_transformers.json"; exists(file)) result.read_config(file);
  return result;
}

void SentenceTransformer::read_config(const std::string& file) {
  const Json config = Json::parse_file(file);
  in_file(file, [&] {
    if (const Json* prompts = config.find("prompts"); prompts != nullptr && !prompts->is_null())
      for (const auto& [name, text] : prompts->as_object()) prompts_[name] = text.is_null() ? "" : text.as_string();
    if (const Json* name = config.find("default_prompt_name"); name != nullptr && !name->is_null()) {
      default_prompt_name_ = name->as_string();
      if (!prompts_.contains(*default_prompt_name_))
        throw Error(ErrorCode::bad_file, file, unknown_prompt(*default_prompt_name_));
    }
    if (const Json* name = config.find("similarity_fn_name"); name != nullptr && !name->is_null()) {
      const auto known = std::ranges::find(kSimilarities, name->as_string());
      if (known != std::end(kSimilarities)) similarity_ = SimilarityFunction(known - std::begin(kSimilarities));
    }
  });
}

std::string SentenceTransformer::unknown_prompt(const std::string& name) const {
  std::string names;
  for (const auto& [each, unused] : prompts_) names += (names.empty() ? "" : ", ") + each;
  return "expected a prompt among " + names + " but got '" + name + "'";
}

SentenceTransformer::Prompt SentenceTransformer::prompt_of(const EncodeOptions& options) const {
  Prompt prompt{options.prompt.value_or("")};
  const std::optional<std::string>& name = options.prompt_name ? options.prompt_name : default_prompt_name_;
  if (!options.prompt && name) {
    const auto known = prompts_.find(*name);
    if (known == prompts_.end()) throw Error(ErrorCode::invalid_argument, "SentenceTransformer", unknown_prompt(*name));
    prompt.text = known->second;
  }
  if (prompt.text.empty() || include_prompt_) return prompt;
  const BatchEncoding encoding = tokenize({prompt.text}, {});
  const std::span<const tokenizers::Token> tokens = encoding.row(0);
  prompt.tokens = int64_t(tokens.size()) - int64_t(!tokens.empty() && tokens.back().special);  // without its [SEP]
  return prompt;
}

Tensor SentenceTransformer::encode(const std::vector<std::string>& texts, const EncodeOptions& options) const {
  if (options.batch_size < 1)
    throw Error(ErrorCode::invalid_argument, "SentenceTransformer::encode",
                "expected batch_size of at least 1 but got " + std::to_string(options.batch_size));
  const Prompt prompt = prompt_of(options);
  Tensor result;
  ModelOutput output;
  const int64_t count = int64_t(texts.size());
  for (int64_t begin = 0; begin < count; begin += options.batch_size) {
    const int64_t end = std::min(count, begin + options.batch_size);
    const BatchEncoding encoding = tokenize({texts.begin() + begin, texts.begin() + end}, prompt);
    bool empty = true;  // no token at all, which models do not take
    for (size_t i = 0; i < encoding.size(); i++) empty = empty && encoding.row(i).empty();
    if (!empty) {
      model_->forward(encoding, output);
      const Tensor pooled = pool(output.last_hidden_state, encoding, prompt);  // (batch, H)
      if (!result.defined()) result = Tensor::zeros({count, pooled.size(1)});
      std::copy_n(pooled.data<float>(), pooled.numel(), result.data<float>() + begin * pooled.size(1));
    }
    if (options.progress) options.progress(end - begin);
  }
  return result.defined() ? result : Tensor::zeros({count, model_->config().get("hidden_size").as_int()});
}

Tensor SentenceTransformer::encode_query(const std::vector<std::string>& texts, const EncodeOptions& options) const {
  return encode(texts, prompted(options, "query"));
}

Tensor SentenceTransformer::encode_document(const std::vector<std::string>& texts, const EncodeOptions& options) const {
  return encode(texts, prompted(options, "document"));
}

BatchEncoding SentenceTransformer::tokenize(const std::vector<std::string>& texts, const Prompt& prompt) const {
  const TokenizeOptions options{.truncation = true, .max_length = max_seq_length_};
  if (prompt.text.empty()) return tokenizer_(texts, options);
  std::vector<std::string> prompted;
  for (const std::string& text : texts) prompted.push_back(prompt.text + text);
  return tokenizer_(prompted, options);
}

Tensor SentenceTransformer::pool(const Tensor& last_hidden_state, const BatchEncoding& encoding,
                                 const Prompt& prompt) const {
  // The padded output as sequences that begin S rows apart.
  const int64_t batch = last_hidden_state.size(0), length = last_hidden_state.size(1),
                hidden = last_hidden_state.size(2);
  std::vector<int64_t> offsets, keys, left_out;  // rows of which the prompt is all
  for (int64_t b = 0; b < batch; b++) {
    const int64_t tokens = int64_t(encoding.row(size_t(b)).size());
    int64_t skipped = std::min(prompt.tokens, tokens);
    if (skipped == tokens && tokens > 0) left_out.push_back(b);
    if (pooling_ == Pooling::cls && skipped == tokens) skipped = 0;
    offsets.push_back(b * length + skipped);
    keys.push_back(pooling_ == Pooling::cls ? std::min<int64_t>(tokens, 1) : tokens - skipped);
  }
  Arena arena;
  Ctx ctx(model_->runtime(), arena);
  const Ragged sequences{batch, batch * length, length, offsets.data(), keys.data()};
  const Tensor rows = last_hidden_state.reshape({batch * length, hidden});
  Tensor pooled =
      pooling_ == Pooling::max ? max_pool(ctx, rows, sequences) : mean_pool(ctx, rows, sequences);  // (batch, H)
  for (int64_t b : left_out)
    if (pooling_ == Pooling::max)
      std::fill_n(pooled.data<float>() + b * hidden, hidden, -std::numeric_limits<float>::infinity());
  if (normalize_) l2_normalize(ctx, pooled);
  return pooled.clone();
}

Tensor similarity(SimilarityFunction function, const Tensor& a, const Tensor& b) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1))
    throw Error(ErrorCode::invalid_argument, "similarity",
                "expected shapes (N, H) and (M, H) but got " + a.shape().str() + " and " + b.shape().str());
  const int64_t n = a.size(0), m = b.size(0), hidden = a.size(1);
  auto sum = [hidden](const float* x, const float* y, auto term) {
    double total = 0;
    for (int64_t i = 0; i < hidden; i++) total += term(double(x[i]), double(y[i]));
    return total;
  };
  auto dot = [&](const float* x, const float* y) { return sum(x, y, std::multiplies<>()); };
  auto length = [&](const float* x) { return std::max(std::sqrt(dot(x, x)), 1e-12); };
  auto score = [&](const float* x, const float* y) {
    switch (function) {
      case SimilarityFunction::cosine: return dot(x, y) / (length(x) * length(y));
      case SimilarityFunction::dot: return dot(x, y);
      case SimilarityFunction::euclidean:
        return -std::sqrt(sum(x, y, [](double p, double q) { return (p - q) * (p - q); }));
      case SimilarityFunction::manhattan: return -sum(x, y, [](double p, double q) { return std::abs(p - q); });
    }
    return 0.0;
  };
  Tensor result = Tensor::empty({n, m});
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < m; j++)
      result.data<float>()[i * m + j] = float(score(a.data<float>() + i * hidden, b.data<float>() + j * hidden));
  return result;
}

}  // namespace caracal
