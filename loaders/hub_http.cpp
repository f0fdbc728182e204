#include <caracal/loaders/hub_http.h>

#include <curl/curl.h>
#include <dlfcn.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <random>
#include <string_view>
#include <thread>

namespace caracal::hub {
namespace {

constexpr int kMostRedirects = 10;
constexpr double kTick = 0.1;  // seconds between two calls of Waiting
constexpr size_t kLongestHeaders = 64 << 10, kLongestMessage = 200;
constexpr size_t kLongestUnwanted = 64 << 10;  // body of a response whose status says that it is none of ours

// A write to a connection that the peer has closed raises SIGPIPE, which would end the host's process. It goes to the
// thread that writes: blocked there for the time of a request, and taken away before it is unblocked.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec now{};
    if (!was_pending_)
      while (sigtimedwait(&sigpipe_, nullptr, &now) == SIGPIPE) {
      }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t sigpipe_, before_;
  bool was_pending_;
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return result;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n'))
    text.remove_suffix(1);
  return text;
}

int64_t number_at(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

// An absolute URL taken apart.
struct Url {
  std::string text, scheme, origin;
};
Url parse_url(const std::string& base, const std::string& reference, const std::string& where) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  if (url == nullptr) throw std::bad_alloc();
  if ((!base.empty() && curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) ||
      curl_url_set(url.get(), CURLUPART_URL, reference.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
    throw Error(ErrorCode::io, where, "expected a URL but got something else");  // not shown: a password may be in it
  auto part = [&](CURLUPart which, unsigned flags) {
    char* text = nullptr;
    const CURLUcode got = curl_url_get(url.get(), which, &text, flags);
    const std::unique_ptr<char, decltype(&curl_free)> owner(text, curl_free);
    if (got == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
    return got == CURLUE_OK ? std::string(text) : std::string();
  };
  Url result{part(CURLUPART_URL, 0), lower(part(CURLUPART_SCHEME, 0)), {}};
  result.origin =
      result.scheme + "://" + lower(part(CURLUPART_HOST, 0)) + ":" + part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (result.scheme != "http" && result.scheme != "https")
    throw Error(ErrorCode::io, where, "expected an http or https URL but got scheme '" + result.scheme + "'");
  return result;
}

// A look-up of a name that is given up goes on in a thread of libcurl's, which touches nothing of ours, and ends when
// the resolver answers. Its code must stay until then, though a host may unload us.
void keep_libcurl_loaded() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&curl_easy_init), &info) != 0)
    (void)::dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

}  // namespace

struct HttpSession::State {
  HttpOptions options;
  Waiting waiting;
  CURL* curl = nullptr;
  CURLM* multi = nullptr;  // holds the connection; lets us look up every kTick while nothing comes

  // Of the attempt that is running.
  std::string url;
  HttpHeaders headers;
  std::string location;
  size_t header_bytes = 0;
  size_t unwanted_bytes = 0;
  bool started = false;
  const std::function<void(const HttpHeaders&)>* start = nullptr;
  const std::function<void(std::span<const uint8_t>)>* data = nullptr;
  std::exception_ptr thrown;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();
  CURLcode perform();

  bool wanted() const { return headers.status == 200 || headers.status == 206; }
  void start_once() {
    if (!started && wanted()) (*start)(headers);
    started = true;
  }

  void header(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // a new response: after "100 Continue", or a proxy's
      const size_t blank = line.find(' ');
      const int64_t status = blank == line.npos ? -1 : number_at(trimmed(line.substr(blank).substr(0, 4)));
      const std::string commit = std::move(headers.repo_commit);
      headers = {};
      headers.repo_commit = commit;
      headers.status = int(status);
      location.clear();
      return;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) return;
    const std::string name = lower(line.substr(0, colon));
    const std::string value(trimmed(line.substr(colon + 1)));
    if (name == "etag") headers.etag = value;
    if (name == "x-repo-commit") headers.repo_commit = value;
    if (name == "link") headers.link = value;
    if (name == "x-error-code") headers.error_code = value;
    if (name == "x-error-message") headers.error_message = value.substr(0, kLongestMessage);
    if (name == "location") location = value;
    if (name == "content-length") headers.content_length = number_at(value);
    if (name == "content-range") {  // bytes 5-9/10
      const size_t dash = value.find('-'), slash = value.find('/');
      if (!value.starts_with("bytes ") || dash == value.npos || slash == value.npos) return;
      headers.range_begin = number_at(std::string_view(value).substr(6, dash - 6));
      headers.range_total = number_at(std::string_view(value).substr(slash + 1));
    }
  }

  // No exception crosses libcurl: it is kept, and 0 bytes taken ends the transfer.
  static size_t on_header(char* text, size_t size, size_t count, void* self) {
    State& state = *static_cast<State*>(self);
    try {
      state.header_bytes += size * count;
      if (state.header_bytes > kLongestHeaders)
        throw Error(ErrorCode::io, url_shown(state.url),
                    "expected at most " + std::to_string(kLongestHeaders) + " bytes of headers but got more");
      state.header({text, size * count});
      return size * count;
    } catch (...) {
      state.thrown = std::current_exception();
      return 0;
    }
  }
  static size_t on_data(char* bytes, size_t size, size_t count, void* self) {
    State& state = *static_cast<State*>(self);
    try {
      state.start_once();
      if (state.wanted())
        (*state.data)({reinterpret_cast<const uint8_t*>(bytes), size * count});
      else if ((state.unwanted_bytes += size * count) > kLongestUnwanted)
        return 0;  // the status says enough
      return size * count;
    } catch (...) {
      state.thrown = std::current_exception();
      return 0;
    }
  }
};

HttpSession::HttpSession(const HttpOptions& options, Waiting waiting) : state_(std::make_unique<State>()) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  state_->options = options;
  state_->waiting = std::move(waiting);
  if (initialised == CURLE_OK) state_->curl = curl_easy_init(), state_->multi = curl_multi_init();
  if (state_->curl == nullptr || state_->multi == nullptr)
    throw Error(ErrorCode::io, "hub", "expected libcurl to start but it did not");
#if LIBCURL_VERSION_NUM >= 0x081400
  curl_multi_setopt(state_->multi, CURLMOPT_QUICK_EXIT, 1L);  // whose the threads are from this version on
#endif
}

HttpSession::~HttpSession() = default;

HttpSession::State::~State() {
  const NoSigpipe guard;
  curl_easy_cleanup(curl);
  curl_multi_cleanup(multi);
}

// curl_easy_perform, but that waiting() is called.
CURLcode HttpSession::State::perform() {
  if (curl_multi_add_handle(multi, curl) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
  const std::unique_ptr<State, void (*)(State*)> remove(this, [](State* s) {
    curl_off_t resolved = 0;  // after so many microseconds
    curl_easy_getinfo(s->curl, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
    if (resolved == 0 && s->header_bytes == 0) keep_libcurl_loaded();
    curl_multi_remove_handle(s->multi, s->curl);
  });
  auto looked_up = std::chrono::steady_clock::now();
  for (int running = 1;;) {
    if (curl_multi_perform(multi, &running) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    if (running == 0) break;
    if (curl_multi_poll(multi, nullptr, 0, int(kTick * 1000), nullptr) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_up < std::chrono::duration<double>(kTick)) continue;
    looked_up = now;
    if (waiting) waiting();
  }
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(multi, &left);
  return message == nullptr ? CURLE_OUT_OF_MEMORY : message->data.result;
}

const Waiting& HttpSession::waiting() const noexcept { return state_->waiting; }

HttpHeaders HttpSession::get(const HttpRequest& request, const std::function<void(const HttpHeaders&)>& start,
                             const std::function<void(std::span<const uint8_t>)>& data) {
  const NoSigpipe guard;
  State& state = *state_;
  CURL* curl = state.curl;
  Url url = parse_url({}, request.url, "hub");
  const std::string origin = url.origin;
  state.headers = {};
  for (int redirects = 0;; redirects++) {
    state.url = url.text;
    state.location.clear();
    state.header_bytes = state.unwanted_bytes = 0;
    state.started = false;
    state.start = &start;
    state.data = &data;
    state.thrown = nullptr;

    curl_easy_reset(curl);
    std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> lines(nullptr, curl_slist_free_all);
    auto add = [&](const std::string& line) {
      curl_slist* longer = curl_slist_append(lines.get(), line.c_str());
      if (longer == nullptr) throw std::bad_alloc();
      (void)lines.release();
      lines.reset(longer);
    };
    add("Accept-Encoding: identity");
    if (!request.token.empty() && url.origin == origin) add("Authorization: Bearer " + request.token);
    if (request.begin > 0) add("Range: bytes=" + std::to_string(request.begin) + "-");
    if (request.begin > 0 && !request.if_range.empty()) add("If-Range: " + request.if_range);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines.get());
    curl_easy_setopt(curl, CURLOPT_URL, url.text.c_str());
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "caracal");
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, long(256 << 10));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);  // a look-up of a name that is given up is not waited for
#endif
    if (!state.options.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, state.options.ca_file.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, long(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, long(state.options.timeout * 1000));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, std::max(1L, long(state.options.timeout)));
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, State::on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &state);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, State::on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &state);
    const CURLcode code = state.perform();
    if (state.thrown) std::rethrow_exception(state.thrown);

    const std::string where = url_shown(url.text);
    if (code != CURLE_OK && state.unwanted_bytes <= kLongestUnwanted) {
      const std::string what = std::string("expected a response but got: ") + curl_easy_strerror(code);
      const bool hopeless = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
                            code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WRITE_ERROR ||
                            code == CURLE_OUT_OF_MEMORY;
      if (hopeless) throw Error(ErrorCode::io, where, what);
      throw TransientError(where, what);
    }
    const int status = state.headers.status;
    if (state.wanted()) {
      state.start_once();  // an empty body
      return state.headers;
    }
    if (status / 100 == 3 && !state.location.empty()) {
      if (redirects == kMostRedirects)
        throw Error(ErrorCode::io, url_shown(request.url),
                    "expected at most " + std::to_string(kMostRedirects) + " redirects but got more");
      const Url next = parse_url(url.text, state.location, where);
      if (url.scheme == "https" && next.scheme != "https")
        throw Error(ErrorCode::io, where, "expected a redirect to https but got http");
      url = next;
      continue;
    }
    const std::string what = "expected status 200 but got " + std::to_string(status) +
                             (state.headers.error_message.empty() ? "" : ": " + state.headers.error_message);
    if (status == 408 || status == 429 || status >= 500) {
      curl_off_t wait = 0;
      curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &wait);
      throw TransientError(where, what, double(wait));
    }
    if (status == 401 || status == 404)
      throw AbsentError(where, what + "; there is none, or it needs a token",
                        state.headers.error_code == "RevisionNotFound");
    if (status == 416) throw RangeError(where, what);
    throw Error(ErrorCode::io, where, what);
  }
}

std::string HttpSession::get_text(const HttpRequest& request, size_t most, HttpHeaders* headers) {
  for (int failures = 1;; failures++) {
    std::string text;
    try {
      const HttpHeaders got = get(
          request, [&](const HttpHeaders&) { text.clear(); },
          [&](std::span<const uint8_t> bytes) {
            if (bytes.size() > most - text.size())
              throw Error(ErrorCode::io, url_shown(request.url),
                          "expected at most " + std::to_string(most) + " bytes but got more");
            text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          });
      if (headers != nullptr) *headers = got;
      return text;
    } catch (const TransientError& error) {
      wait_or_throw(error, failures);
    }
  }
}

void HttpSession::wait_or_throw(const TransientError& error, int failures) const {
  const HttpOptions& options = state_->options;
  if (failures >= options.attempts || error.wait > options.longest_retry_after) throw error;
  double seconds = options.first_wait;
  for (int i = 1; i < failures && seconds < options.longest_wait; i++) seconds *= 2;
  // Drawn from the upper half, so that those who failed together do not come back together.
  std::random_device random;
  seconds =
      std::min(seconds, options.longest_wait) * (0.5 + 0.5 * double(random()) / double(std::random_device::max()));
  wait_seconds(std::max(seconds, error.wait), waiting());
}

void wait_seconds(double seconds, const Waiting& waiting) {
  for (; seconds > 0; seconds -= kTick) {
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(seconds, kTick)));
    if (waiting) waiting();
  }
}

std::string url_shown(std::string_view url) {
  url = url.substr(0, url.find('?'));
  const size_t scheme = url.find("://"), begin = scheme == url.npos ? 0 : scheme + 3;
  const size_t at = url.substr(0, url.find('/', begin)).rfind('@');
  std::string text(url);
  if (at != url.npos && at >= begin) text.erase(begin, at + 1 - begin);
  return text.substr(0, kLongestMessage);
}

std::string url_quote(std::string_view text, bool keep_slashes) {
  std::string result;
  for (char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.~").find(c) != std::string_view::npos || (c == '/' && keep_slashes);
    constexpr char kHex[] = "0123456789ABCDEF";
    if (plain)
      result += c;
    else
      result.append({'%', kHex[uint8_t(c) >> 4], kHex[uint8_t(c) & 15]});
  }
  return result;
}

}  // namespace caracal::hub
