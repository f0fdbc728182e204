// A program that captures a stream of its own, in the mode that forbids most, while models load, are prepared, called
// and go in another thread: none fails, and the capture is whole.
#include <future>
#include <thread>

#include <cuda_runtime.h>

#include <caracal/runtime/cuda_device.h>

#include "models_testing.h"

namespace caracal {
namespace {

TEST(Captures, OfOtherThreadsGoOn) {
  std::promise<void> begun, done;
  std::thread capturing([&] {
    void* memory = nullptr;
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, 64), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamDefault), cudaSuccess);  // the legacy stream waits for it
    EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 0, 64, stream), cudaSuccess);
    begun.set_value();
    done.get_future().wait();
    EXPECT_EQ(cudaMemsetAsync(memory, 1, 64, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    EXPECT_NE(graph, nullptr);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
  });
  begun.get_future().wait();
  const std::string error = message_of([] {
    const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"});
    BertConfig config;
    config.vocab_size = 100, config.hidden_size = 24, config.num_hidden_layers = 1, config.num_attention_heads = 3;
    config.intermediate_size = 40, config.max_position_embeddings = 16;
    const ModelInputs small = make_inputs({{5, 6, 7}, {8}}),
                      large = make_inputs(std::vector<std::vector<int64_t>>(40, std::vector<int64_t>(16, 1)));
    for (const char* dtype : {"float32", "float16"}) {
      const AnyModel model = AutoModel::from_config(config, {.dtype = dtype, .runtime = runtime});
      model->prepare(100, 4, {.callers = 2});
      const int64_t launches = runtime->cuda()->graph_launches;
      for (const ModelInputs& inputs : {small, large, small}) (*model)(inputs);
      EXPECT_EQ(runtime->cuda()->graph_launches, launches + 3);
    }
  });
  EXPECT_EQ(error, "no error");
  done.set_value();
  capturing.join();
}

}  // namespace
}  // namespace caracal
