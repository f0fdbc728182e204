#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>

#include <caracal/models/auto.h>
#include <caracal/models/layoutlmv2/configuration_layoutlmv2.h>
#include <caracal/models/tokenization_auto.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>
#include <caracal/runtime/cuda_device.h>

#include "common.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string model, random, task = "AutoModel", tokenize;
  int64_t batch = 0, seq = 128;  // batch 0: as many as lengths, or 1
  std::vector<int64_t> lengths;
  double seconds = 2, every_ms = 0;
  int callers = 1;
  bool json = false;
};

// Memory of this process in MB: "VmHWM" its peak, "VmRSS" now.
double memory_mb(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::stod(line.substr(line.find(':') + 1)) / 1024;
  return 0;
}

double percentile(const std::vector<double>& sorted, double p) {
  return sorted[size_t(p * double(sorted.size() - 1) + 0.5)];
}

double rounded(double value) { return std::round(value * 1e4) / 1e4; }

// What a model is timed on, and the rows it computes: of each text its tokens, of each image its patches and one more.
struct Workload {
  ModelInputs inputs;
  std::vector<int64_t> lengths;
};

Tensor uniform(const Shape& shape, std::mt19937_64& random) {  // in [-1, 1)
  Tensor x = Tensor::empty(shape);
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = float(random() >> 40) * 0x1p-23f - 1;
  return x;
}

// {height, width} of a configuration's image_size or patch_size: one number or a list of two.
std::array<int64_t, 2> height_width(const Json& size) {
  if (size.is_integer()) return {size.as_int(), size.as_int()};
  return {size.as_array().at(0).as_int(), size.as_array().at(1).as_int()};
}

// Images of the configuration's size.
Workload random_images(const PretrainedConfig& config, int64_t batch) {
  const auto image = height_width(config.get("image_size")), patch = height_width(config.get("patch_size"));
  std::mt19937_64 random(0);
  Workload work;
  work.inputs.pixel_values = uniform({batch, config.get("num_channels").as_int(), image[0], image[1]}, random);
  work.lengths.assign(size_t(batch), (image[0] / patch[0]) * (image[1] / patch[1]) + 1);
  return work;
}

// Token ids in a batch of the given lengths, padded on the right: questions of one choice for multiple choice, and as
// many rows of an encoder beside them for a decoder with cross-attention.
Workload random_texts(const PreTrainedModel& model, const std::vector<int64_t>& lengths) {
  const PretrainedConfig& config = model.config();
  const int64_t vocab_size = config.get("vocab_size").as_int();
  const int64_t batch = int64_t(lengths.size()), longest = *std::max_element(lengths.begin(), lengths.end());
  Tensor ids = Tensor::zeros({batch, longest}, DType::I64), mask = Tensor::zeros({batch, longest}, DType::I64);
  std::mt19937_64 random(0);
  for (int64_t b = 0; b < batch; b++) {
    for (int64_t s = 0; s < lengths[size_t(b)]; s++) {
      ids.data<int64_t>()[b * longest + s] = int64_t(random() % uint64_t(vocab_size));
      mask.data<int64_t>()[b * longest + s] = 1;
    }
  }
  Workload work{.inputs = {}, .lengths = lengths};
  if (config.has("add_cross_attention") && config.get("add_cross_attention").as_bool()) {
    work.inputs.encoder_hidden_states = uniform({batch, longest, config.get("hidden_size").as_int()}, random);
    work.inputs.encoder_attention_mask = mask;
  }
  const bool choices = std::string_view(model.class_name()).ends_with("ForMultipleChoice");
  const Shape shape = choices ? Shape{batch, 1, longest} : Shape{batch, longest};
  work.inputs.input_ids = ids.reshape(shape);
  work.inputs.attention_mask = mask.reshape(shape);
  return work;
}

// Noise of the given lengths, in samples; a mask only where they differ.
Workload random_audio(const std::vector<int64_t>& lengths) {
  const int64_t batch = int64_t(lengths.size()), longest = *std::max_element(lengths.begin(), lengths.end());
  ModelInputs inputs;
  inputs.input_values = Tensor::zeros({batch, longest});
  std::mt19937_64 random(0);
  std::normal_distribution<float> normal;
  for (int64_t b = 0; b < batch; b++)
    for (int64_t s = 0; s < lengths[size_t(b)]; s++)
      inputs.input_values.data<float>()[b * longest + s] = normal(random);
  if (std::ranges::count(lengths, longest) == batch) return {.inputs = inputs, .lengths = lengths};
  inputs.attention_mask = Tensor::zeros({batch, longest}, DType::I64);
  for (int64_t b = 0; b < batch; b++)
    std::fill_n(inputs.attention_mask.data<int64_t>() + b * longest, lengths[size_t(b)], int64_t(1));
  return {.inputs = inputs, .lengths = lengths};
}

// Random boxes, and pages of the size that LayoutLMv2's image processor makes.
void add_pages(ModelInputs& inputs) {
  const int64_t batch = inputs.input_ids.size(0), length = inputs.input_ids.size(1);
  inputs.bbox = Tensor::zeros({batch, length, 4}, DType::I64);
  inputs.image = Tensor::zeros({batch, 3, 224, 224}, DType::U8);
  std::mt19937_64 random(0);
  for (int64_t i = 0; i < batch * length; i++) {
    int64_t* box = inputs.bbox.data<int64_t>() + 4 * i;
    for (int corner : {0, 1}) {
      box[corner] = int64_t(random() % 900);
      box[corner + 2] = box[corner] + int64_t(random() % 100);
    }
  }
  for (int64_t i = 0; i < inputs.image.numel(); i++) inputs.image.data<uint8_t>()[i] = uint8_t(random());
}

Workload random_workload(const PreTrainedModel& model, const Options& o) {
  const int64_t batch = std::max<int64_t>(o.batch, 1);
  const std::vector<int64_t> lengths = o.lengths.empty() ? std::vector<int64_t>(size_t(batch), o.seq) : o.lengths;
  if (dynamic_cast<const Wav2Vec2Config*>(&model.config()) != nullptr) return random_audio(lengths);
  if (model.config().has("vocab_size")) {
    Workload work = random_texts(model, lengths);
    if (dynamic_cast<const LayoutLMv2Config*>(&model.config()) != nullptr) add_pages(work.inputs);
    return work;
  }
  if (!o.lengths.empty())
    throw Error(ErrorCode::invalid_argument, "--lengths",
                "expected --batch, as " + std::string(model.class_name()) + " takes images, but got lengths of texts");
  return random_images(model.config(), batch);
}

AnyModel load(const Options& o, const LoadOptions& options) {
  if (o.random.empty()) return load_auto_model(o.task, o.model, options);
  return make_auto_model(o.task, *AutoConfig::from_pretrained(o.random), options);
}

// Milliseconds of each call, sorted. Each caller is a host thread with an output of its own; all begin at once, after a
// warm-up.
std::vector<double> time_calls(const PreTrainedModel& model, const ModelInputs& inputs, const Options& o) {
  std::vector<std::vector<double>> ms(size_t(o.callers));
  std::exception_ptr failure;  // the first one
  std::mutex mutex;
  std::atomic<int> warm{0};
  std::atomic<bool> given_up{false};
  auto give_up = [&](std::exception_ptr why) {
    const std::lock_guard lock(mutex);
    if (failure == nullptr) failure = why;
    given_up = true;
  };
  auto caller = [&](std::vector<double>& mine) {
    try {
      ModelOutput output;
      const double warm_start = now();
      for (int i = 0; i < 3 || now() - warm_start < std::min(0.5, o.seconds / 4); i++) model.forward(inputs, output);
      warm++;
      while (warm < o.callers && !given_up) std::this_thread::yield();
      const double start = now();
      while (!given_up && (mine.size() < 5 || now() - start < o.seconds)) {
        const double due = start + double(mine.size() + 1) * o.every_ms * 1e-3;
        if (due > now() && o.every_ms > 0) std::this_thread::sleep_for(std::chrono::duration<double>(due - now()));
        const double before = now();
        model.forward(inputs, output);
        mine.push_back((now() - before) * 1e3);
      }
    } catch (...) {
      give_up(std::current_exception());
    }
  };
  std::vector<std::thread> others;
  try {
    for (int i = 1; i < o.callers; i++) others.emplace_back([&, i] { caller(ms[size_t(i)]); });
    caller(ms[0]);
  } catch (const std::system_error& e) {
    give_up(std::make_exception_ptr(
        Error(ErrorCode::io, "--callers",
              "expected to start " + std::to_string(o.callers - 1) + " threads but got: " + e.what())));
  }
  for (std::thread& other : others) other.join();
  if (failure != nullptr) std::rethrow_exception(failure);
  std::vector<double> all;
  for (const std::vector<double>& each : ms) all.insert(all.end(), each.begin(), each.end());
  std::ranges::sort(all);
  return all;
}

std::string device_name(const Runtime& runtime) { return runtime.cuda() != nullptr ? runtime.cuda()->name() : "cpu"; }

void bench_model(const Options& o) {
  if (!o.lengths.empty() && o.batch != 0 && o.batch != int64_t(o.lengths.size()))
    throw Error(ErrorCode::invalid_argument, "--lengths",
                "expected " + std::to_string(o.batch) + " lengths, as --batch says, but got " +
                    std::to_string(o.lengths.size()));
  const LoadOptions options = o.common.load_options();
  const double load_start = now();
  const AnyModel model = load(o, options);
  const double load_ms = (now() - load_start) * 1e3;
  const Runtime& runtime = model->runtime();
  const std::string dtype = o.common.dtype != "auto" ? o.common.dtype : model->config().dtype.as_string();
  const auto [inputs, lengths] = random_workload(*model, o);
  int64_t tokens = 0;
  for (int64_t length : lengths) tokens += length;

  ModelOutput output;
  const double first_start = now();
  model->forward(inputs, output);
  const double first_ms = (now() - first_start) * 1e3;
  const std::vector<double> ms = time_calls(*model, inputs, o);
  const double rss_mb = memory_mb("VmRSS");
  double sum = 0;
  for (double each : ms) sum += each;
  const double mean = sum / double(ms.size());
  const double tokens_per_second = double(tokens) * o.callers / mean * 1e3;
  Json::Array all_lengths;
  for (int64_t length : lengths) all_lengths.emplace_back(length);
  const Json report = Json::Object{{"model", o.random.empty() ? o.model : o.random},
                                   {"task", o.task},
                                   {"batch", int64_t(lengths.size())},
                                   {"seq", *std::max_element(lengths.begin(), lengths.end())},
                                   {"lengths", std::move(all_lengths)},
                                   {"threads", runtime.threads()},
                                   {"dtype", dtype},
                                   {"isa", runtime.isa()},
                                   {"backend", runtime.backend()},
                                   {"device", device_name(runtime)},
                                   {"every_ms", o.every_ms},
                                   {"load_ms", rounded(load_ms)},
                                   {"first_call_ms", rounded(first_ms)},
                                   {"p50_ms", rounded(percentile(ms, 0.5))},
                                   {"p90_ms", rounded(percentile(ms, 0.9))},
                                   {"p99_ms", rounded(percentile(ms, 0.99))},
                                   {"min_ms", rounded(ms.front())},
                                   {"mean_ms", rounded(mean)},
                                   {"calls", int64_t(ms.size())},
                                   {"callers", o.callers},
                                   {"rss_mb", rounded(rss_mb)},
                                   {"peak_rss_mb", rounded(memory_mb("VmHWM"))},
                                   {"tokens_per_s", rounded(tokens_per_second)}};
  if (o.json) {
    std::printf("%s\n", report.dump().c_str());
    return;
  }
  std::printf("%s, %lld tokens in %zu sequences, %d threads, %s %s (%s) on %s\n", model->class_name(),
              static_cast<long long>(tokens), lengths.size(), runtime.threads(), runtime.backend(), dtype.c_str(),
              runtime.isa(), device_name(runtime).c_str());
  std::printf(
      "  p50 %.3f ms   p90 %.3f   p99 %.3f   min %.3f   first call %.3f   load %.0f   %.0f tokens/s   %zu calls   "
      "%.0f MB, peak %.0f\n",
      percentile(ms, 0.5), percentile(ms, 0.9), percentile(ms, 0.99), ms.front(), first_ms, load_ms, tokens_per_second,
      ms.size(), rss_mb, memory_mb("VmHWM"));
}

void bench_tokenizer(const Options& o) {
  std::ifstream file(o.tokenize, std::ios::binary);
  if (!file) throw Error(ErrorCode::not_found, o.tokenize, "expected a text file but could not open it");
  std::vector<std::string> lines;
  size_t bytes = 0;
  for (std::string line; std::getline(file, line); bytes += line.size() + 1) lines.push_back(line);

  const auto runtime = o.common.make_runtime();
  const double load_start = now();
  const auto tokenizer = AutoTokenizer::from_pretrained(o.model);
  const double load_ms = (now() - load_start) * 1e3;
  std::atomic<int64_t> tokens{0};
  std::mutex mutex;
  // The first one: tasks of the pool must not throw.
  std::exception_ptr failure;
  // A task's memory, used again.
  std::vector<BatchEncoding> rows(size_t(runtime->max_tasks()));
  auto once = [&] {
    runtime->parallel(int64_t(lines.size()), 16, [&](int64_t begin, int64_t end, int task) {
      try {
        int64_t count = 0;
        for (int64_t i = begin; i < end; i++) {
          tokenizer.encode(lines[size_t(i)], {}, rows[size_t(task)]);
          count += int64_t(rows[size_t(task)].row(0).size());
        }
        tokens += count;
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (failure == nullptr) failure = std::current_exception();
      }
    });
    if (failure != nullptr) std::rethrow_exception(failure);
  };
  once();
  tokens = 0;
  int64_t rounds = 0;
  const double start = now();
  do {
    once();
    rounds++;
  } while (now() - start < o.seconds);
  const double seconds = now() - start;
  const Json report = Json::Object{{"mb_per_s", rounded(double(bytes) * double(rounds) / seconds / 1e6)},
                                   {"lines_per_s", rounded(double(lines.size()) * double(rounds) / seconds)},
                                   {"tokens_per_s", rounded(double(tokens.load()) / seconds)},
                                   {"load_ms", rounded(load_ms)},
                                   {"threads", runtime->threads()},
                                   {"tokenizer", tokenizer.class_name()}};
  std::printf("%s\n", report.dump(o.json ? -1 : 2).c_str());
}

}  // namespace

void add_bench(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("bench", "Time a model, or with --tokenize its tokenizer");
  o->common.add_to(*sub);
  CLI::Option* model = sub->add_option("--model", o->model, "checkpoint directory");
  CLI::Option* random =
      sub->add_option("--random", o->random, "config.json: time a model of this shape with random weights")
          ->excludes(model);
  sub->add_option("--task", o->task, "Auto class")->capture_default_str();
  sub->add_option("--batch", o->batch, "texts or images per call, default 1")->check(CLI::PositiveNumber);
  CLI::Option* seq =
      sub->add_option("--seq", o->seq, "tokens per text, or samples of audio; images have the configuration's size")
          ->capture_default_str()
          ->check(CLI::PositiveNumber);
  sub->add_option("--lengths", o->lengths, "tokens of each text of the batch, a,b,c; in place of --seq")
      ->delimiter(',')
      ->excludes(seq)
      ->check(CLI::PositiveNumber);
  sub->add_option("--seconds", o->seconds, "how long to measure")->capture_default_str()->check(CLI::PositiveNumber);
  sub->add_option("--every-ms", o->every_ms, "a call each so many milliseconds, asleep between; 0: back to back")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--callers", o->callers, "host threads that call at the same time")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  sub->add_option("--tokenize", o->tokenize, "text file: time the tokenizer alone on its lines")->excludes(random);
  sub->add_flag("--json", o->json, "one line of JSON");
  sub->callback([o] {
    if (o->model.empty() && o->random.empty()) throw CLI::RequiredError("--model or --random");
    o->tokenize.empty() ? bench_model(*o) : bench_tokenizer(*o);
  });
}

}  // namespace caracal::cli
