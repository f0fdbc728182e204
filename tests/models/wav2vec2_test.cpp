// Wav2Vec2 beyond its goldens: utterances of unequal length by themselves, languages, saving, and bad input.
#include <array>
#include <fstream>
#include <random>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<Runtime> threads(int count) { return std::make_shared<Runtime>(RuntimeOptions{.threads = count}); }

Wav2Vec2Config tiny(const Json& overrides = Json::Object{}) {
  Wav2Vec2Config config({{"vocab_size", 11},
                         {"hidden_size", 24},
                         {"num_hidden_layers", 2},
                         {"num_attention_heads", 3},
                         {"intermediate_size", 40},
                         {"conv_dim", Json::Array{16, 20, 18}},
                         {"conv_kernel", Json::Array{10, 3, 2}},
                         {"conv_stride", Json::Array{5, 2, 2}},
                         {"num_conv_pos_embeddings", 8},
                         {"num_conv_pos_embedding_groups", 4},
                         {"initializer_range", 0.2},
                         {"classifier_proj_size", 10},
                         {"num_codevectors_per_group", 7},
                         {"codevector_dim", 8},
                         {"proj_codevector_dim", 6},
                         {"tdnn_dim", Json::Array{12, 14}},
                         {"tdnn_kernel", Json::Array{3, 2}},
                         {"tdnn_dilation", Json::Array{2, 1}},
                         {"xvector_output_dim", 9}});
  config.update(overrides, "tiny");
  return config;
}

constexpr int64_t kBatch = 5, kLongest = 700;
using Lengths = std::array<int64_t, kBatch>;
constexpr Lengths kLengths = {kLongest, 31, 402, 399, 220}, kLongEnough = {kLongest, 150, 402, 399, 220};

Tensor audio(int64_t batch, int64_t samples, uint64_t seed = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  Tensor x = Tensor::empty({batch, samples});
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = normal(engine);
  return x;
}

// Utterances whose padding is noise.
ModelInputs ragged_audio(const Lengths& lengths = kLengths) {
  ModelInputs inputs;
  inputs.input_values = audio(kBatch, kLongest);
  inputs.attention_mask = Tensor::zeros({kBatch, kLongest}, DType::I64);
  for (int64_t b = 0; b < kBatch; b++)
    std::fill_n(inputs.attention_mask.data<int64_t>() + b * kLongest, lengths[size_t(b)], int64_t(1));
  return inputs;
}

ModelInputs utterance(const ModelInputs& batch, int64_t b, const Lengths& lengths = kLengths) {
  const int64_t length = lengths[size_t(b)];
  ModelInputs inputs;
  inputs.input_values = Tensor::empty({1, length});
  std::copy_n(batch.input_values.data<float>() + b * kLongest, length, inputs.input_values.data<float>());
  return inputs;
}

// Row b of `batch` begins with the bytes of `alone` (1, …) and has zeros after them, along every axis.
void expect_begins_with(const Tensor& batch, int64_t b, const Tensor& alone, const std::string& what) {
  ASSERT_EQ(batch.rank(), alone.rank()) << what;
  const int rank = batch.rank();
  const int64_t row = batch.numel() / batch.size(0);
  int64_t wrong = 0;
  for (int64_t i = 0; i < row; i++) {
    int64_t rest = i, at = 0, stride = 1;
    bool inside = true;
    for (int d = rank - 1; d > 0; d--) {
      const int64_t position = rest % batch.size(d);
      rest /= batch.size(d);
      inside = inside && position < alone.size(d);
      at += position * stride;
      stride *= alone.size(d);
    }
    const float got = batch.data<float>()[b * row + i], want = inside ? alone.data<float>()[at] : 0;
    wrong += std::memcmp(&got, &want, sizeof got) != 0;
  }
  EXPECT_EQ(wrong, 0) << what << " of utterance " << b;
}

const Json kVariants[] = {
    Json::Object{},
    Json::Object{{"feat_extract_norm", "layer"}, {"do_stable_layer_norm", true}, {"conv_bias", true}},
    Json::Object{{"do_stable_layer_norm", true}, {"adapter_attn_dim", 5}, {"num_conv_pos_embeddings", 7}},
    Json::Object{{"use_weighted_layer_sum", true}},
    Json::Object{{"add_adapter", true}, {"output_hidden_size", 14}, {"num_adapter_layers", 2}},
};
constexpr const char* kTasks[] = {"AutoModel",
                                  "AutoModelForPreTraining",
                                  "AutoModelForCTC",
                                  "AutoModelForAudioClassification",
                                  "AutoModelForAudioFrameClassification",
                                  "AutoModelForAudioXVector"};

TEST(Wav2Vec2, EachUtteranceOfABatchGivesWhatItGivesAlone) {
  int models = 0;
  for (const Json& variant : kVariants) {
    for (const char* task : kTasks) {
      const std::string name = std::string(task) + " " + variant.dump();
      const Wav2Vec2Config config = tiny(variant);
      const std::string_view kind = task;
      if (config.add_adapter && kind != "AutoModel" && kind != "AutoModelForCTC") continue;
      const AnyModel two = make_auto_model(task, config, {.runtime = threads(2)}),
                     one = make_auto_model(task, config, {.runtime = threads(1)});
      const ForwardOptions options{.output_hidden_states = true, .output_attentions = true, .per_utterance = true};
      const Lengths& lengths = kind == "AutoModelForAudioXVector" ? kLongEnough : kLengths;
      const ModelInputs batch = ragged_audio(lengths);
      const ModelOutput together = two(batch, options);
      for (int64_t b = 0; b < kBatch; b++) {
        const ModelOutput alone = one(utterance(batch, b, lengths), options);
        const auto wanted = alone.named(), got = together.named();
        ASSERT_EQ(wanted.size(), got.size());
        for (size_t i = 0; i < wanted.size(); i++)
          if (wanted[i].first != "codevector_perplexity")  // of the whole batch
            expect_begins_with(got[i].second, b, wanted[i].second, name + " " + wanted[i].first);
      }
      models++;
    }
  }
  EXPECT_EQ(models, 26);
}

// What the option is for: with the norm over time, padding and its mask change what an utterance gives.
TEST(Wav2Vec2, PaddingCountsWithoutTheOption) {
  const AnyModel model = AutoModel::from_config(tiny(), {.runtime = threads(1)});
  const ModelInputs batch = ragged_audio();
  const Tensor together = model(batch).extract_features, alone = model(utterance(batch, 2)).extract_features;
  const int64_t row = together.numel() / kBatch;
  float difference = 0;
  for (int64_t i = 0; i < alone.numel(); i++)
    difference = std::max(difference, std::abs(together.data<float>()[2 * row + i] - alone.data<float>()[i]));
  EXPECT_GT(difference, 1e-3f);
  const Wav2Vec2Config layer = tiny({{"feat_extract_norm", "layer"}, {"num_hidden_layers", 0}});
  const AnyModel other = AutoModel::from_config(layer, {.runtime = threads(1)});
  expect_begins_with(other(batch).last_hidden_state, 2, other(utterance(batch, 2)).last_hidden_state, "layer norm");
}

TEST(Wav2Vec2, BatchMatesAndThreadsDoNotChangeABit) {
  for (const Json& variant : kVariants) {
    const Wav2Vec2Config config = tiny(variant);
    const AnyModel one = AutoModel::from_config(config, {.runtime = threads(1)}),
                   three = AutoModel::from_config(config, {.runtime = threads(3)});
    ModelInputs batch = ragged_audio();
    const ModelOutput a = one(batch), b = three(batch);
    EXPECT_TRUE(bytes_equal(a.last_hidden_state, b.last_hidden_state));
    EXPECT_TRUE(bytes_equal(a.extract_features, b.extract_features));
    ModelInputs first;
    first.input_values = batch.input_values.rows(0, 1);
    expect_begins_with(a.last_hidden_state, 0, three(first).last_hidden_state, "one row");
  }
}

TEST(Wav2Vec2, RefusesBadAudio) {
  const AnyModel model = AutoModel::from_config(tiny(), {.runtime = threads(1)});
  auto message = [&](const Tensor& values, const Tensor& mask = {}, const Tensor& time = {},
                     ForwardOptions options = {}) {
    ModelInputs inputs;
    inputs.input_values = values;
    inputs.attention_mask = mask;
    inputs.mask_time_indices = time;
    return message_of([&] { model(inputs, options); });
  };
  EXPECT_EQ(message({}), "[Wav2Vec2Model] expected input_values of shape (B, N) F32, mono, but got nothing");
  EXPECT_EQ(message(audio(1, 100).reshape({1, 2, 50})),
            "[Wav2Vec2Model] expected input_values of shape (B, N) F32, mono, but got (1, 2, 50) F32");
  EXPECT_EQ(message(audio(1, 100).reshape({100})),
            "[Wav2Vec2Model] expected input_values of shape (B, N) F32, mono, but got (100,) F32");
  for (DType dtype : {DType::F64, DType::F16, DType::I64})
    EXPECT_NE(message(audio(1, 100).to(dtype)).find("but got (1, 100) "), std::string::npos);
  EXPECT_EQ(message(audio(2, 29)),
            "[Wav2Vec2Model] expected at least 30 samples, of which the convolutions make a frame, but got 29");
  EXPECT_NE(message(audio(2, 0)), "no error");
  EXPECT_EQ(message(audio(2, 30)), "no error");
  EXPECT_EQ(message(audio(0, 30)), "no error");

  const Tensor ones = Tensor::from(std::vector<int64_t>(60, 1), {2, 30});
  EXPECT_EQ(message(audio(2, 40), ones),
            "[Wav2Vec2Model: attention_mask] expected a mask of shape (2, 40) but got (2, 30) I64");
  EXPECT_EQ(message(audio(2, 30), Tensor(), ones),
            "[Wav2Vec2Model: mask_time_indices] expected a mask of shape (2, 1) but got (2, 30) I64");
  // A row without a frame: the reference's index -1 is the last frame, so that all count; further back there is none.
  Tensor few = Tensor::zeros({2, 100}, DType::I64);
  std::fill_n(few.data<int64_t>(), 100 + 10, int64_t(1));
  EXPECT_EQ(message(audio(2, 100), few), "no error");
  std::fill_n(few.data<int64_t>(), 200, int64_t(0));
  EXPECT_EQ(message(audio(2, 30), few.rows(0, 1).reshape({1, 100})),
            "[Wav2Vec2Model: attention_mask] expected a mask of shape (2, 30) but got (1, 100) I64");
  EXPECT_EQ(message(audio(2, 30), Tensor::zeros({2, 30}, DType::I64)),
            "[Wav2Vec2Config] expected samples for at least one frame but attention_mask leaves 0");
  few.data<int64_t>()[3] = 1;
  EXPECT_EQ(message(audio(2, 100), few, {}, {.per_utterance = true}),
            "[Wav2Vec2Model: attention_mask] expected masked samples at the end only, for per_utterance, but got some "
            "before others in row 0");
  std::fill_n(few.data<int64_t>(), 5, int64_t(1));
  EXPECT_EQ(message(audio(2, 100), few, {}, {.per_utterance = true}),
            "[Wav2Vec2Model] expected at least 30 samples, of which the convolutions make a frame, but got 5");

  const AnyModel xvector = make_auto_model("AutoModelForAudioXVector", tiny(), {.runtime = threads(1)});
  ModelInputs short_audio;
  short_audio.input_values = audio(1, 90);
  EXPECT_EQ(message_of([&] { xvector(short_audio); }),
            "[Wav2Vec2ForXVector] expected as many frames as the TDNN layers span but got 4");
}

// As in the reference NaN spreads: over time through the norm, to every frame through attention, to no other row.
TEST(Wav2Vec2, NaNStaysInItsUtterance) {
  const AnyModel model = AutoModel::from_config(tiny(), {.runtime = threads(2)});
  ModelInputs batch = ragged_audio();
  const Tensor before = model(batch).last_hidden_state;
  batch.input_values.data<float>()[kLongest + 7] = NAN;
  const Tensor after = model(batch).last_hidden_state;
  const int64_t row = after.numel() / kBatch;
  for (int64_t b = 0; b < kBatch; b++) {
    if (b == 1)
      EXPECT_TRUE(std::isnan(after.data<float>()[b * row]));
    else
      EXPECT_EQ(std::memcmp(after.data<float>() + b * row, before.data<float>() + b * row, size_t(row) * 4), 0);
  }
  const AnyModel pretraining = make_auto_model("AutoModelForPreTraining", tiny(), {.runtime = threads(2)});
  EXPECT_EQ(message_of([&] { pretraining(batch); }), "no error");
}

TEST(Wav2Vec2, RefusesConfigurationsThatCannotRun) {
  auto message = [](const char* task, const Json& overrides) {
    return message_of([&] { make_auto_model(task, tiny(overrides), {.runtime = threads(1)}); });
  };
  const Json bad[] = {Json::Object{{"feat_extract_norm", "batch"}},
                      Json::Object{{"num_attention_heads", 5}},
                      Json::Object{{"num_conv_pos_embedding_groups", 5}},
                      Json::Object{{"num_conv_pos_embeddings", 0}},
                      Json::Object{{"hidden_act", "no_such"}},
                      Json::Object{{"feat_extract_activation", "no_such"}},
                      Json::Object{{"conv_dim", Json::Array{16, 0, 18}}},
                      Json::Object{{"conv_stride", Json::Array{5, -2, 2}}},
                      Json::Object{{"add_adapter", true}, {"adapter_stride", 0}},
                      Json::Object{{"adapter_attn_dim", 0}}};
  for (const Json& overrides : bad) EXPECT_NE(message("AutoModel", overrides), "no error") << overrides.dump();
  const Json adapter = Json::Object{{"add_adapter", true}};
  EXPECT_EQ(message("AutoModelForAudioClassification", adapter),
            "[Wav2Vec2ForSequenceClassification] expected add_adapter false, which this head needs, but got true");
  EXPECT_NE(message("AutoModelForAudioFrameClassification", adapter), "no error");
  EXPECT_NE(message("AutoModelForCTC", Json::Object{{"vocab_size", nullptr}}), "no error");
  EXPECT_NE(message("AutoModelForPreTraining", Json::Object{{"codevector_dim", 9}}), "no error");
  EXPECT_NE(message("AutoModelForAudioXVector", Json::Object{{"tdnn_kernel", Json::Array{3}}}), "no error");
  ModelInputs inputs;
  inputs.input_values = audio(1, 100);
  inputs.mask_time_indices = Tensor::zeros({1, 4}, DType::BOOL);
  const AnyModel without = AutoModel::from_config(tiny({{"mask_time_prob", 0.0}}), {.runtime = threads(1)});
  EXPECT_NE(message_of([&] { without(inputs); }).find("mask vector"), std::string::npos);
}

TEST(Wav2Vec2, SavesAndLoadsEveryClass) {
  const ModelInputs batch = ragged_audio(kLongEnough);
  for (const char* task : kTasks) {
    const TemporaryDirectory directory;
    const AnyModel model = make_auto_model(task, tiny({{"use_weighted_layer_sum", true}}), {.runtime = threads(1)});
    model->save_pretrained(directory.path);
    const AnyModel again = load_auto_model(task, directory.path, {.runtime = threads(1)});
    EXPECT_TRUE(again->loading_info().missing_keys.empty() && again->loading_info().unexpected_keys.empty()) << task;
    const auto a = model(batch).named(), b = again(batch).named();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); i++) EXPECT_TRUE(bytes_equal(a[i].second, b[i].second)) << task << a[i].first;
  }
  // A checkpoint with a weight norm's old names is saved with them.
  const TemporaryDirectory directory;
  load_auto_model("AutoModelForCTC", data_path("models/wav2vec2/weight_norm_of_before"), {.runtime = threads(1)})
      ->save_pretrained(directory.path);
  const SafetensorsFile saved = SafetensorsFile::open(directory / "model.safetensors");
  EXPECT_NE(saved.find("wav2vec2.encoder.pos_conv_embed.conv.weight_g"), nullptr);
  EXPECT_EQ(saved.find("wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"), nullptr);
}

TEST(Wav2Vec2, PrunesHeads) {
  AnyModel model = AutoModel::from_config(tiny(), {.runtime = threads(1)});
  const int64_t before = model->num_parameters();
  model->prune_heads({{0, {1}}, {1, {0, 2}}});
  EXPECT_EQ(before - model->num_parameters(), 3 * (4 * 24 * 8 + 3 * 8));
  EXPECT_EQ(message_of([&] { model(ragged_audio()); }), "no error");
}

TEST(Wav2Vec2, LanguageFilesThatDoNotFit) {
  const TemporaryDirectory directory;
  const std::string source = data_path("models/wav2vec2/ctc_language"), adapter = directory / "adapter.fra.safetensors";
  fs::copy(source + "/config.json", directory.path);
  fs::copy(source + "/model.safetensors", directory.path);
  auto message = [&](const std::string& language) {
    return message_of(
        [&] { Wav2Vec2ForCTC::from_pretrained(directory.path, {.runtime = threads(1), .target_lang = language}); });
  };
  EXPECT_NE(message("fra").find("adapter.fra.safetensors"), std::string::npos);
  EXPECT_NE(message("../fra").find("but got target_lang '../fra'"), std::string::npos);
  const SafetensorsFile file = SafetensorsFile::open(source + "/adapter.fra.safetensors");
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const TensorInfo& info : file.tensors()) tensors.emplace_back(info.name, file.tensor(info));
  save_safetensors(adapter, tensors, {});
  EXPECT_EQ(message("fra"), "no error");
  const auto last = tensors.back();
  tensors.pop_back();
  save_safetensors(adapter, tensors, {});
  EXPECT_NE(message("fra").find("expected '" + last.first + "' but got no tensor"), std::string::npos);
  tensors.push_back(last);
  tensors.emplace_back("other", last.second);
  save_safetensors(adapter, tensors, {});
  EXPECT_NE(message("fra").find("but got 'other' too"), std::string::npos);
  std::ofstream(adapter) << "not a file of tensors";
  EXPECT_NE(message("fra"), "no error");
  EXPECT_NE(message_of([&] {
              Wav2Vec2ForCTC::from_config(tiny(), {.runtime = threads(1), .target_lang = "fra"});
            }).find("adapter_attn_dim"),
            std::string::npos);
}

}  // namespace
}  // namespace caracal
