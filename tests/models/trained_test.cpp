// The trained checkpoints (tools/train): what they weigh, and that texts become the ids that transformers makes of
// them. goldens_test compares their outputs.
#include <caracal/models/tokenization_auto.h>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

TEST(Trained, StaySmallAndComplete) {
  uint64_t all = 0;
  for (const auto& folder : fs::directory_iterator(data_path("trained"))) {
    uint64_t size = 0;
    for (const auto& file : fs::directory_iterator(folder)) size += file.file_size();
    EXPECT_LT(size, 4'000'000u) << folder.path();
    all += size;
    for (const char* name : {"config.json", "model.safetensors", "README.md", "expected.json"})
      EXPECT_TRUE(fs::exists(folder.path() / name)) << folder.path() << " lacks " << name;
    EXPECT_TRUE(AutoModel::from_pretrained(folder.path())->loading_info().mismatched_keys.empty());
  }
  EXPECT_LT(all, 8'000'000u);
}

TEST(Trained, TextsBecomeTheSameIds) {
  for (const std::string name : {"distilbert-intents", "bert-entities"}) {
    SCOPED_TRACE(name);
    const std::string folder = data_path("trained/" + name), reference = folder + "/reference.0.safetensors";
    const Json stored = Json::parse(SafetensorsFile::open(reference).metadata().at("texts"), reference);
    std::vector<std::string> texts;
    for (const Json& text : stored.as_array()) texts.push_back(text.as_string());
    const ModelInputs want = read_inputs(reference);
    for (const bool slow : {false, true}) {  // tokenizer.json, and vocab.txt by the plain algorithm
      const auto tokenizer = AutoTokenizer::from_pretrained(folder, {{"use_fast", !slow}});
      const BatchEncoding got = tokenizer(texts, TokenizeOptions{.padding = true});
      for (const auto& [key, ids] :
           {std::pair("input_ids", &want.input_ids), {"attention_mask", &want.attention_mask}}) {
        const Tensor tensor = got[key];
        ASSERT_EQ(tensor.shape(), ids->shape());
        for (int64_t i = 0; i < tensor.numel(); i++)
          ASSERT_EQ(tensor.data<int64_t>()[i], ids->data<int64_t>()[i]) << key << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace caracal
