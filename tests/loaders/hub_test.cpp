// caracal::hub against a loopback hub: what is fetched, what the cache then looks like, and every fault of a server.
#include <sys/file.h>

#include <algorithm>
#include <chrono>

#include <caracal/caracal.h>
#include <caracal/loaders/hub_scan.h>
#include <caracal/tests/loaders/hub_testing.h>

namespace caracal {
namespace {

class HubTest : public WithHub<HubTest> {
 public:
  static void write_repositories(const fs::path& repositories) {
    write_text_repository(repositories / "org/text/main");
    write_text_repository(repositories / "org/text/v1.0");
    spill(repositories / "org/text/v1.0/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nold\n");
    write_text_repository(repositories / "org/private/main");
    spill(repositories / "org/large/main/config.json", "{}");
    spill(repositories / "org/large/main/model.safetensors", noise(kLarge, 1));
    spill(repositories / "org/pickle/main/config.json", "{}");
    spill(repositories / "org/pickle/main/pytorch_model.bin", "x");
    const fs::path sharded = repositories / "org/sharded/main/sub";
    spill(sharded / "config.json", "{}");
    spill(sharded / "model.safetensors.index.fp16.json",
          "{\"weight_map\": {\"a\": \"model.fp16-1.safetensors\", \"b\": \"model.fp16-2.safetensors\"}}");
    for (const char* name : {"model.fp16-1.safetensors", "model.fp16-2.safetensors", "model.fp16-3.safetensors"})
      spill(sharded / name, name);
  }

 protected:
  static HubRequest request(const std::string& name, HubPart part = HubPart::everything) {
    return {.name = name, .part = part, .options = {.cache_dir = cache().string()}};
  }
  // Downloads org/large under these faults; the error's code, or nothing.
  static std::optional<ErrorCode> with_faults(Json::Array faults, std::string* text = nullptr,
                                              HubRequest what = request("org/large")) {
    server->faults(std::move(faults));
    try {
      const fs::path snapshot = download(what);
      EXPECT_EQ(slurp(snapshot / "model.safetensors"), noise(kLarge, 1));
    } catch (const Error& error) {
      if (text != nullptr) *text = error.what();
      expect_right_blobs(cache());
      return error.code();
    }
    expect_right_blobs(cache());
    EXPECT_TRUE(unfinished(cache()).empty());
    return {};
  }
  // No blob and no link of the large file.
  static void expect_nothing_large() {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(cache())) {
      EXPECT_NE(entry.path().filename(), "model.safetensors");
      if (entry.is_regular_file()) {
        EXPECT_LT(entry.file_size(), kLarge / 2) << entry.path();
      }
    }
  }
  static bool asked_with_token(const std::string& part) {
    const auto found = server->requests(part);
    return std::any_of(found.begin(), found.end(), [](const auto& entry) { return !entry.token.empty(); });
  }

  static constexpr size_t kLarge = 300'000;
};

const Json kDrop = {{"match", "store GET"}, {"do", "drop"}, {"bytes", 100'000}, {"times", 1}};

TEST_F(HubTest, TheCacheIsHuggingfaceHubs) {
  // What huggingface_hub makes of this repository: tests/data/hub/cache.txt, by tools/check_hub.py.
  HubRequest all = request("org/text", HubPart::sentence_transformer);
  download(all);
  std::string listing;
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(cache())) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    if (fs::is_directory(fs::symlink_status(path)) || path.string().find("/.no_exist/") != std::string::npos) continue;
    listing += path.lexically_relative(cache()).string();
    if (fs::is_symlink(path))
      listing += " -> " + fs::read_symlink(path).string();
    else if (!path.string().ends_with(".lock"))
      listing += " " + std::to_string(fs::file_size(path));
    if (path.parent_path().filename() == "refs" || path.parent_path().filename() == "trees")
      listing += "\n" + slurp(path);
    listing += "\n";
  }
  EXPECT_EQ(listing, slurp(fs::path(CARACAL_TEST_DATA) / "hub/cache.txt"));
  EXPECT_EQ(fs::status(cache() / "models--org--text/refs/main").permissions() & fs::perms::owner_write,
            fs::perms::owner_write);
}

TEST_F(HubTest, OnlyWhatIsNeededAndOnlyOnce) {
  const fs::path snapshot = download(request("org/text", HubPart::tokenizer));
  EXPECT_TRUE(fs::exists(snapshot / "vocab.txt"));
  EXPECT_FALSE(fs::exists(snapshot / "model.safetensors"));
  EXPECT_TRUE(server->requests("store").empty());
  const size_t before = server->log().size();
  EXPECT_EQ(download(request("org/text", HubPart::tokenizer)), snapshot);
  EXPECT_EQ(server->log().size(), before + 1);  // is main still at this commit?
  download(request("org/text", HubPart::model));
  EXPECT_EQ(server->requests("store").size(), 1u);
  HubRequest by_commit = request("org/text", HubPart::model);
  by_commit.options.revision = snapshot.filename();
  const size_t then = server->log().size();
  EXPECT_EQ(download(by_commit), snapshot);  // a commit does not change: no question at all
  EXPECT_EQ(server->log().size(), then);
  HubRequest one = request("org/text");
  one.more = {"modules.json"};
  one.only_more = true;
  EXPECT_TRUE(fs::exists(fs::path(download(one)) / "modules.json"));
  EXPECT_FALSE(fs::exists(snapshot / "1_Pooling"));
  one.more = {"nothing.json"};
  EXPECT_THROW(download(one), Error);
}

TEST_F(HubTest, ShardsVariantAndSubfolder) {
  HubRequest what = request("org/sharded", HubPart::model);
  what.options.subfolder = "sub";
  what.options.variant = "fp16";
  const fs::path folder = fs::path(download(what)) / "sub";
  EXPECT_EQ(slurp(folder / "model.fp16-1.safetensors"), "model.fp16-1.safetensors");
  EXPECT_EQ(slurp(folder / "model.fp16-2.safetensors"), "model.fp16-2.safetensors");
  EXPECT_FALSE(fs::exists(folder / "model.fp16-3.safetensors"));
  try {
    download(request("org/pickle", HubPart::model));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
  }
  EXPECT_NO_THROW(download(request("org/pickle", HubPart::config)));
}

TEST_F(HubTest, EveryFromPretrainedTakesNames) {
  enable_downloads(quick(*server));
  const std::string here = cache().string();
  const Json options = {{"cache_dir", here}}, old = {{"cache_dir", here}, {"revision", "v1.0"}};
  EXPECT_EQ(AutoTokenizer::from_pretrained("org/text", options).get_vocab().size(), 10u);
  EXPECT_EQ(AutoTokenizer::from_pretrained("org/text", old).get_vocab().size(), 6u);
  EXPECT_EQ(BertTokenizer::from_pretrained("org/text", old).get_vocab().size(), 6u);
  EXPECT_EQ(AutoConfig::from_pretrained("org/text", options)->name_or_path, "org/text");
  EXPECT_EQ(BertConfig::from_pretrained("org/text", {{"cache_dir", here}, {"num_labels", 5}}).num_labels(), 5);
  auto model = AutoModel::from_pretrained("org/text", {.cache_dir = here});
  EXPECT_STREQ(model->class_name(), "BertModel");
  BertModel::from_pretrained("org/text", {.revision = "v1.0", .cache_dir = here});
  SentenceTransformer::from_pretrained("org/text", {.cache_dir = here});
  EXPECT_EQ(std::get<PreTrainedTokenizerBase>(AutoProcessor::from_pretrained("org/text", options)).get_vocab().size(),
            10u);
  EXPECT_THROW(AutoTokenizer::from_pretrained("org/text", {{"revision", 3}}), Error);

  disable_downloads();
  server->reset();
  EXPECT_EQ(AutoTokenizer::from_pretrained("org/text", options).get_vocab().size(), 10u);
  EXPECT_THROW(AutoTokenizer::from_pretrained("org/private", options), Error);
  EXPECT_THROW(AutoTokenizer::from_pretrained("org/text", {{"cache_dir", here}, {"force_download", true}}), Error);
  enable_downloads(quick(*server));
  EXPECT_EQ(AutoModel::from_pretrained("org/text", {.cache_dir = here, .local_files_only = true})->num_parameters(),
            model->num_parameters());
  EXPECT_TRUE(server->log().empty());
}

TEST_F(HubTest, ForceDownloadFetchesAnew) {
  const fs::path snapshot = download(request("org/large"));
  spill(fs::canonical(snapshot / "model.safetensors"), "damaged");
  const CacheReport report = verify_cache({}, cache().string());
  EXPECT_EQ(report.problems.size(), 1u);
  download(request("org/large"));
  EXPECT_EQ(slurp(snapshot / "model.safetensors"), "damaged");  // what has a name is trusted, as by huggingface_hub
  HubRequest anew = request("org/large");
  anew.options.force_download = true;
  download(anew);
  EXPECT_EQ(slurp(snapshot / "model.safetensors"), noise(kLarge, 1));
  EXPECT_TRUE(verify_cache({}, cache().string()).problems.empty());
}

TEST_F(HubTest, ADroppedConnectionIsResumed) {
  Json drop = kDrop;
  drop.set("times", 2);
  EXPECT_EQ(with_faults({drop}), std::nullopt);
  const auto found = server->requests("store");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[1].range, "bytes=100000-");
  EXPECT_EQ(found[2].range, "bytes=200000-");
  EXPECT_TRUE(found[1].if_range.starts_with("\"store-")) << found[1].if_range;
  EXPECT_EQ(found[0].sent + found[1].sent + found[2].sent, int64_t(kLarge));  // nothing twice
}

TEST_F(HubTest, ServersWithoutRangesStartAgain) {
  EXPECT_EQ(with_faults({kDrop, Json{{"match", "store GET"}, {"do", "no_range"}}}), std::nullopt);
  const auto found = server->requests("store");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].sent, int64_t(kLarge));
}

TEST_F(HubTest, AFileThatChangedStartsAgain) {
  EXPECT_EQ(with_faults({kDrop, Json{{"match", "store GET"}, {"do", "etag"}, {"value", "\"new\""}}}), std::nullopt);
  EXPECT_EQ(server->requests("store")[1].status, 200);  // If-Range did not match
}

TEST_F(HubTest, AnotherRangeThanAskedIsNotUsed) {
  EXPECT_EQ(with_faults({kDrop, Json{{"match", "store GET"}, {"do", "bad_range"}, {"times", 1}}}), std::nullopt);
  EXPECT_EQ(server->requests("store").size(), 3u);
}

TEST_F(HubTest, DropsThatNeverEndAreGivenUp) {
  // Always the first bytes again: no progress.
  EXPECT_EQ(with_faults({Json{{"match", "store GET"}, {"do", "drop"}, {"bytes", 0}}}), ErrorCode::io);
  EXPECT_EQ(server->requests("store").size(), 5u);
  EXPECT_TRUE(unfinished(cache()).empty());  // nothing arrived: nothing to keep
}

TEST_F(HubTest, BusyAndBrokenServersAreAskedAgain) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(
      with_faults({Json{{"match", "hub GET /org"}, {"do", "status"}, {"code", 429}, {"retry_after", 1}, {"times", 1}},
                   Json{{"match", "store GET"}, {"do", "status"}, {"code", 500}, {"times", 2}},
                   Json{{"match", "hub GET /api"}, {"do", "status"}, {"code", 503}, {"times", 2}}}),
      std::nullopt);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));  // as Retry-After asked
  EXPECT_EQ(server->requests("store").size(), 3u);
}

TEST_F(HubTest, EndlessAnswersOfFailuresAreLeft) {
  EXPECT_EQ(with_faults({Json{{"match", "store GET"}, {"do", "endless"}, {"code", 500}, {"times", 1}}}), std::nullopt);
  fs::remove_all(cache());
  EXPECT_EQ(with_faults({Json{{"match", "store GET"}, {"do", "endless"}, {"code", 404}}}), ErrorCode::not_found);
}

TEST_F(HubTest, PatienceEnds) {
  EXPECT_EQ(with_faults({Json{{"match", "store GET"}, {"do", "status"}, {"code", 500}}}), ErrorCode::io);
  EXPECT_EQ(server->requests("store").size(), 5u);
  expect_nothing_large();
  server->reset();
  EXPECT_EQ(with_faults({Json{{"match", "store GET"}, {"do", "status"}, {"code", 429}, {"retry_after", 3600}}}),
            ErrorCode::io);
  EXPECT_EQ(server->requests("store").size(), 1u);
}

TEST_F(HubTest, SilentServersAreLeft) {
  DownloadOptions impatient = quick(*server);
  impatient.http.timeout = 1;
  server->faults({Json{{"match", "store GET"}, {"do", "slow"}, {"seconds", 4}, {"times", 1}}});
  const auto begin = std::chrono::steady_clock::now();
  download_snapshot(request("org/large"), impatient);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(3500));
}

TEST_F(HubTest, WrongBytesNeverGetAName) {
  for (const char* what : {"wrong", "short", "long"}) {
    server->reset();
    std::string text;
    EXPECT_EQ(with_faults({Json{{"match", "store GET"}, {"do", what}}}, &text), ErrorCode::bad_file) << what;
    EXPECT_NE(text.find(what == std::string("wrong") ? "SHA-256" : "announced"), text.npos) << text;
    expect_nothing_large();
    EXPECT_TRUE(unfinished(cache()).empty()) << what;
    fs::remove_all(cache());
    EXPECT_EQ(with_faults({Json{{"match", "hub GET .*config.json"}, {"do", what}}}), ErrorCode::bad_file) << what;
    fs::remove_all(cache());
  }
  EXPECT_EQ(with_faults({}), std::nullopt);
}

TEST_F(HubTest, AnotherCommitIsRefused) {
  EXPECT_EQ(with_faults({Json{{"match", "resolve"}, {"do", "commit"}, {"value", std::string(40, 'b')}}}),
            ErrorCode::bad_file);
  expect_nothing_large();
}

TEST_F(HubTest, ADamagedLeftoverIsFetchedAnew) {
  const fs::path snapshot = download(request("org/large"));
  const fs::path blob = fs::canonical(snapshot / "model.safetensors");
  fs::remove(blob);
  fs::remove(snapshot / "model.safetensors");
  const std::string partial = blob.string() + ".caracal-00000000.incomplete";
  for (const std::string& left : {noise(kLarge, 1).substr(0, 200'000), noise(200'000, 9), noise(kLarge, 9),
                                  noise(2 * kLarge, 9), noise(kLarge, 1)}) {
    server->reset();
    spill(partial, left);
    EXPECT_EQ(with_faults({}), std::nullopt);
    const auto found = server->requests("store");
    if (left == noise(kLarge, 1))
      EXPECT_TRUE(found.empty());
    else if (noise(kLarge, 1).starts_with(left))
      EXPECT_EQ(found.size() == 1 ? found[0].sent : -1, int64_t(kLarge - left.size()));
    else
      EXPECT_EQ(found.back().sent, int64_t(kLarge));
    fs::remove(blob);
    fs::remove(snapshot / "model.safetensors");
  }
}

TEST_F(HubTest, RedirectsEnd) {
  std::string text;
  EXPECT_EQ(with_faults({Json{{"match", "resolve"}, {"do", "loop"}}}, &text), ErrorCode::io);
  EXPECT_NE(text.find("redirects"), text.npos) << text;
  EXPECT_LE(server->requests("resolve").size(), 2u * 11);
}

TEST_F(HubTest, TheTokenStaysWithTheHub) {
  HubRequest what = request("org/large");
  what.options.token = "secret";
  EXPECT_EQ(with_faults({}, nullptr, what), std::nullopt);
  EXPECT_TRUE(asked_with_token("hub "));
  EXPECT_FALSE(asked_with_token("store "));  // another host: it gets a signed address only
  ASSERT_FALSE(server->requests("store ").empty());
  fs::remove_all(cache());
  EXPECT_EQ(with_faults({Json{{"match", "hub GET /org"}, {"do", "foreign"}}}, nullptr, what), ErrorCode::bad_file);
  ASSERT_FALSE(server->requests("foreign ").empty());
  EXPECT_FALSE(asked_with_token("foreign "));
  // A list of files that goes on elsewhere would take the token along.
  fs::remove_all(cache());
  server->reset();
  EXPECT_EQ(
      with_faults({Json{{"match", "tree"}, {"do", "page"}, {"size", 1}, {"host", server->foreign}}}, nullptr, what),
      ErrorCode::bad_file);
  EXPECT_TRUE(server->requests("foreign ").empty());
}

TEST_F(HubTest, CertificatesAreChecked) {
  DownloadOptions secure = quick(*server);
  secure.endpoint = server->tls;
  HubRequest what = request("org/text", HubPart::tokenizer);
  what.options.token = "secret";
  try {
    download_snapshot(what, secure);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io) << error.what();
  }
  EXPECT_TRUE(server->log().empty());  // not a byte of a request, so not the token
  secure.http.ca_file = server->certificate();
  EXPECT_NO_THROW(download_snapshot(what, secure));
  EXPECT_TRUE(asked_with_token("tls "));
  // From https to http no redirect leads.
  fs::remove_all(cache());
  server->reset();
  server->faults({Json{{"match", "tls GET .*resolve"}, {"do", "plain"}}});
  EXPECT_THROW(download_snapshot(what, secure), Error);
  EXPECT_TRUE(server->requests("hub ").empty());
}

TEST_F(HubTest, PrivateRepositoriesNeedAToken) {
  HubRequest what = request("org/private", HubPart::tokenizer);
  try {
    download(what);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(error.what()).find("token"), std::string::npos) << error.what();
  }
  what.options.token = "secret";
  EXPECT_NO_THROW(download(what));
  what.options.token = "bad\r\nX-Evil: 1";
  EXPECT_THROW(download(what), Error);
}

TEST_F(HubTest, LongListsComeInPages) {
  server->faults({Json{{"match", "tree"}, {"do", "page"}, {"size", 2}}});
  const fs::path snapshot = download(request("org/text"));
  EXPECT_TRUE(fs::exists(snapshot / "vocab.txt"));
  EXPECT_GE(server->requests("/tree/").size(), 4u);
}

TEST_F(HubTest, NamesMayNotLeaveTheFolder) {
  auto files = [] {
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root))
      if (!entry.is_directory()) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  };
  const std::vector<fs::path> before = files();
  for (const char* name : {"../evil", "a/../../evil", "/etc/evil", "a//b", "", "./x", "C:evil", "a\\..\\b"}) {
    EXPECT_EQ(with_faults({Json{{"match", "tree"}, {"do", "evil"}, {"names", Json::Array{name}}}}), ErrorCode::bad_file)
        << name;
    EXPECT_EQ(files(), before) << name;
    EXPECT_FALSE(fs::exists("/etc/evil"));
  }
  HubRequest nowhere = request("org/text");  // a name that the file system cannot take
  nowhere.options.cache_dir += "/" + std::string(300, 'a');
  EXPECT_THROW(download(nowhere), Error);
  for (const char* name : {"a/b/c", "..", "org/..", "-a", "a--b", "a/b.git", "a b", "org/"})
    EXPECT_THROW(download(request(name)), Error) << name;
  for (const char* revision : {"../../../etc", "/etc", "a/../b"}) {
    HubRequest what = request("org/text");
    what.options.revision = revision;
    EXPECT_THROW(download(what), Error) << revision;
  }
}

TEST_F(HubTest, WithoutANetworkTheCacheDoes) {
  DownloadOptions nowhere = quick(*server);
  nowhere.endpoint = "http://127.0.0.1:9";
  EXPECT_THROW(download_snapshot(request("org/text"), nowhere), Error);
  const fs::path snapshot = download(request("org/text", HubPart::tokenizer));
  EXPECT_EQ(download_snapshot(request("org/text", HubPart::tokenizer), nowhere), snapshot);
  EXPECT_THROW(download_snapshot(request("org/text", HubPart::model), nowhere), Error);  // the weights are not there
  server->reset();
  server->faults({Json{{"match", "hub GET /api"}, {"do", "status"}, {"code", 500}}});
  EXPECT_EQ(download(request("org/text", HubPart::tokenizer)), snapshot);
  EXPECT_EQ(server->log().size(), 1u);  // no use in asking again

  // Without refs: by commit, and the newest snapshot where no revision is asked for.
  fs::remove_all(cache() / "models--org--text/refs");
  HubOptions options = request("org/text").options;
  EXPECT_EQ(cached_snapshot("org/text", options), snapshot);
  options.revision = snapshot.filename();
  EXPECT_EQ(cached_snapshot("org/text", options), snapshot);
  options.revision = "main";
  EXPECT_EQ(cached_snapshot("org/text", options), "");
}

TEST_F(HubTest, ProgressAddsUpAndMayStop) {
  DownloadOptions options = quick(*server);
  uint64_t last = 0, total = 0;
  server->faults({kDrop});
  options.progress = [&](const DownloadProgress& progress) {
    EXPECT_LE(progress.done, progress.total);
    EXPECT_LE(progress.file_done, progress.file_total);
    last = progress.done;
    total = progress.total;
  };
  download_snapshot(request("org/large"), options);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, kLarge + 2);
  fs::remove_all(cache());
  options.progress = [&](const DownloadProgress& progress) {
    if (progress.done > kLarge / 2) throw std::runtime_error("enough");
  };
  EXPECT_THROW(download_snapshot(request("org/large"), options), std::runtime_error);
  EXPECT_EQ(unfinished(cache()).size(), 1u);
  server->reset();
  download(request("org/large"));  // goes on from there
  EXPECT_FALSE(server->requests("store")[0].range.empty());
}

// A caller who wants to stop need not wait for a server, another attempt or another process.
TEST_F(HubTest, WaitingMayBeStopped) {
  using Clock = std::chrono::steady_clock;
  download(request("org/large"));
  fs::path lock;  // of a file
  for (const auto& entry : fs::directory_iterator(cache() / ".locks/models--org--large"))
    if (entry.path().filename().string().size() == 64 + 5) lock = entry.path();
  ASSERT_FALSE(lock.empty());
  const Json::Array nothing;
  const std::pair<const char*, Json::Array> cases[] = {
      {"the hub is silent", {Json{{"match", "hub GET /api"}, {"do", "slow"}, {"seconds", 4}}}},
      {"the store is silent", {Json{{"match", "store GET"}, {"do", "slow"}, {"seconds", 4}}}},
      {"asked to wait", {Json{{"match", "store GET"}, {"do", "status"}, {"code", 429}, {"retry_after", 5}}}},
      {"asked to wait by the hub",
       {Json{{"match", "hub GET /api"}, {"do", "status"}, {"code", 503}, {"retry_after", 5}}}},
      {"another process has the lock", nothing}};
  for (const auto& [name, faults] : cases) {
    SCOPED_TRACE(name);
    for (const char* folder : {"blobs", "snapshots", "trees"}) fs::remove_all(cache() / "models--org--large" / folder);
    server->faults(faults);
    const int held = faults.empty() ? ::open(lock.c_str(), O_RDWR | O_CLOEXEC) : -1;
    if (held >= 0) {
      ASSERT_EQ(::flock(held, LOCK_EX), 0);
    }
    const auto begin = Clock::now(), enough = begin + std::chrono::milliseconds(300);
    auto called = begin;
    Clock::duration longest{};
    DownloadOptions options = quick(*server);
    options.progress = [&](const DownloadProgress&) {
      const auto now = Clock::now();
      longest = std::max(longest, now - called);
      called = now;
      if (now > enough) throw std::runtime_error("enough");
    };
    EXPECT_THROW(download_snapshot(request("org/large"), options), std::runtime_error);
    EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1500));  // 300, 100, and a busy machine
    EXPECT_LT(longest, std::chrono::milliseconds(1000));
    if (held >= 0) ::close(held);
  }
}

// With io, too, which from the hub would mean that the cache has to do.
TEST_F(HubTest, AWarmCacheDoesNotHideThatTheCallerStopped) {
  download(request("org/text"));
  server->faults({Json{{"match", "hub GET /api"}, {"do", "slow"}, {"seconds", 4}}});
  DownloadOptions options = quick(*server);
  options.progress = [](const DownloadProgress&) { throw Error(ErrorCode::io, "caller", "enough"); };
  try {
    download_snapshot(request("org/text"), options);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), Error(ErrorCode::io, "caller", "enough").what());
  }
}

TEST_F(HubTest, TheCacheIsListedAndEmptied) {
  HubRequest old = request("org/text");
  old.options.revision = "v1.0";
  download(request("org/text"));
  download(old);
  const std::string here = cache().string();
  std::vector<CachedRepository> list = scan_cache(here);
  ASSERT_EQ(list.size(), 1u);
  ASSERT_EQ(list[0].revisions.size(), 2u);
  EXPECT_EQ(verify_cache({}, here).blobs, 7u);
  EXPECT_GT(remove_from_cache("org/text", "v1.0", here), 0u);
  list = scan_cache(here);
  ASSERT_EQ(list[0].revisions.size(), 1u);
  EXPECT_EQ(list[0].revisions[0].refs, std::vector<std::string>{"main"});
  const CacheReport report = verify_cache("org/text", here);
  EXPECT_EQ(report.blobs, 6u);  // what both used is still there
  EXPECT_TRUE(report.problems.empty());
  EXPECT_THROW(remove_from_cache("org/text", "v1.0", here), Error);
  remove_from_cache("org/text", {}, here);
  EXPECT_TRUE(scan_cache(here).empty());
  EXPECT_THROW(remove_from_cache("org/text", {}, here), Error);
}

}  // namespace
}  // namespace caracal
