// The promise: the same bytes for a sentence or image alone and in any batch, padded on either side, with any thread
// count.
#include <random>

#include "models_testing.h"

namespace caracal {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

Rows random_sentences(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  Rows rows(count);
  for (auto& row : rows) {
    row.resize(1 + random() % 40);
    for (int64_t& id : row) id = int64_t(random() % 120);
  }
  return rows;
}

// Row `b` of a (B, S, H) tensor without its padding, and its pooled vector, against the sentence alone.
void expect_same_row(const ModelOutput& batch, int64_t b, int64_t first, const ModelOutput& alone,
                     const std::string& what) {
  const int64_t length = batch.last_hidden_state.size(1), hidden = batch.last_hidden_state.size(2),
                own = alone.last_hidden_state.size(1);
  const float* row = batch.last_hidden_state.data<float>() + (b * length + first) * hidden;
  EXPECT_EQ(std::memcmp(row, alone.last_hidden_state.raw(), size_t(own * hidden) * sizeof(float)), 0) << what;
  if (first > 0) return;  // the pooler reads position 0, which is padding here
  EXPECT_EQ(std::memcmp(batch.pooler_output.data<float>() + b * hidden, alone.pooler_output.raw(),
                        size_t(hidden) * sizeof(float)),
            0)
      << what;
}

TEST(BertInvariance, BatchMatesAndThreads) {
  const AnyModel one = tiny_bert(1), two = tiny_bert(2);
  const Rows sentences = random_sentences(64, 7);
  std::vector<ModelOutput> alone;
  for (const auto& sentence : sentences) {
    alone.push_back(one(make_inputs({sentence})));
    expect_same_row(two(make_inputs({sentence})), 0, 0, alone.back(), "two threads");
  }
  std::mt19937_64 random(11);
  for (size_t size = 2; size <= 64; size++) {
    // Sentence size - 1 and random mates: over all sizes each of the 64 rides in a batch.
    std::vector<size_t> picked{size - 1};
    while (picked.size() < size) picked.push_back(random() % 64);
    Rows rows;
    for (size_t i : picked) rows.push_back(sentences[i]);
    for (const AnyModel& model : {one, two}) {
      const ModelOutput batch = model(make_inputs(rows));
      for (size_t b = 0; b < size; b++)
        expect_same_row(batch, int64_t(b), 0, alone[picked[b]],
                        "batch of " + std::to_string(size) + ", sentence " + std::to_string(picked[b]));
    }
  }
}

// Left padding with position ids that start at the first real token.
TEST(BertInvariance, PaddingSide) {
  const AnyModel model = tiny_bert(2);
  const Rows sentences = random_sentences(8, 3);
  size_t longest = 0;
  for (const auto& s : sentences) longest = std::max(longest, s.size());
  longest += 3;
  ModelInputs inputs;
  for (Tensor* t : {&inputs.input_ids, &inputs.attention_mask, &inputs.position_ids})
    *t = Tensor::zeros({8, int64_t(longest)}, DType::I64);
  for (size_t b = 0; b < 8; b++) {
    const size_t first = longest - sentences[b].size();
    for (size_t s = 0; s < sentences[b].size(); s++) {
      inputs.input_ids.data<int64_t>()[b * longest + first + s] = sentences[b][s];
      inputs.attention_mask.data<int64_t>()[b * longest + first + s] = 1;
      inputs.position_ids.data<int64_t>()[b * longest + first + s] = int64_t(s);
    }
  }
  const ModelOutput batch = model(inputs);
  for (size_t b = 0; b < 8; b++)
    expect_same_row(batch, int64_t(b), int64_t(longest - sentences[b].size()), model(make_inputs({sentences[b]})),
                    "left padded");
}

// Masked positions are 0 in a reused output too, also where every masked token is a first one, which the pooler keeps.
TEST(BertInvariance, MaskedPositionsAreZero) {
  const AnyModel model = tiny_bert(1);
  ModelInputs inputs = make_inputs({{1, 2}, {3, 4}, {5, 6}});
  const ForwardOptions hidden{.output_hidden_states = true};
  ModelOutput output;
  model->forward(inputs, output, hidden);
  inputs.attention_mask = Tensor::from(std::vector<int64_t>{0, 1, 1, 1, 0, 1}, {3, 2});
  model->forward(inputs, output, hidden);
  for (const Tensor* x : {&output.last_hidden_state, &output.hidden_states[0], &output.hidden_states[3]})
    for (int64_t i = 0; i < x->numel(); i++)
      if (i / 48 == 0 || i / 48 == 4) {
        ASSERT_EQ(x->data<float>()[i], 0.0f) << i;
      } else {
        ASSERT_NE(x->data<float>()[i], 0.0f) << i;
      }
}

// A batch that goes through the layers some sequences at a time, and whole, as hidden states are asked for: with masks
// anywhere.
TEST(BertInvariance, PartsAndWhole) {
  const AnyModel model = tiny_bert(1);
  ModelInputs inputs = make_inputs(random_sentences(64, 8));
  std::mt19937 random(9);
  const int64_t length = inputs.input_ids.size(1);
  inputs.attention_mask = Tensor::zeros({64, length}, DType::I64);
  for (int64_t b = 0; b < 64; b++)  // every fifth sentence is masked, every other third token
    for (int64_t s = 0; s < length; s++)
      inputs.attention_mask.data<int64_t>()[b * length + s] = b % 5 != 0 && random() % 3 != 0;
  const ModelOutput parts = model(inputs), whole = model(inputs, {.output_hidden_states = true});
  EXPECT_TRUE(bytes_equal(parts.last_hidden_state, whole.last_hidden_state));
  EXPECT_TRUE(bytes_equal(parts.pooler_output, whole.pooler_output));
}

// The same for the other architectures and heads: a row of a batch is the row alone.
TEST(Invariance, DistilBertRows) {
  const DistilBertConfig config({{"vocab_size", 120},
                                 {"dim", 48},
                                 {"n_layers", 2},
                                 {"n_heads", 4},
                                 {"hidden_dim", 90},
                                 {"max_position_embeddings", 64},
                                 {"initializer_range", 0.15},
                                 {"num_labels", 3}});
  const Rows sentences = random_sentences(64, 21);  // in parts, see take_sequences()
  const DistilBertForSequenceClassification one(config,
                                                {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1})}),
      three(config, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 3})});
  const Tensor batch = three(make_inputs(sentences)).logits;
  for (size_t b = 0; b < sentences.size(); b++) {
    const Tensor alone = one(make_inputs({sentences[b]})).logits;
    EXPECT_EQ(std::memcmp(batch.data<float>() + 3 * b, alone.raw(), 3 * sizeof(float)), 0) << b;
  }
}

TEST(Invariance, ViTImages) {
  const ViTConfig config({{"hidden_size", 48},
                          {"num_hidden_layers", 2},
                          {"num_attention_heads", 4},
                          {"intermediate_size", 90},
                          {"image_size", 30},
                          {"patch_size", 7},
                          {"initializer_range", 0.15}});
  const ViTModel one(config, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1})}),
      three(config, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 3})});
  for (bool interpolate : {false, true}) {
    const int64_t side = interpolate ? 41 : 30, pixels = 3 * side * side;
    ModelInputs images, image;
    images.pixel_values = Tensor::empty({40, 3, side, side});  // in parts, see take_sequences()
    std::mt19937 random(4);
    for (int64_t i = 0; i < 40 * pixels; i++)
      images.pixel_values.data<float>()[i] = float(random() % 2001) / 1000.0f - 1;
    const ForwardOptions options{.interpolate_pos_encoding = interpolate};
    const ModelOutput batch = three(images, options);
    const int64_t values = batch.last_hidden_state.numel() / 40;
    for (int64_t b = 0; b < 40; b++) {
      image.pixel_values = images.pixel_values.rows(b, b + 1);
      const ModelOutput alone = one(image, options);
      EXPECT_EQ(std::memcmp(batch.last_hidden_state.data<float>() + b * values, alone.last_hidden_state.raw(),
                            size_t(values) * sizeof(float)),
                0);
      EXPECT_EQ(std::memcmp(batch.pooler_output.data<float>() + b * 48, alone.pooler_output.raw(), 48 * sizeof(float)),
                0);
    }
  }
}

// AVX2 and AVX-512 share one lane tree.
TEST(BertInvariance, SameBytesOnAvx2AndAvx512) {
  if (!kernels::isa_supported(kernels::Isa::avx512)) GTEST_SKIP() << "no AVX-512 here";
  const BertConfig config({{"vocab_size", 120},
                           {"hidden_size", 60},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 4},
                           {"intermediate_size", 90},
                           {"initializer_range", 0.15}});
  std::vector<ModelOutput> outputs;
  for (const char* isa : {"avx2", "avx512"})
    outputs.push_back(AutoModel::from_config(
        config, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .isa = isa})})(
        make_inputs(random_sentences(20, 5))));
  EXPECT_TRUE(bytes_equal(outputs[0].last_hidden_state, outputs[1].last_hidden_state));
  EXPECT_TRUE(bytes_equal(outputs[0].pooler_output, outputs[1].pooler_output));
}

}  // namespace
}  // namespace caracal
