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
#include <caracal/loaders/hub_tree.h>
#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;
using namespace hub;

constexpr size_t kMostText = size_t(64) << 20;  // bytes of an answer that is not a file
constexpr int kMostPages = 1000;
constexpr size_t kMostFiles = 1'000'000;  // of a repository

// Beside the place and renamed to it, so that nobody reads half of it. A cache that others fill may be read-only, and
// is of use all the same: failing is no error.
void try_to_write(const fs::path& path, const std::string& text) {
  try {
    make_directories(path.parent_path());
    write_atomically(path.string(), text);
  } catch (const Error&) {
  }
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
    check_options(request.options);
    if (token_.find_first_of("\r\n") != token_.npos)
      throw Error(ErrorCode::invalid_argument, "token", "expected one line but got more");
    while (endpoint_.ends_with('/')) endpoint_.pop_back();
  }

  std::string run() {
    if (is_local(request_.options)) return cached();
    const std::string known = whole_in_cache();
    bool stopped = false;  // by the caller, whatever it threw
    try {
      HttpOptions patience = options_.http;
      if (!known.empty()) patience.attempts = 1;  // the cache does, too
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
      if (stopped || known.empty() || !cache_may_do(error)) throw;
      commit_ = known;
      return snapshot().string();
    }
    const WantedFiles wanted = wanted_files(tree_, request_);
    for (const std::string& name : wanted.absent) remember_absence(name);
    if (!request_.only_more && has_weights(request_.part) && !wanted.weights) refuse_other_weights();
    download(needed(wanted.names));
    download(needed(wanted_shards(tree_, request_, snapshot())));
    remember_revision();
    return snapshot().string();
  }

 private:
  fs::path snapshot() const { return repository_ / "snapshots" / commit_; }
  fs::path tree_path() const { return repository_ / "trees" / (commit_ + ".json"); }
  std::string api(const std::string& rest) const { return endpoint_ + "/api/models/" + request_.name + rest; }

  std::string ask_commit(HttpSession& session) {
    const std::string url = api("/revision/" + url_quote(revision_, false));
    const std::string text = session.get_text({.url = url, .token = token_}, kMostText), where = url_shown(url);
    const Json answer = Json::parse(text, where);
    return in_file(where, [&] {
      const std::string& sha = answer.at("sha").as_string();
      if (!is_commit(sha)) throw Error(ErrorCode::bad_file, where, "expected a commit but got " + Json(sha).dump());
      return sha;
    });
  }

  void ask_tree(HttpSession& session) {
    std::string url = api("/tree/" + commit_ + "?recursive=true&expand=false");
    for (int page = 0; !url.empty(); page++) {
      if (page == kMostPages)
        throw Error(ErrorCode::bad_file, url_shown(url), "expected an end of the list of files but got none");
      HttpHeaders headers;
      const std::string where = url_shown(api("/tree/" + commit_));
      const std::string text = session.get_text({.url = url, .token = token_}, kMostText, &headers);
      add_page(tree_, Json::parse(text, where), where);
      if (tree_.size() > kMostFiles)
        throw Error(ErrorCode::bad_file, where,
                    "expected at most " + std::to_string(kMostFiles) + " files but got more");
      url = next_page(headers.link);
      if (!url.empty() && !url.starts_with(endpoint_ + "/"))  // the token goes along
        throw Error(ErrorCode::bad_file, where,
                    "expected the next page from " + url_shown(endpoint_) + " but got another host's");
    }
    try_to_write(tree_path(), tree_text(tree_));
  }

  // No network, no service, or not allowed: but a revision that the hub does not know any more is gone.
  static bool cache_may_do(const Error& error) {
    const auto* absent = dynamic_cast<const AbsentError*>(&error);
    return absent != nullptr ? !absent->revision : error.code() == ErrorCode::io;
  }

  // The commit that the cache knows, when nothing of the request is missing from it as far as the cache can tell.
  std::string whole_in_cache() const {
    if (request_.options.force_download) return {};
    try {
      const std::string commit = cached_commit(request_.name, request_.options);
      std::error_code ignored;
      const bool there = !commit.empty() && fs::is_directory(repository_ / "snapshots" / commit, ignored);
      return there && missing_in_cache(request_, commit).empty() ? commit : std::string();
    } catch (const Error&) {  // damaged: the hub may help
      return {};
    }
  }

  std::string cached() {
    commit_ = cached_commit(request_.name, request_.options);
    std::error_code ignored;
    const bool there = !commit_.empty() && fs::is_directory(snapshot(), ignored);
    const std::vector<std::string> missing = there ? missing_in_cache(request_, commit_) : std::vector<std::string>{};
    if (there && missing.empty()) return snapshot().string();
    throw Error(ErrorCode::not_found, request_.name,
                "expected all of it in the cache, as downloads are off, but " +
                    (there ? Json(missing[0]).dump() + " is missing" : "there is none of this name and revision"));
  }

  std::vector<std::string> needed(const std::vector<std::string>& names) const {
    return request_.options.force_download ? names : missing_files(snapshot(), names);
  }

  // The weights of a repository that has them in formats we do not read only.
  void refuse_other_weights() const {
    const std::string prefix = request_.options.subfolder.empty() ? "" : request_.options.subfolder + "/";
    bool safetensors = false;
    for (const auto& [name, entry] : tree_) safetensors |= name.starts_with(prefix) && name.ends_with(".safetensors");
    for (const auto& [name, entry] : tree_) {
      const bool here = name.starts_with(prefix) && name.find('/', prefix.size()) == name.npos;
      const std::string_view format = here && !safetensors ? foreign_format_of_name(name) : std::string_view();
      if (!format.empty()) throw_foreign_format(format, request_.name + "/" + name);
    }
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
    // HttpRequest by its name: without it GCC 12 destroys the request twice where a later member throws (bad_alloc).
    const Blob blob{.name = request_.name + "/" + name,
                    .etag = entry.etag(),
                    .size = entry.size,
                    .request = HttpRequest{.url = endpoint_ + "/" + request_.name + "/resolve/" + commit_ + "/" +
                                                  url_quote(name, true),
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
