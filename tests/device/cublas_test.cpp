// Models on a device whose products are cuBLASLt's, which fake_cublaslt.cpp plays: that it is asked for, found and
// used, in graphs as outside. Linked with the goldens, which run on it too.
#include <dlfcn.h>

#include <caracal/runtime/cuda_device.h>
#include <caracal/tests/cuda/cublas/fake_cublaslt.h>

#include "models_testing.h"
#include "plain_table.h"

// For the library.
int fake_cublaslt_submit(CUstream_st* stream, void (*work)(void*), void* data) {
  return caracal::kernels::cuda::plain_submit(stream, [=] { return work(data), 0; });
}
int fake_cublaslt_device() { return 0; }
int fake_cublaslt_capturing() { return caracal::kernels::cuda::plain_capturing(); }

namespace caracal {
namespace {

FakeCublasLt& fake() {
  void* library = dlopen("libcublasLt.so.13", RTLD_NOW);
  return *reinterpret_cast<FakeCublasLt* (*)()>(dlsym(library, "fake_cublaslt_counters"))();
}

std::shared_ptr<Runtime> runtime_on(const std::string& device, const std::string& backend) {
  return std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .backend = backend, .device = device});
}

AnyModel tiny(const std::shared_ptr<Runtime>& runtime, const std::string& dtype, const std::string& activation) {
  BertConfig config;
  config.vocab_size = 100, config.hidden_size = 24, config.num_hidden_layers = 2, config.num_attention_heads = 3;
  config.intermediate_size = 40, config.max_position_embeddings = 64, config.hidden_act = activation;
  return AutoModel::from_config(config, {.dtype = dtype, .runtime = runtime});
}

double worst(const Tensor& a, const Tensor& b) {
  double result = a.shape() == b.shape() ? 0 : INFINITY;
  for (int64_t i = 0; result < INFINITY && i < a.numel(); i++) {
    const double difference = std::abs(double(a.data<float>()[i]) - double(b.data<float>()[i]));
    result = std::isnan(difference) ? INFINITY : std::max(result, difference);
  }
  return result;
}

TEST(Cublas, ModelsMultiplyByIt) {
  const std::vector<std::vector<int64_t>> rows = {{1, 2, 3, 4, 5}, {7}, {9, 8, 7, 6, 5, 4, 3, 2, 1}};
  const ModelInputs inputs = make_inputs(rows);
  for (const auto& [dtype, tolerance] : {std::pair("float32", 2e-5), {"float16", 8e-3}, {"bfloat16", 4e-2}})
    for (const std::string activation : {"gelu", "relu"}) {
      SCOPED_TRACE(dtype + (" " + activation));
      const auto runtime = runtime_on("cuda", "cublas");
      EXPECT_STREQ(runtime->backend(), "cublas");
      const AnyModel device = tiny(runtime, dtype, activation);
      const AnyModel cpu = tiny(runtime_on("cpu", "native"), dtype, activation);
      const int64_t before = fake().products, fused = fake().residuals;
      const ModelOutput want = (*cpu)(inputs), got = (*device)(inputs);
      EXPECT_EQ(fake().products - before, 2 * 4 + 1);  // a layer's, and the pooler's
      EXPECT_EQ(fake().residuals - fused, 2 * 2);
      EXPECT_LE(worst(got.last_hidden_state, want.last_hidden_state), tolerance);
      EXPECT_LE(worst(got.pooler_output, want.pooler_output), tolerance);
      // A call like it is a replay.
      ModelInputs others = make_inputs({{5, 4, 3, 2, 1}, {9}, {1, 1, 2, 3, 5, 8, 13, 21, 34}});
      const int64_t asked = fake().products, heuristics = fake().heuristics, launches = runtime->cuda()->graph_launches;
      const ModelOutput replayed = (*device)(others), expected = (*cpu)(others);
      EXPECT_LE(worst(replayed.last_hidden_state, expected.last_hidden_state), tolerance);
      EXPECT_EQ(fake().products, asked);
      EXPECT_EQ(fake().heuristics, heuristics);
      EXPECT_EQ(runtime->cuda()->graph_launches, launches + 1);
    }
  EXPECT_EQ(fake().descriptions, 0);
}

// The library's code is chosen before a capture, which it may fail in, and once for all places of equal products.
TEST(Cublas, ChoosesBeforeCaptures) {
  const auto runtime = runtime_on("cuda", "cublas");
  const AnyModel a = tiny(runtime, "float16", "relu"), b = tiny(runtime, "float16", "relu");
  const auto first = fake().heuristics.load(), captures = runtime->cuda()->captures.load();
  EXPECT_EQ(message_of([&] { a->prepare(300, 4, {.callers = 3}); }), "no error");
  EXPECT_GT(runtime->cuda()->captures - captures, 3 * 10);
  // At most: 32 to 384 rows of a layer's four products, and the pooler's 1, 2 and 4.
  const auto asked = fake().heuristics.load();
  EXPECT_LE(asked - first, 7 * 4 + 3);
  b->prepare(300, 4);
  EXPECT_EQ(fake().heuristics, asked);  // other workspaces, other weights
  const int64_t launches = runtime->cuda()->graph_launches;
  (*b)(make_inputs({{1, 2, 3}}));
  EXPECT_EQ(runtime->cuda()->graph_launches, launches + 1);
}

TEST(Cublas, NativeIsStillThere) {
  const auto runtime = runtime_on("cuda", "native");
  EXPECT_STREQ(runtime->backend(), "native");
  const int64_t before = fake().products;
  const AnyModel model = tiny(runtime, "float32", "gelu");
  (*model)(make_inputs({{1, 2, 3}}));
  EXPECT_EQ(fake().products, before);
}

// ctest runs this alone, where the loader finds no library (or without it).
TEST(Cublas, MissingLibraryIsAnError) {
  if (dlopen("libcublasLt.so.13", RTLD_NOW) != nullptr) GTEST_SKIP() << "the library is there";
  try {
    runtime_on("cuda", "cublas");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    const std::string text = e.what();
    EXPECT_EQ(text.find("[backend] expected cuBLASLt for 'cublas' but got: "), 0u) << text;
    EXPECT_NE(text.find("; install cuBLAS of CUDA 13"), std::string::npos) << text;
  }
  EXPECT_STREQ(runtime_on("cuda", "native")->backend(), "native");
}

// ctest runs this alone, with a library that cannot be made ready: Runtime says so, not the first call.
TEST(Cublas, BrokenLibraryIsAnError) {
  if (std::getenv("FAKE_CUBLASLT_BROKEN") == nullptr) GTEST_SKIP() << "the library works";
  const std::string text = message_of([] { runtime_on("cuda", "cublas"); });
  EXPECT_NE(text.find("cuBLASLt: the library was not initialized"), std::string::npos) << text;
}

TEST(Cublas, IsOfADevice) {
  EXPECT_EQ(message_of([] { runtime_on("cpu", "cublas"); }),
            "[backend] expected native, onednn or eigen but got 'cublas', which needs a CUDA device");
  EXPECT_STREQ(runtime_on("cuda", "")->backend(), "cublas");  // of the environment
}

}  // namespace
}  // namespace caracal
