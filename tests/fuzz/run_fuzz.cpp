// Any arguments to forward of small models of every architecture: an Error or outputs, and afterwards the model
// gives the bits that it gave before. The input is read as a list of choices: model, options, and for each argument
// whether it is there, its type, shape and values. A choice of 0 is what fits, so that little is needed to get far.
#include <cstring>

#include <caracal/models/auto.h>

#include "fuzzing.h"

namespace {

using namespace caracal;

class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  uint8_t byte() { return left_ == 0 ? 0 : (left_--, *data_++); }
  size_t left() const { return left_; }

 private:
  const uint8_t* data_;
  size_t left_;
};

struct Subject {
  AnyModel model;
  ModelInputs inputs;
  ForwardOptions options;
  ModelOutput expected;
};

struct Argument {
  const char* name;
  Tensor ModelInputs::*member;
};
constexpr Argument kArguments[] = {{"input_ids", &ModelInputs::input_ids},
                                   {"attention_mask", &ModelInputs::attention_mask},
                                   {"token_type_ids", &ModelInputs::token_type_ids},
                                   {"position_ids", &ModelInputs::position_ids},
                                   {"inputs_embeds", &ModelInputs::inputs_embeds},
                                   {"encoder_hidden_states", &ModelInputs::encoder_hidden_states},
                                   {"encoder_attention_mask", &ModelInputs::encoder_attention_mask},
                                   {"pixel_values", &ModelInputs::pixel_values},
                                   {"bool_masked_pos", &ModelInputs::bool_masked_pos},
                                   {"input_values", &ModelInputs::input_values},
                                   {"mask_time_indices", &ModelInputs::mask_time_indices},
                                   {"bbox", &ModelInputs::bbox},
                                   {"image", &ModelInputs::image}};

// Of each case its first reference file that has no cache, and what the model makes of it.
std::vector<Subject> load_all() {
  constexpr std::pair<const char*, const char*> kCases[] = {
      {"bert/base", "AutoModel"},
      {"bert/lm_cross", "AutoModelForCausalLM"},
      {"bert/multiple_choice", "AutoModelForMultipleChoice"},
      {"bert/chunked", "AutoModel"},
      {"distilbert/base", "AutoModel"},
      {"distilbert/mlm", "AutoModelForMaskedLM"},
      {"vit/mask_token", "AutoModel"},
      {"vit/masked_image", "AutoModelForMaskedImageModeling"},
      {"vit/interpolate", "AutoModel"},
      {"wav2vec2/group", "AutoModel"},
      {"wav2vec2/layer", "AutoModel"},
      {"wav2vec2/adapter", "AutoModel"},
      {"wav2vec2/pretraining", "AutoModelForPreTraining"},
      {"wav2vec2/xvector", "AutoModelForAudioXVector"},
      {"layoutlmv2/base", "AutoModel"},
      {"layoutlmv2/document_question", "AutoModelForQuestionAnswering"}};
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2});
  std::vector<Subject> all;
  for (const auto& [name, auto_class] : kCases) {
    const std::string directory = std::string(CARACAL_TEST_DATA "/models/") + name;
    AnyModel model = load_auto_model(
        auto_class, directory, {.runtime = runtime, .use_mask_token = std::strstr(name, "mask_token") != nullptr});
    ModelInputs inputs;
    const SafetensorsFile file = SafetensorsFile::open(directory + "/reference.0.safetensors");
    for (const TensorInfo& info : file.tensors())
      if (info.name.starts_with("inputs.")) inputs.set(info.name.substr(7), file.tensor(info).clone());
    const ForwardOptions options{.interpolate_pos_encoding = std::strstr(name, "interpolate") != nullptr};
    all.push_back({model, inputs, options, model(inputs, options)});
  }
  return all;
}

// A tensor like `fitting`, or of nothing like it.
Tensor choose(Choices& choices, const Tensor& fitting) {
  constexpr DType kTypes[] = {DType::I64, DType::F32, DType::BOOL, DType::U8,
                              DType::I32, DType::F16, DType::BF16, DType::F64};
  const uint8_t type = choices.byte(), rank = choices.byte();
  const Shape like = fitting.defined() ? fitting.shape() : Shape{1, 3};
  std::vector<int64_t> dims(like.begin(), like.end());
  if (rank % 8 != 0) dims.resize(rank % 8 - 1, 1);  // 0 to 6 dimensions
  int64_t count = 1;
  for (int64_t& dim : dims) {
    if (const uint8_t other = choices.byte(); other != 0) dim = other - 1;
    if (dim > 0 && count > 5000 / dim) dim = 1;  // small tensors find as much
    count *= dim;
  }
  const DType dtype =
      type == 0 ? (fitting.defined() ? fitting.dtype() : DType::I64) : kTypes[(type - 1) % std::size(kTypes)];
  const Tensor integers = Tensor::zeros(Shape(std::span<const int64_t>(dims)), DType::I64);
  if (fitting.defined() && integers.shape() == fitting.shape() && choices.byte() % 2 == 0) return fitting.to(dtype);
  Tensor values = integers;
  for (int64_t i = 0; i < values.numel(); i++) {
    int64_t value = choices.byte();
    if (value >= 250)
      value = std::array<int64_t, 6>{-1, INT64_MAX, INT64_MIN, 1LL << 31, 1001, 40}[size_t(value - 250)];
    values.data<int64_t>()[i] = value;
  }
  Tensor result = values.to(dtype);
  if (dtype == DType::F32 && result.numel() > 0) {  // NaN, infinities, denormal and huge numbers
    const uint8_t special = choices.byte();
    constexpr float kValues[] = {__builtin_nanf(""), __builtin_inff(), -__builtin_inff(), 1e-42f, 3e38f, -3e38f};
    if (special != 0) result.data<float>()[special % result.numel()] = kValues[special % std::size(kValues)];
  }
  return result;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Subject> subjects = load_all();
  Choices choices(data, size);
  const Subject& subject = subjects[choices.byte() % subjects.size()];
  const uint8_t options = choices.byte();
  ModelInputs inputs = subject.inputs;
  for (const Argument& argument : kArguments) {
    const uint8_t what = choices.byte() % 4;
    if (what == 1) inputs.*argument.member = {};
    if (what >= 2) inputs.*argument.member = choose(choices, inputs.*argument.member);
  }
  for (int layers = choices.byte() % 4; layers > 0; layers--) {
    const Tensor fitting = Tensor::zeros({1, 4, 2, 8});
    CacheLayer layer{choose(choices, fitting), choose(choices, fitting), {}, {}};
    if (choices.byte() % 2 == 1) layer.cross_keys = layer.keys, layer.cross_values = choose(choices, fitting);
    inputs.past_key_values.push_back(layer);
  }
  ForwardOptions forward{.output_hidden_states = (options & 1) != 0,
                         .output_attentions = (options & 2) != 0,
                         .interpolate_pos_encoding = (options & 4) != 0,
                         .per_utterance = (options & 8) != 0};
  if ((options & 16) != 0) forward.use_cache = (options & 32) != 0;
  try_to([&] { subject.model(inputs, forward); });
  const auto expected = subject.expected.named(), got = subject.model(subject.inputs, subject.options).named();
  if (expected.size() != got.size()) __builtin_trap();
  for (size_t i = 0; i < got.size(); i++)
    if (!same(expected[i].second, got[i].second)) __builtin_trap();
  return 0;
}
