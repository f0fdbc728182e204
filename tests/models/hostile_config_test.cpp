// Every integer of every architecture's config.json replaced by what it cannot be, beside the weights that it had, for
// each class of model that may read it: an Error, or a model that runs, soon and in little memory.
#include <unistd.h>

#include <map>
#include <set>

#include <caracal/tests/resources.h>
#include <caracal/tests/sanitized.h>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

// The small checkpoints of a model_type: one for each class of model, so that whatever reads a number is built.
struct Subject {
  const char *auto_class, *checkpoint;
};
const std::map<std::string, std::vector<Subject>> kSubjects = {
    {"bert",
     {{"AutoModel", "bert/base"},
      {"AutoModelForPreTraining", "bert/pretraining"},
      {"AutoModelForCausalLM", "bert/lm_causal"},
      {"AutoModelForMaskedLM", "bert/mlm"},
      {"AutoModelForNextSentencePrediction", "bert/nsp"},
      {"AutoModelForSequenceClassification", "bert/sequence_2"},
      {"AutoModelForMultipleChoice", "bert/multiple_choice"},
      {"AutoModelForTokenClassification", "bert/token"},
      {"AutoModelForQuestionAnswering", "bert/question_answering"}}},
    {"distilbert",
     {{"AutoModel", "distilbert/base"},
      {"AutoModelForMaskedLM", "distilbert/mlm"},
      {"AutoModelForSequenceClassification", "distilbert/sequence_3"},
      {"AutoModelForMultipleChoice", "distilbert/multiple_choice"},
      {"AutoModelForTokenClassification", "distilbert/token"},
      {"AutoModelForQuestionAnswering", "distilbert/question_answering"}}},
    {"layoutlmv2",
     {{"AutoModel", "layoutlmv2/base"},
      {"AutoModelForSequenceClassification", "layoutlmv2/sequence"},
      {"AutoModelForTokenClassification", "layoutlmv2/token"},
      {"AutoModelForQuestionAnswering", "layoutlmv2/question"}}},
    {"vit",
     {{"AutoModel", "vit/base"},
      {"AutoModelForImageClassification", "vit/image_classification"},
      {"AutoModelForMaskedImageModeling", "vit/masked_image"}}},
    {"wav2vec2",
     {{"AutoModel", "wav2vec2/adapter"},
      {"AutoModel", "wav2vec2/attention_adapter"},
      {"AutoModelForPreTraining", "wav2vec2/pretraining"},
      {"AutoModelForCTC", "wav2vec2/ctc"},
      {"AutoModelForAudioClassification", "wav2vec2/sequence"},
      {"AutoModelForAudioFrameClassification", "wav2vec2/frames"},
      {"AutoModelForAudioXVector", "wav2vec2/xvector"}}}};

// Integers that no model reads: they are for training, for text that is generated, or say how a call is cut up.
const std::set<std::string> kUnread = {
    "bos_token_id", "chunk_size_feed_forward", "eos_token_id", "label2id", "mask_feature_length",
    "mask_feature_min_masks", "mask_time_length", "mask_time_min_masks", "num_negatives", "pad_token_id",
    // of detectron2's detector, of which LayoutLMv2 has the backbone
    "ANCHOR_GENERATOR.SIZES", "RESNETS.SIZES", "ROI_BOX_HEAD.NUM_FC", "ROI_BOX_HEAD.POOLER_RESOLUTION",
    "ROI_HEADS.NUM_CLASSES", "ROI_MASK_HEAD.NUM_CONV", "ROI_MASK_HEAD.POOLER_RESOLUTION", "POST_NMS_TOPK_TEST",
    "RPN.POST_NMS_TOPK_TRAIN", "RPN.PRE_NMS_TOPK_TEST", "RPN.PRE_NMS_TOPK_TRAIN"};
// The attribute in "wav2vec2.tdnn_dim[3] = 7", or in detectron2's settings.
std::string attribute_of(const std::string& what) {
  std::string name = what.substr(what.find('.') + 1);
  name = name.substr(0, name.find_first_of("[ "));
  const std::string settings = "detectron2_config_args.MODEL.";
  if (name.starts_with(settings)) return name.substr(settings.size());
  return name.starts_with("label2id.") ? "label2id" : name;
}

// The registered model_types, from the message that lists them.
std::vector<std::string> registered() {
  std::string text = message_of([] { find_config("none of them"); });
  text = text.substr(text.find("among ") + 6);
  text = text.substr(0, text.find(" but got"));
  std::vector<std::string> names;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(", ", begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 2;
  }
  return names;
}

const std::vector<Json>& bad_values() {
  static const std::vector<Json> values = {
      -1,  0,       1,           int64_t(1) << 31, 1'000'000'000, INT64_MAX, Json::big_integer("9223372036854775808"),
      "x", nullptr, std::nan("")};
  return values;
}

// Calls f(changed, what, whether it is an integer still) for `whole` with each of its integers, at any depth, replaced
// by each bad value.
void for_each_change(const Json& whole, Json& part, const std::string& path,
                     const std::function<void(const Json&, const std::string&, bool)>& f) {
  if (part.is_integer()) {
    const Json before = part;
    for (const Json& value : bad_values()) {
      part = value;
      f(whole, path + " = " + value.dump(), value.is_integer());
    }
    part = before;
  } else if (part.is_array()) {
    for (size_t i = 0; i < part.as_array().size(); i++)
      for_each_change(whole, part.as_array()[i], path + "[" + std::to_string(i) + "]", f);
    if (part.as_array().size() > 0 && part.as_array()[0].is_integer()) {
      const Json before = part;
      for (const Json& value : {Json(Json::Array{}), Json(Json::Array(1000, 1)), Json(7)}) {
        part = value;
        f(whole, path + " = " + value.dump().substr(0, 20), false);
      }
      part = before;
    }
  } else if (part.is_object()) {
    for (auto& [key, value] : part.as_object()) for_each_change(whole, value, path + "." + key, f);
  }
}

// Sanitizers take their time: the first is enough for them, and one class of model that reads an attribute.
#ifdef CARACAL_SANITIZED
constexpr bool kIgnoreSizes[] = {true}, kEveryReader = false;
#else
constexpr bool kIgnoreSizes[] = {true, false}, kEveryReader = true;
#endif

// The classes of models that an Auto class makes of this configuration, but those of `subjects`.
std::set<std::string> others_than(const std::vector<Subject>& subjects, const PretrainedConfig& config) {
  std::set<std::string> names;
  const auto add = [&](const char* auto_class) {
    try {
      names.insert(find_model(auto_class, config).class_name);
    } catch (const Error&) {  // none
    }
  };
#define AUTO_CLASS(name) add(#name);
#include <caracal/models/auto_classes.def>
#undef AUTO_CLASS
  for (const Subject& subject : subjects) names.erase(find_model(subject.auto_class, config).class_name);
  return names;
}

// Names and shapes of what a model gives, or what is wrong with the call.
std::string outcome_of(const AnyModel& model, const ModelInputs& inputs) {
  std::string text;
  try {
    const ModelOutput output = model(inputs);
    for (const auto& [name, tensor] : output.named()) text += name + tensor.shape().str();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    text = error.what();
  }
  return text;
}

class HostileConfig : public testing::Test {
 protected:
  static void SetUpTestSuite() {  // a file that is written again and again waits for the disk
    if (::access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
  }
  // What became of a changed configuration: outcome_of, or the error of loading.
  std::string load_and_run(const Subject& subject, const ModelInputs& inputs, bool ignore_sizes,
                           const std::string& what) {
    forget_peak_memory();
    const double begin = cpu_seconds();
    std::string outcome;
    bool loaded = false;
    try {
      const AnyModel model = load_auto_model(subject.auto_class, directory.path,
                                             {.ignore_mismatched_sizes = ignore_sizes, .runtime = runtime});
      loaded = true;
      outcome = outcome_of(model, inputs);
    } catch (const Error& error) {
      outcome = error.what();
      EXPECT_TRUE(error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::bad_file ||
                  error.code() == ErrorCode::unsupported)
          << what << ": " << error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << what << ": not an Error but " << error.what();
    }
    changes++, errors += !loaded;
    const double seconds = cpu_seconds() - begin, memory = process_status("VmHWM");
    (loaded ? slowest_run : slowest_error) = std::max(loaded ? slowest_run : slowest_error, seconds);
    largest = std::max(largest, memory);
#ifndef CARACAL_SANITIZED
    EXPECT_LT(seconds, loaded ? kLongestRun : kLongestError) << what << ": " << outcome;
    EXPECT_LT(memory, 256) << what << ": " << outcome;
#endif
    return outcome;
  }

  // Of CPU time, in seconds. What loads may have drawn up to 64 MiB of weights, and runs with them.
  static constexpr double kLongestError = 0.05, kLongestRun = 0.25;
  const std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1});
  const TemporaryDirectory directory;
  int changes = 0, errors = 0;
  double slowest_error = 0, slowest_run = 0, largest = 0;
};

TEST_F(HostileConfig, EveryIntegerOfEveryArchitecture) {
  // Whether some model of the type did something else for another integer.
  std::map<std::string, std::map<std::string, bool>> read;
  for (const std::string& model_type : registered()) {
    ASSERT_TRUE(kSubjects.contains(model_type)) << "a new architecture needs lines in kSubjects: " << model_type;
    for (const Subject& subject : kSubjects.at(model_type)) {
      const std::string checkpoint = data_path("models/") + subject.checkpoint;
      SCOPED_TRACE(subject.checkpoint);
      std::error_code ignored;
      fs::remove(directory / "model.safetensors", ignored);
      fs::create_symlink(checkpoint + "/model.safetensors", directory / "model.safetensors");
      const auto whole = AutoConfig::from_pretrained(checkpoint);
      EXPECT_EQ(others_than(kSubjects.at(model_type), *whole), std::set<std::string>()) << "need lines in kSubjects";
      // All attributes, those that the file leaves out too.
      Json config = whole->to_dict();
      for (const char* key : {"_name_or_path", "transformers_version"}) config.erase(key);
      const ModelInputs inputs = read_inputs(checkpoint + "/reference.0.safetensors");
      const auto before = read[model_type];  // by the models above
      const auto with = [&](const Json& changed, bool ignore_sizes, const std::string& what) {
        std::ofstream(directory / "config.json") << changed.dump();
        return load_and_run(subject, inputs, ignore_sizes, what);
      };
      for (bool ignore_sizes : kIgnoreSizes) {
        const std::string usual = with(config, ignore_sizes, "the model's own");
        EXPECT_TRUE(usual.find("expected") == usual.npos) << usual;
        for_each_change(config, config, model_type, [&](const Json& changed, const std::string& what, bool is_integer) {
          const std::string attribute = attribute_of(what);
          if (const auto known = before.find(attribute); !kEveryReader && known != before.end() && known->second)
            return;
          const std::string outcome = with(changed, ignore_sizes, what);
          if (is_integer) read[model_type][attribute] |= outcome != usual;
        });
      }
    }
  }
  std::set<std::string> unread;
  for (const auto& [model_type, attributes] : read)
    for (const auto& [name, is_read] : attributes)
      if (!is_read) unread.insert(name);
  EXPECT_EQ(unread, kUnread);
  EXPECT_GE(changes, kEveryReader ? 16'000 : 4'000);  // as README.md says
  EXPECT_GT(errors, changes / 4);
  RecordProperty("changes", changes);
  RecordProperty("slowest_error_ms", std::to_string(slowest_error * 1000));
  RecordProperty("slowest_run_ms", std::to_string(slowest_run * 1000));
  RecordProperty("most_memory_mib", std::to_string(largest));
}

}  // namespace
}  // namespace caracal
