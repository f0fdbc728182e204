// On a device too: after prepare(), forward() into a used output allocates nothing.
#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>
#include <caracal/tests/counting_malloc.h>

#include "models_testing.h"
#include "plain_table.h"

#ifndef CARACAL_SANITIZED

namespace caracal {
namespace {

using kernels::cuda::plain_counters;

struct Allocation : testing::Test {
  Allocation() { plain_counters.skip_kernels = true; }  // of loops, which have vectors
  ~Allocation() override { plain_counters.skip_kernels = false; }
  const std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"});

  void expect_none(const PreTrainedModel& model, const std::vector<ModelInputs>& shapes,
                   const ForwardOptions& options = {}) {
    ModelOutput output;
    for (int round = 0; round < 3; round++)
      for (const ModelInputs& inputs : shapes) model.forward(inputs, output, options);
    const int64_t before = allocations;
    for (int round = 0; round < 10; round++)
      for (const ModelInputs& inputs : shapes) model.forward(inputs, output, options);
    EXPECT_EQ(allocations - before, 0) << model.class_name();
  }
};

std::vector<std::vector<int64_t>> rows(std::initializer_list<size_t> lengths) {
  std::vector<std::vector<int64_t>> result;
  for (size_t length : lengths) result.emplace_back(length, 5);
  return result;
}

TEST_F(Allocation, NoneForText) {
  const std::unique_ptr<PretrainedConfig> bert = tiny_bert(1)->config().clone();
  const ForwardOptions all{.output_hidden_states = true, .output_attentions = true};
  for (const char* task :
       {"AutoModel", "AutoModelForPreTraining", "AutoModelForMaskedLM", "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification", "AutoModelForQuestionAnswering"})
    for (const char* dtype : {"float32", "float16"}) {
      const AnyModel model = make_auto_model(task, *bert, {.dtype = dtype, .runtime = runtime});
      model->prepare(160, 8);
      const std::vector<ModelInputs> shapes = {make_inputs(rows({64, 64, 32})), make_inputs(rows({1})),
                                               make_inputs(rows({3, 20, 7, 1})), make_inputs(rows({64}))};
      expect_none(*model, shapes);
      expect_none(*model, shapes, all);
    }
}

TEST_F(Allocation, NoneForDocumentsImagesAndAudio) {
  const std::string document = data_path("models/layoutlmv2/sequence");
  const AnyModel layoutlmv2 = AutoModelForSequenceClassification::from_pretrained(document, {.runtime = runtime});
  expect_none(*layoutlmv2,
              {read_inputs(document + "/reference.1.safetensors"), read_inputs(document + "/reference.2.safetensors")});
  const AnyModel wav2vec2 =
      AutoModel::from_pretrained(data_path("models/wav2vec2/base_geometry"), {.runtime = runtime});
  ModelInputs one, four;
  one.input_values = Tensor::zeros({1, 3900});
  four.input_values = Tensor::zeros({4, 1000});
  four.attention_mask = Tensor::zeros({4, 1000}, DType::I64);
  for (int64_t b = 0; b < 4; b++) std::fill_n(four.attention_mask.data<int64_t>() + b * 1000, 700 + 100 * b, 1);
  expect_none(*wav2vec2, {one, four});
  expect_none(*wav2vec2, {one, four}, {.per_utterance = true});
  const AnyModel vit = make_auto_model("AutoModelForImageClassification",
                                       ViTConfig({{"hidden_size", 48},
                                                  {"num_hidden_layers", 2},
                                                  {"num_attention_heads", 4},
                                                  {"intermediate_size", 90},
                                                  {"image_size", 24},
                                                  {"patch_size", 8}}),
                                       {.runtime = runtime});
  ModelInputs images;
  images.pixel_values = Tensor::zeros({3, 3, 24, 24});
  expect_none(*vit, {images});
}

}  // namespace
}  // namespace caracal

#else
TEST(Allocation, CannotCountUnderSanitizers) { GTEST_SKIP(); }
#endif
