// Every output, hidden state, attention and cache of real transformers, for the checkpoints in tests/data/models
// (tools/make_goldens.py) and the trained ones in tests/data/trained. Runs once per instruction-set tier.
#include <unistd.h>

#include <cstdlib>
#include <set>

#include <caracal/models/parity.h>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> strings(const Json& list) {
  std::vector<std::string> result;
  for (const Json& each : list.as_array()) result.push_back(each.as_string());
  return result;
}

std::vector<MismatchedKey> mismatched_keys(const Json& list) {
  auto dims = [](const Json& shape) {
    std::vector<int64_t> result;
    for (const Json& dim : shape.as_array()) result.push_back(dim.as_int());
    return result;
  };
  std::vector<MismatchedKey> result;
  for (const Json& row : list.as_array()) {
    const std::vector<int64_t> model = dims(row.as_array()[2]);
    result.push_back({row.as_array()[0].as_string(), dims(row.as_array()[1]), Shape(std::span<const int64_t>(model))});
  }
  return result;
}

std::string goldens_dtype() {
  const char* dtype = std::getenv("CARACAL_GOLDENS_DTYPE");
  return dtype != nullptr && *dtype != 0 ? dtype : "auto";
}

void check(const fs::path& directory, const fs::path& reference, const std::shared_ptr<Runtime>& runtime) {
  SCOPED_TRACE(directory.filename().string() + " " + reference.filename().string());
  const std::string dtype = goldens_dtype();
  const bool tf32 = dtype == "tf32";
  const ParityReport report =
      check_parity(directory, reference, {.dtype = tf32 ? "float32" : dtype, .runtime = runtime});
  // On a device 16-bit checkpoints are computed in 16 bits; transformers itself is then as far off (bfloat16, audio of
  // the large geometry: 0.06). Codes that are the largest of rounded scores may be others.
  const bool bfloat16 = report.dtype == "bfloat16";
  // TF32 rounds operands to float16's mantissa, but nothing between products: 0.003 at most, and 0.0101 after the seven
  // convolutions of audio's large geometry.
  const double narrow = runtime->cuda() == nullptr  ? 0
                        : bfloat16                  ? 6e-2
                        : tf32                      ? 2e-2
                        : report.dtype == "float16" ? 2e-2
                                                    : 0;
  for (const ParityRow& row : report.rows) {
    const bool of_codes = row.name == "projected_quantized_states" || row.name == "codevector_perplexity";
    EXPECT_TRUE(row.within || row.relative <= narrow ||
                (bfloat16 && narrow > 0 && of_codes && std::isfinite(row.worst)))
        << row.name << " differs by " << row.worst << " · max(1, |reference|), " << row.relative << " of its magnitude";
  }

  const SafetensorsFile file = SafetensorsFile::open(reference);
  const Metadata& metadata = file.metadata();
  EXPECT_EQ(report.class_name, metadata.at("class"));
  const Json info = Json::parse(metadata.at("loading_info"), reference.string());
  EXPECT_EQ(report.loading_info.missing_keys, strings(info.at("missing_keys")));
  EXPECT_EQ(report.loading_info.unexpected_keys, strings(info.at("unexpected_keys")));
  EXPECT_EQ(report.loading_info.mismatched_keys, mismatched_keys(info.at("mismatched_keys")));
  size_t outputs = 0;
  for (const TensorInfo& tensor : file.tensors()) outputs += !tensor.name.starts_with("inputs.");
  EXPECT_EQ(report.rows.size(), outputs);
}

// With CARACAL_GOLDENS_DTYPE in that dtype (for devices, which compute in 16 bits, or in tf32); with
// CARACAL_GOLDENS_STEP=n every n-th of the references, for devices that are slow.
void check_folder(const std::string& name, int least_cases) {
  const char* step = std::getenv("CARACAL_GOLDENS_STEP");
  const int every = step != nullptr ? std::atoi(step) : 1;
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2, .tf32 = goldens_dtype() == "tf32"});
  int cases = 0, all = 0;
  std::set<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(data_path(name))) folders.insert(entry.path());
  for (const fs::path& folder : folders) {
    int references = 0;
    std::set<fs::path> files;
    for (const auto& file : fs::directory_iterator(folder)) files.insert(file.path());
    for (const fs::path& file : files)
      if (file.filename().string().starts_with("reference.")) {
        if (all++ % every == 0) check(folder, file, runtime);
        references++;
      }
    EXPECT_GT(references, 0) << folder;
    cases++;
  }
  EXPECT_GE(cases, least_cases);
}

TEST(Goldens, Bert) { check_folder("models/bert", 70); }
TEST(Goldens, DistilBert) { check_folder("models/distilbert", 30); }
TEST(Goldens, ViT) { check_folder("models/vit", 40); }
TEST(Goldens, LayoutLMv2) { check_folder("models/layoutlmv2", 34); }

TEST(Goldens, Wav2Vec2) { check_folder("models/wav2vec2", 50); }
TEST(Goldens, Trained) { check_folder("trained", 5); }

TEST(Goldens, RunTheForcedTier) {
  const char* forced = std::getenv("CARACAL_ISA");
  const AnyModel model = tiny_bert(1);
  const bool native = model->runtime().cpu().backend == kernels::Backend::native;  // others have no tiers of their own
  const kernels::Isa best = native ? kernels::best_isa() : kernels::base_isa(kernels::best_isa());
  EXPECT_STREQ(model->runtime().isa(), forced != nullptr ? forced : kernels::isa_name(best));
}

// The judge itself: one wrong number, a wrong shape and a value at a masked position are all seen.
TEST(Parity, SeesWhatDiffers) {
  const std::string directory = data_path("models/bert/base"),
                    copy = testing::TempDir() + "parity_" + std::to_string(::getpid()) + ".safetensors";
  const SafetensorsFile file = SafetensorsFile::open(directory + "/reference.1.safetensors");
  auto with = [&](const std::string& name, auto change) {
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (const TensorInfo& info : file.tensors()) {
      tensors.emplace_back(info.name, file.tensor(info).clone());
      if (info.name == name) change(tensors.back().second);
    }
    save_safetensors(copy, tensors, file.metadata());
    return check_parity(directory, copy);
  };
  EXPECT_EQ(with("", [](Tensor&) {}).first_diverging(), nullptr);
  const ParityReport number = with("hidden_states.1", [](Tensor& x) { x.data<float>()[5] += 1e-3f; });
  ASSERT_NE(number.first_diverging(), nullptr);
  EXPECT_EQ(number.first_diverging()->name, "hidden_states.1");
  EXPECT_NEAR(number.first_diverging()->worst, 1e-3, 1e-3);
  EXPECT_NEAR(number.first_diverging()->relative, 1e-3 / 4, 1e-3 / 4);  // numbers up to 4
  EXPECT_EQ(number.worst()->name, "hidden_states.1");
  const ParityReport nan = with("pooler_output", [](Tensor& x) { x.data<float>()[0] = NAN; });
  EXPECT_EQ(nan.first_diverging()->name, "pooler_output");
  EXPECT_EQ(nan.first_diverging()->relative, INFINITY);
  const ParityReport shape = with("attentions.0", [](Tensor& x) { x = x.reshape({x.numel()}); });
  EXPECT_EQ(shape.first_diverging()->name, "attentions.0");
  const ParityReport several = with("attentions.1", [](Tensor& x) { x.data<float>()[0] += 1; });
  EXPECT_EQ(several.first_diverging()->name, "attentions.1");
  std::remove(copy.c_str());
}

TEST(AutoModel, GivesWhatTheConcreteClassGives) {
  const std::string directory = data_path("models/bert/base");
  const ModelInputs inputs = read_inputs(directory + "/reference.0.safetensors");
  const ModelOutput a = BertModel::from_pretrained(directory)(inputs),
                    b = AutoModel::from_pretrained(directory)(inputs);
  EXPECT_TRUE(bytes_equal(a.last_hidden_state, b.last_hidden_state));
  EXPECT_TRUE(bytes_equal(a.pooler_output, b.pooler_output));
  EXPECT_TRUE(a.hidden_states.empty() && a.attentions.empty());
}

}  // namespace
}  // namespace caracal
