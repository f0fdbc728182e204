// Pipelines against transformers' (tools/make_task_goldens.py), and what they refuse.
#include <caracal/models/pipelines/feature_extraction.h>
#include <caracal/models/pipelines/pipeline.h>
#include <caracal/runtime/audio_ops.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "pipelines_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

const Json& goldens() {
  static const Json all = Json::parse_file(data_path("pipelines/goldens.json"));
  return all;
}

// A checkpoint directory: a model of tests/data/models with some of its config replaced, and processor files.
void put_together(const std::string& folder, const std::string& model, const std::string& files,
                  const Json& config = Json::Object{}) {
  Json whole = Json::parse_file(data_path("models/" + model + "/config.json"));
  for (const auto& [key, value] : config.as_object()) whole.set(key, value);
  std::ofstream(folder + "/config.json") << whole.dump();
  fs::copy_file(data_path("models/" + model + "/model.safetensors"), folder + "/model.safetensors");
  for (const auto& [name, content] : goldens().at("files").at(files).as_object()) {
    fs::create_directories(fs::path(folder + "/" + name).parent_path());
    std::ofstream(folder + "/" + name) << content.as_string();
  }
}

struct Checkpoint : TemporaryDirectory {
  Checkpoint(const std::string& model, const std::string& files, const Json& config = Json::Object{}) {
    put_together(path, model, files, config);
  }
};

// In place of the tokenizer's files: one that takes words apart by white space and adds nothing.
void write_bare_tokenizer(const std::string& folder) {
  std::ofstream(folder + "/tokenizer.json") << Json{
      {"version", "1.0"},
      {"added_tokens", Json::Array{}},
      {"normalizer", nullptr},
      {"pre_tokenizer", Json{{"type", "WhitespaceSplit"}}},
      {"post_processor", nullptr},
      {"decoder", nullptr},
      {"model",
       Json{{"type", "WordLevel"},
            {"vocab", Json{{"[PAD]", 0}, {"[UNK]", 1}, {"the", 2}, {"cat", 3}, {"sits", 4}, {"mat", 5}, {"[CLS]", 6}}},
            {"unk_token", "[UNK]"}}}}.dump();
  std::ofstream(folder + "/tokenizer_config.json")
      << Json{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}}.dump();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Pipelines, EqualTransformersAloneAndInBatches) {
  std::set<std::string> tasks;
  for (const Json& c : goldens().at("cases").as_array()) {
    const Checkpoint checkpoint(c.at("model").as_string(), c.at("files").as_string(), c.at("config"));
    expect_rows(checkpoint.path, c.at("rows"));
    for (const Json& row : c.at("rows").as_array()) tasks.insert(row.at("task").as_string());
  }
  for (const std::string& task : pipeline_tasks()) EXPECT_EQ(tasks.count(task), 1u) << task;
}

TEST(Pipelines, SentenceSimilarityIsThatOfEmbeddings) {
  const Checkpoint checkpoint("bert/base", "text");
  const auto pipe = pipeline("sentence-similarity", checkpoint.path);
  const auto model = SentenceTransformer::from_pretrained(checkpoint.path);
  const Tensor e = model.encode({"the cat", "the dogs sits", "in paris"});
  const Tensor want = cosine_similarity(e.rows(0, 1), e.rows(1, 3));
  const PipelineInput input{.text = "the cat", .texts = {"the dogs sits", "in paris"}};
  const Json got = (*pipe)(input);
  for (size_t i : {0u, 1u}) EXPECT_EQ(float(got.as_array().at(i).as_double()), want.data<float>()[i]);
  EXPECT_TRUE(has(message_of([&] { (*pipe)("the cat"); }), "at least one other"));
}

TEST(Pipelines, InferTheTask) {
  const std::pair<const char*, const char*> known[] = {
      {"bert/mlm_relu", "fill-mask"},
      {"bert/sequence_5", "text-classification"},
      {"distilbert/token", "token-classification"},
      {"bert/question_answering", "question-answering"},
      {"bert/multiple_choice", "multiple-choice"},
      {"bert/base", "feature-extraction"},
      {"vit/image_classification", "image-classification"},
      {"vit/pooler_relu", "image-feature-extraction"},
      {"wav2vec2/ctc", "automatic-speech-recognition"},
      {"wav2vec2/sequence", "audio-classification"},
      {"layoutlmv2/token", "document-token-classification"},
      {"layoutlmv2/document_question", "document-question-answering"},
  };
  for (const auto& [model, task] : known) EXPECT_EQ(pipeline_task(data_path("models/") + model), task) << model;
  for (const char* none : {"wav2vec2/xvector", "bert/nsp", "vit/masked_image", "layoutlmv2/sequence"})
    EXPECT_TRUE(has(message_of([&] { pipeline_task(data_path("models/") + none); }), "name the task")) << none;
  const Checkpoint token("bert/token", "text");
  EXPECT_EQ(pipeline("", token.path)->task(), "token-classification");
  EXPECT_EQ(pipeline("ner", token.path)->task(), "token-classification");
  const Checkpoint sentiment("distilbert/sequence_3", "distil");
  EXPECT_EQ(pipeline("sentiment-analysis", sentiment.path)->task(), "text-classification");
  const Checkpoint form("layoutlmv2/token", "layout");
  EXPECT_EQ(pipeline("token-classification", form.path)->task(), "document-token-classification");
}

TEST(Pipelines, RefuseCheckpointsOfOtherTasks) {
  const Checkpoint masked("bert/from_masked_lm", "text");
  auto error = [](const std::string& task, const std::string& path) {
    return message_of([&] { pipeline(task, path); });
  };
  for (const char* task : {"text-classification", "token-classification", "question-answering", "multiple-choice"})
    EXPECT_TRUE(has(error(task, masked.path), "but got BertForMaskedLM")) << error(task, masked.path);
  for (const char* task : {"image-classification", "audio-classification", "automatic-speech-recognition",
                           "document-question-answering", "image-feature-extraction"})
    EXPECT_TRUE(has(error(task, masked.path), std::string("expected a checkpoint for ") + task));
  EXPECT_TRUE(has(error("text-classification", data_path("models/layoutlmv2/sequence")), "LayoutLMv2"));
  EXPECT_TRUE(has(error("feature-extraction", data_path("models/vit/pooler_relu")), "ViTModel"));
  EXPECT_TRUE(has(error("telepathy", masked.path), "'telepathy'"));
  EXPECT_TRUE(has(error("fill-mask", "/nowhere"), "/nowhere"));
  // A config.json that names no class: the weights tell.
  const Checkpoint silent("bert/from_masked_lm", "text", {{"architectures", nullptr}});
  EXPECT_TRUE(has(error("text-classification", silent.path), "but it has no "))
      << error("text-classification", silent.path);
  // As many labels as the head has rows, numbered from 0.
  const Checkpoint fewer("bert/sequence_5", "text",
                         {{"id2label", Json{{"0", "a"}, {"1", "b"}}}, {"label2id", Json{{"a", 0}, {"b", 1}}}});
  EXPECT_TRUE(has(error("text-classification", fewer.path), "[classifier.bias] expected shape (2,) but got (5,)"))
      << error("text-classification", fewer.path);
  const Checkpoint gap("bert/sequence_2", "text",
                       {{"id2label", Json{{"0", "a"}, {"2", "b"}}}, {"label2id", Json{{"a", 0}, {"b", 2}}}});
  EXPECT_TRUE(has(error("text-classification", gap.path), "id2label")) << error("text-classification", gap.path);
  // No tokenizer or processor files.
  EXPECT_TRUE(has(error("text-classification", data_path("models/bert/sequence_5")), "sequence_5"));
  EXPECT_TRUE(has(error("image-classification", data_path("models/vit/image_classification")), "preprocessor_config"));
}

TEST(Pipelines, RefuseArgumentsBeforeAnyWork) {
  const Checkpoint classifier("bert/sequence_5", "text"), token("bert/token", "text"), masked("bert/mlm_relu", "text"),
      asked("bert/question_answering", "text"), speech("wav2vec2/ctc", "sound"), features("bert/base", "text"),
      pixels("vit/pooler_relu", "images"), alike("bert/base", "cosine"), page("layoutlmv2/document_question", "layout");
  const struct {
    std::string path;
    Json arguments;
    const char* part;
  } cases[] = {
      {classifier.path,
       {{"top_n", 1}},
       "function_to_apply, top_k, truncation, max_length, add_special_tokens, padding but got 'top_n'"},
      {classifier.path, {{"top_k", 0}}, "top_k"},
      {classifier.path, {{"top_k", "3"}}, "top_k"},
      {classifier.path, {{"function_to_apply", "relu"}}, "softmax, sigmoid, none"},
      {classifier.path, Json::Array{}, "expected an object"},
      {classifier.path, {{"truncation", "first"}}, "longest_first, only_first, only_second, do_not_truncate"},
      {classifier.path, {{"max_length", -1}}, "max_length"},
      {classifier.path, {{"padding", "max_length"}}, "longest, do_not_pad"},
      {features.path, {{"truncation", true}, {"tokenize_kwargs", Json{{"truncation", true}}}}, "expected it once"},
      {features.path, {{"tokenize_kwargs", Json{{"top_k", 3}}}}, "tokenize_kwargs] expected an argument among"},
      {features.path, {{"tokenize_kwargs", 3}}, "expected an object"},
      {masked.path, {{"tokenizer_kwargs", Json{{"truncation", 3}}}}, "tokenizer_kwargs: truncation"},
      {pixels.path, {{"image_processor_kwargs", 3}}, "image_processor_kwargs"},
      {alike.path, {{"prompt_name", "answer"}}, "expected a prompt among document, passage, query but got 'answer'"},
      {alike.path, {{"prompt", 3}}, "expected a string"},
      {token.path, {{"stride", 2}}, "aggregation_strategy"},
      {token.path, {{"stride", 20}, {"aggregation_strategy", "simple"}}, "model_max_length"},
      {token.path, {{"aggregation_strategy", "median"}}, "median"},
      {token.path, {{"ignore_labels", 3}}, "list of strings"},
      {masked.path, {{"targets", Json::Array{}}}, "at least one target"},
      {asked.path, {{"doc_stride", 30}}, "doc_stride"},
      {asked.path, {{"handle_impossible_answer", "yes"}}, "true or false"},
      {asked.path, {{"max_answer_len", 0}}, "max_answer_len"},
      {asked.path, {{"max_question_len", 0}}, "max_question_len"},
      {asked.path, {{"padding", "left"}}, "longest, max_length, do_not_pad"},
      {page.path, {{"padding", 3}}, "padding"},
      {page.path, {{"max_question_len", 64}}, "expected an argument among"},  // nor has transformers
      {page.path, {{"lang", 3}}, "lang"},
      {speech.path, {{"return_timestamps", true}}, "char, word"},
      {speech.path, {{"chunk_length_s", 1}, {"stride_length_s", 0.5}}, "longer than its strides"},
      {speech.path, {{"chunk_length_s", 1e300}}, "86400"},
      {speech.path, {{"chunk_length_s", -1}}, "at least 0"},
      {speech.path, {{"stride_length_s", Json::Array{1}}}, "a number or two"},
  };
  for (const auto& c : cases) {
    const auto pipe = pipeline("", c.path);
    const std::string message = message_of([&] { (*pipe)(std::vector<PipelineInput>{}, c.arguments); });
    EXPECT_TRUE(has(message, c.part)) << c.arguments.dump() << ": " << message;
  }
}

TEST(Pipelines, RefuseBadInputs) {
  const Checkpoint masked("bert/mlm_relu", "text"), asked("bert/question_answering", "text"),
      choice("bert/multiple_choice", "text"), image("vit/image_classification_names", "images"),
      speech("wav2vec2/ctc", "sound"), page("layoutlmv2/document_question", "layout"), features("bert/base", "text");
  auto error = [](const std::string& path, const PipelineInput& input) {
    return message_of([&] { (*pipeline("", path))(input); });
  };
  EXPECT_TRUE(has(error(masked.path, {.text = "the cat"}), "[MASK]"));
  EXPECT_TRUE(has(error(asked.path, {.text = "who?"}), "context is empty"));
  EXPECT_TRUE(has(error(asked.path, {.text_pair = "the cat"}), "question is empty"));
  EXPECT_TRUE(has(error(choice.path, {.text = "who?"}), "no choices"));
  EXPECT_TRUE(has(error(image.path, {}), "expected an image"));
  EXPECT_TRUE(has(error(image.path, {.text = "cat.jpg"}), "cat.jpg"));  // no reader of files
  EXPECT_TRUE(has(error(speech.path, {.file = "cat.wav"}), "cat.wav"));
  EXPECT_TRUE(has(error(speech.path, {.audio = Tensor::zeros({2, 40})}), "(2, 40)"));
  EXPECT_TRUE(has(error(speech.path, {.audio = noise(5)}), "Wav2Vec2"));  // too short for one frame
  EXPECT_TRUE(has(error(speech.path, {.audio = noise(0)}), "no samples"));
  for (const std::array<int64_t, 2> sides : {std::array<int64_t, 2>{500, 501}, {-1, 0}, {0, -1}, {INT64_MAX, 1}}) {
    EXPECT_TRUE(has(error(speech.path, {.audio = noise(1000), .stride = sides}), "a stride within the sound"));
  }
  EXPECT_TRUE(has(message_of([&] {
                    (*pipeline("", speech.path))(PipelineInput{.audio = noise(0)}, {{"chunk_length_s", 1}});
                  }),
                  "no samples"));
  EXPECT_TRUE(has(error(page.path, {.image = pixels(9, 9)}), "question"));
  EXPECT_TRUE(has(error(page.path, {.text = "who", .image = pixels(9, 9), .words = {"a"}}), "as many boxes"));
  EXPECT_TRUE(has(error(features.path, {.text = std::string(200, '.')}), "max_position_embeddings"));
  for (const char* json :
       {"3", R"({"colour": "red"})", R"({"words": "a"})", R"({"boxes": [[1, 2, 3]]})", R"({"word_boxes": [["a"]]})",
        R"({"text": 7})", R"({"raw": [0.5]})", R"({"sampling_rate": 16000})", R"({"stride": [1, 2], "audio": "a.wav"})",
        R"({"raw": [0.5], "sampling_rate": 0})", R"({"raw": [[1], [2], [3]], "sampling_rate": 8})",
        R"({"raw": [[1], [2, 3]], "sampling_rate": 8})", R"({"raw": "a", "sampling_rate": 8})",
        R"({"raw": [[1], 2], "sampling_rate": 8})", R"({"raw": [1], "sampling_rate": 8, "stride": [1]})"})
    EXPECT_TRUE(has(message_of([&] { pipeline_input(Json::parse(json, "input")); }), "[pipeline] expected")) << json;
}

// Sound as transformers' pipelines take it from Python: samples or channels, which are mixed.
TEST(Pipelines, TakeRawSound) {
  const PipelineInput mono = pipeline_input(
      Json::parse(R"({"path": "a.wav", "array": [0.5, -1, 0.25], "sampling_rate": 8000, "stride": [1, 2]})", "input"));
  EXPECT_TRUE(std::ranges::equal(mono.audio.values<float>(), std::vector<float>{0.5, -1, 0.25}));
  EXPECT_EQ(mono.sampling_rate, 8000);
  EXPECT_EQ(mono.stride, (std::array<int64_t, 2>{1, 2}));
  EXPECT_TRUE(mono.file.empty());
  const auto of = [](const char* raw) {
    return pipeline_input(Json{{"raw", Json::parse(raw, "input")}, {"sampling_rate", 16000}}).audio;
  };
  EXPECT_TRUE(std::ranges::equal(of("[[0.5, 1], [-1, 0]]").values<float>(), std::vector<float>{-0.25, 0.5}));
  EXPECT_TRUE(std::ranges::equal(of("[[0.5, 1]]").values<float>(), std::vector<float>{0.5, 1}));
  EXPECT_EQ(of("[1, 2]").shape(), (Shape{2}));
}

// The stride is counted at the rate of the samples: at half the rate half as many leave out the same time.
TEST(Pipelines, StrideOfResampledSound) {
  const Checkpoint speech("wav2vec2/ctc", "sound");
  const auto read = pipeline("", speech.path);
  const Tensor samples = noise(4000);
  const Tensor twice = resample_audio(read->model().runtime(), samples, 8000, 16000);
  const Json arguments = {{"return_timestamps", "char"}};
  const Json expected =
      (*read)(PipelineInput{.audio = twice, .sampling_rate = 16000, .stride = {1000, 2000}}, arguments);
  EXPECT_EQ((*read)(PipelineInput{.audio = samples, .sampling_rate = 8000, .stride = {500, 1000}}, arguments),
            expected);
  EXPECT_NE((*read)(PipelineInput{.audio = samples, .sampling_rate = 8000}, arguments), expected);
}

TEST(Pipelines, TopK) {
  const Checkpoint image("vit/image_classification_names", "images"), asked("bert/question_answering", "text");
  const auto labels = pipeline("", image.path);
  const PipelineInput picture{.image = pixels(9, 9)};
  EXPECT_EQ((*labels)(picture, {{"top_k", nullptr}}), (*labels)(picture));
  const Json all =
      (*pipeline("", asked.path))(PipelineInput{.text = "who?", .text_pair = "the cat"}, {{"top_k", INT64_MAX}});
  EXPECT_GT(all.as_array().size(), 1u);
}

// One input of more rows than go through the model at once.
TEST(Pipelines, LongInputsAreCutIntoCalls) {
  const Checkpoint asked("bert/question_answering", "text");
  std::string context;
  for (int i = 0; i < 120; i++) context += "the cat sits on the mat. ";
  const auto pipe = pipeline("", asked.path);
  const PipelineInput input{.text = "who?", .text_pair = context};
  const Json arguments = {{"max_seq_len", 16}, {"doc_stride", 4}};
  EXPECT_EQ((*pipe)(input, arguments), (*pipe)(std::vector{input}, arguments, 1000)[0]);
}

TEST(Pipelines, ABadInputLeavesTheOthersAlone) {
  const Checkpoint checkpoint("bert/base", "text");
  for (const int threads : {1, 3}) {
    const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = threads});
    const auto pipe = pipeline("feature-extraction", checkpoint.path, {.load = {.runtime = runtime}});
    std::vector<PipelineInput> inputs(40);
    for (size_t i = 0; i < inputs.size(); i++) inputs[i].text = i % 7 == 3 ? std::string(200, '.') : "the cat sits";
    for (const int64_t batch : {1, 4, 100}) {
      std::vector<size_t> done, failed;
      pipe->run(inputs, {},
                {.batch_size = batch,
                 .done = [&](size_t i, Json) { done.push_back(i); },
                 .failed =
                     [&](size_t i, const Error& e) {
                       failed.push_back(i);
                       EXPECT_TRUE(has(e.what(), "max_position_embeddings"));
                     }});
      EXPECT_EQ(failed, (std::vector<size_t>{3, 10, 17, 24, 31, 38}));
      EXPECT_EQ(done.size(), 34u);
      EXPECT_TRUE(std::ranges::is_sorted(done));
      EXPECT_THROW((*pipe)(inputs, {}, batch), Error);
    }
    EXPECT_THROW((*pipe)(inputs, {}, 0), Error);
  }
}

// A tokenizer that puts nothing around a text finds no token in spaces: an error, as in transformers, in any company.
TEST(Pipelines, RefuseTextsWithoutTokens) {
  const std::pair<const char*, const char*> tasks[] = {{"bert/question_answering", "question-answering"},
                                                       {"bert/sequence_5", "text-classification"},
                                                       {"bert/token", "token-classification"},
                                                       {"bert/multiple_choice", "multiple-choice"},
                                                       {"bert/base", "feature-extraction"}};
  for (const auto& [model, task] : tasks) {
    SCOPED_TRACE(task);
    const Checkpoint checkpoint(model, "text");
    write_bare_tokenizer(checkpoint.path);
    const auto pipe = pipeline(task, checkpoint.path);
    PipelineInput good{.text = "the cat"}, empty{.text = " "};
    if (pipe->task() == "question-answering") good.text_pair = "sits", empty.text_pair = "\t";
    if (pipe->task() == "multiple-choice") good.texts = {"sits", "mat"}, empty.texts = {" ", "mat"};
    const Json alone = (*pipe)(good);
    EXPECT_TRUE(has(message_of([&] { (*pipe)(empty); }), "expected a text with tokens"));
    for (const int64_t batch : {1, 2, 3}) {
      size_t done = 0;
      std::vector<size_t> failed;
      pipe->run(std::vector{good, empty, good}, {},
                {.batch_size = batch,
                 .done =
                     [&](size_t, const Json& result) {
                       EXPECT_EQ(result, alone);
                       done++;
                     },
                 .failed = [&](size_t i, const Error&) { failed.push_back(i); }});
      EXPECT_EQ(done, 2u);
      EXPECT_EQ(failed, std::vector<size_t>{1});
    }
  }
}

// Embeddings of such texts are zeros.
TEST(Pipelines, SimilarityOfTextsWithoutTokens) {
  const Checkpoint checkpoint("bert/base", "text");
  write_bare_tokenizer(checkpoint.path);
  const auto pipe = pipeline("sentence-similarity", checkpoint.path);
  const PipelineInput empty{.text = " ", .texts = {"", " "}}, some{.text = "the cat", .texts = {" ", "the cat"}};
  EXPECT_EQ((*pipe)(empty), (Json::Array{0.0, 0.0}));
  EXPECT_EQ((*pipe)(some).as_array()[0], Json(0.0));
  for (int64_t batch : {1, 2})
    EXPECT_EQ((*pipe)(std::vector{empty, some, empty}, {}, batch),
              (std::vector{(*pipe)(empty), (*pipe)(some), (*pipe)(empty)}));
}

// A host's pool of a fixed number of workers: run() puts tasks into their queue and waits.
class Workers final : public Executor {
 public:
  explicit Workers(int count) : threads_(size_t(count)) {
    for (std::thread& thread : threads_) thread = std::thread([this] { work(); });
  }
  ~Workers() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  int concurrency() const noexcept override { return int(threads_.size()); }
  void run(int tasks, void (*task)(void*, int), void* context) override {
    // A worker that waits for workers may wait for ever.
    if (is_worker) nested = true;
    if (is_worker) {
      for (int i = 0; i < tasks; i++) task(context, i);
      return;
    }
    std::unique_lock lock(mutex_);
    int left = tasks;
    for (int i = 0; i < tasks; i++) {
      queue_.push_back([this, &left, task, context, i] {
        task(context, i);
        const std::lock_guard done(mutex_);
        left--;
        changed_.notify_all();
      });
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return left == 0; });
  }
  std::atomic<bool> nested = false;

 private:
  void work() {
    is_worker = true;
    for (std::unique_lock lock(mutex_);;) {
      changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const std::function<void()> task = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }
  static inline thread_local bool is_worker = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

TEST(Pipelines, TasksRunNoTasksOfTheirOwn) {
  const auto workers = std::make_shared<Workers>(2);
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.executor = workers});
  const Checkpoint sound("wav2vec2/ctc", "sound"), text("bert/sequence_5", "text"),
      image("vit/image_classification_names", "images");
  const std::pair<std::string, PipelineInput> cases[] = {
      {sound.path, {.audio = noise(200'000), .sampling_rate = 44'100}},
      {text.path, {.text = "the cat sits on the mat"}},
      {image.path, {.image = pixels(300, 200)}}};
  for (const auto& [path, input] : cases) {
    const auto pipe = pipeline("", path, {.load = {.runtime = runtime}});
    EXPECT_EQ((*pipe)(std::vector(8, input), {}, 4).size(), 8u);
    EXPECT_FALSE(workers->nested) << pipe->task();
  }
}

// With a thread that works ahead, results, failures and their order are the same, to the bit.
TEST(Pipelines, WorkingAheadChangesNothing) {
  const Checkpoint checkpoint("bert/sequence_5", "text");
  std::vector<PipelineInput> inputs(70);
  for (size_t i = 0; i < inputs.size(); i++)
    inputs[i].text = i % 9 == 4 ? std::string(200, '.') : "anna sits on the mat " + std::string(i % 7, 'x');
  for (const int threads : {1, 2, 3}) {
    const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = threads});
    const auto pipe = pipeline("", checkpoint.path, {.load = {.runtime = runtime}});
    auto all = [&](std::optional<bool> overlap, int64_t batch) {
      std::vector<std::pair<size_t, std::string>> told;
      pipe->run(inputs, {{"top_k", nullptr}},
                {.batch_size = batch,
                 .overlap = overlap,
                 .done = [&](size_t i, Json result) { told.emplace_back(i, result.dump()); },
                 .failed = [&](size_t i, const Error& error) { told.emplace_back(i, error.what()); }});
      return told;
    };
    const auto want = all(false, 1);
    ASSERT_EQ(want.size(), inputs.size());
    for (const int64_t batch : {1, 4, 100})
      for (const std::optional<bool> overlap : {std::optional<bool>(true), std::optional<bool>()})
        EXPECT_EQ(all(overlap, batch), want) << threads << " threads, batches of " << batch;
  }
}

std::atomic<int> reading = 0;

// The next images are read while the model works on those before; an error ends the call without a thread left.
TEST(Pipelines, WorkAheadOnAThreadThatEndsWithTheCall) {
  const Checkpoint checkpoint("vit/image_classification_names", "images");
  std::mutex mutex;
  std::set<std::thread::id> readers;
  int read = 0;
  PipelineFiles files;
  const std::thread::id caller = std::this_thread::get_id();
  files.image = [&](const std::string&) {
    reading++;
    std::this_thread::sleep_for(std::chrono::milliseconds(std::this_thread::get_id() == caller ? 1 : 25));
    const std::lock_guard lock(mutex);
    readers.insert(std::this_thread::get_id());
    read++;
    reading--;
    return pixels(12, 12);
  };
  const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1});
  const auto pipe = pipeline("", checkpoint.path, {.load = {.runtime = runtime}, .files = files});
  const std::vector<PipelineInput> inputs(12, {.file = "a.png"});
  auto run = [&](std::optional<bool> overlap, const std::function<void(size_t, Json)>& done) {
    readers.clear();
    read = 0;
    pipe->run(inputs, {}, {.overlap = overlap, .done = done});
  };
  run({}, {});
  EXPECT_EQ(readers.size(), 1u) << "a runtime of one thread starts none unless asked";
  run(true, [](size_t, const Json&) { std::this_thread::sleep_for(std::chrono::milliseconds(10)); });
  EXPECT_GT(readers.size(), 1u);
  EXPECT_EQ(read, 12);  // each waited for, and read once
  auto stop = [](size_t i, const Json&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (i == 2) throw std::runtime_error("enough");
  };
  EXPECT_THROW(run(true, stop), std::runtime_error);
  EXPECT_EQ(reading, 0);
  EXPECT_LE(read, 4);  // no further than one window ahead
}

// Languages and flags of a call reach the OCR engine.
TEST(Pipelines, DocumentsPassOnWhatOcrIsToDo) {
  struct Engine : OcrEngine {
    std::vector<OcrWord> recognize(const Tensor&, const OcrOptions& options) override {
      asked = options;
      return {{.text = "total", .width = 5, .height = 5}, {.text = "12", .left = 9, .width = 5, .height = 5}};
    }
    OcrOptions asked;
  };
  const Checkpoint checkpoint("layoutlmv2/document_question", "layout");
  const auto engine = std::make_shared<Engine>();
  PipelineFiles files;
  files.ocr = engine;
  const auto pipe = pipeline("", checkpoint.path, {.files = files});
  const Json answers = (*pipe)(PipelineInput{.text = "total", .image = pixels(20, 20)},
                               {{"lang", "deu"}, {"tesseract_config", "--psm 6"}});
  EXPECT_EQ(answers.as_array().size(), 1u);
  EXPECT_EQ(engine->asked.lang, "deu");
  EXPECT_EQ(engine->asked.config, "--psm 6");
}

}  // namespace
}  // namespace caracal
