// Every number of every architecture's config.json replaced by what it cannot be, beside the weights that it had: an
// Error, or a model that runs, soon and in little memory.
#include <caracal/tests/resources.h>
#include <caracal/tests/sanitized.h>
#include <caracal/tests/small_inputs.h>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

// A small checkpoint per model_type.
const std::map<std::string, std::string> kCheckpoints = {{"bert", "bert/base"},
                                                         {"distilbert", "distilbert/base"},
                                                         {"layoutlmv2", "layoutlmv2/base"},
                                                         {"vit", "vit/base"},
                                                         {"wav2vec2", "wav2vec2/adapter"}};

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

// Calls f(changed, what) for `whole` with each of its integers, at any depth, replaced by each bad value.
void for_each_change(const Json& whole, Json& part, const std::string& path,
                     const std::function<void(const Json&, const std::string&)>& f) {
  if (part.is_integer()) {
    const Json before = part;
    for (const Json& value : bad_values()) {
      part = value;
      f(whole, path + " = " + value.dump());
    }
    part = before;
  } else if (part.is_array()) {
    for (size_t i = 0; i < part.as_array().size(); i++)
      for_each_change(whole, part.as_array()[i], path + "[" + std::to_string(i) + "]", f);
    if (part.as_array().size() > 0 && part.as_array()[0].is_integer()) {
      const Json before = part;
      for (const Json& value : {Json(Json::Array{}), Json(Json::Array(1000, 1)), Json(7)}) {
        part = value;
        f(whole, path + " = " + value.dump().substr(0, 20));
      }
      part = before;
    }
  } else if (part.is_object()) {
    for (auto& [key, value] : part.as_object()) for_each_change(whole, value, path + "." + key, f);
  }
}

// Sanitizers take their time: the first is enough for them.
#ifdef CARACAL_SANITIZED
constexpr bool kIgnoreSizes[] = {true};
#else
constexpr bool kIgnoreSizes[] = {true, false};
#endif

TEST(HostileConfig, EveryIntegerOfEveryArchitecture) {
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1});
  const ModelInputs inputs = small_inputs();
  const TemporaryDirectory directory;
  int changes = 0, errors = 0;
  double slowest = 0, largest = 0;
  for (const std::string& model_type : registered()) {
    ASSERT_TRUE(kCheckpoints.contains(model_type)) << "a new architecture needs a line in kCheckpoints: " << model_type;
    const std::string checkpoint = data_path("models/" + kCheckpoints.at(model_type));
    std::error_code ignored;
    fs::remove(directory / "model.safetensors", ignored);
    fs::create_symlink(checkpoint + "/model.safetensors", directory / "model.safetensors");
    // All attributes, those that the file leaves out too.
    Json config = AutoConfig::from_pretrained(checkpoint)->to_dict();
    for (const char* key : {"_name_or_path", "transformers_version"}) config.erase(key);
    for (bool ignore_sizes : kIgnoreSizes)
      for_each_change(config, config, model_type, [&](const Json& changed, const std::string& what) {
        std::ofstream(directory / "config.json") << changed.dump();
        forget_peak_memory();
        const double begin = cpu_seconds();
        std::string text;
        try {
          const AnyModel model =
              AutoModel::from_pretrained(directory.path, {.ignore_mismatched_sizes = ignore_sizes, .runtime = runtime});
          try {
            model(inputs);
          } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << what << ": " << error.what();
          }
        } catch (const Error& error) {
          text = error.what();
          errors++;
          EXPECT_TRUE(error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::bad_file ||
                      error.code() == ErrorCode::unsupported)
              << what << ": " << error.what();
        } catch (const std::exception& error) {
          ADD_FAILURE() << what << ": not an Error but " << error.what();
        }
        changes++;
        const double seconds = cpu_seconds() - begin, memory = process_status("VmHWM");
        slowest = std::max(slowest, seconds);
        largest = std::max(largest, memory);
#ifndef CARACAL_SANITIZED
        EXPECT_LT(seconds, text.empty() ? 1 : 0.05) << what << ": " << text;
        EXPECT_LT(memory, 256) << what << ": " << text;
#endif
      });
  }
  EXPECT_GT(changes, 1300 * int(std::size(kIgnoreSizes)));
  EXPECT_GT(errors, 500);
  RecordProperty("changes", changes);
  RecordProperty("slowest_ms", std::to_string(slowest * 1000));
  RecordProperty("most_memory_mib", std::to_string(largest));
}

}  // namespace
}  // namespace caracal
