// What the tests of the hub share: the loopback hub of hub_server.py, repositories for it, and looks into a cache.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <caracal/loaders/file.h>
#include <caracal/loaders/hub.h>
#include <caracal/loaders/hub_blob.h>
#include <caracal/runtime/json.h>

namespace caracal {

namespace fs = std::filesystem;

inline std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void spill(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// Bytes without a pattern, the same for the same seed.
inline std::string noise(size_t size, uint32_t seed) {
  std::string text(size, '\0');
  uint64_t state = seed * 2654435761u + 1;
  for (char& c : text) c = char((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
  return text;
}

// A request to the control addresses of the server; the body of the answer.
inline std::string talk(int port, const std::string& request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == ssize_t(request.size())) {
    char buffer[1 << 16];
    for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;) answer.append(buffer, size_t(got));
  }
  ::close(fd);
  const size_t body = answer.find("\r\n\r\n");
  return body == answer.npos ? std::string() : answer.substr(body + 4);
}

// The server in a process of its own, which ends with this one.
class HubServer {
 public:
  explicit HubServer(const fs::path& root) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::execlp("python3", "python3", CARACAL_HUB_SERVER, root.c_str(), certificate().c_str(),
               (fs::path(CARACAL_TEST_DATA) / "hub/certificate_key.pem").c_str(), nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    stdin_ = in[1];
    std::string line;
    for (char c; ::read(out[0], &c, 1) == 1 && c != '\n';) line += c;
    ::close(out[0]);
    if (line.empty()) throw std::runtime_error("expected python3 to run hub_server.py but it did not");
    const Json urls = Json::parse(line, "hub_server.py");
    hub = urls.at("hub").as_string();
    store = urls.at("store").as_string();
    foreign = urls.at("foreign").as_string();
    tls = urls.at("tls").as_string();
    port_ = std::stoi(hub.substr(hub.rfind(':') + 1));
  }
  ~HubServer() {
    ::close(stdin_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }

  void control(const Json& what) {
    const std::string body = what.dump();
    talk(port_, "POST /_control HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                    std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  void faults(Json::Array list) { control({{"faults", std::move(list)}}); }
  // Forgets requests and faults.
  void reset() { control({{"faults", Json::Array{}}, {"clear", true}, {"set", Json{{"bandwidth", 0}}}}); }

  struct Entry {
    std::string server, path, range, if_range, token;
    int64_t status, sent;
  };
  std::vector<Entry> log() {
    std::vector<Entry> entries;
    const Json list = Json::parse(talk(port_, "GET /_log HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "/_log");
    for (const Json& item : list.as_array()) {
      auto header = [&](const char* name) {
        const Json* value = item.at("headers").find(name);
        return value != nullptr ? value->as_string() : std::string();
      };
      entries.push_back({item.at("server").as_string(), item.at("path").as_string(), header("range"),
                         header("if-range"), header("authorization"), item.at("status").as_int(),
                         item.at("sent").as_int()});
    }
    return entries;
  }
  // Requests whose "server path" holds `part`.
  std::vector<Entry> requests(const std::string& part) {
    std::vector<Entry> found;
    for (Entry& entry : log())
      if ((entry.server + " " + entry.path).find(part) != std::string::npos) found.push_back(entry);
    return found;
  }

  // Of `tls`; signed by itself, so that nobody trusts it who is not told to.
  static std::string certificate() { return fs::path(CARACAL_TEST_DATA) / "hub/certificate.pem"; }

  std::string hub, store, foreign, tls;

 private:
  pid_t pid_;
  int stdin_, port_;
};

// The repository of tools/check_hub.py: all of its files are read by a sentence transformer.
inline void write_text_repository(const fs::path& folder) {
  const fs::path base = fs::path(CARACAL_TEST_DATA) / "models/bert/base";
  spill(folder / "config.json", slurp(base / "config.json"));
  spill(folder / "model.safetensors", slurp(base / "model.safetensors"));
  spill(folder / "tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}");
  std::string vocabulary;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "##s", "sit", "."})
    vocabulary += std::string(token) + "\n";
  spill(folder / "vocab.txt", vocabulary);
  spill(folder / "modules.json",
        "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}, "
        "{\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}]");
  spill(folder / "1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
}

// Every blob of a cache has the hash that its name says; their number.
inline size_t expect_right_blobs(const fs::path& cache) {
  size_t count = 0;
  if (!fs::exists(cache)) return 0;
  for (const fs::directory_entry& repository : fs::directory_iterator(cache)) {
    const fs::path blobs = repository.path() / "blobs";
    if (!fs::exists(blobs)) continue;
    for (const fs::directory_entry& blob : fs::directory_iterator(blobs)) {
      const std::string name = blob.path().filename().string();
      if (name.ends_with(".incomplete")) continue;
      const std::string text = slurp(blob.path());
      hub::BlobHash hash(name, text.size());
      hash.update({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
      EXPECT_EQ(hash.finish(), name) << blob.path();
      count++;
    }
  }
  return count;
}

inline std::vector<fs::path> unfinished(const fs::path& cache) {
  std::vector<fs::path> found;
  if (!fs::exists(cache)) return found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(cache))
    if (entry.path().string().ends_with(".incomplete")) found.push_back(entry.path());
  return found;
}

// Nothing of the user's environment, and `home` in the place of HF_HOME.
inline void clean_environment(const fs::path& home) {
  setenv("HF_HOME", home.c_str(), 1);
  setenv("no_proxy", "*", 1);
  for (const char* name : {"HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                           "HF_ENDPOINT", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HUB_OFFLINE",
                           "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"})
    unsetenv(name);
}

// Patience that tests can afford.
inline DownloadOptions quick(const HubServer& server) {
  return {.endpoint = server.hub,
          .http = {.first_wait = 0.01, .longest_wait = 0.05, .timeout = 2, .longest_retry_after = 5}};
}

// A hub and a cache of a suite's own, the cache empty before each test. The suite derives from WithHub<itself> and has
// a public write_repositories(folder).
template <class Suite>
class WithHub : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root = fs::temp_directory_path() / ("caracal_hub_" + std::to_string(getpid()));
    clean_environment(root / "home");
    Suite::write_repositories(root / "repositories");
    server = new HubServer(root / "repositories");
  }
  static void TearDownTestSuite() {
    delete server;
    fs::remove_all(root);
  }
  void SetUp() override {
    server->reset();
    fs::remove_all(cache());
  }
  void TearDown() override { disable_downloads(); }

  static fs::path cache() { return root / "home/hub"; }
  static std::string download(const HubRequest& what) { return download_snapshot(what, quick(*server)); }

  static inline fs::path root;
  static inline HubServer* server;
};

}  // namespace caracal
