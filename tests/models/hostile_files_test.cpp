// Files made to break a reader, of every kind that caracal reads: each gets the verdict that
// tools/make_hostile_files.py gave it, soon and in little memory.
#include <set>

#include <caracal/loaders/checkpoint.h>
#include <caracal/models/image_processing_auto.h>
#include <caracal/models/processing_auto.h>
#include <caracal/models/tokenization_auto.h>
#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>
#include <caracal/tests/resources.h>
#include <caracal/tests/sanitized.h>
#ifdef CARACAL_HAS_MEDIA
#include <caracal/loaders/audio.h>
#include <caracal/loaders/image.h>
#endif

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::string from_base64(const std::string& text) {
  std::string result;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    if (c == '=') break;
    const size_t value = std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
    bits = bits << 6 | uint32_t(value);
    if ((count += 6) >= 8) result += char(bits >> (count -= 8));
  }
  return result;
}

std::string content_of(const Json& pieces) {
  std::string content;
  for (const Json& piece : pieces.as_array()) {
    const Json *bytes = piece.find("base64"), *times = piece.find("times");
    const std::string part = piece.is_string()  ? piece.as_string()
                             : bytes != nullptr ? from_base64(bytes->as_string())
                                                : piece.at("repeat").as_string();
    for (int64_t i = 0; i < (times != nullptr ? times->as_int() : 1); i++) content += part;
  }
  return content;
}

// The directory of a case: where its link "@" leads, if it has one.
std::string lay_out(const Json& one, const std::string& root) {
  for (const auto& [path, pieces] : one.at("files").as_object()) {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    std::ofstream(root + "/" + path, std::ios::binary) << content_of(pieces);
  }
  for (const auto& [path, target] : one.at("links").as_object()) {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    fs::create_symlink(target.as_string(), root + "/" + path);
  }
  return one.at("links").contains("@") ? root + "/@" : root;
}

class Readers {
 public:
  // Reads what a case of this kind is about; false where the kind is not built.
  bool read(const std::string& kind, const std::string& directory, Access access) {
    if (kind == "safetensors") {
      const SafetensorsFile file = SafetensorsFile::open(directory + "/x.safetensors", access);
      for (const TensorInfo& info : file.tensors()) file.tensor(info).clone();
    } else if (kind == "weights") {
      const Checkpoint checkpoint = Checkpoint::open(directory, {.access = access});
      for (const std::string& name : checkpoint.names()) checkpoint.tensor(name).clone();
    } else if (kind == "model") {
      if (!fs::exists(directory + "/model.safetensors"))
        fs::create_symlink(data_path("models/bert/base/model.safetensors"), directory + "/model.safetensors");
      const AnyModel model = AutoModel::from_pretrained(directory, {.access = access, .runtime = runtime});
      model(make_inputs({{1, 2, 3}}));
    } else if (kind == "tokenizer") {
      const auto tokenizer = AutoTokenizer::from_pretrained(directory);
      tokenizer({"a b " + std::string(1000, 'a')});
      logged = tokenizer.warnings();
    } else if (kind == "image_processor") {
      (*AutoImageProcessor::from_pretrained(directory))(Tensor::zeros({5, 4, 3}, DType::U8));
    } else if (kind == "feature_extractor") {
      AutoFeatureExtractor::from_pretrained(directory)(std::vector<Tensor>{Tensor::zeros({50})}, {});
    } else {
#ifdef CARACAL_HAS_MEDIA
      if (kind == "image") return load_image(directory + "/x"), true;
      if (kind == "audio") return load_audio(directory + "/x", 16'000), true;
#endif
      return false;
    }
    return true;
  }

  std::vector<std::string> logged;

 private:
  std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(
      RuntimeOptions{.threads = 1, .log = [this](LogLevel, const std::string& text) { logged.push_back(text); }});
};

const std::map<std::string, ErrorCode> kCodes = {{"invalid_argument", ErrorCode::invalid_argument},
                                                 {"not_found", ErrorCode::not_found},
                                                 {"io", ErrorCode::io},
                                                 {"bad_file", ErrorCode::bad_file},
                                                 {"unsupported", ErrorCode::unsupported}};

TEST(HostileFiles, EachGetsItsVerdict) {
  Readers readers;
  std::set<std::string> kinds;
  int cases = 0;
  std::ifstream lines(data_path("hostile/files.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const Json one = Json::parse(line, "files.jsonl");
    const std::string kind = one.at("kind").as_string(), code = one.at("code").as_string();
    SCOPED_TRACE(kind + ": " + one.at("name").as_string());
    const TemporaryDirectory root;
    const std::string directory = lay_out(one, root.path);
    for (Access access : {Access::map, Access::read}) {
      readers.logged.clear();
      forget_peak_memory();
      const double begin = cpu_seconds(), memory = process_status("VmRSS"), space = process_status("VmPeak");
      std::string got = "ok", text;
      try {
        if (!readers.read(kind, directory, access)) break;  // images and sound, where they are not built
        for (const std::string& each : readers.logged) text += each + "\n";
      } catch (const Error& error) {
        got = "another code";
        for (const auto& [name, value] : kCodes)
          if (value == error.code()) got = name;
        text = error.what();
      } catch (const std::exception& error) {
        got = std::string("not an Error but ") + error.what();
      }
      const double seconds = cpu_seconds() - begin, peak = process_status("VmHWM") - memory,
                   more_space = process_status("VmPeak") - space;
      EXPECT_EQ(got, code) << text;
      for (const Json& part : one.at("parts").as_array())
        EXPECT_NE(text.find(part.as_string()), text.npos) << text << "\n  lacks: " << part.as_string();
      EXPECT_LT(text.size(), 3000u);
#ifndef CARACAL_SANITIZED
      EXPECT_LT(seconds, 0.5) << text;
      EXPECT_LT(peak, 100) << text;
      EXPECT_LT(more_space, 200) << text;  // memory that is asked for and not touched
#else
      (void)seconds, (void)peak, (void)more_space;
#endif
      kinds.insert(kind);
    }
    cases++;
  }
  EXPECT_GE(cases, 396);  // as README.md says
  EXPECT_GE(kinds.size(), 6u);
}

}  // namespace
}  // namespace caracal
