#include <caracal/loaders/hub.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include <caracal/loaders/file.h>
#include <caracal/loaders/hub_blob.h>
#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;
using namespace hub;

constexpr size_t kMostText = size_t(64) << 20;  // bytes of an answer that is not a file
constexpr int kMostPages = 1000;
constexpr size_t kMostFiles = 1'000'000;  // of a repository

// What the hub says of a file. As huggingface_hub keeps it in trees/COMMIT.json.
struct TreeEntry {
  uint64_t size = 0;
  std::string git_hash = {}, sha256 = {}, xet_hash = {};
  const std::string& etag() const { return sha256.empty() ? git_hash : sha256; }
};
using Tree = std::map<std::string, TreeEntry>;

uint64_t size_from(const Json& value, const std::string& where) {
  if (value.as_int() < 0) throw Error(ErrorCode::bad_file, where, "expected a size but got " + value.dump());
  return uint64_t(value.as_int());
}

void check_entry(const std::string& path, const TreeEntry& entry, const std::string& where) {
  check_relative_name(path, where);
  if (!is_hex(entry.git_hash, 40) || (!entry.sha256.empty() && !is_hex(entry.sha256, 64)) ||
      (!entry.xet_hash.empty() && !is_hex(entry.xet_hash, 64)))
    throw Error(ErrorCode::bad_file, where, "expected hashes in hexadecimal for " + Json(path).dump());
}

// A page of the hub's answer to "tree".
void add_page(Tree& tree, const Json& page, const std::string& where) {
  in_file(where, [&] {
    for (const Json& item : page.as_array()) {
      if (item.at("type").as_string() != "file") continue;
      TreeEntry entry{.size = size_from(item.at("size"), where), .git_hash = item.at("oid").as_string()};
      if (const Json* lfs = item.find("lfs"); lfs != nullptr && !lfs->is_null()) {
        entry.sha256 = lfs->at("oid").as_string();
        entry.size = size_from(lfs->at("size"), where);
      }
      if (const Json* xet = item.find("xetHash"); xet != nullptr && xet->is_string()) entry.xet_hash = xet->as_string();
      const std::string& path = item.at("path").as_string();
      check_entry(path, entry, where);
      tree[path] = std::move(entry);
    }
  });
}

// The cache's own copy, or nothing when there is none or it makes no sense.
Tree read_tree(const fs::path& path) {
  Tree tree;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return tree;
  try {
    const Json json = Json::parse_file(path.string());
    if (json.at("format_version") != Json(1)) return {};
    for (const auto& [name, item] : json.at("files").as_object()) {
      TreeEntry entry{.size = size_from(item.at("size"), name), .git_hash = item.at("blob_id").as_string()};
      if (const Json* sha256 = item.find("lfs_sha256"); sha256 != nullptr && sha256->is_string()) {
        entry.sha256 = sha256->as_string();
        entry.size = size_from(item.at("lfs_size"), name);
      }
      if (const Json* xet = item.find("xet_hash"); xet != nullptr && xet->is_string())
        entry.xet_hash = xet->as_string();
      check_entry(name, entry, path.string());
      tree[name] = std::move(entry);
    }
    return tree;
  } catch (const Error&) {
    return {};
  }
}

// Beside the place and renamed to it, so that nobody reads half of it. A cache that others fill may be read-only, and
// is of use all the same: failing is no error.
void try_to_write(const fs::path& path, const std::string& text) {
  try {
    make_directories(path.parent_path());
    write_atomically(path.string(), text);
  } catch (const Error&) {
  }
}

std::string tree_text(const Tree& tree) {
  Json files = Json::Object{};
  for (const auto& [name, entry] : tree) {
    Json item{{"size", int64_t(entry.size)}, {"blob_id", entry.git_hash}};
    if (!entry.sha256.empty()) {
      item.set("lfs_sha256", entry.sha256);
      item.set("lfs_size", int64_t(entry.size));
    }
    if (!entry.xet_hash.empty()) item.set("xet_hash", entry.xet_hash);
    files.as_object().emplace_back(name, std::move(item));
  }
  return Json{{"format_version", 1}, {"files", std::move(files)}}.dump(1);
}

// The address in `<https://…>; rel="next"`, or empty.
std::string next_page(const std::string& link) {
  for (size_t begin = 0; begin < link.size();) {
    const size_t open = link.find('<', begin), close = link.find('>', begin);
    if (open == link.npos || close == link.npos || close < open) return {};
    const size_t end = std::min(link.find(',', close), link.size());
    if (link.substr(close, end - close).find("rel=\"next\"") != link.npos)
      return link.substr(open + 1, close - open - 1);
    begin = end + 1;
  }
  return {};
}

// One call of download_snapshot.
class Snapshot {
 public:
  Snapshot(const HubRequest& request, const DownloadOptions& options)
      : request_(request),
        options_(options),
        revision_(request.options.revision.empty() ? "main" : request.options.revision),
        repository_(hub_repository_folder(request.name, request.options)),
        endpoint_(options.endpoint.empty() ? hub_settings().endpoint : options.endpoint),
        token_(request.options.token.empty() ? hub_settings().token : request.options.token) {
    check_relative_name(revision_, "revision");
    if (!request.options.subfolder.empty()) check_relative_name(request.options.subfolder, "subfolder");
    if (!request.options.variant.empty()) check_relative_name(request.options.variant, "variant");
    if (token_.find_first_of("\r\n") != token_.npos)
      throw Error(ErrorCode::invalid_argument, "token", "expected one line but got more");
    while (endpoint_.ends_with('/')) endpoint_.pop_back();
  }

  std::string run() {
    bool stopped = false;  // by the caller, whatever it threw
    try {
      HttpOptions patience = options_.http;  // little of it where the cache may do
      if (!request_.options.force_download && !cached_snapshot(request_.name, request_.options).empty())
        patience.attempts = 1;
      const std::string nothing;
      HttpSession session(patience, [&] {
        try {
          if (options_.progress) options_.progress({nothing, 0, 0, 0, 0});
        } catch (...) {
          stopped = true;
          throw;
        }
      });
      commit_ = is_commit(revision_) ? revision_ : ask_commit(session);
      tree_ = read_tree(tree_path());
      if (tree_.empty()) ask_tree(session);
    } catch (const Error& error) {
      // No network, no service, or not allowed: the cache may do.
      if (stopped || error.code() != ErrorCode::io || request_.options.force_download || !use_cache()) throw;
      return snapshot().string();
    }
    std::vector<std::string> missing = missing_of(wanted());
    download(missing);
    if (weights_wanted()) {
      missing = missing_of(shards());
      download(missing);
    }
    remember_revision();
    return snapshot().string();
  }

 private:
  fs::path snapshot() const { return repository_ / "snapshots" / commit_; }
  fs::path tree_path() const { return repository_ / "trees" / (commit_ + ".json"); }
  bool weights_wanted() const { return !request_.only_more && has_weights(request_.part); }
  std::string in_subfolder(const std::string& name) const {
    return request_.options.subfolder.empty() ? name : request_.options.subfolder + "/" + name;
  }
  std::string api(const std::string& rest) const { return endpoint_ + "/api/models/" + request_.name + rest; }

  std::string ask_commit(HttpSession& session) {
    const std::string url = api("/revision/" + url_quote(revision_, false));
    const std::string text = session.get_text({.url = url, .token = token_}, kMostText);
    const Json answer = Json::parse(text, url);
    return in_file(url, [&] {
      const std::string& sha = answer.at("sha").as_string();
      if (!is_commit(sha)) throw Error(ErrorCode::bad_file, url, "expected a commit but got " + Json(sha).dump());
      return sha;
    });
  }

  void ask_tree(HttpSession& session) {
    std::string url = api("/tree/" + commit_ + "?recursive=true&expand=false");
    for (int page = 0; !url.empty(); page++) {
      if (page == kMostPages)
        throw Error(ErrorCode::bad_file, url, "expected an end of the list of files but got none");
      HttpHeaders headers;
      const std::string where = api("/tree/" + commit_);
      const std::string text = session.get_text({.url = url, .token = token_}, kMostText, &headers);
      add_page(tree_, Json::parse(text, where), where);
      if (tree_.size() > kMostFiles)
        throw Error(ErrorCode::bad_file, where,
                    "expected at most " + std::to_string(kMostFiles) + " files but got more");
      url = next_page(headers.link);
      if (!url.empty() && !url.starts_with(endpoint_ + "/"))  // the token goes along
        throw Error(ErrorCode::bad_file, where, "expected the next page from " + endpoint_ + " but got another host's");
    }
    try_to_write(tree_path(), tree_text(tree_));
  }

  // True when the cache knows the revision and nothing that is asked for is missing from it, as far as it can tell.
  bool use_cache() {
    commit_ = cached_commit(request_.name, request_.options);
    std::error_code ignored;
    if (commit_.empty() || !fs::is_directory(snapshot(), ignored)) return false;
    tree_ = read_tree(tree_path());
    if (tree_.empty()) return true;
    return missing_of(wanted()).empty() && (!weights_wanted() || missing_of(shards()).empty());
  }

  std::string weights_name(bool index) const {
    const std::string dot = request_.options.variant.empty() ? "" : "." + request_.options.variant;
    return in_subfolder(index ? "model.safetensors.index" + dot + ".json" : "model" + dot + ".safetensors");
  }

  // What is asked for and in the repository; of sharded weights the index.
  std::vector<std::string> wanted() {
    std::vector<std::string> names;
    for (const std::string& name : request_.more) {
      if (tree_.contains(in_subfolder(name)))
        names.push_back(in_subfolder(name));
      else if (request_.only_more)
        throw Error(ErrorCode::not_found, request_.name,
                    "expected a file " + Json(in_subfolder(name)).dump() + " in " + commit_ + " but there is none");
    }
    if (request_.only_more) return names;
    for (std::string_view file : files_of(request_.part)) {
      if (file.starts_with("*/")) {
        const std::string prefix = in_subfolder("");
        for (const auto& [name, entry] : tree_) {
          if (!name.starts_with(prefix)) continue;
          const size_t slash = name.find('/', prefix.size());
          if (slash != name.npos && name.substr(slash + 1) == file.substr(2)) names.push_back(name);
        }
      } else if (const std::string name = in_subfolder(std::string(file)); tree_.contains(name)) {
        names.push_back(name);
      } else {
        remember_absence(name);
      }
    }
    if (!weights_wanted()) return names;
    for (bool index : {false, true}) {
      if (!tree_.contains(weights_name(index))) continue;
      names.push_back(weights_name(index));
      return names;
    }
    refuse_other_weights();
    return names;  // the loader says what is missing
  }

  // The weights of a repository that has them in formats we do not read only.
  void refuse_other_weights() const {
    const std::string prefix = in_subfolder("");
    bool safetensors = false;
    for (const auto& [name, entry] : tree_) safetensors |= name.starts_with(prefix) && name.ends_with(".safetensors");
    for (const auto& [name, entry] : tree_) {
      const bool here = name.starts_with(prefix) && name.find('/', prefix.size()) == name.npos;
      const std::string_view format = here && !safetensors ? foreign_format_of_name(name) : std::string_view();
      if (!format.empty()) throw_foreign_format(format, request_.name + "/" + name);
    }
  }

  // The files that the index names; none when the weights are one file.
  std::vector<std::string> shards() const {
    if (tree_.contains(weights_name(false)) || !tree_.contains(weights_name(true))) return {};
    const std::string path = (snapshot() / weights_name(true)).string();
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return {weights_name(true)};
    const Json index = Json::parse_file(path);
    return in_file(path, [&] {
      std::vector<std::string> names;
      for (const auto& [tensor, file] : index.at("weight_map").as_object()) {
        const std::string name = in_subfolder(file.as_string());
        check_relative_name(file.as_string(), path);
        if (!tree_.contains(name))
          throw Error(ErrorCode::bad_file, path, "expected files of the repository but got " + Json(name).dump());
        names.push_back(name);
      }
      std::sort(names.begin(), names.end());
      names.erase(std::unique(names.begin(), names.end()), names.end());
      return names;
    });
  }

  std::vector<std::string> missing_of(const std::vector<std::string>& names) const {
    std::vector<std::string> missing;
    for (const std::string& name : names) {
      std::error_code ignored;
      if (request_.options.force_download || !fs::is_regular_file(snapshot() / name, ignored)) missing.push_back(name);
    }
    return missing;
  }

  // huggingface_hub's mark of a file that is known not to exist. Only of use offline: failing to leave it is no error.
  void remember_absence(const std::string& name) const {
    std::error_code ignored;
    const fs::path mark = repository_ / ".no_exist" / commit_ / name;
    if (fs::exists(mark, ignored)) return;
    fs::create_directories(mark.parent_path(), ignored);
    const int fd = ::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) ::close(fd);
  }

  void remember_revision() const {
    if (revision_ == commit_) return;
    HubOptions options = request_.options;
    options.revision = revision_;
    if (cached_commit(request_.name, options) == commit_) return;
    try_to_write(repository_ / "refs" / revision_, commit_);
  }

  void tag_cache() const {
    const fs::path tag = repository_.parent_path() / "CACHEDIR.TAG";
    std::error_code ignored;
    if (fs::exists(tag, ignored)) return;
    try_to_write(tag,
                 "Signature: 8a477f597d28d172789f06886806bc55\n"
                 "# This file is a cache directory tag created by huggingface_hub.\n"
                 "# For information about cache directory tags, see:\n"
                 "#\thttps://bford.info/cachedir/\n");
  }

  // snapshots/COMMIT/NAME -> ../../blobs/ETAG, in place of whatever has the name.
  void link(const std::string& name, const std::string& etag) const {
    const fs::path path = snapshot() / name;
    make_directories(path.parent_path());
    const fs::path target = (repository_ / "blobs" / etag).lexically_relative(path.parent_path());
    std::error_code ignored;
    if (fs::read_symlink(path, ignored) == target) return;
    const fs::path beside = path.parent_path() / ("." + path.filename().string() + "." + random_suffix() + ".tmp");
    if (::symlink(target.c_str(), beside.c_str()) != 0) throw_errno(beside, "create the link");
    if (::rename(beside.c_str(), path.c_str()) == 0) return;
    const int error = errno;
    ::unlink(beside.c_str());
    errno = error;
    throw_errno(path, "replace the link");
  }

  void fetch(HttpSession& session, const std::string& name, const BlobProgress& progress) const {
    const TreeEntry& entry = tree_.at(name);
    const fs::path cache = repository_.parent_path();
    const Blob blob{
        .name = request_.name + "/" + name,
        .etag = entry.etag(),
        .size = entry.size,
        .request = {.url = endpoint_ + "/" + request_.name + "/resolve/" + commit_ + "/" + url_quote(name, true),
                    .token = token_},
        .commit = commit_,
        .repository = repository_,
        .lock = cache / ".locks" / repository_.filename() / (entry.etag() + ".lock")};
    fetch_blob(session, blob, request_.options.force_download, progress);
    link(name, entry.etag());
  }

  void download(const std::vector<std::string>& names) {
    if (names.empty()) return;
    make_directories(repository_);
    tag_cache();
    uint64_t total = 0, done = 0;
    for (const std::string& name : names) total = checked_add(total, tree_.at(name).size, request_.name);

    std::mutex mutex;  // of done, first, and the caller's callback
    std::exception_ptr first;
    std::atomic<size_t> next{0};
    std::atomic<bool> stop{false};
    auto work = [&] {
      size_t i = 0;
      uint64_t mine = 0;
      auto report = [&](uint64_t now) {
        if (stop) throw Error(ErrorCode::io, names[i], "expected to go on but another file failed");
        const std::lock_guard lock(mutex);
        done += now - mine;  // wraps when `now` is less, and comes out right
        mine = now;
        if (options_.progress) options_.progress({names[i], now, tree_.at(names[i]).size, done, total});
      };
      HttpSession session(options_.http, [&] { report(mine); });
      for (; !stop && (i = next++) < names.size();) {
        try {
          mine = 0;
          fetch(session, names[i], report);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (first == nullptr) first = std::current_exception();
          stop = true;
        }
      }
    };
    std::vector<std::thread> threads;
    try {
      const size_t count = std::min(names.size(), size_t(std::clamp(options_.parallel, 1, 64)));
      for (size_t i = 1; i < count; i++)
        threads.emplace_back([&] {
          try {
            work();
          } catch (...) {  // no session: the others do its work, or the calling thread says why not
          }
        });
    } catch (...) {  // no more threads: fewer will do
    }
    std::exception_ptr no_session;
    try {
      work();
    } catch (...) {
      no_session = std::current_exception();
    }
    for (std::thread& thread : threads) thread.join();
    if (first != nullptr) std::rethrow_exception(first);
    if (next < names.size()) std::rethrow_exception(no_session);
  }

  const HubRequest& request_;
  const DownloadOptions& options_;
  std::string revision_;
  fs::path repository_;
  std::string endpoint_, token_, commit_;
  Tree tree_;
};

}  // namespace

std::string download_snapshot(const HubRequest& request, const DownloadOptions& options) {
  return Snapshot(request, options).run();
}

void enable_downloads(DownloadOptions options) {
  set_hub_fetcher(
      [options = std::move(options)](const HubRequest& request) { return download_snapshot(request, options); });
}

void disable_downloads() { set_hub_fetcher({}); }

}  // namespace caracal
