// Models in bfloat16, float16 and int8. Runs on every tier.
#include <random>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDtypes[] = {"float32", "bfloat16", "float16", "int8"};

BertConfig small_config() {
  return BertConfig({{"vocab_size", 120},
                     {"hidden_size", 96},
                     {"num_hidden_layers", 3},
                     {"num_attention_heads", 4},
                     {"intermediate_size", 200},
                     {"max_position_embeddings", 64},
                     {"initializer_range", 0.1}});
}

std::shared_ptr<Runtime> runtime_of(int threads, const std::string& isa = "") {
  return std::make_shared<Runtime>(RuntimeOptions{.threads = threads, .isa = isa});
}

std::vector<std::vector<int64_t>> random_sentences(size_t count) {
  std::mt19937_64 random(5);
  std::vector<std::vector<int64_t>> rows(count);
  for (auto& row : rows) {
    row.resize(1 + random() % 40);
    for (int64_t& id : row) id = int64_t(random() % 120);
  }
  return rows;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); i++) {
    ab += double(a[i]) * double(b[i]);
    aa += double(a[i]) * double(a[i]);
    bb += double(b[i]) * double(b[i]);
  }
  return ab / std::sqrt(aa * bb);
}

// A sentence gives the same bytes alone and in a batch, on one thread and on three.
TEST(Dtypes, BatchMatesAndThreads) {
  for (const char* dtype : kDtypes) {
    const BertModel one(BertModel::from_config(small_config(), {.dtype = dtype, .runtime = runtime_of(1)})),
        three(BertModel::from_config(small_config(), {.dtype = dtype, .runtime = runtime_of(3)}));
    const auto sentences = random_sentences(24);
    const Tensor batch = three(make_inputs(sentences)).last_hidden_state;
    const int64_t length = batch.size(1), hidden = batch.size(2);
    for (size_t b = 0; b < sentences.size(); b++) {
      const Tensor alone = one(make_inputs({sentences[b]})).last_hidden_state;
      EXPECT_EQ(std::memcmp(batch.data<float>() + int64_t(b) * length * hidden, alone.raw(), alone.nbytes()), 0)
          << dtype << ", sentence " << b;
    }
  }
}

// Integers and fused multiply-adds are the same wherever there are vectors.
TEST(Dtypes, SameBytesOnEveryTier) {
  const char* forced = std::getenv("CARACAL_ISA");
  if (forced != nullptr && std::string(forced) == "scalar") GTEST_SKIP() << "scalar does not fuse";
  for (const char* dtype : kDtypes) {
    std::vector<Tensor> outputs;
    for (kernels::Isa isa : kernels::kIsas)
      if (kernels::isa_supported(isa) && isa != kernels::Isa::scalar)
        outputs.push_back(
            BertModel::from_config(small_config(), {.dtype = dtype, .runtime = runtime_of(2, kernels::isa_name(isa))})(
                make_inputs(random_sentences(9)))
                .last_hidden_state);
    for (const Tensor& output : outputs) EXPECT_TRUE(bytes_equal(output, outputs[0])) << dtype;
  }
}

// The outputs of the trained checkpoints, beside those in float32 (which goldens_test compares with PyTorch's).
TEST(Dtypes, TrainedCheckpointsStayClose) {
  struct Bound {
    const char* dtype;
    double cosine;
  };
  const std::pair<const char*, const char*> models[] = {{"bert-entities", "AutoModelForTokenClassification"},
                                                        {"distilbert-intents", "AutoModelForSequenceClassification"},
                                                        {"vit-digits", "AutoModelForImageClassification"}};
  for (const auto& [name, task] : models) {
    const std::string folder = data_path(std::string("trained/") + name);
    const ModelInputs inputs = read_inputs(folder + "/reference.0.safetensors");
    const Tensor want = load_auto_model(task, folder, {.dtype = "float32"})(inputs).logits;
    for (const auto& [dtype, least] : {Bound{"bfloat16", 0.9998}, {"float16", 0.999999}, {"int8", 0.999}}) {
      const Tensor got = load_auto_model(task, folder, {.dtype = dtype})(inputs).logits;
      EXPECT_GE(cosine(got.values<float>(), want.values<float>()), least) << name << ' ' << dtype;
      EXPECT_FALSE(bytes_equal(got, want)) << name << ' ' << dtype;
    }
  }
}

// What stays in float and what does not, and that a saved model is the same model: its bytes are not rounded again.
TEST(Dtypes, Int8IsSavedAndLoadedAsItIs) {
  const TemporaryDirectory folder;
  const BertForMaskedLM model = BertForMaskedLM::from_config(small_config(), {.dtype = "int8"});
  int matrices = 0;
  for (const Parameter& p : model.parameters()) {
    const bool matrix = p.name.find(".layer.") != p.name.npos && p.shape.rank() == 2 && p.name.ends_with(".weight");
    EXPECT_EQ(p.dtype, matrix ? DType::I8 : DType::F32) << p.name;
    matrices += matrix;
  }
  EXPECT_EQ(matrices, 3 * 6);
  const ModelInputs inputs = make_inputs(random_sentences(5));
  const Tensor want = model(inputs).logits;
  model.save_pretrained(folder / "int8");
  const SafetensorsFile file = SafetensorsFile::open(folder / "int8/model.safetensors");
  const std::string name = "bert.encoder.layer.1.output.dense.weight";
  EXPECT_EQ(file.find(name)->dtype, DType::I8);
  EXPECT_EQ(file.find(name + kScaleSuffix)->shape, (std::vector<int64_t>{96, 1}));
  for (const char* dtype : {"auto", "int8"}) {
    const BertForMaskedLM again = BertForMaskedLM::from_pretrained(folder / "int8", {.dtype = dtype});
    EXPECT_TRUE(again.loading_info().missing_keys.empty() && again.loading_info().unexpected_keys.empty());
    EXPECT_TRUE(bytes_equal(again(inputs).logits, want)) << dtype;
    again.save_pretrained(folder / "twice");
    EXPECT_EQ(slurp(folder / "twice/model.safetensors"), slurp(folder / "int8/model.safetensors"));
  }
  // The values differ by half a step at most.
  const BertForMaskedLM exact = BertForMaskedLM::from_config(small_config());
  EXPECT_GE(cosine(want.values<float>(), exact(inputs).logits.values<float>()), 0.999);
}

TEST(Dtypes, Int8ModelsCanBeChanged) {
  BertForMaskedLM model = BertForMaskedLM::from_config(small_config(), {.dtype = "int8"});
  const ModelInputs inputs = make_inputs(random_sentences(3));
  const Tensor before = model(inputs).logits;
  model.resize_token_embeddings(130);
  const Tensor after = model(inputs).logits;
  for (int64_t c = 0; c < 120; c++) EXPECT_EQ(before.data<float>()[c], after.data<float>()[c]) << c;
  model.prune_heads({{1, {0, 2}}});
  for (const Parameter& p : model.parameters())
    if (p.name == "bert.encoder.layer.1.attention.self.query.weight_rotated_scale") {
      EXPECT_EQ(p.shape, (Shape{48, 1}));
    }
  EXPECT_EQ(model(inputs).logits.shape(), after.shape());
}

// 16-bit checkpoints are kept as they are and multiplied in float32, so that auto loses nothing.
TEST(Dtypes, AutoIsExact) {
  const TemporaryDirectory folder;
  const ModelInputs inputs = make_inputs(random_sentences(5));
  for (const char* dtype : {"bfloat16", "float16"}) {
    BertModel::from_config(small_config(), {.dtype = dtype}).save_pretrained(folder / dtype);
    const BertModel kept = BertModel::from_pretrained(folder / dtype),
                    wide = BertModel::from_pretrained(folder / dtype, {.dtype = "float32"});
    EXPECT_EQ(kept.parameters()[0].dtype, *dtype_from_name(dtype));
    EXPECT_TRUE(bytes_equal(kept(inputs).last_hidden_state, wide(inputs).last_hidden_state)) << dtype;
  }
  const BertModel rounded = BertModel::from_pretrained(folder / "bfloat16", {.dtype = "bfloat16"}),
                  wide = BertModel::from_pretrained(folder / "bfloat16", {.dtype = "float32"});
  const Tensor a = rounded(inputs).last_hidden_state, b = wide(inputs).last_hidden_state;
  EXPECT_FALSE(bytes_equal(a, b)) << "activations were not rounded";
  EXPECT_GE(cosine(a.values<float>(), b.values<float>()), 0.9999);
}

// Files that say 8 bits and mean no good.
TEST(Dtypes, HostileScales) {
  const TemporaryDirectory folder;
  const std::string good = folder / "good", bad = folder / "bad";
  BertModel::from_config(small_config(), {.dtype = "int8"}).save_pretrained(good);
  const std::string name = "encoder.layer.0.output.dense.weight";
  auto with = [&](const std::string& changed, const Tensor& tensor) {
    fs::create_directories(bad);
    fs::copy_file(good + "/config.json", bad + "/config.json", fs::copy_options::overwrite_existing);
    const SafetensorsFile file = SafetensorsFile::open(good + "/model.safetensors");
    std::vector<TensorSource> tensors;
    for (const TensorInfo& info : file.tensors()) {
      const Tensor value = info.name != changed ? file.tensor(info) : tensor;
      if (value.defined()) tensors.push_back({info.name, value.dtype(), value.shape(), [value] { return value; }});
    }
    save_safetensors(bad + "/model.safetensors", tensors);
    return message_of([&] { BertModel::from_pretrained(bad); });
  };
  EXPECT_EQ(with("", {}), "no error");
  EXPECT_NE(with(name + kScaleSuffix, {}).find("weight_rotated_scale"), std::string::npos);
  EXPECT_NE(with(name + kScaleSuffix, Tensor::zeros({95, 1})).find("(96, 1) F32 but got (95, 1)"), std::string::npos);
  EXPECT_NE(with(name + kScaleSuffix, Tensor::zeros({96})).find("but got (96,)"), std::string::npos);
  EXPECT_NE(with(name + kScaleSuffix, Tensor::zeros({96, 1}, DType::I32)).find("I32"), std::string::npos);
  for (float scale : {-1.0f, NAN}) {
    Tensor scales = Tensor::zeros({96, 1});
    scales.data<float>()[5] = scale;
    EXPECT_NE(with(name + kScaleSuffix, scales).find("scales"), std::string::npos) << scale;
  }
  EXPECT_NE(with(name, Tensor::zeros({96, 199}, DType::I8)).find("(96, 200) I8"), std::string::npos);
  // Where no 8 bits are read.
  EXPECT_NE(with("embeddings.word_embeddings.weight", Tensor::zeros({120, 96}, DType::I8)).find("but got I8"),
            std::string::npos);
  // The ends of the range are numbers like others.
  Tensor ends = Tensor::zeros({96, 200}, DType::I8);
  for (int64_t i = 0; i < ends.numel(); i++) ends.data<int8_t>()[i] = i % 2 ? -128 : 127;
  EXPECT_EQ(with(name, ends), "no error");
}

}  // namespace
}  // namespace caracal
