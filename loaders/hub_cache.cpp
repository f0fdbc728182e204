#include <caracal/loaders/hub_cache.h>

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include <caracal/loaders/directory.h>
#include <caracal/loaders/file.h>
#include <caracal/loaders/hub_tree.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool is_true(std::string value) {
  for (char& c : value)
    if (c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

// The user's own directory: $HOME, or what the system says of the user.
std::string home_directory() {
  if (const std::string home = variable("HOME"); !home.empty()) return home;
  passwd entry{}, *found = nullptr;
  std::array<char, 4096> text;
  return ::getpwuid_r(::getuid(), &entry, text.data(), text.size(), &found) == 0 && found != nullptr ? found->pw_dir
                                                                                                     : "";
}

fs::path expand_user(const std::string& path) {
  if (path != "~" && !path.starts_with("~/")) return path;
  const std::string home = home_directory();
  return home.empty() ? fs::path(path) : fs::path(home) / path.substr(std::min<size_t>(2, path.size()));
}

// Python's os.path.expandvars: $NAME and ${NAME}, those that are set.
std::string expand_variables(const std::string& path) {
  std::string result;
  for (size_t at = 0; at < path.size();) {
    const bool braces = path.compare(at, 2, "${") == 0;
    const size_t begin = at + (braces ? 2 : 1);
    size_t end = begin;
    while (end < path.size() && (std::isalnum(static_cast<unsigned char>(path[end])) || path[end] == '_')) end++;
    const char* value = path[at] == '$' && end > begin && (!braces || path[end] == '}')
                            ? std::getenv(path.substr(begin, end - begin).c_str())
                            : nullptr;
    result += value != nullptr ? std::string(value) : path.substr(at, 1);
    at = value != nullptr ? end + (braces ? 1 : 0) : at + 1;
  }
  return result;
}

// A folder as a variable names it.
fs::path folder_in(const std::string& text) { return expand_variables(expand_user(text).string()); }

// Tokens end up in a header: what is around them, and what does not belong there, goes.
std::string clean_token(const std::string& text) {
  std::string token;
  for (char c : text)
    if (c > ' ' && c < 127) token += c;
  return token;
}

fs::path cache_of(const HubOptions& options) {
  return options.cache_dir.empty() ? fs::path(hub_settings().cache) : expand_user(options.cache_dir);
}

// Why `name` is no name of the hub, or null.
const char* problem_of(std::string_view name) noexcept {
  int slashes = 0;
  if (name.empty()) return "1 to 96 characters";
  for (char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (c == '/' && ++slashes > 1) return "one slash at most";
    if (!plain && c != '/') return "letters, digits, '-', '_' and '.'";
  }
  for (const auto part : {name.substr(0, name.find('/')), name.substr(std::min(name.size(), name.find('/') + 1))}) {
    if (slashes > 0 && part.empty()) return "something before and after the slash";
    if (part.size() > 96) return "1 to 96 characters";
    if (part.starts_with('.') || part.starts_with('-') || part.ends_with('.') || part.ends_with('-'))
      return "no '.' or '-' at either end";
  }
  if (name.find("--") != name.npos || name.find("..") != name.npos) return "no -- or ..";
  return name.ends_with(".git") ? "no .git at its end" : nullptr;
}

std::string newest_folder(const fs::path& parent) {
  std::string newest;
  fs::file_time_type when;
  std::error_code error;
  for (const std::string& name : names_in(parent.string(), error)) {
    std::error_code ignored;
    const fs::file_time_type time = fs::last_write_time(parent / name, ignored);
    if (ignored || !is_commit(name) || !fs::is_directory(parent / name, ignored)) continue;
    if (newest.empty() || time > when || (time == when && name > newest)) newest = name, when = time;
  }
  return newest;
}

// The fetcher, and what guards it.
struct FetcherSlot {
  std::mutex mutex;
  HubFetcher fetcher;
};
FetcherSlot& fetcher_slot() {
  static FetcherSlot slot;
  return slot;
}
HubFetcher current_fetcher() {
  FetcherSlot& slot = fetcher_slot();
  const std::lock_guard lock(slot.mutex);
  return slot.fetcher;
}

}  // namespace

HubSettings HubSettings::from_environment() {
  fs::path home = folder_in(variable("HF_HOME"));
  if (home.empty()) {
    const std::string cache = variable("XDG_CACHE_HOME");
    home = folder_in(cache.empty() ? "~/.cache" : cache) / "huggingface";
  }
  HubSettings settings;
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (settings.cache.empty()) settings.cache = folder_in(variable(name)).string();
  if (settings.cache.empty()) settings.cache = (home / "hub").string();

  settings.endpoint = variable("HF_ENDPOINT");
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";

  constexpr size_t kLongestToken = 4096;
  const std::string file = variable("HF_TOKEN_PATH");
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
    if (settings.token.empty()) settings.token = clean_token(variable(name));
  if (settings.token.empty())
    settings.token = clean_token(read_start(file.empty() ? home / "token" : folder_in(file), kLongestToken));
  if (is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) settings.token.clear();
  const std::string offline = variable("HF_HUB_OFFLINE");
  settings.offline = is_true(offline.empty() ? variable("TRANSFORMERS_OFFLINE") : offline);
  settings.progress_bars = !is_true(variable("HF_HUB_DISABLE_PROGRESS_BARS"));
  return settings;
}

const HubSettings& hub_settings() {
  static const HubSettings settings = HubSettings::from_environment();
  return settings;
}

std::vector<std::string_view> files_of(HubPart part) {
  std::vector<std::string_view> files{"config.json"};
  const bool all = part == HubPart::everything, sentence = all || part == HubPart::sentence_transformer,
             both = all || part == HubPart::processor;
  auto add = [&](bool wanted, std::initializer_list<std::string_view> names) {
    if (wanted) files.insert(files.end(), names);
  };
  add(sentence || both || part == HubPart::tokenizer,
      {"tokenizer_config.json", "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json",
       "added_tokens.json"});
  add(both || part == HubPart::preprocessor, {"preprocessor_config.json"});
  add(both || part == HubPart::preprocessor || part == HubPart::tokenizer, {"processor_config.json"});
  add(has_weights(part), {"generation_config.json"});
  add(sentence, {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*/config.json"});
  return files;
}

bool has_weights(HubPart part) {
  return part == HubPart::model || part == HubPart::sentence_transformer || part == HubPart::everything;
}

bool is_hub_name(const std::string& name) noexcept { return problem_of(name) == nullptr; }

void check_hub_name(const std::string& name) {
  if (const char* problem = problem_of(name))
    throw Error(ErrorCode::invalid_argument, "hub",
                std::string("expected a name of the hub (") + problem + ") but got " + Json(name).dump());
}

std::string hub_repository_folder(const std::string& name, const HubOptions& options) {
  check_hub_name(name);
  std::string folder = "models--" + name;
  if (const size_t slash = folder.find('/'); slash != folder.npos) folder.replace(slash, 1, "--");
  return (cache_of(options) / folder).string();
}

bool is_hex(std::string_view text, size_t digits) noexcept {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

bool is_commit(std::string_view revision) noexcept { return is_hex(revision, 40); }

bool is_shared_blob(const std::string& path, const std::string& cache) {
  const std::string hash = fs::path(path).filename().string();
  return is_hex(hash, 64) && fs::path(path).parent_path() == fs::path(cache) / "blobs" / hash.substr(0, 2);
}

void check_options(const HubOptions& options) {
  for (const auto& [name, value] :
       {std::pair{"revision", &options.revision}, {"subfolder", &options.subfolder}, {"variant", &options.variant}}) {
    try {
      if (!value->empty()) check_relative_name(*value, name);
    } catch (const Error&) {
      throw Error(ErrorCode::invalid_argument, name,
                  "expected a relative name without \".\" or \"..\" parts but got " + Json(*value).dump());
    }
  }
}

bool is_local(const HubOptions& options) {
  const bool local = options.local_files_only || hub_settings().offline;
  if (local && options.force_download)
    throw Error(ErrorCode::invalid_argument, "hub",
                "expected force_download without local_files_only or HF_HUB_OFFLINE but got both");
  return local;
}

std::string cached_commit(const std::string& name, const HubOptions& options) {
  check_options(options);
  if (is_commit(options.revision)) return options.revision;
  const fs::path repository = hub_repository_folder(name, options);
  const std::string revision = options.revision.empty() ? "main" : options.revision;
  const std::string commit = read_start(repository / "refs" / revision, 64);
  if (is_commit(commit)) return commit;
  std::error_code ignored;
  const bool unknown = options.revision.empty() && !fs::exists(repository / "refs" / revision, ignored);
  return unknown ? newest_folder(repository / "snapshots") : std::string();
}

std::string cached_snapshot(const std::string& name, const HubOptions& options) {
  const std::string commit = cached_commit(name, options);
  if (commit.empty()) return {};
  const fs::path snapshot = fs::path(hub_repository_folder(name, options)) / "snapshots" / commit;
  std::error_code ignored;
  return fs::is_directory(snapshot, ignored) ? snapshot.string() : std::string();
}

void set_hub_fetcher(HubFetcher fetcher) {
  FetcherSlot& slot = fetcher_slot();
  const std::lock_guard lock(slot.mutex);
  slot.fetcher = std::move(fetcher);
}

std::string locate_checkpoint(const HubRequest& request) {
  const HubOptions& options = request.options;
  check_options(options);
  auto with_subfolder = [&](const std::string& folder) {
    return options.subfolder.empty() ? folder : (fs::path(folder) / options.subfolder).string();
  };
  std::error_code ignored;
  if (fs::exists(request.name, ignored) || !is_hub_name(request.name)) return with_subfolder(request.name);

  const bool local = is_local(options);
  const HubFetcher fetcher = current_fetcher();
  if (fetcher && !local) return with_subfolder(fetcher(request));
  if (options.force_download)
    throw Error(ErrorCode::invalid_argument, request.name, "expected enable_downloads() before force_download");
  const std::string snapshot = cached_snapshot(request.name, options);
  if (!snapshot.empty()) {
    // A branch is written when a download has come to its end. Without it, the list of files tells.
    const fs::path main = fs::path(hub_repository_folder(request.name, options)) / "refs/main";
    if (options.revision.empty() && !fs::exists(main, ignored))
      for (const std::string& missing : hub::missing_in_cache(request, fs::path(snapshot).filename().string()))
        throw Error(ErrorCode::not_found, request.name,
                    "expected the hub's cache to have all that is needed but " + Json(missing).dump() +
                        " is missing: its download did not come to an end");
    return with_subfolder(snapshot);
  }
  throw Error(ErrorCode::not_found, request.name,
              "expected a directory, or a repository " +
                  (options.revision.empty() ? "" : "with revision " + Json(options.revision).dump() + " ") +
                  "in the hub's cache, but there is none of this name" +
                  (local ? ", and downloads are off" : ", and nobody called enable_downloads()"));
}

bool set_option(HubOptions& options, const std::string& name, const Json& value) {
  auto wrong = [&](const char* expected) {
    throw Error(ErrorCode::invalid_argument, name, std::string("expected ") + expected + " but got " + value.dump());
  };
  for (const auto& [known, member] :
       {std::pair{"revision", &HubOptions::revision}, std::pair{"subfolder", &HubOptions::subfolder},
        std::pair{"variant", &HubOptions::variant}, std::pair{"cache_dir", &HubOptions::cache_dir},
        std::pair{"token", &HubOptions::token}}) {
    if (name != known) continue;
    if (!value.is_string() && !value.is_null()) wrong("a string");
    options.*member = value.is_null() ? std::string() : value.as_string();
    return true;
  }
  for (const auto& [known, member] : {std::pair{"local_files_only", &HubOptions::local_files_only},
                                      std::pair{"force_download", &HubOptions::force_download}}) {
    if (name != known) continue;
    if (!value.is_bool()) wrong("true or false");
    options.*member = value.as_bool();
    return true;
  }
  return false;
}

LocatedFiles locate_files(const std::string& name_or_path, HubPart part, const Json& overrides) {
  if (!overrides.is_object()) return {locate_checkpoint({.name = name_or_path, .part = part}), overrides};
  HubRequest request{.name = name_or_path, .part = part};
  Json::Object rest;
  for (const auto& [key, value] : overrides.as_object())
    if (!set_option(request.options, key, value)) rest.emplace_back(key, value);
  return {locate_checkpoint(request), std::move(rest)};
}

}  // namespace caracal
