// A model against a reference file that PyTorch made: which output is the first to diverge.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <caracal/models/auto.h>

namespace caracal {

struct ParityOptions {
  std::string task = {};  // Auto class; default: the reference file's
  double tolerance = 2e-5;
  std::string dtype = "auto";  // as in LoadOptions
  std::shared_ptr<Runtime> runtime = {};
};

struct ParityRow {
  std::string name;     // "hidden_states.3"
  double worst = 0;     // max |Δ| / max(1, |reference|); infinite for NaN, another shape, or no such output
  double relative = 0;  // max |Δ| / max(1, max |reference|), likewise: what is left of numbers of 16 bits
  bool within = false;  // the tolerance; and 0 where a mask hides the position
};

struct ParityReport {
  std::string class_name, dtype;  // dtype: of the parameters
  std::vector<ParityRow> rows;    // in the order of computation: of each layer input, cache, attentions, then the heads
  LoadingInfo loading_info;

  /// The first row that is not within the tolerance, or null; the row with the largest difference, or null.
  const ParityRow* first_diverging() const;
  const ParityRow* worst() const;
};

/// Loads the checkpoint directory `path` and runs it on the inputs of `reference`, a safetensors file with tensors
/// `inputs.<forward argument>` and expected outputs under their own names, and metadata: "task" (the Auto class), and
/// as JSON objects "load" (options of from_pretrained) and "arguments" (of the forward call). tools/goldens writes such
/// files. Throws bad_file for a file without outputs, and whatever loading and running throw.
ParityReport check_parity(const std::string& path, const std::string& reference, const ParityOptions& options = {});

}  // namespace caracal
