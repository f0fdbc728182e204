// save_pretrained, resize_token_embeddings, prune_heads, and what from_pretrained does with sizes that do not match.
#include <fstream>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

class Saving : public testing::Test {
 protected:
  std::string operator/(const std::string& name) const { return root / name; }
  const TemporaryDirectory root;
  const fs::path folder = root.path;
};

const std::string kBert = data_path("models/bert/base");

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

void expect_same_parameters(const PreTrainedModel& a, const PreTrainedModel& b) {
  ASSERT_EQ(a.parameters().size(), b.parameters().size());
  for (const Parameter& p : a.parameters()) {
    const auto other = std::ranges::find(b.parameters(), p.name, &Parameter::name);
    ASSERT_NE(other, b.parameters().end()) << p.name;
    const Tensor x = p.load(), y = other->load();
    ASSERT_TRUE(x.shape() == y.shape() && x.dtype() == y.dtype()) << p.name;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.nbytes()), 0) << p.name;
  }
}

TEST_F(Saving, OneFileThenShardsThenOneFile) {
  const BertForMaskedLM model = BertForMaskedLM::from_pretrained(kBert);
  const std::string out = *this / "out";
  model.save_pretrained(out);
  EXPECT_EQ(files_in(out), (std::vector<std::string>{"config.json", "model.safetensors"}));
  EXPECT_EQ(model.config().architectures, BertForMaskedLM::from_pretrained(kBert).config().architectures);  // unchanged
  EXPECT_EQ(BertConfig::from_pretrained(out).architectures, Json(Json::Array{"BertForMaskedLM"}));
  expect_same_parameters(BertForMaskedLM::from_pretrained(out), model);

  model.save_pretrained(out, {.max_shard_size = 20'000});
  std::vector<std::string> files = files_in(out);
  EXPECT_GT(files.size(), 4u);
  EXPECT_EQ(files[0], "config.json");
  EXPECT_EQ(files[1].substr(0, 16), "model-00001-of-0");
  EXPECT_EQ(files.back(), "model.safetensors.index.json");  // and no model.safetensors, which would be loaded first
  const Json index = Json::parse_file(out + "/model.safetensors.index.json");
  EXPECT_EQ(index.at("metadata").at("total_parameters"), Json(model.num_parameters()));
  EXPECT_EQ(index.at("metadata").at("total_size"), Json(4 * model.num_parameters()));
  EXPECT_EQ(index.at("weight_map").as_object().size(), model.parameters().size());
  for (const std::string& file : files) EXPECT_LT(fs::file_size(out + "/" + file), 24'000u) << file;
  expect_same_parameters(BertForMaskedLM::from_pretrained(out), model);

  model.save_pretrained(out);
  EXPECT_EQ(files_in(out), (std::vector<std::string>{"config.json", "model.safetensors"}));
  model.save_pretrained(out, {.variant = "fp16"});
  EXPECT_TRUE(fs::exists(out + "/model.fp16.safetensors") && fs::exists(out + "/model.safetensors"));
  expect_same_parameters(BertForMaskedLM::from_pretrained(out, {.variant = "fp16"}), model);
  EXPECT_THROW(model.save_pretrained(out, {.max_shard_size = 0}), Error);
  EXPECT_THROW(model.save_pretrained(out, {.variant = "../x"}), Error);
  EXPECT_THROW(model.save_pretrained(out + "/config.json"), Error);
}

// A model may be written over the files it was loaded from.
TEST_F(Saving, OverItsOwnFiles) {
  fs::copy(kBert, folder / "own");
  const std::string own = *this / "own";
  fs::permissions(own + "/model.safetensors", fs::perms::owner_write, fs::perm_options::add);
  const BertModel model = BertModel::from_pretrained(own);
  const ModelInputs inputs = make_inputs({{5, 6, 7}});
  const Tensor before = model(inputs).last_hidden_state;
  model.save_pretrained(own);
  EXPECT_TRUE(bytes_equal(model(inputs).last_hidden_state, before));
  EXPECT_TRUE(bytes_equal(BertModel::from_pretrained(own)(inputs).last_hidden_state, before));
  expect_same_parameters(BertModel::from_pretrained(own), model);
}

// Weights of an earlier save that stay would be loaded in the place of the new ones.
TEST_F(Saving, SaysWhatItCannotRemove) {
  const AnyModel model = tiny_bert(1);
  const std::string out = *this / "out", old = out + "/model-00001-of-00002.safetensors";
  fs::create_directories(old + "/x");
  EXPECT_EQ(message_of([&] { model->save_pretrained(out); }),
            "[" + old + "] expected to remove the file but got: Directory not empty");
}

TEST_F(Saving, DtypeIsThatOfTheFiles) {
  const std::string half = *this / "half";
  BertModel::from_pretrained(kBert, {.dtype = "float16"}).save_pretrained(half);
  EXPECT_EQ(BertConfig::from_pretrained(half).dtype, Json("float16"));
  const BertModel again = BertModel::from_pretrained(half);  // auto: as stored
  for (const Parameter& p : again.parameters()) EXPECT_EQ(p.dtype, DType::F16) << p.name;
  const BertModel single = BertModel::from_pretrained(half, {.dtype = "float32"});
  EXPECT_EQ(single.config().dtype, Json("float32"));
  for (const Parameter& p : single.parameters()) EXPECT_EQ(p.dtype, DType::F32) << p.name;
  if (again.runtime().cuda() == nullptr) {  // the CPU multiplies 16-bit weights in float32
    EXPECT_TRUE(bytes_equal(single(make_inputs({{5}})).last_hidden_state, again(make_inputs({{5}})).last_hidden_state));
  }
  EXPECT_THROW(BertModel::from_pretrained(half, {.dtype = "int64"}), Error);
}

TEST_F(Saving, LanguageModelsGetAGenerationConfig) {
  const BertConfig config({{"vocab_size", 20},
                           {"hidden_size", 8},
                           {"num_hidden_layers", 1},
                           {"num_attention_heads", 2},
                           {"intermediate_size", 8},
                           {"is_decoder", true},
                           {"eos_token_id", 3}});
  BertLMHeadModel(config).save_pretrained(*this / "lm");
  const Json generation = Json::parse_file(*this / "lm/generation_config.json");
  EXPECT_EQ(generation.at("eos_token_id"), Json(3));
  EXPECT_EQ(generation.at("pad_token_id"), Json(0));
  EXPECT_FALSE(generation.contains("bos_token_id"));
  BertModel(config).save_pretrained(*this / "base");
  EXPECT_FALSE(fs::exists(*this / "base/generation_config.json"));
}

TEST_F(Saving, MismatchedSizes) {
  const std::string own = *this / "three";
  AutoModelForSequenceClassification::from_pretrained(kBert, {.config = {{"num_labels", 3}}})->save_pretrained(own);
  std::string logged;
  const auto runtime = std::make_shared<Runtime>(
      RuntimeOptions{.threads = 1, .log = [&](LogLevel, const std::string& text) { logged += text; }});
  const LoadOptions five{.config = {{"num_labels", 5}}, .runtime = runtime};
  try {
    BertForSequenceClassification::from_pretrained(own, five);
    ADD_FAILURE() << "loaded";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::bad_file);
    const std::string text = e.what();
    EXPECT_TRUE(text.starts_with("[classifier.bias] expected shape (5,) but got (3,) in " + own)) << text;
    EXPECT_NE(text.find("1 more"), std::string::npos) << text;
    EXPECT_NE(text.find("ignore_mismatched_sizes"), std::string::npos) << text;
  }
  EXPECT_NE(logged.find("classifier.weight | MISMATCH | Reinit due to size mismatch - ckpt: torch.Size([3, 32]) vs "
                        "model:torch.Size([5, 32])"),
            std::string::npos)
      << logged;
  LoadOptions ignoring = five;
  ignoring.ignore_mismatched_sizes = true;
  const auto model = BertForSequenceClassification::from_pretrained(own, ignoring);
  EXPECT_EQ(model.loading_info().mismatched_keys,
            (std::vector<MismatchedKey>{{"classifier.bias", {3}, {5}}, {"classifier.weight", {3, 32}, {5, 32}}}));
  EXPECT_EQ(model(make_inputs({{5}})).logits.shape(), (Shape{1, 5}));
}

TEST_F(Saving, ResizeTokenEmbeddings) {
  BertForMaskedLM model = BertForMaskedLM::from_pretrained(kBert);
  const int64_t old_rows = model.config().vocab_size;
  const ModelInputs inputs = make_inputs({{5, 6, 7}});
  const ModelOutput before = model(inputs);
  model.resize_token_embeddings(old_rows + 3, /*pad_to_multiple_of=*/8);
  const int64_t rows = (old_rows + 3 + 7) / 8 * 8;
  EXPECT_EQ(model.config().vocab_size, rows);
  const ModelOutput after = model(inputs);
  ASSERT_EQ(after.logits.shape(), (Shape{1, 3, rows}));
  // Old tokens as before, bit for bit; new ones are scored by the mean of all rows.
  for (int64_t s = 0; s < 3; s++) {
    double mean = 0;
    for (int64_t v = 0; v < old_rows; v++) {
      EXPECT_EQ(after.logits.data<float>()[s * rows + v], before.logits.data<float>()[s * old_rows + v]);
      mean += double(before.logits.data<float>()[s * old_rows + v]) / double(old_rows);
    }
    for (int64_t v = old_rows; v < rows; v++) EXPECT_NEAR(after.logits.data<float>()[s * rows + v], mean, 1e-5);
  }
  EXPECT_NO_THROW(model(make_inputs({{rows - 1}})));
  model.save_pretrained(*this / "wider");
  const BertForMaskedLM loaded = BertForMaskedLM::from_pretrained(*this / "wider");
  EXPECT_TRUE(bytes_equal(loaded(inputs).logits, after.logits));
  EXPECT_TRUE(loaded.loading_info().missing_keys.empty());

  model.resize_token_embeddings(10);
  EXPECT_EQ(model(inputs).logits.shape(), (Shape{1, 3, 10}));
  EXPECT_THROW(model(make_inputs({{10}})), Error);
  EXPECT_THROW(model.resize_token_embeddings(0), Error);
  EXPECT_THROW(model.resize_token_embeddings(10, 0), Error);
  EXPECT_EQ(model.config().vocab_size, 10);

  const AnyModel distil = AutoModelForMaskedLM::from_pretrained(data_path("models/distilbert/mlm"));
  distil->resize_token_embeddings(200);
  EXPECT_EQ(distil(inputs).logits.size(2), 200);
  EXPECT_THROW(AutoModel::from_pretrained(data_path("models/vit/base"))->resize_token_embeddings(5), Error);
}

// Without a head a layer gives what it gives when that head's part of the output projection is 0.
void check_pruning(const std::string& source, const std::string& out_name, const ModelInputs& inputs, int64_t layer,
                   const std::set<int64_t>& heads, const std::string& scratch) {
  fs::copy(source, scratch, fs::copy_options::recursive);
  const AnyModel whole = AutoModel::from_pretrained(source);
  const int64_t all = whole->config().get("num_attention_heads").as_int(),
                head_dim = whole->config().get("hidden_size").as_int() / all;
  std::vector<std::pair<std::string, Tensor>> tensors;
  int zeroed = 0;
  for (const Parameter& p : whole->parameters()) {
    Tensor x = p.load().clone();
    if (p.name.ends_with(out_name + ".weight")) {
      zeroed++;
      for (int64_t row = 0; row < x.size(0); row++)
        for (int64_t head : heads) std::fill_n(x.data<float>() + row * x.size(1) + head * head_dim, head_dim, 0.0f);
    }
    tensors.emplace_back(p.saved_name, x);
  }
  ASSERT_EQ(zeroed, 1);
  fs::permissions(scratch + "/model.safetensors", fs::perms::owner_write, fs::perm_options::add);
  save_safetensors(scratch + "/model.safetensors", tensors);
  const ForwardOptions asked{.output_attentions = true};
  const ModelOutput want = AutoModel::from_pretrained(scratch)(inputs, asked);

  const AnyModel pruned = AutoModel::from_pretrained(source);
  const int64_t parameters = pruned->num_parameters();
  pruned->prune_heads({{layer, heads}});
  EXPECT_LT(pruned->num_parameters(), parameters);
  const ModelOutput got = pruned(inputs, asked);
  ASSERT_EQ(got.last_hidden_state.shape(), want.last_hidden_state.shape());
  for (int64_t i = 0; i < want.last_hidden_state.numel(); i++)
    ASSERT_NEAR(got.last_hidden_state.data<float>()[i], want.last_hidden_state.data<float>()[i], 2e-5);
  EXPECT_EQ(got.attentions[size_t(layer)].size(1), all - int64_t(heads.size()));

  const std::string saved = scratch + "_saved";
  pruned->save_pretrained(saved);
  const AnyModel loaded = AutoModel::from_pretrained(saved);
  EXPECT_TRUE(loaded->loading_info().missing_keys.empty());
  EXPECT_TRUE(bytes_equal(loaded(inputs).last_hidden_state, got.last_hidden_state));
}

TEST_F(Saving, PruneHeads) {
  check_pruning(kBert, "encoder.layer.1.attention.output.dense", read_inputs(kBert + "/reference.1.safetensors"), 1,
                {0, 2}, *this / "bert");
  const std::string distil = data_path("models/distilbert/base"), vit = data_path("models/vit/base");
  check_pruning(distil, "transformer.layer.0.attention.out_lin", read_inputs(distil + "/reference.0.safetensors"), 0,
                {1}, *this / "distilbert");
  check_pruning(vit, "layers.1.attention.o_proj", read_inputs(vit + "/reference.0.safetensors"), 1, {1}, *this / "vit");

  // Heads keep their numbers; what is gone stays gone.
  const AnyModel model = AutoModel::from_pretrained(kBert);
  model->prune_heads({{0, {1}}});
  model->prune_heads({{0, {1, 3}}, {1, {0}}});
  EXPECT_EQ(model->config().get("pruned_heads"), Json(Json::Object{{"0", Json::Array{1, 3}}, {"1", Json::Array{0}}}));
  const AnyModel once = AutoModel::from_pretrained(kBert);
  once->prune_heads({{0, {1, 3}}, {1, {0}}});
  expect_same_parameters(*model, *once);
  EXPECT_EQ(model->loading_info().unexpected_keys, AutoModel::from_pretrained(kBert)->loading_info().unexpected_keys);

  // Keys that mean nothing to the class, or not what they say, do no harm: "head_dim" is not BERT's, and a list of
  // pruned heads beside whole weights is ignored, as transformers 5 does.
  const AnyModel odd = AutoModel::from_config(BertConfig({{"vocab_size", 20},
                                                          {"hidden_size", 16},
                                                          {"num_hidden_layers", 1},
                                                          {"num_attention_heads", 4},
                                                          {"intermediate_size", 8},
                                                          {"head_dim", 8},
                                                          {"pruned_heads", Json::Object{{"0", Json::Array{1}}}}}));
  odd->prune_heads({{0, {2}}});
  const auto query =
      std::ranges::find_if(odd->parameters(), [](const Parameter& p) { return p.name.ends_with("query.weight"); });
  EXPECT_EQ(query->shape, (Shape{12, 16}));
  EXPECT_EQ(odd->config().get("pruned_heads"), Json(Json::Object{{"0", Json::Array{2}}}));
  const int64_t parameters = model->num_parameters();
  for (const auto& [layer, head] : std::vector<std::pair<int64_t, int64_t>>{{2, 0}, {-1, 0}, {0, 4}, {0, -1}})
    EXPECT_THROW(model->prune_heads({{layer, {head}}}), Error) << layer << " " << head;
  EXPECT_THROW(model->prune_heads({{0, {0, 2}}}), Error);  // would leave none
  EXPECT_EQ(model->num_parameters(), parameters);
}

TEST(ParseSize, UnitsOfTransformers) {
  EXPECT_EQ(parse_size("500MB"), 500'000'000u);
  EXPECT_EQ(parse_size("5GiB"), uint64_t(5) << 30);
  EXPECT_EQ(parse_size("12kb"), 12'000u);
  EXPECT_EQ(parse_size("77"), 77u);
  for (const char* bad : {"", "MB", "-5MB", "5TBs", "0", "99999999999GB", "1.5GB"})
    EXPECT_THROW(parse_size(bad), Error) << bad;
}

}  // namespace
}  // namespace caracal
