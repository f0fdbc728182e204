// A long run of mixed work, as a service has it: host threads that call models of every architecture with shapes that
// change, tokenize, and now and then load a model anew. Ends with what moved: memory, descriptors, threads, bits.
//
// usage: caracal_soak SECONDS TESTS_DATA [HOST_THREADS]      exits 1 when a promise is broken
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include <caracal/caracal.h>
#include <caracal/tests/resources.h>

namespace {

using namespace caracal;
using Clock = std::chrono::steady_clock;

struct Call {
  std::string directory, auto_class;
  ModelInputs inputs;
  ForwardOptions options;
  ModelOutput expected;
};

bool same(const ModelOutput& a, const ModelOutput& b) {
  const auto x = a.named(), y = b.named();
  if (x.size() != y.size()) return false;
  for (size_t i = 0; i < x.size(); i++)
    if (x[i].second.shape() != y[i].second.shape() ||
        std::memcmp(x[i].second.raw(), y[i].second.raw(), x[i].second.nbytes()) != 0)
      return false;
  return true;
}

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

size_t descriptors() {
  namespace fs = std::filesystem;
  return size_t(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

// The slope of a line through the points, per second.
double slope(const std::vector<std::pair<double, double>>& points) {
  double n = double(points.size()), x = 0, y = 0, xx = 0, xy = 0;
  for (const auto& [at, value] : points) x += at, y += value, xx += at * at, xy += at * value;
  return points.size() < 2 ? 0 : (n * xy - x * y) / (n * xx - x * x);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: caracal_soak SECONDS TESTS_DATA [HOST_THREADS]\n");
    return 2;
  }
  const double duration = std::atof(argv[1]), warm_up = std::min(120.0, duration / 4);
  const std::string data = argv[2];
  const int hosts = argc > 3 ? std::atoi(argv[3]) : 4;
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2});

  // Every reference file of a case per architecture is a shape; each is called plainly and with all that can be asked.
  std::vector<std::pair<std::string, AnyModel>> models;
  std::vector<Call> calls;
  for (const auto& [name, auto_class] : std::initializer_list<std::pair<const char*, const char*>>{
           {"bert/base", "AutoModel"},
           {"bert/sequence_2", "AutoModelForSequenceClassification"},
           {"bert/lm_causal", "AutoModelForCausalLM"},
           {"distilbert/base", "AutoModel"},
           {"vit/base", "AutoModel"},
           {"wav2vec2/group", "AutoModel"},
           {"wav2vec2/ctc", "AutoModelForCTC"},
           {"layoutlmv2/base", "AutoModel"}}) {
    const std::string directory = data + "/models/" + name;
    const AnyModel model = load_auto_model(auto_class, directory, {.runtime = runtime});
    models.emplace_back(directory, model);
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (!entry.path().filename().string().starts_with("reference.")) continue;
      const SafetensorsFile file = SafetensorsFile::open(entry.path());
      Call call{directory, auto_class, {}, {}, {}};
      for (const TensorInfo& info : file.tensors())
        if (info.name.starts_with("inputs.")) call.inputs.set(info.name.substr(7), file.tensor(info).clone());
      for (bool all : {false, true}) {
        call.options = {.output_hidden_states = all, .output_attentions = all};
        call.expected = model(call.inputs, call.options);
        calls.push_back(call);
      }
    }
  }
  auto model_of = [&](const Call& call) -> const AnyModel& {
    for (const auto& [directory, model] : models)
      if (directory == call.directory) return model;
    std::abort();
  };
  const auto tokenizer = AutoTokenizer::from_pretrained(data + "/trained/distilbert-intents");
  const std::vector<std::string> texts = {"Wake me up at 6:20 tomorrow, please.", "x",
                                          "Play some music " + std::string(300, 'a')};
  const std::vector<std::vector<int32_t>> tokens = [&] {
    std::vector<std::vector<int32_t>> all;
    for (const std::string& text : texts) {
      const auto ids = tokenizer({text}).padded("input_ids").to(DType::I32);
      all.emplace_back(ids.values<int32_t>().begin(), ids.values<int32_t>().end());
    }
    return all;
  }();

  std::atomic<bool> stop{false}, resting{false};
  std::barrier rest(hosts + 1);  // passed once when all rest, and once when they go on
  std::atomic<int64_t> done{0}, loads{0}, wrong{0}, failed{0};
  std::vector<std::thread> threads;
  const auto begin = Clock::now();
  for (int t = 0; t < hosts; t++)
    threads.emplace_back([&, t] {
      std::mt19937 random{unsigned(t)};
      std::map<std::string, ModelOutput> outputs;  // of each model, used again
      while (!stop) {
        if (resting) {
          rest.arrive_and_wait();
          rest.arrive_and_wait();
        }
        const Call& call = calls[random() % calls.size()];
        try {
          const unsigned what = random() % 64;
          if (what == 0) {
            const AnyModel anew = load_auto_model(call.auto_class, call.directory, {.runtime = runtime});
            wrong += !same(anew(call.inputs, call.options), call.expected);
            loads++;
          } else if (what == 1) {
            const size_t i = random() % texts.size();
            const Tensor ids = tokenizer({texts[i]}).padded("input_ids").to(DType::I32);
            wrong += !std::ranges::equal(ids.values<int32_t>(), tokens[i]);
          } else if (what == 2) {
            try {
              model_of(call)({});
              wrong++;
            } catch (const Error&) {
            }
          } else {
            ModelOutput& output = outputs[call.directory];
            model_of(call)->forward(call.inputs, output, call.options);
            wrong += !same(output, call.expected);
          }
        } catch (const std::exception& error) {
          std::fprintf(stderr, "%s\n", error.what());
          failed++;
        }
        done++;
      }
    });

  // Memory is read while no call runs: what loads hold for a moment would make the line noise. Weights and large blocks
  // are mapped, past malloc.
  std::vector<std::pair<double, double>> resident, allocated;
  double most_threads = 0, least_threads = 1e9, most_open = 0, least_open = 1e9;
  while (seconds_since(begin) < duration) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    const double now = seconds_since(begin);
    resting = true;
    rest.arrive_and_wait();
    const double mib = process_status("VmRSS"), count = process_status("Threads"), open = double(descriptors());
    const struct mallinfo2 heap = ::mallinfo2();
    resting = false;
    rest.arrive_and_wait();
    if (now < warm_up) continue;
    resident.emplace_back(now, mib);
    allocated.emplace_back(now, double(heap.uordblks + heap.hblkhd) / (1 << 20));
    most_threads = std::max(most_threads, count), least_threads = std::min(least_threads, count);
    most_open = std::max(most_open, open), least_open = std::min(least_open, open);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();

  const double per_hour = slope(resident) * 3600;
  std::printf("%.0f s, %d host threads, %lld calls, %lld loads: %lld with other bits, %lld failed\n",
              seconds_since(begin), hosts, (long long)done, (long long)loads, (long long)wrong, (long long)failed);
  std::printf("threads %.0f to %.0f; descriptors %.0f to %.0f\n", least_threads, most_threads, least_open, most_open);
  for (const auto& [name, points] : {std::pair{"resident", &resident}, {"given out by malloc", &allocated}})
    if (!points->empty())
      std::printf("%s: after %.0f s %.1f MiB, at the end %.1f MiB, slope %+.2f MiB/h\n", name, points->front().first,
                  points->front().second, points->back().second, slope(*points) * 3600);
  const bool kept =
      wrong == 0 && failed == 0 && per_hour <= 1 && least_threads == most_threads && least_open == most_open;
  std::puts(kept ? "kept" : "BROKEN");
  return kept ? 0 : 1;
}
