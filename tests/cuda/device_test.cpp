// The driver's functions of the table, on the shim or on a GPU.
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <caracal/tests/cuda/device_memory.h>

namespace caracal::kernels::cuda {
namespace {

TEST(Device, IsCountedNamedAndMadeCurrent) {
  const Cuda& cuda = table();
  int count = 0, major = 0, minor = 0;
  size_t memory = 0;
  char name[256] = "";
  EXPECT_CUDA(cuda.device_count(&count));
  EXPECT_GE(count, 1);
  EXPECT_CUDA(cuda.device_name(0, name, sizeof name, &major, &minor, &memory));
  EXPECT_STRNE(name, "");
  EXPECT_GE(10 * major + minor, 75);
  EXPECT_GT(memory, size_t(1) << 30);
  char first[2] = "?";
  EXPECT_CUDA(cuda.device_name(0, first, sizeof first, &major, &minor, &memory));
  EXPECT_EQ(std::string(first), std::string(name, 1));
  Context before;
  for (int index : {-1, count, 1000}) {
    EXPECT_NE(cuda.use_device(index, &before), 0);
    EXPECT_NE(cuda.device_name(index, name, sizeof name, &major, &minor, &memory), 0);
  }
  for (int index : {count - 1, 0}) {
    int current = -1;
    EXPECT_CUDA(cuda.use_device(index, &before));
    EXPECT_CUDA(cuda.current_device(&current));
    EXPECT_EQ(current, index);
  }
  std::thread([&] { EXPECT_CUDA(cuda.use_device(0, &before)); }).join();
  const std::string text = cuda.error_text(cuda.use_device(count, &before));
  EXPECT_FALSE(text.empty());
  EXPECT_NE(text, cuda.error_text(0));
}

// Also a thread that had no device gets that back.
TEST(Device, WhatWasCurrentComesBack) {
  const Cuda& cuda = table();
  int count = 0;
  EXPECT_CUDA(cuda.device_count(&count));
  std::thread([&] {
    Context before, inner, again;
    EXPECT_CUDA(cuda.use_device(count - 1, &before));
    EXPECT_EQ(before, nullptr);
    EXPECT_CUDA(cuda.use_device(0, &inner));
    EXPECT_NE(inner, nullptr);
    void* memory = nullptr;
    EXPECT_CUDA(cuda.allocate(&memory, 10));
    EXPECT_CUDA(cuda.release(memory));
    EXPECT_CUDA(cuda.restore(inner));
    EXPECT_CUDA(cuda.use_device(count - 1, &again));
    EXPECT_EQ(again, inner);
    EXPECT_CUDA(cuda.restore(again));
    EXPECT_CUDA(cuda.restore(before));
    EXPECT_CUDA(cuda.use_device(0, &again));
    EXPECT_EQ(again, nullptr);
    EXPECT_CUDA(cuda.restore(again));
  }).join();
}

TEST(Device, StreamsKnowTheirDevice) {
  const Cuda& cuda = table();
  int count = 0;
  EXPECT_CUDA(cuda.device_count(&count));
  for (int index = 0; index < count; index++) {
    Context before;
    Stream stream;
    Graph graph = nullptr;
    StreamState state;
    EXPECT_CUDA(cuda.use_device(index, &before));
    EXPECT_CUDA(cuda.create_stream(&stream));
    EXPECT_CUDA(cuda.stream_state(stream, &state));
    EXPECT_EQ(state.device, index);
    EXPECT_TRUE(state.primary);
    EXPECT_FALSE(state.capturing);
    EXPECT_CUDA(cuda.begin_capture(stream));
    EXPECT_CUDA(cuda.stream_state(stream, &state));
    EXPECT_TRUE(state.capturing);
    EXPECT_CUDA(cuda.end_capture(stream, &graph));
    EXPECT_CUDA(cuda.destroy_graph(graph));
    EXPECT_CUDA(cuda.destroy_stream(stream));
    EXPECT_CUDA(cuda.restore(before));
  }
}

TEST(Device, CopiesAndFillsInOrder) {
  const Cuda& cuda = table();
  const size_t n = 1000;
  Stream stream;
  void *host = nullptr, *back = nullptr, *a = nullptr, *b = nullptr;
  EXPECT_CUDA(cuda.create_stream(&stream));
  EXPECT_CUDA(cuda.allocate_host(&host, n));
  EXPECT_CUDA(cuda.allocate_host(&back, n));
  EXPECT_CUDA(cuda.allocate(&a, n));
  EXPECT_CUDA(cuda.allocate(&b, n));
  for (size_t i = 0; i < n; i++) static_cast<uint8_t*>(host)[i] = uint8_t(i);
  EXPECT_CUDA(cuda.copy(stream, a, host, n));
  EXPECT_CUDA(cuda.copy(stream, b, a, n));
  EXPECT_CUDA(cuda.fill_zero(stream, static_cast<uint8_t*>(b) + 10, 20));
  EXPECT_CUDA(cuda.copy(stream, back, b, n));
  EXPECT_CUDA(cuda.copy(stream, back, b, 0));
  EXPECT_CUDA(cuda.fill_zero(stream, b, 0));
  EXPECT_CUDA(cuda.synchronize(stream));
  for (size_t i = 0; i < n; i++) EXPECT_EQ(static_cast<uint8_t*>(back)[i], i >= 10 && i < 30 ? 0 : uint8_t(i));
  std::vector<uint8_t> values(n, 7);
  EXPECT_CUDA(cuda.upload(stream, a, values.data(), n));
  EXPECT_CUDA(cuda.copy(stream, back, a, n));
  EXPECT_CUDA(cuda.synchronize(stream));
  EXPECT_EQ(static_cast<uint8_t*>(back)[n - 1], 7);
  for (void* memory : {a, b, static_cast<void*>(nullptr)}) EXPECT_CUDA(cuda.release(memory));
  for (void* memory : {host, back, static_cast<void*>(nullptr)}) EXPECT_CUDA(cuda.release_host(memory));
  EXPECT_CUDA(cuda.destroy_stream(stream));
}

TEST(Device, GraphsReplayWhatWasCaptured) {
  const Cuda& cuda = table();
  Stream stream, other;
  Graph graph = nullptr;
  void *from = nullptr, *to = nullptr, *memory = nullptr;
  EXPECT_CUDA(cuda.create_stream(&stream));
  EXPECT_CUDA(cuda.create_stream(&other));
  EXPECT_CUDA(cuda.allocate_host(&from, 16));
  EXPECT_CUDA(cuda.allocate_host(&to, 16));
  EXPECT_CUDA(cuda.allocate(&memory, 16));
  EXPECT_CUDA(cuda.begin_capture(stream));
  EXPECT_CUDA(cuda.copy(stream, memory, from, 16));
  EXPECT_CUDA(cuda.fill_zero(stream, memory, 4));
  EXPECT_CUDA(cuda.copy(stream, to, memory, 16));
  EXPECT_CUDA(cuda.end_capture(stream, &graph));
  ASSERT_NE(graph, nullptr);
  for (int run = 1; run < 4; run++) {
    for (int i = 0; i < 4; i++) static_cast<int*>(from)[i] = 10 * run + i;
    const Stream on = run == 2 ? other : stream;
    EXPECT_CUDA(cuda.launch_graph(on, graph));
    EXPECT_CUDA(cuda.synchronize(on));
    for (int i = 0; i < 4; i++) EXPECT_EQ(static_cast<int*>(to)[i], i == 0 ? 0 : 10 * run + i);
  }
  EXPECT_CUDA(cuda.destroy_graph(graph));

  // A capture in which something forbidden was done gives no graph, and the stream goes on.
  EXPECT_CUDA(cuda.begin_capture(stream));
  EXPECT_CUDA(cuda.fill_zero(stream, memory, 4));
  EXPECT_NE(cuda.synchronize(stream), 0);
  EXPECT_NE(cuda.end_capture(stream, &graph), 0);
  EXPECT_EQ(graph, nullptr);
  EXPECT_CUDA(cuda.fill_zero(stream, memory, 16));
  EXPECT_CUDA(cuda.copy(stream, to, memory, 16));
  EXPECT_CUDA(cuda.synchronize(stream));
  EXPECT_EQ(static_cast<int*>(to)[3], 0);
  EXPECT_NE(cuda.end_capture(stream, &graph), 0);  // none was begun

  EXPECT_CUDA(cuda.release(memory));
  EXPECT_CUDA(cuda.release_host(from));
  EXPECT_CUDA(cuda.release_host(to));
  EXPECT_CUDA(cuda.destroy_stream(other));
  EXPECT_CUDA(cuda.destroy_stream(stream));
}

}  // namespace
}  // namespace caracal::kernels::cuda
