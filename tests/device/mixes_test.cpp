// Whatever mix of texts, documents, utterances or images comes: once prepared, a call is one launch of a graph that is
// there.
#include <random>
#include <set>

#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>
#include <caracal/runtime/cuda_device.h>

#include "models_testing.h"
#include "plain_table.h"

namespace caracal {
namespace {

using kernels::cuda::plain_counters;

struct Mixes : testing::Test {
  Mixes() { plain_counters.skip_kernels = true; }
  ~Mixes() override { plain_counters.skip_kernels = false; }

  const std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"});
  std::mt19937 random{7};

  int64_t below(int64_t n) { return int64_t(random()) % n; }
  // Calls the model so often with what next() gives and expects no new graph, nor memory.
  template <class F>
  void expect_no_captures(const PreTrainedModel& model, int calls, const F& next) {
    const CudaDevice& device = *runtime->cuda();
    const int64_t captures = device.captures, launches = device.graph_launches, blocks = plain_counters.blocks;
    ModelOutput output;
    for (int i = 0; i < calls; i++) {
      ForwardOptions options;
      const ModelInputs inputs = next(options);
      model.forward(inputs, output, options);
      ASSERT_EQ(device.captures, captures) << model.class_name() << " call " << i;
    }
    EXPECT_EQ(device.graph_launches - launches, calls);
    EXPECT_EQ(plain_counters.blocks, blocks);
  }
};

TEST_F(Mixes, OfTexts) {
  const AnyModel model = AutoModel::from_config(BertConfig({{"vocab_size", 100},
                                                            {"hidden_size", 24},
                                                            {"num_hidden_layers", 2},
                                                            {"num_attention_heads", 3},
                                                            {"intermediate_size", 40},
                                                            {"max_position_embeddings", 64}}),
                                                {.runtime = runtime});
  model->prepare(128, 8);
  EXPECT_GT(runtime->cuda()->captures, 10);
  int call = 0;
  expect_no_captures(*model, 100'000, [&](ForwardOptions&) {
    std::vector<std::vector<int64_t>> texts;
    int64_t left = 1 + below(128);
    for (int64_t b = 1 + below(8); b > 0 && left > 0; b--) {
      texts.emplace_back(size_t(std::min({left, int64_t(64), 1 + below(64)})), 3);
      left -= int64_t(texts.back().size());
    }
    ModelInputs inputs = make_inputs(texts);
    if (call % 5 == 0) inputs.attention_mask.data<int64_t>()[0] = 0;  // a row that only attends
    if (call++ % 7 == 0) inputs.token_type_ids = Tensor::zeros(inputs.input_ids.shape(), DType::I64);
    return inputs;
  });
}

TEST_F(Mixes, OfDocuments) {
  for (const auto& [task, folder] : {std::pair{"AutoModelForSequenceClassification", "sequence"},
                                     {"AutoModelForTokenClassification", "token"},
                                     {"AutoModelForQuestionAnswering", "question"}}) {
    const std::string directory = data_path("models/layoutlmv2/") + folder;
    const AnyModel model = load_auto_model(task, directory, {.runtime = runtime});
    const int64_t tokens = 100, batch = 7, longest = model->config().get("max_position_embeddings").as_int();
    const int64_t before = runtime->cuda()->captures;
    model->prepare(tokens, batch);
    const int64_t prepared = runtime->cuda()->captures - before;
    EXPECT_GT(prepared, 10);
    EXPECT_LE(prepared, 4 * 6);  // sizes of text; 1, 2, 3, 4, 6 and 8 pages
    expect_no_captures(*model, 1000, [&](ForwardOptions&) {
      std::vector<std::vector<int64_t>> texts;
      int64_t left = 1 + below(tokens);
      for (int64_t b = 1 + below(batch); b > 0 && left > 0; b--) {
        texts.emplace_back(size_t(std::min({left, longest, 1 + below(40)})), 3);
        left -= int64_t(texts.back().size());
      }
      ModelInputs inputs = make_inputs(texts);
      const int64_t count = inputs.input_ids.size(0), length = inputs.input_ids.size(1);
      if (below(5) == 0 && texts[0].size() > 1)
        inputs.attention_mask.data<int64_t>()[0] = 0;  // may attend all the same
      inputs.bbox = Tensor::zeros({count, length, 4}, DType::I64);
      inputs.image = Tensor::zeros({count, 3, 224, 224}, DType::U8);
      return inputs;
    });
  }
}

TEST_F(Mixes, OfUtterances) {
  for (const auto& [task, folder] : {std::pair{"AutoModel", "base_geometry"},
                                     {"AutoModelForCTC", "ctc_stable"},
                                     {"AutoModel", "adapter"},
                                     {"AutoModelForAudioXVector", "xvector"},
                                     {"AutoModelForAudioClassification", "sequence"}}) {
    const AnyModel model = load_auto_model(task, data_path("models/wav2vec2/") + folder, {.runtime = runtime});
    const auto& config = dynamic_cast<const Wav2Vec2Config&>(model->config());
    const int64_t frames = 120, batch = 6, least = config.samples_of(16), most = config.samples_of(frames + batch);
    const int64_t before = runtime->cuda()->captures;
    model->prepare(frames, batch);
    EXPECT_LE(runtime->cuda()->captures - before, 300) << folder;
    expect_no_captures(*model, 3000, [&](ForwardOptions& options) {
      ModelInputs inputs;
      const int64_t count = 1 + below(batch), samples = least + below(std::max<int64_t>(1, most / count - least));
      inputs.input_values = Tensor::zeros({count, samples});
      if (below(3) == 0) return inputs;
      options.per_utterance = below(3) == 0;
      inputs.attention_mask = Tensor::zeros({count, samples}, DType::I64);
      const int64_t shortest = below(2) == 0 ? least : samples;
      for (int64_t b = 0; b < count; b++)
        std::fill_n(inputs.attention_mask.data<int64_t>() + b * samples, shortest + below(samples - shortest + 1),
                    int64_t(1));
      return inputs;
    });
  }
}

// Not prepared: sizes follow from the number of samples' bucket.
TEST_F(Mixes, OfSoundThatNobodyPreparedFor) {
  const AnyModel model = AutoModel::from_pretrained(data_path("models/wav2vec2/base_geometry"), {.runtime = runtime});
  const int64_t captures = runtime->cuda()->captures;
  std::set<int64_t> buckets;
  ModelInputs inputs;
  ModelOutput output;
  for (int i = 0; i < 1000; i++) {
    const int64_t samples = 2000 + below(14'000);
    buckets.insert(Ctx::next_bucket(samples));
    inputs.input_values = Tensor::zeros({1, samples});
    model->forward(inputs, output);
  }
  EXPECT_LE(runtime->cuda()->captures - captures, int64_t(buckets.size()));
}

// Bounds of every kind, and calls up to the very last sample and frame that they allow.
TEST_F(Mixes, OfTheMostSound) {
  for (const char* folder : {"base_geometry", "ctc_stable", "adapter"}) {
    const int64_t shortest = folder == std::string("adapter") ? 16 : 1;
    for (int round = 0; round < 15; round++) {
      const AnyModel model = AutoModel::from_pretrained(data_path("models/wav2vec2/") + folder, {.runtime = runtime});
      const auto& config = dynamic_cast<const Wav2Vec2Config&>(model->config());
      const int64_t batch = 1 + below(9), frames = batch * shortest + below(1 + (round % 4 == 0 ? 8 : 300));
      SCOPED_TRACE(folder + std::string(" ") + std::to_string(frames) + " frames, " + std::to_string(batch));
      model->prepare(frames, batch);
      expect_no_captures(*model, 300, [&](ForwardOptions& options) {
        ModelInputs inputs;
        const int64_t count = 1 + below(batch), most = frames / count;
        const int64_t each = below(3) == 0 ? most : shortest + below(most - shortest + 1);
        const int64_t least = config.samples_of(each),
                      samples = below(3) == 0 ? config.samples_of(each + 1) - 1
                                              : least + below(config.samples_of(each + 1) - least);
        inputs.input_values = Tensor::zeros({count, samples});
        if (batch == 1 || below(3) == 0) return inputs;
        options.per_utterance = shortest == 1 && below(4) == 0;
        inputs.attention_mask = Tensor::zeros({count, samples}, DType::I64);
        for (int64_t b = 0; b < count; b++) {
          const int64_t kept = below(4) == 0 ? samples : config.samples_of(1 + below(each));
          std::fill_n(inputs.attention_mask.data<int64_t>() + b * samples, kept, int64_t(1));
        }
        return inputs;
      });
      ASSERT_FALSE(HasFailure());
    }
  }
}

// 5 are rounded up to 6 pages, 8 sequences or utterances: what is added changes nothing.
TEST_F(Mixes, OfFiveGiveTheCpusNumbers) {
  plain_counters.skip_kernels = false;
  const auto cpu = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cpu"});
  auto expect_same = [&](const std::string& task, const std::string& folder, const ModelInputs& inputs,
                         const ForwardOptions& options = {}) {
    const AnyModel here = load_auto_model(task, data_path("models/" + folder), {.runtime = runtime}),
                   there = load_auto_model(task, data_path("models/" + folder), {.runtime = cpu});
    const ModelOutput a = (*here)(inputs, options), b = (*there)(inputs, options);
    const auto got = a.named(), want = b.named();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); i++) {
      ASSERT_EQ(got[i].second.shape(), want[i].second.shape()) << got[i].first;
      for (int64_t j = 0; j < got[i].second.numel(); j++)
        ASSERT_NEAR(got[i].second.data<float>()[j], want[i].second.data<float>()[j], 1e-4)
            << folder << " " << got[i].first << " " << j;
    }
  };
  auto fill = [&](Tensor& x) {
    for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = float(below(2001) - 1000) / 1000;
  };
  ModelInputs pages = make_inputs({{5, 6, 7}, {8}, {9, 10}, {11, 12, 13, 14}, {15}});
  pages.attention_mask.data<int64_t>()[0] = 0;
  pages.bbox = Tensor::zeros({5, 4, 4}, DType::I64);
  pages.image = Tensor::zeros({5, 3, 64, 64}, DType::U8);
  for (int64_t i = 0; i < pages.image.numel(); i++) pages.image.data<uint8_t>()[i] = uint8_t(below(256));
  const ForwardOptions all{.output_hidden_states = true, .output_attentions = true};
  for (const auto& [task, folder] : {std::pair{"AutoModel", "base"},
                                     {"AutoModelForSequenceClassification", "sequence"},
                                     {"AutoModelForTokenClassification", "token"},
                                     {"AutoModelForQuestionAnswering", "question"}})
    expect_same(task, std::string("layoutlmv2/") + folder, pages, all);

  ModelInputs sound;
  sound.input_values = Tensor::zeros({5, 3000});
  fill(sound.input_values);
  for (bool masked : {false, true}) {
    if (masked) sound.attention_mask = Tensor::zeros({5, 3000}, DType::I64);
    for (int64_t b = 0; masked && b < 5; b++)
      std::fill_n(sound.attention_mask.data<int64_t>() + b * 3000, 2000 + 250 * b, int64_t(1));
    for (const auto& [task, folder] : {std::pair{"AutoModel", "base_geometry"},
                                       {"AutoModel", "layer"},
                                       {"AutoModel", "adapter"},
                                       {"AutoModelForCTC", "ctc"},
                                       {"AutoModelForAudioClassification", "sequence"},
                                       {"AutoModelForAudioFrameClassification", "frames"},
                                       {"AutoModelForAudioXVector", "xvector"}}) {
      expect_same(task, std::string("wav2vec2/") + folder, sound, all);
      if (masked) expect_same(task, std::string("wav2vec2/") + folder, sound, {.per_utterance = true});
    }
  }
}

TEST_F(Mixes, OfImages) {
  const AnyModel model = make_auto_model("AutoModelForImageClassification",
                                         ViTConfig({{"hidden_size", 48},
                                                    {"num_hidden_layers", 2},
                                                    {"num_attention_heads", 4},
                                                    {"intermediate_size", 90},
                                                    {"image_size", 24},
                                                    {"patch_size", 8}}),
                                         {.runtime = runtime});
  model->prepare(200, 12);
  expect_no_captures(*model, 100, [&](ForwardOptions&) {
    ModelInputs inputs;
    inputs.pixel_values = Tensor::zeros({1 + below(12), 3, 24, 24});
    return inputs;
  });
}

}  // namespace
}  // namespace caracal
