// The trained checkpoints of tests/data/trained answer from files as transformers does (expected.json).
#ifdef CARACAL_HAS_MEDIA
#include <caracal/models/pipelines/media.h>
#endif
#ifdef CARACAL_HAS_OCR
#include <caracal/loaders/ocr_tesseract.h>
#endif

#include "pipelines_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

PipelineFiles files() {
  PipelineFiles files;
#ifdef CARACAL_HAS_MEDIA
  files = media_files();
#endif
#ifdef CARACAL_HAS_OCR
  files.ocr = std::make_shared<TesseractEngine>();
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
    Json::Array rows;
    for (const Json& row : Json::parse_file(expected).as_array())
      if (can_read(row)) rows.push_back(row);
    expect_rows(folder.path(), rows, files());
    checkpoints++;
  }
  EXPECT_GT(checkpoints, 0);
}

}  // namespace
}  // namespace caracal
