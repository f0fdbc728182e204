// Names in place of directories: every class takes them, what the cache alone can do, what the environment says.
#include <pwd.h>

#include <algorithm>

#include <caracal/caracal.h>
#include <caracal/loaders/hub_scan.h>
#include <caracal/loaders/hub_tree.h>

#include "hub_testing.h"
#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::expect_error;

class HubCache : public WithHub<HubCache> {
 public:
  static void write_repositories(const fs::path& repositories) {
    for (const char* name : {"text", "private", "gated"}) write_text_repository(repositories / "org" / name / "main");
    for (const char* name : {"vit-digits", "wav2vec2-spoken-digits", "layoutlmv2-forms"}) {
      fs::create_directories(repositories / "org" / name);
      fs::copy(fs::path(CARACAL_TEST_DATA) / "trained" / name, repositories / "org" / name / "main");
    }
    // The modules of old sentence transformers: the model in a folder of its own.
    const fs::path folders = repositories / "org/folders/main";
    write_text_repository(folders / "0_Transformer");
    fs::remove_all(folders / "0_Transformer/1_Pooling");
    fs::remove(folders / "0_Transformer/modules.json");
    spill(folders / "1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
    spill(folders / "modules.json",
          "[{\"path\": \"0_Transformer\", \"type\": \"x.Transformer\"}, {\"path\": \"1_Pooling\", \"type\": "
          "\"x.Pooling\"}]");
  }
};

TEST_F(HubCache, EveryProcessorAndPipelineTakesNames) {
  enable_downloads(quick(*server));
  const std::string vit = "org/vit-digits", sound = "org/wav2vec2-spoken-digits", forms = "org/layoutlmv2-forms";
  for (int round = 0; round < 2; round++) {  // the second from the cache alone
    EXPECT_EQ(AutoImageProcessor::from_pretrained(vit)->class_name(),
              ViTImageProcessor::from_pretrained(vit).class_name());
    EXPECT_EQ(LayoutLMv2ImageProcessor::from_pretrained(forms).attribute("apply_ocr"), Json(true));
    EXPECT_EQ(
        LayoutLMv2Processor::from_pretrained(forms, {{"apply_ocr", false}}).image_processor().attribute("apply_ocr"),
        Json(false));
    EXPECT_TRUE(std::holds_alternative<LayoutLMv2Processor>(AutoProcessor::from_pretrained(forms)));
    EXPECT_TRUE(std::holds_alternative<std::shared_ptr<BaseImageProcessor>>(AutoProcessor::from_pretrained(vit)));
    EXPECT_GT(LayoutLMv2Tokenizer::from_pretrained(forms).get_vocab().size(), 100u);
    EXPECT_EQ(pipeline_task(vit), "image-classification");
    EXPECT_NE(pipeline("", vit), nullptr);
    EXPECT_NE(pipeline("", forms), nullptr);
    EXPECT_GT(AutoModelForImageClassification::from_pretrained(vit)->num_parameters(), 1000);
    if (round == 0) {
      disable_downloads();
      server->reset();
    }
  }
  EXPECT_TRUE(server->log().empty());
}

TEST_F(HubCache, AModelInAFolderOfItsOwn) {
  enable_downloads(quick(*server));
  const auto model = SentenceTransformer::from_pretrained("org/folders");
  EXPECT_EQ(model.encode({"a cat"}).size(0), 1);
}

TEST_F(HubCache, WithDownloadsOffTheCacheAlone) {
  HubRequest local{.name = "org/text", .part = HubPart::tokenizer, .options = {.local_files_only = true}};
  expect_error(ErrorCode::not_found, {"org/text", "none of this name"}, [&] { download(local); });
  HubRequest online = local;
  online.options.local_files_only = false;
  const std::string snapshot = download(online);
  server->reset();
  EXPECT_EQ(download(local), snapshot);
  local.part = HubPart::model;
  expect_error(ErrorCode::not_found, {"\"model.safetensors\" is missing"}, [&] { download(local); });
  local.more = {"vocab.txt"}, local.only_more = true;
  EXPECT_EQ(download(local), snapshot);
  local.more = {"modules.json"};
  expect_error(ErrorCode::not_found, {"modules.json"}, [&] { download(local); });
  fs::remove_all(cache() / "models--org--text/trees");  // from a client that writes no lists
  expect_error(ErrorCode::not_found, {"modules.json"}, [&] { download(local); });
  local.options.force_download = true;
  expect_error(ErrorCode::invalid_argument, {"force_download"}, [&] { download(local); });
  EXPECT_TRUE(server->log().empty());
}

// Loading half of a tokenizer would not fail, but give other tokens.
TEST_F(HubCache, AnUnfinishedDownloadIsNoSnapshot) {
  DownloadOptions stopping = quick(*server);
  stopping.parallel = 1;
  stopping.progress = [](const DownloadProgress& progress) {
    if (progress.file == "vocab.txt") throw std::runtime_error("stopped");
  };
  EXPECT_THROW(download_snapshot({.name = "org/text", .part = HubPart::tokenizer}, stopping), std::runtime_error);
  const HubOptions options;
  ASSERT_TRUE(fs::exists(fs::path(cached_snapshot("org/text", options)) / "tokenizer_config.json"));
  expect_error(ErrorCode::not_found, {"\"vocab.txt\" is missing"}, [] { AutoTokenizer::from_pretrained("org/text"); });
  EXPECT_EQ(AutoConfig::from_pretrained("org/text")->model_type(), "bert");  // what it needs is there
  EXPECT_NO_THROW(download({.name = "org/text", .part = HubPart::tokenizer}));
  EXPECT_EQ(AutoTokenizer::from_pretrained("org/text").get_vocab().size(), 10u);
  // As with transformers: a branch's snapshot that others made of some files is loaded as it is.
  fs::remove(fs::path(cached_snapshot("org/text", options)) / "tokenizer_config.json");
  EXPECT_EQ(AutoTokenizer::from_pretrained("org/text").get_vocab().size(), 10u);
}

TEST_F(HubCache, WhoMayNotAskAnyMoreHasTheCache) {
  for (const char* name : {"org/private", "org/gated"}) {
    SCOPED_TRACE(name);
    HubRequest what{.name = name, .part = HubPart::tokenizer, .options = {.token = "secret"}};
    EXPECT_ANY_THROW(download({.name = name, .part = HubPart::tokenizer}));
    const std::string snapshot = download(what);
    for (const char* token : {"", "expired"}) {
      what.options.token = token;
      EXPECT_EQ(download(what), snapshot) << token;
      what.part = HubPart::model;
      EXPECT_ANY_THROW(download(what)) << token;
      what.part = HubPart::tokenizer;
    }
    // A branch that the hub shows to be gone is no matter of permission.
    spill(fs::path(snapshot).parent_path().parent_path() / "refs/gone", fs::path(snapshot).filename());
    what.options = {.revision = "gone", .token = "secret"};
    expect_error(ErrorCode::not_found, {"Invalid rev id"}, [&] { download(what); });
  }
}

TEST_F(HubCache, OptionsStayInTheirFolder) {
  for (const std::string bad : {"../main", "/main", "a//b", "a/./b", "a\\b"}) {
    SCOPED_TRACE(bad);
    for (const HubOptions& options : {HubOptions{.revision = bad}, {.subfolder = bad}, {.variant = bad}}) {
      expect_error(ErrorCode::invalid_argument, {Json(bad).dump()},
                   [&] { download({.name = "org/text", .options = options}); });
      expect_error(ErrorCode::invalid_argument, {Json(bad).dump()},
                   [&] { locate_checkpoint({.name = "org/text", .options = options}); });
    }
    EXPECT_THROW(cached_commit("org/text", {.revision = bad}), Error);
  }
  EXPECT_TRUE(server->log().empty());
}

// What the hub says of files becomes paths: nothing but hashes, sizes and relative names.
TEST(HubTree, AListOfFilesIsChecked) {
  const std::string git(40, 'a'), sha256(64, 'b');
  const Json good{{"type", "file"},
                  {"path", "a/b"},
                  {"size", 3},
                  {"oid", git},
                  {"lfs", Json{{"oid", sha256}, {"size", 5}}},
                  {"xetHash", std::string(64, 'c')}};
  auto add = [](const Json& item) {
    hub::Tree tree;
    hub::add_page(tree, Json::Array{item}, "page");
    return tree;
  };
  const hub::TreeEntry entry = add(good).at("a/b");
  EXPECT_EQ(entry.etag(), sha256);
  EXPECT_EQ(entry.size, 5u);
  EXPECT_TRUE(add({{"type", "directory"}}).empty());
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, Json>>{
           {"path", "../a"},
           {"path", 3},
           {"size", "3"},
           {"oid", "../../x"},
           {"oid", sha256},
           {"lfs", Json{{"oid", "../" + sha256.substr(3)}, {"size", 5}}},
           {"lfs", Json{{"oid", sha256}, {"size", -1}}},
           {"lfs", "x"},
           {"xetHash", "../" + sha256.substr(3)}}) {
    Json bad = good;
    bad.set(key, value);
    expect_error(ErrorCode::bad_file, {"page"}, [&] { add(bad); });
  }
  Json small = good;
  small.set("lfs", Json());
  small.set("size", -1);
  expect_error(ErrorCode::bad_file, {"expected a size"}, [&] { add(small); });
  // The cache's own copy of it comes back as it was; what is none is none.
  const fs::path path = fs::temp_directory_path() / ("caracal_tree_" + std::to_string(getpid()));
  spill(path, hub::tree_text(add(good)));
  EXPECT_EQ(hub::read_tree(path).at("a/b").xet_hash, std::string(64, 'c'));
  for (const char* text : {"", "{}", "[]", "{\"format_version\": 2, \"files\": {}}",
                           "{\"format_version\": 1, \"files\": {\"../a\": {\"size\": 1, \"blob_id\": \"x\"}}}"}) {
    spill(path, text);
    EXPECT_TRUE(hub::read_tree(path).empty()) << text;
  }
  fs::remove(path);
}

// A blob that lies where repositories share files is replaced by one of its own, and what others use stays.
TEST_F(HubCache, ForceDownloadLeavesWhatIsShared) {
  const fs::path snapshot = download({.name = "org/text"}), weights = snapshot / "model.safetensors";
  const fs::path blob = snapshot.parent_path().parent_path() / "blobs" / fs::read_symlink(weights).filename();
  const std::string hash(64, 'a'), text = slurp(weights);
  const fs::path shared = cache() / "blobs/aa" / hash;
  spill(shared, text);
  fs::remove(blob);
  fs::create_symlink("../../blobs/aa/" + hash, blob);
  EXPECT_EQ(BertModel::from_pretrained("org/text").config().hidden_size, 32);
  server->reset();
  download({.name = "org/text"});
  EXPECT_TRUE(server->requests("store").empty());
  download({.name = "org/text", .options = {.force_download = true}});
  EXPECT_FALSE(fs::is_symlink(blob));
  EXPECT_EQ(slurp(blob), text);
  EXPECT_EQ(slurp(shared), text);
}

TEST_F(HubCache, Names) {
  const std::string most(96, 'x');
  for (const std::string& name :
       {std::string("gpt2"), std::string("a/b"), most, most + "/" + most, std::string("A.b_c-d/1")})
    EXPECT_TRUE(is_hub_name(name)) << name;
  for (const std::string& name :
       {std::string(), most + "x", most + "x/a", "a/" + most + "x", std::string("a/b/c"), std::string("/a"),
        std::string("a/"), std::string("a--b"), std::string("a..b"), std::string(".a"), std::string("a-"),
        std::string("a/-b"), std::string("a.git"), std::string("a b"), std::string("ä")})
    EXPECT_FALSE(is_hub_name(name)) << name;
}

TEST_F(HubCache, TheEnvironment) {
  using Variables = std::map<std::string, std::string>;
  auto with = [](const Variables& variables) {
    Variables before;
    for (const auto& [name, value] : variables) {
      if (const char* old = std::getenv(name.c_str())) before[name] = old;
      value == "-" ? unsetenv(name.c_str()) : setenv(name.c_str(), value.c_str(), 1);
    }
    const HubSettings settings = HubSettings::from_environment();
    for (const auto& [name, value] : variables)
      before.contains(name) ? setenv(name.c_str(), before[name].c_str(), 1) : unsetenv(name.c_str());
    return settings;
  };
  EXPECT_EQ(with({{"HF_HOME", "/h"}}).cache, "/h/hub");
  EXPECT_EQ(with({{"HF_HOME", "/h"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}).cache, "/old");
  EXPECT_EQ(with({{"HF_HOME", "/h"}, {"HF_HUB_CACHE", "/c"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}).cache, "/c");
  EXPECT_EQ(with({{"HF_HOME", ""}, {"XDG_CACHE_HOME", "/x"}}).cache, "/x/huggingface/hub");
  EXPECT_EQ(with({{"HF_HOME", ""}, {"XDG_CACHE_HOME", "~/x"}, {"HOME", "/u"}}).cache, "/u/x/huggingface/hub");
  EXPECT_EQ(with({{"HF_HOME", ""}, {"HOME", "/u"}}).cache, "/u/.cache/huggingface/hub");
  if (const passwd* user = ::getpwuid(::getuid())) {
    EXPECT_EQ(with({{"HF_HOME", ""}, {"HOME", "-"}}).cache, std::string(user->pw_dir) + "/.cache/huggingface/hub");
  }
  EXPECT_EQ(with({{"HF_HOME", "~/h"}, {"HOME", "/u"}}).cache, "/u/h/hub");
  EXPECT_EQ(with({{"HF_HOME", "/h/$WHO/${WHO}_$NOBODY/${NOBODY}$/${WHO"}, {"WHO", "me"}}).cache,
            "/h/me/me_$NOBODY/${NOBODY}$/${WHO/hub");
  EXPECT_EQ(with({}).endpoint, "https://huggingface.co");
  EXPECT_EQ(with({{"HF_ENDPOINT", "http://mirror/"}}).endpoint, "http://mirror");
  EXPECT_EQ(with({{"HF_TOKEN", " t\n"}}).token, "t");
  EXPECT_EQ(with({{"HUGGING_FACE_HUB_TOKEN", "old"}}).token, "old");
  EXPECT_EQ(with({{"HF_TOKEN", "t"}, {"HUGGING_FACE_HUB_TOKEN", "old"}}).token, "t");
  spill(root / "home/token", "filed\n");
  EXPECT_EQ(with({}).token, "filed");
  EXPECT_EQ(with({{"HF_TOKEN", "t"}}).token, "t");
  for (const Variables& variables : {Variables{}, Variables{{"HF_TOKEN", "t"}}}) {
    Variables forbidden = variables;
    forbidden["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1";
    EXPECT_EQ(with(forbidden).token, "");
  }
  spill(root / "elsewhere", "other");
  EXPECT_EQ(with({{"HF_TOKEN_PATH", (root / "elsewhere").string()}}).token, "other");
  fs::remove(root / "home/token");
  EXPECT_TRUE(with({{"HF_HUB_OFFLINE", "Yes"}}).offline);
  EXPECT_FALSE(with({{"HF_HUB_OFFLINE", "0"}}).offline);
  EXPECT_TRUE(with({{"TRANSFORMERS_OFFLINE", "1"}}).offline);
  EXPECT_FALSE(with({{"HF_HUB_OFFLINE", "0"}, {"TRANSFORMERS_OFFLINE", "1"}}).offline);
  EXPECT_TRUE(with({{"HF_HUB_OFFLINE", ""}, {"TRANSFORMERS_OFFLINE", "1"}}).offline);
  EXPECT_FALSE(with({{"HF_HUB_DISABLE_PROGRESS_BARS", "1"}}).progress_bars);
  EXPECT_TRUE(with({}).progress_bars);
}

}  // namespace
}  // namespace caracal
