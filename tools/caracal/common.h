// What the subcommands share: options that every one has, and small helpers for their output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <caracal/models/modeling_utils.h>
#include <caracal/runtime/runtime.h>

namespace caracal::cli {

/// --device, --dtype, --threads, --backend, --isa.
struct CommonOptions {
  std::string device = "cpu", dtype = "float32", backend = "native", isa;
  int threads = 0;

  void add_to(CLI::App& app);
  /// Throws for a device, dtype or backend that this build does not have.
  std::shared_ptr<Runtime> make_runtime() const;
};

/// --set KEY=VALUE pairs as one JSON object; VALUE is JSON where it parses as such, else a string.
Json parse_settings(const std::vector<std::string>& settings);

/// Lines of standard input, without their ends.
std::vector<std::string> read_lines();

/// `caracal: warning: …` lines on stderr for weights that were missing.
void warn_missing(const PreTrainedModel& model);

/// A bar on stderr, drawn on a terminal only. `unit` names what is counted.
class Progress {
 public:
  Progress(int64_t total, std::string unit);
  ~Progress();
  void advance(int64_t count = 1);

 private:
  void draw();
  int64_t total_, done_ = 0;
  std::string unit_;
  bool terminal_;
  double started_, drawn_ = 0;
};

/// Seconds on a monotonic clock.
double now();

// One function per file: each adds a subcommand to the application.
void add_run(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_detokenize(CLI::App& app);
void add_pipeline(CLI::App& app);
void add_bench(CLI::App& app);
void add_inspect(CLI::App& app);
void add_config(CLI::App& app);
void add_version(CLI::App& app);

}  // namespace caracal::cli
