#include <caracal/loaders/safetensors.h>

#include <sys/stat.h>

#include <cstdint>

#include "loaders_testing.h"

namespace caracal {
namespace {

using testing::data_path;
using testing::expect_error;
using testing::parse_bytes;
using testing::raw_file;
using testing::read_file;
using testing::TemporaryDirectory;

std::vector<std::pair<std::string, Tensor>> all_tensors(const SafetensorsFile& file) {
  std::vector<std::pair<std::string, Tensor>> result;
  for (const TensorInfo& info : file.tensors()) result.emplace_back(info.name, file.tensor(info));
  return result;
}

TEST(Safetensors, ReadsWhatTorchWrote) {
  Json expected = Json::parse_file(data_path("safetensors/torch.json"));
  for (Access access : {Access::map, Access::read}) {
    SafetensorsFile file = SafetensorsFile::open(data_path("safetensors/torch.safetensors"), access);
    EXPECT_EQ(file.tensors().size(), expected.as_object().size());
    EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}}));
    EXPECT_TRUE(file.warnings().empty());
    for (const auto& [name, values] : expected.as_object()) {
      const TensorInfo* info = file.find(name);
      ASSERT_NE(info, nullptr) << name;
      Tensor tensor = file.tensor(*info).to(DType::F32);
      ASSERT_EQ(tensor.numel(), int64_t(values.as_array().size())) << name;
      for (size_t i = 0; i < values.as_array().size(); ++i) {
        EXPECT_EQ(tensor.values<float>()[i], float(values.as_array()[i].as_double())) << name << " " << i;
      }
    }
    EXPECT_EQ(file.find("absent"), nullptr);
  }
}

TEST(Safetensors, WritesTheBytesOfTheReference) {
  TemporaryDirectory dir;
  for (std::string name : {"torch.safetensors", "torch_empty.safetensors"}) {
    std::string original = data_path("safetensors/" + name);
    SafetensorsFile file = SafetensorsFile::open(original);
    std::vector<std::pair<std::string, Tensor>> tensors = all_tensors(file);
    std::reverse(tensors.begin(), tensors.end());  // the order given must not matter
    save_safetensors(dir / name, tensors, file.metadata());
    EXPECT_EQ(read_file(dir / name), read_file(original));
  }
}

TEST(Safetensors, RoundTripOfOwnTensors) {
  TemporaryDirectory dir;
  Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  Tensor b = Tensor::from(std::vector<int64_t>{INT64_MIN, -1, INT64_MAX}, {3});
  save_safetensors(dir / "x.safetensors", {{"a", a}, {"b", b}}, {});
  SafetensorsFile file = SafetensorsFile::open(dir / "x.safetensors");
  EXPECT_TRUE(file.metadata().empty());
  EXPECT_EQ(file.tensor(*file.find("a")).shape(), Shape({2, 3}));
  EXPECT_EQ(file.tensor(*file.find("b")).values<int64_t>()[2], INT64_MAX);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path), {}), 1);  // no temporary file is left
}

TEST(Safetensors, ViewsOutliveTheFileObjectAndTheFile) {
  TemporaryDirectory dir;
  save_safetensors(dir / "x.safetensors", {{"a", Tensor::from(std::vector<float>{1, 2}, {2})}});
  for (Access access : {Access::map, Access::read}) {
    Tensor view;
    {
      SafetensorsFile file = SafetensorsFile::open(dir / "x.safetensors", access);
      view = file.tensor(file.tensors()[0]);
      EXPECT_EQ(view.raw(), file.tensor(file.tensors()[0]).raw());  // zero copy: the same address again
    }
    EXPECT_EQ(view.values<float>()[1], 2.0f);
  }
  Tensor view = [&] {
    SafetensorsFile file = SafetensorsFile::open(dir / "x.safetensors");
    return file.tensor(file.tensors()[0]);
  }();
  std::filesystem::remove(dir / "x.safetensors");
  EXPECT_EQ(view.values<float>()[0], 1.0f);
}

TEST(Safetensors, AReadFileDoesNotSeeLaterTruncation) {
  TemporaryDirectory dir;
  save_safetensors(dir / "x.safetensors", {{"a", Tensor::zeros({100000})}});
  SafetensorsFile file = SafetensorsFile::open(dir / "x.safetensors", Access::read);
  std::filesystem::resize_file(dir / "x.safetensors", 0);
  EXPECT_EQ(file.tensor(file.tensors()[0]).values<float>()[99999], 0.0f);  // a mapping would raise SIGBUS
}

TEST(Safetensors, MisalignedDataIsCopied) {
  double value = 1.5;
  std::string data(9, '\x7');
  std::memcpy(data.data() + 1, &value, 8);
  for (std::string pad : {"", " ", "  ", "   "}) {
    SafetensorsFile file = parse_bytes(raw_file(
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}})" +
            pad,
        data));
    Tensor b = file.tensor(*file.find("b"));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.raw()) % 8, 0u);
    EXPECT_EQ(b.values<double>()[0], 1.5);
  }
}

TEST(Safetensors, OddBoolBytesReadAsTrue) {
  SafetensorsFile file =
      parse_bytes(raw_file(R"({"a":{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]}})", std::string("\0\1\2\xff", 4)));
  Tensor a = file.tensor(file.tensors()[0]);
  std::vector<int> bytes(static_cast<const uint8_t*>(a.raw()), static_cast<const uint8_t*>(a.raw()) + 4);
  EXPECT_EQ(bytes, (std::vector<int>{0, 1, 1, 1}));
}

TEST(Safetensors, ListedButNotUsable) {
  SafetensorsFile file = parse_bytes(raw_file(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},)"
                                              R"("r":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[2,3]}})",
                                              "xyz"));
  EXPECT_EQ(file.find("a")->dtype_name, "F8_E4M3");
  EXPECT_FALSE(file.find("a")->dtype.has_value());
  EXPECT_EQ(file.find("r")->shape.size(), 9u);
  expect_error(ErrorCode::unsupported, {"F8_E4M3", "\"a\""}, [&] { file.tensor(*file.find("a")); });
  expect_error(ErrorCode::unsupported, {"8 dimensions", "9", "\"r\""}, [&] { file.tensor(*file.find("r")); });
}

TEST(Safetensors, WarnsOfWhatTheReferenceTakesSilently) {
  SafetensorsFile file = parse_bytes(
      raw_file(R"({"__metadata__":{"x":"1","x":"2"},"a":{"dtype":"U8","new":[{}],"shape":[0],"data_offsets":[0,0]}})"));
  EXPECT_EQ(file.metadata().at("x"), "2");
  ASSERT_EQ(file.warnings().size(), 2u);
  EXPECT_NE(file.warnings()[0].find("a key twice"), std::string::npos);
  EXPECT_NE(file.warnings()[1].find("unknown field \"new\""), std::string::npos);
  EXPECT_EQ(parse_bytes(raw_file(R"({"__metadata__":null})")).warnings().size(), 1u);
  std::string many = R"({"a":{"dtype":"U8","shape":[0],)";
  for (int i = 0; i < 1000; ++i) many += "\"f" + std::to_string(i) + "\":0,";
  EXPECT_EQ(parse_bytes(raw_file(many + R"("data_offsets":[0,0]}})")).warnings().size(), 16u);
}

TEST(SafetensorsSave, Refusals) {
  TemporaryDirectory dir;
  std::string path = dir / "x.safetensors";
  Tensor t = Tensor::zeros({1});
  expect_error(ErrorCode::invalid_argument, {path, "__metadata__"}, [&] {
    save_safetensors(path, {{"__metadata__", t}});
  });
  expect_error(ErrorCode::invalid_argument, {"two \"a\""}, [&] {
    save_safetensors(path, {{"a", t}, {"b", t}, {"a", t}});
  });
  expect_error(ErrorCode::invalid_argument, {"undefined", "\"a\""}, [&] { save_safetensors(path, {{"a", Tensor()}}); });
  expect_error(ErrorCode::invalid_argument, {"UTF-8"}, [&] { save_safetensors(path, {{"\xff", t}}); });
  expect_error(ErrorCode::not_found, {"absent"}, [&] { save_safetensors(dir / "absent/x.safetensors", {{"a", t}}); });
  EXPECT_TRUE(std::filesystem::is_empty(dir.path));
  std::filesystem::create_directories(path + "/full");
  expect_error(ErrorCode::io, {"a directory", path}, [&] { save_safetensors(path, {{"a", t}}); });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path), {}), 1);
}

TEST(SafetensorsSave, ReplacesAFileThatIsMapped) {
  TemporaryDirectory dir;
  std::string path = dir / "x.safetensors";
  save_safetensors(path, {{"a", Tensor::from(std::vector<float>{1}, {1})}});
  SafetensorsFile old = SafetensorsFile::open(path);
  save_safetensors(path, {{"a", Tensor::from(std::vector<float>{2}, {1})}});
  EXPECT_EQ(old.tensor(old.tensors()[0]).values<float>()[0], 1.0f);
  SafetensorsFile now = SafetensorsFile::open(path);
  EXPECT_EQ(now.tensor(now.tensors()[0]).values<float>()[0], 2.0f);
}

}  // namespace
}  // namespace caracal
