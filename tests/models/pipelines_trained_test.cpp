// The trained checkpoints of tests/data/trained answer from files as transformers does (expected.json).
#ifdef CARACAL_HAS_MEDIA
#include <caracal/models/pipelines/media.h>
#endif
#ifdef CARACAL_HAS_OCR
#include <caracal/loaders/ocr_tesseract.h>
#endif

#include <map>
#include <mutex>

#include "pipelines_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

#ifdef CARACAL_HAS_OCR
// Tesseract, which takes its time, asked once about each page.
class RememberingEngine final : public OcrEngine {
 public:
  std::vector<OcrWord> recognize(const Tensor& image, const OcrOptions& options) override {
    const std::string key(static_cast<const char*>(image.raw()), image.nbytes());
    const std::lock_guard lock(mutex_);
    const auto [page, fresh] = pages_.try_emplace(key);
    if (fresh) page->second = engine_.recognize(image, options);
    return page->second;
  }

 private:
  TesseractEngine engine_;
  std::mutex mutex_;
  std::map<std::string, std::vector<OcrWord>> pages_;
};
#endif

PipelineFiles files() {
  PipelineFiles files;
#ifdef CARACAL_HAS_MEDIA
  files = media_files();
#endif
#ifdef CARACAL_HAS_OCR
  files.ocr = std::make_shared<RememberingEngine>();
#endif
  return files;
}

// Whether this build can read the row's inputs.
bool can_read(const Json& row) {
  const std::string& task = row.at("task").as_string();
  const bool page = task.starts_with("document"), known = row.at("inputs").as_array().at(0).contains("words");
  const bool file = page || task.starts_with("image") || task.starts_with("audio") || task.starts_with("automatic");
  return (!file || files().image) && (!page || known || files().ocr);
}

TEST(Pipelines, TrainedCheckpointsAnswerAsTransformers) {
  if (!fs::exists(data_path("trained"))) GTEST_SKIP() << "no trained checkpoints";
  int checkpoints = 0;
  for (const auto& folder : fs::directory_iterator(data_path("trained"))) {
    const std::string expected = folder.path() / "expected.json";
    if (!fs::exists(expected)) continue;
    const Json all = Json::parse_file(expected);
    Json::Array rows;
    for (const Json& row : all.as_array())
      if (can_read(row)) rows.push_back(row);
    expect_rows(folder.path(), rows, files());
    checkpoints++;
  }
  EXPECT_GT(checkpoints, 0);
}

}  // namespace
}  // namespace caracal
