// After prepare(), forward() into a used output allocates nothing: malloc and mmap are counted.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <random>
#include <thread>

#include <caracal/tests/counting_malloc.h>
#include <caracal/tests/resources.h>

#include "models_testing.h"

#ifndef CARACAL_SANITIZED

extern "C" {
void* mmap(void* p, size_t n, int protection, int flags, int fd, off_t offset) noexcept {
  allocations++;
  return reinterpret_cast<void*>(syscall(SYS_mmap, p, n, protection, flags, fd, offset));
}
}

namespace caracal {
namespace {

std::vector<std::vector<int64_t>> rows(const std::vector<size_t>& lengths) {
  std::vector<std::vector<int64_t>> result;
  for (size_t length : lengths) result.emplace_back(length, 5);
  return result;
}

TEST(Allocation, TheCounterCounts) {
  const int64_t before = allocations;
  ::operator delete(::operator new(3));  // a call, which compilers keep, unlike a new expression
  Tensor large = Tensor::empty({1 << 22});
  EXPECT_GE(allocations - before, 2);
}

TEST(Allocation, NoneInSteadyState) {
  for (int threads : {1, 3}) {
    const AnyModel model = tiny_bert(threads);
    model->prepare(/*max_tokens=*/160, /*max_batch=*/8);
    ModelOutput output;
    model->forward(make_inputs(rows({64, 64, 32})), output);                      // the largest last_hidden_state
    model->forward(make_inputs(rows({20, 20, 20, 20, 20, 20, 20, 20})), output);  // the largest pooler_output
    const ModelInputs shapes[] = {make_inputs(rows({64, 64, 32})), make_inputs(rows({1})),
                                  make_inputs(rows({3, 20, 7, 1})), make_inputs(rows({20, 20, 20, 20, 20, 20, 20, 20})),
                                  make_inputs(rows({64}))};
    const int64_t before = allocations;
    for (int round = 0; round < 20; round++)
      for (const ModelInputs& inputs : shapes) model->forward(inputs, output);
    EXPECT_EQ(allocations - before, 0) << threads << " threads";
  }
}

// Batches that go through the layers some sequences at a time (take_sequences) fit what was planned for them whole.
TEST(Allocation, NoneInParts) {
  const AnyModel model = tiny_bert(1);
  model->prepare(/*max_tokens=*/500, /*max_batch=*/25);
  const ModelInputs shapes[] = {make_inputs(rows(std::vector<size_t>(7, 64))),
                                make_inputs(rows(std::vector<size_t>(25, 20))), make_inputs(rows({64})),
                                make_inputs(rows({64, 64, 64, 64, 64, 64, 1, 1, 64}))};
  ModelOutput output;
  for (const ModelInputs& inputs : {shapes[3], shapes[1]}) {
    const int64_t before = allocations;
    model->forward(inputs, output);
    EXPECT_LE(allocations - before, 4);  // the outputs'
  }
  const int64_t before = allocations;
  for (int round = 0; round < 20; round++)
    for (const ModelInputs& inputs : shapes) model->forward(inputs, output);
  EXPECT_EQ(allocations - before, 0);
}

// Every kind of model and head, with hidden states and attentions.
TEST(Allocation, NoneInSteadyStateForAnyClass) {
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2});
  const std::unique_ptr<PretrainedConfig> bert = tiny_bert(1)->config().clone();
  const DistilBertConfig distilbert({{"vocab_size", 120},
                                     {"dim", 48},
                                     {"n_layers", 2},
                                     {"n_heads", 4},
                                     {"hidden_dim", 90},
                                     {"max_position_embeddings", 64}});
  const ViTConfig vit({{"hidden_size", 48},
                       {"num_hidden_layers", 2},
                       {"num_attention_heads", 4},
                       {"intermediate_size", 90},
                       {"image_size", 24},
                       {"patch_size", 8},
                       {"encoder_stride", 8}});
  const ForwardOptions asked{.output_hidden_states = true, .output_attentions = true};
  auto check = [&](const char* task, const PretrainedConfig& config, ModelInputs inputs) {
    if (std::string(task) == "AutoModelForMultipleChoice")
      for (Tensor* x : {&inputs.input_ids, &inputs.attention_mask}) *x = x->reshape({1, x->size(0), x->size(1)});
    const AnyModel model = make_auto_model(task, config, {.runtime = runtime});
    ModelOutput output;
    for (int i = 0; i < 2; i++) model->forward(inputs, output, asked);
    const int64_t before = allocations;
    for (int i = 0; i < 5; i++) model->forward(inputs, output, asked);
    EXPECT_EQ(allocations - before, 0) << model->class_name();
  };
  const ModelInputs text = make_inputs(rows({30, 7, 12}));
  for (const char* task :
       {"AutoModelForPreTraining", "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForNextSentencePrediction",
        "AutoModelForSequenceClassification", "AutoModelForMultipleChoice", "AutoModelForTokenClassification",
        "AutoModelForQuestionAnswering"})
    check(task, *bert, text);
  for (const char* task :
       {"AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoModelForMultipleChoice",
        "AutoModelForTokenClassification", "AutoModelForQuestionAnswering"})
    check(task, distilbert, text);
  ModelInputs images;
  images.pixel_values = Tensor::zeros({3, 3, 24, 24});
  for (const char* task : {"AutoModel", "AutoModelForImageClassification", "AutoModelForMaskedImageModeling"})
    check(task, vit, images);
  images.bool_masked_pos = Tensor::zeros({3, 9}, DType::BOOL);
  check("AutoModelForMaskedImageModeling", vit, images);
}

TEST(Allocation, NoneForAudioInSteadyState) {
  const AnyModel model = AutoModel::from_config(Wav2Vec2Config({{"hidden_size", 32},
                                                                {"num_hidden_layers", 2},
                                                                {"num_attention_heads", 2},
                                                                {"intermediate_size", 48},
                                                                {"conv_dim", Json::Array{16, 16, 16}},
                                                                {"conv_kernel", Json::Array{10, 3, 2}},
                                                                {"conv_stride", Json::Array{5, 2, 2}},
                                                                {"num_conv_pos_embedding_groups", 4}}),
                                                {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2})});
  model->prepare(/*max_tokens=*/200, /*max_batch=*/4);
  ModelInputs one, four;
  one.input_values = Tensor::zeros({1, 3900});
  four.input_values = Tensor::zeros({4, 1000});
  four.attention_mask = Tensor::zeros({4, 1000}, DType::I64);
  for (int64_t b = 0; b < 4; b++) std::fill_n(four.attention_mask.data<int64_t>() + b * 1000, 400 + 200 * b, 1);
  const ForwardOptions each{.per_utterance = true};
  ModelOutput output;
  model->forward(one, output);
  model->forward(four, output);
  const int64_t before = allocations;
  for (int round = 0; round < 20; round++) {
    model->forward(one, output);
    model->forward(four, output);
    model->forward(four, output, each);
  }
  EXPECT_EQ(allocations - before, 0);
}

TEST(Allocation, NoneForDocumentsInSteadyState) {
  const std::string directory = data_path("models/layoutlmv2/sequence");
  const AnyModel model = AutoModelForSequenceClassification::from_pretrained(
      directory, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2})});
  model->prepare(/*max_tokens=*/40, /*max_batch=*/4);
  const ModelInputs inputs[] = {read_inputs(directory + "/reference.1.safetensors"),
                                read_inputs(directory + "/reference.2.safetensors")};
  ModelOutput output;
  for (const ModelInputs& each : inputs) model->forward(each, output);
  const int64_t before = allocations;
  for (int round = 0; round < 20; round++)
    for (const ModelInputs& each : inputs) model->forward(each, output);
  EXPECT_EQ(allocations - before, 0);
}

// prepare() made the workspace: the first call allocates its outputs and nothing else.
TEST(Allocation, FirstCallAllocatesItsOutputsOnly) {
  const AnyModel model = tiny_bert(2);
  model->prepare(160, 8);
  const ModelInputs inputs = make_inputs(rows({64, 64, 32}));
  ModelOutput output;
  const int64_t before = allocations;
  model->forward(inputs, output);
  EXPECT_LE(allocations - before, 4);  // memory and control block of last_hidden_state and pooler_output
}

// Loading prepared for a single sequence: its first call allocates its outputs and nothing else.
TEST(Allocation, LoadingPreparesForOneSequence) {
  const AnyModel model = tiny_bert(2);
  const ModelInputs inputs = make_inputs(rows({64}));
  ModelOutput output;
  const int64_t before = allocations;
  model->forward(inputs, output);
  EXPECT_LE(allocations - before, 4);
}

// A workspace for each concurrent caller, with what the calls will ask for.
TEST(Allocation, PreparesForSeveralCallersAndAttentions) {
  const AnyModel model = tiny_bert(1);
  const ForwardOptions asked{.output_hidden_states = true, .output_attentions = true};
  model->prepare(160, 8, {.callers = 3, .forward = asked});
  const ModelInputs inputs = make_inputs(rows({64, 64, 32}));
  ModelOutput outputs[3];
  for (ModelOutput& output : outputs) model->forward(inputs, output, asked);
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> callers;
  for (ModelOutput& output : outputs)
    callers.emplace_back([&] {
      ready++;
      while (!go) std::this_thread::yield();
      for (int i = 0; i < 20; i++) model->forward(inputs, output, asked);
      ready--;
      while (go) std::this_thread::yield();
    });
  while (ready != 3) std::this_thread::yield();
  const int64_t before = allocations;
  go = true;
  while (ready != 0) std::this_thread::yield();
  EXPECT_EQ(allocations - before, 0);
  go = false;
  for (std::thread& caller : callers) caller.join();
}

// 100,000 calls of random shapes leave the memory that the largest of them took.
TEST(Allocation, NoneOverRandomShapes) {
  const AnyModel model = tiny_bert(2);
  std::mt19937 random{1};
  std::vector<ModelInputs> shapes;
  for (int i = 0; i < 1000; i++) {
    std::vector<std::vector<int64_t>> texts;
    for (size_t tokens = 0, length; texts.size() < 8; tokens += length) {
      length = 1 + random() % (1 + random() % 40);
      if (tokens + length > 96 || (!texts.empty() && random() % 3 == 0)) break;
      texts.emplace_back(length, 5);
    }
    shapes.push_back(make_inputs(texts));
  }
  ModelOutput output;
  for (const ModelInputs& inputs : {make_inputs(rows({64, 64, 64})), make_inputs(rows({40, 1, 1, 1, 1, 1, 1, 1}))})
    model->forward(inputs, output);
  const double memory = process_status("VmRSS"), threads = process_status("Threads");
  const int64_t before = allocations;
  for (int i = 0; i < 100000; i++) model->forward(shapes[random() % shapes.size()], output);
  EXPECT_EQ(allocations - before, 0);
  EXPECT_LE(process_status("VmRSS"), memory + 1);  // MiB: pages of code and stacks that nothing had touched
  EXPECT_EQ(process_status("Threads"), threads);
}

TEST(Allocation, RefusesEmptyBounds) {
  EXPECT_THROW(tiny_bert(1)->prepare(INT64_MAX, 1), Error);
  EXPECT_THROW(tiny_bert(1)->prepare(0, 1), Error);
  EXPECT_THROW(tiny_bert(1)->prepare(1, 0), Error);
}

}  // namespace
}  // namespace caracal

#else
TEST(Allocation, CannotCountUnderSanitizers) { GTEST_SKIP(); }
#endif
