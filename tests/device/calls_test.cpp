// What a program around caracal sees of its device: its own streams, the thread's current device, messages of errors.
#include <thread>

#include <caracal/models/wav2vec2/modeling_wav2vec2.h>
#include <caracal/runtime/convolution.h>
#include <caracal/runtime/cuda_device.h>
#include <caracal/runtime/cuda_workspace.h>

#include "models_testing.h"
#include "plain_table.h"

namespace caracal {
namespace {

using kernels::cuda::Context;
using kernels::cuda::cuda_table;
using kernels::cuda::plain_counters;
using kernels::cuda::Raised;
using kernels::cuda::Stream;

std::shared_ptr<Runtime> runtime_on(const std::string& device, void* stream = nullptr) {
  return std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = device, .cuda_stream = stream});
}

AnyModel tiny(const std::shared_ptr<Runtime>& runtime) {
  BertConfig config;
  config.vocab_size = 100, config.hidden_size = 24, config.num_hidden_layers = 2, config.num_attention_heads = 3;
  config.intermediate_size = 40, config.max_position_embeddings = 64;
  return AutoModel::from_config(config, {.runtime = runtime});
}

const ModelInputs& some_text() {
  static const ModelInputs inputs = make_inputs({{5, 6, 7}, {8}});
  return inputs;
}

// A stream as a program around caracal makes it.
struct CallersStream {
  explicit CallersStream(int device = 0) {
    Context before;
    cuda_table()->use_device(device, &before);
    cuda_table()->create_stream(&stream);
    cuda_table()->restore(before);
  }
  ~CallersStream() { cuda_table()->destroy_stream(stream); }
  Stream stream = nullptr;
};

struct Devices {  // so many, for a test
  explicit Devices(int count) { plain_counters.devices = count; }
  ~Devices() { plain_counters.devices = 1; }
};

TEST(Streams, ACallRunsOnItsStreamAndWaitsForIt) {
  const auto runtime = runtime_on("cuda");
  const AnyModel model = tiny(runtime);
  const ModelOutput want = (*model)(some_text());
  CallersStream a, b;
  ModelOutput output;
  for (int i = 1; i <= 3; i++) {
    const int64_t captures = runtime->cuda()->captures;
    model->forward(some_text(), output, {.cuda_stream = a.stream});
    EXPECT_TRUE(bytes_equal(output.last_hidden_state, want.last_hidden_state));
    EXPECT_EQ(a.stream->graphs, i);
    EXPECT_EQ(a.stream->synchronized, i);
    EXPECT_EQ(a.stream->copies, 0);  // all within the graph
    EXPECT_TRUE(a.stream->captured.empty());
    EXPECT_EQ(runtime->cuda()->captures, captures);  // one graph serves all streams
  }
  model->forward(some_text(), output, {.cuda_stream = b.stream});
  model->forward(some_text(), output);
  EXPECT_EQ(a.stream->graphs, 3);
  EXPECT_EQ(b.stream->graphs, 1);
}

TEST(Streams, WhatCannotBeCapturedRunsThereToo) {
  const AnyModel model = tiny(runtime_on("cuda"));
  CallersStream own;
  (*model)(some_text());
  plain_counters.fail_kernels = true;
  const ModelInputs other = make_inputs(std::vector<std::vector<int64_t>>(20, std::vector<int64_t>(20, 1)));
  EXPECT_NE(message_of([&] { (*model)(other, {.cuda_stream = own.stream}); }), "no error");
  plain_counters.fail_kernels = false;
  EXPECT_EQ(own.stream->copies, 1);        // the upload
  EXPECT_EQ(own.stream->synchronized, 1);  // memory of the next call
  EXPECT_EQ(own.stream->graphs, 0);
}

TEST(Streams, TheRuntimesIsForCallsWithoutOne) {
  CallersStream all, one;
  const AnyModel model = tiny(runtime_on("cuda", all.stream));
  const int64_t prepared = all.stream->graphs;
  EXPECT_EQ(prepared, 0);  // captures run nothing
  (*model)(some_text());
  EXPECT_EQ(all.stream->graphs, 1);
  (*model)(some_text(), {.cuda_stream = one.stream});
  EXPECT_EQ(all.stream->graphs, 1);
  EXPECT_EQ(one.stream->graphs, 1);
}

TEST(Streams, ThreadsMayShareOneOrHaveTheirOwn) {
  const AnyModel model = tiny(runtime_on("cuda"));
  const ModelOutput want = (*model)(some_text());
  CallersStream own[4];
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (CallersStream& stream : own)
    threads.emplace_back([&] {
      ModelOutput output;
      for (int i = 0; i < 10; i++) {
        model->forward(some_text(), output, {.cuda_stream = stream.stream});
        wrong += !bytes_equal(output.last_hidden_state, want.last_hidden_state);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  for (CallersStream& stream : own) EXPECT_EQ(stream.stream->graphs, 10);
}

TEST(Streams, ThatCannotBeUsed) {
  const Devices two(2);
  CallersStream stream, of_another(1), capturing;
  const AnyModel cpu = tiny(runtime_on("cpu")), device = tiny(runtime_on("cuda"));
  const std::string no_device = "[cuda_stream] expected no stream, since the device is cpu, but got one";
  EXPECT_EQ(message_of([&] { (*cpu)(some_text(), {.cuda_stream = stream.stream}); }), no_device);
  EXPECT_EQ(message_of([&] { cpu->prepare(8, 1, {.forward = {.cuda_stream = stream.stream}}); }), no_device);
  EXPECT_EQ(message_of([&] { runtime_on("cpu", stream.stream); }), no_device);
  const std::string other =
      "[cuda_stream] expected a stream of cuda:0 that is not being captured but got one of cuda:1";
  EXPECT_EQ(message_of([&] { (*device)(some_text(), {.cuda_stream = of_another.stream}); }), other);
  EXPECT_EQ(message_of([&] { runtime_on("cuda:0", of_another.stream); }), other);
  capturing.stream->capturing = true;
  EXPECT_EQ(message_of([&] { (*device)(some_text(), {.cuda_stream = capturing.stream}); }),
            "[cuda_stream] expected a stream of cuda:0 that is not being captured but got one that is");
  EXPECT_TRUE(capturing.stream->captured.empty());
  plain_counters.foreign_context = true;  // as cuCtxCreate makes one
  const CallersStream foreign;
  plain_counters.foreign_context = false;
  const std::string context =
      "[cuda_stream] expected a stream of cuda:0's primary context but got one of another context";
  EXPECT_EQ(message_of([&] { (*device)(some_text(), {.cuda_stream = foreign.stream}); }), context);
  EXPECT_EQ(message_of([&] { runtime_on("cuda:0", foreign.stream); }), context);
  EXPECT_EQ(foreign.stream->graphs + foreign.stream->copies + foreign.stream->synchronized, 0);
  EXPECT_EQ(of_another.stream->graphs + stream.stream->graphs, 0);
  EXPECT_EQ(message_of([&] { (*device)(some_text(), {.cuda_stream = stream.stream}); }), "no error");
}

// A program that captures for itself, in whatever mode: nothing that is done here spoils it, or fails for it.
TEST(Captures, OfOtherThreadsGoOn) {
  const AnyModel cpu = tiny(runtime_on("cpu"));
  plain_counters.spoiled = 0;
  {
    const Raised capture(plain_counters.global_capture);
    const auto runtime = runtime_on("cuda");
    BertConfig config;
    config.vocab_size = 100, config.hidden_size = 24, config.num_hidden_layers = 1, config.num_attention_heads = 3;
    config.intermediate_size = 40, config.max_position_embeddings = 64;
    const AnyModel model = tiny(runtime),
                   half = AutoModel::from_config(config, {.dtype = "float16", .runtime = runtime});
    model->prepare(300, 4, {.callers = 2});
    EXPECT_EQ(message_of([&] { (*model)(some_text()); }), "no error");
    const ModelInputs large = make_inputs(std::vector<std::vector<int64_t>>(99, std::vector<int64_t>(60, 1)));
    EXPECT_EQ(message_of([&] { (*half)(large); }), "no error");
    std::thread([&] { EXPECT_EQ(message_of([&] { (*model)(large); }), "no error"); }).join();
  }
  EXPECT_EQ(plain_counters.spoiled, 0);
  int mode = 0;
  EXPECT_EQ(kernels::cuda::plain_capture_mode(), mode);  // the thread's is as before
  mode = 1;
  cuda_table()->exchange_capture_mode(&mode);
  EXPECT_EQ(message_of([&] { tiny(runtime_on("cuda")); }), "no error");
  EXPECT_EQ(kernels::cuda::plain_capture_mode(), 1);
  cuda_table()->exchange_capture_mode(&mode);
}

// Also after errors, and where a thread had no device at all.
TEST(CurrentDevice, IsWhatItWasBefore) {
  const Devices two(2);
  const kernels::cuda::Cuda& table = *cuda_table();
  auto current = [&] {
    Context before;
    EXPECT_EQ(table.use_device(0, &before), 0);
    EXPECT_EQ(table.restore(before), 0);
    return before;
  };
  for (bool has : {false, true})
    std::thread([&] {
      Context none;
      if (has) {
        EXPECT_EQ(table.use_device(0, &none), 0);
      }
      const Context own = current();
      EXPECT_EQ(own != nullptr, has);
      {
        const AnyModel model = tiny(runtime_on("cuda:1"));
        EXPECT_EQ(current(), own);
        EXPECT_EQ((*model)(some_text()).last_hidden_state.size(0), 2);
        EXPECT_EQ(current(), own);
        model->prepare(100, 4);
        EXPECT_EQ(current(), own);
        model->prepare(100, 4, {.callers = 2});
        EXPECT_EQ(current(), own);
        plain_counters.fail_launches = true;
        EXPECT_NE(message_of([&] { (*model)(some_text()); }), "no error");
        plain_counters.fail_launches = false;
        EXPECT_EQ(current(), own);
        plain_counters.fail_allocations = true;
        const ModelInputs large = make_inputs(std::vector<std::vector<int64_t>>(99, std::vector<int64_t>(60, 1)));
        EXPECT_NE(message_of([&] { (*model)(large); }), "no error");
        plain_counters.fail_allocations = false;
        EXPECT_EQ(current(), own);
        ModelInputs bad = make_inputs({{100}});
        EXPECT_NE(message_of([&] { (*model)(bad); }), "no error");
        EXPECT_EQ(current(), own);
      }
      EXPECT_EQ(current(), own);  // memory was freed
    }).join();
}

TEST(CurrentDevice, IsNotSwitchedWhereItIsRight) {
  const kernels::cuda::Cuda& table = *cuda_table();
  const AnyModel model = tiny(runtime_on("cuda"));
  ModelOutput output;
  model->forward(some_text(), output);
  Context before;
  ASSERT_EQ(table.use_device(0, &before), 0);
  int64_t switches = plain_counters.switches;
  model->forward(some_text(), output);
  EXPECT_EQ(plain_counters.switches, switches);
  ASSERT_EQ(table.restore(before), 0);
  switches = plain_counters.switches;
  model->forward(some_text(), output);  // there and back
  EXPECT_EQ(plain_counters.switches, switches + (before == nullptr ? 2 : 0));
}

TEST(DriverErrors, NameTheCallItsSizeAndTheDevice) {
  const auto runtime = runtime_on("cuda");
  const AnyModel model = tiny(runtime);
  const std::string where = " on cuda:0 (plain loops, 1099.5 GB) but got out of memory (2)";
  (*model)(some_text());
  plain_counters.fail_waiting = true;
  EXPECT_EQ(message_of([&] { (*model)(some_text()); }), "[cuda.synchronize] expected success" + where);
  plain_counters.fail_waiting = false;
  plain_counters.fail_launches = true;
  EXPECT_EQ(message_of([&] { (*model)(some_text()); }), "[cuda.launch_graph] expected success" + where);
  EXPECT_EQ(message_of([&] {
              (*model)(make_inputs(std::vector<std::vector<int64_t>>(3, {1, 2})));
            }),
            "[cuda.embedding_norm] expected a launch with rows 32, cols 24" + where);
  plain_counters.fail_launches = false;
  plain_counters.fail_allocations = true;
  for (const auto& [bytes, text] : std::initializer_list<std::pair<size_t, const char*>>{{1, "1 bytes"},
                                                                                         {999, "999 bytes"},
                                                                                         {1200, "1.2 kB"},
                                                                                         {999'960, "1.0 MB"},
                                                                                         {1'240'000'000, "1.2 GB"},
                                                                                         {size_t(5e12), "5000.0 GB"}})
    EXPECT_EQ(message_of([&] { runtime->cuda()->allocate(bytes); }),
              "[cuda.allocate] expected " + std::string(text) + where);
  plain_counters.fail_allocations = false;
  EXPECT_EQ(message_of([&] { (*model)(some_text()); }), "no error");
}

TEST(DriverErrors, NamesOfKernels) {
  using kernels::cuda::Cuda;
  EXPECT_STREQ(kernel_name<&Cuda::gemm>(), "gemm");
  EXPECT_STREQ(kernel_name<&Cuda::glu>(), "glu");  // of the same type as others
  EXPECT_STREQ(kernel_name<&Cuda::l2_normalize>(), "l2_normalize");
  kernels::cuda::GemmArgs args{};
  args.rows = 3, args.n = 4, args.k = 5;
  EXPECT_EQ(sizes_of(args), "rows 3, n 4, k 5");
}

// Weights are packed for the CPU, or lie on one device: used elsewhere they would be read as what they are not.
TEST(PackedWeights, OfAnotherDevice) {
  const Devices two(2);
  const Tensor weight = Tensor::zeros({8, 16}), taps = Tensor::zeros({8, 16, 1}), x = Tensor::zeros({3, 16});
  struct Place {
    std::shared_ptr<Runtime> runtime;
    std::unique_ptr<WeightStore> store;
    Linear linear;
    Convolution convolution;
  };
  std::vector<Place> places;
  for (const char* name : {"cpu", "cuda:0", "cuda:1"}) {
    Place& p = places.emplace_back();
    p.runtime = runtime_on(name);
    p.store = std::make_unique<WeightStore>(p.runtime->cuda(), DType::F32);
    p.linear = pack_linear(*p.runtime, *p.store, {weight}, {Tensor()});
    p.convolution = pack_convolution(*p.runtime, *p.store, taps, {});
  }
  for (size_t here = 0; here < 3; here++)
    for (size_t there = 0; there < 3; there++) {
      const Runtime& runtime = *places[here].runtime;
      std::unique_ptr<CudaWorkspacePool> pool;
      std::unique_ptr<CudaWorkspacePool::Lease> lease;
      Arena arena;
      std::unique_ptr<Ctx> ctx;
      if (runtime.cuda() != nullptr) {
        pool = std::make_unique<CudaWorkspacePool>(runtime.cuda());
        lease = std::make_unique<CudaWorkspacePool::Lease>(*pool);
        (**lease).begin(DType::F32);
        ctx = std::make_unique<Ctx>(runtime, **lease);
      } else {
        ctx = std::make_unique<Ctx>(runtime, arena);
      }
      const char* names[] = {"cpu", "cuda:0", "cuda:1"};
      const std::string message = here == there ? "no error"
                                                : std::string("] expected weights packed for ") + names[here] +
                                                      ", as x is there, but got " + names[there];
      auto got = [&](auto f) {
        const std::string text = message_of(f);
        return text.substr(text.find(']') == text.npos ? 0 : text.find(']'));
      };
      EXPECT_EQ(got([&] { linear(*ctx, to_device(*ctx, x), places[there].linear); }), message);
      const int64_t offsets[] = {0, 3}, keys[] = {3};
      Ragged out;
      EXPECT_EQ(got([&] {
                  conv1d(*ctx, to_device(*ctx, x), {1, 3, 3, offsets, keys}, places[there].convolution, &out);
                }),
                message);
      Images images;
      EXPECT_EQ(got([&] { conv2d(*ctx, to_device(*ctx, x), {1, 1, 3}, places[there].convolution, &images); }), message);
    }
}

// A configuration may name any max_distance; positions so far apart are what a device has no room for.
TEST(RelativeBias, FarPositions) {
  const auto cpu = runtime_on("cpu"), cuda = runtime_on("cuda");
  WeightStore store(cuda->cuda(), DType::F32);
  Tensor table = Tensor::zeros({2, 32});
  for (int64_t i = 0; i < 64; i++) table.data<float>()[i] = float(i);
  const int64_t offsets[] = {0, 4}, keys[] = {4};
  const Ragged sequences{1, 4, 4, offsets, keys};
  auto positions = [](int64_t last) {
    Tensor x = Tensor::zeros({4}, DType::I64);
    x.data<int64_t>()[1] = 7, x.data<int64_t>()[2] = 40'000, x.data<int64_t>()[3] = last;
    return x;
  };
  CudaWorkspacePool pool(cuda->cuda());
  const CudaWorkspacePool::Lease lease(pool);
  for (int64_t most : {128, 65'536, 65'537, 1'000'000'000}) {
    std::vector<float> want, got;
    Arena arena;
    Ctx here(*cpu, arena);
    const RelativePositions term{positions(65'536), table, most};
    for (float x : relative_bias(here, sequences, std::span(&term, 1)).values<float>()) want.push_back(x);
    const RelativePositions there{positions(65'536), store.place(table, DType::F32), most};
    do {
      (*lease).begin(DType::F32);
      Ctx ctx(*cuda, *lease);
      ctx.fetch(relative_bias(ctx, sequences, std::span(&there, 1)),
                [&](const Tensor& x) { got.assign(x.values<float>().begin(), x.values<float>().begin() + 32); });
    } while (!(*lease).settle());
    (*lease).execute();
    EXPECT_EQ(got, want) << most;
    const RelativePositions far{positions(65'537), there.table, most};
    (*lease).begin(DType::F32);
    Ctx ctx(*cuda, *lease);
    EXPECT_EQ(message_of([&] { relative_bias(ctx, sequences, std::span(&far, 1)); }),
              most <= 65'536 ? "no error"
                             : "[relative_bias] expected positions at most 65536 apart on cuda but got 0 and 65537");
  }
}

}  // namespace
}  // namespace caracal
