// The cache of a decoder: token by token gives what the whole text gives, bit for bit, alone and in a batch.
#include "models_testing.h"

namespace caracal {
namespace {

AnyModel tiny_decoder(bool cross_attention, int threads = 2) {
  return AutoModelForCausalLM::from_config(BertConfig({{"vocab_size", 50},
                                                       {"hidden_size", 48},
                                                       {"num_hidden_layers", 2},
                                                       {"num_attention_heads", 4},
                                                       {"intermediate_size", 60},
                                                       {"max_position_embeddings", 40},
                                                       {"initializer_range", 0.15},
                                                       {"is_decoder", true},
                                                       {"add_cross_attention", cross_attention}}),
                                           {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = threads})});
}

Tensor random_tensor(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = float((i * 7919) % 101) / 50.0f - 1;
  return x;
}

void check_steps(const AnyModel& model, const Tensor& encoder, const std::vector<int64_t>& pieces) {
  std::vector<int64_t> ids;
  for (int64_t n : pieces)
    for (int64_t i = 0; i < n; i++) ids.push_back(int64_t(ids.size() * 7 % 50));
  ModelInputs whole = make_inputs({ids});
  whole.attention_mask = {};
  whole.encoder_hidden_states = encoder;
  const ModelOutput want = model(whole);
  ModelInputs step;
  ModelOutput output;
  int64_t done = 0;
  for (int64_t n : pieces) {
    step.input_ids = Tensor::from(std::vector<int64_t>(ids.begin() + done, ids.begin() + done + n), {1, n});
    step.encoder_hidden_states = encoder;
    model->forward(step, output);
    for (int64_t i = 0; i < n * 50; i++)
      ASSERT_EQ(output.logits.data<float>()[i], want.logits.data<float>()[done * 50 + i]) << "token " << done + i / 50;
    done += n;
    step.past_key_values = output.past_key_values;
    ASSERT_EQ(step.past_key_values.size(), 2u);
    EXPECT_EQ(step.past_key_values[0].keys.shape(), (Shape{1, 4, done, 12}));
  }
  for (size_t layer = 0; layer < 2; layer++)
    EXPECT_TRUE(bytes_equal(output.past_key_values[layer].values, want.past_key_values[layer].values));
}

TEST(Decoder, StepsEqualTheWholeText) {
  for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{1, 1, 1, 1, 1}, {5, 1, 7, 2}, {20, 19}}) {
    check_steps(tiny_decoder(false), {}, pieces);
    check_steps(tiny_decoder(true), random_tensor({1, 9, 48}), pieces);
  }
}

// Rows of different lengths, padded on the left as for generation, continue as they do alone.
TEST(Decoder, BatchMatesDoNotMatter) {
  const AnyModel model = tiny_decoder(false, 1), threads = tiny_decoder(false, 3);
  const std::vector<std::vector<int64_t>> rows = {{1, 2, 3, 4, 5, 6}, {9, 8}, {30, 31, 32, 33}};
  constexpr int64_t kLongest = 6;
  ModelInputs batch;
  for (Tensor* t : {&batch.input_ids, &batch.attention_mask, &batch.position_ids})
    *t = Tensor::zeros({3, kLongest}, DType::I64);
  for (size_t b = 0; b < 3; b++) {
    const size_t first = kLongest - rows[b].size();
    for (size_t s = 0; s < rows[b].size(); s++) {
      const size_t at = b * kLongest + first + s;
      batch.input_ids.data<int64_t>()[at] = rows[b][s];
      batch.attention_mask.data<int64_t>()[at] = 1;
      batch.position_ids.data<int64_t>()[at] = int64_t(s);
    }
  }
  const ModelOutput first = threads(batch);
  ModelInputs next;
  next.input_ids = Tensor::from(std::vector<int64_t>{11, 12, 13}, {3, 1});
  next.position_ids = Tensor::from(std::vector<int64_t>{6, 2, 4}, {3, 1});
  next.attention_mask = Tensor::zeros({3, kLongest + 1}, DType::I64);
  for (int64_t b = 0; b < 3; b++)
    for (int64_t s = 0; s <= kLongest; s++)
      next.attention_mask.data<int64_t>()[b * (kLongest + 1) + s] =
          s == kLongest || batch.attention_mask.data<int64_t>()[b * kLongest + s];
  next.past_key_values = first.past_key_values;
  const ModelOutput second = threads(next);
  for (size_t b = 0; b < 3; b++) {
    std::vector<int64_t> ids = rows[b];
    ids.push_back(11 + int64_t(b));
    const ModelOutput alone = model(make_inputs({ids}));
    const float* last = alone.logits.data<float>() + (int64_t(ids.size()) - 1) * 50;
    EXPECT_EQ(std::memcmp(second.logits.data<float>() + int64_t(b) * 50, last, 50 * sizeof(float)), 0) << b;
  }
}

// A batch that an encoder would cut (take_sequences): caches are those of all rows.
TEST(Decoder, LargeBatchesKeepTheirCaches) {
  const AnyModel model = tiny_decoder(false, 1);
  std::vector<std::vector<int64_t>> rows(20);
  for (size_t b = 0; b < rows.size(); b++)
    for (size_t s = 0; s < 25; s++) rows[b].push_back(int64_t((b * 7 + s * 3) % 50));
  const ModelOutput batch = model(make_inputs(rows));
  const int64_t logits = 25 * 50, cached = 4 * 25 * 12;
  for (size_t b = 0; b < rows.size(); b++) {
    const ModelOutput alone = model(make_inputs({rows[b]}));
    auto expect_row = [&](const Tensor& all, const Tensor& one, int64_t count) {
      EXPECT_EQ(std::memcmp(all.data<float>() + int64_t(b) * count, one.raw(), size_t(count) * sizeof(float)), 0) << b;
    };
    expect_row(batch.logits, alone.logits, logits);
    for (size_t layer = 0; layer < 2; layer++) {
      expect_row(batch.past_key_values[layer].keys, alone.past_key_values[layer].keys, cached);
      expect_row(batch.past_key_values[layer].values, alone.past_key_values[layer].values, cached);
    }
  }
}

// The pooler reads the first token even where it is masked; such a row is no business of the other rows' caches.
TEST(Decoder, MaskedFirstTokensAndThePooler) {
  const BertModel model(BertConfig({{"vocab_size", 50},
                                    {"hidden_size", 48},
                                    {"num_hidden_layers", 2},
                                    {"num_attention_heads", 4},
                                    {"intermediate_size", 60},
                                    {"max_position_embeddings", 40},
                                    {"initializer_range", 0.15},
                                    {"is_decoder", true}}));
  const ModelOutput past = model(make_inputs({{1, 2, 3}, {4, 5, 6}}));
  ModelInputs both, second;
  both.input_ids = Tensor::from(std::vector<int64_t>{7, 8, 9, 10, 11, 12}, {2, 3});
  both.attention_mask = Tensor::from(std::vector<int64_t>{1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {2, 6});
  both.past_key_values = past.past_key_values;
  second.input_ids = both.input_ids.rows(1, 2);
  for (const CacheLayer& layer : past.past_key_values)
    second.past_key_values.push_back({layer.keys.rows(1, 2), layer.values.rows(1, 2), {}, {}});
  const ModelOutput batch = model(both), alone = model(second);
  EXPECT_TRUE(bytes_equal(batch.last_hidden_state.rows(1, 2), alone.last_hidden_state));
  EXPECT_TRUE(bytes_equal(batch.pooler_output.rows(1, 2), alone.pooler_output));
}

// What an earlier call left in a reused output does not come back as a cache.
TEST(Decoder, ReusedOutputsHoldNoOldCrossAttention) {
  const AnyModel model = tiny_decoder(true);
  ModelInputs inputs = make_inputs({{1, 2, 3}});
  ModelOutput output;
  inputs.encoder_hidden_states = random_tensor({1, 5, 48});
  model->forward(inputs, output);
  EXPECT_TRUE(output.past_key_values[0].cross_keys.defined());
  inputs.encoder_hidden_states = {};
  model->forward(inputs, output);
  EXPECT_FALSE(output.past_key_values[0].cross_keys.defined());
}

// A pruned decoder has narrower layers, and caches that fit them.
TEST(Decoder, PrunedHeads) {
  const AnyModel model = tiny_decoder(false);
  model->prune_heads({{0, {1}}, {1, {0, 3}}});
  ModelInputs inputs = make_inputs({{1, 2, 3}}), next;
  const ModelOutput first = model(inputs);
  EXPECT_EQ(first.past_key_values[1].keys.shape(), (Shape{1, 2, 3, 12}));
  next.input_ids = Tensor::from(std::vector<int64_t>{4}, {1, 1});
  next.past_key_values = first.past_key_values;
  const Tensor whole = model(make_inputs({{1, 2, 3, 4}})).logits, step = model(next).logits;
  EXPECT_EQ(std::memcmp(whole.data<float>() + 3 * 50, step.raw(), 50 * sizeof(float)), 0);
}

TEST(Decoder, RefusesCachesThatDoNotFit) {
  const AnyModel model = tiny_decoder(true);
  const ModelOutput output = model(make_inputs({{1, 2, 3}}));
  auto refused = [&](auto change, const std::string& part) {
    ModelInputs inputs = make_inputs({{4}});
    inputs.attention_mask = {};
    inputs.past_key_values = output.past_key_values;
    change(inputs);
    try {
      model(inputs);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
      return;
    }
    ADD_FAILURE() << "accepted: " << part;
  };
  refused([](ModelInputs& i) { i.past_key_values.pop_back(); }, "2 layers");
  refused([](ModelInputs& i) { i.past_key_values[1].values = {}; }, "layer 1");
  refused([](ModelInputs& i) { i.past_key_values[0].keys = Tensor::zeros({1, 4, 2, 12}); }, "layer 0");
  refused([](ModelInputs& i) { i.past_key_values[1].keys = Tensor::zeros({2, 4, 3, 12}); }, "layer 1");
  refused(
      [](ModelInputs& i) {
        i.attention_mask = Tensor::zeros({1, 1}, DType::I64);
      },
      "attention_mask");  // (1, P + S)
  refused([](ModelInputs& i) { i.encoder_hidden_states = Tensor::zeros({1, 3, 47}); }, "encoder_hidden_states");
  refused([](ModelInputs& i) { i.encoder_hidden_states = Tensor::zeros({2, 3, 48}); }, "encoder_hidden_states");
  refused(
      [](ModelInputs& i) {
        i.encoder_hidden_states = Tensor::zeros({1, 3, 48});
        i.encoder_attention_mask = Tensor::zeros({1, 4}, DType::I64);
      },
      "encoder_attention_mask");
  refused(
      [](ModelInputs& i) {
        i.input_ids = Tensor::zeros({1, 38}, DType::I64);  // 3 + 38 positions of 40
      },
      "max_position_embeddings");
  const AnyModel no_layers = AutoModelForCausalLM::from_config(BertConfig({{"vocab_size", 50},
                                                                           {"hidden_size", 48},
                                                                           {"num_hidden_layers", 0},
                                                                           {"num_attention_heads", 4},
                                                                           {"is_decoder", true},
                                                                           {"add_cross_attention", true}}));
  ModelInputs cached = make_inputs({{1}});
  cached.encoder_hidden_states = Tensor::zeros({1, 3, 48});
  EXPECT_NO_THROW(no_layers(cached));
  cached.past_key_values.resize(1);
  EXPECT_THROW(no_layers(cached), Error);
  ModelInputs encoder = make_inputs({{1}});
  encoder.attention_mask = {};
  encoder.past_key_values = output.past_key_values;
  EXPECT_THROW(tiny_bert(1)(encoder), Error);
  ModelInputs without_cross = make_inputs({{1}});
  without_cross.encoder_hidden_states = Tensor::zeros({1, 3, 48});
  EXPECT_THROW(tiny_decoder(false)(without_cross), Error);
  EXPECT_THROW(BertModel(BertConfig({{"add_cross_attention", true}})), Error);  // not without is_decoder
}

}  // namespace
}  // namespace caracal
