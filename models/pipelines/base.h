// Pipeline: what all tasks share. Inputs in, results out, with pre-processing, batches of ragged rows and
// post-processing in between; pipeline.h makes one from a checkpoint.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <caracal/loaders/ocr.h>
#include <caracal/models/auto.h>
#include <caracal/models/image_processing_utils.h>
#include <caracal/models/pipelines/arguments.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// One input of a pipeline: fill in what its task takes and leave out the rest.
struct PipelineInput {
  std::string text = {};                // the text; the question, prompt or source sentence where there is more
  std::string text_pair = {};           // text-classification: a second text; question-answering: the context
  std::vector<std::string> texts = {};  // multiple-choice: the choices; sentence-similarity: the sentences
  std::string file = {};      // of an image or sound, for tasks that take one; `text` serves too unless it is used
  Tensor image = {};          // in place of a file: (H, W, 3) U8, upright
  Tensor audio = {};          // in place of a file: (N) F32, mono
  int64_t sampling_rate = 0;  // of audio, in Hz; 0: the model's. Another one is resampled
  // automatic-speech-recognition: how many of the first and of the last samples of audio only serve as context.
  std::array<int64_t, 2> stride = {0, 0};
  std::vector<std::string> words = {};  // a page's words, in place of OCR; token-classification: a text cut into words
  std::vector<BatchFeature::Box> boxes = {};  // their boxes, in thousandths of the page
};

/// An input as transformers' pipelines take it from Python: a string is the text (or the file), an object has the keys
/// text, text_pair, question, context, prompt, choices, source_sentence, sentences, image, audio, words, boxes,
/// word_boxes; or raw (or array: samples, or a list of one or two channels), sampling_rate, stride and path, which is
/// not looked at. Throws invalid_argument for another key.
PipelineInput pipeline_input(const Json& json);

/// How a pipeline reads files. The core decodes none: pipelines/media.h gives readers that do, with caracal::media.
/// They are called from tasks of the model's runtime, from several at once: they may not run work on it themselves.
struct PipelineFiles {
  std::function<Tensor(const std::string& path)> image = {};                         // -> (H, W, 3) U8, upright
  std::function<Tensor(const std::string& path, int64_t sampling_rate)> audio = {};  // -> (N) F32 at this rate
  std::shared_ptr<OcrEngine> ocr = {};  // reads pages whose words are not given
};

/// How many inputs are dealt with. Results do not depend on any of it.
struct PipelineRun {
  int64_t batch_size = 1;  // inputs per call of the model
  // Whether a thread of its own, gone when run() returns, makes the next inputs ready while the model works. By default
  // where the process may use more CPUs than the runtime has threads, if those are more than one.
  std::optional<bool> overlap = {};
  std::function<void(size_t index, Json result)> done = {};  // called for each input, in their order
  // Called for one that did not work; without it run() throws.
  std::function<void(size_t index, const Error& error)> failed = {};
};

/// transformers.Pipeline. Calls are const and may come from many threads at once.
///
/// `arguments` are the task's keyword arguments in Python, under the same names, as an object; each class lists them.
/// One that the task does not have, or of the wrong type, throws invalid_argument before any work.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  /// The result for one input, as transformers' pipeline gives it: the same fields in the same order.
  Json operator()(const PipelineInput& input, const Json& arguments = {}) const;
  Json operator()(const std::string& text, const Json& arguments = {}) const;
  /// The results for many inputs. The first that does not work is thrown.
  std::vector<Json> operator()(const std::vector<PipelineInput>& inputs, const Json& arguments = {},
                               int64_t batch_size = 1) const;
  std::vector<Json> operator()(const std::vector<std::string>& texts, const Json& arguments = {},
                               int64_t batch_size = 1) const;
  /// The same, batch by batch as they are ready, and with the others done where one does not work. Files and texts are
  /// read and pre-processed a window at a time on the runtime's threads, each on one, and the next window meanwhile.
  void run(std::span<const PipelineInput> inputs, const Json& arguments, const PipelineRun& run) const;

  const std::string& task() const noexcept { return task_; }
  const PreTrainedModel& model() const noexcept { return *model_; }

 protected:
  /// The arguments of a call, read and checked.
  struct Settings {
    virtual ~Settings() = default;
  };
  /// An input made ready: the rows that it is in the model's batch, under the names of forward's arguments, and what
  /// post-processing needs to know of them.
  struct Prepared : BatchFeature {
    BatchEncoding encoding;                       // of rows that are tokens
    std::vector<std::array<int64_t, 3>> strides;  // of rows that are sound: samples, and how many of them overlap
                                                  // the row before and the row after
  };

  /// What came of an input: its rows in `output`, a batch, begin at `first`.
  struct Outcome {
    const PipelineInput& input;
    const Prepared& prepared;
    const ModelOutput& output;
    int64_t first;
  };

  Pipeline(std::string task, AnyModel model) : task_(std::move(task)), model_(std::move(model)) {}

  /// By default a task has no arguments.
  virtual std::shared_ptr<const Settings> settings(const Arguments&) const { return std::make_shared<Settings>(); }
  /// Called from several threads at once.
  virtual Prepared preprocess(const PipelineInput& input, const Settings& settings) const = 0;
  virtual Json postprocess(const Outcome& outcome, const Settings& settings) const = 0;

  /// The rows of an encoding as a model takes them, of at least one token, which may be padding.
  static Prepared as_rows(BatchEncoding encoding);
  /// The same of a task for which every row must have tokens: else throws invalid_argument, as transformers' models do.
  Prepared prepare(BatchEncoding encoding) const;
  void expect_tokens(const BatchEncoding& encoding) const;
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  struct Item;
  struct Window;
  void run_batch(std::span<Item*> batch, const Settings& settings, int64_t batch_size, ModelOutput& output) const;

  std::string task_;
  AnyModel model_;
};

/// Row `i` of a batch of outputs, without the dimension of the batch; a view.
Tensor batch_row(const Tensor& batch, int64_t i);

/// The pixel_values of an image, (H, W, 3) or (3, H, W).
BatchFeature pixels_of(const BaseImageProcessor& processor, const Tensor& image, Json arguments = Json::Object{});
/// The image or sound of an input, from its file if need be.
Tensor image_of(const PipelineInput& input, const PipelineFiles& files, bool text_is_file = true);
/// Sound is resampled by the runtime's kernels on the calling thread: preprocess(), which asks for it, is a task.
Tensor audio_of(const Runtime& runtime, const PipelineInput& input, const PipelineFiles& files, int64_t sampling_rate);

/// Says the tokenizer's warnings() in the log of the model's runtime; a tokenizer has none of its own.
void log_warnings(const AnyModel& model, const PreTrainedTokenizerBase& tokenizer);

}  // namespace caracal
