// caracal::hub's HTTP: GET over libcurl, with the redirects, retries and secrecy that the hub needs: what its statuses
// and headers mean is in huggingface_hub's utils/_http.py (http_backoff, hf_raise_for_status) and file_download.py.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include <caracal/runtime/error.h>

namespace caracal::hub {

/// A failure that another attempt may mend: no connection, a time-out, a response cut short, 408, 429, 5xx.
class TransientError : public Error {
 public:
  TransientError(std::string_view where, std::string_view what, double wait_seconds = 0)
      : Error(ErrorCode::io, where, what), wait(wait_seconds) {}
  double wait;  ///< seconds that the server asked to wait (Retry-After), or 0
};

/// The server has no such part of the file, or sent another: what there is of it may be no beginning of it.
class RangeError : public Error {
 public:
  RangeError(std::string_view where, std::string_view what) : Error(ErrorCode::bad_file, where, what) {}
};

/// 401 or 404: the server does not have it, or does not show it.
class AbsentError : public Error {
 public:
  AbsentError(std::string_view where, std::string_view what, bool revision_alone)
      : Error(ErrorCode::not_found, where, what), revision(revision_alone) {}
  bool revision;  ///< the repository is there and shown, but not this branch, tag or commit
};

/// How often and how patiently.
struct HttpOptions {
  int attempts = 5;       // for a request, or in a row without a new byte of a file
  double first_wait = 1;  // seconds before the second attempt; doubles from one to the next
  double longest_wait = 8;
  double timeout = 10;               // seconds to connect, and without a byte
  double longest_retry_after = 300;  // a server that asks for more is not waited for
  std::string ca_file = {};          // certificates to trust, PEM; default: the system's
};

/// What is read of the headers of a response, and of those before it: a redirect of the hub to a store names the
/// commit.
struct HttpHeaders {
  int status = 0;
  int64_t content_length = -1, range_begin = -1, range_total = -1;
  std::string etag, repo_commit, link, error_code, error_message;
};

struct HttpRequest {
  std::string url;
  std::string token = {};     // sent to the origin (scheme, host, port) of `url`, and to no other
  uint64_t begin = 0;         // the first byte wanted
  std::string if_range = {};  // only if this is still the ETag
};

/// Called every 100 ms or so while a download waits: for a server, another attempt, a lock. May throw to stop it.
using Waiting = std::function<void()>;

/// One connection at a time, kept alive between requests. For one thread at a time.
class HttpSession {
 public:
  /// Connects to nothing yet. Throws io when libcurl does not start.
  explicit HttpSession(const HttpOptions& options, Waiting waiting = {});
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  /// One attempt. Follows up to ten redirects, over http or https and never from https to http. When the status is 200
  /// or 206, calls `start` with the headers and then `data` with each piece of the body; both may throw. Throws
  /// TransientError; RangeError for 416; AbsentError for 401 and 404 (the hub's answers for what it does not show),
  /// io for the rest.
  HttpHeaders get(const HttpRequest& request, const std::function<void(const HttpHeaders&)>& start,
                  const std::function<void(std::span<const uint8_t>)>& data);
  /// The body of at most `most` bytes, with retries as the options say; the headers that came with it, if asked for.
  /// Throws what get() throws, and io for a longer body.
  std::string get_text(const HttpRequest& request, size_t most, HttpHeaders* headers = nullptr);

  /// Waits before attempt number `failures` + 1, as `error` and the options say. Throws `error` when it was the last.
  void wait_or_throw(const TransientError& error, int failures) const;
  /// As given to the constructor; may be empty.
  const Waiting& waiting() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Sleeps, and calls `waiting`, if any, every 100 ms meanwhile. Throws what that throws.
void wait_seconds(double seconds, const Waiting& waiting);

/// `text` for a part of a path or query: all but letters, digits and "-_.~" (and '/' if `keep_slashes`) as %XX.
std::string url_quote(std::string_view text, bool keep_slashes);

/// A URL as an error may show it: without "user:password@", without what follows '?' (it may be a signature), and cut.
std::string url_shown(std::string_view url);

}  // namespace caracal::hub
