// Every hidden state and attention of real transformers' BERT, for the checkpoints in tests/data/bert
// (tools/make_goldens.py). Runs once per instruction-set tier.
#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

// True at padded position b · S + s when the token counts.
std::vector<bool> read_mask(const ModelInputs& inputs, int64_t count) {
  std::vector<bool> mask(size_t(count), true);
  if (!inputs.attention_mask.defined()) return mask;
  const Tensor values = inputs.attention_mask.to(DType::I64);
  for (size_t i = 0; i < mask.size(); i++) mask[i] = values.data<int64_t>()[i] != 0;
  return mask;
}

int check_case(const fs::path& directory) {
  const bool pooler = SafetensorsFile::open(directory / "expected.0.safetensors").find("pooler_output") != nullptr;
  const BertModel model = BertModel::from_pretrained(
      directory, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2}), .add_pooling_layer = pooler});
  EXPECT_TRUE(model.loading_info().missing_keys.empty()) << model.loading_info().missing_keys[0];
  int sets = 0;
  for (; fs::exists(directory / ("inputs." + std::to_string(sets) + ".safetensors")); sets++) {
    const std::string number = std::to_string(sets), name = directory.filename().string() + " inputs." + number;
    const ModelInputs inputs = read_inputs(directory / ("inputs." + number + ".safetensors"));
    const SafetensorsFile expected = SafetensorsFile::open(directory / ("expected." + number + ".safetensors"));
    const ModelOutput output = model(inputs, {.output_hidden_states = true, .output_attentions = true});
    const int64_t batch = output.last_hidden_state.size(0), length = output.last_hidden_state.size(1);
    const std::vector<bool> mask = read_mask(inputs, batch * length);
    int compared = 0;
    for (const auto& [field, got] : output.named()) {
      const TensorInfo* info = expected.find(field);
      if (info == nullptr) {
        EXPECT_TRUE(field.starts_with("attentions.")) << name << " has no " << field;
        continue;
      }
      compared++;
      const Tensor want = expected.tensor(*info);
      const int64_t columns = got.size(-1);
      if (field == "pooler_output") {
        expect_equal(got, want, name + " " + field, [](int64_t) { return true; });
      } else if (field.starts_with("attentions.")) {
        const int64_t heads = got.size(1);
        expect_equal(got, want, name + " " + field, [&](int64_t i) {
          const int64_t key = i % length, query = i / length % length, b = i / (heads * length * length);
          return mask[size_t(b * length + query)] && mask[size_t(b * length + key)];
        });
      } else {
        expect_equal(got, want, name + " " + field, [&](int64_t i) { return mask[size_t(i / columns)]; });
      }
    }
    EXPECT_EQ(size_t(compared), expected.tensors().size()) << name;
  }
  return sets;
}

TEST(BertModel, EqualsTransformers) {
  int cases = 0, sets = 0;
  for (const auto& entry : fs::directory_iterator(data_path("bert"))) {
    if (!entry.is_directory()) continue;
    const int here = check_case(entry.path());
    EXPECT_GT(here, 0) << entry.path();
    sets += here;
    cases++;
  }
  EXPECT_GE(cases, 10);
  EXPECT_GE(sets, 25);
}

TEST(BertModel, RunsTheForcedTier) {
  const char* forced = std::getenv("CARACAL_ISA");
  const AnyModel model = tiny_bert(1);
  EXPECT_STREQ(model->runtime().isa(), forced != nullptr ? forced : kernels::isa_name(kernels::best_isa()));
}

TEST(BertModel, AutoModelGivesTheSame) {
  const std::string directory = data_path("bert/base");
  const ModelInputs inputs = read_inputs(directory + "/inputs.0.safetensors");
  const ModelOutput a = BertModel::from_pretrained(directory)(inputs),
                    b = AutoModel::from_pretrained(directory)(inputs);
  EXPECT_TRUE(bytes_equal(a.last_hidden_state, b.last_hidden_state));
  EXPECT_TRUE(bytes_equal(a.pooler_output, b.pooler_output));
  EXPECT_TRUE(a.hidden_states.empty() && a.attentions.empty());
}

// A head model's checkpoint: the heads are unexpected, the pooler of a masked-LM model is missing.
TEST(BertModel, ReportsWhatDidNotMatch) {
  const BertModel model = BertModel::from_pretrained(data_path("bert/from_masked_lm"));
  EXPECT_FALSE(model.loading_info().unexpected_keys.empty());
  EXPECT_EQ(model.loading_info().missing_keys, (std::vector<std::string>{"pooler.dense.bias", "pooler.dense.weight"}));
}

}  // namespace
}  // namespace caracal
