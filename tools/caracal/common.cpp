#include "common.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/models/auto.h>
#include <caracal/models/settings.h>

namespace caracal::cli {
namespace {

// "" when `name` is cpu, cuda or cuda:N; as CLI11 wants it, else what is wrong.
std::string check_device(const std::string& name) {
  if (name == "cpu" || name == "cuda") return "";
  const std::string_view number = name.starts_with("cuda:") ? std::string_view(name).substr(5) : "";
  if (!number.empty() && number.size() <= 4 && number.find_first_not_of("0123456789") == number.npos) return "";
  return "expected cpu or cuda[:N] but got '" + name + "'";
}

void check_isa(const std::string& name) {
  kernels::Isa isa;
  if (name.empty() || (kernels::isa_from_name(name.c_str(), isa) && kernels::isa_supported(isa))) return;
  std::string have;
  for (kernels::Isa each : kernels::kIsas)
    if (kernels::isa_supported(each)) have += (have.empty() ? "" : ", ") + std::string(kernels::isa_name(each));
  throw Error(ErrorCode::not_built, "--isa",
              "expected " + have + " but got '" + name + "': not built, or not on this machine");
}

void check_backend(const std::string& name) {
  kernels::Backend backend;
  const char* about = nullptr;
  if (name == "cublas") {  // whether the library is there, and a device, Runtime asks
    if (kernels::cuda::cublas_table(&about) != nullptr || about != nullptr) return;
    throw Error(ErrorCode::not_built, "--backend",
                "expected native or eigen but got 'cublas': not built; configure with -DCARACAL_CUBLAS=ON");
  }
  if (name.empty() || (kernels::backend_from_name(name.c_str(), backend) &&
                       kernels::backend_kernels(backend, kernels::best_isa()) != nullptr))
    return;
  throw Error(ErrorCode::not_built, "--backend",
              "expected native or eigen but got '" + name + "': not built; configure with -DCARACAL_ONEDNN=ON");
}

// Length of the UTF-8 sequence of a character that may be shown at the start of `text`, else 0.
size_t shown_character(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t(0); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f;
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  for (size_t i = 1; i < length; i++)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const bool c1 = lead == 0xc2 && byte(1) < 0xa0;
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  return c1 || overlong ? 0 : length;
}

}  // namespace

void CommonOptions::add_to(CLI::App& app, bool saves) {
  app.add_option("--device", device, "cpu or cuda[:N]; default: CARACAL_DEVICE, else cpu")->check(check_device);
  app.add_option("--dtype", dtype,
                 saves ? "dtype to save in; auto: the checkpoint's" : "dtype of the weights; auto: the checkpoint's")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16", "int8"}));
  app.add_flag("--tf32", tf32, "on cuda round the operands of float32 products to TF32, for tensor cores");
  app.add_option("--threads", threads, "threads per call; 0: all this process may use")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--backend", backend, "who multiplies matrices; default: native, eigen where no tier was written")
      ->check(CLI::IsMember({"native", "onednn", "eigen", "cublas"}));
  app.add_option("--isa", isa, "instruction set; default: the best one")
      ->check(CLI::Validator(
          [](std::string& name) {
            kernels::Isa known;
            if (kernels::isa_from_name(name.c_str(), known)) return std::string();
            std::string names;
            for (kernels::Isa each : kernels::kIsas) names += (names.empty() ? "" : ", ") + std::string(isa_name(each));
            return "expected one of " + names + " but got " + name;
          },
          ""));
  app.parse_complete_callback([this] {
    if (device.starts_with("cuda") && kernels::cuda::cuda_table() == nullptr)
      throw Error(ErrorCode::not_built, "--device", "expected cpu but got '" + device + "': not built");
    check_isa(isa);
    check_backend(backend);
  });
}

void print_warning(const std::string& text) {
  std::string lines;  // control characters of a hostile file out, ends of lines in, the report's tabs as blanks
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    std::replace(line.begin(), line.end(), '\t', ' ');
    lines += (begin ? "\n" : "") + printable(line, kMessageLimit);
    begin = end + 1;
  }
  std::fprintf(stderr, "caracal: warning: %s\n", lines.c_str());
}

std::shared_ptr<Runtime> CommonOptions::make_runtime() const {
  auto log = [](LogLevel level, const std::string& text) {
    if (level == LogLevel::warning) print_warning(text);
  };
  return std::make_shared<Runtime>(
      RuntimeOptions{.threads = threads, .isa = isa, .backend = backend, .log = log, .device = device, .tf32 = tf32});
}

LoadOptions CommonOptions::load_options() const {
  constexpr uint64_t kLarge = 100'000'000;  // bytes: loads faster than a bar can be read
  auto bar = std::make_shared<std::unique_ptr<Progress>>();
  auto progress = [bar, last = uint64_t(0)](uint64_t done, uint64_t total) mutable {
    if (total < kLarge) return;
    if (*bar == nullptr) *bar = std::make_unique<Progress>(int64_t(total / 1'000'000), "MB");
    (*bar)->advance(int64_t(done / 1'000'000) - int64_t(last / 1'000'000));
    last = done;
    if (done == total) bar->reset();
  };
  return {.dtype = dtype, .runtime = make_runtime(), .progress = progress};
}

void apply_settings(const std::vector<std::string>& settings, const std::string& model, LoadOptions& load,
                    ForwardOptions* forward) {
  const Json all = parse_settings(settings);
  Json config = Json::Object{};
  for (const auto& [key, value] : all.as_object()) {
    if (forward != nullptr && set_option(*forward, key, value)) continue;
    if (!set_option(load, key, value)) config.set(key, value);
  }
  if (!config.as_object().empty())
    check_settings(config, *AutoConfig::from_pretrained(checkpoint_directory(model, load)));
  load.config = config;
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

void check_settings(const Json& settings, const PretrainedConfig& config) {
  for (const auto& [key, value] : settings.as_object()) {
    if (config.has(key)) continue;
    std::string names = "num_labels";
    const Json known = config.to_dict();
    for (const auto& [name, unused] : known.as_object())
      if (config.has(name) && !name.starts_with('_')) names += ", " + name;
    throw Error(ErrorCode::invalid_argument, "--set",
                "expected an attribute of " + std::string(config.class_name()) + " or a forward flag but got '" + key +
                    "'; there are " + names);
  }
}

bool read_line(std::string& line) {
  if (!std::getline(std::cin, line)) return false;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return true;
}

std::vector<std::string> read_lines() {
  std::vector<std::string> lines;
  for (std::string line; read_line(line);) lines.push_back(std::move(line));
  return lines;
}

void print_line(const std::string& line) {
  static const bool buffered = [] {
    struct stat status {};
    return fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
  }();
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  if ((!buffered && std::fflush(stdout) != 0) || std::ferror(stdout))
    throw Error(ErrorCode::io, "stdout", std::string("expected to write a line but got: ") + std::strerror(errno));
}

std::string printable(std::string_view text, size_t limit) {
  std::string result;
  while (!text.empty()) {
    if (result.size() >= limit) return result + "…";
    const size_t length = shown_character(text);
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\x%02x", unsigned(uint8_t(text[0])));
    result += length > 0 ? text.substr(0, length) : std::string_view(hex);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Progress::Progress(int64_t total, std::string unit)
    : total_(total), unit_(std::move(unit)), terminal_(isatty(STDERR_FILENO) == 1), started_(now()) {}

Progress::~Progress() {
  if (!terminal_ || drawn_ == 0) return;
  if (done_ < total_) {  // given up: what comes next starts on a clean line
    std::fputs("\r\033[K", stderr);
    return;
  }
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
  const double left = done_ > 0 ? elapsed / double(done_) * double(total_ - done_) : 0;
  char text[96];
  std::snprintf(text, sizeof text, " %lld/%lld %s, %.1f s%s", static_cast<long long>(done_),
                static_cast<long long>(total_), unit_.c_str(), done_ < total_ ? left : elapsed,
                done_ < total_ ? " left" : "");
  const int width = std::max(10, columns - int(std::string_view(text).size()) - 4), filled = int(fraction * width);
  std::fprintf(stderr, "\r[%s%s]%s\033[K", std::string(size_t(filled), '=').c_str(),
               std::string(size_t(width - filled), ' ').c_str(), text);
  std::fflush(stderr);
}

}  // namespace caracal::cli
