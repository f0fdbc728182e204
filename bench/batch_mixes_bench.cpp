// Many batches of random sequences, none like the one before, through one prepared model on a CUDA device: what a
// service sends. Prints one line of JSON: how often a graph was launched and captured, and for each size of graph (a
// bucket of tokens) the quantiles of a call's time.
//
//   batch_mixes_bench MODEL DTYPE MIXES MAX_TOKENS MAX_BATCH
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include <caracal/models/auto.h>
#include <caracal/runtime/cuda_device.h>

namespace caracal {
namespace {

// At most max_batch sequences of together at most max_tokens, padded on the right.
ModelInputs random_mix(std::mt19937_64& random, int64_t max_tokens, int64_t max_batch, int64_t vocabulary,
                       int64_t* tokens) {
  const int64_t batch = 1 + int64_t(random() % uint64_t(max_batch));
  const int64_t most = std::max<int64_t>(batch, 1 + int64_t(random() % uint64_t(max_tokens)));
  std::vector<int64_t> lengths(size_t(batch), 1);
  for (int64_t rest = std::min(most, max_tokens) - batch; rest > 0; rest--) lengths[random() % uint64_t(batch)]++;
  *tokens = std::max(batch, std::min(most, max_tokens));
  const Shape shape{batch, *std::max_element(lengths.begin(), lengths.end())};
  ModelInputs inputs;
  inputs.input_ids = Tensor::zeros(shape, DType::I64);
  inputs.attention_mask = Tensor::zeros(shape, DType::I64);
  for (int64_t b = 0; b < batch; b++) {
    for (int64_t s = 0; s < lengths[size_t(b)]; s++) {
      inputs.input_ids.data<int64_t>()[b * shape[1] + s] = int64_t(random() % uint64_t(vocabulary));
      inputs.attention_mask.data<int64_t>()[b * shape[1] + s] = 1;
    }
  }
  return inputs;
}

int run(const char* model_path, const char* dtype, int64_t mixes, int64_t max_tokens, int64_t max_batch) {
  LoadOptions options;
  options.dtype = dtype;
  options.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"});
  const AnyModel model = AutoModelForSequenceClassification::from_pretrained(model_path, options);
  const CudaDevice& device = *model->runtime().cuda();
  model->prepare(max_tokens, max_batch);
  const int64_t vocabulary = model->config().get("vocab_size").as_int();
  std::mt19937_64 random(0);
  ModelOutput output;
  std::map<int64_t, std::vector<double>> ms;  // of each bucket
  const auto call = [&] {
    int64_t tokens = 0;
    const ModelInputs inputs = random_mix(random, max_tokens, max_batch, vocabulary, &tokens);
    const auto begin = std::chrono::steady_clock::now();
    model->forward(inputs, output);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    ms[Ctx::next_bucket(tokens)].push_back(took.count());
  };
  for (int i = 0; i < 200; i++) call();  // the clock of an idle device is slow
  ms.clear();
  const int64_t captures = device.captures, launches = device.graph_launches;
  for (int64_t i = 0; i < mixes; i++) call();

  Json::Array buckets;
  for (auto& [bucket, times] : ms) {
    std::ranges::sort(times);
    const auto quantile = [&](double p) { return times[size_t(p * double(times.size() - 1) + 0.5)]; };
    buckets.emplace_back(Json::Object{{"tokens", bucket},
                                      {"calls", int64_t(times.size())},
                                      {"p50_ms", quantile(0.5)},
                                      {"p99_ms", quantile(0.99)},
                                      {"max_ms", times.back()},
                                      {"p99_to_p50", quantile(0.99) / quantile(0.5)}});
  }
  const Json report = Json::Object{{"mixes", mixes},
                                   {"dtype", std::string(dtype)},
                                   {"graph_launches", device.graph_launches - launches},
                                   {"captures", device.captures - captures},
                                   {"buckets", std::move(buckets)}};
  std::printf("%s\n", report.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace caracal

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: batch_mixes_bench MODEL DTYPE MIXES MAX_TOKENS MAX_BATCH\n");
    return 2;
  }
  try {
    return caracal::run(argv[1], argv[2], std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5]));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "batch_mixes_bench: error: %s\n", e.what());
    return 1;
  }
}
