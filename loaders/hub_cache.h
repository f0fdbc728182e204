// Names of the hub, "google-bert/bert-base-uncased", as folders of the local cache, which is laid out as
// huggingface_hub lays it out and shared with it. Nothing here touches the network: who wants names that are not in the
// cache links caracal::hub and calls enable_downloads() (loaders/hub.h).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/runtime/json.h>

namespace caracal {

/// What the environment says about the hub, as in huggingface_hub's constants.py. "true" is 1, ON, YES or TRUE, in
/// either case; a variable that is empty counts as none.
struct HubSettings {
  std::string cache;          ///< $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE or HOME/hub, where HOME is $HF_HOME,
                              ///< $XDG_CACHE_HOME/huggingface or ~/.cache/huggingface; a leading ~ is $HOME, or the
                              ///< user's directory where that is not set, and $NAME or ${NAME} another variable
  std::string endpoint;       ///< $HF_ENDPOINT or https://huggingface.co, without a slash at its end
  std::string token;          ///< $HF_TOKEN or $HUGGING_FACE_HUB_TOKEN, else the content of the file $HF_TOKEN_PATH or
                              ///< HOME/token; may be empty, and is when $HF_HUB_DISABLE_IMPLICIT_TOKEN is true
  bool offline = false;       ///< $HF_HUB_OFFLINE, or without it $TRANSFORMERS_OFFLINE, is true
  bool progress_bars = true;  ///< false when $HF_HUB_DISABLE_PROGRESS_BARS is true

  /// Reads them anew.
  static HubSettings from_environment();
};
/// HubSettings::from_environment() at the first call, in every later call too.
const HubSettings& hub_settings();

/// Which files of a repository, and from where: the arguments of that name of transformers' from_pretrained.
struct HubOptions {
  std::string revision = {};      // branch, tag or commit; default: main
  std::string subfolder = {};     // of the repository or directory
  std::string variant = {};       // of the weights: "fp16" for model.fp16.safetensors
  std::string cache_dir = {};     // default: hub_settings().cache
  std::string token = {};         // default: hub_settings().token
  bool local_files_only = false;  // the cache alone, even where downloads are enabled
  bool force_download = false;    // anew, even what the cache has
};

/// What a class reads of a repository, and so what is downloaded for it.
enum class HubPart {
  config,                ///< config.json
  tokenizer,             ///< vocabulary and configuration of a tokenizer
  preprocessor,          ///< configuration of an image processor or feature extractor
  processor,             ///< both of these
  model,                 ///< configuration and safetensors weights
  sentence_transformer,  ///< model, tokenizer, and modules with their folders
  everything,            ///< all that caracal can read
};
/// The files of a part, without its weights; "*/config.json" is that of every folder.
std::vector<std::string_view> files_of(HubPart part);
/// Whether the weights belong to it.
bool has_weights(HubPart part);

/// One repository, or a directory in its place.
struct HubRequest {
  std::string name;
  HubPart part = HubPart::everything;
  HubOptions options = {};
  std::vector<std::string> more = {};  ///< names of further files, if the repository has them
  bool only_more = false;              ///< those alone, and each must be there
};

/// Throws invalid_argument unless revision, subfolder and variant are relative names that stay where they are.
void check_options(const HubOptions& options);
/// True when nothing may be downloaded: local_files_only, or HF_HUB_OFFLINE. Throws invalid_argument when that goes
/// together with force_download.
bool is_local(const HubOptions& options);

/// Throws invalid_argument unless `name` is "name" or "owner/name" as the hub allows them.
void check_hub_name(const std::string& name);
/// Whether check_hub_name() would not throw (huggingface_hub's validate_repo_id).
bool is_hub_name(const std::string& name) noexcept;
/// CACHE/models--owner--name. Throws invalid_argument for what is no name of the hub.
std::string hub_repository_folder(const std::string& name, const HubOptions& options);
/// So many hexadecimal digits, 0-9 and a-f.
bool is_hex(std::string_view text, size_t digits) noexcept;
/// 40 hexadecimal digits.
bool is_commit(std::string_view revision) noexcept;
/// CACHE/blobs/AB/HASH, where HASH is 64 hexadecimal digits that begin with AB: a file that came by Xet, once for all
/// repositories of the cache. Their blobs are links to there (huggingface_hub 2.4, utils/_shared_blobs.py).
bool is_shared_blob(const std::string& path, const std::string& cache);
/// The commit of a branch or tag as the cache knows it, or empty. Of a revision that is a commit, itself. Without a
/// revision branch main, or the newest snapshot where the cache knows no branch main. Throws invalid_argument.
std::string cached_commit(const std::string& name, const HubOptions& options);
/// The folder of that commit's files, or empty when there is none. Throws invalid_argument.
std::string cached_snapshot(const std::string& name, const HubOptions& options);

/// Gets what a request asks for into the cache, and returns the folder of the snapshot (without the subfolder).
using HubFetcher = std::function<std::string(const HubRequest&)>;
/// From here on locate_checkpoint calls `fetcher` for names of the hub; an empty one ends that. Safe from any thread.
void set_hub_fetcher(HubFetcher fetcher);

/// The path that from_pretrained(name_or_path) means, with the subfolder: `name_or_path` where there is such a path, or
/// where it cannot be a name of the hub, for the caller to say what is missing; else what the fetcher gives; else the
/// cached snapshot. Throws not_found when the cache has none, or one of which no branch tells that its download came to
/// an end and that lacks what the request needs; invalid_argument; and what the fetcher throws.
std::string locate_checkpoint(const HubRequest& request);

/// A path, and the overrides without those that are HubOptions.
struct LocatedFiles {
  std::string path;
  Json overrides;
};
/// The same for the classes whose from_pretrained takes its options as one object:
/// {{"revision", "v1.0"}, {"do_lower_case", true}}. Throws invalid_argument for an option of the wrong type.
LocatedFiles locate_files(const std::string& name_or_path, HubPart part, const Json& overrides);
/// Sets the option of this name; false when there is none. Throws invalid_argument for a value of the wrong type.
bool set_option(HubOptions& options, const std::string& name, const Json& value);

}  // namespace caracal
