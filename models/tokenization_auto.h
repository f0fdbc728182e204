// AutoTokenizer: chooses the tokenizer class of a checkpoint.
#pragma once

#include <string>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

class AutoTokenizer {
 public:
  /// The class is tokenizer_config.json's tokenizer_class, else config.json's, else that of config.json's model_type,
  /// else what the tokenizer.json says. `name_or_path` is a directory, a name of the hub (locate_files), a
  /// tokenizer.json or a vocab.txt (BERT). The override {{"use_fast", false}} gives BERT by the plain algorithm. Throws
  /// unsupported for a class that is not built in and has no tokenizer.json.
  static PreTrainedTokenizerBase from_pretrained(const std::string& name_or_path, const Json& overrides = {});
};

}  // namespace caracal
