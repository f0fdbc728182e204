#include "common.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>

namespace caracal::cli {

void CommonOptions::add_to(CLI::App& app) {
  app.add_option("--device", device, "cpu or cuda[:N]")->capture_default_str();
  app.add_option("--dtype", dtype, "float32, bfloat16, float16 or int8")->capture_default_str();
  app.add_option("--threads", threads, "threads per call; 0: all this process may use")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--backend", backend, "native, onednn or eigen")->capture_default_str();
  app.add_option("--isa", isa, "instruction set: scalar, avx2 or avx512; default: the best one");
}

std::shared_ptr<Runtime> CommonOptions::make_runtime() const {
  auto refuse = [](const char* option, const std::string& expected, const std::string& got) {
    throw Error(ErrorCode::not_built, option,
                "expected " + expected + " but got '" + got + "', which this build does not have");
  };
  if (device != "cpu") refuse("--device", "cpu", device);
  if (dtype != "float32") refuse("--dtype", "float32", dtype);
  if (backend != "native") refuse("--backend", "native", backend);
  return std::make_shared<Runtime>(RuntimeOptions{.threads = threads, .isa = isa});
}

Json parse_settings(const std::vector<std::string>& settings) {
  Json result = Json::Object{};
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ErrorCode::invalid_argument, "--set", "expected KEY=VALUE but got '" + setting + "'");
    const std::string text = setting.substr(equals + 1);
    Json value = text;
    try {
      value = Json::parse(text, "--set");
    } catch (const Error&) {  // not JSON: the text itself
      if (text == "True") value = true;
      if (text == "False") value = false;
      if (text == "None") value = nullptr;
    }
    result.set(setting.substr(0, equals), std::move(value));
  }
  return result;
}

std::vector<std::string> read_lines() {
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

void warn_missing(const PreTrainedModel& model) {
  const auto& missing = model.loading_info().missing_keys;
  if (missing.empty()) return;
  std::string names;
  for (size_t i = 0; i < missing.size() && i < 8; i++) names += (i ? ", " : "") + missing[i];
  if (missing.size() > 8) names += ", … (" + std::to_string(missing.size()) + " in all)";
  std::fprintf(stderr, "caracal: warning: %s: freshly initialised, not in the checkpoint: %s\n", model.class_name(),
               names.c_str());
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Progress::Progress(int64_t total, std::string unit)
    : total_(total), unit_(std::move(unit)), terminal_(isatty(STDERR_FILENO) == 1), started_(now()) {}

Progress::~Progress() {
  if (!terminal_ || drawn_ == 0) return;
  draw();
  std::fputc('\n', stderr);
}

void Progress::advance(int64_t count) {
  done_ += count;
  if (terminal_ && now() - drawn_ > 0.1 && now() - started_ > 0.3) draw();
}

void Progress::draw() {
  drawn_ = now();
  winsize size{};
  const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  const double fraction = total_ > 0 ? double(done_) / double(total_) : 1, elapsed = drawn_ - started_;
  char text[96];
  std::snprintf(text, sizeof text, " %lld/%lld %s, %.1f s left", static_cast<long long>(done_),
                static_cast<long long>(total_), unit_.c_str(),
                done_ > 0 ? elapsed / double(done_) * double(total_ - done_) : 0.0);
  const int width = std::max(10, columns - int(std::string_view(text).size()) - 4), filled = int(fraction * width);
  std::fprintf(stderr, "\r[%s%s]%s\033[K", std::string(size_t(filled), '=').c_str(),
               std::string(size_t(width - filled), ' ').c_str(), text);
  std::fflush(stderr);
}

}  // namespace caracal::cli
