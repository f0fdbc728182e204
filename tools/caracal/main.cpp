// The `caracal` command. Exit status: 0, 1 for a bad input (one line on stderr), 2 for bad usage.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "common.h"

namespace {

using caracal::cli::kMessageLimit, caracal::cli::printable;

// An error message on one line.
int complain(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  std::fprintf(stderr, "caracal: error: %s\n", printable(text, kMessageLimit).c_str());
  return 1;
}

// The status of a command that did its work: results that could not be written are an error.
int finish() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return 0;
  return complain(std::string("[stdout] expected to write the results but got: ") + std::strerror(errno));
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;  // of a command that went through and found a difference or a bad input
  CLI::App app("Runs Hugging Face checkpoints. MODEL is a checkpoint directory, or a name of the hub.");
  app.name("caracal");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& e) {
    return printable(e.what(), kMessageLimit) + "\nRun with --help for more information.\n";
  });
  caracal::cli::add_run(app);
  caracal::cli::add_tokenize(app);
  caracal::cli::add_detokenize(app);
  caracal::cli::add_pipeline(app, status);
  caracal::cli::add_preprocess(app);
  caracal::cli::add_bench(app);
  caracal::cli::add_inspect(app);
  caracal::cli::add_config(app);
  caracal::cli::add_save(app);
  caracal::cli::add_parity(app, status);
  caracal::cli::add_download(app);
  caracal::cli::add_cache(app, status);
  caracal::cli::add_version(app);
  try {
    caracal::cli::enable_hub();
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? finish() : 2;
  } catch (const std::bad_alloc&) {
    return complain("out of memory");
  } catch (const std::exception& e) {
    return complain(e.what());
  }
  const int written = finish();
  return written != 0 ? written : status;
}
