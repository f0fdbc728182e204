// The cache as a whole, where repositories share files: laid out by hand as huggingface_hub 2.4 lays it out
// (tools/check_hub.py compares with the real one).
#include <caracal/loaders/hub_scan.h>

#include <caracal/loaders/hub_shared.h>

#include "hub_testing.h"
#include "loaders_testing.h"

namespace caracal {
namespace {

std::string sha256_of(const std::string& text) {
  hub::BlobHash hash(std::string(64, '0'), text.size());
  hash.update({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return hash.finish();
}

class SharedBlobs : public ::testing::Test {
 protected:
  void SetUp() override { spill(store / ".huggingface-shared-blobs", "1\n"); }

  // The file `name` of a repository's commit, which came by Xet.
  void add(const std::string& repository, char commit, const std::string& name, const std::string& text) {
    const fs::path folder = cache / ("models--org--" + repository), shared = shared_of(text);
    const std::string etag = sha256_of(text);
    spill(shared, text);
    fs::create_directories(folder / "blobs");
    std::error_code there;
    fs::create_symlink(fs::path("../../blobs") / shared.lexically_relative(store), folder / "blobs" / etag, there);
    if (!there)
      std::ofstream(shared.string() + ".refs", std::ios::app)
          << "models--org--" << repository << "/blobs/" << etag << "\n";
    const fs::path snapshot = folder / "snapshots" / std::string(40, commit);
    fs::create_directories(snapshot);
    fs::create_symlink("../../blobs/" + etag, snapshot / name);
    spill(folder / "refs" / std::string(1, commit), std::string(40, commit));
  }
  // Xet's hash is another than SHA-256: here, that of the text and an x.
  fs::path shared_of(const std::string& text) const {
    const std::string hash = sha256_of(text + "x");
    return store / hash.substr(0, 2) / hash;
  }
  uint64_t remove(const std::string& repository, const std::string& revision = {}) {
    return remove_from_cache("org/" + repository, revision, cache.string());
  }

  testing::TemporaryDirectory directory;
  const fs::path cache = fs::path(directory.path) / "cache", store = cache / "blobs";
  const std::string weights = "weights that two repositories have";
};

TEST_F(SharedBlobs, AreOfEachRepositoryThatUsesThem) {
  add("one", 'a', "model.safetensors", weights);
  add("two", 'b', "model.safetensors", weights);
  const std::vector<CachedRepository> all = scan_cache(cache.string());
  ASSERT_EQ(all.size(), 2u);  // the store is no repository
  for (const CachedRepository& each : all) {
    EXPECT_EQ(each.bytes, weights.size());
    ASSERT_EQ(each.revisions.size(), 1u);
    EXPECT_EQ(each.revisions[0].bytes, weights.size());
    EXPECT_TRUE(each.incomplete.empty());
  }
  CacheReport report = verify_cache({}, cache.string());
  EXPECT_EQ(report.blobs, 2u);
  EXPECT_TRUE(report.problems.empty() && report.notes.empty());
  spill(shared_of(weights), "damaged");
  EXPECT_EQ(verify_cache({}, cache.string()).problems.size(), 2u);
  fs::remove(shared_of(weights));
  EXPECT_EQ(verify_cache("org/one", cache.string()).problems.size(), 2u);  // the blob, and the file of the snapshot
}

TEST_F(SharedBlobs, GoWithTheLastRepository) {
  add("one", 'a', "model.safetensors", weights);
  add("two", 'b', "model.safetensors", weights);
  spill(cache / "models--org--one/blobs/plain", "four");
  EXPECT_EQ(remove("one"), 4u);  // the bytes that are gone, not those that were used
  EXPECT_EQ(slurp(cache / "models--org--two/snapshots" / std::string(40, 'b') / "model.safetensors"), weights);
  EXPECT_EQ(remove("two"), weights.size());
  EXPECT_FALSE(fs::exists(shared_of(weights)));
  EXPECT_FALSE(fs::exists(shared_of(weights).string() + ".refs"));
}

// Also of a cache that is named by a relative path, and leaving a lock that others may take.
TEST_F(SharedBlobs, AreFoundByARelativePath) {
  add("one", 'a', "model.safetensors", weights);
  const fs::path before = fs::current_path();
  for (const char* name : {"cache", "."}) {
    add("two", 'b', "model.safetensors", weights);
    fs::current_path(std::string(name) == "." ? cache : cache.parent_path());
    EXPECT_EQ(remove_from_cache("org/two", {}, name), 0u) << name;
  }
  EXPECT_EQ(remove_from_cache("org/one", {}, "."), weights.size());
  fs::current_path(before);
  EXPECT_EQ(fs::status(shared_of(weights).string() + ".lock").permissions(), fs::perms(0666));
}

TEST_F(SharedBlobs, GoWithTheLastRevision) {
  add("one", 'a', "model.safetensors", weights);
  add("one", 'b', "model.safetensors", weights);
  add("one", 'b', "other.safetensors", "only there");
  EXPECT_EQ(remove("one", "b"), 10u);
  EXPECT_FALSE(fs::exists(shared_of("only there")));
  EXPECT_FALSE(fs::exists(fs::symlink_status(cache / "models--org--one/blobs" / sha256_of("only there"))));
  EXPECT_EQ(slurp(cache / "models--org--one/snapshots" / std::string(40, 'a') / "model.safetensors"), weights);
  EXPECT_EQ(remove("one", "a"), weights.size());
}

TEST_F(SharedBlobs, StayInDoubt) {
  const fs::path shared = shared_of(weights), refs = shared.string() + ".refs",
                 marker = store / ".huggingface-shared-blobs";
  const std::pair<const char*, std::function<void()>> doubts[] = {
      {"no mark", [&] { fs::remove(marker); }},
      {"another version", [&] { spill(marker, "2\n"); }},
      {"the mark is a link",
       [&] {
         fs::rename(marker, store / "elsewhere");
         fs::create_symlink("elsewhere", marker);
       }},
      {"the store is a link",
       [&] {
         fs::rename(store, cache / "elsewhere");
         fs::create_symlink("elsewhere", store);
       }},
      {"no list", [&] { fs::remove(refs); }},
      {"the list is a link",
       [&] {
         fs::rename(refs, store / "elsewhere");
         fs::create_symlink("../elsewhere", refs);
       }},
      {"an empty list", [&] { spill(refs, ""); }},
      {"a link that cannot be read",
       [&] {
         fs::create_directories(cache / "models--org--other/blobs");
         spill(refs, "models--org--other/blobs/" + std::string(300, 'x') + "\n");
       }},
      {"another repository's, without an end of line", [&] {
         add("two", 'b', "model.safetensors", weights);
         spill(refs, slurp(refs).substr(0, slurp(refs).size() - 1));
       }}};
  for (const auto& [name, doubt] : doubts) {
    SCOPED_TRACE(name);
    fs::remove_all(cache);
    SetUp();
    add("one", 'a', "model.safetensors", weights);
    doubt();
    EXPECT_EQ(remove("one"), 0u);
    EXPECT_EQ(slurp(shared), weights);
  }
}

// Only what leads to the file keeps it: not what was there once, nor lines that name no blob of this cache.
TEST_F(SharedBlobs, StaleLinesKeepNothing) {
  add("one", 'a', "model.safetensors", weights);
  const fs::path shared = shared_of(weights);
  fs::create_symlink(shared, fs::path(directory.path) / "outside");
  spill(cache / "models--org--plain/blobs/etag", "no link");
  add("two", 'b', "model.safetensors", "another text");
  fs::create_directories(cache / "models--org--two/other");
  fs::create_symlink(shared, cache / "models--org--two/other/x");
  std::ofstream(shared.string() + ".refs", std::ios::app)
      << "models--org--gone/blobs/etag\nmodels--org--plain/blobs/etag\n../outside\nmodels--org--one/snapshots/x\n"
      << (fs::path(directory.path) / "outside").string() << "\nmodels--org--two/blobs/" << sha256_of("another text")
      << "\nmodels--x/blobs/..\nmodels--org--two/other/x\n\n";
  EXPECT_EQ(remove("one"), weights.size());
  EXPECT_TRUE(fs::exists(shared_of("another text")));
}

TEST_F(SharedBlobs, OnlyLinksIntoTheStoreAreOnes) {
  add("one", 'a', "model.safetensors", weights);
  const fs::path blobs = cache / "models--org--one/blobs", shared = shared_of(weights);
  EXPECT_EQ(hub::shared_blob(blobs / sha256_of(weights)), shared);
  fs::create_symlink(shared, blobs / "absolute");
  EXPECT_EQ(hub::shared_blob(blobs / "absolute"), shared);
  spill(blobs / "plain", "x");
  fs::create_symlink("plain", blobs / "beside");
  fs::create_symlink("../../blobs/.huggingface-shared-blobs", blobs / "mark");
  fs::create_symlink("../../blobs/00/" + shared.filename().string(), blobs / "shelf");
  fs::create_symlink("../../../blobs/" + shared.lexically_relative(store).string(), blobs / "other");
  for (const char* name : {"plain", "absent", "beside", "mark", "shelf", "other"})
    EXPECT_EQ(hub::shared_blob(blobs / name), "") << name;
}

}  // namespace
}  // namespace caracal
