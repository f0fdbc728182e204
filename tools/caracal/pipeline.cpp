#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <caracal/models/pipelines/feature_extraction.h>
#include <caracal/models/pipelines/pipeline.h>

#include "common.h"
#include "media.h"

namespace caracal::cli {
namespace {

struct Options {
  CommonOptions common;
  std::string task, model, question;
  std::vector<std::string> inputs, settings;
  bool json = false;
  int64_t batch = 1;
};

bool is_list_of(const Json& json, Json::Type type) {
  return json.is_array() && !json.as_array().empty() && json.as_array()[0].type() == type;
}

// The first numbers of a list.
std::string head_of(const Json::Array& numbers) {
  constexpr size_t kShown = 4;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, numbers.size()); i++) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.4f", i > 0 ? ", " : "[", numbers[i].as_double());
    text += number;
  }
  return text + (numbers.size() > kShown ? ", …]" : "]");
}

// One entry of a result: its score, then its other members; numbers with their names.
std::string line_of(const Json& entry) {
  std::string line;
  for (const auto& [key, value] : entry.as_object()) {
    if (is_list_of(value, Json::Type::object)) continue;  // lines of their own
    if (key == "score") {
      char score[32];
      std::snprintf(score, sizeof score, "%.4f", value.as_double());
      line = score + std::string(line.empty() ? "" : "  ") + line;
      continue;
    }
    line += (line.empty() ? "" : "  ") + (value.is_string() ? printable(value.as_string()) : key + " " + value.dump());
  }
  return line;
}

void print_result(const Json& result, const std::string& indent) {
  if (result.is_object()) {
    print_line(indent + line_of(result));
    for (const auto& [key, parts] : result.as_object())
      if (is_list_of(parts, Json::Type::object)) print_result(parts, indent + "  ");
  } else if (is_list_of(result, Json::Type::number)) {
    print_line(indent + head_of(result.as_array()));
  } else {
    for (const Json& each : result.as_array()) print_result(each, indent + (each.is_array() ? "  " : ""));
  }
}

std::string title_of(const PipelineInput& input) {
  std::string title = input.file;
  for (const std::string& part : {input.text, input.text_pair})
    if (!part.empty()) title += (title.empty() ? "" : "  ") + part;
  return printable(title);
}

void print(const Options& o, const std::string& task, const PipelineInput& input, const Json& result) {
  if (o.json) return print_line(result.dump());
  if (task == "sentence-similarity") {
    print_line(title_of(input));
    for (size_t i = 0; i < input.texts.size(); i++) {
      char score[32];
      std::snprintf(score, sizeof score, "  %7.4f  ", result.as_array()[i].as_double());
      print_line(score + printable(input.texts[i]));
    }
  } else if (task.ends_with("feature-extraction") && result.as_array().at(0).as_array().at(0).is_array()) {
    const Json::Array& rows = result.as_array()[0].as_array();
    print_line(std::to_string(rows.size()) + " tokens x " + std::to_string(rows[0].as_array().size()) + "  " +
               title_of(input));
    for (size_t i = 0; i < rows.size(); i++) {
      char number[32];
      std::snprintf(number, sizeof number, "  %3zu ", i);
      print_line(number + head_of(rows[i].as_array()));
    }
  } else {
    print_line(title_of(input));
    print_result(result, "  ");
  }
}

// What the user gave as one input: a text or file, or for tasks that take several things an object of them.
PipelineInput input_of(const std::string& task, const std::string& given, const std::string& question) {
  const bool document = task.starts_with("document"), takes_file = document || task.starts_with("image") ||
                                                                   task.starts_with("audio") ||
                                                                   task == "automatic-speech-recognition";
  const bool compound = document || task == "question-answering" || task == "multiple-choice";
  PipelineInput input;
  if (compound && given.starts_with('{'))
    input = pipeline_input(Json::parse(given, "INPUT"));
  else if (const size_t tab = given.find('\t'); task == "question-answering" && tab != std::string::npos)
    input = {.text = given.substr(0, tab), .text_pair = given.substr(tab + 1)};
  else if (const size_t end = given.find('\t'); task == "document-question-answering" && end != std::string::npos)
    input = {.text = given.substr(end + 1), .file = given.substr(0, end)};
  else if (takes_file)
    input.file = given;
  else if (task == "question-answering")
    input.text_pair = given;
  else
    input.text = given;
  if (!question.empty()) input.text = question;
  if (input.text.empty() && input.text_pair.empty() && input.file.empty())
    throw Error(ErrorCode::invalid_argument, "INPUT", "expected a text or a file but got an empty one");
  return input;
}

// A line about an input that did not work; `name` is what the user gave.
void report(const std::string& name, const Error& error, int& status) {
  status = 1;
  std::string line = error.what();
  if (line.find(name) == std::string::npos) line += " in '" + printable(name, 60) + "'";
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "%scaracal: error: %s\n", isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "",  // off the bar's line
               printable(line, kMessageLimit).c_str());
}

// The first of the lines with all others as its choices or sentences.
std::vector<PipelineInput> one_of_many(const std::string& task, const std::vector<std::string>& given) {
  const bool choice = task == "multiple-choice";
  if (given.size() < 2)
    throw Error(ErrorCode::invalid_argument, task,
                std::string("expected ") +
                    (choice ? "a prompt and at least one choice" : "a source sentence and at least one other") +
                    " but got " + std::to_string(given.size()) + " texts");
  if (std::ranges::find(given, "") != given.end())
    throw Error(ErrorCode::invalid_argument, task, "expected texts but got an empty one");
  return {{.text = given[0], .texts = {given.begin() + 1, given.end()}}};
}

void run(const Options& o, int& status) {
  PipelineOptions options{.load = o.common.load_options(),
                          .files = {.image = open_image, .audio = {}, .ocr = make_ocr_engine()}};
  const auto runtime = options.load.runtime;
  options.files.audio = [runtime](const std::string& path, int64_t rate) {
    return open_audio(runtime->alone(), path, rate);
  };
  const Json settings = parse_settings(o.settings);
  const std::unique_ptr<Pipeline> pipe = pipeline(o.task == "auto" ? "" : o.task, o.model, options);
  const std::string& task = pipe->task();
  (*pipe)(std::vector<PipelineInput>{}, settings);  // wrong settings are one error, not one an input

  const std::vector<std::string> given = o.inputs.empty() ? read_lines() : o.inputs;
  std::vector<PipelineInput> inputs;
  std::vector<std::string> names;  // of the inputs that could be read
  const bool many =
      task == "sentence-similarity" || (task == "multiple-choice" && !given.empty() && given[0][0] != '{');
  if (many) {
    inputs = one_of_many(task, given);
    names = {given[0]};
  } else {
    for (const std::string& each : given) {
      try {
        inputs.push_back(input_of(task, each, o.question));
        names.push_back(each);
      } catch (const Error& error) {
        report(each, error, status);
      }
    }
  }
  Progress progress(int64_t(inputs.size()), inputs.empty() || inputs[0].file.empty() ? "texts" : "files");
  pipe->run(inputs, settings,
            {.batch_size = o.batch,
             .done =
                 [&](size_t i, const Json& result) {
                   print(o, task, inputs[i], result);
                   progress.advance();
                 },
             .failed =
                 [&](size_t i, const Error& error) {
                   report(names[i], error, status);
                   progress.advance();
                 }});
}

}  // namespace

void add_pipeline(CLI::App& app, int& status) {
  auto o = std::make_shared<Options>();
  std::string tasks;
  for (const std::string& task : pipeline_tasks()) tasks += (tasks.empty() ? "" : ", ") + task;
  CLI::App* sub = app.add_subcommand("pipeline", "Run a task on texts, images, sound or pages: " + tasks);
  o->common.add_to(*sub);
  sub->add_option("TASK", o->task, "the task; auto: the one that the checkpoint was made for")->required();
  sub->add_option(
      "INPUT", o->inputs,
      "texts or files; without any, a line each on stdin. sentence-similarity and multiple-choice take the "
      "first with all others; question-answering takes contexts and document-question-answering pages, with "
      "--question, or QUESTION<tab>CONTEXT and PAGE<tab>QUESTION; documents also "
      "{\"image\": PAGE, \"words\": [...], \"boxes\": [...]}");
  sub->add_option("--model", o->model, "checkpoint directory")->required();
  sub->add_option("--question", o->question, "the question about each INPUT");
  sub->add_option("--batch", o->batch, "inputs per call of the model; results do not depend on it")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  sub->add_option("--set", o->settings,
                  "KEY=VALUE: an argument of the task, as transformers' pipeline takes it (top_k=3)")
      ->take_all()
      ->allow_extra_args(false);  // an INPUT may follow
  sub->add_flag("--json", o->json, "one line of JSON per result, with transformers' fields");
  sub->callback([o, &status] { run(*o, status); });
}

}  // namespace caracal::cli
