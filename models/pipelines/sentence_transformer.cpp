#include <caracal/models/pipelines/sentence_transformer.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include <caracal/models/tokenization_auto.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

// "sentence_transformers.models.Pooling" -> "Pooling"
std::string last_part(const std::string& dotted) { return dotted.substr(dotted.rfind('.') + 1); }

// A module's folder, which comes from a file: it may not leave the directory.
fs::path module_folder(const std::string& root, const std::string& name) {
  const fs::path path(name);
  for (const fs::path& part : path)
    if (part == ".." || path.is_absolute())
      throw Error(ErrorCode::bad_file, root + "/modules.json",
                  "expected a path inside the directory but got '" + name + "'");
  return fs::path(root) / path;
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
  const std::string root = checkpoint_directory(path, options.subfolder);
  std::string transformer = root;
  Pooling pooling = Pooling::mean;
  bool normalize = false;
  if (fs::exists(fs::path(root) / "modules.json")) {
    const Json modules = Json::parse_file(root + "/modules.json");
    for (const Json& module : modules.as_array()) {
      const std::string type = last_part(module.at("type").as_string());
      const fs::path folder = module_folder(root, module.at("path").as_string());
      if (type == "Transformer") {
        transformer = folder.string();
      } else if (type == "Pooling") {
        const std::string file = (folder / "config.json").string(), mode = pooling_mode(Json::parse_file(file), file);
        if (mode == "cls")
          pooling = Pooling::cls;
        else if (mode == "max")
          pooling = Pooling::max;
        else if (mode != "mean")
          throw Error(ErrorCode::unsupported, file, "expected pooling mode cls, mean or max but got '" + mode + "'");
      } else if (type == "Normalize") {
        normalize = true;
      } else {
        throw Error(ErrorCode::unsupported, root + "/modules.json",
                    "expected modules Transformer, Pooling and Normalize but got '" + type + "'");
      }
    }
  }
  LoadOptions base = options;
  base.subfolder.clear();
  base.add_pooling_layer = false;
  SentenceTransformer result(AutoModel::from_pretrained(transformer, base),
                             AutoTokenizer::from_pretrained(transformer));
  result.pooling_ = pooling;
  result.normalize_ = normalize;

  // The shortest of what the module, the tokenizer and the model allow.
  result.max_seq_length_ = result.tokenizer_.model_max_length();
  if (const Json positions = result.model_->config().to_dict();
      const Json* limit = positions.find("max_position_embeddings"))
    result.max_seq_length_ = std::min(result.max_seq_length_, limit->as_int());
  if (const std::string file = transformer + "/sentence_bert_config.json"; fs::exists(file)) {
    const Json settings = Json::parse_file(file);
    if (const Json* limit = settings.find("max_seq_length"); limit != nullptr && limit->is_integer())
      result.max_seq_length_ = limit->as_int();
    if (const Json* lower = settings.find("do_lower_case"); lower != nullptr && lower->is_bool() && lower->as_bool())
      throw Error(ErrorCode::unsupported, file,
                  "expected do_lower_case false but got true: let the tokenizer lower the case");
  }
  return result;
}

Tensor SentenceTransformer::encode(const std::vector<std::string>& texts, const EncodeOptions& options) const {
  if (options.batch_size < 1)
    throw Error(ErrorCode::invalid_argument, "SentenceTransformer::encode",
                "expected batch_size of at least 1 but got " + std::to_string(options.batch_size));
  Tensor result;
  ModelOutput output;
  Arena arena;
  const int64_t count = int64_t(texts.size());
  for (int64_t begin = 0; begin < count; begin += options.batch_size) {
    const int64_t end = std::min(count, begin + options.batch_size);
    const BatchEncoding encoding = tokenizer_(std::vector<std::string>(texts.begin() + begin, texts.begin() + end),
                                              {.truncation = true, .max_length = max_seq_length_});
    model_->forward(encoding, output);

    // The padded output as sequences that begin S rows apart.
    const int64_t batch = end - begin, length = output.last_hidden_state.size(1),
                  hidden = output.last_hidden_state.size(2);
    std::vector<int64_t> offsets, keys;
    for (int64_t b = 0; b < batch; b++) {
      offsets.push_back(b * length);
      keys.push_back(pooling_ == Pooling::cls ? 1 : int64_t(encoding.row(size_t(b)).size()));
    }
    arena.reset();
    Ctx ctx(model_->runtime(), arena);
    const Ragged sequences{batch, batch * length, length, offsets.data(), keys.data()};
    const Tensor rows = output.last_hidden_state.reshape({batch * length, hidden});
    Tensor pooled =
        pooling_ == Pooling::max ? max_pool(ctx, rows, sequences) : mean_pool(ctx, rows, sequences);  // (batch, H)
    if (normalize_) l2_normalize(ctx, pooled);
    if (!result.defined()) result = Tensor::empty({count, hidden});
    std::copy_n(pooled.data<float>(), pooled.numel(), result.data<float>() + begin * hidden);
    if (options.progress) options.progress(batch);
  }
  return result.defined() ? result : Tensor::empty({0, model_->config().to_dict().at("hidden_size").as_int()});
}

Tensor cosine_similarity(const Tensor& a, const Tensor& b) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1))
    throw Error(ErrorCode::invalid_argument, "cosine_similarity",
                "expected shapes (N, H) and (M, H) but got " + a.shape().str() + " and " + b.shape().str());
  const int64_t n = a.size(0), m = b.size(0), hidden = a.size(1);
  auto dot = [hidden](const float* x, const float* y) {
    double sum = 0;
    for (int64_t i = 0; i < hidden; i++) sum += double(x[i]) * double(y[i]);
    return sum;
  };
  Tensor result = Tensor::empty({n, m});
  for (int64_t i = 0; i < n; i++) {
    const float* x = a.data<float>() + i * hidden;
    for (int64_t j = 0; j < m; j++) {
      const float* y = b.data<float>() + j * hidden;
      const double lengths = std::max(std::sqrt(dot(x, x)), 1e-12) * std::max(std::sqrt(dot(y, y)), 1e-12);
      result.data<float>()[i * m + j] = float(dot(x, y) / lengths);
    }
  }
  return result;
}

}  // namespace caracal
