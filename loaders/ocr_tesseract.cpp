#include <caracal/loaders/ocr_tesseract.h>

#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>

#include <leptonica/allheaders.h>
#include <tesseract/baseapi.h>

#include <caracal/loaders/ocr_tesseract_config.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

[[noreturn]] void bad_variable(const std::string& name) {
  throw Error(ErrorCode::invalid_argument, "TesseractEngine: config",
              "expected a variable of Tesseract but got '" + name + "'");
}

std::unique_ptr<tesseract::TessBaseAPI> make_engine(const TesseractSetup& setup) {
  auto api = std::make_unique<tesseract::TessBaseAPI>();
  std::vector<std::string> names{"debug_file"}, values{"/dev/null"};  // nothing on stderr
  names.insert(names.end(), setup.names.begin(), setup.names.end());
  values.insert(values.end(), setup.values.begin(), setup.values.end());
  const char* data_dir = setup.data_dir.empty() ? nullptr : setup.data_dir.c_str();
  if (api->Init(data_dir, setup.lang.c_str(), tesseract::OcrEngineMode(setup.oem), nullptr, 0, &names, &values,
                false) != 0)
    throw Error(ErrorCode::not_found, "TesseractEngine",
                "expected trained data for '" + setup.lang + "' but Tesseract found none" +
                    (data_dir == nullptr ? "" : " in " + setup.data_dir) +
                    "; on Debian: apt-get install tesseract-ocr-eng");
  for (size_t i = 0; i < setup.names.size(); i++) {
    if (!api->SetVariable(setup.names[i].c_str(), setup.values[i].c_str())) bad_variable(setup.names[i]);
  }
  api->SetPageSegMode(tesseract::PageSegMode(setup.page_segmentation));
  return api;
}

// Columns of a TSV line: level, page, block, paragraph, line, word, left, top, width, height, confidence, text.
bool parse_line(std::string_view line, OcrWord& word) {
  constexpr int kColumns = 12;
  std::string_view columns[kColumns];
  for (int i = 0; i < kColumns; i++) {
    const size_t end = i == kColumns - 1 ? line.size() : line.find('\t');
    if (end == std::string_view::npos) return false;
    columns[i] = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  if (columns[0] != "5") return false;  // words
  int64_t* boxes[] = {&word.left, &word.top, &word.width, &word.height};
  for (int i = 0; i < 4; i++) {
    const std::string_view digits = columns[6 + i];
    std::from_chars(digits.data(), digits.data() + digits.size(), *boxes[i]);
  }
  word.confidence = std::strtof(std::string(columns[10]).c_str(), nullptr);
  word.text = columns[11];
  return true;
}

}  // namespace

class TesseractEngine::Pool {
 public:
  explicit Pool(TesseractOptions options) : options_(std::move(options)) {}
  const TesseractOptions& options() const { return options_; }

  std::unique_ptr<tesseract::TessBaseAPI> take(const TesseractSetup& setup) {
    {
      const std::lock_guard lock(mutex_);
      for (size_t i = 0; i < idle_.size(); i++) {
        if (idle_[i].first != setup) continue;
        auto api = std::move(idle_[i].second);
        idle_.erase(idle_.begin() + int64_t(i));
        return api;
      }
    }
    return make_engine(setup);
  }
  void give_back(TesseractSetup setup, std::unique_ptr<tesseract::TessBaseAPI> api) {
    const std::lock_guard lock(mutex_);
    if (options_.max_idle <= 0) return;
    if (idle_.size() >= size_t(options_.max_idle)) idle_.erase(idle_.begin());
    idle_.emplace_back(std::move(setup), std::move(api));
  }

 private:
  TesseractOptions options_;
  std::mutex mutex_;
  std::vector<std::pair<TesseractSetup, std::unique_ptr<tesseract::TessBaseAPI>>> idle_;
};

TesseractEngine::TesseractEngine(TesseractOptions options) : pool_(std::make_unique<Pool>(std::move(options))) {
  setMsgSeverity(L_SEVERITY_NONE);  // of leptonica, for the whole process: it would print
}
TesseractEngine::~TesseractEngine() = default;

std::vector<OcrWord> TesseractEngine::recognize(const Tensor& image, const OcrOptions& options) {
  constexpr int64_t kMaxSide = 32767;  // Tesseract's coordinates are 16 bits
  if (!image.defined() || image.rank() != 3 || image.dtype() != DType::U8 || (image.size(2) != 1 && image.size(2) != 3))
    throw Error(ErrorCode::invalid_argument, "TesseractEngine",
                "expected an image of shape (H, W, 1 or 3) U8 but got " +
                    (image.defined() ? image.shape().str() + " " + std::string(name_of(image.dtype()))
                                     : "an undefined tensor"));
  if (image.size(0) < 1 || image.size(1) < 1 || image.size(0) > kMaxSide || image.size(1) > kMaxSide)
    throw Error(ErrorCode::invalid_argument, "TesseractEngine",
                "expected sides of 1 to " + std::to_string(kMaxSide) + " pixels but got " + image.shape().str());
  TesseractSetup setup = parse_tesseract_setup(pool_->options(), options);
  std::unique_ptr<tesseract::TessBaseAPI> api = pool_->take(setup);
  const int width = int(image.size(1)), height = int(image.size(0)), channels = int(image.size(2));
  api->SetImage(image.data<uint8_t>(), width, height, channels, width * channels);
  if (api->Recognize(nullptr) != 0)
    throw Error(ErrorCode::internal, "TesseractEngine", "Tesseract could not read the page");
  const std::unique_ptr<char[]> tsv(api->GetTSVText(0));
  std::vector<OcrWord> words;
  std::string_view rest = tsv == nullptr ? "" : tsv.get();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    if (OcrWord word; parse_line(rest.substr(0, end), word)) words.push_back(std::move(word));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  api->Clear();
  api->ClearAdaptiveClassifier();
  pool_->give_back(std::move(setup), std::move(api));
  return words;
}

}  // namespace caracal
