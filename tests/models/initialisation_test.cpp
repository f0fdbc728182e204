// Random weights as transformers' classes initialise them: normal(0, initializer_range) for linear layers, convolutions
// and embeddings, whose padding row is 0; biases 0; norms 1 and 0; ViT's mask token 0.
#include <cmath>

#include "models_testing.h"

namespace caracal {
namespace {

void expect_constant(const Parameter& p, float value) {
  const Tensor x = p.load();
  for (float v : x.values<float>()) ASSERT_EQ(v, value) << p.name;
}

// Mean and deviation of each parameter at the precision that its size allows (5 standard errors).
void check_model(const PreTrainedModel& model, double stddev) {
  SCOPED_TRACE(model.class_name());
  int normal = 0;
  for (const Parameter& p : model.parameters()) {
    if (p.name.ends_with("bias") || p.name.ends_with("mask_token")) {
      expect_constant(p, 0);
    } else if (p.shape.rank() == 1) {
      expect_constant(p, 1);
    } else {
      const Tensor x = p.load();
      const bool padded = p.name.ends_with("word_embeddings.weight");
      const int64_t cols = x.size(-1), skip = padded ? cols : 0;
      for (int64_t i = 0; i < skip; i++) ASSERT_EQ(x.data<float>()[i], 0) << p.name;
      double sum = 0, squares = 0;
      const double n = double(x.numel() - skip);
      for (int64_t i = skip; i < x.numel(); i++) {
        sum += double(x.data<float>()[i]);
        squares += double(x.data<float>()[i]) * double(x.data<float>()[i]);
      }
      EXPECT_NEAR(sum / n, 0, 5 * stddev / std::sqrt(n)) << p.name;
      EXPECT_NEAR(std::sqrt(squares / n), stddev, 5 * stddev / std::sqrt(2 * n)) << p.name;
      normal++;
    }
  }
  EXPECT_GE(normal, 10);
}

constexpr double kStddev = 0.03;

TEST(Initialisation, EveryClass) {
  const BertConfig bert({{"vocab_size", 300},
                         {"hidden_size", 32},
                         {"num_hidden_layers", 2},
                         {"num_attention_heads", 4},
                         {"intermediate_size", 64},
                         {"max_position_embeddings", 40},
                         {"initializer_range", kStddev},
                         {"num_labels", 7}});
  const DistilBertConfig distilbert({{"vocab_size", 300},
                                     {"dim", 32},
                                     {"n_layers", 2},
                                     {"n_heads", 4},
                                     {"hidden_dim", 64},
                                     {"max_position_embeddings", 40},
                                     {"initializer_range", kStddev},
                                     {"num_labels", 7}});
  const ViTConfig vit({{"hidden_size", 32},
                       {"num_hidden_layers", 2},
                       {"num_attention_heads", 4},
                       {"intermediate_size", 64},
                       {"image_size", 32},
                       {"patch_size", 8},
                       {"encoder_stride", 8},
                       {"initializer_range", kStddev},
                       {"num_labels", 7}});
  for (const char* task : {"AutoModel", "AutoModelForPreTraining", "AutoModelForCausalLM", "AutoModelForMaskedLM",
                           "AutoModelForNextSentencePrediction", "AutoModelForSequenceClassification",
                           "AutoModelForMultipleChoice", "AutoModelForTokenClassification"})
    check_model(*make_auto_model(task, bert), kStddev);
  for (const char* task : {"AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification",
                           "AutoModelForMultipleChoice", "AutoModelForTokenClassification"})
    check_model(*make_auto_model(task, distilbert), kStddev);
  for (const char* task : {"AutoModel", "AutoModelForImageClassification", "AutoModelForMaskedImageModeling"})
    check_model(*make_auto_model(task, vit), kStddev);
}

TEST(Initialisation, SeedDecides) {
  auto first_weight = [](uint64_t seed) {
    const BertModel model = BertModel::from_config(
        BertConfig({{"vocab_size", 20}, {"hidden_size", 8}, {"num_hidden_layers", 1}, {"num_attention_heads", 2}}),
        {.seed = seed});
    return model.parameters()[0].load().data<float>()[9];
  };
  EXPECT_EQ(first_weight(1), first_weight(1));
  EXPECT_NE(first_weight(1), first_weight(2));
}

// The tied decoder is the embedding: its padding row included, and saved once.
TEST(Initialisation, TiedWeightsAreOne) {
  const BertForMaskedLM model(BertConfig({{"vocab_size", 20},
                                          {"hidden_size", 8},
                                          {"num_hidden_layers", 1},
                                          {"num_attention_heads", 2},
                                          {"intermediate_size", 8}}));
  for (const Parameter& p : model.parameters()) EXPECT_FALSE(p.name.starts_with("cls.predictions.decoder")) << p.name;
  const Tensor logits = model(make_inputs({{3, 4}})).logits;
  for (int64_t s = 0; s < 2; s++) EXPECT_EQ(logits.data<float>()[s * 20], 0) << "the padding row is zero";
}

}  // namespace
}  // namespace caracal
