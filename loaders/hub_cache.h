// Names of the hub, "google-bert/bert-base-uncased", as folders of the local cache that huggingface_hub keeps.
#pragma once

#include <string>

namespace caracal {

/// The directory that from_pretrained(name_or_path) means: `name_or_path` itself where there is such a path, else the
/// snapshot of branch main in the cache, else `name_or_path` again, for the caller to say what is missing. The cache is
/// $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub. Nothing is downloaded.
std::string resolve_model_path(const std::string& name_or_path);

}  // namespace caracal
