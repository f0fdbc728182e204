// The examples of the documentation's page "Create a custom architecture", and what each class has of its own.
#include <caracal/caracal.h>

#include <sstream>

#include "models_testing.h"

namespace caracal {
namespace {

std::string documents_listing(const std::string& activation, const std::string& attention_dropout) {
  return "DistilBertConfig {\n"
         "  \"activation\": \"" +
         activation +
         "\",\n"
         "  \"attention_dropout\": " +
         attention_dropout + R"(,
  "dim": 768,
  "dropout": 0.1,
  "hidden_dim": 3072,
  "initializer_range": 0.02,
  "max_position_embeddings": 512,
  "model_type": "distilbert",
  "n_heads": 12,
  "n_layers": 6,
  "pad_token_id": 0,
  "qa_dropout": 0.1,
  "seq_classif_dropout": 0.2,
  "sinusoidal_pos_embds": false,
  "transformers_version": "5.23.0",
  "vocab_size": 30522
}
)";
}

TEST(Documents, PrintTheDefaults) {
  DistilBertConfig config;
  std::ostringstream out;
  out << config;
  EXPECT_EQ(out.str(), documents_listing("gelu", "0.1"));
}

TEST(Documents, CustomiseAttributes) {
  DistilBertConfig my_config({{"activation", "relu"}, {"attention_dropout", 0.4}});
  EXPECT_EQ(my_config.str(), documents_listing("relu", "0.4"));
}

TEST(Documents, CustomiseACheckpointSaveAndLoad) {
  const TemporaryDirectory directory;
  const std::string save_directory = directory / "your_model_save_path";
  auto my_config = DistilBertConfig::from_pretrained(data_path("configs/distilbert-base-uncased"),
                                                     {{"activation", "relu"}, {"attention_dropout", 0.4}});
  EXPECT_EQ(my_config.activation, "relu");
  EXPECT_EQ(my_config.attention_dropout, Json(0.4));
  EXPECT_EQ(my_config.num_labels(), 38);
  my_config.save_pretrained(save_directory);
  EXPECT_EQ(DistilBertConfig::from_pretrained(save_directory + "/config.json"), my_config);
  EXPECT_EQ(DistilBertConfig::from_pretrained(save_directory), my_config);
  EXPECT_EQ(*AutoConfig::from_pretrained(save_directory), my_config);
}

// "… or save only what differs from the defaults": the page's tip.
TEST(Documents, DictionariesOfAllAttributesAndOfTheDifference) {
  const DistilBertConfig config({{"output_attentions", true}});
  EXPECT_EQ(config.to_dict().at("return_dict"), Json(true));
  EXPECT_FALSE(config.to_diff_dict().contains("return_dict"));
  EXPECT_EQ(config.to_diff_dict().at("output_attentions"), Json(true));
  EXPECT_EQ(config.to_diff_dict().at("tie_word_embeddings"), Json(true));
}

TEST(DistilBertConfig, Aliases) {
  DistilBertConfig config({{"hidden_size", 64}, {"num_hidden_layers", 2}, {"num_attention_heads", 4}});
  EXPECT_EQ(config.dim, 64);
  EXPECT_EQ(config.n_layers, 2);
  EXPECT_EQ(config.get("num_attention_heads"), Json(4));
  config.set("hidden_size", 32);
  EXPECT_EQ(config.get("dim"), Json(32));
  EXPECT_FALSE(config.to_dict().contains("hidden_size"));
  // Of two the alias wins, whatever the order.
  EXPECT_EQ(DistilBertConfig({{"hidden_size", 64}, {"dim", 8}}).dim, 64);
  EXPECT_EQ(DistilBertConfig({{"dim", 8}, {"hidden_size", 64}}).dim, 64);
  EXPECT_EQ(message_of([] {
              DistilBertConfig({{"hidden_size", "64"}});
            }),
            "[DistilBertConfig] field 'dim' expected int but got str (value: \"64\")");
  EXPECT_EQ(message_of([] {
              DistilBertConfig({{"activation", 1}});
            }),
            "[DistilBertConfig] field 'activation' expected str but got int (value: 1)");
}

// An attribute of BERT, and to DistilBERT a parameter of generation.
TEST(DistilBertConfig, DropsUseCache) {
  EXPECT_FALSE(DistilBertConfig({{"use_cache", false}}).to_dict().contains("use_cache"));
  EXPECT_FALSE(BertConfig({{"use_cache", false}}).use_cache);
}

TEST(DistilBertConfig, ListingShowsWhatDiffersFromTheClass) {
  const std::string text = DistilBertConfig({{"pad_token_id", nullptr}, {"tie_word_embeddings", false}}).str();
  EXPECT_NE(text.find("\"pad_token_id\": null"), std::string::npos);
  EXPECT_NE(text.find("\"tie_word_embeddings\": false"), std::string::npos);
}

TEST(FromPretrained, KeepsUnknownKeysAndReturnsUnusedOverrides) {
  const std::string checkpoint = data_path("configs/distilbert-base-uncased");
  Json unused;
  const auto config = DistilBertConfig::from_pretrained(
      checkpoint, {{"n_heads", 4}, {"foo", false}, {"max_length", 7}, {"tie_weights_", false}}, &unused);
  EXPECT_EQ(unused, Json({{"foo", false}, {"max_length", 7}}));
  EXPECT_EQ(config.n_heads, 4);
  EXPECT_FALSE(config.has("foo"));
  EXPECT_EQ(config.extra.at("tie_weights_"), Json(false));  // a key of that file
  EXPECT_EQ(AutoConfig::from_pretrained(checkpoint)->name_or_path, checkpoint);
}

TEST(FromPretrained, NamesWhatIsMissing) {
  const TemporaryDirectory directory;
  EXPECT_EQ(message_of([&] { ViTConfig::from_pretrained(directory.path); }),
            "[" + directory.path + "] expected a config.json in this directory but found none");
  const std::string nowhere = directory / "nowhere";
  EXPECT_EQ(message_of([&] { ViTConfig::from_pretrained(nowhere); }),
            "[" + nowhere + "] expected a directory with a config.json, or such a file, but found neither");
  std::ofstream(directory / "config.json") << R"({"hidden_size": 1.5})";
  EXPECT_EQ(message_of([&] { ViTConfig::from_pretrained(directory.path); }),
            "[" + directory.path + "] field 'hidden_size' expected int but got float (value: 1.5)");
  std::ofstream(directory / "config.json") << R"([1])";
  EXPECT_NE(message_of([&] { ViTConfig::from_pretrained(directory.path); }).find("expected an object"),
            std::string::npos);
}

TEST(SavePretrained, MakesDirectoriesAndReplacesFiles) {
  const TemporaryDirectory directory;
  const std::string deep = directory / "a/b/c";
  ViTConfig().save_pretrained(deep);
  ViTConfig({{"hidden_size", 4}}).save_pretrained(deep);
  EXPECT_EQ(ViTConfig::from_pretrained(deep).hidden_size, 4);
  std::ofstream(directory / "file") << "x";
  EXPECT_NE(message_of([&] { ViTConfig().save_pretrained(directory / "file"); }).find("it is a file"),
            std::string::npos);
  EXPECT_EQ(slurp(directory / "file"), "x");
}

TEST(SavePretrained, KeepsFloatsThatJsonLacks) {
  const TemporaryDirectory directory;
  BertConfig config({{"my_key", Json::Array{-INFINITY, NAN}}});
  config.layer_norm_eps = INFINITY;
  config.save_pretrained(directory.path);
  EXPECT_NE(slurp(directory / "config.json").find("\"layer_norm_eps\": {\n    \"__float__\": \"Infinity\"\n  }"),
            std::string::npos);
  const auto again = BertConfig::from_pretrained(directory.path);
  EXPECT_EQ(again.layer_norm_eps, INFINITY);
  EXPECT_TRUE(std::isnan(again.extra.at("my_key").as_array()[1].as_double()));
  EXPECT_EQ(again, config);
}

TEST(ViTConfig, SizesMayBeOneNumberOrTwo) {
  const ViTConfig config({{"image_size", Json::Array{240, 320}}, {"patch_size", 8}});
  EXPECT_EQ(config.image_height_width(), (std::array<int64_t, 2>{240, 320}));
  EXPECT_EQ(config.patch_height_width(), (std::array<int64_t, 2>{8, 8}));
  EXPECT_EQ(config.to_dict().at("image_size"), Json(Json::Array{240, 320}));
  EXPECT_EQ(message_of([] {
              ViTConfig({{"image_size", Json::Array{240, "320"}}});
            }),
            "[ViTConfig] field 'image_size' expected int | list[int] but got list (value: [240, \"320\"])");
  EXPECT_EQ(message_of([] {
              ViTConfig({{"image_size", Json::Array{1, 2, 3}}}).image_height_width();
            }),
            "[ViTConfig] image_size expected a number or [height, width] but got [1, 2, 3]");
}

TEST(ViTConfig, PoolerIsAsWideAsTheModelUnlessGiven) {
  EXPECT_EQ(ViTConfig({{"hidden_size", 64}}).pooler_output_size, Json(64));
  EXPECT_EQ(ViTConfig({{"hidden_size", 64}, {"pooler_output_size", nullptr}}).pooler_output_size, Json(64));
  EXPECT_EQ(ViTConfig({{"hidden_size", 64}, {"pooler_output_size", 5}}).pooler_output_size, Json(5));
  // The file decides, before overrides.
  EXPECT_EQ(ViTConfig::from_pretrained(data_path("configs/vit-224"), {{"hidden_size", 64}}).pooler_output_size,
            Json(768));
}

TEST(Wav2Vec2Config, ConvolutionsHaveOneLength) {
  const Wav2Vec2Config config(
      {{"conv_dim", Json::Array{8, 9}}, {"conv_stride", Json::Array{5, 4}}, {"conv_kernel", Json::Array{3, 3}}});
  EXPECT_EQ(config.num_feat_extract_layers, 2);
  EXPECT_EQ(config.inputs_to_logits_ratio(), 20);
  EXPECT_EQ(config.conv_dim, (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(Wav2Vec2Config().inputs_to_logits_ratio(), 320);
  EXPECT_EQ(message_of([] {
              Wav2Vec2Config({{"conv_dim", Json::Array{8, 9}}});
            }),
            "[Wav2Vec2Config] conv_dim, conv_stride and conv_kernel expected 2 elements each, as "
            "num_feat_extract_layers says, but got 2, 7 and 7");
  EXPECT_EQ(message_of([] {
              Wav2Vec2Config({{"tdnn_dim", Json::Array{8, 1.0}}});
            }),
            "[Wav2Vec2Config] field 'tdnn_dim' expected list[int] but got list (value: [8, 1.0])");
  Wav2Vec2Config broken;
  broken.conv_stride = std::vector<int64_t>(7, INT64_MAX);
  EXPECT_THROW(broken.inputs_to_logits_ratio(), Error);
  broken.conv_stride.pop_back();
  const TemporaryDirectory directory;
  EXPECT_THROW(broken.save_pretrained(directory / "x"), Error);
  EXPECT_FALSE(std::filesystem::exists(directory / "x"));
}

TEST(LayoutLMv2Config, BackboneSettingsDefaultToDetectron2s) {
  const LayoutLMv2Config config({{"detectron2_config_args", nullptr}});
  EXPECT_EQ(config, LayoutLMv2Config());
  EXPECT_EQ(config.detectron2_config_args.at("MODEL.RESNETS.ASPECT_RATIOS").dump(), "[[0.5, 1.0, 2.0]]");
  EXPECT_EQ(config.image_feature_pool_shape, (std::vector<int64_t>{7, 7, 256}));
  EXPECT_EQ(LayoutLMv2Config({{"detectron2_config_args", Json::Object{}}}).detectron2_config_args,
            Json(Json::Object{}));
  EXPECT_THROW(LayoutLMv2Config({{"detectron2_config_args", 1}}), Error);
}

}  // namespace
}  // namespace caracal
