// caracal's side of end_to_end.py: answers JSON requests, a line each, as end_to_end_peers.py does.
//   end_to_end_bench TASK MODEL THREADS INPUTS.json
// TASK is embedding (sentence-transformers' encode) or a pipeline's; INPUTS.json is a list of texts or files.
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>

#include <caracal/caracal.h>
#include <caracal/models/pipelines/media.h>
#include <caracal/models/pipelines/pipeline.h>

namespace {

using caracal::Json;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Json rows_of(const caracal::Tensor& embeddings) {
  Json::Array rows;
  for (int64_t i = 0; i < embeddings.size(0); i++) {
    Json::Array row;
    for (float value : embeddings.rows(i, i + 1).values<float>()) row.emplace_back(double(value));
    rows.emplace_back(std::move(row));
  }
  return rows;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) throw std::runtime_error("usage: end_to_end_bench TASK MODEL THREADS INPUTS.json");
  const std::string task = argv[1];
  const double start = seconds();
  std::vector<std::string> inputs;
  const Json given_inputs = Json::parse_file(argv[4]);
  for (const Json& each : given_inputs.as_array()) inputs.push_back(each.as_string());
  const caracal::LoadOptions load{
      .runtime = std::make_shared<caracal::Runtime>(caracal::RuntimeOptions{.threads = std::stoi(argv[3])})};

  std::function<Json(const std::vector<std::string>&, int64_t batch)> run;
  std::optional<bool> overlap;
  if (task == "embedding") {
    run = [model = caracal::SentenceTransformer::from_pretrained(argv[2], load)](const auto& texts, int64_t batch) {
      return rows_of(model.encode(texts, {.batch_size = batch}));
    };
  } else {
    std::shared_ptr<caracal::Pipeline> pipe =
        caracal::pipeline(task, argv[2], {.load = load, .files = caracal::media_files()});
    run = [pipe, &overlap](const auto& given, int64_t batch) {
      std::vector<caracal::PipelineInput> each;
      for (const std::string& text : given) each.push_back({.text = text});
      Json::Array results;
      pipe->run(each, {}, {.batch_size = batch, .overlap = overlap, .done = [&](size_t, Json result) {
                             results.push_back(std::move(result));
                           }});
      return Json(std::move(results));
    };
  }
  std::cout << Json{{"version", "caracal"}, {"load_s", seconds() - start}}.dump() << std::endl;

  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line, "request");
    const std::string& what = request.at("do").as_string();
    Json answer = Json::Object{};
    if (const Json* on = request.find("overlap")) overlap = on->as_bool();
    if (what == "singles") {  // the first inputs, each alone, again and again for some seconds, once at least
      Json::Array times;
      const size_t count = std::min(size_t(request.at("count").as_int()), inputs.size());
      for (const double begin = seconds(); times.empty() || seconds() - begin < request.at("seconds").as_double();) {
        for (size_t i = 0; i < count; i++) {
          const double before = seconds();
          run({inputs[i]}, 1);
          times.emplace_back(1000 * (seconds() - before));
        }
      }
      answer.set("ms", std::move(times));
    } else {
      const double before = seconds();
      Json results = run(inputs, request.at("batch").as_int());
      answer.set("ms", 1000 * (seconds() - before));
      if (what == "results") answer.set("results", std::move(results));
    }
    std::cout << answer.dump() << std::endl;
  }
} catch (const std::exception& error) {
  std::cout << Json{{"error", error.what()}}.dump() << std::endl;
  return 1;
}
