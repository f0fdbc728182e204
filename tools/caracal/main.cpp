// The `caracal` command. Exit status: 0, 1 for a bad input (one line on stderr), 2 for bad usage.
#include <cstdio>
#include <new>

#include "common.h"

namespace {

// An error message on one line.
int complain(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  std::fprintf(stderr, "caracal: error: %s\n", text.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Runs Hugging Face checkpoints. MODEL is a checkpoint directory.");
  app.name("caracal");
  app.require_subcommand(1);
  caracal::cli::add_run(app);
  caracal::cli::add_tokenize(app);
  caracal::cli::add_detokenize(app);
  caracal::cli::add_pipeline(app);
  caracal::cli::add_bench(app);
  caracal::cli::add_inspect(app);
  caracal::cli::add_config(app);
  caracal::cli::add_version(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::bad_alloc&) {
    return complain("out of memory");
  } catch (const std::exception& e) {
    return complain(e.what());
  }
  return 0;
}
