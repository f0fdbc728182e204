// pipeline(): from a task and a checkpoint to something that answers.
//
//   auto classify = pipeline("text-classification", dir);
//   Json answer = (*classify)("play something by Nina Simone");          // [{"label": "play_music", "score": 0.9997}]
//   auto read = pipeline("automatic-speech-recognition", dir, {.files = media_files()});   // pipelines/media.h
//   Json text = (*read)("speech.flac", {{"return_timestamps", "word"}});
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <caracal/models/pipelines/base.h>

namespace caracal {

struct PipelineOptions {
  LoadOptions load = {};
  PipelineFiles files = {};  // for tasks on images, sound and pages; not needed where decoded inputs are given
};

/// The pipeline of a task for a checkpoint directory, with its tokenizer or processor. An empty task is the one that
/// the checkpoint was made for: pipeline_task(model). "sentiment-analysis" and "ner" are other names, as in
/// transformers; for LayoutLMv2 token-classification and question-answering are those of documents. Throws unsupported
/// for an unknown task or a checkpoint without the task's head (transformers would draw one at random),
/// invalid_argument for labels that are not numbered from 0, and what loading throws.
std::unique_ptr<Pipeline> pipeline(const std::string& task, const std::string& model,
                                   const PipelineOptions& options = {});

/// The task of a checkpoint: that of config.json's architectures; sentence-similarity for a sentence-transformers
/// directory. Throws unsupported when there is none.
std::string pipeline_task(const std::string& model);

/// The names of all tasks.
std::vector<std::string> pipeline_tasks();

}  // namespace caracal
