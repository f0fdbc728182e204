// Real and random config.json files: read, printed and written as transformers does (tools/check_configs.py).
#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

class RealFiles : public testing::TestWithParam<const char*> {};

TEST_P(RealFiles, AreReadPrintedAndWrittenAsTransformersDoes) {
  const std::string folder = data_path(std::string("configs/") + GetParam());
  const TemporaryDirectory directory;
  const auto config = AutoConfig::from_pretrained(folder);
  EXPECT_EQ(config->str(), slurp(folder + "/listing.txt"));
  Json dict = config->to_dict();
  dict.erase("_name_or_path");
  EXPECT_EQ(dict.dump(2, true), Json::parse_file(folder + "/to_dict.json").dump(2, true));
  config->save_pretrained(directory.path);
  EXPECT_EQ(slurp(directory / "config.json"), slurp(folder + "/saved.json"));
  EXPECT_EQ(*AutoConfig::from_pretrained(folder + "/saved.json"), *config);
}

INSTANTIATE_TEST_SUITE_P(Configs, RealFiles,
                         testing::Values("bert-base-uncased-seqcls", "bert-japanese-char", "distilbert-base-uncased",
                                         "distilbert-base-uncased-finetuned-sst-2-english", "layoutlmv2-base-uncased",
                                         "vit-224", "vit-base-patch16-224-old", "wav2vec2-base-960h",
                                         "wav2vec2-base-accent", "wav2vec2-base-seqcls"));

// The text `field 'x'` of a message, or nothing.
std::string field_of(const std::string& message) {
  const size_t begin = message.find("field '");
  return begin == message.npos ? "" : message.substr(begin, message.find('\'', begin + 7) - begin + 1);
}

TEST(RandomFiles, AreReadAndWrittenAsTransformersDoes) {
  const TemporaryDirectory directory;
  const Json cases = Json::parse_file(data_path("configs/random.json"));
  int saved = 0, refused = 0;
  for (const Json& each : cases.as_array()) {
    const std::string text = each.at("file").dump();
    SCOPED_TRACE(text + " " + each.at("overrides").dump());
    std::ofstream(directory / "config.json") << text;
    const std::string message = message_of([&] {
      const auto config = AutoConfig::from_pretrained(directory.path, each.at("overrides"));
      config->save_pretrained(directory / "out");
    });
    if (const Json* reason = each.find("refused")) {
      EXPECT_NE(message, "no error") << reason->dump();
      EXPECT_NE(message.find(field_of(reason->as_string())), std::string::npos) << message << reason->dump();
      refused++;
      continue;
    }
    EXPECT_EQ(message, "no error");
    EXPECT_EQ(slurp(directory / "out/config.json"), each.at("saved").as_string());
    // Where transformers reads less than it wrote, or refuses it (null), the file says so.
    const Json* changed = each.find("saved_again");
    const Json& want = changed == nullptr ? each.at("saved") : *changed;
    const std::string again =
        message_of([&] { AutoConfig::from_pretrained(directory / "out")->save_pretrained(directory / "again"); });
    EXPECT_EQ(again == "no error", want.is_string()) << again;
    if (want.is_string()) {
      EXPECT_EQ(slurp(directory / "again/config.json"), want.as_string());
    }
    saved++;
  }
  EXPECT_GE(saved, 60);
  EXPECT_GE(refused, 8);
}

}  // namespace
}  // namespace caracal
