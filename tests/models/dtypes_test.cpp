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

uint64_t checksum(const Tensor& x) {  // FNV-1a
  uint64_t h = 0xCBF29CE484222325;
  for (size_t i = 0; i < x.nbytes(); i++) h = (h ^ static_cast<const uint8_t*>(x.raw())[i]) * 0x100000001B3;
  return h;
}

// Integers and fused multiply-adds are the same wherever there are vectors, on this machine's tiers and on others'.
// Scalar code rounds products on their own, and is close.
TEST(Dtypes, SameBytesOnEveryTier) {
  struct Expected {
    const char* dtype;
    uint64_t checksum;  // of any vector tier's output; to be renewed when a change of the arithmetic is meant
    double cosine;      // of the scalar tier's output to it
  };
  constexpr Expected kExpected[] = {{"float32", 0x3f4833357ac5f953, 0.9999999},
                                    {"bfloat16", 0xaa62c9520b7522e0, 0.9999},
                                    {"float16", 0x8e126f2b1a0ac14, 0.9999999},
                                    {"int8", 0xca6ad8824af4c259, 0.9999}};
  const std::string best = kernels::isa_name(kernels::best_isa());
  if (best == "scalar") GTEST_SKIP() << "no vectors here";
  const char* forced = std::getenv("CARACAL_ISA");
  if (forced != nullptr && forced != best) GTEST_SKIP() << "all tiers are compared in the run of the best one";
  for (const auto& [dtype, expected, least] : kExpected) {
    auto output = [&, d = dtype](kernels::Isa isa) {
      const auto runtime = runtime_of(2, kernels::isa_name(isa));
      return BertModel::from_config(small_config(), {.dtype = d, .runtime = runtime})(make_inputs(random_sentences(9)))
          .last_hidden_state;
    };
    const Tensor scalar = output(kernels::Isa::scalar);
    for (kernels::Isa isa : kernels::kIsas) {
      if (!kernels::isa_supported(isa) || isa == kernels::Isa::scalar) continue;
      const Tensor got = output(isa);
      EXPECT_EQ(checksum(got), expected) << dtype << ' ' << kernels::isa_name(isa);
      EXPECT_GE(cosine(got.values<float>(), scalar.values<float>()), least) << dtype << ' ' << kernels::isa_name(isa);
    }
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

// Layers are known by their names, which differ from class to class.
TEST(Dtypes, EveryEncoderHasInt8) {
  for (const char* name : {"bert/base", "distilbert/base", "vit/base", "wav2vec2/base_geometry", "layoutlmv2/base"}) {
    const std::string path = data_path(std::string("models/") + name);
    const AnyModel model = load_auto_model("AutoModel", path, {.dtype = "int8"});
    EXPECT_GT(std::ranges::count(model->parameters(), DType::I8, &Parameter::dtype), 0) << name;
  }
}

// With a dtype of floats the bytes become the numbers that they stand for, under transformers' names.
TEST(Dtypes, Int8BecomesFloatOnRequest) {
  const TemporaryDirectory folder;
  const BertForMaskedLM exact = BertForMaskedLM::from_config(small_config()),
                        int8 = BertForMaskedLM::from_config(small_config(), {.dtype = "int8"});
  EXPECT_EQ(int8.num_parameters(), exact.num_parameters());
  int8.save_pretrained(folder / "int8");
  const ModelInputs inputs = make_inputs(random_sentences(5));
  for (const std::string dtype : {"float32", "bfloat16", "float16"}) {
    BertForMaskedLM model = BertForMaskedLM::from_pretrained(folder / "int8", {.dtype = dtype});
    EXPECT_TRUE(model.loading_info().missing_keys.empty() && model.loading_info().unexpected_keys.empty());
    EXPECT_EQ(model.num_parameters(), exact.num_parameters());
    ASSERT_EQ(model.parameters().size(), exact.parameters().size());
    for (size_t i = 0; i < exact.parameters().size(); i++) {
      const Parameter &got = model.parameters()[i], &want = exact.parameters()[i];
      EXPECT_EQ(got.name, want.name);
      EXPECT_EQ(got.saved_name, want.saved_name);
      EXPECT_EQ(got.dtype, *dtype_from_name(dtype)) << got.name;
      const Tensor a = got.load().to(DType::F32), b = want.load();
      ASSERT_EQ(a.shape(), b.shape());
      for (int64_t j = 0; j < a.numel(); j++)  // steps are of 1/127 of a row's largest number, of some 0.35
        ASSERT_NEAR(a.data<float>()[j], b.data<float>()[j], 0.01) << got.name;
    }
    const Tensor want = model(inputs).logits;
    EXPECT_GE(cosine(want.values<float>(), exact(inputs).logits.values<float>()), 0.999);
    model.save_pretrained(folder / dtype);
    const BertForMaskedLM again = BertForMaskedLM::from_pretrained(folder / dtype, {.dtype = dtype});
    EXPECT_TRUE(bytes_equal(again(inputs).logits, want)) << dtype;
    model.resize_token_embeddings(130);
    EXPECT_EQ(model.parameters()[0].dtype, *dtype_from_name(dtype));
  }
}

// transformers knows no such format: without a quant_method it refuses the model, with one it would warn and go on.
TEST(Dtypes, ConfigSaysThatItIsInt8) {
  const TemporaryDirectory folder;
  auto quantization = [&](const std::string& name) {
    const Json config = Json::parse(slurp(folder / (name + "/config.json")), name);
    const Json* found = config.find("quantization_config");
    return found != nullptr ? *found : Json();
  };
  BertModel::from_config(small_config(), {.dtype = "int8"}).save_pretrained(folder / "int8");
  EXPECT_EQ(quantization("int8"), (Json::Object{{"bits", 8}, {"format", "caracal_rotated_rows"}}));
  BertModel::from_pretrained(folder / "int8").save_pretrained(folder / "auto");
  EXPECT_EQ(quantization("auto"), quantization("int8"));
  BertModel::from_pretrained(folder / "int8", {.dtype = "float32"}).save_pretrained(folder / "float");
  EXPECT_TRUE(quantization("float").is_null());
  BertModel::from_pretrained(folder / "float", {.dtype = "int8"}).save_pretrained(folder / "again");
  EXPECT_EQ(quantization("again"), quantization("int8"));
}

// Such a model gives NaN everywhere, in floats too; in 8 bits there would be no way to say so.
TEST(Dtypes, Int8RefusesNumbersWithoutAScale) {
  const TemporaryDirectory folder;
  BertModel::from_config(small_config()).save_pretrained(folder / "good");
  const std::string name = "encoder.layer.1.output.dense.weight", bad = folder / "bad";
  fs::create_directories(bad);
  fs::copy_file(folder / "good/config.json", bad + "/config.json");
  for (float odd : {NAN, INFINITY, -INFINITY, 3e38f}) {
    const SafetensorsFile file = SafetensorsFile::open(folder / "good/model.safetensors");
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (const TensorInfo& info : file.tensors()) {
      tensors.emplace_back(info.name, file.tensor(info).clone());
      if (info.name == name) std::fill_n(tensors.back().second.data<float>() + 5 * 200 + 7, 20, odd);
    }
    save_safetensors(bad + "/model.safetensors", tensors);
    try {
      BertModel::from_pretrained(bad, {.dtype = "int8"});
      FAIL() << odd;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::bad_file);
      EXPECT_NE(std::string(e.what()).find("[" + name + "]"), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("row 5"), std::string::npos) << e.what();
    }
    BertModel::from_pretrained(bad);
  }
}

TEST(Dtypes, Int8MatricesOfAnotherSize) {
  const TemporaryDirectory folder;
  for (const char* dtype : {"float32", "int8"})
    BertModel::from_config(small_config(), {.dtype = dtype}).save_pretrained(folder / dtype);
  LoadOptions options{.config = {{"intermediate_size", 150}}};
  EXPECT_NE(message_of([&] { BertModel::from_pretrained(folder / "int8", options); }).find("ignore_mismatched_sizes"),
            std::string::npos);
  options.ignore_mismatched_sizes = true;
  const BertModel floats = BertModel::from_pretrained(folder / "float32", options);
  for (const char* dtype : {"auto", "int8", "float32"}) {
    options.dtype = dtype;
    const BertModel model = BertModel::from_pretrained(folder / "int8", options);
    EXPECT_EQ(model.loading_info().mismatched_keys, floats.loading_info().mismatched_keys);
    EXPECT_EQ(model.loading_info().mismatched_keys.size(), 9u);  // two weights and a bias in each layer
    EXPECT_TRUE(model.loading_info().unexpected_keys.empty()) << dtype;
    EXPECT_EQ(model.num_parameters(), floats.num_parameters());
    for (const Parameter& p : model.parameters())
      if (p.name.ends_with("intermediate.dense.weight")) {
        EXPECT_EQ(p.dtype, std::string(dtype) == "float32" ? DType::F32 : DType::I8);
        EXPECT_EQ(p.shape, (Shape{150, 96}));
      }
  }
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
  for (float scale : {-1.0f, NAN, INFINITY}) {
    Tensor scales = Tensor::zeros({96, 1});
    scales.data<float>()[5] = scale;
    EXPECT_NE(with(name + kScaleSuffix, scales).find("scales"), std::string::npos) << scale;
  }
  EXPECT_NE(with(name, Tensor::zeros({96, 199}, DType::I8)).find("(96, 200) but got (96, 199)"), std::string::npos);
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
