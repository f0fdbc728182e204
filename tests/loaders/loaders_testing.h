// What the loader tests share: a directory that goes away, files, and checking of errors.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <caracal/loaders/safetensors.h>
#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>

namespace caracal::testing {

inline std::string data_path(const std::string& name) { return std::string(CARACAL_TEST_DATA) + "/" + name; }

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

/// A directory of its own for one test.
struct TemporaryDirectory {
  std::string path;
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "caracal-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path + "/" + name; }
};

/// Runs f, which must throw an Error of this code whose text holds all of `parts`; returns the text.
template <class F>
std::string expect_error(ErrorCode code, const std::vector<std::string>& parts, F f) {
  try {
    f();
  } catch (const Error& error) {
    std::string text = error.what();
    EXPECT_EQ(int(error.code()), int(code)) << text;
    for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
    return text;
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

/// A safetensors file from its header's text and its data.
inline std::string raw_file(const std::string& header, const std::string& data = "") {
  uint64_t size = header.size();
  std::string result(8, '\0');
  std::memcpy(result.data(), &size, 8);
  return result + header + data;
}

/// Parses a file's content from a heap block of exactly its size, where AddressSanitizer sees every byte too many.
inline SafetensorsFile parse_bytes(const std::string& content, const std::string& where = "test") {
  std::shared_ptr<uint8_t[]> copy(new uint8_t[content.size()]);
  std::memcpy(copy.get(), content.data(), content.size());
  return SafetensorsFile::parse({{copy.get(), content.size()}, copy}, where);
}

}  // namespace caracal::testing
