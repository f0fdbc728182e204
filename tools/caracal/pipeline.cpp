#include <algorithm>
#include <cstdio>

#include <caracal/models/pipelines/feature_extraction.h>
#include <caracal/models/pipelines/sentence_transformer.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string task, model;
  std::vector<std::string> inputs;
  bool json = false;
  int64_t batch = 32;
};

Json to_json(const Tensor& row) {
  Json::Array values;
  for (float value : row.values<float>()) values.emplace_back(double(value));
  return values;
}

void print_head(const Tensor& row) {
  for (int64_t i = 0; i < std::min<int64_t>(4, row.numel()); i++)
    std::printf("%s%.4f", i ? ", " : "[", double(row.data<float>()[i]));
  std::printf(", …]\n");
}

void feature_extraction(const Options& o, const std::vector<std::string>& texts, const LoadOptions& load) {
  const auto pipeline = FeatureExtractionPipeline::from_pretrained(o.model, load);
  Progress progress(int64_t(texts.size()), "texts");
  for (size_t begin = 0; begin < texts.size(); begin += size_t(o.batch)) {
    const size_t end = std::min(texts.size(), begin + size_t(o.batch));
    const auto features =
        pipeline(std::vector<std::string>(texts.begin() + int64_t(begin), texts.begin() + int64_t(end)));
    for (size_t i = begin; i < end; i++) {
      const Tensor& feature = features[i - begin];  // (S, H)
      if (o.json) {
        Json::Array rows;
        for (int64_t s = 0; s < feature.size(0); s++) rows.push_back(to_json(feature.rows(s, s + 1)));
        std::printf("%s\n", Json(Json::Array{Json(std::move(rows))}).dump().c_str());
      } else {
        std::printf("%lld tokens x %lld  %s\n", static_cast<long long>(feature.size(0)),
                    static_cast<long long>(feature.size(1)), printable(texts[i]).c_str());
        for (int64_t s = 0; s < feature.size(0); s++) {
          std::printf("  %3lld ", static_cast<long long>(s));
          print_head(feature.rows(s, s + 1));
        }
      }
    }
    progress.advance(int64_t(end - begin));
  }
}

// The first text against all others.
void sentence_similarity(const Options& o, const std::vector<std::string>& texts, const LoadOptions& load) {
  if (texts.size() < 2)
    throw Error(ErrorCode::invalid_argument, "sentence-similarity",
                "expected a source sentence and at least one other but got " + std::to_string(texts.size()) + " texts");
  const auto model = SentenceTransformer::from_pretrained(o.model, load);
  Tensor embeddings;
  {
    Progress progress(int64_t(texts.size()), "sentences");
    embeddings =
        model.encode(texts, {.batch_size = o.batch, .progress = [&](int64_t done) { progress.advance(done); }});
  }
  const Tensor scores = cosine_similarity(embeddings.rows(0, 1), embeddings.rows(1, embeddings.size(0)));
  if (o.json) {
    std::printf("%s\n", to_json(scores).dump().c_str());
    return;
  }
  std::printf("%s\n", printable(texts[0]).c_str());
  for (size_t i = 1; i < texts.size(); i++)
    std::printf("  %7.4f  %s\n", double(scores.data<float>()[i - 1]), printable(texts[i]).c_str());
}

struct Task {
  const char* name;
  void (*run)(const Options& o, const std::vector<std::string>& texts, const LoadOptions& load);
};
constexpr Task kTasks[] = {{"feature-extraction", feature_extraction}, {"sentence-similarity", sentence_similarity}};

void pipeline(const Options& o) {
  std::string known;
  for (const Task& task : kTasks) {
    if (o.task == task.name) return task.run(o, o.inputs.empty() ? read_lines() : o.inputs, o.common.load_options());
    known += (known.empty() ? "" : ", ") + std::string(task.name);
  }
  throw Error(ErrorCode::unsupported, "pipeline", "expected a task among " + known + " but got '" + o.task + "'");
}

}  // namespace

void add_pipeline(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("pipeline", "Run a task on texts: feature-extraction, sentence-similarity");
  o->common.add_to(*sub);
  sub->add_option("TASK", o->task, "the task")->required();
  sub->add_option("INPUT", o->inputs,
                  "texts; without any, a line each on stdin. sentence-similarity compares the first with the others");
  sub->add_option("--model", o->model, "checkpoint directory")->required();
  sub->add_option("--batch", o->batch, "texts per call of the model")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  sub->add_flag("--json", o->json, "one line of JSON per result");
  sub->callback([o] { pipeline(*o); });
}

}  // namespace caracal::cli
