#include <caracal/loaders/file.h>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <map>

#include "loaders_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TemporaryDirectory;
using testing::write_file;

TEST(File, OnlyRegularFiles) {
  TemporaryDirectory dir;
  write_file(dir / "good", "12345");
  EXPECT_EQ(File::open(dir / "good").size(), 5u);
  expect_error(ErrorCode::not_found, {"absent"}, [&] { File::open(dir / "absent"); });
  expect_error(ErrorCode::not_found, {"good/x"}, [&] { File::open(dir / "good/x"); });
  expect_error(ErrorCode::io, {"a directory"}, [&] { File::open(dir.path); });
  expect_error(ErrorCode::io, {"a device"}, [] { File::open("/dev/zero"); });
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::io, {"pipe"}, [&] { File::open(dir / "pipe"); });  // and does not wait for a writer
}

TEST(File, LoadsBytesBothWays) {
  TemporaryDirectory dir;
  write_file(dir / "some", "12345");
  write_file(dir / "none", "");
  for (Access access : {Access::map, Access::read}) {
    Bytes bytes = load_bytes(File::open(dir / "some"), access);
    EXPECT_EQ(std::string(bytes.span.begin(), bytes.span.end()), "12345");
    EXPECT_TRUE(load_bytes(File::open(dir / "none"), access).span.empty());
  }
  File shrinking = File::open(dir / "some");
  fs::resize_file(dir / "some", 2);
  expect_error(ErrorCode::io, {"expected 5 bytes", "shrank to 2"}, [&] { load_bytes(shrinking, Access::read); });
}

TEST(File, RelativeNames) {
  for (std::string name : {"a", "model-00001-of-00002.safetensors", "sub/a", "..a", "a..", "...", "a b", "ä"}) {
    EXPECT_NO_THROW(check_relative_name(name, "index")) << name;
  }
  for (std::string name :
       {std::string(), std::string("/a"), std::string("/"), std::string("."), std::string(".."), std::string("../a"),
        std::string("a/.."), std::string("a/../b"), std::string("./a"), std::string("a/."), std::string("a//b"),
        std::string("a/"), std::string("a\\b"), std::string("..\\a"), std::string("C:a"), std::string("C:/a"),
        std::string("a\0b", 3), std::string("\\\\server\\share")}) {
    expect_error(ErrorCode::bad_file, {"[index]", "file name below this directory"},
                 [&] { check_relative_name(name, "index"); });
  }
}

class Confined : public ::testing::TestWithParam<Confinement> {
 protected:
  void SetUp() override {
    write_file(dir / "secret", "secret");
    write_file(dir / "model/inside", "inside");
    write_file(dir / "model/sub/deep", "deep");
    fs::create_symlink("inside", dir / "model/link_inside");
    fs::create_symlink("../inside", dir / "model/sub/link_up_inside");
    fs::create_symlink("../secret", dir / "model/link_out");
    fs::create_symlink(dir / "secret", dir / "model/link_absolute");
    fs::create_symlink("..", dir / "model/folder_out");
    fs::create_symlink("loop", dir / "model/loop");
  }
  std::string open(const std::string& root, const std::string& name) {
    Bytes bytes = load_bytes(File::open_beneath(root, name, GetParam()), Access::read);
    return {bytes.span.begin(), bytes.span.end()};
  }
  TemporaryDirectory dir;
};

TEST_P(Confined, StaysInTheDirectory) {
  std::string root = dir / "model";
  EXPECT_EQ(open(root, "inside"), "inside");
  EXPECT_EQ(open(root, "sub/deep"), "deep");
  EXPECT_EQ(open(root, "link_inside"), "inside");
  EXPECT_EQ(open(root, "sub/link_up_inside"), "inside");
  for (std::string name : {"link_out", "link_absolute", "folder_out/secret"}) {
    expect_error(ErrorCode::bad_file, {root, name, "leaves"}, [&] { open(root, name); });
  }
  expect_error(ErrorCode::bad_file, {"\"..\" part"}, [&] { open(root, "../secret"); });
  expect_error(ErrorCode::not_found, {"absent"}, [&] { open(root, "absent"); });
  expect_error(ErrorCode::not_found, {"nowhere"}, [&] { open(dir / "nowhere", "x"); });
  expect_error(ErrorCode::io, {"loop"}, [&] { open(root, "loop"); });
  expect_error(ErrorCode::io, {"a directory"}, [&] { open(root, "sub"); });
}

TEST_P(Confined, ARootReachedByALinkWorks) {
  fs::create_symlink("model", dir / "alias");
  EXPECT_EQ(open(dir / "alias", "inside"), "inside");
  EXPECT_EQ(open(dir / "alias/", "inside"), "inside");
}

TEST_P(Confined, HubCacheLinksReachTheBlobs) {
  std::string repository = dir / "hub/models--org--name", snapshot = repository + "/snapshots/abc123";
  write_file(repository + "/blobs/f00d", "blob");
  write_file(snapshot + "/sub/keep", "");
  fs::create_symlink("../../blobs/f00d", snapshot + "/shard");
  fs::create_symlink("../../../blobs/f00d", snapshot + "/sub/shard");
  fs::create_symlink("../../../../secret", snapshot + "/out");
  EXPECT_EQ(open(snapshot, "shard"), "blob");
  EXPECT_EQ(open(snapshot, "sub/shard"), "blob");
  EXPECT_EQ(open(snapshot + "/sub", "shard"), "blob");
  expect_error(ErrorCode::bad_file, {"leaves"}, [&] { open(snapshot, "out"); });
}

// Files that came by Xet lie in one place for all repositories; a blob is a link to there.
TEST_P(Confined, HubCacheLinksReachWhatRepositoriesShare) {
  const std::string cache = dir / "hub", repository = cache + "/models--org--name",
                    snapshot = repository + "/snapshots/abc123";
  const std::string hash(64, 'a');
  write_file(cache + "/blobs/aa/" + hash, "shared");
  write_file(cache + "/blobs/aa/other", "no hash");
  write_file(cache + "/blobs/bb/" + hash, "on the wrong shelf");
  write_file(cache + "/models--org--other/blobs/f00d", "another repository's");
  write_file(cache + "/models--org--other/blobs/aa/" + hash, "another repository's");
  fs::create_directories(repository + "/blobs");
  fs::create_directories(snapshot);
  auto link = [&](const std::string& name, const std::string& target) {
    fs::create_symlink(target, repository + "/blobs/" + name);
    fs::create_symlink("../../blobs/" + name, snapshot + "/" + name);
  };
  link("shared", "../../blobs/aa/" + hash);
  link("absolute", cache + "/blobs/aa/" + hash);
  EXPECT_EQ(open(snapshot, "shared"), "shared");
  EXPECT_EQ(open(snapshot, "absolute"), "shared");
  const std::string other = "models--org--other/blobs/";
  for (const auto& [name, target] : std::map<std::string, std::string>{{"no_hash", "blobs/aa/other"},
                                                                       {"wrong_shelf", "blobs/bb/" + hash},
                                                                       {"anothers", other + "f00d"},
                                                                       {"anothers_hash", other + "aa/" + hash}}) {
    link(name, "../../" + target);
    expect_error(ErrorCode::bad_file, {name, "leaves"}, [&] { open(snapshot, name); });
  }
  fs::create_directories(cache + "/plain");  // no snapshot of a repository
  fs::create_symlink("../blobs/aa/" + hash, cache + "/plain/shared");
  expect_error(ErrorCode::bad_file, {"leaves"}, [&] { open(cache + "/plain", "shared"); });
}

INSTANTIATE_TEST_SUITE_P(How, Confined, ::testing::Values(Confinement::automatic, Confinement::resolved_path));

TEST(File, ForeignFormats) {
  for (std::string name : {"pytorch_model.bin", "pytorch_model.bin.index.json", "x.pt", "x.pth", "x.ckpt", "x.pkl",
                           "x.npz", "tf_model.h5", "x.gguf", "flax_model.msgpack", "model.onnx"}) {
    EXPECT_FALSE(foreign_format_of_name(name).empty()) << name;
  }
  for (std::string name : {"model.safetensors", "config.json", "vocab.txt", "bin", ""}) {
    EXPECT_TRUE(foreign_format_of_name(name).empty()) << name;
  }
}

}  // namespace
}  // namespace caracal
