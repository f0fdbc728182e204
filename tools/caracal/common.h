// What the subcommands share: options that every one has, and small helpers for their output.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <caracal/models/modeling_utils.h>
#include <caracal/runtime/runtime.h>

namespace caracal::cli {

/// --device, --dtype, --tf32, --threads, --backend, --isa.
struct CommonOptions {
  std::string device, dtype = "auto", backend, isa;
  int threads = 0;
  bool tf32 = false;

  /// Adds the options to a subcommand. A name the contract does not know is bad usage; one that this build or machine
  /// lacks is an Error before the subcommand runs, whether or not it has a use for the option. `this` must outlive
  /// `app`.
  /// Of a subcommand that `saves`, --dtype is that of its files.
  void add_to(CLI::App& app, bool saves = false);
  /// Its warnings go to stderr.
  std::shared_ptr<Runtime> make_runtime() const;
  /// With make_runtime(), --dtype, and a bar on a terminal while a large checkpoint loads.
  LoadOptions load_options() const;
};

/// --set KEY=VALUE pairs as one JSON object; VALUE is JSON where it parses as such, else a string.
Json parse_settings(const std::vector<std::string>& settings);
/// Throws invalid_argument for a key that is no attribute of `config`: from_pretrained ignores it, and a misspelt key
/// would change nothing.
void check_settings(const Json& settings, const PretrainedConfig& config);

/// Sorts --set pairs into options of loading, of the forward call (if there is one) and overrides of the attributes of
/// the configuration of `model`; an unknown key is an Error that lists the known ones.
void apply_settings(const std::vector<std::string>& settings, const std::string& model, LoadOptions& load,
                    ForwardOptions* forward);

/// The next line of standard input without its end; false when there is none.
bool read_line(std::string& line);
/// All lines of standard input.
std::vector<std::string> read_lines();
/// A line on stdout, seen at once by whoever reads a pipe or terminal. Throws io.
void print_line(const std::string& line);

/// Text from a file, made safe for a terminal: control characters (C0, DEL, C1) and bytes that are not UTF-8 become
/// \xNN. Cut with an … after about `limit` bytes.
std::string printable(std::string_view text, size_t limit = SIZE_MAX);
/// How much of an error or a warning is worth reading.
inline constexpr size_t kMessageLimit = 1024;
/// A warning on stderr, made safe for a terminal.
void print_warning(const std::string& text);

/// A bar on stderr, drawn on a terminal only, and only for what takes time. `unit` names what is counted. It stays on
/// the screen when all of it was done, and vanishes when not.
class Progress {
 public:
  Progress(int64_t total, std::string unit);
  ~Progress();
  void advance(int64_t count = 1);  // may be negative

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
/// Sets `status` to 1 when an input did not work; the others are done.
void add_pipeline(CLI::App& app, int& status);
void add_preprocess(CLI::App& app);
void add_bench(CLI::App& app);
void add_inspect(CLI::App& app);
void add_config(CLI::App& app);
void add_save(CLI::App& app);
/// Sets `status` to 1 when the outputs differ.
void add_parity(CLI::App& app, int& status);
void add_version(CLI::App& app);

// By caracal::hub where it was built (hub.cpp, download.cpp, cache.cpp), else errors (hub_absent.cpp).
/// Makes from_pretrained download, with bars on a terminal.
void enable_hub();
void add_download(CLI::App& app);
/// Sets `status` to 1 when a file is damaged.
void add_cache(CLI::App& app, int& status);

}  // namespace caracal::cli
