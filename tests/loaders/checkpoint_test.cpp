#include <caracal/loaders/checkpoint.h>

#include "loaders_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;
using testing::data_path;
using testing::expect_error;
using testing::read_file;
using testing::TemporaryDirectory;
using testing::write_file;

Tensor value(float v) { return Tensor::from(std::vector<float>{v}, {1}); }

float first(const Checkpoint& checkpoint, const std::string& name) {
  return checkpoint.tensor(name).values<float>()[0];
}

std::string index_of(const std::string& weight_map) {
  return "{\"metadata\": {\"total_size\": 8}, \"weight_map\": " + weight_map + "}";
}

TEST(Checkpoint, SingleFile) {
  TemporaryDirectory dir;
  save_safetensors(dir / "model.safetensors", {{"b", value(2)}, {"a", value(1)}});
  Checkpoint checkpoint = Checkpoint::open(dir.path);
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(first(checkpoint, "b"), 2.0f);
  EXPECT_EQ(checkpoint.find("a")->shape, (std::vector<int64_t>{1}));
  EXPECT_EQ(checkpoint.find("c"), nullptr);
  EXPECT_EQ(checkpoint.total_bytes(), 8u);
  EXPECT_EQ(checkpoint.metadata().at("format"), "pt");
  EXPECT_EQ(checkpoint.file_of("a"), dir / "model.safetensors");
  EXPECT_EQ(checkpoint.path(), dir.path);
  expect_error(ErrorCode::not_found, {dir.path, "\"c\""}, [&] { checkpoint.tensor("c"); });
  EXPECT_EQ(first(Checkpoint::open(dir / "model.safetensors"), "a"), 1.0f);
}

TEST(Checkpoint, TensorsOutliveIt) {
  TemporaryDirectory dir;
  save_safetensors(dir / "model.safetensors", {{"a", value(1)}});
  Tensor a = Checkpoint::open(dir.path).tensor("a");
  EXPECT_EQ(a.values<float>()[0], 1.0f);
}

TEST(Checkpoint, Shards) {
  TemporaryDirectory dir;
  save_safetensors(dir / "model-00001-of-00002.safetensors", {{"b", value(2)}, {"extra", value(3)}});
  save_safetensors(dir / "model-00002-of-00002.safetensors", {{"a", value(1)}}, {{"format", "pt"}, {"more", "x"}});
  write_file(dir / "model.safetensors.index.json",
             index_of(R"({"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"})"));
  for (Access access : {Access::map, Access::read}) {
    Checkpoint checkpoint = Checkpoint::open(dir.path, {.access = access});
    EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"a", "b", "extra"}));
    EXPECT_EQ(first(checkpoint, "a"), 1.0f);
    EXPECT_EQ(first(checkpoint, "b"), 2.0f);
    EXPECT_EQ(checkpoint.total_bytes(), 12u);
    EXPECT_EQ(checkpoint.metadata().size(), 2u);
    EXPECT_EQ(checkpoint.file_of("a"), dir / "model-00002-of-00002.safetensors");
  }
  save_safetensors(dir / "model.safetensors", {{"a", value(7)}});  // the single file goes first
  EXPECT_EQ(first(Checkpoint::open(dir.path), "a"), 7.0f);
}

TEST(Checkpoint, Variants) {
  TemporaryDirectory dir;
  save_safetensors(dir / "model.safetensors", {{"a", value(1)}});
  save_safetensors(dir / "model.fp16.safetensors", {{"a", value(2)}});
  save_safetensors(dir / "model.int8-00001-of-00001.safetensors", {{"a", value(3)}});
  write_file(dir / "model.safetensors.index.int8.json", index_of(R"({"a": "model.int8-00001-of-00001.safetensors"})"));
  EXPECT_EQ(first(Checkpoint::open(dir.path), "a"), 1.0f);
  EXPECT_EQ(first(Checkpoint::open(dir.path, {.variant = "fp16"}), "a"), 2.0f);
  EXPECT_EQ(first(Checkpoint::open(dir.path, {.variant = "int8"}), "a"), 3.0f);
  expect_error(ErrorCode::not_found, {"model.bf16.safetensors", "\"model.safetensors\""},
               [&] { Checkpoint::open(dir.path, {.variant = "bf16"}); });
  expect_error(ErrorCode::bad_file, {"\"..\""}, [&] { Checkpoint::open(dir.path, {.variant = "x/../../y"}); });
}

TEST(Checkpoint, NothingThere) {
  TemporaryDirectory dir;
  expect_error(ErrorCode::not_found, {"absent", "does not exist"}, [&] { Checkpoint::open(dir / "absent"); });
  expect_error(ErrorCode::not_found, {dir.path, "model.safetensors"}, [&] { Checkpoint::open(dir.path); });
  const std::string longer(300, 'x');  // than a name may be
  expect_error(ErrorCode::not_found, {longer}, [&] { Checkpoint::open(longer); });
  expect_error(ErrorCode::not_found, {longer}, [&] { Checkpoint::open(dir.path, {.variant = longer}); });
}

TEST(Checkpoint, BadIndexes) {
  TemporaryDirectory dir;
  std::string index = dir / "model.safetensors.index.json";
  save_safetensors(dir / "one.safetensors", {{"a", value(1)}, {"b", value(2)}});
  save_safetensors(dir / "two.safetensors", {{"b", value(3)}, {"c", value(4)}});
  auto expect_refused = [&](const std::string& text, ErrorCode code, const std::vector<std::string>& parts) {
    write_file(index, text);
    expect_error(code, parts, [&] { Checkpoint::open(dir.path); });
  };
  expect_refused("", ErrorCode::bad_file, {index, "JSON"});
  expect_refused("[]", ErrorCode::bad_file, {index, "weight_map"});
  expect_refused("{}", ErrorCode::bad_file, {index, "weight_map"});
  expect_refused(index_of("[]"), ErrorCode::bad_file, {index, "weight_map"});
  expect_refused(index_of("{}"), ErrorCode::bad_file, {index, "weight_map"});
  expect_refused(index_of(R"({"a": 1})"), ErrorCode::bad_file, {index, "file name", "int", "\"a\""});
  expect_refused(index_of(R"({"a": "one.safetensors", "a": "one.safetensors"})"), ErrorCode::bad_file, {"two \"a\""});
  expect_refused(index_of(R"({"c": "one.safetensors"})"), ErrorCode::bad_file, {index, "\"c\"", "\"one.safetensors\""});
  expect_refused(index_of(R"({"a": "one.safetensors", "c": "two.safetensors"})"), ErrorCode::bad_file,
                 {"\"b\"", "one.safetensors", "two.safetensors"});
  expect_refused(index_of(R"({"a": "three.safetensors"})"), ErrorCode::not_found, {"three.safetensors"});
}

TEST(Checkpoint, ShardNamesMayNotLeaveTheDirectory) {
  TemporaryDirectory dir;
  save_safetensors(dir / "outside.safetensors", {{"a", value(1)}});
  fs::create_directory(dir / "model");
  fs::create_symlink("../outside.safetensors", dir / "model/link.safetensors");
  for (std::string name : {"../outside.safetensors", "./../outside.safetensors", "x/../../outside.safetensors",
                           "..\\\\outside.safetensors", "C:outside.safetensors", "", "a\\u0000", "link.safetensors"}) {
    write_file(dir / "model/model.safetensors.index.json", index_of("{\"a\": \"" + name + "\"}"));
    expect_error(ErrorCode::bad_file, {dir / "model"}, [&] { Checkpoint::open(dir / "model"); });
  }
  write_file(dir / "model/model.safetensors.index.json",
             index_of("{\"a\": \"" + (dir / "outside.safetensors") + "\"}"));
  expect_error(ErrorCode::bad_file, {"absolute"}, [&] { Checkpoint::open(dir / "model"); });
}

TEST(Checkpoint, HubCache) {
  TemporaryDirectory dir;
  std::string repository = dir / "models--org--name", snapshot = repository + "/snapshots/abc";
  fs::create_directories(repository + "/blobs");
  fs::create_directories(snapshot);
  save_safetensors(repository + "/blobs/f00d", {{"a", value(1)}});
  fs::create_symlink("../../blobs/f00d", snapshot + "/model.safetensors");
  EXPECT_EQ(first(Checkpoint::open(snapshot), "a"), 1.0f);
  fs::rename(snapshot + "/model.safetensors", snapshot + "/model-00001-of-00001.safetensors");
  write_file(snapshot + "/model.safetensors.index.json", index_of(R"({"a": "model-00001-of-00001.safetensors"})"));
  EXPECT_EQ(first(Checkpoint::open(snapshot), "a"), 1.0f);
}

TEST(Checkpoint, ForeignFilesByName) {
  for (auto [name, word] :
       {std::pair("pytorch_model.bin", "pickle"), std::pair("pytorch_model.bin.index.json", "pickle"),
        std::pair("model.pt", "pickle"), std::pair("model.pkl", "pickle"), std::pair("weights.npz", "pickle"),
        std::pair("tf_model.h5", "HDF5"), std::pair("model-Q4.gguf", "GGUF"),
        std::pair("flax_model.msgpack", "Flax")}) {
    TemporaryDirectory dir;
    write_file(dir / name, "anything");
    expect_error(ErrorCode::unsupported, {name, word, "save_pretrained"}, [&] { Checkpoint::open(dir.path); });
  }
}

TEST(Checkpoint, ForeignFilesByContent) {
  TemporaryDirectory dir;
  std::string path = dir / "model.safetensors";
  auto expect_refused = [&](const std::string& content, const std::vector<std::string>& parts) {
    write_file(path, content);
    expect_error(ErrorCode::unsupported, parts, [&] { Checkpoint::open(dir.path); });
  };
  expect_refused(read_file(data_path("safetensors/lfs_pointer.txt")), {path, "Git LFS pointer", "git lfs pull"});
  expect_refused(read_file(data_path("safetensors/test.pt")),
                 {path, "zip archive", "insecure", "untrusted", "save_pretrained"});
  expect_refused("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19", {"pickle", "tampered"});
  expect_refused(std::string("\x80\x04\x95\x10\0\0\0\0\0\0\0...............", 26), {"pickle"});
  expect_refused("\x80\x02}.", {"pickle"});
  expect_refused("\x89HDF\r\n\x1a\n12345678", {"HDF5", "save_pretrained"});
  expect_refused(std::string("GGUF\3\0\0\0........", 16), {"GGUF"});
}

}  // namespace
}  // namespace caracal
