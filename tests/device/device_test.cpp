// Models on a device against the same models on the CPU, and what the runtime promises of a call there: one launch of a
// graph, none captured after prepare(), errors that leave everything usable.
#include <map>
#include <random>
#include <thread>

#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>
#include <caracal/models/preparing.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>
#include <caracal/runtime/cuda_device.h>
#include <caracal/runtime/cuda_workspace.h>

#include "models_testing.h"
#include "plain_table.h"

namespace caracal {
namespace {

using kernels::cuda::plain_counters;
using kernels::cuda::Raised;

std::shared_ptr<Runtime> runtime_on(const std::string& device) {
  return std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = device});
}

ModelInputs texts(const std::vector<int64_t>& lengths, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<std::vector<int64_t>> rows;
  for (int64_t length : lengths) {
    rows.emplace_back();
    for (int64_t i = 0; i < length; i++) rows.back().push_back(int64_t(random() % 100));
  }
  return make_inputs(rows);
}

BertConfig tiny_config() {
  BertConfig config;
  config.vocab_size = 100, config.hidden_size = 24, config.num_hidden_layers = 2, config.num_attention_heads = 3;
  config.intermediate_size = 40, config.max_position_embeddings = 64;
  return config;
}

AnyModel tiny(const std::shared_ptr<Runtime>& runtime, const std::string& dtype = "float32") {
  return AutoModel::from_config(tiny_config(), {.dtype = dtype, .runtime = runtime});
}

double worst(const Tensor& a, const Tensor& b) {
  if (!a.defined() || a.shape() != b.shape()) return INFINITY;
  double result = 0;
  for (int64_t i = 0; i < a.numel(); i++) {
    const double x = double(a.data<float>()[i]), y = double(b.data<float>()[i]);
    const double difference = std::abs(x - y) / std::max(1.0, std::abs(y));
    result = std::isnan(difference) ? INFINITY : std::max(result, difference);
  }
  return result;
}

void expect_equal(const ModelOutput& got, const ModelOutput& want, double tolerance) {
  const auto a = got.named(), b = want.named();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); i++) {
    EXPECT_EQ(a[i].first, b[i].first);
    EXPECT_LE(worst(a[i].second, b[i].second), tolerance) << a[i].first;
  }
}

struct Numbers {
  const char* dtype;
  double tolerance;
};
constexpr Numbers kNumbers[] = {{"float32", 2e-5}, {"float16", 4e-3}, {"bfloat16", 2e-2}};

TEST(Device, EveryOutputIsTheCpus) {
  const ForwardOptions all{.output_hidden_states = true, .output_attentions = true};
  const ModelInputs inputs = texts({5, 17, 1, 30});
  for (const Numbers& numbers : kNumbers) {
    SCOPED_TRACE(numbers.dtype);
    const AnyModel device = tiny(runtime_on("cuda"), numbers.dtype), cpu = tiny(runtime_on("cpu"), numbers.dtype);
    const ModelOutput got = (*device)(inputs, all), want = (*cpu)(inputs, all);
    EXPECT_EQ(got.hidden_states.size(), 3u);
    EXPECT_EQ(got.attentions.size(), 2u);
    expect_equal(got, want, numbers.tolerance);
    for (const auto& [name, tensor] : got.named()) {
      EXPECT_EQ(tensor.dtype(), DType::F32);
      EXPECT_FALSE(tensor.on_cuda());
    }
    const bool narrow = numbers.dtype != std::string("float32");
    EXPECT_EQ(worst(got.last_hidden_state, want.last_hidden_state) > 2e-5, narrow);  // not float32 by mistake
  }
}

TEST(Device, BatchMatesChangeNoBit) {
  for (const Numbers& numbers : kNumbers) {
    const AnyModel model = tiny(runtime_on("cuda"), numbers.dtype);
    const std::vector<int64_t> lengths = {7, 40, 1, 33, 20};
    const ModelInputs together = texts(lengths);
    const ModelOutput all = (*model)(together);
    for (size_t b = 0; b < lengths.size(); b++) {
      ModelInputs alone;
      alone.input_ids = together.input_ids.rows(int64_t(b), int64_t(b) + 1);
      alone.attention_mask = together.attention_mask.rows(int64_t(b), int64_t(b) + 1);
      const ModelOutput one = (*model)(alone);
      EXPECT_TRUE(bytes_equal(one.last_hidden_state, all.last_hidden_state.rows(int64_t(b), int64_t(b) + 1)));
      EXPECT_TRUE(bytes_equal(one.pooler_output, all.pooler_output.rows(int64_t(b), int64_t(b) + 1)));
    }
  }
}

TEST(Device, WorkspacesGrowAndForgetTheirGraphs) {
  const auto runtime = runtime_on("cuda");
  const AnyModel device = tiny(runtime), cpu = tiny(runtime_on("cpu"));
  const std::vector<std::vector<int64_t>> mixes = {
      {3}, std::vector<int64_t>(16, 64), {9, 2}, std::vector<int64_t>(100, 64), {3}, std::vector<int64_t>(16, 60)};
  for (const std::vector<int64_t>& lengths : mixes) {
    const ModelInputs inputs = texts(lengths);
    expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
  }
  // Calls that came before are known.
  const int64_t captures = runtime->cuda()->captures;
  expect_equal((*device)(texts({3}, 5)), (*cpu)(texts({3}, 5)), 2e-5);
  expect_equal((*device)(texts(mixes[3], 6)), (*cpu)(texts(mixes[3], 6)), 2e-5);
  EXPECT_EQ(runtime->cuda()->captures, captures);
}

TEST(Device, EmptyBatchesAndFullyMaskedRows) {
  const AnyModel device = tiny(runtime_on("cuda")), cpu = tiny(runtime_on("cpu"));
  ModelInputs inputs = texts({4, 6});
  std::fill_n(inputs.attention_mask.data<int64_t>(), 6, int64_t(0));
  expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
  std::fill_n(inputs.attention_mask.data<int64_t>(), 12, int64_t(0));
  expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
  inputs.input_ids = Tensor::zeros({0, 3}, DType::I64);
  inputs.attention_mask = {};
  expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
}

TEST(Device, TwoModelsAndFourThreads) {
  const auto runtime = runtime_on("cuda");
  const AnyModel a = tiny(runtime), b = tiny(runtime, "float16");
  std::vector<ModelInputs> inputs;
  std::vector<ModelOutput> want_a, want_b;
  for (uint32_t i = 0; i < 4; i++) {
    inputs.push_back(texts({int64_t(3 + 9 * i), 5}, i));
    want_a.push_back((*a)(inputs.back()));
    want_b.push_back((*b)(inputs.back()));
  }
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (size_t t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      ModelOutput output;
      for (size_t i = 0; i < 20; i++) {
        const size_t which = (t + i) % 4;
        (i % 2 ? a : b)->forward(inputs[which], output);
        const ModelOutput& want = (i % 2 ? want_a : want_b)[which];
        wrong += !bytes_equal(output.last_hidden_state, want.last_hidden_state);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Device, ErrorsLeaveEverythingUsable) {
  const AnyModel device = tiny(runtime_on("cuda")), cpu = tiny(runtime_on("cpu"));
  const ModelInputs inputs = texts({4, 6}), larger = texts(std::vector<int64_t>(200, 64));
  plain_counters.fail_launches = true;
  EXPECT_NE(message_of([&] { (*device)(inputs); }).find("but got out of memory (2)"), std::string::npos);
  plain_counters.fail_launches = false;
  plain_counters.fail_allocations = true;
  EXPECT_EQ(message_of([&] { (*device)(larger); }).find("[cuda.allocate] expected "), 0u);
  EXPECT_EQ(message_of([&] { tiny(runtime_on("cuda")); }).find("[cuda.allocate] expected "), 0u);
  plain_counters.fail_allocations = false;
  ModelInputs bad = inputs;
  bad.input_ids = inputs.input_ids.clone();
  bad.input_ids.data<int64_t>()[0] = 100;
  EXPECT_NE(message_of([&] { (*device)(bad); }).find("expected ids from 0 to 99 but got 100"), std::string::npos);
  expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
  expect_equal((*device)(larger), (*cpu)(larger), 2e-5);
}

TEST(Device, GivesBackAllMemory) {
  const int64_t blocks = plain_counters.blocks, graphs = plain_counters.graphs;
  {
    const AnyModel model = tiny(runtime_on("cuda"));
    (*model)(texts({4, 6}));
    EXPECT_GT(plain_counters.blocks, blocks);
    EXPECT_GT(plain_counters.graphs, graphs);
  }
  EXPECT_EQ(plain_counters.blocks, blocks);
  EXPECT_EQ(plain_counters.graphs, graphs);
}

TEST(Device, KeepsTheMostUsedGraphs) {
  const auto runtime = runtime_on("cuda");
  const AnyModel model = tiny(runtime);
  plain_counters.skip_kernels = true;
  ModelOutput output;
  auto captures_of = [&](int64_t b, int64_t s) {
    const int64_t before = runtime->cuda()->captures;
    ModelInputs inputs;  // (B, S, H) goes up as it is: each shape is a call of its own
    inputs.inputs_embeds = Tensor::zeros({b, s, 24});
    model->forward(inputs, output);
    return runtime->cuda()->captures - before;
  };
  captures_of(64, 30);  // the largest first: a workspace that grows forgets all
  for (int64_t b = 1; b <= 64; b++)
    for (int64_t s = 1; s <= 30; s++) captures_of(b, s);
  EXPECT_EQ(captures_of(64, 30), 0);
  EXPECT_EQ(captures_of(61, 7), 0);  // lately
  EXPECT_EQ(captures_of(1, 1), 1);   // long ago
  EXPECT_EQ(captures_of(1, 1), 0);
  EXPECT_LE(plain_counters.graphs, 1024);
  plain_counters.skip_kernels = false;
}

// More sizes than a workspace keeps graphs of: the smallest are prepared, and calls of others leave them alone.
TEST(Device, PreparesTheSmallestOfTooManySizes) {
  const auto runtime = runtime_on("cuda");
  const ViTConfig config({{"hidden_size", 8},
                          {"num_hidden_layers", 1},
                          {"num_attention_heads", 1},
                          {"intermediate_size", 8},
                          {"image_size", 2},
                          {"patch_size", 2}});
  AnyModel model = make_auto_model("AutoModelForImageClassification", config, {.runtime = runtime});
  const Raised skip(plain_counters.skip_kernels);
  ModelOutput output;
  auto captures_of = [&](int64_t images) {
    const int64_t before = runtime->cuda()->captures;
    ModelInputs inputs;
    inputs.pixel_values = Tensor::zeros({images, 3, 2, 2});
    model->forward(inputs, output);
    return runtime->cuda()->captures - before;
  };
  model->prepare(2 * 1100, 1100);
  int64_t captures = 0;
  for (int64_t images = 1; images <= 1024; images++) captures += captures_of(images);
  EXPECT_EQ(captures, 0);
  // Not what calls use, but what was only prepared makes room; of that the largest.
  model = make_auto_model("AutoModelForImageClassification", config, {.runtime = runtime});
  model->prepare(2 * 1300, 1300);
  for (int64_t images : {1, 2, 700, 1200, 1201, 1202}) EXPECT_EQ(captures_of(images), images > 1024) << images;
  for (int64_t images : {1, 2, 3, 700, 1021, 1200, 1201, 1202}) EXPECT_EQ(captures_of(images), 0) << images;
  EXPECT_EQ(captures_of(1022) + captures_of(1023) + captures_of(1024), 3);
  model->prepare(2 * 1300, 1300);  // full: it changes nothing
  EXPECT_EQ(captures_of(1) + captures_of(1200) + captures_of(1024), 0);
  EXPECT_LE(plain_counters.graphs, 1024);
}

// Text by its tokens, sound by its samples: a workspace that is full lacks the largest.
TEST(Device, PreparesFromTheSmallestUp) {
  int64_t last = 0, sizes = 0;
  auto grows = [&](int64_t size) {
    EXPECT_GE(size, last);
    last = size, sizes++;
    return true;
  };
  for_each_size([](int64_t tokens, int64_t batch) { return largest_text_inputs(tokens, batch, 1000); }, 700, 9,
                [&](const ModelInputs& inputs) {
                  const uint8_t* mask = inputs.attention_mask.data<uint8_t>();
                  return grows(std::count(mask, mask + inputs.attention_mask.numel(), uint8_t(1)));
                });
  EXPECT_GT(sizes, 30);
  last = sizes = 0;
  const Wav2Vec2Config config;
  auto sound = [&](int64_t frames, int64_t batch) {
    ModelInputs inputs;
    inputs.input_values = Tensor::empty({1, config.most_samples_of(frames, batch)});
    return inputs;
  };
  for_each_size(sound, 300, 5,
                [&](const ModelInputs& inputs) { return grows(Ctx::next_bucket(inputs.input_values.numel())); });
  EXPECT_GT(sizes, 30);
}

// What cannot be captured is launched without a graph; that is tried once, and prepare() says why.
TEST(Device, WhatCannotBeCaptured) {
  std::vector<std::string> log;
  auto logging = [&] {
    return std::make_shared<Runtime>(RuntimeOptions{
        .threads = 1, .log = [&](LogLevel, const std::string& text) { log.push_back(text); }, .device = "cuda"});
  };
  const AnyModel cpu = tiny(runtime_on("cpu"));
  const ModelInputs inputs = texts({4, 6});
  for (bool begins : {true, false}) {
    SCOPED_TRACE(begins);
    log.clear();
    const int64_t graphs = plain_counters.graphs;
    std::atomic<bool>& fail = begins ? plain_counters.fail_end_capture : plain_counters.fail_begin_capture;
    fail = true;
    const auto runtime = logging();
    const AnyModel device = tiny(runtime);  // loading does not fail
    ASSERT_EQ(log.size(), 1u);
    const std::string why =
        begins ? "[cuda.end_capture] expected success on cuda:0 (plain loops, 1099.5 GB) but got out of memory (2)"
               : "[cuda.begin_capture] expected success on cuda:0 (plain loops, 1099.5 GB) but got operation not "
                 "supported (801)";
    EXPECT_EQ(log[0], why + "; calls go on without a CUDA graph");
    expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
    const int64_t begun = plain_counters.begun_captures;
    for (int i = 0; i < 3; i++) expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
    EXPECT_EQ(plain_counters.begun_captures, begun);
    EXPECT_EQ(message_of([&] { device->prepare(100, 4); }), begins ? why : "no error");
    fail = false;
    // It may be tried anew in memory that has grown; never where the driver captures nothing.
    device->prepare(8000, 100);
    expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
    EXPECT_EQ(plain_counters.graphs > graphs, begins);
    EXPECT_EQ(runtime->cuda()->graph_launches, begins ? 1 : 0);
  }
}

// A kernel that fails says so when it is prepared, and again when it is called.
TEST(Device, KernelsThatFailAreKnownBeforeACall) {
  const AnyModel device = tiny(runtime_on("cuda")), cpu = tiny(runtime_on("cpu"));
  plain_counters.fail_kernels = true;
  const std::string prepared = message_of([&] { device->prepare(1000, 20); });
  EXPECT_EQ(prepared.find("[cuda.embedding_norm] expected a launch with rows 32, cols 24 on cuda:0"), 0u) << prepared;
  const ModelInputs inputs = texts(std::vector<int64_t>(20, 40));
  EXPECT_NE(message_of([&] { (*device)(inputs); }), "no error");
  plain_counters.fail_kernels = false;
  expect_equal((*device)(inputs), (*cpu)(inputs), 2e-5);
}

// A capture that does not begin costs its own graph, not those that there are.
TEST(Device, KeepsItsGraphsWhenALaterCaptureDoesNotBegin) {
  const auto runtime = runtime_on("cuda");
  const AnyModel device = tiny(runtime), cpu = tiny(runtime_on("cpu"));
  const int64_t before = runtime->cuda()->graph_launches;
  const Raised fail(plain_counters.fail_begin_capture);
  expect_equal((*device)(texts({4, 6})), (*cpu)(texts({4, 6})), 2e-5);
  EXPECT_EQ(runtime->cuda()->graph_launches, before);
  expect_equal((*device)(texts({4})), (*cpu)(texts({4})), 2e-5);  // captured when it was loaded
  EXPECT_EQ(runtime->cuda()->graph_launches, before + 1);
  EXPECT_EQ(message_of([&] { device->prepare(40, 4); }).find("[cuda.begin_capture] expected success"), 0u);
}

// Of two idle workspaces a call takes the one that knows more, of equals the one that was used last.
TEST(Device, TakesThePreparedWorkspace) {
  const auto runtime = runtime_on("cuda");
  const CudaDevice::Use use(*runtime->cuda());
  CudaWorkspacePool pool(runtime->cuda());
  const CudaWorkspace* prepared = nullptr;
  {
    auto first = std::make_unique<CudaWorkspacePool::Lease>(pool),
         second = std::make_unique<CudaWorkspacePool::Lease>(pool);
    prepared = &**first;
    (**first).begin(DType::F32);
    (**first).capture();  // of nothing, but a graph
    first.reset();        // and then the other one
  }
  EXPECT_EQ(&*CudaWorkspacePool::Lease(pool), prepared);

  CudaWorkspacePool equals(runtime->cuda());
  const CudaWorkspace* last = nullptr;
  {
    auto first = std::make_unique<CudaWorkspacePool::Lease>(equals),
         second = std::make_unique<CudaWorkspacePool::Lease>(equals);
    last = &**second;
    first.reset();
  }
  for (int i = 0; i < 2; i++) EXPECT_EQ(&*CudaWorkspacePool::Lease(equals), last);
}

TEST(Device, Names) {
  EXPECT_EQ(Runtime(RuntimeOptions{.threads = 1, .device = "cpu"}).cuda(), nullptr);
  EXPECT_EQ(runtime_on("cuda:0")->cuda()->name(), "plain loops");
  EXPECT_EQ(runtime_on("")->cuda()->name(), "plain loops");  // of the environment
  for (const char* name : {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999", "CUDA"})
    EXPECT_EQ(message_of([&] { runtime_on(name); }),
              std::string("[device] expected cpu, cuda or cuda:N but got '") + name + "'");
  EXPECT_EQ(message_of([&] { runtime_on("cuda:1"); }), "[device] expected cuda:0 to cuda:0 but got cuda:1");
  plain_counters.devices = 0;
  EXPECT_EQ(message_of([&] { runtime_on("cuda"); }),
            "[device] expected a CUDA device but got none: this machine has no NVIDIA driver or no GPU");
  plain_counters.devices = 1;
  plain_counters.driver = 12040;
  EXPECT_EQ(message_of([&] { runtime_on("cuda"); }),
            "[device] expected an NVIDIA driver for CUDA 13.0 or later but got one for CUDA 12.4: update the driver");
  plain_counters.driver = 13000;
  EXPECT_NE(message_of([&] { tiny(runtime_on("cuda"), "int8"); }).find("[dtype] expected auto, float32"),
            std::string::npos);
}

TEST(Device, Backends) {
  auto with = [](const char* backend) { return Runtime({.threads = 1, .backend = backend, .device = "cuda"}); };
  EXPECT_STREQ(with("native").backend(), "native");
  EXPECT_STREQ(with("").backend(), "native");
  for (const char* name : {"eigen", "onednn", "mkl"})
    EXPECT_EQ(message_of([&] { with(name); }),
              std::string("[backend] expected native or cublas on device 'cuda' but got '") + name + "'");
  EXPECT_EQ(message_of([&] { with("cublas"); }),
            "[backend] expected native but got 'cublas': not built; configure with -DCARACAL_CUBLAS=ON and link "
            "caracal::cuda");
}

// The choice reaches every product and convolution, and only where it was made.
TEST(Device, Tf32) {
  const ModelInputs inputs = texts({5, 17, 1, 30});
  const Tensor exact = (*tiny(runtime_on("cuda")))(inputs).last_hidden_state;
  for (const bool tf32 : {false, true}) {
    const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda", .tf32 = tf32});
    EXPECT_EQ(runtime->tf32(), tf32);
    const int64_t products = plain_counters.products, of_tf32 = plain_counters.tf32_products;
    const Tensor got = (*tiny(runtime))(inputs).last_hidden_state;
    EXPECT_EQ(plain_counters.products - products, 2 * 4 + 1);  // a layer's, and the pooler's
    EXPECT_EQ(plain_counters.tf32_products - of_tf32, tf32 ? 2 * 4 + 1 : 0);
    EXPECT_EQ(bytes_equal(got, exact), !tf32);
    EXPECT_LE(worst(got, exact), 2e-3);

    const int64_t convolutions = plain_counters.convolutions, rounded = plain_counters.tf32_convolutions;
    ModelInputs sound;
    sound.input_values = Tensor::zeros({1, 2000});
    (*AutoModel::from_pretrained(data_path("models/wav2vec2/layer"), {.runtime = runtime}))(sound);
    EXPECT_GT(plain_counters.convolutions, convolutions);
    EXPECT_EQ(plain_counters.tf32_convolutions - rounded, tf32 ? plain_counters.convolutions - convolutions : 0);
  }
  EXPECT_EQ(message_of([] { Runtime({.threads = 1, .device = "cpu", .tf32 = true}); }),
            "[tf32] expected false, since the device is cpu, but got true");
}

TEST(Device, MemoryThatIsNotTheCpus) {
  const Tensor x = Tensor::view(nullptr, {2, 3}, DType::F32, nullptr, {DeviceType::cuda, 0});
  const char* text = "[Tensor::data] expected memory of the CPU but got cuda";
  EXPECT_EQ(message_of([&] { x.data<float>(); }), text);
  EXPECT_EQ(message_of([&] { x.values<float>(); }), text);
  EXPECT_EQ(message_of([&] { x.clone(); }), text);
  EXPECT_EQ(message_of([&] { x.to(DType::F16); }), text);
  EXPECT_TRUE(x.rows(0, 1).on_cuda());
  EXPECT_TRUE(x.reshape({6}).on_cuda());
}

TEST(Device, Buckets) {
  for (const auto& [n, want] : std::map<int64_t, int64_t>{{0, 0},
                                                          {1, 32},
                                                          {32, 32},
                                                          {33, 64},
                                                          {97, 128},
                                                          {129, 192},
                                                          {1024, 1024},
                                                          {1025, 1280},
                                                          {2049, 2560},
                                                          {4096, 4096},
                                                          {4097, 5120}})
    EXPECT_EQ(Ctx::next_bucket(n), want) << n;
  for (const auto& [n, want] : std::map<int64_t, int64_t>{{0, 0}, {1, 1}, {2, 2}, {3, 4}, {33, 64}})
    EXPECT_EQ(Ctx::next_power(n), want) << n;
  for (const auto& [n, want] :
       std::map<int64_t, int64_t>{{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 6}, {7, 8}, {9, 12}, {13, 16}, {25, 32}})
    EXPECT_EQ(Ctx::next_half_power(n), want) << n;
  for (const auto& [n, want] : std::map<int64_t, int64_t>{{0, 5}, {5, 5}, {6, 8}, {8, 8}, {9, 10}, {10, 10}})
    EXPECT_EQ(Ctx::next_part(n, 10), want) << n;
}

}  // namespace
}  // namespace caracal
