// A model on a stream that the program around it made with the driver: the same bits, in the stream's order, and the
// thread's current device as it was.
#include <cstring>
#include <thread>

#include <caracal/kernels/cuda/kernels.h>

#include "models_testing.h"

namespace caracal {
namespace {

using kernels::cuda::Context;
using kernels::cuda::Cuda;
using kernels::cuda::Graph;
using kernels::cuda::Stream;

const Cuda& table() { return *kernels::cuda::cuda_table(); }

AnyModel tiny() {
  BertConfig config;
  config.vocab_size = 100, config.hidden_size = 24, config.num_hidden_layers = 1, config.num_attention_heads = 3;
  config.intermediate_size = 40, config.max_position_embeddings = 16;
  return AutoModel::from_config(config,
                                {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"})});
}

TEST(Streams, OfTheCaller) {
  const AnyModel model = tiny();
  const ModelInputs inputs = make_inputs({{5, 6, 7}, {8}});
  const ModelOutput want = (*model)(inputs);
  std::thread([&] {  // one that no device was ever current in
    Context before, again;
    Stream stream = nullptr;
    void *memory = nullptr, *host = nullptr;
    Graph graph = nullptr;
    ASSERT_EQ(table().use_device(0, &before), 0);
    ASSERT_EQ(table().create_stream(&stream), 0);
    ASSERT_EQ(table().allocate(&memory, 64), 0);
    ASSERT_EQ(table().allocate_host(&host, 64), 0);
    std::memset(host, 1, 64);
    ASSERT_EQ(table().restore(before), 0);

    // What was put on the stream before the call is done when it returns.
    ASSERT_EQ(table().use_device(0, &before), 0);
    ASSERT_EQ(table().fill_zero(stream, memory, 64), 0);
    ASSERT_EQ(table().copy(stream, host, memory, 64), 0);
    ASSERT_EQ(table().restore(before), 0);
    const ModelOutput got = (*model)(inputs, {.cuda_stream = stream});
    EXPECT_TRUE(bytes_equal(got.last_hidden_state, want.last_hidden_state));
    EXPECT_TRUE(bytes_equal(got.pooler_output, want.pooler_output));
    for (int i = 0; i < 64; i++) EXPECT_EQ(static_cast<uint8_t*>(host)[i], 0);

    // One under capture is refused, and its capture goes on.
    ASSERT_EQ(table().use_device(0, &before), 0);
    EXPECT_EQ(before, nullptr);  // the call left nothing current
    ASSERT_EQ(table().begin_capture(stream), 0);
    ASSERT_EQ(table().fill_zero(stream, memory, 64), 0);
    ASSERT_EQ(table().restore(before), 0);
    EXPECT_NE(message_of([&] { (*model)(inputs, {.cuda_stream = stream}); }).find("that is not being captured"),
              std::string::npos);
    ASSERT_EQ(table().use_device(0, &again), 0);
    ASSERT_EQ(table().end_capture(stream, &graph), 0);
    EXPECT_NE(graph, nullptr);
    EXPECT_EQ(table().destroy_graph(graph), 0);
    EXPECT_EQ(table().release(memory), 0);
    EXPECT_EQ(table().release_host(host), 0);
    EXPECT_EQ(table().destroy_stream(stream), 0);
    EXPECT_EQ(table().restore(again), 0);
  })
      .join();
}

}  // namespace
}  // namespace caracal
